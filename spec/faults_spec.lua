-- Servers that are absent, hang, fail or send malformed responses: the caller's errors, and the retries.
local core = require "kinesis.core"
local faults = require "support.faults"
local fresh = require "support.fresh"

local local_service = os.getenv "KINESIS_LOCAL"
local direct, stream

local function took(f)
  local began = core.now()
  local a, b = f()
  return core.now() - began, a, b
end

local function seen(scope, operation)
  return #scope:seen(operation)
end

-- One put through a scope with these rules: the result, the error, the scope.
local function put_through(rules, options)
  local scope = faults.open { PutRecord = rules }
  local client = scope:client(options)
  local result, err = client:put(stream, "data", "key")
  client:close()
  return result, err, scope
end

local function failing_put(rules, options)
  local result, err, scope = put_through(rules, options)
  assert.is_nil(result)
  assert.equal("PutRecord", err.operation)
  assert.is_nil(tostring(err):find("\n", 1, true))
  return err, scope
end

setup(function()
  direct = fresh.client(local_service)
  stream = fresh.stream(direct, 1)
end)

teardown(function()
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
end)

describe("a server that", function()
  it("is not there: Connection, with its address", function()
    -- no server listens on the discard port of this loopback address
    local client = fresh.client "http://127.9.9.9:9"
    local seconds, result, err = took(function()
      return client:put(stream, "data", "key")
    end)
    client:close()
    assert.is_nil(result)
    assert.equal("Connection", err.code)
    assert.is_true(err.retryable)
    assert.is_nil(err.status)
    assert.matches("127.9.9.9:9", tostring(err), 1, true)
    assert.is_true(seconds < 2)
  end)

  it("has a name that does not exist: Connection", function()
    local client = fresh.client("http://kinesis.invalid", { max_attempts = 1 })
    local result, err = client:put(stream, "data", "key")
    client:close()
    assert.is_nil(result)
    assert.equal("Connection", err.code)
    assert.matches("kinesis.invalid", tostring(err), 1, true)
  end)

  it("hangs: Timeout, after request_timeout, for every attempt", function()
    local err, scope
    local seconds = took(function()
      err, scope = failing_put({ { stall = 30, always = true } }, { request_timeout = 0.3, max_attempts = 2 })
    end)
    assert.equal("Timeout", err.code)
    assert.is_true(err.retryable)
    assert.matches("request_timeout", tostring(err), 1, true)
    assert.equal(2, seen(scope))
    assert.is_true(seconds >= 0.6 and seconds < 2, seconds)
  end)

  it("sends slowly: a response within request_timeout, else a Timeout", function()
    assert.truthy(put_through({ { dribble = 0.02 } }, { request_timeout = 5 }))
    local err = failing_put({ { dribble = 0.1 } }, { request_timeout = 0.3, max_attempts = 1 })
    assert.equal("Timeout", err.code)
  end)

  it("resets the connection before its response: retried", function()
    local result, _, scope = put_through { { reset = "before" }, { reset = "before" } }
    assert.truthy(result)
    assert.equal(3, seen(scope))
    local err = failing_put { { reset = "before", always = true } }
    assert.equal("Connection", err.code)
    assert.is_true(err.retryable)
  end)

  it("closes in the middle of its response: retried", function()
    local result, _, scope = put_through { { cut = 20 } }
    assert.truthy(result)
    assert.equal(2, seen(scope))
    local err = failing_put({ { cut = 20 } }, { max_attempts = 1 })
    assert.equal("Connection", err.code)
  end)

  it("announces more than it sends", function()
    local err = failing_put({ { lie = 10 } }, { max_attempts = 1 })
    assert.equal("Connection", err.code)
  end)

  it("announces less than it sends", function()
    local err = failing_put({ { lie = -10 } }, { max_attempts = 1 })
    assert.equal("BadAnswer", err.code)
    -- the surplus is not read as the next response
    local result, _, scope = put_through { { lie = -10 } }
    assert.truthy(result)
    assert.equal(2, seen(scope))
  end)

  it("speaks no HTTP", function()
    local err = failing_put({ { raw = "SSH-2.0-OpenSSH_9.2\r\n" } }, { max_attempts = 1 })
    assert.equal("Connection", err.code)
  end)

  it("speaks HTML", function()
    local page = "<html><head><title>It works!</title></head><body>welcome to this server</body></html>"
    local html = { ["Content-Type"] = "text/html" }
    local err = failing_put({ { body = page, status = 200, headers = html } }, { max_attempts = 1 })
    assert.equal("BadAnswer", err.code)
    assert.equal(200, err.status)
    assert.matches("<title>It works!", err.message, 1, true)

    local scope
    err, scope = failing_put { { body = page, status = 503, headers = html, always = true } }
    assert.equal("BadAnswer", err.code)
    assert.equal(503, err.status)
    assert.is_true(err.retryable)
    assert.equal(3, seen(scope))

    err, scope = failing_put { { body = page, status = 404, headers = html, always = true } }
    assert.equal("BadAnswer", err.code)
    assert.is_false(err.retryable)
    assert.equal(1, seen(scope))
  end)

  it("sends truncated or wrong JSON: BadAnswer", function()
    for _, rule in ipairs {
      { truncate = 30 }, { truncate = 0 }, { body = "[]" }, { body = "{}" }, { body = "null" },
      { body = '{"ShardId":7,"SequenceNumber":"1"}' }, { body = '{"ShardId":"a","SequenceNumber":null}' },
      { body = ("["):rep(100000) }, { body = "\0\1\2" },
    } do
      local err = failing_put({ rule }, { max_attempts = 1 })
      assert.equal("BadAnswer", err.code)
      assert.equal(200, err.status)
    end
  end)

  it("sends wrong JSON to put_many and to a reader: BadAnswer", function()
    local scope = faults.open {
      PutRecords = { { body = '{"Records":[]}', always = true } },
      GetShardIterator = { { body = '{"ShardIterator":7}', always = true } },
      ListShards = { {}, { truncate = 40, always = true } },
    }
    local client = scope:client { max_attempts = 1 }
    local results, failed = client:put_many(stream, { { data = "a" }, { data = "b" } })
    assert.equal(2, failed)
    assert.equal("BadAnswer", results[1].code)
    local reader = client:shards(stream):records()
    local good, err = pcall(reader)
    assert.is_false(good)
    assert.equal("BadAnswer", err.code)
    good, err = pcall(client.shards, client, stream)
    assert.is_false(good)
    assert.equal("BadAnswer", err.code)
    client:close()
  end)

  it("sends no list of shards, or an endless one: BadAnswer", function()
    for _, body in ipairs {
      '{"Shards":7}', '{"Shards":["a"]}', '{"Shards":[{"ShardId":null}]}', '{"Shards":[{"ShardId":""}]}',
      '{"Shards":[{"ShardId":"a","HashKeyRange":7}]}', '{"Shards":[{"ShardId":"a","SequenceNumberRange":"b"}]}',
      '{"Shards":[{"ShardId":"a","ParentShardId":{}}]}', '{"Shards":[],"NextToken":7}',
      '{"Shards":[{"ShardId":"a"}],"NextToken":"again and again"}',
    } do
      local client = faults.open({ ListShards = { { body = body, always = true } } }):client { max_attempts = 1 }
      local good, err = pcall(client.shards, client, stream)
      client:close()
      assert.is_false(good)
      assert.equal("BadAnswer", err.code, body)
      assert.equal("ListShards", err.operation)
    end
  end)

  it("answers 100 MB: BadAnswer, in bounded memory", function()
    for _, announced in ipairs { true, false } do
      local scope = faults.open { PutRecord = { { huge = 100e6, announced = announced, always = true } } }
      local child = fresh.lua([[
        local kinesis = require "kinesis"
        local function peak()
          return tonumber(io.open("/proc/self/status"):read("*a"):match("VmHWM:%s*(%d+)"))
        end
        local client = kinesis.client { endpoint = arg[1], region = "us-east-1",
          credentials = { access_key_id = "a", secret_access_key = "b" } }
        local before = peak()
        local _, err = client:put("stream", "data", "key")
        print(err and err.code, err and err.retryable, peak() - before)
      ]], nil, scope.url)
      local output, status = child:wait()
      assert.equal(0, status, output)
      local code, retryable, grown = output:match "^(%S+)\t(%S+)\t(%d+)"
      assert.equal("BadAnswer", code, output)
      assert.equal("false", retryable)
      -- 32 MiB are accepted; the buffer doubles, and two buffers exist during that
      local bound = announced and 16 or 80
      if os.getenv("BUILD_FLAVOUR"):find "^[at]san" then
        bound = 2 * bound -- freed memory is kept for a while
      end
      assert.is_true(tonumber(grown) < bound * 1024, grown .. " KB")
      assert.equal(1, seen(scope))
    end
  end)
end)

