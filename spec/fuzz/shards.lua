-- Reads any response of ListShards: gives a list of complete shards, or `nil, err`.
local cjson = require("cjson").new()
local shards = require "kinesis.shards"

return function(text)
  local decoded, answer = pcall(cjson.decode, text)
  if not decoded or type(answer) ~= "table" then
    return -- the client has refused it before
  end
  local client = {}
  function client.call()
    return answer
  end
  local list, err = shards.list(client, "stream")
  if not list then
    assert(err.code == "BadAnswer" and tostring(err):find "ListShards")
    return
  end
  for _, shard in ipairs(list) do
    assert(type(shard.id) == "string" and shard.id ~= "")
    assert(shard.parent_id == nil or type(shard.parent_id) == "string")
    assert(shard.adjacent_parent_id == nil or type(shard.adjacent_parent_id) == "string")
    assert(type(shard.closed) == "boolean")
  end
end
