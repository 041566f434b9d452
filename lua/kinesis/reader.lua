--- A reader: an iterator over records, which the engine reads ahead. It runs in the caller's coroutine and waits in
--- the way of the host.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local advice = require "kinesis.util.advice"
local notice = require "kinesis.observe.notice"
local pretty = require "kinesis.observe.pretty"
local fields = require "kinesis.fields"
local endpoints = require "kinesis.endpoint.cache"
local wait = require "kinesis.wait"

local unpack = table.unpack or unpack

--- A record, as readers return it. One that a producer has sent in an aggregate is as it was put, and shares
--- sequence_number and arrival_timestamp with the others of the aggregate.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html
---@class kinesis.Record
---@field data string bytes
---@field partition_key? string absent on streams whose RecordDistributionStrategy is AUTO
---@field sequence_number string unique in its shard, but for the records of one aggregate; a decimal string
---@field sub_sequence_number? integer index in its aggregate, from 0; absent when it was stored alone
---@field explicit_hash_key? string known of records from aggregates only; a decimal string
---@field shard_id string the shard that it was read from
---@field arrival_timestamp number seconds since 1970, to the millisecond
---@field encryption_type? string "KMS" when the service stores it encrypted

--- Records as columns, with the option `batch = "columns"`: the records with the same index belong together.
---@class kinesis.Columns
---@field n integer number of records
---@field data? string[] absent, like each other one, when the option `fields` leaves it out
---@field partition_key? (string|false)[] false where a record lacks it
---@field sequence_number? string[]
---@field shard_id? string[]
---@field arrival_timestamp? number[]
---@field encryption_type? (string|false)[]
---@field explicit_hash_key? (string|false)[]
---@field sub_sequence_number? (integer|false)[]

--- A reader: an iterator for a generic `for`. Calling it is the same as calling its method `next`.
---@class kinesis.Reader
---@overload fun(): kinesis.Record
local Reader = {}

local check_self = advice.check_self

-- All readers. A lookup takes whatever value a dot call passes as self.
local is_reader = setmetatable({}, { __mode = "k" })

local M = { class = Reader }

local meta = pretty.equip({ __index = Reader }, "kinesis.reader", function(reader)
  return ("kinesis.reader: %s, %d shards%s"):format(reader.stream, reader.alive, reader.finished and " (closed)" or "")
end)
local position_meta = pretty.meta "kinesis.position"

local REPORT_AFTER = 3 -- consecutive failures
local WITHOUT_LIMIT = 2 ^ 53 -- records; one less is another number

-- ---- start positions ----

local SIMPLE = { trim_horizon = "TRIM_HORIZON", latest = "LATEST", shard_end = "SHARD_END" }

-- The start position of one shard, in the core's form.
local function place_of(from, closed)
  if from == "latest" and closed then
    return { kind = "SHARD_END" }
  elseif SIMPLE[from] then
    return { kind = SIMPLE[from] }
  elseif from.timestamp then
    return { kind = "AT_TIMESTAMP", timestamp = from.timestamp }
  elseif from.at then
    return { kind = "AT_SEQUENCE_NUMBER", sequence_number = from.at }
  elseif from.sub then
    return { kind = "AT_SEQUENCE_NUMBER", sequence_number = from.after, delivered = from.sub + 1 }
  end
  return { kind = "AFTER_SEQUENCE_NUMBER", sequence_number = from.after }
end

-- The stream's bare name; `stream` may be its ARN.
local function name_of(stream)
  return stream:match "^arn:[^/]*/(.+)$" or stream
end

local function check_from(from, count, stream)
  if type(from) ~= "table" then
    return
  end
  if from.stream and name_of(from.stream) ~= name_of(stream) then
    error(("records: `from` is a position in the stream '%s', but the stream to read is '%s'"):format(
      name_of(from.stream), name_of(stream)), 4)
  end
  if (from.at or from.after) and count ~= 1 then
    error(("records: `from` names a record of one shard, but there are %d; use shard:records, or "
      .. "{shards={[id]=…}}"):format(count), 4)
  end
