-- What becomes of records after an answer: retries, errors, the time to live, and a shard map that has changed.
-- Flavours: *lua5.4
local codec = require("kinesis").codec
local producing = require "support.producing"
local stepping = require "support.stepping"

local ENDS, FOUR = producing.ENDS, producing.FOUR
local shard, shard_list, summary = producing.shard, producing.shard_list, producing.summary
local entries_of = producing.entries_of
local users_of, results = producing.users_of, producing.results
local ready = producing.ready
local requests, only, next_one = producing.requests, producing.only, producing.next_one
local put, outcomes = producing.put, producing.outcomes

after_each(producing.close_all)

describe("an answer", function()
  it("sends only failed entries again, each by the class of its code", function()
    local engine, producer = ready { linger = 0, aggregate = 1 }
    for i, data in ipairs { "stored", "throttled", "broken", "fatal" } do
      put(producer, data, i)
    end
    local request = only(engine)
    stepping.land(engine, request, results(request, function(entry)
      return ({ throttled = "ProvisionedThroughputExceededException", broken = "InternalFailure",
        fatal = "KMSDisabledException" })[codec.base64_decode(entry.Data)]
    end))
    assert.equal("KMSDisabledException", outcomes(producer).fatal.attempts[1].code)
    engine:advance(1)
    local again = {}
    for _, one in ipairs(requests(engine)) do
      for _, data in ipairs(users_of(one)) do
        again[#again + 1] = data
      end
      engine:answer(one, results(one))
    end
    engine:step()
    table.sort(again)
    assert.same({ "broken", "throttled" }, again)
    local stats = producer:stats()
    assert.equal(3, stats.stored)
    assert.equal(0, stats.possible_duplicates)
    assert.equal(0, stats.open)
  end)

  it("counts only retries of records that may have been stored as possible duplicates", function()
    local engine, producer = ready { linger = 0 }
    local function lose(how)
      local request = next_one(engine)
      if how.body then
        engine:answer(request, how)
      else
        engine:fail(request, how)
      end
    end
    put(producer, "a")
    lose { unsent = true, trouble = "nobody there" }
    assert.equal(0, producer:stats().possible_duplicates)
    lose(stepping.BROKEN)
    lose { timed_out = true }
    lose { trouble = "reset" }
    lose(stepping.THROTTLED)
    lose { body = "garbage" }
    local request = next_one(engine)
    stepping.land(engine, request, results(request))
    assert.equal(4, producer:stats().possible_duplicates)
    assert.equal(1, producer:stats().stored)
  end)

  it("returns records at once whose request is not permitted", function()
    local engine, producer = ready { linger = 0 }
    put(producer, "a")
    stepping.land(engine, only(engine), stepping.error "AccessDeniedException")
    local record = outcomes(producer).a
    assert.equal("failed", record.outcome)
    assert.equal(1, record.tries)
    assert.equal("AccessDeniedException", record.attempts[1].code)
    assert.is_nil(engine:step())
  end)

  it("that does not come: one request at a time is sent, with growing back-off", function()
    local engine, producer = ready { linger = 0, batch_records = 1, aggregate = 1 }
    engine:randoms(0.999999)
    for i = 1, 20 do
      put(producer, "r" .. i, i % 4 + 1)
    end
    for _, request in ipairs(requests(engine)) do
      engine:answer(request, stepping.BROKEN)
    end
    local rest = engine:step()
    for _ = 1, 8 do
      engine:advance(rest)
      local longer = stepping.land(engine, only(engine), stepping.BROKEN)
      assert.is_true(longer >= rest - 0.001)
      rest = longer
    end
    assert.near(5, rest, 0.01)
  end)

  it("counts as one failure when several requests in flight fail together", function()
    local engine, producer = ready { linger = 0, batch_records = 1, aggregate = 1 }
    for i = 1, 8 do
      put(producer, "r" .. i, i % 4 + 1)
    end
    local list = requests(engine)
    assert.equal(8, #list)
    for _, request in ipairs(list) do
      engine:answer(request, stepping.BROKEN)
    end
    assert.is_true(engine:step() <= 0.05)
  end)

  it("that refuses the content: the bad record is found by bisection", function()
    local engine, producer = ready { linger = 0, batch_records = 8 }
    for i = 1, 8 do
      put(producer, i == 5 and "wrong" or "right " .. i, i % 4 + 1)
    end
    stepping.serve(engine, 5, function(request)
      for _, data in ipairs(users_of(request)) do
        if data == "wrong" then
          return stepping.error "ValidationException"
        end
      end
      return results(request)
    end)
    local stats = producer:stats()
    assert.equal(7, stats.stored)
    assert.equal(1, stats.failed)
    assert.equal("ValidationException", outcomes(producer).wrong.attempts[1].code)
  end)

  it("leaves the first attempts and the last one with the record", function()
    local engine, producer = ready { linger = 0 }
    put(producer, "a", 1, { receipt = true })
    for i = 1, 30 do
      engine:advance(stepping.land(engine, only(engine), stepping.error("Code" .. i, 500)))
    end
    local request = only(engine)
    stepping.land(engine, request, results(request))
    local record = outcomes(producer).a
    assert.equal(31, record.tries)
    assert.equal(16, #record.attempts)
    assert.equal("Code1", record.attempts[1].code)
    assert.equal("Code30", record.attempts[16].code)
  end)
end)

describe("a time to live", function()
  it("ends in the queue and between attempts, but not in flight", function()
    local engine, producer = ready { linger = 0, ttl = 10, parallel = 1 }
    put(producer, "under way")
    local request = only(engine)
    put(producer, "waiting")
    engine:advance(10)
    engine:step()
    assert.equal("expired", outcomes(producer).waiting.outcome)
    stepping.land(engine, request, results(request))
    assert.equal(1, producer:stats().stored)
    put(producer, "failing")
    for _ = 1, 40 do
      local list = requests(engine)
      if not list[1] then
        break
      end
      engine:advance(stepping.land(engine, list[1], stepping.BROKEN) or 0)
    end
    local record = outcomes(producer).failing
    assert.equal("expired", record.outcome)
    assert.equal("InternalFailure", record.attempts[1].code)
  end)
end)

describe("a reshard", function()
  local LEFT = { "0", "42535295865117307932921825928971026431" }
  local RIGHT = { "42535295865117307932921825928971026432", ENDS[1] }

  local function split_first(engine)
    engine:step()
    for _, request in ipairs(engine:requests()) do
      if request.operation == "ListShards" then
        engine:answer(request, shard_list { shard("left", LEFT[1], LEFT[2]), shard("right", RIGHT[1], RIGHT[2]),
          FOUR[2], FOUR[3], FOUR[4] })
      elseif request.operation == "DescribeStreamSummary" then
        engine:answer(request, summary())
      end
    end
    engine:step()
  end

  local function land_left(engine)
    local request = only(engine)
    stepping.land(engine, request, results(request, function()
      return { shard = "left" }
    end))
  end

  it("is noticed by an unexpected shard id; an aggregate whose records all belong there is stored", function()
    local engine, producer = ready { linger = 0.1 }
    put(producer, "a", 1)
    put(producer, "b", 1, { receipt = true })
    engine:advance(0.1)
    land_left(engine)
    assert.equal(0, producer:stats().stored)
    engine:advance(1)
    split_first(engine)
    assert.equal(2, producer:stats().stored)
    assert.equal("left", outcomes(producer).b.shard_id)
    assert.equal(2, producer:stats().map_refreshes)
    assert.equal(0, producer:stats().misplaced)
  end)

  it("sends a misplaced aggregate again, by the new map", function()
    local engine, producer = ready { linger = 0.1 }
    put(producer, "a", 1)
    assert.equal("taken", producer:put("b", "key", RIGHT[1]))
    engine:advance(0.1)
    land_left(engine)
    engine:advance(1)
    split_first(engine)
    local request = only(engine)
    assert.equal(2, #entries_of(request))
    stepping.land(engine, request, results(request, function(entry)
      return { shard = entry.ExplicitHashKey == "0" and "left" or "right" }
    end))
    local stats = producer:stats()
    assert.equal(2, stats.stored)
    assert.equal(2, stats.misplaced)
    assert.equal(2, stats.possible_duplicates)
    assert.equal(0, stats.open)
  end)

  it("with order kept, delays records behind those that may be sent again", function()
    local engine, producer = ready { linger = 0.1, ordered = true }
    put(producer, "a", 1)
    assert.equal("taken", producer:put("b", "key", RIGHT[1]))
    engine:advance(0.1)
    land_left(engine)
    put(producer, "c", 1)
    assert.equal("taken", producer:put("d", "key", RIGHT[1]))
    engine:advance(0.5)
    assert.same({}, requests(engine))
    engine:advance(0.5)
    split_first(engine)
    local order = {}
    stepping.serve(engine, 1, function(request)
      for _, data in ipairs(users_of(request)) do
        order[#order + 1] = data
      end
      return results(request, function(entry)
        return { shard = entry.ExplicitHashKey == RIGHT[1] and "right" or "left" }
      end)
    end)
    local at = {}
    for i, data in ipairs(order) do
      at[data] = i
    end
    assert.is_true(at.a <= at.c and at.b <= at.d, table.concat(order, " "))
    assert.equal(4, producer:stats().stored)
  end)

  it("has no effect on a record that was sent alone", function()
    local engine, producer = ready { linger = 0 }
    put(producer, "a", 1)
    land_left(engine)
    assert.equal(1, producer:stats().stored)
  end)

  it("is asked about once, however many records are stored elsewhere, and not without end", function()
    local engine, producer = ready { linger = 0, aggregate = 1, rate_limit = 100 }
    local asked = 0
    for _ = 1, 100 do
      for i = 1, 4 do
        put(producer, "x", i)
      end
      stepping.serve(engine, 0.1, function(request)
        if request.operation == "ListShards" then
          asked = asked + 1
          return shard_list(FOUR)
        elseif request.operation == "DescribeStreamSummary" then
          return summary()
        end
        return results(request, function()
          return { shard = "nobody-knows" }
        end)
      end)
    end
    assert.is_true(asked <= 10, asked)
    assert.equal(400, producer:stats().stored)
  end)
end)
