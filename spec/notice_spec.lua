-- Failures without a handler: the first of each cause is printed, with its reason, at most once a minute.
local core = require "kinesis.core"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local service = fresh.services[2]

-- A child's script with `client_of(endpoint)`; its arguments are an endpoint and the stream.
local function script(body, endpoint, stream)
  local output, status = fresh.lua([[
    local kinesis, core = require "kinesis", require "kinesis.core"
    local function client_of(endpoint)
      return assert(kinesis.client { endpoint = endpoint, region = "us-east-1", max_attempts = 1,
        credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } })
    end
    local endpoint, stream = arg[1], arg[2]
  ]] .. body, nil, endpoint or service.endpoint, stream or "never-was"):wait()
  assert.equal(0, status, output)
  return output
end

local function count(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

local LOST = "kinesis: producer for never%-was: PutRecords: ResourceNotFoundException: [^\n]*; does the stream exist "
  .. "[^\n]*; records failed, and no on_failure is set: set it, or take them from flush or close\n"

-- One record at a time, until each has failed.
local PUT_TEN = [[
  for i = 1, 10 do
    assert(producer:put("record", "key"))
    while producer:stats().untold_failures < i do client:call "ListStreams" end
  end
]]

describe("a producer without on_failure", function()
  it("tells why records failed once a minute, however many they and the producers of the stream are", function()
    local output = script([[
      local client = client_of(endpoint)
      for _ = 1, 2 do
        local producer = assert(client:producer(stream, { linger = 0 }))
    ]] .. PUT_TEN .. [[
        print(producer:stats().errors.ResourceNotFoundException, #select(4, producer:flush()))
        assert(producer:close())
      end
    ]])
    assert.equal(1, count(output, LOST), output)
    assert.equal(2, count(output, "10\t10\n"), output)
  end)

  it("tells which failure keeps its records waiting, from the third in a row on", function()
    local output = script([[
      local client = client_of(endpoint)
      local producer = assert(client:producer(stream, { linger = 0, exit_timeout = 0 }))
      assert(producer:put("record", "key"))
      local seen
      repeat
        kinesis.sleep(0.05)
        seen = producer:stats().errors.Connection or 0
      until seen >= 3
      print(producer:stats().open)
    ]], "http://127.0.0.1:9")
    assert.equal(1, count(output, "kinesis: producer for never%-was: %a+: Connection: [^\n]*127.0.0.1 port 9[^\n]*; "
      .. "its records wait and are retried\n"), output)
    assert.matches("\n1\n", output, 1, true)
    assert.matches("kinesis: 1 record for never%-was was not delivered: %a+: Connection: [^\n]*; close producers",
      output)
  end)

  it("does not tell of a failure that has passed", function()
    local direct = fresh.client(service)
    local stream = fresh.stream(direct, 1, "notice")
    local scope = faults.open({ PutRecords = { { code = "InternalFailure", status = 500 },
      { code = "InternalFailure", status = 500 } } }, { service = "kinesalite" })
    local output = script([[
      local client = client_of(endpoint)
      local producer = assert(client:producer(stream, { linger = 0 }))
      assert(producer:put("record", "key"))
      assert(producer:flush())
      print(producer:stats().errors.InternalFailure, producer:stats().stored)
      assert(producer:close())
    ]], scope.url, stream)
    assert.equal("2\t1\n", output)
    direct:call("DeleteStream", { StreamName = stream })
    direct:close()
  end)

  it("tells that records outlived record_ttl", function()
    local output = script([[
      local client = client_of(endpoint)
      local producer = assert(client:producer(stream, { linger = 0, record_ttl = 0.1 }))
      assert(producer:put("record", "key"))
      while producer:stats().expired < 1 do kinesis.sleep(0.01) end
      print(select(4, producer:flush())[1].error.code)
    ]], "http://127.0.0.1:9")
    assert.equal(1, count(output, "kinesis: producer for never%-was: PutRecords: Expired: not stored within 0.1 s "
      .. "%(record_ttl%)[^\n]*\n"), output)
    assert.matches("Expired\n", output, 1, true)
  end)

  it("leaves what receipts tell to them, and tells of those that were dropped", function()
    local output = script([[
      local client = client_of(endpoint)
      local producer = assert(client:producer(stream, { linger = 0 }))
      local receipt = assert(producer:send("record", "key"))
      print(select(2, receipt:wait()).code)
      io.stdout:flush()
      assert(producer:send("record", "key"))
      while producer:stats().untold_failures < 1 do
        client:call "ListStreams"
        collectgarbage()
      end
    ]])
    assert.matches("^ResourceNotFoundException\n" .. LOST, output)
  end)
end)

it("a producer with on_failure leaves what it is told of to it", function()
  local output = script [[
    local client = client_of(endpoint)
    local told = 0
    local producer = assert(client:producer(stream, { linger = 0, on_failure = function() told = told + 1 end }))
    assert(producer:put("record", "key"))
    while told < 1 do client:call "ListStreams" end
    assert(producer:close())
  ]]
  assert.equal("", output)
end)

it("hundreds of causes are told once a minute, each", function()
  for _, expected in ipairs { 500, 0 } do
    local due = 0
    for i = 1, 500 do
      due = due + (core.notice_due("one of many " .. i) and 1 or 0)
    end
    assert.equal(expected, due)
  end
end)

it("many error codes are counted in bounded memory", function()
  local rules = {}
  for i = 1, 40 do
    rules[i] = { code = "Code" .. i, status = 400 }
  end
  local client = faults.open({ PutRecords = rules }, { service = "kinesalite" }):client { max_attempts = 1 }
  local failed = 0
  local producer = assert(client:producer("never-was", { batch_records = 1, parallel = 1, linger = 0,
    on_failure = function() failed = failed + 1 end }))
  for _ = 1, 40 do
    assert(producer:put("record", "key"))
  end
  assert(producer:flush())
  local errors, codes = producer:stats().errors, 0
  for _ in pairs(errors) do
    codes = codes + 1
  end
  assert.equal(40, failed)
  assert.equal(24, codes)
  assert.equal(1, errors.Code1)
  producer:close()
  client:close()
end)

describe("producers that a closed Lua state collects", function()
  it("share one exit_timeout, and each says why its records are lost", function()
    local began = core.now()
    local output = script([[
      local client, all = client_of(endpoint), {}
      for i = 1, 6 do
        all[i] = assert(client:producer("s" .. i, { exit_timeout = 1 }))
        assert(all[i]:put("x", "key"))
      end
      os.exit(0, true)
    ]], "http://127.0.0.1:9")
    assert.equal(6, count(output, "1 record for s%d was not delivered: %a+: Connection: [^\n]*port 9"), output)
    assert.is_true(core.now() - began < 5, output)
  end)

  it("all leave at once, also those that linger", function()
    local direct = fresh.client(service)
    local stream = fresh.stream(direct, 1, "notice")
    local output = script([[
      local client, hanging = client_of(endpoint), client_of "http://127.0.0.1:9"
      local all = {}
      for i = 1, 4 do
        all[i] = assert((i % 2 == 0 and client or hanging):producer(stream, { linger = 60, exit_timeout = 2 }))
        assert(all[i]:put("record " .. i, "key"))
      end
      os.exit(0, true)
    ]], nil, stream)
    assert.equal(2, count(output, "1 record for [^\n]* was not delivered"), output)
    local read = fresh.read(direct, stream)
    assert.equal(2, #read)
    direct:call("DeleteStream", { StreamName = stream })
    direct:close()
  end)

  it("have their whole time again when those before them were delivered", function()
    local direct = fresh.client(service)
    local stream = fresh.stream(direct, 1, "notice")
    local scope = faults.open({ PutRecords = { {}, { delay = 0.7 }, { delay = 0.7 } } }, { service = "kinesalite" })
    assert.equal("", script([[
      local client = client_of(endpoint)
      for i = 1, 3 do
        local producer = assert(client:producer(stream, { exit_timeout = 1 }))
        assert(producer:put("record " .. i, "key"))
        producer = nil
        collectgarbage()
        collectgarbage()
      end
    ]], scope.url, stream))
    assert.equal(3, #fresh.read(direct, stream))
    direct:call("DeleteStream", { StreamName = stream })
    direct:close()
  end)

  it("have time of their own when they were made after another one had used up its own", function()
    local direct = fresh.client(service)
    local stream = fresh.stream(direct, 1, "notice")
    local output = script([[
      local client, hanging = client_of(endpoint), client_of "http://127.0.0.1:9"
      local function drop(client, text)
        local producer = assert(client:producer(stream, { exit_timeout = 1 }))
        assert(producer:put(text, "key"))
        producer = nil
        collectgarbage()
        collectgarbage()
      end
      drop(hanging, "lost")
      for i = 1, 3 do
        drop(client, "record " .. i)
      end
    ]], nil, stream)
    assert.equal(1, count(output, "not delivered"), output)
    assert.equal(3, #fresh.read(direct, stream))
    direct:call("DeleteStream", { StreamName = stream })
    direct:close()
  end)
end)

it("what a producer takes long after its worker was told to leave has its whole time at the exit", function()
  local direct = fresh.client(service)
  local stream = fresh.stream(direct, 1, "notice")
  assert.equal("", script([[
    local client = client_of(endpoint)
    local producer = assert(client:producer(stream, { exit_timeout = 1 }))
    assert(producer:put("record 1", "key"))
    client:leave() -- as the pump of a worker of nginx does every second
    assert(producer:flush())
    kinesis.sleep(1.1)
    client:leave()
    assert(producer:put("record 2", "key"))
  ]], nil, stream))
  assert.equal(2, #fresh.read(direct, stream))
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
end)

it("Prometheus text has the errors by code", function()
  local client = fresh.client("http://127.0.0.1:9", { max_attempts = 1 })
  local producer = assert(client:producer("never-was", { linger = 0, on_failure = function() end }))
  assert(producer:put("record", "key"))
  fresh.eventually(function()
    return producer:stats().errors.Connection
  end)
  assert.matches('\nkinesis_producer_errors_total{stream="never%-was",code="Connection"} %d+\n',
    kinesis.prometheus(producer))
  producer:close(0)
  client:close()
end)
