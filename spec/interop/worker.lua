-- A worker of this library for scenes.lua: says on stdout what it is given, as Kcl.java does; see there for settings.
local kinesis = require "kinesis"

local WATCH = 0.05 -- seconds between two looks for the file that stops it

local name, limit = os.getenv "NAME", tonumber(os.getenv "LIMIT")
io.stdout:setvbuf "line"

local function exists(path)
  local file = io.open(path)
  return file and file:close()
end

local client = assert(kinesis.client { endpoint = os.getenv "KINESIS", region = "us-east-1",
  credentials = { access_key_id = name, secret_access_key = "secret" } })
local function note(...)
  print(table.concat({ name, ("%.3f"):format(client.core:time()), ... }, " "))
end

local worker = assert(client:worker(os.getenv "STREAM", os.getenv "APPLICATION", {
  store = { dynamodb = { endpoint = os.getenv "DYNAMODB", kcl3 = os.getenv "KCL3" == "1" } },
  from = (os.getenv "FROM" or "trim_horizon"):lower(),
  failover = tonumber(os.getenv "FAILOVER"), checkpoint_interval = tonumber(os.getenv "EVERY"),
  on_lease_taken = function(shard)
    note("taken", shard.id, "?", "?")
  end,
  on_lease_lost = function(shard, reason)
    note("lost", shard.id, reason)
  end,
  on_shard_end = function(shard)
    note("end", shard.id)
  end,
  on_error = function(err, what)
    note("trouble", what or "?", (tostring(err):gsub("%s", "_")))
  end,
}))
note("begins", worker:stats().worker, io.open("/proc/self/stat"):read "n")

kinesis.run(function()
  local good, err = worker:run(function(record, shard)
    note("record", shard.id, record.sequence_number, record.sub_sequence_number or 0, record.data)
    limit = limit - 1
    if limit == 0 then
      worker:stop()
    end
  end)
  note("over", good and "" or (tostring(err):gsub("%s", "_")))
  worker = nil
end, function()
  while worker and not exists(os.getenv "STOP") do
    kinesis.sleep(WATCH)
  end
  if worker then
    worker:stop()
  end
end)
client:close()
