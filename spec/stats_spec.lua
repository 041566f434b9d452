-- Counters as Prometheus reads them.
local fresh = require "support.fresh"
local kinesis = require "kinesis"

describe("prometheus", function()
  local client, stream

  setup(function()
    client = fresh.client(fresh.services[2])
    stream = fresh.stream(client, 2, "stats")
  end)

  teardown(function()
    client:close()
  end)

  -- By name and labels; each line is a comment or a value.
  local function parse(text)
    local values, types = {}, {}
    for line in text:gmatch "([^\n]*)\n" do
      local name, kind = line:match "^# TYPE (%S+) (%a+)$"
      if name then
        assert.is_nil(types[name], "twice: " .. name)
        types[name] = kind
      elseif not line:find "^# HELP [%a_]+ %u.*%.$" then
        local key, value = line:match "^([%a_]+{.+}) (%S+)$"
        assert.is_truthy(key, line)
        assert.is_nil(values[key], "twice: " .. key)
        values[key] = assert(tonumber(value), line)
      end
    end
    return values, types
  end

  it("has what clients and producers count", function()
    local one, other = assert(client:producer(stream, { linger = 0 })), assert(client:producer(stream, { linger = 0 }))
    for _ = 1, 10 do
      assert(one:put("12345", "12345"))
      assert(other:put("12345", "12345"))
    end
    assert(one:flush())
    assert(other:flush())
    local values, types = parse(kinesis.prometheus(client, one, other))
    local label = ('{stream="%s"}'):format(stream)
    assert.equal(20, values["kinesis_producer_stored_records_total" .. label])
    assert.equal(200, values["kinesis_producer_stored_bytes_total" .. label])
    assert.equal(20, values[('kinesis_producer_latency_seconds_bucket{stream="%s",le="+Inf"}'):format(stream)])
    assert.equal(20, values["kinesis_producer_latency_seconds_count" .. label])
    assert.equal(0, values["kinesis_producer_open_records" .. label])
    assert.equal("histogram", types.kinesis_producer_latency_seconds)
    assert.equal("gauge", types.kinesis_producer_held_bytes)
    assert.is_true(values[('kinesis_client_calls_total{endpoint="%s"}'):format(client.url)] > 0)
    local shards = 0
    for _, id in ipairs { "shardId-000000000000", "shardId-000000000001" } do
      shards = shards + values[('kinesis_producer_shard_stored_total{stream="%s",shard="%s"}'):format(stream, id)]
    end
    assert.equal(values["kinesis_producer_kinesis_records_stored_total" .. label], shards)
    one:close()
    other:close()
  end)

  it("names what is neither", function()
    assert.equal("prometheus: argument 2 must be a client or a producer, got string",
      fresh.complaint(function() local _ = kinesis.prometheus(client, "x") end))
    assert.equal("", kinesis.prometheus())
  end)

  it("knows every count of a producer and of a client", function()
    local producer = assert(client:producer(stream))
    for _, source in ipairs { client, producer } do
      local text = kinesis.prometheus(source)
      for name, value in pairs(source:stats()) do
        if type(value) == "number" and name ~= "aggregation" then
          local words = name:match "^bytes_(.*)" or name:gsub("_bytes$", "")
          assert.is_truthy(text:find("_" .. words, 1, true), name)
        end
      end
    end
    producer:close()
  end)
end)
