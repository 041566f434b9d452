-- The newest records of several shards: which times are new enough, and where each shard begins.

local M = {}

---@class kinesis.newest
---@field since number|nil the records since this time are enough; nil: not so many are known
local Newest = {}
Newest.__index = Newest

---@param wanted integer user records
---@return kinesis.newest
function M.new(wanted)
  return setmetatable({ wanted = wanted, list = {}, found = 0 }, Newest)
end

local function is_newer(a, b)
  return a.timestamp > b.timestamp
end

-- Keeps the newest entries with the wanted number of user records.
local function trim(newest)
  local kept, found = {}, 0
  table.sort(newest.list, is_newer)
  for _, entry in ipairs(newest.list) do
    if found >= newest.wanted then
      break
    end
    kept[#kept + 1] = entry
    found = found + entry.count
  end
  newest.list, newest.found = kept, found
  if found >= newest.wanted then
    newest.since = kept[#kept].timestamp
  end
end

---Adds records that were not known before.
---@param entries kinesis.search.entry[]
function Newest:add(entries)
  for _, entry in ipairs(entries) do
    if not self.since or entry.timestamp > self.since then
      self.list[#self.list + 1] = entry
      self.found = self.found + entry.count
    end
  end
  if self.found >= (self.since and 2 or 1) * self.wanted then -- not each time: it sorts
    trim(self)
  end
end

-- All entries with their shards, newest first. Times of arrival may go back a little inside a shard; its records stay
-- in their order.
local function line_up(searches)
  local all = {}
  for id, search in pairs(searches) do
    local time = math.huge
    for i = #search.entries, 1, -1 do
      local entry = search.entries[i]
      time = math.min(time, entry.timestamp)
      all[#all + 1] = { id = id, time = time, index = i, entry = entry }
    end
  end
  table.sort(all, function(a, b)
    if a.time ~= b.time then
      return a.time > b.time
    elseif a.id ~= b.id then
      return a.id > b.id
    end
    return a.index > b.index
  end)
  return all
end

---The start positions of the shards that have some of the newest records.
---@param searches table<string, kinesis.search> by shard id
---@param wanted integer user records
---@return table<string, kinesis.StartPosition> starts
function M.choose(searches, wanted)
  local starts, found = {}, 0
  for _, item in ipairs(line_up(searches)) do
    if found >= wanted then
      break
    end
    found = found + item.entry.count
    local sequence_number, skipped = item.entry.sequence_number, found - wanted
    starts[item.id] = skipped > 0 and { after = sequence_number, sub = skipped - 1 } or { at = sequence_number }
  end
  return starts
end

return M
