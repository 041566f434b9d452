-- Pagination: the next request of a list, from the last answer. No list is followed for ever, and one whose token
-- has expired is begun again.
local errors = require "kinesis.errors"

local M = {}

local BARREN_MAX = 50 -- pages in a row that bring nothing new
local RESTARTS_MAX = 3 -- beginnings in a row that bring nothing new

local function last(list, field)
  local item = type(list) == "table" and list[#list]
  if field then
    return type(item) == "table" and item[field] or nil
  end
  return item or nil
end

-- A copy of the first request that starts at another item.
local function go_on(params, name, place)
  local request = {}
  for other, value in pairs(params) do
    request[other] = value
  end
  request[name] = place
  return request, place
end

local function with_token(params, answer)
  if answer.NextToken then
    return go_on(params, "NextToken", answer.NextToken)
  end
end

-- By operation: takes the first request and the last answer; returns the next request and its start, or nil at the end.
local NEXT = {
  ListStreamConsumers = with_token,
  ListChannels = with_token,
  -- the service rejects a request that has both a token and the stream
  ListShards = function(params, answer)
    if answer.NextToken then
      return { NextToken = answer.NextToken, MaxResults = params.MaxResults }, answer.NextToken
    end
  end,
  ListStreams = function(params, answer)
    if answer.HasMoreStreams == false then
      return nil
    elseif answer.NextToken then
      return { NextToken = answer.NextToken, Limit = params.Limit }, answer.NextToken
    elseif answer.HasMoreStreams then
      local name = last(answer.StreamNames)
      return { ExclusiveStartStreamName = name, Limit = params.Limit }, name or ""
    end
  end,
  DescribeStream = function(params, answer)
    local stream = answer.StreamDescription
    if type(stream) == "table" and stream.HasMoreShards then
      return go_on(params, "ExclusiveStartShardId", last(stream.Shards, "ShardId") or "")
    end
  end,
  ListTagsForStream = function(params, answer)
    if answer.HasMoreTags then
      return go_on(params, "ExclusiveStartTagKey", last(answer.Tags, "Key") or "")
    end
  end,
}

---The names of the paginated operations.
---@return string[]
function M.names()
  local names = {}
  for name in pairs(NEXT) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- By operation: where an answer has its items, and the member of an item that tells it from others.
local ITEMS = {
  ListStreamConsumers = { list = "Consumers", key = "ConsumerARN" },
  ListChannels = { list = "ChannelSummaries", key = "ChannelARN" },
  ListShards = { list = "Shards", key = "ShardId" },
  ListStreams = { list = "StreamNames" },
  DescribeStream = { inside = "StreamDescription", list = "Shards", key = "ShardId" },
  ListTagsForStream = { list = "Tags", key = "Key" },
}

-- nil where the answer is malformed.
local function key_of(item, key)
  if key and type(item) == "table" then
    item = item[key]
  end
  return type(item) == "string" and item or nil
end

-- Counts the items of an answer that are new, and removes the others from it where `removes`.
local function sift(operation, answer, seen, removes)
  local where = ITEMS[operation]
  local holder = where.inside and answer[where.inside] or answer
  local items = type(holder) == "table" and holder[where.list]
  if type(items) ~= "table" then
    return 0
  end
  local kept, fresh = {}, 0
  for _, item in ipairs(items) do
    local key = key_of(item, where.key)
    if key == nil or not seen[key] then
      kept[#kept + 1] = item
    end
    if key ~= nil and not seen[key] then
      seen[key] = true
      fresh = fresh + 1
    end
  end
  if removes then
    holder[where.list] = kept
  end
  return fresh
end

-- Moves a list behind an answer. Returns an error where it has no end.
local function advance(list, answer, fresh)
  local request, place = NEXT[list.operation](list.params, answer)
  place = tostring(place) -- of any type, in a malformed answer
  list.barren = fresh > 0 and 0 or list.barren + 1
  if request and (place == "" or list.places[place] or list.barren >= BARREN_MAX) then
    return errors.new("BadAnswer", place ~= "" and not list.places[place]
      and ("the list has no end: %d pages in a row bring nothing new"):format(list.barren)
      or "the list has no end: the next page starts where an earlier one did", list.operation)
  end
  if request then
    list.places[place] = true
  end
  list.request = request
end

-- The token of a list that was begun has expired: begins it again, without what was given before.
local function restart(list)
  list.request, list.places = list.params, {}
  list.restarts = list.restarts + 1
end

---A function that returns the next answer of a list; nil at its end; nil and an error.
---@param operation string
---@param params table
---@param ask fun(params: table): table|nil, kinesis.Error|nil
---@return (fun(): table|nil, kinesis.Error|nil)|nil next nil: the operation is not paginated
function M.follow(operation, params, ask)
  if not NEXT[operation] then
    return nil
  end
  local list = { operation = operation, params = params, request = params, places = {}, barren = 0, restarts = 0 }
  local seen, again = {}, false
  return function()
    while list.request do
      local answer, err = ask(list.request)
      if answer then
        local fresh = sift(operation, answer, seen, again)
        list.restarts = fresh > 0 and 0 or list.restarts
        err = advance(list, answer, fresh)
        if err then
          return nil, err
        elseif fresh > 0 or not again or not list.request then
          return answer
        end
      elseif err.code == "ExpiredNextTokenException" and list.request ~= params and list.restarts < RESTARTS_MAX then
        restart(list)
        again = true
      else
        return nil, err
      end
    end
  end
end

---An iterator over answers. `ask` sends a request and returns an answer, or nil and an error, which is raised.
---@param operation string
---@param params table
---@param ask fun(params: table): table|nil, kinesis.Error|nil
---@return (fun(): table|nil)|nil pages nil: the operation is not paginated
function M.of(operation, params, ask)
  local following = M.follow(operation, params, ask)
  return following and function()
    local answer, err = following()
    if err then
      errors.raise(err)
    end
    return answer
  end
end

return M
