--- Readers on an engine that stands still, and the service that they read.
local assert = require "luassert"
local stepping = require "support.stepping"

local M = {}

--- A service whose iterators are named after their shards; answer(shard_id, request) is what GetRecords says.
function M.service(answer)
  return function(request)
    if request.operation == "GetShardIterator" then
      return stepping.iterator("it:" .. stepping.member(request, "ShardId"))
    end
    return answer(stepping.member(request, "ShardIterator"):match "^it:(.*)$", request)
  end
end

--- A reader of these shards: ids, or tables of what the core takes.
function M.read(engine, shards, options)
  options = options or {}
  options.shards = {}
  for i, shard in ipairs(shards) do
    options.shards[i] = type(shard) == "table" and shard or { id = shard }
  end
  return engine:reader(options)
end

--- Answers the one request in flight, which must be this operation, and gives what comes then.
function M.reply(engine, operation, answer)
  local request = stepping.flight(engine, 1)[1]
  assert.equal(operation, request.operation)
  stepping.land(engine, request, answer)
  return engine:requests()[1]
end

--- A reader of one shard that has its iterator; gives its GetRecords.
function M.reading(engine, shard, options)
  local id = M.read(engine, { shard or "a" }, options)
  local request = M.reply(engine, "GetShardIterator", stepping.iterator "it:a")
  assert.equal("GetRecords", request.operation)
  return request, id
end

--- Whose messages these are, sorted, as one text.
function M.ids(messages)
  local list = {}
  for i, message in ipairs(messages) do
    list[i] = message.shard_id
  end
  table.sort(list)
  return table.concat(list, " ")
end

--- Who is asked for now, sorted, as one text.
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

--- Shortest pause between two numbers that follow each other.
function M.shortest(times)
  local least = math.huge
  for i = 2, #times do
    least = math.min(least, times[i] - times[i - 1])
  end
  return least
end

return M
