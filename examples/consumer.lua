-- One reader a shard, side by side, from the oldest record on, until Ctrl-C.
local kinesis = require "kinesis"

local stream = os.getenv("KINESIS_STREAM") or "hello-kinesis"
io.stdout:setvbuf("line")

local function reader_of(shard)
  return function()
    for record in shard:records { from = "trim_horizon" } do
      print(("Record: %s, Partition Key: %s, Shard: %s"):format(
        record.data, record.partition_key, record.shard_id))
    end
  end
end

local good, err = pcall(function()
  local readers = {}
  for i, shard in ipairs(kinesis.shards(stream)) do
    print("Reading " .. shard.id)
    readers[i] = reader_of(shard)
  end
  kinesis.run((table.unpack or unpack)(readers))
end)
if not good and not tostring(err):find("interrupted!", 1, true) then
  io.stderr:write(tostring(err), "\n")
  os.exit(1)
end
print("Stopped.")
