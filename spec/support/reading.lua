--- Readers on stepped engines, and the answers of the service for them.
local assert = require "luassert"
local stepping = require "support.stepping"

local M = {}

--- A service whose iterators are named after their shards; answer(shard_id, request) returns the answer to GetRecords,
--- list(request) that to ListShards.
function M.service(answer, list)
  return function(request)
    if request.operation == "ListShards" then
      return list(request)
    elseif request.operation == "GetShardIterator" then
      return stepping.iterator("it:" .. stepping.member(request, "ShardId"))
    end
    return answer(stepping.member(request, "ShardIterator"):match "^it:(.*)$", request)
  end
end

--- An answer of ListShards: {{id, parent, other parent, closed=}, …, token=}.
function M.list(shards)
  local texts = {}
  for i, shard in ipairs(shards) do
    texts[i] = ('{"ShardId":"%s",%s%s"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"},'
      .. '"SequenceNumberRange":{"StartingSequenceNumber":"1"%s}}'):format(shard[1],
      shard[2] and ('"ParentShardId":"%s",'):format(shard[2]) or "",
      shard[3] and ('"AdjacentParentShardId":"%s",'):format(shard[3]) or "",
      shard.closed and ',"EndingSequenceNumber":"5"' or "")
  end
  return { body = ('{"Shards":[%s]%s}'):format(table.concat(texts, ","),
    shards.token and (',"NextToken":"%s"'):format(shards.token) or "") }
end

--- A reader of these shards: ids, or tables as the core takes them.
function M.read(engine, shards, options)
  options = options or {}
  options.shards = {}
  for i, shard in ipairs(shards) do
    options.shards[i] = type(shard) == "table" and shard or { id = shard }
  end
  return engine:reader(options)
end

--- Answers the one request in flight, which must be of this operation, and returns the next one.
function M.reply(engine, operation, answer)
  local request = stepping.flight(engine, 1)[1]
  assert.equal(operation, request.operation)
  stepping.land(engine, request, answer)
  return engine:requests()[1]
end

--- A reader of one shard that has its iterator; returns its GetRecords request.
function M.reading(engine, shard, options)
  local id = M.read(engine, { shard or "a" }, options)
  local request = M.reply(engine, "GetShardIterator", stepping.iterator "it:a")
  assert.equal("GetRecords", request.operation)
  return request, id
end

--- The shards of these messages, sorted, as one text.
function M.ids(messages)
  local list = {}
  for i, message in ipairs(messages) do
    list[i] = message.shard_id
  end
  table.sort(list)
  return table.concat(list, " ")
end

--- The shards of the requests in flight, sorted, as one text.
function M.asked(engine)
  local list = {}
  engine:step()
  for _, request in ipairs(engine:requests()) do
    list[#list + 1] = stepping.member(request, "ShardId") or stepping.member(request, "ShardIterator")
      or request.operation
  end
  table.sort(list)
  return table.concat(list, " ")
end

--- The shortest difference of two consecutive numbers.
function M.shortest(times)
  local least = math.huge
  for i = 2, #times do
    least = math.min(least, times[i] - times[i - 1])
  end
  return least
end

return M
