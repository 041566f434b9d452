--- The shards of a stream: the list, and the methods that open readers.
local errors = require "kinesis.errors"
local advice = require "kinesis.util.advice"
local paginator = require "kinesis.api.paginator"
local schema = require "kinesis.options"
local pretty = require "kinesis.observe.pretty"
local reader = require "kinesis.reader"

--- A shard, as ListShards returned it.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Shard.html
---@class kinesis.Shard
---@field id string such as "shardId-000000000000"
---@field starting_hash_key string the lowest hash key of its range; a decimal string
---@field ending_hash_key string the highest hash key of its range; a decimal string
---@field parent_id? string the shard that it was split or merged from
---@field adjacent_parent_id? string the second shard that it was merged from
---@field closed boolean whether it takes no more records
local Shard = {}

--- A list of shards; `#` and `ipairs` work on it.
---@class kinesis.Shards
---@field [integer] kinesis.Shard open and closed ones, in the order of the service
local Shards = {}

local M = { class = Shards, shard_class = Shard }

local shard_meta = pretty.meta("kinesis.shard", Shard)
local list_meta = pretty.meta("kinesis.shards", Shards)

-- shard or list -> its client and stream: a weak table, as `pairs` would show fields.
local homes = setmetatable({}, { __mode = "k" })

local function is_text(value)
  return value == nil or type(value) == "string"
end

-- Makes a shard of a member of ListShards; nil when it is malformed.
local function from_api(api, home)
  local range = type(api) == "table" and (api.HashKeyRange or {})
  local numbers = type(api) == "table" and (api.SequenceNumberRange or {})
  if type(range) ~= "table" or type(numbers) ~= "table" or type(api.ShardId) ~= "string" or api.ShardId == "" then
    return nil
  end
  local shard = {
    id = api.ShardId,
    starting_hash_key = range.StartingHashKey,
    ending_hash_key = range.EndingHashKey,
    parent_id = api.ParentShardId,
    adjacent_parent_id = api.AdjacentParentShardId,
    closed = numbers.EndingSequenceNumber ~= nil,
  }
  for _, field in ipairs { "starting_hash_key", "ending_hash_key", "parent_id", "adjacent_parent_id" } do
    if not is_text(shard[field]) then
      return nil
    end
  end
  homes[shard] = home
  return setmetatable(shard, shard_meta)
end

-- Adds the shards of a page of ListShards. Returns false when one is malformed.
local function add_page(list, answer, home, listed)
  for _, api in ipairs(answer.Shards or {}) do
    local shard = from_api(api, home)
    if not shard then
      return false
    elseif not listed[shard.id] then
      listed[shard.id] = true
      list[#list + 1] = shard
    end
  end
  return true
end

local function not_a_list()
  return errors.new("BadAnswer", "the answer is no list of shards", "ListShards")
end

--- Lists every shard that the service still has, in its order.
---@return kinesis.Shards|nil
---@return kinesis.Error? err
function M.list(client, stream)
  local home, listed = { client = client, stream = stream }, {}
  local list = setmetatable({}, list_meta)
  local params = { [stream:find("^arn:") and "StreamARN" or "StreamName"] = stream }
  local next_page = paginator.follow("ListShards", params, function(request)
    local answer, err = client:call("ListShards", request)
    if answer and not (is_text(answer.NextToken) and type(answer.Shards or {}) == "table") then
      return nil, not_a_list()
    end
    return answer, err
  end)
  local answer, err = next_page()
  while answer do
    if not add_page(list, answer, home, listed) then
      return nil, not_a_list()
    end
    answer, err = next_page()
  end
  if err then
    return nil, err
  end
  homes[list] = home
  return list
end

local function open(list, shards, options, follow, call)
  local home = homes[list]
  if not home then
    error(("records: call it with a colon, %s(…)"):format(call), 3)
  end
  local checked = schema.check("records", options, 3)
  if checked.last and follow then -- new shards have the newest records
    local listed, err = M.list(home.client, home.stream)
    if not listed then
      errors.raise(err)
    end
    shards = listed
  end
  return reader.open(home.client, home.stream, shards, checked, follow)
end

--- Opens a reader of all shards, which is an iterator for a generic `for`. It reads shards concurrently, the records of
--- one shard in their order, and parents before their children. It follows reshards: it also reads new children.
---
--- Raises the error object, because a `for` loop cannot return it; raises at the caller's line a message that names the
--- wrong option.
---@param options? kinesis.RecordsOptions
---@return kinesis.Reader reader returned as the fourth value, too: in Lua 5.4, leaving the loop closes it
function Shards:records(options)
  local made = open(self, self, options, true, "shards:records")
  return made, nil, nil, made
end

--- Opens a reader of this shard, without its children. It ends at the end of the shard, when the shard is closed.
---
--- Raises the error object, because a `for` loop cannot return it; raises at the caller's line a message that names the
--- wrong option.
---@param options? kinesis.RecordsOptions
---@return kinesis.Reader reader returned as the fourth value, too: in Lua 5.4, leaving the loop closes it
function Shard:records(options)
  local made = open(self, { self }, options, false, "shard:records")
  return made, nil, nil, made
end

local READ = { record = "RECORDS()", read = "RECORDS()", reader = "RECORDS()" }
advice.add_methods(Shards, "shards:", READ)
advice.add_methods(Shard, "shard:", READ)

return M
