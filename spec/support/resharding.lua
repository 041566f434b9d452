--- Splits and merges of the shards of a stream.
local assert = require "luassert"
local fresh = require "support.fresh"

local M = {}

--- The hash key in the middle of a shard, by long addition and division in decimal.
function M.middle(shard)
  local a, b = shard.starting_hash_key, shard.ending_hash_key
  a = ("0"):rep(#b - #a) .. a
  local digits, carry = {}, 0
  for i = #b, 1, -1 do
    local sum = a:byte(i) + b:byte(i) - 96 + carry
    digits[i], carry = sum % 10, math.floor(sum / 10)
  end
  table.insert(digits, 1, carry)
  local half, rest = {}, 0
  for i = 1, #digits do
    local value = rest * 10 + digits[i]
    half[i], rest = ("%d"):format(math.floor(value / 2)), value % 2
  end
  return (table.concat(half):gsub("^0+(%d)", "%1"))
end

--- Splits a shard in the middle.
function M.split(client, stream, shard)
  assert(client:call("SplitShard", {
    StreamName = stream, ShardToSplit = shard.id, NewStartingHashKey = M.middle(shard),
  }))
  fresh.active(client, stream)
end

--- Merges two adjacent shards.
function M.merge(client, stream, a, b)
  assert(client:call("MergeShards", { StreamName = stream, ShardToMerge = a, AdjacentShardToMerge = b }))
  fresh.active(client, stream)
end

--- The shards that are not closed.
function M.open_shards(client, stream)
  local open = {}
  for _, shard in ipairs(client:shards(stream)) do
    if not shard.closed then
      open[#open + 1] = shard
    end
  end
  return open
end

--- Whether one hash key is less than another.
function M.is_less(a, b)
  if #a ~= #b then
    return #a < #b
  end
  return a < b
end

return M
