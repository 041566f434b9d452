-- What specs of producers check of records and counts.
local assert = require "luassert"
local kinesis = require "kinesis"

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

-- Decimal numbers as strings.
local function less(one, other)
  return #one < #other or #one == #other and one < other
end

local function belongs(record, shard)
  local hash = record.explicit_hash_key or kinesis.hash_key(record.partition_key)
  return not less(hash, shard.starting_hash_key) and not less(shard.ending_hash_key, hash)
end

--- Every user record in the stream, in the order of its shard: {data=, key=, good=}. `good`: readers do not drop it,
--- as it was stored alone, or all records of its aggregate belong to its shard.
function M.user_records(client, stream)
  local shards, by_id, list = client:shards(stream), {}, {}
  for _, shard in ipairs(shards) do
    by_id[shard.id] = shard
  end
  for record in shards:records { stop_at_tip = true, poll_interval = 0.2, idle_timeout = 20, deaggregate = false } do
    local users, good = kinesis.deaggregate(record.data), true
    for _, user in ipairs(users or {}) do
      good = good and belongs(user, by_id[record.shard_id])
    end
    for _, user in ipairs(users or { record }) do
      list[#list + 1] = { data = user.data, key = user.partition_key, good = good }
    end
  end
  return list
end

--- Checks that readers find each of these data; returns how many copies each has at most, and how many too many there
--- are in all.
function M.check_copies(data, list)
  local good, copies, most = {}, {}, 0
  for _, record in ipairs(list) do
    good[record.data] = good[record.data] or record.good
    copies[record.data] = (copies[record.data] or 0) + 1
    most = math.max(most, copies[record.data])
  end
  for _, one in ipairs(data) do
    assert.is_true(good[one], one .. " is not there")
  end
  return most, #list - #data
end

return M
