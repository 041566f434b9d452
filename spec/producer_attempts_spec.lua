-- The failed attempts that records keep, and the memory they take.
-- Flavours: *lua5.4
local codec = require("kinesis").codec
local producing = require "support.producing"
local stepping = require "support.stepping"

local ready, next_one = producing.ready, producing.next_one
local put, outcomes, entries_of, results = producing.put, producing.outcomes, producing.entries_of, producing.results

local STEPS = 600
local MANY = 2000

after_each(producing.close_all)

describe("the memory of attempts", function()
  -- Puts records that are sent without aggregates and fail in each step by verdict(entry, i). Returns the bytes that
  -- the bound counts, the bytes of the attempts, and the records.
  local function measure(count, steps, verdict)
    local engine, producer = ready { linger = 0, parallel = 1, aggregate = 1, rate_limit = 1000 }
    engine:randoms(0.01)
    for i = 1, count do
      put(producer, ("x"):rep(100) .. i, i % 4 + 1)
    end
    for _ = 1, steps do
      local due = engine:step()
      local request = engine:requests()[1]
      if request then
        engine:answer(request, results(request, verdict))
      else
        engine:advance(due or 0)
      end
    end
    local held = producer:stats().held
    producer:remove()
    engine:step()
    local seen, bytes, list = {}, 0, producer:collect()
    for _, record in ipairs(list) do
      for _, attempt in ipairs(record.attempts) do
        bytes = bytes + (seen[attempt.identity] and 0 or attempt.size)
        seen[attempt.identity] = true
      end
    end
    return held, bytes, list
  end

  it("is one per request, not per record, however often they fail", function()
    local held, bytes, list = measure(MANY, STEPS, function()
      return "InternalFailure"
    end)
    assert.equal(MANY, #list)
    assert.equal(16, #list[1].attempts)
    assert.is_true(bytes < held / 4, ("%d bytes of attempts, %d held"):format(bytes, held))
  end)

  it("is a few per request when entries fail for different reasons", function()
    local codes = { "InternalFailure", "ProvisionedThroughputExceededException", "ServiceBroken" }
    local _, bytes, list = measure(300, 2, function(_, i)
      return codes[i % 3 + 1]
    end)
    assert.is_true(bytes < 3 * 300, ("%d bytes of attempts"):format(bytes))
    assert.equal(300, #list)
  end)

  it("is bounded when each record has different attempts; the last attempt is always kept", function()
    math.randomseed(1)
    local held, bytes, list = measure(1000, STEPS, function()
      return math.random() < 0.5 and "InternalFailure" or "RequestTimeout"
    end)
    assert.is_true(bytes < 2 * held, ("%d bytes of attempts, %d held"):format(bytes, held))
    for _, record in ipairs(list) do
      assert.is_true(#record.attempts > 0)
    end
  end)
end)

it("each record has its own error, however many there are", function()
  local engine, producer = ready { linger = 0, aggregate = 1 }
  for i = 1, 200 do
    put(producer, "r" .. i, i % 4 + 1)
  end
  local request, told = producing.only(engine), {}
  stepping.land(engine, request, results(request, function(entry, i)
    told[codec.base64_decode(entry.Data)] = "Code" .. i
    return "Code" .. i
  end))
  for data, record in pairs(outcomes(producer)) do
    assert.equal(told[data], record.attempts[1].code)
    told[data] = nil
  end
  assert.same({}, told)
end)

it("records have only the attempts of their own requests", function()
  local engine, producer = ready { linger = 0, aggregate = 1 }
  local told = {}
  for i = 1, 40 do
    put(producer, "r" .. i, i % 4 + 1, { receipt = true })
  end
  for round = 1, 5 do
    local request = next_one(engine)
    assert.equal(40, #entries_of(request))
    stepping.land(engine, request, results(request, function(entry, i)
      local list = told[entry.Data] or {}
      list[#list + 1] = "Code" .. (round * i * 7) % 5 -- unknown: the last one
      told[entry.Data] = list
      return round < 5 and "InternalFailure" or list[#list]
    end))
    engine:advance(1)
  end
  local found = outcomes(producer)
  for base64, list in pairs(told) do
    local record = found[codec.base64_decode(base64)]
    assert.equal("failed", record.outcome)
    assert.equal(5, #record.attempts)
    assert.equal(list[5], record.attempts[5].code)
    assert.equal("InternalFailure", record.attempts[4].code)
  end
end)

it("a request that was never sent has the time of its failure, and no duration", function()
  local engine, producer = producing.open({ linger = 0, ttl = 5 }, { keyless = true })
  engine:credentials("AKID", "secret", "token", stepping.NEW_YEAR + 100)
  producing.settle_map(engine)
  engine:advance(200)
  put(producer, "a")
  engine:step()
  engine:credentials_failed "no keys anywhere"
  engine:step()
  engine:advance(5)
  engine:step()
  local record = outcomes(producer).a
  assert.equal(0, record.tries)
  assert.equal("NoCredentials", record.attempts[1].code)
  stepping.near(stepping.NEW_YEAR + 205, record.attempts[1].at)
  assert.equal(0, record.attempts[1].duration)
end)

describe("a record that may be stored", function()
  it("stays so, whatever its later attempts give", function()
    local engine, producer = ready { linger = 0 }
    put(producer, "a")
    engine:fail(next_one(engine), { timed_out = true })
    engine:step()
    stepping.land(engine, next_one(engine), stepping.THROTTLED)
    producer:remove()
    engine:step()
    local record = outcomes(producer).a
    assert.equal("closed", record.outcome)
    assert.is_true(record.maybe_stored)
  end)

  it("is counted once for each time it is sent after that", function()
    local engine, producer = ready { linger = 0 }
    put(producer, "a")
    engine:fail(next_one(engine), { timed_out = true })
    stepping.land(engine, next_one(engine), stepping.THROTTLED)
    stepping.land(engine, next_one(engine), stepping.THROTTLED)
    local request = next_one(engine)
    stepping.land(engine, request, results(request))
    assert.equal(1, producer:stats().possible_duplicates)
  end)
end)

describe("x-amz-retry-after", function()
  local function rest_after(millis)
    local engine, producer = ready { linger = 0 }
    put(producer, "a")
    return stepping.land(engine, next_one(engine), stepping.error("InternalFailure", 500, { retry_after = millis }))
  end

  it("is respected up to five seconds, and counts as five seconds beyond", function()
    stepping.near(4, rest_after "4000")
    stepping.near(5, rest_after "5000")
    stepping.near(5, rest_after "6000")
    stepping.near(5, rest_after "600000")
  end)

  it("shortens no back-off", function()
    stepping.near(0.025, rest_after "1")
    stepping.near(0.025, rest_after "soon")
  end)
end)

describe("a shard that always has an entry in flight", function()
  it("publishes its counts like others", function()
    local engine, producer = ready { linger = 0, parallel = 2, aggregate = 1 }
    put(producer, "a")
    local last = producing.only(engine)
    for i = 1, 500 do
      engine:advance(0.01)
      put(producer, "b" .. i)
      local list = producing.requests(engine)
      stepping.land(engine, last, results(last))
      last = list[1].id == last.id and list[2] or list[1]
    end
    local rate = producer:stats().rates["shard-1"]
    assert.is_true(rate > 80 and rate < 120, rate)
  end)

  it("backs off when it fails", function()
    local engine, producer = ready { linger = 0, aggregate = 1, parallel = 3 }
    local function fail(request)
      stepping.land(engine, request, results(request, function()
        return "InternalFailure"
      end))
    end
    for i = 1, 3 do
      put(producer, "r" .. i)
      producing.requests(engine)
    end
    local under_way = producing.requests(engine)
    put(producer, "other", 2)
    fail(under_way[1])
    engine:advance(0.025)
    assert.equal(3, #producing.requests(engine)) -- the first one could be sent again if a request were free
    fail(under_way[2])
    assert.equal(2, #producing.requests(engine))
    engine:advance(0.05)
    assert.equal(3, #producing.requests(engine))
  end)
end)

it("nothing is in flight when the producer has ended", function()
  local engine, producer = ready { linger = 0, parallel = 1 }
  put(producer, "under way")
  producing.only(engine)
  assert.equal(1, producer:stats().in_flight)
  producer:remove()
  engine:step()
  assert.equal(0, producer:stats().in_flight)
end)
