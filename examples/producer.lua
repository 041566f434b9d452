-- Puts one message, or `count` messages with `delay` seconds between them, as JSON records.
local cjson = require "cjson"
local kinesis = require "kinesis"

local function usage(out, status)
  out:write [[
usage: lua5.4 producer.lua [--] "<message>"
       lua5.4 producer.lua [--] <source> <count> <delay in seconds> "<message>"
  --   ends the options: the message may then begin with "-"
]]
  os.exit(status)
end

local words, all_words = {}, false
for _, word in ipairs(arg) do
  if all_words or not word:find "^%-." then
    words[#words + 1] = word
  elseif word == "--" then
    all_words = true
  else
    local wants_help = word == "--help" or word == "-h"
    usage(wants_help and io.stdout or io.stderr, wants_help and 0 or 2)
  end
end
local stream = os.getenv("KINESIS_STREAM") or "hello-kinesis"
local source, count, delay, message = "producer1", 1, 0, words[1]
if #words == 4 then
  source, count, delay, message = words[1], tonumber(words[2]), tonumber(words[3]), words[4]
end
if not (#words == 1 or #words == 4) or not count or not delay then
  usage(io.stderr, 2)
end

-- LuaJIT starts every run with the same seed, and Lua 5.4 may start two runs of the same second with the same one.
local a, b, c, d = assert(io.open("/dev/urandom", "rb")):read(4):byte(1, 4)
math.randomseed(((a * 256 + b) * 256 + c) * 256 + d)

for i = 1, count do
  local timestamp = os.date("!%Y-%m-%dT%H:%M:%SZ")
  local record = cjson.encode {
    Id = ("%s-%08x-%d"):format(source, math.random(0, 0x7fffffff), i),
    Source = source,
    Message = message,
    Timestamp = timestamp,
  }
  local result, err = kinesis.put(stream, record, source)
  if not result then
    io.stderr:write(tostring(err), "\n")
    os.exit(1)
  end
  print(("%s  Sequence Number: %s, Shard: %s"):format(timestamp, result.sequence_number, result.shard_id))
  if i < count then
    kinesis.sleep(delay)
  end
end
