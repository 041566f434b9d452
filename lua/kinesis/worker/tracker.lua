--- How far a shard is processed: the records that were handed over, in their order, and which of them are done. Records
--- may be done in any order; the checkpoint is behind the last one before which all are.
local M = {}

---@class kinesis.worker.Tracker
---@field first integer index of the oldest record that is not behind the checkpoint
---@field last integer index of the newest record
---@field seq? string the checkpoint: a sequence number, as far as there is one
---@field sub? integer and an index in its aggregate
local Tracker = {}
Tracker.__index = Tracker

---@return kinesis.worker.Tracker
function M.new()
  return setmetatable({
    first = 1, last = 0,
    positions = {}, -- index -> the record's position
    indexes = setmetatable({}, { __mode = "k" }), -- record -> index
    is_done = {}, -- index -> true
  }, Tracker)
end

--- A record, or a list of records, was handed over. `seq` and `sub` are those of its last record.
---@param record any what the handler gets; what `done` is called with
---@param seq string
---@param sub? integer
function Tracker:add(record, seq, sub)
  self.last = self.last + 1
  self.positions[self.last] = { seq = seq, sub = sub }
  self.indexes[record] = self.last
end

--- How many are handed over and not behind the checkpoint.
---@return integer
function Tracker:pending()
  return self.last - self.first + 1
end

local function finish(tracker, index)
  tracker.is_done[index] = true
  while tracker.is_done[tracker.first] do
    local position = tracker.positions[tracker.first]
    tracker.seq, tracker.sub = position.seq, position.sub
    tracker.positions[tracker.first], tracker.is_done[tracker.first] = nil, nil
    tracker.first = tracker.first + 1
  end
end

--- A record is processed. Doing it twice changes nothing.
---@param record any
---@return boolean known false: it was not handed over by this tracker
function Tracker:done(record)
  local index = self.indexes[record]
  if index and index >= self.first then
    finish(self, index)
  end
  return index ~= nil
end

--- All records up to this one are processed.
---@param record any
---@return boolean known
function Tracker:done_until(record)
  local index = self.indexes[record]
  for i = self.first, index or 0 do
    finish(self, i)
  end
  return index ~= nil
end

--- All that were handed over are processed.
function Tracker:done_all()
  for i = self.first, self.last do
    finish(self, i)
  end
end

return M
