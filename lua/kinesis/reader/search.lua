-- The search for the newest records of one shard: which call comes next, and what its answer says. Calls nothing.
--
-- A run reads from a time to the tip. The first runs begin ever further back, until one has enough records. A run that
-- begins too far back is given up after its first page, which says how dense the records are there: the next one begins
-- where as many as are wanted should be left, or between the times that were too near and too far. Where little is left
-- to read, the run goes on.

local M = {}

local AGES = { 60, 3600, 43200 } -- seconds; then the beginning of the shard
local PAGE_MAX = 10000 -- records
local SMALL_BYTES = 1048576 -- a larger page may be cut off, though it says that it is 0 ms behind
local NEAR_MILLIS = 1000 -- some services say for ever that a shard is some milliseconds behind
local READ_ON_RECORDS, READ_ON_BYTES = 20000, 16777216 -- so much costs less than another run
local MARGIN = 2 -- how many times the wanted records a run is to find
local RESOLUTION = 0.002 -- seconds: between nearer times there is none
local RETENTION = 366 * 86400 -- seconds: more than the longest one

--- A record: `count` is the number of user records in it.
---@class kinesis.search.entry
---@field timestamp number
---@field sequence_number string
---@field count integer

---@class kinesis.search
---@field wanted integer user records
---@field entries kinesis.search.entry[] the newest records since `since`, oldest first: all, or enough
---@field since number|nil seconds since 1970; nil: nothing is known yet
---@field oldest number|nil time of a record of the shard, the oldest that was seen
---@field whole boolean|nil whether the shard has no other records than `entries`
---@field calls integer
local Search = {}
Search.__index = Search

---@param wanted integer user records
---@param now number seconds since 1970, by the service's clock
---@param limit integer most records of the first page of a run
---@return kinesis.search
function M.new(wanted, now, limit)
  return setmetatable({ wanted = wanted, now = now, limit = math.min(limit, PAGE_MAX), calls = 0, entries = {},
    found = 0, step = 1, near = now }, Search)
end

-- ---- where runs begin ----

-- Where to begin when nothing is known to be too far back; nil: at the beginning of the shard.
local function further_back(search)
  local more = MARGIN * search.wanted / search.found
  if search.found > 0 and more <= 4 and not search.scaled then
    search.scaled = true
    return search.now - (search.now - search.near) * more
  end
  local age = AGES[search.step]
  search.step = search.step + 1
  if age and search.found > 0 then
    age = math.max(age, (search.now - search.near) * more)
  end
  return age and age < RETENTION and age < search.now and search.now - age or nil
end

-- Between what is too far back and what is too near: as if the records had come steadily until now, if that lies
-- there; else in the middle.
local function between(search)
  local far, near = search.now - search.far.at, search.now - search.near
  local age = MARGIN * search.wanted / search.far.rate
  if search.found > 0 then
    age = near * MARGIN * search.wanted / search.found
  end
  if age <= near * 1.5 or age >= far * 0.75 then
    age = near > 0 and far > 4 * near and math.sqrt(far * near) or (far + near) / 2
  end
  return math.max(search.now - age, search.far.at + RESOLUTION / 2)
end

-- Whether a run has little left to read before what is too near.
local function is_nearly_over(search, run)
  local span = search.near - run.at
  local left = run.rate * math.max(0, span)
  return span < RESOLUTION or left <= READ_ON_RECORDS and left * run.record_bytes <= READ_ON_BYTES
end

local function begin(search, since)
  search.run = { since = since and math.floor(since * 1000) / 1000, list = {}, first = 1, found = 0, empty = 0,
    limit = search.limit }
end

local function begin_next(search, since)
  local far = search.far
  if far and is_nearly_over(search, far) then
    search.run, search.far = far, nil
  elseif far then
    begin(search, math.max(between(search), since or 0))
  else
    begin(search, since or further_back(search))
  end
end

-- ---- what runs find ----

