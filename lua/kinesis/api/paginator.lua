-- Pagination: the next request of a list, from the last answer.
local errors = require "kinesis.errors"

local M = {}

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

---An iterator over answers. `ask` sends a request and returns an answer, or nil and an error, which is raised.
---@param operation string
---@param params table
---@param ask fun(params: table): table|nil, kinesis.Error|nil
---@return (fun(): table|nil)|nil pages nil: the operation is not paginated
function M.of(operation, params, ask)
  local following = NEXT[operation]
  if not following then
    return nil
  end
  local request, place = params, nil
  return function()
    if not request then
      return nil
    end
    local answer, err = ask(request)
    if not answer then
      errors.raise(err)
    end
    local before = place
    request, place = following(params, answer)
    if request and (place == before or place == "") then
      errors.raise(errors.new("BadAnswer", "the list has no end: the next page starts where this one did",
        operation))
    end
    return answer
  end
end

return M
