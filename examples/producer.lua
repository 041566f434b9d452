-- Sends one message, or `count` of them with `delay` seconds between, as JSON records.
local cjson = require "cjson"
local kinesis = require "kinesis"

local stream = os.getenv("KINESIS_STREAM") or "hello-kinesis"
local source, count, delay, message = "producer1", 1, 0, arg[1]
if #arg == 4 then
  source, count, delay, message = arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4]
end
if not (#arg == 1 or #arg == 4) or not count or not delay then
  io.stderr:write('usage: lua5.4 producer.lua "<message>"\n',
    '       lua5.4 producer.lua <source> <count> <delay in seconds> "<message>"\n')
  os.exit(2)
end

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