-- Adds a record to a run, which keeps the newest ones with the wanted number of user records.
local function add(run, wanted, entry)
  local list = run.list
  list[#list + 1] = entry
  run.found = run.found + entry.count
  while run.found - list[run.first].count >= wanted do
    run.found = run.found - list[run.first].count
    list[run.first] = false
    run.first = run.first + 1
  end
end

-- What a run has found before the entries that are known. None when those are not among them: then so many new records
-- have come that they are not needed.
local function find_fresh(list, known)
  local fresh = {}
  for _, entry in ipairs(list) do
    if known and entry.sequence_number == known.sequence_number then
      return fresh
    end
    fresh[#fresh + 1] = entry
  end
  return known and {} or fresh
end

-- Returns the entries that were not known before.
local function finish_run(search, run)
  local list = {}
  for i = run.first, #run.list do
    list[#list + 1] = run.list[i]
  end
  local fresh = find_fresh(list, search.entries[1])
  search.entries, search.found = list, run.found
  search.near, search.since = run.since or 0, run.since or 0
  search.whole = run.since == nil and run.first == 1
  search.done = search.done or run.found >= search.wanted or run.since == nil
  search.run = nil
  return fresh
end

-- Whether a page is the last one that there is now, or reaches what came after the search began.
local function is_tip(search, page, run)
  local last = page.records[#page.records]
  if last and last.timestamp >= search.now then
    return true
  end
  local small = #page.records < run.limit and page.bytes < SMALL_BYTES
  local near = #page.records == 0 and (not page.behind or page.behind < NEAR_MILLIS)
  run.empty = near and run.empty + 1 or 0
  return not page.next or page.behind == 0 and small or run.empty >= 2
end

-- Where the page ends, and how dense its records are.
local function note_page(search, page, run)
  local count = #page.records
  local first, last = page.records[1], page.records[count]
  run.at = last and last.timestamp or search.now - (page.behind or 0) / 1000
  run.rate = last and count / math.max(0.001, last.timestamp - first.timestamp) or 0
  run.record_bytes = last and page.bytes / count or 0
  run.iterator, run.limit = page.next, PAGE_MAX
end

---The next call: an iterator at a time, one at the beginning of the shard, or a page.
---@param since number|nil records before this time are not wanted any more
---@return "timestamp"|"trim_horizon"|"page"|nil call nil: the search is over
---@return number|string|nil argument the time, or the iterator
---@return integer|nil limit of the page
function Search:next(since)
  if self.done or since and self.since and self.since <= since then
    self.done = true
    return nil
  elseif not self.run then
    begin_next(self, since)
  end
  local run = self.run
  self.calls = self.calls + 1
  if run.iterator then
    return "page", run.iterator, run.limit
  end
  return run.since and "timestamp" or "trim_horizon", run.since
end

---Whether the next call is for a page.
---@return boolean
function Search:wants_page()
  return self.run ~= nil and self.run.iterator ~= nil
end

---@param iterator string|nil nil: the service gives none, because nothing is left in the shard
function Search:take_iterator(iterator)
  self.run.iterator = iterator
  if not iterator then
    finish_run(self, self.run)
  end
end

---The service refuses the time of a run, because it lies in the future by its own clock.
function Search:refuse_time()
  self.near, self.run = self.run.since, nil
end

--- The iterator of a run has expired: the run begins again.
function Search:begin_again()
  begin(self, self.run.since)
end

---@param page table {records={kinesis.search.entry…}, behind=milliseconds, next=iterator, bytes=}
---@return kinesis.search.entry[]|nil fresh when a run is over: those that were not known before
function Search:take_page(page)
  local run, first = self.run, page.records[1]
  if first then
    self.oldest = math.min(self.oldest or first.timestamp, first.timestamp)
  end
  for _, entry in ipairs(page.records) do
    add(run, self.wanted, entry)
  end
  if is_tip(self, page, run) then
    return finish_run(self, run)
  end
  note_page(self, page, run)
  if first and not is_nearly_over(self, run) then
    self.far, self.run = run, nil
  end
end

return M
