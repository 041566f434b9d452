-- The workloads of this bench, done by this module. Prints one line of JSON.
--   lua5.4 ours.lua WORKLOAD RECORDSxBYTES ENDPOINT CALLS WARM_UP IN_FLIGHT [SHARDS]
-- WORKLOAD: put, put_many, produce, aggregate; read, fields, values, batch, columns; packed, packed_values: the records
-- are in aggregates.
-- CPU is the whole process, user and system; latencies are of `put` alone.
local core = require "kinesis.core"
local kinesis = require "kinesis"

local workload, shape, endpoint = arg[1], arg[2], arg[3]
local calls, warm_up, in_flight, shards = tonumber(arg[4]), tonumber(arg[5]), tonumber(arg[6]), tonumber(arg[7]) or 60
local count, size = shape:match "^(%d+)x(%d+)$"
count, size = math.tointeger(count), math.tointeger(size)

local client = assert(kinesis.client {
  endpoint = endpoint,
  region = "us-east-1",
  credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" },
  ca_bundle = os.getenv "AWS_CA_BUNDLE",
})

-- Data is cut from a pool, keys are never the same: what the peers' clients do, too.
local function make_pool()
  local bytes = {}
  for i = 1, 65536 + size do
    bytes[i] = string.char((i * 2654435761) >> 13 & 255)
  end
  return table.concat(bytes)
end

local pool, offset, key, sum = make_pool(), 0, 0, 0

local function entry()
  offset, key = (offset + 37) & 65535, key + 1
  return pool:sub(offset + 1, offset + size), ("k%015d"):format(key)
end

local latencies = {}
local run = {}

function run.put(times)
  for _ = 1, times do
    local data, partition_key = entry()
    local start = core.now()
    local result = assert(client:put("bench", data, partition_key))
    latencies[#latencies + 1] = core.now() - start
    sum = sum + #result.sequence_number
  end
  return times
end

-- As many calls in flight as the peers have: so many chunks of `count` records at a time.
function run.put_many(times)
  for done = 0, times - 1, in_flight do
    local records = {}
    for i = 1, math.min(in_flight, times - done) * count do
      local data, partition_key = entry()
      records[i] = { data = data, partition_key = partition_key }
    end
    local results, failed = client:put_many("bench", records, { parallel = in_flight })
    assert(failed == 0)
    for _, result in ipairs(results) do
      sum = sum + #result.sequence_number
    end
  end
  return times * count
end

local kind = workload:find "^packed" and "packed" or "page"

local function reader(times, options)
  options.limit = times * count
  return client:shards(("%s-%s-%d"):format(kind, shape, shards)):records(options)
end

local function take(data)
  sum = sum + #data + data:byte(1) + data:byte(-1)
  return 1
end

function run.read(times, fields)
  local got = 0
  for record in reader(times, { fields = fields }) do
    got = got + take(record.data)
  end
  return got
end

function run.fields(times)
  return run.read(times, { "data" })
end

function run.values(times)
  local got = 0
  for data in reader(times, { values = { "data" } }) do
    got = got + take(data)
  end
  return got
end

function run.batch(times)
  local got = 0
  for records in reader(times, { batch = true }) do
    for _, record in ipairs(records) do
      got = got + take(record.data)
    end
  end
  return got
end

function run.columns(times)
  local got = 0
  for columns in reader(times, { batch = "columns", fields = { "data" } }) do
    for _, data in ipairs(columns.data) do
      got = got + take(data)
    end
  end
  return got
end

function run.packed(times)
  return run.read(times)
end

run.packed_values = run.values

-- Through a producer, as fast as it takes them: the shards' limits are put out of the way.
local producers = {}

local function produce(times, aggregate)
  local producer = producers[aggregate] or assert(client:producer("keys-" .. shards, {
    aggregate = aggregate, rate_limit = 1000, parallel = in_flight,
  }))
  producers[aggregate] = producer
  for _ = 1, times * count do
    assert(producer:put(entry()))
  end
  assert(producer:flush())
  return times * count
end

function run.produce(times)
  return produce(times, false)
end

function run.aggregate(times)
  return produce(times, true)
end

local function peak_memory()
  for line in io.lines "/proc/self/status" do
    local kib = line:match "^VmHWM:%s+(%d+) kB"
    if kib then
      return kib / 1024
    end
  end
end

run[workload](warm_up)
latencies = {}
local cpu, wall = os.clock(), core.now()
local records = run[workload](calls)
cpu, wall = os.clock() - cpu, core.now() - wall
table.sort(latencies)
local function percentile(p)
  return (latencies[math.max(1, math.ceil(#latencies * p))] or 0) * 1e6
end
print(('{"records":%d,"cpu":%.6f,"wall":%.6f,"p50":%.1f,"p99":%.1f,"memory":%.1f,"sum":%d}'):format(
  records, cpu, wall, percentile(0.5), percentile(0.99), peak_memory(), sum))
