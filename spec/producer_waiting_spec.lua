-- A flush, a receipt and close that time out say why records still wait.
-- Flavours: *lua5.4 *luajit
local faults = require "support.faults"
local fresh = require "support.fresh"

-- Keys of the first and of the second of two shards.
local LOW, HIGH = { explicit_hash_key = "0" }, { explicit_hash_key = "340282366920938463463374607431768211455" }

local direct, stream

setup(function()
  direct = fresh.client(os.getenv "KINESALITE")
  stream = fresh.stream(direct, 2, "waiting")
end)

teardown(function()
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
end)

local function open(rules, options)
  local scope = faults.open(rules, { service = "kinesalite" })
  local client = scope:client { request_timeout = 30 }
  options.linger = 0
  return assert(client:producer(stream, options)), client, scope
end

-- What flush, a receipt's wait and close say, after `timeout` seconds each.
local function complaints(producer, receipt, timeout)
  local texts = {}
  local good, err, left = producer:flush(timeout)
  assert.is_nil(good)
  assert.equal("Timeout", err.code)
  assert.is_true(left > 0)
  texts[#texts + 1] = tostring(err)
  good, err = receipt:wait(timeout)
  assert.is_nil(good)
  assert.equal("Timeout", err.code)
  texts[#texts + 1] = tostring(err)
  local done, why, lost = producer:close(timeout)
  assert.is_nil(done)
  texts[#texts + 1] = tostring(why)
  for _, record in ipairs(lost) do
    texts[#texts + 1] = tostring(record.error)
  end
  good, err = receipt:wait(0)
  assert.is_nil(good)
  texts[#texts + 1] = tostring(err)
  for _, text in ipairs(texts) do
    assert.is_nil(text:find("network slow", 1, true), text)
  end
  return texts
end

describe("records that wait are explained", function()
  local LONG = ("Rate exceeded for shard shardId-000000000001 in stream %s; "):format("a-long-name") .. ("x"):rep(200)
    .. " the end"

  it("by the last attempt, also while other shards take theirs", function()
    local producer, client = open({
      PutRecords = { { hot = 3, share = 1, message = LONG, always = true } },
    }, { aggregate = false, parallel = 1, batch_records = 2 })
    for i = 1, 6 do
      assert(producer:put("r" .. i, "k", i % 2 == 0 and LOW or HIGH))
    end
    local receipt = assert(producer:send("last", "k", HIGH))
    fresh.eventually(function()
      return producer:stats().stored > 0 and producer:stats().throttled > 2
    end)
    for _, text in ipairs(complaints(producer, receipt, 0.1)) do
      assert.matches("ProvisionedThroughputExceededException: Rate exceeded for shard", text, 1, true)
    end
    client:close()
  end)

  it("with the whole message of the service", function()
    local producer, client = open({ PutRecords = { { code = "ServiceUnavailable", status = 503, message = LONG,
      always = true } } }, {})
    local receipt = assert(producer:send("a", "k"))
    assert(producer:put("b", "k"))
    fresh.eventually(function()
      return producer:stats().errors.ServiceUnavailable
    end)
    for _, text in ipairs(complaints(producer, receipt, 0.1)) do
      assert.matches("ServiceUnavailable: Rate exceeded .*x the end", text)
    end
    client:close()
  end)

  it("by our own rate_limit", function()
    local producer, client = open({}, { aggregate = false, rate_limit = 0.001 })
    for i = 1, 9 do
      assert(producer:put("r" .. i, "k", LOW))
    end
    local receipt = assert(producer:send("last", "k", LOW))
    fresh.eventually(function()
      return producer:stats().stored > 0
    end)
    for _, text in ipairs(complaints(producer, receipt, 0.1)) do
      assert.matches("rate_limit", text, 1, true)
    end
    client:close()
  end)

  it("by our own rate_limit when their time to live is over", function()
    local producer, client = open({}, { aggregate = false, rate_limit = 0.001, record_ttl = 0.5 })
    local receipt
    for i = 1, 10 do
      receipt = assert(producer:send("r" .. i, "k", LOW))
    end
    local stored, err = receipt:wait(10)
    assert.is_nil(stored)
    assert.equal("Expired", err.code)
    assert.matches("rate_limit", err.message, 1, true)
    producer:close()
    client:close()
  end)

  it("when the process ends", function()
    local child = fresh.lua([[
      local kinesis = require "kinesis"
      local client = kinesis.client { endpoint = arg[1], region = "us-east-1",
        credentials = { access_key_id = "a", secret_access_key = "s" } }
      local producer = client:producer(arg[2], {
        linger = 0, aggregate = false, rate_limit = 0.001, exit_timeout = 0.3,
      })
      for i = 1, 10 do
        producer:put("r" .. i, "k")
      end
      while producer:stats().stored == 0 do
        kinesis.sleep(0.01)
      end
    ]], nil, os.getenv "KINESALITE", stream)
    assert.matches("9 records for .* were not delivered: rate_limit", (child:wait()))
  end)
end)