describe("a direct call", function()
  it("is retried after two 500s", function()
    local failure = { code = "InternalFailure", status = 500 }
    local result, err, scope = put_through { failure, failure }
    assert.truthy(result, tostring(err))
    assert.equal(3, seen(scope))
  end)

  it("fails after three attempts, with the last error", function()
    local err, scope = failing_put { { code = "InternalFailure", status = 500, message = "no luck", always = true } }
    assert.equal("InternalFailure", err.code)
    assert.equal("no luck", err.message)
    assert.equal(500, err.status)
    assert.is_true(err.retryable)
    assert.is_false(err.throttled)
    assert.equal(3, seen(scope))
  end)

  it("has the code without its namespace, and the request id", function()
    local headers = { ["x-amzn-RequestId"] = "r-1" }
    local err = failing_put { { code = "com.amazonaws.kinesis#ResourceNotFoundException", headers = headers } }
    assert.equal("ResourceNotFoundException", err.code)
    assert.equal("r-1", err.request_id)
    headers["x-amzn-ErrorType"] = "AccessDeniedException:http://internal.amazon.com/coral/"
    err = failing_put { { body = "", status = 400, headers = headers } }
    assert.equal("AccessDeniedException", err.code)
  end)

  it("is not retried when access is denied", function()
    local err, scope = failing_put { { code = "AccessDeniedException", always = true } }
    assert.equal("AccessDeniedException", err.code)
    assert.equal(400, err.status)
    assert.is_false(err.retryable)
    assert.equal(1, seen(scope))
  end)

  it("is retried when throttled, and has the error when that does not help", function()
    local throttle = { code = "ProvisionedThroughputExceededException" }
    local result, _, scope = put_through { throttle }
    assert.truthy(result)
    assert.equal(2, seen(scope))
    throttle.always = true
    local err
    err, scope = failing_put({ throttle }, { max_attempts = 2 })
    assert.is_true(err.throttled and err.retryable)
    assert.equal(2, seen(scope))
  end)

  it("waits for the time of x-amz-retry-after", function()
    local headers = { ["x-amz-retry-after"] = "700" }
    local _, _, scope = put_through { { code = "InternalFailure", status = 500, headers = headers } }
    local calls = scope:seen()
    assert.equal(2, #calls)
    assert.is_true(calls[2].at - calls[1].at >= 0.69, calls[2].at - calls[1].at)
  end)

  it("is sent once with max_attempts = 1", function()
    local err, scope = failing_put({ { code = "InternalFailure", status = 500 } }, { max_attempts = 1 })
    assert.equal("InternalFailure", err.code)
    assert.equal(1, seen(scope))
  end)

  it("signs again what the service refuses for its age, in calls, producers and readers", function()
    local aged = { code = "InvalidSignatureException", message = "Signature expired: 20260101T000000Z is now earlier "
      .. "than 20260101T000500Z (20260101T001000Z - 5 min.)" }
    local own = fresh.stream(direct, 1, "aged")
    local scope = faults.open { PutRecord = { aged, aged }, PutRecords = { aged }, ListShards = { aged },
      GetShardIterator = { aged }, GetRecords = { aged, aged } }
    local client = scope:client()
    assert(client:put(own, "one", "key"))
    local producer = assert(client:producer(own))
    assert(assert(producer:send("two", "key")):wait())
    assert.equal("one", client:shards(own):records { limit = 1 }:next().data)
    assert.same({ 3, 2 }, { #scope:seen "PutRecord", #scope:seen "PutRecords" })
    producer:close()
    client:close()
    direct:call("DeleteStream", { StreamName = own })
  end)

  it("is signed with the service's time, at any skew, also when it changes", function()
    local HOUR, rules = 3600, {}
    for _, clock in ipairs { HOUR, -HOUR, 0, 20 * HOUR } do
      for _ = 1, 5 do
        rules[#rules + 1] = { clock = clock }
      end
    end
    rules[#rules].always = true
    local scope = faults.open { PutRecord = rules }
    local client = scope:client()
    for _ = 1, 20 do
      assert(client:put(stream, "data", "key"))
    end
    client:close()
    local calls = scope:seen()
    assert.equal(24, #calls) -- one more at the beginning and at each jump
    local function hours(call)
      local h, m = call.date:match "T(%d%d)(%d%d)"
      return h + m / 60
    end
    local forward = (hours(calls[2]) - hours(calls[1])) % 24
    assert.is_true(math.abs(forward - 1) < 0.1, forward)
    assert.are_not.equal(calls[1].authorization, calls[2].authorization)
    assert.matches(calls[2].date:sub(1, 8), calls[2].authorization, 1, true)
  end)

  it("is not retried when the signature is wrong and the clock is right", function()
    local err, scope = failing_put { { code = "InvalidSignatureException", always = true } }
    assert.equal("InvalidSignatureException", err.code)
    assert.equal(1, seen(scope))
  end)
end)

describe("put_many", function()
  local function entries(count)
    local list = {}
    for i = 1, count do
      list[i] = { data = "data " .. i, partition_key = "key " .. i }
    end
    return list
  end

  local function count_of(name)
    local counts = {}
    for _, record in ipairs(fresh.read(direct, name)) do
      counts[record.data] = (counts[record.data] or 0) + 1
    end
    return counts
  end

  it("sends the failed entries again, alone, and keeps the caller's order", function()
    local own = fresh.stream(direct, 2)
    local scope = faults.open { PutRecords = {
      { fail_entries = { 2, 5, 9 } },
      { fail_entries = { 2 }, code = "InternalFailure" }, -- the 5th
    } }
    local client = scope:client()
    local results, failed = client:put_many(own, entries(10))
    client:close()
    assert.equal(0, failed)
    local calls = scope:seen "PutRecords"
    assert.equal(3, #calls)
    assert.equal(10, #calls[1].keys)
    assert.same({ "key 2", "key 5", "key 9" }, calls[2].keys)
    assert.same({ "key 5" }, calls[3].keys)

    local stored = {}
    for _, record in ipairs(fresh.read(direct, own)) do
      stored[record.data] = record.sequence_number
    end
    local attempts = { [2] = 2, [5] = 3, [9] = 2 }
    for i, result in ipairs(results) do
      assert.is_nil(result.code)
      assert.equal(stored["data " .. i], result.sequence_number)
      assert.equal(attempts[i], result.attempts)
    end
    for _, times in pairs(count_of(own)) do
      assert.equal(1, times)
    end
  end)

  it("gives each entry its own code when attempts run out", function()
    local scope = faults.open { PutRecords = {
      { fail_entries = { 1, 3 } },
      { fail_entries = { 1, 2 }, code = "InternalFailure", message = "Internal Service Failure", always = true },
    } }
    local client = scope:client()
    local results, failed = client:put_many(stream, entries(4))
    client:close()
    assert.equal(2, failed)
    assert.equal(3, #scope:seen "PutRecords")
    for _, i in ipairs { 1, 3 } do
      assert.equal("InternalFailure", results[i].code)
      assert.equal("Internal Service Failure", results[i].message)
      assert.equal(3, results[i].attempts)
      assert.is_nil(results[i].sequence_number)
    end
    for _, i in ipairs { 2, 4 } do
      assert.is_nil(results[i].code)
      assert.truthy(results[i].sequence_number)
    end
  end)

  it("gets through when a throttle ends before its attempts do", function()
    local throttle = { code = "ProvisionedThroughputExceededException", lasts = 1, always = true }
    local scope = faults.open { PutRecords = { throttle } }
    local client = scope:client { max_attempts = 30 }
    local results, failed = client:put_many(stream, entries(3))
    client:close()
    assert.equal(0, failed)
    local calls = #scope:seen "PutRecords"
    assert.equal(calls, results[3].attempts)
    assert.is_true(calls > 1)
  end)

  it("does not send an entry again whose failure does not pass", function()
    local scope = faults.open { PutRecords = { { fail_entries = { 2 }, code = "ValidationException" } } }
    local client = scope:client()
    local results, failed = client:put_many(stream, entries(3))
    client:close()
    assert.equal(1, failed)
    assert.equal("ValidationException", results[2].code)
    assert.equal(1, #scope:seen "PutRecords")
  end)

  it("whose every attempt fails has a code for each entry, and sends the rest nowhere when it is hopeless", function()
    local scope = faults.open { PutRecords = { { code = "InternalFailure", status = 500, always = true } } }
    local client = scope:client()
    local results, failed = client:put_many(stream, entries(3))
    client:close()
    assert.equal(3, failed)
    for i = 1, 3 do
      assert.equal("InternalFailure", results[i].code)
      assert.equal(3, results[i].attempts)
    end
    assert.equal(3, #scope:seen "PutRecords")

    scope = faults.open { PutRecords = { { code = "AccessDeniedException", always = true } } }
    client = scope:client()
    results, failed = client:put_many(stream, entries(501))
    client:close()
    assert.equal(501, failed)
    assert.equal("AccessDeniedException", results[501].code)
    assert.equal(1, #scope:seen "PutRecords")
  end)

  it("sends everything again after a reset that came too late: at least once", function()
    local own = fresh.stream(direct, 1)
    local scope = faults.open { PutRecords = { { reset = "after" } } }
    local client = scope:client()
    local results, failed = client:put_many(own, entries(3))
    client:close()
    assert.equal(0, failed)
    assert.same({ 2, 2, 2 }, { results[1].attempts, results[2].attempts, results[3].attempts })
    assert.same({ ["data 1"] = 2, ["data 2"] = 2, ["data 3"] = 2 }, count_of(own))
  end)
end)