end

local function place_for(from, shard)
  if type(from) == "table" and (from.shards or from.default) then
    return (from.shards or {})[shard.id] or from.default or "trim_horizon"
  end
  return from
end

-- Adds a shard to a plan; what else is known about it is in `known`.
local function plan_shard(places, positions, id, wanted, known)
  local place = place_of(wanted, known.closed)
  place.id, place.closed, place.unlisted = id, known.closed, known.unlisted
  place.parent_id, place.adjacent_parent_id = known.parent_id, known.adjacent_parent_id
  places[#places + 1] = place
  positions[id] = place.kind == "SHARD_END" and "shard_end" or wanted
end

-- The ids of the shards that only the position names, in order. The list may not show them yet, or they were trimmed.
local function unlisted_ids(from, positions)
  local ids = {}
  for id in pairs(type(from) == "table" and from.shards or {}) do
    if not positions[id] then
      ids[#ids + 1] = id
    end
  end
  table.sort(ids)
  return ids
end

-- The list of shards for the core, the start positions, and the number of shards to read.
local function plan(shards, from, follow)
  local places, positions, alive = {}, {}, 0
  for _, shard in ipairs(shards) do
    plan_shard(places, positions, shard.id, place_for(from, shard), shard)
  end
  for _, id in ipairs(follow and unlisted_ids(from, positions) or {}) do
    plan_shard(places, positions, id, from.shards[id], { unlisted = true })
  end
  for _, place in ipairs(places) do
    alive = alive + (place.kind == "SHARD_END" and 0 or 1)
  end
  return places, positions, alive
end

local function starts_at_latest(places)
  for _, place in ipairs(places) do
    if place.kind == "LATEST" then
      return true
    end
  end
  return false
end

-- ---- failures ----

local function report(reader, err, shard_id, in_a_row, noted)
  local key = ("reader %s %s"):format(reader.stream, err.code)
  if noted then
    notice.print_rarely(key, "%s of %s: %s", shard_id, reader.stream, tostring(err))
  elseif in_a_row >= REPORT_AFTER or core.about_credentials(err.code) then -- the next of those comes in 30 s
    notice.print_rarely(key, "reading %s of %s: %s; retrying (%d failure%s so far)", shard_id,
      reader.stream, tostring(err), in_a_row, in_a_row == 1 and "" or "s")
  end
end

local function fail(reader, err)
  reader:close()
  errors.raise(err)
end

-- `level`: "quiet": expected; "retried"; "noted": the reader goes on without something.
local function on_trouble(reader, shard_id, err, in_a_row, level)
  shard_id = shard_id == "" and "the list of shards" or shard_id
  if level ~= "quiet" and reader.on_error then
    reader.on_error(err, shard_id, in_a_row)
  elseif level ~= "quiet" then
    report(reader, err, shard_id, in_a_row, level == "noted")
  end
end

-- ---- ends of shards ----

local function on_shard_end(reader, shard_id, closed, trimmed, alive)
  reader.alive = alive
  if trimmed and reader.positions[shard_id] == "shard_end" then
    reader.positions[shard_id] = nil -- later positions need not name it
  elseif closed then
    reader.positions[shard_id] = "shard_end"
  end
end

-- ---- the iterator ----

-- Stores what an event says; it may be called again for the same event. Raises what ends the reading.
local function note_event(reader, event, a, b, c, d)
  if event == "page_end" then
    reader.positions[a] = { after = b }
  elseif event == "shard_end" then
    on_shard_end(reader, a, b, c, d)
  elseif event == "shard_added" then
    reader.positions[a], reader.alive = "trim_horizon", b
  elseif event == "trouble" and d == "fatal" then
    fail(reader, b)
  elseif event == "trouble" then
    reader.last_error = b
  elseif event == "ready" then
    reader.start = a
  elseif event == "all_read" then
    reader:close()
  elseif not reader.finished then -- "gone": the client was closed, or the process is a forked child
    fail(reader, a)
  end
end

-- Handles an event that the core returns instead of a record.
local function on_event(reader, event, a, b, c, d)
  note_event(reader, event, a, b, c, d)
  reader.core:pass() -- what an error cuts off before is returned again
  if event == "page_end" then
    wait.yield_to_others(reader.client)
  elseif event == "trouble" then
    on_trouble(reader, a, b, c, d)
  end
end

-- When the idle time of a wait that began at `started` ends, and whether it ends with the last error. It does not run
-- while a shard is behind or failing.
local function idle_deadline(reader, started)
  local progress, since = reader.core:progress()
  if progress == "behind" then
    return core.now() + reader.idle_timeout, false
  end
  return math.max(started, since) + reader.idle_timeout, progress == "failing"
end

local function wait_more(reader, started)
  local deadline, failing
  if reader.idle_timeout then
    deadline, failing = idle_deadline(reader, started)
  end
  if not deadline or core.now() < deadline then
    wait.ready(reader.client, reader.core:id(), deadline)
    return
  end
  reader:close()
  if failing and reader.last_error then
    errors.raise(reader.last_error)
  end
end

-- Waits for the next record, or list of records. Returns nil at the end.
local function await_more(reader, event, a, b, c, d)
  local handle, started = reader.core, nil
  while not reader.finished and reader.left > 0 do -- another coroutine may read from it meanwhile
    if event then
      on_event(reader, event, a, b, c, d)
    else
      started = started or core.now()
      wait_more(reader, started)
    end
    local got
    got, event, a, b, c, d = reader.take(handle, reader.left)
    if got then
      return got
    end
  end
end

--- Returns the next record (with `batch`, the next 1 to 10,000; with `values`, the fields of the next one), or nil when
--- reading has ended: by `limit`, `stop_at_tip`, `idle_timeout` or `stop`, or because every shard was read to its end.
---
--- Raises the error object when a failure is permanent, when `max_attempts` attempts fail before the first answer, or
--- when shards fail for all of `idle_timeout`. Other transient failures are retried without end and passed to
--- `on_error`, which is also told of a trimmed shard that is passed over.
---@return kinesis.Record|kinesis.Record[]|kinesis.Columns|nil next
function Reader:next()
  if not is_reader[self] then
    check_self(type(self) == "table" and self.take and self or nil, "reader:next")
  end
  local left = self.left
  if left <= 0 then
    self:close()
    return nil
  end
  local got, event, a, b, c, d = self.take(self.core, left)
  if not got then
    got = await_more(self, event, a, b, c, d)
    if not got then
      return nil
    end
  end
  self.left = self.left - (self.batch and (got.n or #got) or 1)
  return got
end

meta.__call = Reader.next

-- The method `next` of a reader with the option `values`: the values of the next record, which do not become a table.
local function next_values(reader, first, ...)
  if first == nil or first == false then -- an event, or nothing yet
    local got = await_more(reader, ...)
    if not got then
      return nil
    end
    reader.left = reader.left - 1
    return unpack(got, 1, got.n)
  end
  reader.left = reader.left - 1
  return first, ...
end

local function pack_values(first, ...)
  if first then
    return { n = select("#", ...) + 1, first, ... }
  end
  return first, ...
end

local function take_values(handle, left)
  return pack_values(handle:values(left))
end

local ValuesReader = setmetatable({}, { __index = Reader })

function ValuesReader:next()
  if not is_reader[self] then
    check_self(type(self) == "table" and self.take and self or nil, "reader:next")
  end
  if self.left <= 0 then
    self:close()
    return nil
  end
  return next_values(self, self.core:values(self.left))
end

--- Returns the position after the last record that this reader returned: a value for `from`. It can be stored as JSON.
---@return kinesis.Position position
function Reader:position()
  check_self(self, "reader:position")
  local places = {}
  for id, place in pairs(self.positions) do
    places[id] = place == "latest" and self.start and { timestamp = self.start } or place
  end
  local shard_id, sequence_number, sub = self.core:current(self.left)
  if shard_id then
    places[shard_id] = { after = sequence_number, sub = sub }
  end
  setmetatable(places, position_meta)
  return setmetatable({ stream = name_of(self.stream), shards = places, default = "trim_horizon" }, position_meta)
end

--- Ends the reading: the next call of the reader returns nil. A call that waits in another coroutine returns nil, too.
---@return true stopped
function Reader:stop()
  check_self(self, "reader:stop")
  self:close()
  wait.wake(self.client, self.core:id())
  return true
end

--- Stops fetching at once and frees the fetched records. Idempotent; `position` still works.
---@return true closed
function Reader:close()
  check_self(self, "reader:close")
  if self.finished then
    return true
  end
  self.positions = self:position().shards
  self.left = 0
  self.core:close()
  self.finished = true -- last: a close that an error cuts off can be called again, as `next` does
  return true
end

meta.__close = Reader.close

local values_meta = {}
for name, value in pairs(meta) do
  values_meta[name] = value
end
values_meta.__index, values_meta.__call = ValuesReader, ValuesReader.next

advice.add_methods(Reader, "reader:", { read = "NEXT()", get = "NEXT()", records = "NEXT()" })

-- Waits until all shard iterators at the tip are open, so that the reader sees what the caller puts next.
local function await_start(reader)
  while not reader.start and not reader.finished do
    local _, event, a, b, c, d = reader.core:next(reader.left)
    if event then
      on_event(reader, event, a, b, c, d)
    else
      wait.ready(reader.client, reader.core:id())
    end
  end
end

local function take_batch(handle, left)
  local got, event, a, b, c, d = handle:batch(left)
  return got and setmetatable(got, pretty.records_meta), event, a, b, c, d
end

-- How a reader takes what it returns from the core.
local function taker(handle, checked)
  if checked.values then
    return take_values
  elseif checked.batch == "columns" then
    return handle.columns
  end
  return checked.batch and take_batch or handle.next
end

--- Opens a reader of these shards.
---@param client kinesis.Client
---@param stream string
---@param shards kinesis.Shard[]
---@param checked kinesis.RecordsOptions with their defaults
---@param follow boolean whether to read their children, too
---@return kinesis.Reader
function M.open(client, stream, shards, checked, follow)
  local problem = fields.check_together(checked)
  if problem then
    error(problem, 3)
  end
  local from = checked.from or "trim_horizon"
  check_from(from, #shards, stream)
  local places, positions, alive = plan(shards, from, follow)
  local target, misplaced = endpoints.of_stream(client, stream)
  if misplaced then
    errors.raise(misplaced)
  end
  local handle, err = client.core:reader {
    stream = stream,
    target = target,
    shards = places,
    poll_interval = checked.poll_interval,
    window = checked.window,
    stop_at_tip = checked.stop_at_tip,
    deaggregate = checked.deaggregate,
    fields = checked.values or checked.fields,
    follow = follow,
  }
  if not handle then
    errors.raise(err or errors.new("Closed", "the client was closed"))
  end
  local reader = setmetatable({
    client = client,
    core = handle,
    stream = stream,
    positions = positions,
    alive = alive,
    idle_timeout = checked.idle_timeout,
    take = taker(handle, checked),
    batch = checked.batch,
    left = checked.limit or WITHOUT_LIMIT, -- the core delivers the same again until it is another number
    on_error = checked.on_error,
    finished = false,
  }, checked.values and values_meta or meta)
  is_reader[reader] = true
  client.readers[reader] = true
  if client.leaving then
    reader:stop()
  end
  if starts_at_latest(places) then
    await_start(reader)
  end
  return reader
end

return M
