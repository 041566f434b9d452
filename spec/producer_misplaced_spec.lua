-- Aggregates that were stored in a shard that the map does not know.
-- Flavours: *lua5.4
local codec = require("kinesis").codec
local kinesis = require "kinesis"
local producing = require "support.producing"
local stepping = require "support.stepping"

local ready, only = producing.ready, producing.only
local put, outcomes, users_of, results = producing.put, producing.outcomes, producing.users_of, producing.results

after_each(producing.close_all)

local function elsewhere()
  return { shard = "nobody-knows" }
end

-- Two records are sent as an aggregate, which is stored in another shard.
local function misplaced(options, receipts)
  local engine, producer = ready(options)
  put(producer, "one", 1, receipts)
  put(producer, "two", 1, receipts)
  local request = only(engine)
  assert.same({ "one", "two" }, users_of(request))
  stepping.land(engine, request, results(request, elsewhere))
  return engine, producer
end

-- ListShards fails for these seconds; PutRecords succeeds. Returns the records that were sent, in order.
local function without_map(engine, seconds)
  local sent = {}
  stepping.serve(engine, seconds, function(request)
    if request.operation == "ListShards" then
      return stepping.BROKEN
    elseif request.operation == "DescribeStreamSummary" then
      return producing.summary()
    end
    for _, data in ipairs(users_of(request)) do
      sent[#sent + 1] = data
    end
    return results(request)
  end)
  return sent
end

describe("a misplaced aggregate", function()
  it("is stored, as the service has said, when its time to live is over", function()
    local engine, producer = misplaced({ linger = 0, ttl = 10 }, { receipt = true })
    local mark = producer:flush()
    assert.same({}, without_map(engine, 9.9))
    assert.equal(0, producer:stats().stored)
    assert.same({}, without_map(engine, 0.2))
    assert.is_true(producer:flushed(mark))
    local found = outcomes(producer)
    assert.equal("stored", found.one.outcome)
    assert.equal("nobody-knows", found.two.shard_id)
    assert.equal(0, producer:stats().misplaced)
    assert.equal(0, producer:stats().open)
  end)

  it("is sent again after a minute, alone, and is counted", function()
    local engine, producer = misplaced { linger = 0, ttl = 100 }
    assert.same({}, without_map(engine, 59.9))
    assert.same({ "one", "two" }, without_map(engine, 0.2))
    local stats = producer:stats()
    assert.equal(2, stats.stored)
    assert.equal(2, stats.misplaced)
    assert.equal(2, stats.possible_duplicates)
    assert.equal(0, stats.open)
  end)

  it("is stored or sent again record by record when some of them have expired", function()
    local engine, producer = ready { linger = 100, ttl = 100 }
    put(producer, "old", 1, { receipt = true })
    engine:advance(50)
    put(producer, "young", 1, { receipt = true })
    producer:flush()
    local request = only(engine)
    stepping.land(engine, request, results(request, elsewhere))
    assert.same({ "young" }, without_map(engine, 60.1))
    local found = outcomes(producer)
    assert.equal("nobody-knows", found.old.shard_id)
    assert.equal("shard-1", found.young.shard_id)
    assert.equal(1, producer:stats().misplaced)
  end)

  for _, ttl in ipairs { 10, 1e15 } do
    it("delays later records no longer than that, with order kept and a time to live of " .. ttl, function()
      local engine, producer = misplaced { linger = 0, ttl = ttl, ordered = true }
      local held = math.min(ttl, 60)
      assert.same({}, without_map(engine, held - 1))
      put(producer, "three", 1)
      assert.same({}, without_map(engine, 0.9))
      assert.same(ttl == 10 and { "three" } or { "one", "two", "three" }, without_map(engine, 1))
      assert.equal(3, producer:stats().stored)
    end)
  end

  it("is returned as maybe_stored when the producer ends", function()
    local engine, producer = misplaced { linger = 0 }
    producer:remove()
    engine:step()
    local found = outcomes(producer)
    assert.equal("closed", found.one.outcome)
    assert.is_true(found.one.maybe_stored)
    assert.is_true(found.two.maybe_stored)
  end)

  it("is stored if the map comes in time", function()
    local engine, producer = misplaced { linger = 0 }
    without_map(engine, 5)
    engine:advance(10)
    local whole = producing.shard("nobody-knows", "0", producing.ENDS[4])
    producing.settle_map(engine, producing.shard_list { whole })
    assert.equal(2, producer:stats().stored)
    assert.equal(0, producer:stats().misplaced)
  end)
end)

describe("an aggregate in a shard that is known, but wrong", function()
  local FOUR = producing.FOUR

  -- The service stores aggregates where `place` says, and lists `list` when it is asked again.
  local function serve(engine, seconds, place, list, description)
    local counts = { ListShards = 0, DescribeStreamSummary = 0, sizes = {} }
    stepping.serve(engine, seconds, function(request)
      counts[request.operation] = (counts[request.operation] or 0) + 1
      if request.operation == "ListShards" then
        return producing.shard_list(list or FOUR)
      elseif request.operation == "DescribeStreamSummary" then
        return description or producing.summary()
      end
      for _, entry in ipairs(producing.entries_of(request)) do
        counts.sizes[#counts.sizes + 1] = #(kinesis.deaggregate(codec.base64_decode(entry.Data)) or { 1 })
      end
      return results(request, place)
    end)
    return counts
  end

  local function put_some(producer, count)
    for i = 1, count do
      put(producer, "r" .. i, i % 4 + 1)
    end
  end

  local function always(shard)
    return function()
      return { shard = shard }
    end
  end

  it("has the map and the summary asked again, once; if they say the same, records are sent alone", function()
    local engine, producer = ready { linger = 0.1 }
    put_some(producer, 40)
    local counts = serve(engine, 30, always "shard-2")
    assert.same({ 1, 1 }, { counts.ListShards, counts.DescribeStreamSummary })
    assert.same({ 40, 0, 30 }, { producer:stats().stored, producer:stats().open, producer:stats().misplaced })
    assert.equal(4 + 30, #counts.sizes)
    assert.equal("AggregationOff", (producer:notice()))
    put_some(producer, 40)
    counts = serve(engine, 30, always "shard-2")
    assert.equal(40, #counts.sizes)
    assert.same({ 0, 0 }, { counts.ListShards, select("#", producer:notice()) })
    assert.equal(80, producer:stats().stored)
  end)

  it("is told in stats(), until the shards change", function()
    local engine, producer = ready { linger = 0.1 }
    put_some(producer, 8)
    serve(engine, 5, always "shard-2")
    assert.equal(4, producer:stats().aggregation)
    put_some(producer, 1)
    serve(engine, 5, always "new", { producing.shard("new", "0", producing.ENDS[4]) })
    assert.equal(0, producer:stats().aggregation)
    put_some(producer, 8)
    assert.same({ 8 }, serve(engine, 5, always "new").sizes)
  end)

  it("is sent again alone where the service selects the shards now", function()
    local engine, producer = ready { linger = 0.1 }
    put_some(producer, 40)
    local counts = serve(engine, 30, always "shard-2", nil, producing.summary ',"RecordDistributionStrategy":"AUTO"')
    assert.equal(1, counts.ListShards)
    assert.equal(4 + 30, #counts.sizes)
    assert.same({ 40, 2 }, { producer:stats().stored, producer:stats().aggregation })
  end)

  it("is sent at most three times, whatever the service says", function()
    local engine, producer = ready { linger = 0.1 }
    local turn = 0
    put_some(producer, 40)
    local sent = 0
    stepping.serve(engine, 100, function(request)
      if request.operation == "DescribeStreamSummary" then
        return producing.summary()
      elseif request.operation == "ListShards" then -- each list explains what was, and nothing that follows
        turn = turn + 1
        local half = turn % 2 == 0 and "170141183460469231731687303715884105728" or producing.QUARTERS[2]
        local before = turn % 2 == 0 and producing.ENDS[2] or producing.ENDS[1]
        return producing.shard_list { producing.shard("a", "0", before), producing.shard("b", half, producing.ENDS[4]) }
      end
      sent = sent + #users_of(request)
      return results(request, always "b")
    end)
    assert.same({ 40, 0 }, { producer:stats().stored, producer:stats().open })
    assert.is_true(sent <= 120, sent)
  end)

  it("is asked about again when the map was asked for before it landed", function()
    local engine, producer = ready { linger = 0.1 }
    put(producer, "one", 1)
    put(producer, "two", 1)
    producer:flush()
    local first = only(engine)
    put(producer, "three", 3)
    put(producer, "four", 3)
    producer:flush()
    local second
    for _, request in ipairs(producing.requests(engine)) do
      second = request.id ~= first.id and request or second
    end
    engine:advance(1)
    stepping.land(engine, first, results(first, always "shard-2"))
    local asked = {}
    for _, request in ipairs(producing.requests(engine)) do
      asked[request.operation] = request
    end
    engine:advance(0.1)
    stepping.land(engine, second, results(second, always "shard-2"))
    engine:answer(asked.ListShards, producing.shard_list(FOUR))
    engine:answer(asked.DescribeStreamSummary, producing.summary())
    local counts = serve(engine, 10, nil, { producing.shard("shard-2", "0", producing.ENDS[4]) })
    assert.equal(1, counts.ListShards)
    assert.equal(4, producer:stats().stored)
  end)

  it("is explained by another map, also when a second one lands while that is asked for", function()
    local two = { producing.shard("shard-1", "0", producing.ENDS[2]),
      producing.shard("shard-2", producing.QUARTERS[3], producing.ENDS[4]) }
    local function remade(entry)
      return { shard = producing.quarter_of(producing.hash_of(entry)) > 2 and "shard-2" or "shard-1" }
    end
    local engine, producer = ready { linger = 0 }
    put_some(producer, 8)
    engine:step()
    put_some(producer, 8)
    local flight = producing.requests(engine)
    assert.equal(2, #flight)
    stepping.land(engine, flight[1], results(flight[1], remade))
    engine:advance(1)
    local asked = producing.requests(engine)
    assert.equal(3, #asked)
    engine:advance(0.01)
    stepping.land(engine, flight[2], results(flight[2], remade))
    local counts = serve(engine, 20, remade, two)
    assert.equal(1, counts.ListShards)
    assert.same({ 16, 0, 0 }, { producer:stats().stored, producer:stats().open, select("#", producer:notice()) })
    put_some(producer, 8)
    assert.same({ 4, 4 }, serve(engine, 20, remade, two).sizes)
  end)

  it("explains itself when the shard was split after it was sent, and the map says so already", function()
    local LOW, HIGH = "0", producing.ENDS[1]
    local split = { producing.shard("c1", LOW, "42535295865117307932921825928971026431"),
      producing.shard("c2", "42535295865117307932921825928971026432", HIGH), FOUR[2], FOUR[3], FOUR[4] }
    local engine, producer = ready { linger = 0 }
    local function put_both()
      assert.is_true(producing.IN[producer:put("low", "key", LOW)])
      assert.is_true(producing.IN[producer:put("high", "key", HIGH)])
    end
    local function in_child(entry)
      return { shard = entry.ExplicitHashKey == HIGH and "c2" or "c1" }
    end
    put_both()
    engine:step()
    put_both()
    local flight = producing.requests(engine)
    assert.equal(2, #flight)
    stepping.land(engine, flight[1], results(flight[1], in_child))
    engine:advance(1)
    engine:step()
    for _, request in ipairs(engine:requests()) do
      if request.operation == "ListShards" then
        engine:answer(request, producing.shard_list(split))
      elseif request.operation == "DescribeStreamSummary" then
        engine:answer(request, producing.summary())
      end
    end
    engine:step()
    stepping.land(engine, flight[2], results(flight[2], in_child))
    local counts = serve(engine, 20, in_child, split)
    assert.equal(0, counts.ListShards)
    assert.same({ 4, 0, 4 }, { producer:stats().stored, producer:stats().open, producer:stats().misplaced })
    assert.equal(0, select("#", producer:notice()))
    put_both()
    put_both()
    assert.same({ 2, 2 }, serve(engine, 20, in_child, split).sizes) -- it still aggregates
  end)
end)

describe("a record that was sent alone to a wrong shard", function()
  it("is stored; the map is asked for again, and not without end", function()
    local engine, producer = ready { linger = 0, aggregate = 1, rate_limit = 100 }
    local asked = 0
    for _ = 1, 100 do
      put(producer, "x", 1)
      stepping.serve(engine, 0.1, function(request)
        if request.operation == "ListShards" then
          asked = asked + 1
          return producing.shard_list(producing.FOUR)
        elseif request.operation == "DescribeStreamSummary" then
          return producing.summary()
        end
        return results(request, function()
          return { shard = "shard-3" }
        end)
      end)
    end
    assert.equal(1, asked)
    assert.equal(100, producer:stats().stored)
    assert.is_nil(producer:notice())
  end)
end)
