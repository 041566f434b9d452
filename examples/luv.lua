-- A producer and a consumer in one luv loop: puts a tick every half second and prints every record, until Ctrl-C.
--
--   lua5.4 examples/luv.lua STREAM
local wants_help = arg[1] == "--help" or arg[1] == "-h"
if wants_help or (arg[1] or ""):find "^%-" or arg[2] then
  (wants_help and io.stdout or io.stderr):write "usage: lua5.4 luv.lua [STREAM]\n"
  os.exit(wants_help and 0 or 2)
end

local kinesis = require "kinesis"
local uv = require "luv"

io.stdout:setvbuf "line" -- LuaJIT buffers the output to a pipe

local stream = arg[1] or "hello-kinesis"

local producer = assert(kinesis.producer(stream, {
  on_failure = function(record, err) print("lost: " .. record.data .. ": " .. tostring(err)) end,
}))

-- A timer's callback cannot wait; `put` does not wait in luv, it returns the error `Full`.
local ticks, timer = 0, uv.new_timer()
local function tick()
  ticks = ticks + 1
  local taken, err = producer:put("tick " .. ticks, "clock")
  if not taken then
    print("not taken: " .. tostring(err))
  end
end

-- Calls that wait run in a coroutine; the loop runs meanwhile.
local reader, stopping
coroutine.wrap(function()
  reader = kinesis.shards(stream):records { from = "latest" }
  if stopping then
    reader:stop()
  else
    timer:start(0, 500, tick) -- the reader sees every record put from here on
  end
  for record in reader do
    print(("Record: %s, Partition Key: %s, Shard: %s"):format(record.data, record.partition_key, record.shard_id))
  end
  assert(producer:close())
end)()

-- The loop ends when it has no active handles.
local signal = uv.new_signal()
signal:start("sigint", function()
  stopping = true
  signal:close()
  timer:close()
  if reader then
    reader:stop()
  end
end)

uv.run()
