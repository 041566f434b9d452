-- Hooks and counters of a client's calls, and the headers that identify a call and its attempts.
local faults = require "support.faults"
local fresh = require "support.fresh"

-- A hook that keeps its events.
local function recorder()
  local events = {}
  return events, function(event)
    events[#events + 1] = event
  end
end

describe("hooks", function()
  it("are called for every request, response and retry of a call, in order", function()
    local scope = faults.open { ListStreams = { { code = "InternalFailure", status = 500 }, {} } }
    local told = {}
    local function note(kind)
      return function(event)
        told[#told + 1] = kind
        told[kind .. event.attempt] = event
      end
    end
    local client = scope:client { on_request = note "request", on_response = note "response", on_retry = note "retry" }
    assert(client:call "ListStreams")
    assert.same({ "request", "response", "retry", "request", "response" }, { (table.unpack or unpack)(told) })
    local first, failed, again, last = told.request1, told.response1, told.retry1, told.response2
    assert.equal("ListStreams", first.operation)
    assert.equal(scope.url .. "/", first.url .. (first.url:find "/$" and "" or "/"))
    assert.equal(2, first.bytes)
    assert.equal("InternalFailure", failed.error.code)
    assert.equal(500, failed.status)
    assert.is_true(failed.duration > 0 and failed.duration < 5)
    assert.equal("InternalFailure", again.error.code)
    assert.is_true(again.delay >= 0 and again.delay <= 0.05)
    assert.equal(200, last.status)
    assert.is_nil(last.error)
    assert.matches("^%x+%-%x+%-%x+%-%x+%-%x+$", last.request_id)
    assert.equal(first.invocation_id, last.invocation_id)
    client:close()
  end)

  it("are called for the calls of put_many and readers", function()
    local service = fresh.services[1]
    local requests, on_request = recorder()
    local client = fresh.client(service, { on_request = on_request })
    local stream = fresh.stream(client)
    assert(client:put_many(stream, { { data = "x" } }))
    fresh.read(client, stream)
    local seen = {}
    for _, event in ipairs(requests) do
      seen[event.operation] = true
    end
    for _, operation in ipairs { "CreateStream", "PutRecords", "ListShards", "GetShardIterator", "GetRecords" } do
      assert.is_true(seen[operation], operation)
    end
    client:close()
  end)

  it("get the bytes of pages and subscriptions, which stats counts, too", function()
    local service = fresh.services[1]
    local events, hook = recorder()
    local client = fresh.client(service, { on_response = hook })
    local stream = fresh.stream(client)
    assert(client:put(stream, ("x"):rep(3000), "key"))
    local before = client:stats().bytes_received
    assert.equal(1, #fresh.read(client, stream))
    local most = 0
    for _, event in ipairs(events) do
      most = math.max(most, event.operation == "GetRecords" and event.bytes or 0)
    end
    assert.is_true(most > 4000, most .. " bytes") -- base64
    assert.is_true(client:stats().bytes_received - before > 4000)
    client:close()
  end)

  it("get no secret and no data", function()
    local events, hook = recorder()
    local client = fresh.client(fresh.services[1], {
      on_request = hook, on_response = hook,
      credentials = { access_key_id = "AKIDHOOK", secret_access_key = "secret of it", session_token = "token of it" },
    })
    client:put(fresh.name "absent", "the data themselves")
    assert.is_true(#events >= 2)
    for _, event in ipairs(events) do
      for _, value in pairs(event) do
        local text = tostring(value)
        for _, secret in ipairs { "AKIDHOOK", "secret of", "token of", "data themselves", "Signature" } do
          assert.is_nil(text:find(secret, 1, true))
        end
      end
    end
    client:close()
  end)

  it("that raise are reported on stderr, and affect no call", function()
    local output, status = fresh.lua([[
      local client = require("kinesis").client { endpoint = arg[1], region = "us-east-1",
        credentials = { access_key_id = "AKID", secret_access_key = "secret" },
        on_response = function() error "the hook broke" end }
      print(client:call("ListStreams") ~= nil)
    ]], nil, fresh.services[1].endpoint):wait()
    assert.equal(0, status, output)
    assert.matches("kinesis: on_response raised: [^\n]*the hook broke\n", output)
    assert.matches("true\n", output)
  end)

  it("may make calls themselves", function()
    local client, inner
    client = fresh.client(fresh.services[1], { on_response = function(event)
      if event.operation == "ListStreams" then
        inner = client:call "DescribeLimits"
      end
    end })
    assert(client:call "ListStreams")
    assert.is_table(inner)
    client:close()
  end)

  it("that Lua does not take are dropped beyond 1,000, and counted", function()
    local events, hook = recorder()
    local service = fresh.services[2]
    local client = fresh.client(service, { on_request = hook, on_response = hook })
    local stream = fresh.stream(client)
    local tickets = {}
    for i = 1, 1200 do
      tickets[i] = assert(client.core:put(stream, "x", "k"))
    end
    assert.equal(1200, #tickets) -- kept: one that is collected cancels its call
    fresh.eventually(function()
      return client:stats().in_flight + client:stats().queued == 0 and client:stats().attempts >= 1200
    end)
    for i = #events, 1, -1 do
      events[i] = nil
    end
    assert(client:call "ListStreams")
    assert(client:call "ListStreams")
    local dropped = 0
    for _, event in ipairs(events) do
      dropped = dropped + (event.dropped or 0)
    end
    assert.is_true(#events >= 1000 and #events < 1100, #events)
    assert.is_true(dropped > 1300 and dropped <= 2400, dropped)
    client:close()
  end)
end)

describe("client:stats()", function()
  it("counts calls, attempts, retries, failures and bytes", function()
    local scope = faults.open {
      ListStreams = { { code = "InternalFailure", status = 500 }, {} },
      DescribeLimits = { { code = "LimitExceededException", status = 400, always = true } },
    }
    local client = scope:client { max_attempts = 2 }
    local stats = client:stats()
    for name, value in pairs(stats) do
      assert.equal(0, value, name)
    end
    assert(client:call "ListStreams")
    assert.is_nil(client:call "DescribeLimits")
    stats = client:stats()
    assert.equal(2, stats.calls)
    assert.equal(4, stats.attempts)
    assert.equal(2, stats.retries)
    assert.equal(2, stats.throttled)
    assert.equal(1, stats.failed)
    assert.equal(8, stats.bytes_sent)
    assert.is_true(stats.bytes_received > 20)
    assert.equal(0, stats.in_flight + stats.queued)
    client:close()
    local none, err = client:stats()
    assert.is_nil(none)
    assert.equal("Closed", err.code)
  end)
end)

describe("call_timeout", function()
  it("bounds a call with all its attempts, and put_many's", function()
    local always = { { code = "InternalFailure", status = 500, delay = 0.1, always = true } }
    local scope = faults.open { ListStreams = always, PutRecords = always }
    local client = scope:client { max_attempts = 100, call_timeout = 0.3 }
    local answer, err = client:call "ListStreams"
    assert.is_nil(answer)
    assert.is_true(err.code == "InternalFailure" or err.code == "Timeout", tostring(err))
    local results, failed = client:put_many("stream", { { data = "x" } })
    assert.equal(1, failed)
    assert.is_string(results[1].code)
    assert.is_true(#scope:seen "ListStreams" <= 4)
    assert.is_true(#scope:seen "PutRecords" <= 4)
    client:close()
  end)
end)

describe("a request", function()
  it("names its call and its attempt as the AWS SDKs do", function()
    local scope = faults.open { ListStreams = { { code = "InternalFailure", status = 500 }, {} } }
    local client = scope:client()
    assert(client:call "ListStreams")
    local seen = scope:seen "ListStreams"
    assert.equal("attempt=1; max=3", seen[1].attempt)
    assert.equal("attempt=2; max=3", seen[2].attempt)
    local id = seen[1].invocation
    assert.matches("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$", id)
    assert.equal(id, seen[2].invocation)
    client:close()
  end)
end)
