-- What instructions.lua counts: the reading and building of bodies, nothing sent.
--   lua5.4 codec.lua build|results|page RECORDS BYTES
local core = require "kinesis.core"
local kinesis = require "kinesis"

local workload, count, size = arg[1], tonumber(arg[2]), tonumber(arg[3])
local SEQUENCE = '"SequenceNumber":"49590338271490256608559692538361571095921%015d"'

local function list(format, ...)
  local items = {}
  for i = 1, 500 do
    items[i] = format:format(i, ...)
  end
  return table.concat(items, ",")
end

local run = {}

-- Chunks are built before the engine looks at them, so that nobody has to listen.
function run.build()
  local client = assert(kinesis.client {
    endpoint = "http://127.0.0.1:9",
    region = "us-east-1",
    max_attempts = 1,
    credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" },
  })
  local records = {}
  for i = 1, count do
    records[i] = { data = ("x"):rep(size), partition_key = ("k%015d"):format(i) }
  end
  client:put_many("bench", records, { parallel = count // 500 })
end

function run.results()
  local body = '{"Records":[' .. list("{" .. SEQUENCE .. ',"ShardId":"shardId-000000000000"}') .. "]}"
  for _ = 1, count // 500 do
    assert(core.codec.put_results(body, 500))
  end
end

function run.page()
  local data = core.codec.base64_encode(("x"):rep(size))
  local record = "{" .. SEQUENCE .. ',"ApproximateArrivalTimestamp":1.795377600123E9,"Data":"%s","PartitionKey":"k"}'
  local body = '{"Records":[' .. list(record, data) .. '],"NextShardIterator":"x","MillisBehindLatest":0}'
  for _ = 1, count // 500 do
    assert(core.codec.get_records(body))
  end
end

run[workload]()
