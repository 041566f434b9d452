-- What specs of producers check of records and counts.
local assert = require "luassert"

local M = {}

--- The data of records, sorted.
function M.data_of(records)
  local list = {}
  for i, record in ipairs(records) do
    list[i] = record.data
  end
  table.sort(list)
  return list
end

--- Each accepted record has one outcome, or is open. Returns the stats.
function M.check_sums(stats)
  assert.equal(stats.accepted, stats.stored + stats.failed + stats.expired + stats.returned + stats.open)
  assert.equal(stats.stored, stats.latency.count)
  local in_shards, throttled = 0, 0
  for _, shard in pairs(stats.shards) do
    in_shards, throttled = in_shards + shard.stored, throttled + shard.throttled
  end
  assert.equal(stats.kinesis_records_stored, in_shards)
  assert.equal(stats.throttled, throttled)
  return stats
end

return M
