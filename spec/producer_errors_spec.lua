-- A producer while requests fail or get no answer: retries, the time to live, a full queue, and waits that end.
local core = require "kinesis.core"
local delivery = require "support.delivery"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local run = require "support.tasks"

local check_sums, data_of = delivery.check_sums, delivery.data_of

describe("a producer with a failing service", function()
  local direct, stream

  setup(function()
    direct = fresh.client(fresh.services[2])
    stream = fresh.stream(direct, 2, "trouble")
  end)

  teardown(function()
    direct:close()
  end)

  local function open(rules, given, client_given)
    local scope = faults.open(rules, { service = "kinesalite" })
    local client = scope:client(client_given)
    return assert(client:producer(stream, given)), client, scope
  end

  it("returns records at once for which it has no permission", function()
    local denied = { code = "AccessDeniedException", status = 400, always = true }
    local producer, client, scope = open { PutRecords = { denied } }
    local stored, err = assert(producer:send("secret", "key")):wait()
    assert.is_nil(stored)
    assert.equal("AccessDeniedException", err.code)
    assert.equal(1, #err.attempts)
    assert.equal(1, #scope:seen "PutRecords")
    producer:close()
    client:close()
  end)

  it("retries after transient errors, and keeps the attempts", function()
    local producer, client = open { PutRecords = { { code = "InternalFailure", status = 500 },
      { code = "ServiceUnavailable", status = 503 } } }
    local stored = assert(assert(producer:send("again", "key")):wait())
    assert.equal(3, #stored.attempts)
    assert.equal("InternalFailure", stored.attempts[1].code)
    assert.equal("ServiceUnavailable", stored.attempts[2].code)
    assert.is_nil(stored.attempts[3].code)
    assert.equal(2, producer:stats().possible_duplicates)
    producer:close()
    client:close()
  end)

  it("gives up after the time to live", function()
    local producer, client = open({ PutRecords = { { code = "InternalFailure", status = 500, always = true } } },
      { record_ttl = 0.3 })
    local stored, err = assert(producer:send("old", "key")):wait()
    assert.is_nil(stored)
    assert.equal("Expired", err.code)
    assert.is_true(#err.attempts >= 1)
    assert.matches("not stored within 0.3 s, in %d+ attempts?; the last attempt: InternalFailure", err.message)
    assert.equal(1, producer:stats().expired)
    producer:close()
    client:close()
  end)

  it("returns from close in time, with the records that are not stored", function()
    local producer, client = open({ PutRecords = { { stall = 30, always = true } } })
    local receipt = assert(producer:send("waited for", "key"))
    assert(producer:put("not waited for", "key"))
    local began = core.now()
    local done, err, lost = producer:close(0.5)
    assert.is_true(core.now() - began < 3)
    assert.is_nil(done)
    assert.equal("Closed", err.code)
    assert.same({ "not waited for" }, data_of(lost))
    local _, why = receipt:wait()
    assert.equal("Closed", why.code)
    assert.matches("may have stored it", why.message, 1, true)
    client:close()
  end)

  it("tells how many records are open when a flush times out", function()
    local producer, client, scope = open { PutRecords = { { gate = true } } }
    assert(producer:put("slow", "key"))
    local done, err, left = producer:flush(0.1)
    assert.is_nil(done)
    assert.equal("Timeout", err.code)
    assert.equal(1, left)
    scope:open_gate()
    assert.is_true(producer:flush())
    producer:close()
    client:close()
  end)

  it("is Full at once in a host, and waits in a script", function()
    local producer, client, scope = open({ PutRecords = { { gate = true, always = true } } },
      { max_records = 5, when_full = "refuse", linger = 0 })
    for i = 1, 5 do
      assert(producer:put("r" .. i, "key"))
    end
    local taken, err = producer:put("r6", "key")
    assert.is_nil(taken)
    assert.equal("Full", err.code)
    assert.matches("5 records %(%d+ bytes%) fill this producer", err.message)
    scope:open_gate()
    producer:close()
    local patient = assert(client:producer(stream, { max_records = 5 }))
    for i = 1, 50 do
      assert(patient:put("p" .. i, "key"))
    end
    assert.is_true(patient:close())
    assert.equal(50, patient:stats().stored)
    client:close()
  end)

  it("returns records at once when its permission is gone, and keeps those that are stored", function()
    local producer, client, scope = open { PutRecords = { {}, { code = "AccessDeniedException", always = true } } }
    local before = assert(producer:send("before", "key"))
    assert.is_true(producer:flush())
    assert.is_table(before:wait(0))
    assert(producer:put("after", "key"))
    local done, err, left, failed = producer:flush()
    assert.is_nil(done)
    assert.equal("AccessDeniedException", err.code)
    assert.matches("^PutRecords: AccessDeniedException: 1 record failed; the first: ", tostring(err))
    assert.equal(0, left)
    assert.same({ "after" }, data_of(failed))
    assert.equal(1, #failed[1].error.attempts)
    assert.equal(2, #scope:seen "PutRecords")
    local stats = check_sums(producer:stats())
    assert.equal(0, stats.retried)
    assert.equal(0, stats.held_records)
    assert.is_true(producer:close())
    client:close()
  end)

  it("tells the time of each attempt", function()
    local producer, client, scope = open { PutRecords = { { gate = true, code = "InternalFailure", status = 500 } } }
    local began = os.time()
    local receipt = assert(producer:send("timed", "key"))
    fresh.eventually(function()
      return #scope:seen "PutRecords" == 1
    end)
    assert.is_nil(receipt:wait(0.2)) -- the first attempt lasts at least so long
    scope:open_gate()
    local stored = assert(receipt:wait())
    local first, second = stored.attempts[1], stored.attempts[2]
    assert.is_true(first.at >= began - 1 and second.at <= os.time() + 1)
    assert.is_true(first.duration >= 0.2, tostring(first.duration))
    assert.is_true(second.duration > 0)
    assert.is_true(second.at >= first.at)
    assert.equal("scripted", first.message)
    producer:close()
    client:close()
  end)

  it("sends again only those records of a call that were refused", function()
    local producer, client, scope = open({ PutRecords = { { fail_entries = { 2 }, code = "InternalFailure" } } },
      { aggregate = false, linger = 30 })
    local receipts, attempts = {}, {}
    for i = 1, 3 do
      receipts[i] = assert(producer:send("r" .. i, "the same key"))
    end
    assert.is_true(producer:flush())
    for i, receipt in ipairs(receipts) do
      attempts[i] = #assert(receipt:wait(0)).attempts
    end
    table.sort(attempts)
    assert.same({ 1, 1, 2 }, attempts)
    local seen = scope:seen "PutRecords"
    assert.equal(2, #seen)
    assert.equal(1, #seen[2].keys)
    assert.equal(1, producer:stats().retried)
    assert.equal(0, producer:stats().possible_duplicates)
    producer:close()
    client:close()
  end)

  it("answers Timeout while the outcome of a receipt is not known, and then the outcome", function()
    local producer, client = open { PutRecords = { { delay = 0.5 } } }
    local receipt = assert(producer:send("slow", "key"))
    for _, timeout in ipairs { 0, 0.05 } do
      local stored, err = receipt:wait(timeout)
      assert.is_nil(stored)
      assert.equal("Timeout", err.code)
    end
    assert.is_table(receipt:wait())
    assert.is_table(receipt:wait(0))
    producer:close()
    client:close()
  end)

  it("lets other tasks of kinesis.run go on while it waits for capacity", function()
    local producer, client, scope = open({ PutRecords = { { gate = true, always = true } } },
      { max_records = 2, linger = 0 })
    local turns, done = 0, false
    run(function()
      for i = 1, 4 do
        assert(producer:put("r" .. i, "key"))
      end
      done = true
    end, function()
      while not done do
        kinesis.sleep(0.01)
        turns = turns + 1
        if turns == 5 then -- until then there is no capacity
          assert.is_false(done)
          scope:open_gate()
        end
      end
    end)
    assert.is_true(turns >= 5, turns)
    assert.is_true(producer:close())
    assert.equal(4, producer:stats().stored)
    client:close()
  end)

  it("answers Closed to a put that waits for capacity when another coroutine closes it", function()
    local producer, client = open({ PutRecords = { { stall = 30, always = true } } }, { max_records = 1, linger = 0 })
    assert(producer:put("takes the room", "key"))
    local taken, err
    run(function()
      taken, err = producer:put("finds none", "key")
    end, function()
      local done, why, lost = producer:close(0.2)
      assert.is_nil(done)
      assert.equal("Closed", why.code)
      assert.same({ "takes the room" }, data_of(lost))
    end)
    assert.is_nil(taken)
    assert.equal("Closed", err.code)
    client:close()
  end)

  it("ends the waits of others when its client is closed", function()
    local producer, client = open { PutRecords = { { stall = 30, always = true } } }
    local codes = {}
    run(function()
      codes.receipt = select(2, assert(producer:send("a", "key")):wait()).code
    end, function()
      assert(producer:put("b", "key"))
      local done, err, left, failed = producer:flush()
      assert.is_nil(done)
      assert.equal(0, left)
      assert.same({ "b" }, data_of(failed))
      codes.flush = err.code
    end, function()
      kinesis.sleep(0.1)
      client:close()
    end)
    assert.same({ receipt = "Closed", flush = "Closed" }, codes)
    assert.equal(2, check_sums(producer:stats()).returned)
    assert.is_true(producer:close())
  end)

  it("respects its bound, and accepts records again when the service recovers", function()
    local producer, client, scope = open({ PutRecords = { { gate = true, always = true } } },
      { max_bytes = 50000, when_full = "refuse", linger = 0 })
    local taken, err = 0, nil
    while not err do
      local done
      done, err = producer:put(("x"):rep(1000), "key")
      taken = taken + (done and 1 or 0)
      local held = producer:stats().held_bytes
      assert.is_true(held <= 50000, held)
      assert.is_true(err == nil or held > 48000, held)
    end
    assert.equal("Full", err.code)
    assert.matches(("%d records %%(%%d+ bytes%%) fill this producer"):format(taken), err.message)
    assert.is_true(taken > 30, taken)
    scope:open_gate()
    assert.is_true(producer:flush())
    assert.equal(0, producer:stats().held_bytes)
    assert(producer:put(("x"):rep(1000), "key"))
    assert.is_true(producer:close())
    assert.equal(taken + 1, producer:stats().stored)
    client:close()
  end)

  it("accepts a record that is larger than its bound when it is empty", function()
    local producer, client, scope = open({ PutRecords = { { gate = true, always = true } } },
      { max_bytes = 2000, when_full = "refuse" })
    assert.is_true(producer:put(("x"):rep(3000), "key"))
    assert.equal("Full", select(2, producer:put("x", "key")).code)
    scope:open_gate()
    assert.is_true(producer:close())
    assert.equal(1, producer:stats().stored)
    client:close()
  end)

  it("passes records to on_failure that close could not deliver", function()
    local told = {}
    local function note(record, err)
      told[#told + 1] = record
      assert.equal("Closed", err.code)
    end
    local producer, client = open({ PutRecords = { { stall = 30, always = true } } }, { on_failure = note })
    assert(producer:put("one", "key"))
    assert(producer:put("two", "key"))
    assert.is_true(producer:close(0.2))
    assert.same({ "one", "two" }, data_of(told))
    assert.equal(2, check_sums(producer:stats()).returned)
    client:close()
  end)

  it("needs no permission to look at the stream", function()
    local denied = { code = "AccessDeniedException", status = 400, always = true }
    for _, operations in ipairs {
      { "ListShards" }, { "DescribeStreamSummary" }, { "ListShards", "DescribeStreamSummary" },
    } do
      local rules, name = {}, fresh.stream(direct, 2, "denied")
      for _, operation in ipairs(operations) do
        rules[operation] = { denied }
      end
      local scope = faults.open(rules, { service = "kinesalite" })
      local client = scope:client()
      local producer, put = assert(client:producer(name)), {}
      for i = 1, 20 do
        put[i] = ("r%02d"):format(i)
        assert(producer:put(put[i], "key" .. i))
      end
      assert.is_true(producer:close())
      assert.same(put, data_of(fresh.read(direct, name))) -- not aggregated
      check_sums(producer:stats())
      client:close()
    end
  end)

  it("expires records that could not be sent", function()
    local producer, client = open({ ListShards = { { code = "InternalFailure", status = 500, always = true } } },
      { record_ttl = 0.3 })
    local stored, err = assert(producer:send("old", "key")):wait()
    assert.is_nil(stored)
    assert.equal("Expired", err.code)
    assert.same({}, err.attempts)
    assert.equal(1, check_sums(producer:stats()).expired)
    producer:close()
    client:close()
  end)

  it("keeps records while there are no credentials, says why, and stores them when a call has found some", function()
    local found
    local client = fresh.client(fresh.services[2], { credentials = function()
      return found, "none today"
    end })
    local producer = assert(client:producer(stream))
    local receipt = assert(producer:send("unsigned", "key"))
    for _, waits in ipairs { receipt.wait, producer.flush } do
      local done, err = waits(waits == receipt.wait and receipt or producer, 0.3)
      assert.is_nil(done)
      assert.equal("Timeout", err.code)
      assert.matches("NoCredentials: none today", err.message, 1, true)
    end
    local stats = producer:stats()
    assert.same({ 1, 0, "NoCredentials", "none today" },
      { stats.open, stats.failed, stats.reason.code, stats.reason.message })
    found = fresh.keys
    assert(client:call "ListStreams")
    assert.is_table(assert(receipt:wait()))
    assert.is_nil(producer:stats().reason)
    producer:close()
    client:close()
  end)

  it("returns records of its time to live with the reason when there are no credentials", function()
    local client = fresh.client(fresh.services[2], { credentials = function()
      return nil, "none today"
    end })
    local producer = assert(client:producer(stream, { record_ttl = 0.3 }))
    local _, err = assert(producer:send("unsigned", "key")):wait()
    assert.equal("Expired", err.code)
    assert.matches("NoCredentials: none today", err.message, 1, true)
    producer:close()
    client:close()
  end)

  it("tells why no request could be sent when the service cannot be reached", function()
    local client = fresh.client "http://127.0.0.1:9"
    local producer = assert(client:producer(stream, { record_ttl = 0.5 }))
    local _, err = assert(producer:send("unsent", "key")):wait()
    assert.equal("Expired", err.code)
    assert.matches("Connection: ", err.message, 1, true)
    client:close()
  end)

  it("flushes with a timeout of 0 when every record is stored", function()
    local producer, client = open {}
    assert.is_table(assert(producer:send("stored", "key")):wait())
    for _ = 1, 100 do
      assert.is_true(producer:flush(0))
    end
    producer:close()
    client:close()
  end)
end)
