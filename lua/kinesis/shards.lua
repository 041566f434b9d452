--- The shards of a stream: a list, and what begins to read them.
local options = require "kinesis.options"
local pretty = require "kinesis.pretty"
local reader = require "kinesis.reader"

--- A shard, as ListShards told of it.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Shard.html
---@class kinesis.Shard
---@field id string such as "shardId-000000000000"
---@field starting_hash_key string the least hash that it holds; a decimal string
---@field ending_hash_key string the greatest hash that it holds; a decimal string
---@field parent_id? string the shard it was split from, or merged from
---@field adjacent_parent_id? string the other one it was merged from
---@field closed boolean whether it takes no more records
local Shard = {}

--- A list of shards, with `#` and `ipairs`.
---@class kinesis.Shards
---@field [integer] kinesis.Shard open and closed ones, in the service's order
local Shards = {}

local M = {}

local shard_meta = pretty.meta("kinesis.shard", Shard)
local list_meta = pretty.meta("kinesis.shards", Shards)

-- How a shard finds its way back to client and stream, without fields that `pairs` would show.
local homes = setmetatable({}, { __mode = "k" })

local function from_api(api, home)
  local range = api.HashKeyRange or {}
  local shard = {
    id = api.ShardId,
    starting_hash_key = range.StartingHashKey,
    ending_hash_key = range.EndingHashKey,
    parent_id = api.ParentShardId,
    adjacent_parent_id = api.AdjacentParentShardId,
    closed = (api.SequenceNumberRange or {}).EndingSequenceNumber ~= nil,
  }
  homes[shard] = home
  return setmetatable(shard, shard_meta)
end

--- Every shard that the service still knows, in its order.
---@return kinesis.Shards|nil
---@return kinesis.Error? err
function M.list(client, stream)
  local home = { client = client, stream = stream }
  local list = setmetatable({}, list_meta)
  local params = { [stream:find("^arn:") and "StreamARN" or "StreamName"] = stream }
  repeat
    local answer, err = client:call("ListShards", params)
    if not answer then
      return nil, err
    end
    for _, api in ipairs(answer.Shards or {}) do
      list[#list + 1] = from_api(api, home)
    end
    -- with a token, the service refuses to be told the stream again
    params = answer.NextToken and { NextToken = answer.NextToken }
  until not params
  homes[list] = home
  return list
end

local function open(home, list, given, follow)
  local checked = options.check("records", given, 3)
  return reader.open(home.client, home.stream, list, checked, {
    follow = follow,
    list_shards = function()
      return M.list(home.client, home.stream)
    end,
  })
end

--- Reads all shards side by side: order is kept inside a shard, parents come before their children, and
--- children that a reshard makes meanwhile are read too. The reader stands in a `for` head as it is.
---
--- Raises the error object; at the caller's line, a message that names the wrong option.
---@param given? kinesis.RecordsOptions
---@return kinesis.Reader reader also the fourth value, so that on Lua 5.4 leaving the loop closes it
function Shards:records(given)
  local made = open(homes[self], self, given, true)
  return made, nil, nil, made
end

--- Reads this shard alone, up to its end if it is closed: its children are other shards.
---
--- Raises the error object; at the caller's line, a message that names the wrong option.
---@param given? kinesis.RecordsOptions
---@return kinesis.Reader reader also the fourth value, so that on Lua 5.4 leaving the loop closes it
function Shard:records(given)
  local made = open(homes[self], { self }, given, false)
  return made, nil, nil, made
end

return M
