-- The stream of the tutorial: create it and wait until it takes records, describe it, delete it.
local kinesis = require "kinesis"

local stream = os.getenv("KINESIS_STREAM") or "hello-kinesis"
local verbs = {}

local function call(operation, params)
  local answer, err = kinesis.call(operation, params)
  if not answer then
    io.stderr:write(tostring(err), "\n")
    os.exit(1)
  end
  return answer
end

local function summary()
  return call("DescribeStreamSummary", { StreamName = stream }).StreamDescriptionSummary
end

function verbs.describe()
  local s = summary()
  print("ARN:       " .. s.StreamARN)
  print("Status:    " .. s.StreamStatus)
  print("Mode:      " .. s.StreamModeDetails.StreamMode)
  print("Retention: " .. s.RetentionPeriodHours .. " hours")
  print(("%-24s %-40s %-40s %s"):format("Shard", "Starting hash key", "Ending hash key", "State"))
  for _, shard in ipairs(kinesis.shards(stream)) do
    print(("%-24s %-40s %-40s %s"):format(shard.id, shard.starting_hash_key, shard.ending_hash_key,
      shard.closed and "closed" or "open"))
  end
end

function verbs.create()
  call("CreateStream", { StreamName = stream, StreamModeDetails = { StreamMode = "ON_DEMAND" } })
  io.stderr:write("creating ", stream, " …\n")
  while summary().StreamStatus ~= "ACTIVE" do
    kinesis.sleep(0.5)
  end
  verbs.describe()
end

function verbs.delete()
  call("DeleteStream", { StreamName = stream })
  print(stream .. " is being deleted")
end

local verb = verbs[arg[1]]
if not verb then
  io.stderr:write("usage: lua5.4 stream.lua create|describe|delete   (stream: ", stream, ")\n")
  os.exit(2)
end
verb()
