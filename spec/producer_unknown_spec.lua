-- Attempts whose outcome is unknown: an answer 2xx that cannot be read is not sent again for ever, as it is stored each
-- time; timeouts, resets and 5xx are, as the service may not have seen the request.
-- Flavours: *lua5.4 *luajit
local delivery = require "support.delivery"
local faults = require "support.faults"
local fresh = require "support.fresh"
local producing = require "support.producing"
local stepping = require "support.stepping"

local ready, put, results, users_of = producing.ready, producing.put, producing.results, producing.users_of

local GARBAGE = { body = "garbage" }

describe("an answer 2xx that cannot be read", function()
  after_each(producing.close_all)

  -- Serves until nothing happens any more; returns how often each record was sent.
  local function serve(engine, answer_of)
    local sent = {}
    stepping.serve(engine, 100, function(request)
      for _, data in ipairs(users_of(request)) do
        sent[data] = (sent[data] or 0) + 1
      end
      return answer_of(request)
    end)
    return sent
  end

  for _, limit in ipairs { 1, 3, 5 } do
    it(("is sent %d times; then the records fail"):format(limit), function()
      local engine, producer = ready { linger = 0, unknown_attempts = limit }
      put(producer, "a", 1)
      put(producer, "b", 1, { receipt = true })
      assert.same({ a = limit, b = limit }, serve(engine, function()
        return GARBAGE
      end))
      for _, record in ipairs(producer:collect()) do
        assert.equal("failed", record.outcome)
        local last = record.attempts[#record.attempts]
        assert.equal("BadAnswer", last.code)
        assert.matches(("may be stored up to %d time"):format(limit), last.message, 1, true)
      end
      assert.same({ 2, 0 }, { producer:stats().failed, producer:stats().open })
    end)
  end

  it("counts for each record, however it is sent", function()
    local engine, producer = ready { linger = 0, parallel = 1, unknown_attempts = 3 }
    put(producer, "old", 1)
    stepping.land(engine, producing.only(engine), GARBAGE)
    put(producer, "young", 1)
    local sent = serve(engine, function()
      return GARBAGE
    end)
    assert.same({ old = 2, young = 3 }, sent)
  end)

  it("is no reason to give up after other failures", function()
    local engine, producer = ready { linger = 0, unknown_attempts = 3 }
    put(producer, "a", 1)
    local turn = 0
    serve(engine, function(request)
      turn = turn + 1
      return turn == 20 and results(request) or turn % 8 == 0 and GARBAGE or stepping.BROKEN
    end)
    assert.same({ 1, 20, 19 }, { producer:stats().stored, turn, producer:stats().possible_duplicates })
  end)

  it("is found by what a proxy does to real answers; a direct put and put_many are bounded, too", function()
    local client = fresh.client(fresh.services[1])
    local stream = fresh.stream(client, 1, "unread")
    local cut = { truncate = 20, always = true }
    local scope = faults.open { PutRecord = { cut }, PutRecords = { cut } }
    local patient = scope:client { max_attempts = 10 }
    local result, err = patient:put(stream, "direct", "k")
    assert.is_nil(result)
    assert.equal("BadAnswer", err.code)
    assert.matches("may be stored up to 3 times", err.message, 1, true)
    assert.equal(3, #scope:seen "PutRecord")
    local list, failed = patient:put_many(stream, { { data = "many", partition_key = "k" } })
    assert.equal(1, failed)
    assert.equal("BadAnswer", list[1].code)
    assert.matches("may be stored up to 3 times", list[1].message, 1, true)
    assert.equal(3, #scope:seen "PutRecords")
    local producer = patient:producer(stream, { linger = 0 })
    local receipt = producer:send("produced", "k")
    local stored, why = receipt:wait(10)
    assert.is_nil(stored)
    assert.equal("BadAnswer", why.code)
    assert.is_false(why.retryable)
    assert.equal(3, #why.attempts)
    assert.equal(6, #scope:seen "PutRecords")
    producer:close()
    local copies = {}
    for _, record in ipairs(delivery.user_records(client, stream)) do
      copies[record.data] = (copies[record.data] or 0) + 1
    end
    assert.same({ direct = 3, many = 3, produced = 3 }, copies)
    patient:close()
    client:close()
  end)
end)

describe("a service that answers 503", function()
  after_each(producing.close_all)

  it("for a minute loses nothing: records are sent again, ever more rarely, and counted", function()
    local engine, producer = ready { linger = 0.1 }
    for i = 1, 1000 do
      put(producer, "r" .. i, i % 4 + 1)
    end
    local refused = 0
    stepping.serve(engine, 60, function()
      refused = refused + 1
      return stepping.error("ServiceUnavailable", 503)
    end)
    assert.same({ 0, 0, 1000 }, { producer:stats().failed, producer:stats().stored, producer:stats().open })
    assert.is_true(refused > 10 and refused < 40, refused)
    stepping.serve(engine, 10, results)
    local stats = producer:stats()
    assert.same({ 1000, 0, 0, 0 }, { stats.stored, stats.failed, stats.expired, stats.open })
    assert.is_true(stats.possible_duplicates >= 1000)
  end)

  it("or breaks off, for a while, loses nothing of what is put meanwhile", function()
    local client = fresh.client(fresh.services[1])
    local stream = fresh.stream(client, 2, "down")
    local scope = faults.open {
      PutRecords = { { code = "ServiceUnavailable", status = 503, lasts = 1, always = true } },
      ListShards = { { reset = "before" }, { status = 503, body = "" } },
    }
    local behind = scope:client()
    local producer = assert(behind:producer(stream, { linger = 0.01 }))
    local data = {}
    fresh.eventually(function()
      data[#data + 1] = ("%06d"):format(#data + 1)
      assert(producer:put(data[#data], "key" .. #data))
      return #scope:seen "PutRecords" > 3 and producer:stats().stored > 0
    end)
    assert(producer:close(20))
    local stats = producer:stats()
    assert.same({ #data, 0 }, { stats.stored, stats.failed })
    assert.same({ 1, 0 }, { delivery.check_copies(data, delivery.user_records(client, stream)) })
    assert.is_true(stats.possible_duplicates > 0)
    behind:close()
    client:close()
  end)
end)
