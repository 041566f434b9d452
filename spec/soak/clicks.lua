-- For make load: makes the streams; and, afterwards, looks for every accepted click.
local cjson = require "cjson"
local kinesis = require "kinesis"

if arg[1] == "make" then
  for _, stream in ipairs { "clicks", "once" } do
    assert(kinesis.create_stream { StreamName = stream, ShardCount = 4 })
    assert(kinesis.wait_until("stream_active", { StreamName = stream }, { interval = 0.1 }))
  end
  os.exit(0)
end

local told = cjson.decode(arg[2])
local seen, twice = {}, 0
for record in kinesis.shards("clicks"):records { stop_at_tip = true, poll_interval = 0.2 } do
  for _, click in ipairs(kinesis.deaggregate(record.data) or { record }) do
    twice = twice + (seen[click.data] and 1 or 0)
    seen[click.data] = true
  end
end
local accepted, missing = 0, 0
for pid, count in pairs(told.accepted) do
  accepted = accepted + count
  for i = 1, count do
    missing = missing + (seen[("%s:%.0f"):format(pid, i)] and 0 or 1)
  end
end
print(("%.0f clicks accepted, %d of them missing in the stream, %d there twice"):format(accepted, missing, twice))
local RELOADED = 20 -- two workers, ten times
print(("%.0f readers ended with their workers, of %d"):format(told.ended, RELOADED))
os.exit(missing == 0 and accepted > 0 and told.ended == RELOADED and 0 or 1)
