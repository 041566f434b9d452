-- Aggregation and deaggregation in the format of the Kinesis Producer Library, for callers of put and get_records.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local pretty = require "kinesis.observe.pretty"

local codec = core.codec

local M = {}

--- A record inside an aggregate.
---@class kinesis.UserRecord
---@field data string bytes
---@field partition_key string its own partition key
---@field explicit_hash_key? string selects the shard instead of the key's hash; a decimal number below 2^128
---@field sub_sequence_number integer its index in the aggregate, from 0

--- Aggregates records into one, as the Kinesis Producer Library does. The hash keys of all records must belong to one
--- shard: otherwise the Kinesis Client Library drops the aggregate. It also drops aggregates of streams whose
--- RecordDistributionStrategy is AUTO. To put the aggregate:
---
---     local data, partition_key, explicit_hash_key = kinesis.aggregate(records)
---     kinesis.put(stream, data, partition_key, { explicit_hash_key = explicit_hash_key })
---
--- https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
---
--- Raises at the caller's line a message that names the wrong argument.
---@param records kinesis.Entry[] at least one, each with a partition key; together at most what one record may have
---@return string data
---@return string partition_key always "a"
---@return string explicit_hash_key the first record's hash key, a decimal number
function M.aggregate(records)
  if type(records) ~= "table" then
    error("aggregate: records must be a list of tables, got " .. type(records), 2)
  end
  local data, partition_key, explicit_hash_key = codec.aggregate(records)
  if not data then
    error("aggregate: " .. partition_key, 2)
  end
  return data, partition_key, explicit_hash_key
end

--- Splits an aggregate in the format of the Kinesis Producer Library into its records.
--- https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
---
--- Raises at the caller's line a message that names the wrong argument.
---@param data string the data of a record
---@return kinesis.UserRecord[]|nil records in the order in which they were aggregated
---@return kinesis.Error err `BadAnswer`: the data is no aggregate
function M.deaggregate(data)
  if type(data) ~= "string" then
    error("deaggregate: data must be a string, got " .. type(data), 2)
  end
  local records = codec.deaggregate(data)
  if not records then
    return nil, errors.new("BadAnswer", "the data is no aggregate of the Kinesis Producer Library")
  end
  for _, record in ipairs(records) do
    setmetatable(record, core.record_meta)
  end
  return setmetatable(records, pretty.records_meta)
end

--- Returns the hash key of a partition key: the MD5 of its bytes, as a number. The service stores the record in the
--- shard whose range of hash keys contains it.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_HashKeyRange.html
---
--- Raises at the caller's line a message that names the wrong argument.
---@param partition_key string 1 to 256 characters of UTF-8
---@return string hash_key a decimal number below 2^128
function M.hash_key(partition_key)
  if type(partition_key) ~= "string" then
    error("hash_key: partition_key must be a string, got " .. type(partition_key), 2)
  end
  local hash_key, problem = codec.hash_key(partition_key)
  if not hash_key then
    error("hash_key: " .. problem, 2)
  end
  return hash_key
end

return M
