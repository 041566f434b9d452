-- The time to live of records, whatever their request waits for.
-- Flavours: *lua5.4
local producing = require "support.producing"
local stepping = require "support.stepping"

local open, settle_map, only, next_one = producing.open, producing.settle_map, producing.only, producing.next_one
local put, outcomes, results = producing.put, producing.outcomes, producing.results

after_each(producing.close_all)

-- A producer whose credentials have expired.
local function keyless(options)
  local engine, producer = open(options, { keyless = true })
  engine:credentials("AKID", "secret", "token", stepping.NEW_YEAR + 100)
  settle_map(engine)
  engine:advance(200)
  return engine, producer
end

describe("a time to live", function()
  it("ends while credentials are awaited, and no request was sent", function()
    local engine, producer = keyless { linger = 0, ttl = 10 }
    put(producer, "a")
    local mark = producer:flush()
    stepping.near(10, engine:step())
    engine:advance(9.9)
    engine:step()
    assert.equal(1, producer:stats().open)
    engine:advance(0.1)
    assert.is_nil(engine:step())
    local record = outcomes(producer).a
    assert.equal("expired", record.outcome)
    assert.equal(0, record.tries)
    assert.is_false(record.maybe_stored)
    assert.is_true(producer:flushed(mark))
    assert.equal(0, producer:stats().in_flight)
    assert.equal(0, producer:stats().retried)
    engine:credentials("AKID", "secret")
    put(producer, "b")
    assert.same({ "b" }, producing.users_of(only(engine)))
  end)

  it("is that of the newest record of a request", function()
    local engine, producer = keyless { linger = 5, ttl = 10 }
    put(producer, "old")
    engine:advance(4)
    put(producer, "new")
    producer:flush()
    stepping.near(10, engine:step())
    engine:advance(7)
    engine:credentials("AKID", "secret")
    local request = only(engine)
    stepping.land(engine, request, results(request))
    assert.equal(2, producer:stats().stored)
  end)

  it("does not end in flight, and leaves no maybe_stored on a record that was refused", function()
    local engine, producer = keyless { linger = 0, ttl = 10 }
    put(producer, "a", 1, { receipt = true })
    engine:step()
    engine:credentials("AKID", "secret", "token", stepping.NEW_YEAR + 10000)
    local request = only(engine)
    engine:advance(9)
    stepping.land(engine, request, stepping.error "ExpiredTokenException")
    assert.same({}, producing.requests(engine))
    engine:advance(1)
    engine:step()
    local record = outcomes(producer).a
    assert.equal("expired", record.outcome)
    assert.is_false(record.maybe_stored)
    engine:credentials("AKID", "secret")
    put(producer, "b", 1, { receipt = true })
    request = only(engine)
    engine:advance(30)
    engine:step()
    stepping.land(engine, request, results(request))
    assert.equal("stored", outcomes(producer).b.outcome)
  end)

  it("never ends by default", function()
    local engine, producer = keyless { linger = 0 }
    put(producer, "a")
    engine:step()
    engine:advance(1e6)
    assert.is_nil(engine:step())
    engine:credentials("AKID", "secret")
    local request = next_one(engine)
    stepping.land(engine, request, results(request))
    assert.equal(1, producer:stats().stored)
  end)

  -- All of the records expire at once, behind one request that waits for credentials.
  local function causes_of_all(engine, producer)
    engine:advance(10)
    engine:step()
    local causes, count = {}, 0
    for _, record in pairs(outcomes(producer)) do
      local last = record.attempts[#record.attempts]
      causes[last and last.code .. ": " .. last.message or "none"] = true
      assert.equal("expired", record.outcome)
      assert.equal(0, record.tries)
      count = count + 1
    end
    assert.equal(9, count)
    return causes
  end

  local BEHIND_ONE = { linger = 0, ttl = 10, parallel = 1, batch_records = 2, aggregate = 1 }

  it("has a cause for records behind a request that waits for a failed provider", function()
    local engine, producer = keyless(BEHIND_ONE)
    for i = 1, 9 do
      put(producer, "r" .. i, i % 4 + 1)
    end
    engine:step()
    engine:credentials_failed "the sidecar is not up"
    engine:step()
    assert.same({ ["NoCredentials: the sidecar is not up"] = true }, causes_of_all(engine, producer))
  end)

  it("has a cause for records behind a request that waits for a provider without an answer", function()
    local engine, producer = keyless(BEHIND_ONE)
    for i = 1, 9 do
      put(producer, "r" .. i, i % 4 + 1)
    end
    engine:step()
    assert.same({ ["Timeout: the credentials provider did not answer before the deadline"] = true },
      causes_of_all(engine, producer))
  end)
end)
