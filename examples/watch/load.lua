-- What was put into each shard, second by second. Records count by the time at which they arrived in the shard, so
-- that a late or a large answer shows neither a gap nor a burst that was not there.
local M = {
  SECONDS = 60, -- of history
  RECORDS = 1000, -- what a shard takes in a second
  BYTES = 1024 * 1024,
}

local SLOTS = 128 -- seconds that are stored
local AVERAGED = 10 -- seconds of a rate
local SETTLED = 2 -- a second is complete when it is this old: the reader asks once a second

-- ---- one shard, or all of them ----

local Row = {}
Row.__index = Row

local function new_row(id)
  return setmetatable({ id = id, second = {}, records = {}, puts = {}, bytes = {} }, Row) -- the latter four: by slot
end

-- `puts`: 1 for a record of the shard, 0 for a later record of the same aggregate: it does not count for the limit.
function Row:add(second, puts, bytes)
  local slot = second % SLOTS
  local stored = self.second[slot]
  if stored ~= second then
    if stored and stored > second then -- older than the history
      return
    end
    self.second[slot], self.records[slot], self.puts[slot], self.bytes[slot] = second, 0, 0, 0
  end
  self.records[slot] = self.records[slot] + 1
  self.puts[slot] = self.puts[slot] + puts
  self.bytes[slot] = self.bytes[slot] + bytes
end

-- Records, records of the shard, and bytes a second in the `count` seconds up to `last`.
function Row:mean(last, count)
  local records, puts, bytes = 0, 0, 0
  for second = last - count + 1, last do
    local slot = second % SLOTS
    if self.second[slot] == second then
      records, puts, bytes = records + self.records[slot], puts + self.puts[slot], bytes + self.bytes[slot]
    end
  end
  count = math.max(count, 1)
  return records / count, puts / count, bytes / count
end

-- The history in this many cells, oldest first; `measure` makes a number of what `mean` returns.
function Row:history(last, cells, measure)
  local list, seconds = {}, M.SECONDS / cells
  for i = 1, cells do
    list[i] = measure(self:mean(last - (cells - i) * seconds, seconds))
  end
  return list
end

--- The part of its limits that a shard uses.
function M.load(_, puts, bytes)
  return math.max(puts / M.RECORDS, bytes / M.BYTES)
end

-- ---- the stream ----

local Load = {}
Load.__index = Load

function M.new(now)
  return setmetatable({ shards = {}, total = new_row(), started = now }, Load)
end

--- The row of a shard. It is there from the first call on.
function Load:shard(id)
  local row = self.shards[id]
  if not row then
    row = new_row(id)
    self.shards[id] = row
  end
  return row
end

--- Counts records that are given as columns. `now`: seconds of this machine's clock.
function Load:add(columns, now)
  local ids, times, subs, newest = columns.shard_id, columns.arrival_timestamp, columns.sub_sequence_number, 0
  for i = 1, columns.n do
    local second, key = math.floor(times[i]), columns.partition_key[i]
    local puts = (subs[i] or 0) == 0 and 1 or 0
    local bytes = #columns.data[i] + (puts == 1 and key and #key or 0)
    newest = math.max(newest, second)
    self:shard(ids[i]):add(second, puts, bytes)
    self.total:add(second, puts, bytes)
  end
  -- the clock of the service is this far behind: the least that was seen has the least delay in it
  self.offset = math.min(self.offset or math.huge, now - newest)
end

--- The last complete second, by the clock of the service, and the number of seconds of a rate. `lag`: of the reader,
--- if known: what came later is not read yet.
function Load:last(now, lag)
  local offset = self.offset or 0
  local last = now - offset - math.max(SETTLED, math.floor(lag or 0) + 1)
  return last, math.max(0, math.min(AVERAGED, last - (self.started - offset) + 1))
end

return M
