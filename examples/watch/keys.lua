-- The hottest partition keys of about the last minute, in bounded memory whatever their number: the algorithm of Misra
-- and Gries with weights, on a sample. A weight is too low by at most 1/COUNTERS of all, never too high.
local COUNTERS = 256
local SAMPLES = 2000 -- keys to look at in a second; of more records, a random part
local KEPT = 0.97 -- the part of a weight that is left after a second: half of it after 23 s

local Keys = {}
Keys.__index = Keys

local M = {}

--- `least`: the weight of a small record. A record uses its share of a shard's records, and of its bytes.
function M.new(least)
  return setmetatable({ least = least, counters = {}, count = 0, total = 0, seconds = 0, stride = 1, skip = 0,
    records = 0 }, Keys)
end

local function lower(self, weight)
  local least = weight
  for _, counter in pairs(self.counters) do
    least = math.min(least, counter.weight)
  end
  for key, counter in pairs(self.counters) do
    counter.weight = counter.weight - least
    if counter.weight <= 0 then
      self.counters[key] = nil
      self.count = self.count - 1
    end
  end
  return weight - least
end

local function count(self, key, shard_id, weight)
  self.total = self.total + weight
  local counter = self.counters[key]
  if counter then
    counter.weight, counter.shard_id = counter.weight + weight, shard_id
    return
  end
  if self.count == COUNTERS then
    weight = lower(self, weight)
  end
  if weight > 0 and self.count < COUNTERS then
    self.counters[key] = { key = key, shard_id = shard_id, weight = weight }
    self.count = self.count + 1
  end
end

--- Counts a sample of records that are given as columns. A missing key counts for nothing.
function Keys:add(columns)
  self.records = self.records + columns.n
  local i = 1 + self.skip
  while i <= columns.n do
    local key, sub, weight = columns.partition_key[i], columns.sub_sequence_number[i], #columns.data[i]
    if key then
      weight = sub and weight or math.max(weight + #key, self.least)
      count(self, key, columns.shard_id[i], weight * self.stride)
    end
    i = i + math.random(1, 2 * self.stride - 1) -- a fixed stride would meet the same keys of a regular sequence
  end
  self.skip = i - columns.n - 1
end

--- To be called once for each second of records.
function Keys:tick()
  self.stride = math.max(1, math.ceil(self.records / SAMPLES))
  self.records = 0
  self.seconds = self.seconds * KEPT + 1
  self.total = self.total * KEPT
  for key, counter in pairs(self.counters) do
    counter.weight = counter.weight * KEPT
    if counter.weight < 1 then
      self.counters[key] = nil
      self.count = self.count - 1
    end
  end
end

--- At most this many keys, hottest first, which have at least a hundredth of all:
--- { key=, shard_id=, share= (of the stream), rate= (weight a second) }.
function Keys:top(most)
  local list = {}
  for _, counter in pairs(self.counters) do
    if counter.weight >= self.total / 100 then
      list[#list + 1] = { key = counter.key, shard_id = counter.shard_id, share = counter.weight / self.total,
        rate = counter.weight / math.max(self.seconds, 1) }
    end
  end
  table.sort(list, function(a, b)
    return a.share > b.share or a.share == b.share and a.key < b.key
  end)
  for i = #list, most + 1, -1 do
    list[i] = nil
  end
  return list
end

return M
