-- Frames of an event stream, encoded by @smithy's codec.
local cjson = require "cjson"
local codec = require("kinesis.core").codec
local fresh = require "support.fresh"

local M = {}

--- Encodes a list of messages {headers, payload}; gives a list of frames.
function M.encode(messages)
  local list = {}
  for i, message in ipairs(messages) do
    list[i] = { headers = message[1], body = codec.base64_encode(message[2]) }
  end
  local file = os.tmpname()
  local out = assert(io.open(file, "w"))
  out:write(cjson.encode(list))
  out:close()
  local output, status = fresh.node("oracles/frames.mjs", nil, file):wait()
  os.remove(file)
  assert(status == 0, output)
  local frames = cjson.decode(output)
  for i, frame in ipairs(frames) do
    frames[i] = codec.base64_decode(frame)
  end
  return frames
end

function M.event(payload, name)
  return { { [":message-type"] = "event", [":event-type"] = name or "SubscribeToShardEvent",
    [":content-type"] = "application/json" }, payload }
end

return M
