-- The option `last`: finds the newest records of all shards, and with them where a reader begins.
--
-- Shards are searched side by side, open ones first. A closed shard is searched when its children do not show that all
-- of its records are too old.

local codec = require("kinesis.core").codec
local core = require "kinesis.core"
local endpoints = require "kinesis.endpoint.cache"
local errors = require "kinesis.errors"
local newest = require "kinesis.reader.newest"
local notice = require "kinesis.observe.notice"
local response = require "kinesis.response"
local searches = require "kinesis.reader.search"
local wait = require "kinesis.wait"

local M = {}

local PAGES_A_SECOND = 4 -- of a shard; the limit is 5
local BYTES_PER_SECOND = 2000000 -- the limit of a shard
local SCOUTED = 10000 -- records of all first pages together, about
local LEAST_PAGE = 100 -- records
local PAGES_BYTES = 32 * 1024 * 1024 -- of answers in flight
local PAGE_BYTES = 14 * 1024 * 1024 -- the largest answer: 10 MiB of data in base64
local RETRY_FIRST, RETRY_MOST = 0.5, 10 -- seconds
local SKEW = 5 -- seconds by which the clocks may differ

local AGGREGATE = "^84maw[g-v]" -- the magic bytes of the KPL's format in base64

-- How many user records are in a record.
local function count_of(job, data)
  if not job.deaggregate or not data:find(AGGREGATE) then
    return 1
  end
  local list = codec.deaggregate(codec.base64_decode(data) or "")
  return list and math.max(1, #list) or 1
end

-- The part of a GetRecords answer that a search wants: of a long page the newest records, and its first one, which
-- shows where it begins.
local function page_of(job, answer)
  local records, page = answer.Records or {}, { records = {}, bytes = 0 }
  for i, record in ipairs(records) do
    local data = record.Data or ""
    page.bytes = page.bytes + #data * 3 / 4
    page.records[i] = {
      timestamp = record.ApproximateArrivalTimestamp or 0,
      sequence_number = record.SequenceNumber,
      count = i > #records - job.wanted and count_of(job, data) or 1,
    }
  end
  page.behind, page.next = answer.MillisBehindLatest, answer.NextShardIterator
  return page
end

-- ---- calls ----

local function params_of(job, search, call, argument, limit)
  local by_arn = job.stream:find "^arn:"
  local params = { [by_arn and "StreamARN" or "StreamName"] = job.stream }
  if call == "page" then
    return "GetRecords", { StreamARN = params.StreamARN, ShardIterator = argument, Limit = limit }
  end
  params.ShardId = search.id
  params.ShardIteratorType = call == "timestamp" and "AT_TIMESTAMP" or "TRIM_HORIZON"
  params.Timestamp = argument
  return "GetShardIterator", params
end

-- Sends the next call of a search. Returns false when the search is over.
local function send(job, search)
  local call, argument, limit = search:next(job.newest.since)
  if not call then
    return false
  end
  local operation, params = params_of(job, search, call, argument, limit)
  local ticket, err = job.client.core:call(operation, response.write(params), job.target)
  if not ticket then
    errors.raise(err)
  end
  search.ticket, search.operation, search.call, search.asked = ticket, operation, call, argument
  job.pages = job.pages + (call == "page" and 1 or 0)
  search.sent = core.now()
  return true
end

local function take_page(job, search, answer)
  local page = page_of(job, answer)
  local pages = search.pages or {}
  search.pages = pages
  pages[#pages + 1] = search.sent
  search.due = math.max(search.sent + page.bytes / BYTES_PER_SECOND, (pages[#pages - PAGES_A_SECOND + 1] or -1) + 1)
  local fresh = search:take_page(page)
  if fresh then
    job.newest:add(fresh)
  end
end

-- The call of a search has failed in all its attempts, though the service answers other calls: it is sent again. Only
-- this search waits.
local function put_off(job, search, err)
  search.failures = (search.failures or 0) + 1
  search.retry_at = core.now() + math.min(RETRY_MOST, RETRY_FIRST * 2 ^ (search.failures - 1))
  job.put_off[#job.put_off + 1] = search
  notice.print_rarely("last " .. err.code, "%s: last: %s: %s; it is tried again", job.stream, search.id, tostring(err))
end

-- What is no error: the shard was trimmed meanwhile, the service's clock is behind, or the call can be sent again. As
-- with readers, an error before the first answer is raised.
local function take_error(job, search, err)
  if job.is_answered and err.retryable then
    put_off(job, search, err)
  elseif err.code == "ExpiredIteratorException" then
    search:begin_again()
  elseif search.operation == "GetShardIterator" and err.code == "ResourceNotFoundException" then
    search:take_iterator(nil)
  elseif search.call == "timestamp" and err.code == "InvalidArgumentException"
    and search.asked > job.client.core:time() - SKEW then
    search:refuse_time()
  else
    errors.raise(err)
  end
end

local function take_answer(job, search)
  local text, more = response.await(job.client, search.ticket)
  local answer, err
  search.ticket = nil
  job.pages = job.pages - (search.call == "page" and 1 or 0)
  if text and search.call == "page" then
    job.largest = math.max(job.largest or 0, #text)
    collectgarbage("step", math.ceil(#text / 1024)) -- the answers before are garbage, faster than it is collected
  end
  if text then
    answer, err = response.read(text, search.operation, more)
  end
  if not answer then
    take_error(job, search, err or more)
    return
  end
  job.is_answered, search.failures = true, nil
  if search.call == "page" then
    take_page(job, search, answer)
  else
    search:take_iterator(answer.ShardIterator)
  end
end

-- ---- side by side ----

-- Whether the answer has space: as large as the largest one so far, or as there is.
local function has_space(job, search)
  return not search:wants_page() or job.pages == 0 or (job.pages + 1) * (job.largest or PAGE_BYTES) <= PAGES_BYTES
end

-- Takes out of job.put_off the searches that are due, into the queue behind `last`. Returns the new `last`, and when
-- the next one is due.
local function queue_retries(job, queue, last)
  local now, left, due = core.now(), {}, math.huge
  for _, search in ipairs(job.put_off) do
    if search.retry_at <= now then
      last = last + 1
      queue[last] = search
    else
      left[#left + 1] = search
      due = math.min(due, search.retry_at)
    end
  end
  job.put_off = left
  return last, due
end

-- Runs these searches to their end, each in its turn.
local function run(job, queue)
  local first, last, in_flight, first_sent, last_sent, retry_at = 1, #queue, {}, 1, 0, nil
  while queue[first] or in_flight[first_sent] or job.put_off[1] do
    if job.put_off[1] then
      last, retry_at = queue_retries(job, queue, last)
    end
    local search = queue[first]
    local late = search and search:wants_page() and math.max(0, (search.due or 0) - core.now()) or 0
    if search and late == 0 and last_sent - first_sent + 1 < job.width and has_space(job, search) then
      queue[first], first = nil, first + 1
      if send(job, search) then
        last_sent = last_sent + 1
        in_flight[last_sent] = search
      end
    elseif in_flight[first_sent] then
      local answered = in_flight[first_sent]
      in_flight[first_sent], first_sent = nil, first_sent + 1
      take_answer(job, answered)
      if not answered.done and job.put_off[#job.put_off] ~= answered then
        last = last + 1
        queue[last] = answered
      end
    else
      wait.sleep(search and late or math.max(0, retry_at - core.now()), job.client)
    end
  end
end

-- ---- shards ----

local function children_of(shards)
  local children = {}
  for _, shard in ipairs(shards) do
    children[shard.id] = children[shard.id] or {}
    for _, parent in ipairs { shard.parent_id or false, shard.adjacent_parent_id or false } do
      if parent then
        children[parent] = children[parent] or {}
        table.insert(children[parent], shard.id)
      end
    end
  end
  return children
end

-- The shards whose children have all been searched or passed over; `passed` gets those whose records are too old,
-- because a child has older ones than are wanted, or was passed over itself.
local function next_generation(job, children, passed)
  local generation = {}
  for _, shard in ipairs(job.shards) do
    local ready, old = not job.searches[shard.id] and not passed[shard.id], false
    for _, id in ipairs(ready and children[shard.id] or {}) do
      local search = job.searches[id]
      ready = ready and (search or passed[id]) ~= nil
      old = old or passed[id] or search and job.newest.since and search.oldest and search.oldest <= job.newest.since
    end
    if ready and old then
      passed[shard.id] = true
    end
    if ready then
      generation[#generation + 1] = shard
    end
  end
  return generation
end

local function start_searches(job, shards, passed)
  local queue = {}
  for _, shard in ipairs(shards) do
    if not passed[shard.id] then
      local search = searches.new(job.wanted, job.now, math.max(LEAST_PAGE, math.floor(SCOUTED / #shards)))
      search.id = shard.id
      job.searches[shard.id] = search
      queue[#queue + 1] = search
    end
  end
  run(job, queue)
end

local function search_all(job)
  local children, passed, open = children_of(job.shards), {}, {}
  for _, shard in ipairs(job.shards) do
    if not shard.closed then
      open[#open + 1] = shard
    end
  end
  start_searches(job, open, passed)
  local generation = next_generation(job, children, passed)
  while #generation > 0 do
    start_searches(job, generation, passed)
    generation = next_generation(job, children, passed)
  end
end

-- ---- the result ----

-- The start position of a shard none of whose records is among the newest.
local function behind(shard, search)
  local last = search and search.entries[#search.entries]
  if shard.closed or not search then
    return "shard_end"
  elseif last then
    return { after = last.sequence_number }
  end
  return search.whole and "trim_horizon" or { timestamp = search.since }
end

---Finds the newest records of these shards, by their time of arrival.
---@param client kinesis.Client
---@param stream string
---@param shards kinesis.Shard[]
---@param wanted integer user records
---@param deaggregate boolean whether aggregates count as their user records
---@return kinesis.Position from before the oldest of them
function M.find(client, stream, shards, wanted, deaggregate)
  local target, misplaced = endpoints.of_stream(client, stream)
  if misplaced then
    errors.raise(misplaced)
  end
  wait.check(client)
  local job = {
    client = client, stream = stream, shards = shards, wanted = wanted, deaggregate = deaggregate, target = target,
    width = client.options.max_connections, now = client.core:time(), searches = {},
    newest = newest.new(wanted), put_off = {}, pages = 0, -- in flight
  }
  local good, err = pcall(search_all, job)
  for _, search in pairs(job.searches) do
    if search.ticket then
      search.ticket:close()
    end
  end
  if not good then
    error(err, 0)
  end
  local starts, places = newest.choose(job.searches, wanted), {}
  for _, shard in ipairs(shards) do
    places[shard.id] = starts[shard.id] or behind(shard, job.searches[shard.id])
  end
  return { shards = places }
end

return M
