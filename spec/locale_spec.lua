-- What crosses the wire, or a file, is the same in every locale of the process, whenever that is set.
-- Flavours: *lua5.4 *luajit
local faults = require "support.faults"
local fresh = require "support.fresh"
local locales = require "support.locales"

local CHILD = [[
local endpoint, name, when = arg[1], arg[2], arg[3]
local function set()
  assert(os.setlocale(name), "there is no locale " .. name)
end
if when == "before" then set() end
local kinesis = require "kinesis"
if when == "after" then set() end

local function check(name, good, seen)
  if not good then print("wrong: " .. name .. ": " .. tostring(seen)) end
end

-- both ways through JSON
local codec = kinesis.codec
for text, value in pairs { ["1.5"] = 1.5, ["0.1"] = 0.1, ["-2.5e-07"] = -2.5e-7, ["1e+300"] = 1e300,
  ["1767225600.123"] = 1767225600.123, ["12"] = 12, ["0.30000000000000004"] = 0.1 + 0.2 } do
  check("written " .. text, codec.json_encode(value) == text, codec.json_encode(value))
  check("read " .. text, math.abs(codec.json_decode("[" .. text .. "]")[1] / value - 1) < 1e-15)
end

-- a call
local client = assert(kinesis.client { endpoint = endpoint, region = "us-east-1", max_attempts = 1,
  credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } })
local answer, err = client:call("DescribeStreamSummary", { StreamName = "s", Half = 1.5 })
check("answer", answer, err)
check("number in an answer", answer and answer.Number == 1767225600.25, answer and answer.Number)
local _, refused = client:call("ListStreams")
check("request id", refused.request_id == "R-ID-1", refused.request_id)

-- a time as the start of a reader
check("reader", client:shards("s"):records({ from = { timestamp = 1767225600.5 }, limit = 1 }):next().arrival_timestamp
  == 1767225600.75)
check("time", require("kinesis.util.times").seconds("2026-11-27T12:00:00.5Z", 0) == 1795780800.5)
check("verbs", type(kinesis.increase_stream_retention_period) == "function")

-- Prometheus
local page = kinesis.prometheus { stream = "s", stats = function()
  return { aggregation = 1, errors = {}, shards = { x = { share = 0.5 } },
    latency = { buckets = { { le = 0.005, count = 1 } }, count = 1, sum = 0.25 } }
end }
check("le", page:find('le="0.005"', 1, true), page)
check("share", page:find('shard_share{stream="s",shard="x"} 0.5\n', 1, true), page)
check("sum", page:find('latency_seconds_sum{stream="s"} 0.25\n', 1, true), page)

-- files and forms
local ini = require "kinesis.util.ascii"
check("lower", ini.lower "REGION-I\196" == "region-i\196")
check("form", require("kinesis.credentials.services").form { { "a", "I i\228" } } == "a=I%20i%E4")
local values = require "kinesis.credentials.values"
check("number of a provider", values.number(values.object '{"expiresIn":1.5}', "expiresIn", 10) == 1.5)
client:close()
print "done"
]]

-- glibc's setlocale leaks a block when LOCPATH is set.
local ENV = { LOCPATH = locales.folder, ASAN_OPTIONS = "detect_leaks=0:intercept_tls_get_addr=0" }

local scope

setup(function()
  locales.make()
  scope = faults.open {
    DescribeStreamSummary = { { body = '{"Number":1767225600.25}', always = true } },
    ListStreams = { { status = 400, body = '{"__type":"InvalidArgumentException"}',
      headers = { ["X-AMZN-REQUESTID"] = "R-ID-1" }, always = true } },
    ListShards = { { body = '{"Shards":[{"ShardId":"shardId-0"}]}', always = true } },
    GetShardIterator = { { body = '{"ShardIterator":"i"}', always = true } },
    GetRecords = { { body = '{"Records":[{"Data":"","PartitionKey":"k","SequenceNumber":"1",'
      .. '"ApproximateArrivalTimestamp":1767225600.75}],"NextShardIterator":"i","MillisBehindLatest":0}',
      always = true } },
  }
end)

for kind, name in pairs { comma = locales.comma, two_bytes = locales.two_bytes, one_byte = locales.one_byte,
  turkish = locales.turkish } do
  -- Lua 5.4 itself cannot read a source with "0.5" where the decimal point has two bytes
  local unreadable = kind == "two_bytes" and _VERSION == "Lua 5.4"
  for _, when in ipairs(unreadable and { "after" } or { "before", "after" }) do
    it(("a locale of the kind %s, set %s require"):format(kind, when), function()
      local output, status = fresh.lua(CHILD, ENV, scope.url, name, when):wait()
      assert.equal("done\n", output)
      assert.equal(0, status)
      assert.matches('"Half":1.5', scope:seen("DescribeStreamSummary")[1].body, 1, true)
      assert.matches('"Timestamp":1767225600.5', scope:seen("GetShardIterator")[1].body, 1, true)
    end)
  end
end

it("the locales are what they are for", function()
  local output = fresh.lua([[
    print(string.format("%s %s", os.setlocale(arg[1]), arg[1]))
    if _VERSION == "Lua 5.4" then
      print(("%.1f"):format(0.5)) os.setlocale(arg[2]) print(#("%.1f"):format(0.5))
      os.setlocale(arg[3]) print(("\228"):find "%a") os.setlocale(arg[4]) print(("I"):lower())
    end
  ]], ENV, locales.comma, locales.two_bytes, locales.one_byte, locales.turkish):wait()
  local shown = output:match "^de_DE.UTF%-8 de_DE.UTF%-8\n(.*)$"
  assert.is_true(shown == "" or shown == "0,5\n4\n1\t1\nI\n", output)
end)
