--- How far a shard is processed. The checkpoint never moves backwards, and never behind what was handed over. With
--- `ack`, records may be done in any order; the checkpoint is behind the last one before which all are. Only then it
--- keeps something of each record, until that is behind the checkpoint.
local positions = require "kinesis.worker.positions"

local M = {}

---@class kinesis.worker.Tracker
---@field seq? string the checkpoint: a sequence number, as far as there is one
---@field sub? integer and an index in its aggregate
---@field last_seq? string the newest record that was handed over
---@field last_sub? integer
---@field due_seq? string the newest one that was handed over and not skipped
---@field due_sub? integer
---@field in_flight? table[] with `ack`: index -> {seq=, sub=, index=, done=}, in the order of the records
---@field first integer index of the oldest record that is not behind the checkpoint
---@field last integer index of the newest record
local Tracker = {}
Tracker.__index = Tracker

---@param ack? boolean the option
---@param seq? string the checkpoint behind which reading begins, as far as there is one
---@param sub? integer
---@return kinesis.worker.Tracker
function M.new(ack, seq, sub)
  return setmetatable({ in_flight = ack and {} or nil, first = 1, last = 0, seq = seq, sub = sub }, Tracker)
end

--- A record, or a list whose last record is there, is handed over.
---@param seq string
---@param sub? integer
---@return table|nil entry with `ack`: for `done`
function Tracker:add(seq, sub)
  self.last_seq, self.last_sub = seq, sub
  if not self.in_flight then
    return nil
  end
  local entry = { seq = seq, sub = sub, index = self.last + 1, done = false }
  self.last = entry.index
  self.in_flight[entry.index] = entry
  return entry
end

--- How many are handed over and not behind the checkpoint, with `ack`.
---@return integer
function Tracker:pending()
  return self.last - self.first + 1
end

-- The checkpoint is behind this position, unless it is already.
local function move(tracker, seq, sub)
  if not tracker.seq or positions.is_before(tracker.seq, tracker.sub, seq, sub) then
    tracker.seq, tracker.sub = seq, sub
  end
end

local function drop_first(tracker)
  tracker.in_flight[tracker.first] = nil
  tracker.first = tracker.first + 1
end

-- Moves the checkpoint over the oldest records that are done.
local function sweep(tracker)
  local entry = tracker.in_flight[tracker.first]
  while entry and entry.done do
    move(tracker, entry.seq, entry.sub)
    drop_first(tracker)
    entry = tracker.in_flight[tracker.first]
  end
end

--- A record is processed. Doing it twice changes nothing.
---@param entry table of `add`
function Tracker:done(entry)
  if entry.index >= self.first then
    entry.done = true
    sweep(self)
  end
end

--- The newest record was not processed after all, and will be read again.
---@param entry table of `add`
function Tracker:withdraw(entry)
  if entry.index == self.last and not entry.done and entry.index >= self.first then
    self.in_flight[entry.index] = nil
    self.last = entry.index - 1
  end
end

--- Whether a position was handed over.
---@param seq string
---@param sub? integer
---@return boolean
function Tracker:has(seq, sub)
  local last = self.last_seq
  return last ~= nil and (seq == last and sub == nil or not positions.is_before(last, self.last_sub, seq, sub))
end

--- All records up to this position are processed: where it has no index, all that were handed over of this aggregate.
---@param seq string
---@param sub? integer
---@return boolean known false: it was not handed over
function Tracker:done_until(seq, sub)
  if not self:has(seq, sub) then
    return false
  elseif seq == self.last_seq and sub == nil then
    sub = self.last_sub
  end
  move(self, seq, sub)
  while self.in_flight and self.first <= self.last do
    local entry = self.in_flight[self.first]
    if positions.is_before(seq, sub, entry.seq, entry.sub) then
      break
    end
    drop_first(self)
  end
  if self.in_flight then
    sweep(self)
  end
  return true
end

--- With `ack`: the record at a position, by binary search.
---@param seq string
---@param sub integer
---@return table|nil entry nil: it is behind the checkpoint, or was not handed over
function Tracker:find(seq, sub)
  local low, high = self.first, self.last
  while low <= high do
    local middle = math.floor((low + high) / 2)
    local entry = self.in_flight[middle]
    if entry.seq == seq and (entry.sub == sub or entry.sub == nil) then
      return entry
    elseif positions.is_before(entry.seq, entry.sub, seq, sub) then
      low = middle + 1
    else
      high = middle - 1
    end
  end
end

--- The newest record was handed over for good: with checkpoints by hand, one has to cover it. A record that is skipped
--- is none.
function Tracker:note_due()
  self.due_seq, self.due_sub = self.last_seq, self.last_sub
end

--- Whether the checkpoint covers all records that are due.
---@return boolean
function Tracker:is_covered()
  return self.due_seq == nil
    or self.seq ~= nil and not positions.is_before(self.seq, self.sub, self.due_seq, self.due_sub)
end

return M
