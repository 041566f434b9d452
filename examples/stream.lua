-- Manages the stream of the tutorial, like the AWS console: creates it and waits until it is ACTIVE, describes it,
-- changes its capacity and retention, watches its load, deletes it. Its name is KINESIS_STREAM, or hello-kinesis.
local kinesis = require "kinesis"

local stream = os.getenv("KINESIS_STREAM") or "hello-kinesis"
io.stdout:setvbuf "line"

local function fail(err)
  io.stderr:write(tostring(err), "\n")
  os.exit(1)
end

-- The answer of a call; ends the program on an error.
local function must(answer, err)
  return answer or fail(err)
end

local client

local function endpoint()
  return client:configuration().endpoint
end

-- Prints the endpoint, and where it was configured.
local function say_service(file)
  local found = endpoint()
  local host = found.value:match "^%a+://(%[[^%]]*%])" or found.value:match "^%a+://([^/:]*)"
  local is_here = host == "localhost" or host == "[::1]" or host:find "^127%.%d+%.%d+%.%d+$"
  local why = is_here and "on this machine" or found.origin == "rules" and "AWS" or "from " .. found.origin
  file:write(("Service:   %s (%s)\n"):format(found.value, why))
end

local function summary()
  return must(client:describe_stream_summary { StreamName = stream }).StreamDescriptionSummary
end

local function await_active()
  must(client:wait_until("stream_exists", { StreamName = stream }, { interval = 0.5 }))
end

local function number(text, what)
  return tonumber(text) or fail(("%s must be a number"):format(what))
end

-- The items of all pages.
local function all(operation, params, field)
  local items = {}
  for page in client:pages(operation, params) do
    for _, item in ipairs(page[field] or {}) do
      items[#items + 1] = item
    end
  end
  return items
end

local function consumers()
  return all("ListStreamConsumers", { StreamARN = summary().StreamARN }, "Consumers")
end

local function describe()
  local s = summary()
  print("ARN:       " .. s.StreamARN)
  print("Status:    " .. s.StreamStatus)
  print("Mode:      " .. s.StreamModeDetails.StreamMode)
  print("Retention: " .. s.RetentionPeriodHours .. " hours")
  if s.EncryptionType == "KMS" then
    print("Encrypted: by " .. s.KeyId)
  end
  print(("%-24s %-40s %-40s %s"):format("Shard", "Starting hash key", "Ending hash key", "State"))
  for _, shard in ipairs(client:shards(stream)) do
    print(("%-24s %-40s %-40s %s"):format(shard.id, shard.starting_hash_key, shard.ending_hash_key,
      shard.closed and "closed" or "open"))
  end
end

-- Checks the answer of a change, waits until it is done, and prints the stream.
local function change(made, err)
  must(made, err)
  await_active()
  describe()
end

local verbs = {}

verbs.describe = { "", describe }

-- A stream of this name that is being deleted has to be gone first.
local function await_deletion()
  local answer = client:describe_stream_summary { StreamName = stream }
  if answer and answer.StreamDescriptionSummary.StreamStatus == "DELETING" then
    io.stderr:write("waiting until the old ", stream, " is deleted …\n")
    must(client:wait_until("stream_not_exists", { StreamName = stream }, { interval = 0.5 }))
  end
end

verbs.create = { "[SHARDS]", function(shards)
  local mode = shards and "PROVISIONED" or "ON_DEMAND"
  await_deletion()
  must(client:create_stream { StreamName = stream, ShardCount = shards and number(shards, "SHARDS"),
    StreamModeDetails = { StreamMode = mode } })
  io.stderr:write("creating ", stream, " …\n")
  await_active()
  describe()
end }

verbs.list = { "", function()
  for _, name in ipairs(all("ListStreams", {}, "StreamNames")) do
    print(name)
  end
end }

verbs.retention = { "HOURS", function(hours)
  hours = number(hours, "HOURS, from 24 to 8760,")
  local now = summary().RetentionPeriodHours
  local verb = hours < now and "decrease_stream_retention_period" or "increase_stream_retention_period"
  change(hours == now and {} or client[verb](client, { StreamName = stream, RetentionPeriodHours = hours }))
end }

verbs.mode = { "provisioned|on-demand", function(mode)
  mode = tostring(mode):upper():gsub("-", "_")
  change(client:update_stream_mode { StreamARN = summary().StreamARN, StreamModeDetails = { StreamMode = mode } })
end }

verbs.reshard = { "SHARDS", function(shards)
  change(client:update_shard_count { StreamName = stream, TargetShardCount = number(shards, "SHARDS"),
    ScalingType = "UNIFORM_SCALING" })
end }

verbs.encrypt = { "[KEY]", function(key)
  change(client:start_stream_encryption { StreamName = stream, EncryptionType = "KMS",
    KeyId = key or "alias/aws/kinesis" })
end }

verbs.decrypt = { "", function()
  local s = summary()
  change(s.EncryptionType == "KMS" and client:stop_stream_encryption { StreamName = stream, EncryptionType = "KMS",
    KeyId = s.KeyId } or {})
end }

verbs.watch = { "[SECONDS]", function(seconds)
  local folder = arg[0]:match "^(.*/)" or "./"
  package.path = folder .. "?.lua;" .. folder .. "?/init.lua;" .. package.path
  require "watch"(client, stream, endpoint().value, seconds and number(seconds, "SECONDS"))
end }

verbs.delete = { "", function()
  for _, consumer in ipairs(consumers()) do
    print(("consumer %s is deleted, too"):format(consumer.ConsumerName))
  end
  must(client:delete_stream { StreamName = stream, EnforceConsumerDeletion = true })
  print(stream .. " is being deleted")
end }

verbs.service = { "", function() end } -- prints the endpoint only

local function usage(out, status)
  out:write("usage, for the stream ", stream, ":\n")
  local names = "create describe list retention mode reshard encrypt decrypt watch delete service"
  for name in names:gmatch "%a+" do
    out:write("  lua5.4 stream.lua ", name, " ", verbs[name][1], "\n")
  end
  os.exit(status)
end

for _, word in ipairs(arg) do
  if word == "--help" or word == "-h" then
    usage(io.stdout, 0)
  elseif word:find "^%-" then
    usage(io.stderr, 2)
  end
end
local verb = verbs[arg[1]]
if not verb or arg[3] then
  usage(io.stderr, 2)
end
client = must(kinesis.client())
local is_for_programs = arg[1] == "list" or arg[1] == "watch" -- their output
say_service(is_for_programs and io.stderr or io.stdout)
local good, err = pcall(verb[2], arg[2])
if not good then
  fail((tostring(err):gsub("^[^:]+:%d+: ", "")))
end
