-- The producer's machine with a clock that stands still: the shard map, what is sent when, limits, order, the end.
-- Flavours: *lua5.4
local codec = require("kinesis").codec
local kinesis = require "kinesis"
local producing = require "support.producing"
local stepping = require "support.stepping"

local QUARTERS, ENDS, FOUR = producing.QUARTERS, producing.ENDS, producing.FOUR
local shard, shard_list, summary = producing.shard, producing.shard_list, producing.summary
local quarter_of, shard_of, entries_of = producing.quarter_of, producing.shard_of, producing.entries_of
local users_of, results = producing.users_of, producing.results
local open, settle_map, ready = producing.open, producing.settle_map, producing.ready
local requests, only = producing.requests, producing.only
local put, outcomes = producing.put, producing.outcomes

after_each(producing.close_all)

describe("the shard map", function()
  it("is requested once, in pages, and no record is sent before it is known", function()
    local engine, producer = open { linger = 0 }
    put(producer, "early")
    engine:step()
    local by_name = {}
    for _, request in ipairs(engine:requests()) do
      by_name[request.operation] = request
    end
    assert.equal('{"StreamName":"stream","ShardFilter":{"Type":"AT_LATEST"}}', by_name.ListShards.body)
    engine:answer(by_name.DescribeStreamSummary, summary())
    engine:answer(by_name.ListShards, shard_list({ FOUR[1], FOUR[2] }, "more"))
    local rest = only(engine)
    assert.equal('{"NextToken":"more"}', rest.body)
    engine:answer(rest, shard_list { FOUR[3], FOUR[4] })
    local request = only(engine)
    assert.equal("PutRecords", request.operation)
    stepping.land(engine, request, results(request))
    assert.equal(1, producer:stats().map_refreshes)
  end)

  it("is requested again after transient errors, with back-off", function()
    local engine, producer = open { linger = 0 }
    put(producer, "patient")
    local rests = {}
    for i = 1, 3 do
      rests[i] = settle_map(engine, stepping.BROKEN)
      assert.same({}, engine:requests())
      engine:advance(rests[i])
    end
    assert.same({ 1, 2, 4 }, rests)
    settle_map(engine)
    assert.equal("PutRecords", only(engine).operation)
  end)

  it("is not needed where the service refuses it: records are sent without aggregates", function()
    local engine, producer = open { linger = 0 }
    settle_map(engine, stepping.error "AccessDeniedException")
    put(producer, "a")
    put(producer, "b")
    local request = only(engine)
    assert.equal(2, #entries_of(request))
    stepping.land(engine, request, results(request))
    assert.equal(2, producer:stats().stored)
  end)
end)

describe("aggregation", function()
  local function entries_with(options, description)
    local engine, producer = ready(options, description)
    put(producer, "a", 1)
    put(producer, "b", 1)
    put(producer, "c", 2)
    engine:advance(0.1)
    return entries_of(only(engine))
  end

  it("packs the records of a shard into one, and leaves a single record as it is", function()
    local entries = entries_with()
    assert.equal(2, #entries)
    table.sort(entries, function(one, other)
      return one.PartitionKey < other.PartitionKey
    end)
    assert.equal("a", entries[1].PartitionKey)
    assert.equal(QUARTERS[1], entries[1].ExplicitHashKey)
    local users = assert(kinesis.deaggregate(codec.base64_decode(entries[1].Data)))
    assert.same({ data = "a", partition_key = "key", explicit_hash_key = "0", sub_sequence_number = 0 }, users[1])
    assert.equal("b", users[2].data)
    assert.equal("key", entries[2].PartitionKey)
    assert.equal("c", codec.base64_decode(entries[2].Data))
  end)

  it("is off where the service selects the shards, or does not tell, and on when forced", function()
    assert.equal(3, #entries_with({}, summary ',"RecordDistributionStrategy":"AUTO"'))
    assert.equal(3, #entries_with({}, stepping.error "AccessDeniedException"))
    assert.equal(2, #entries_with({ aggregate = 2 }, stepping.error "AccessDeniedException"))
    assert.equal(3, #entries_with({ aggregate = 2 }, summary ',"RecordDistributionStrategy":"AUTO"'))
    assert.equal(3, #entries_with { aggregate = 1 })
  end)

  it("respects its limits of bytes and records", function()
    local engine, producer = ready { aggregate_records = 10 }
    for i = 1, 25 do
      put(producer, "r" .. i)
    end
    engine:advance(0.1)
    local sizes = {}
    for i, entry in ipairs(entries_of(only(engine))) do
      sizes[i] = #assert(kinesis.deaggregate(codec.base64_decode(entry.Data)))
    end
    assert.same({ 10, 10, 5 }, sizes)
    engine, producer = ready { aggregate_bytes = 1000 }
    for i = 1, 40 do
      put(producer, ("x"):rep(100))
    end
    engine:advance(0.1)
    for _, entry in ipairs(entries_of(only(engine))) do
      assert.is_true(#codec.base64_decode(entry.Data) <= 1000)
    end
  end)
end)

describe("a batch is sent", function()
  it("exactly when its oldest record has lingered; an idle producer is not stepped", function()
    local engine, producer = ready { linger = 0.25 }
    put(producer, "alone")
    assert.near(0.25, engine:step(), 1e-6)
    engine:advance(0.249)
    assert.same({}, requests(engine))
    engine:advance(0.001)
    local request = only(engine)
    assert.is_nil(stepping.land(engine, request, results(request)))
  end)

  it("at once when it is full, by records or by bytes", function()
    local engine, producer = ready { batch_records = 5, aggregate = 1 }
    for i = 1, 12 do
      put(producer, "r" .. i, i % 4 + 1)
    end
    local list = requests(engine)
    assert.same({ 5, 5 }, { #entries_of(list[1]), #entries_of(list[2]) })
    assert.is_nil(list[3])
    engine, producer = ready { batch_bytes = 1000, aggregate = 1 }
    for i = 1, 4 do
      put(producer, ("x"):rep(300), i)
    end
    assert.equal(3, #entries_of(only(engine)))
  end)

  it("at once when it is flushed, and flushes complete in their order", function()
    local engine, producer = ready { linger = 60 }
    put(producer, "one")
    local first = producer:flush()
    local request = only(engine)
    put(producer, "two")
    local second = producer:flush()
    local later = requests(engine)[2]
    put(producer, "three")
    stepping.land(engine, later, results(later))
    assert.is_false(producer:flushed(first))
    assert.is_false(producer:flushed(second))
    stepping.land(engine, request, results(request))
    assert.is_true(producer:flushed(first))
    assert.is_true(producer:flushed(second))
    assert.equal(1, producer:stats().open)
  end)

  it("with the records of shards that have lingered half as long", function()
    local engine, producer = ready { linger = 0.1 }
    put(producer, "first", 1)
    engine:advance(0.04)
    put(producer, "second", 2)
    engine:advance(0.03)
    put(producer, "third", 3)
    engine:advance(0.03)
    assert.same({ "first", "second" }, users_of(only(engine)))
  end)
end)

describe("a limit", function()
  -- Feeds four shards at 90 % of their limits; `hot(now)`: whether the first one throttles all entries then. Returns
  -- the entries stored in each, and the entries sent to the first one, by second.
  local function run(seconds, hot)
    local engine, producer = ready { aggregate = 1, rate_limit = 0.1 }
    local stored, asked = { 0, 0, 0, 0 }, {}
    local start = engine:now()
    for _ = 1, seconds * 10 do
      for quarter = 1, 4 do
        for _ = 1, 9 do
          put(producer, "x", quarter)
        end
      end
      stepping.serve(engine, 0.1, function(request)
        local now = engine:now() - start
        return results(request, function(entry)
          local quarter = quarter_of(entry.ExplicitHashKey)
          if quarter == 1 then
            local second = math.floor(now) + 1
            asked[second] = (asked[second] or 0) + 1
            if hot(now) then
              return "ProvisionedThroughputExceededException"
            end
          end
          stored[quarter] = stored[quarter] + 1
        end)
      end)
    end
    return stored, asked, producer
  end

  it("of a shard that throttles delays no other shard, drops, and grows back", function()
    local stored, asked = run(30, function(now)
      return now >= 5 and now < 15
    end)
    for quarter = 2, 4 do
      assert.is_true(stored[quarter] > 0.9 * 90 * 30, ("shard %d: %d"):format(quarter, stored[quarter]))
    end
    local late = ((asked[13] or 0) + (asked[14] or 0) + (asked[15] or 0)) / 3
    assert.is_true(late < asked[4] / 4, ("asked %d times a second in the end, %d before"):format(late, asked[4]))
    assert.is_true((asked[29] or 0) > 0.9 * asked[4], ("asked %d times again"):format(asked[29] or 0))
  end)

  it("is never exceeded", function()
    local engine, producer = ready { aggregate = 1, rate_limit = 0.1 }
    local per_second, start = {}, engine:now()
    for i = 1, 500 do
      put(producer, "x", 1, { receipt = i == 1 })
    end
    stepping.serve(engine, 6, function(request)
      local second = math.floor(engine:now() - start) + 1
      per_second[second] = (per_second[second] or 0) + #entries_of(request)
      return results(request)
    end)
    assert.equal(500, producer:stats().stored)
    assert.is_true(per_second[1] <= 200) -- with the burst of a second
    for second = 2, 6 do
      assert.is_true((per_second[second] or 0) <= 105, second)
    end
  end)
end)

describe("order", function()
  it("allows one entry of a shard in flight, and no record overtakes another", function()
    local engine, producer = ready { linger = 0, ordered = true, aggregate = 1 }
    for i = 1, 3 do
      put(producer, "a" .. i, 1)
      put(producer, "b" .. i, 2)
    end
    local request = only(engine)
    assert.same({ "a1", "b1" }, users_of(request))
    stepping.land(engine, request, results(request, function(entry)
      return quarter_of(entry.ExplicitHashKey) == 1 and "InternalFailure" or nil
    end))
    assert.same({ "b2" }, users_of(only(engine)))
    engine:advance(1)
    local list = requests(engine)
    assert.same({ "a1" }, users_of(list[2]))
  end)

  it("is kept over a reshard: requests by the old map complete first", function()
    local engine, producer = ready { linger = 0, ordered = true, aggregate = 1 }
    put(producer, "a1", 1)
    put(producer, "b1", 2)
    local first = only(engine)
    put(producer, "a2", 1)
    put(producer, "c1", 3)
    local second = requests(engine)[2]
    assert.same({ "c1" }, users_of(second))
    stepping.land(engine, second, results(second, function()
      return { shard = "child" }
    end))
    engine:advance(1.1)
    local halves = { shard("child", QUARTERS[1], ENDS[2]), FOUR[3], FOUR[4] }
    engine:step()
    for _, request in ipairs(engine:requests()) do
      if request.operation == "ListShards" then
        engine:answer(request, shard_list(halves))
      elseif request.operation == "DescribeStreamSummary" then
        engine:answer(request, summary())
      end
    end
    assert.equal(1, #requests(engine)) -- a1 and b1, still
    stepping.land(engine, first, results(first, function()
      return "InternalFailure"
    end))
    engine:advance(1)
    local request = only(engine)
    assert.same({ "a1" }, users_of(request))
  end)
end)

describe("the bound", function()
  it("is of records and of bytes; a record with a receipt takes part of it until it is collected", function()
    local engine, producer = ready { linger = 0, max_records = 2 }
    put(producer, "a", 1, { receipt = true })
    put(producer, "b", 1)
    assert.equal("full", producer:put("c", "key"))
    local request = only(engine)
    stepping.land(engine, request, results(request))
    assert.equal(1, producer:stats().held_records)
    assert.equal("completed", stepping.told(engine, "completed")[1].kind)
    outcomes(producer)
    assert.equal(0, producer:stats().held_records)
    assert.equal(0, producer:stats().held)
    engine, producer = ready { max_bytes = 1000 }
    put(producer, ("x"):rep(5000)) -- one record always fits
    assert.equal("full", producer:put("c", "key"))
    engine:step()
  end)

  it("ends the linger of all records when a record is refused", function()
    local engine, producer = ready { linger = 60, max_records = 2 }
    put(producer, "a")
    put(producer, "b")
    engine:step()
    assert.same({}, engine:requests())
    assert.equal("full", producer:put("c", "key"))
    assert.same({ "a", "b" }, users_of(only(engine)))
  end)

  it("of one record is the stream's", function()
    local engine, producer = open { linger = 0 }
    put(producer, ("x"):rep(1024 * 1024), 1) -- too large with its key
    settle_map(engine)
    local record = producer:collect()[1]
    assert.equal("failed", record.outcome)
    assert.equal("InvalidArgumentException", record.attempts[1].code)
    assert.equal("too large", producer:put(("x"):rep(1024 * 1024), "key"))
    assert.equal("taken", producer:put(("x"):rep(1024 * 1024 - 3), "key"))
    engine:step()
  end)
end)

describe("the end", function()
  it("returns every record once, and tells which may be stored", function()
    local engine, producer = ready { linger = 0, parallel = 1 }
    put(producer, "under way")
    only(engine)
    put(producer, "waiting")
    engine:step()
    put(producer, "in the queue")
    producer:remove()
    engine:step()
    local found = outcomes(producer)
    for data, maybe_stored in pairs { ["under way"] = true, waiting = false, ["in the queue"] = false } do
      assert.equal("closed", found[data].outcome)
      assert.equal(maybe_stored, found[data].maybe_stored)
    end
    assert.equal("closed", producer:put("late", "key"))
    assert.equal(0, producer:stats().open)
    assert.same({}, producer:collect())
  end)

  it("returns records when the map is not known, too", function()
    local engine, producer = open()
    put(producer, "a")
    engine:step()
    producer:remove()
    engine:step()
    assert.equal("closed", outcomes(producer).a.outcome)
  end)
end)

it("random keys are replaced when their shard throttles", function()
  local engine, producer = ready { linger = 0, rerandomize_keys = true }
  assert.equal("taken", producer:put("a", ("0"):rep(24), nil, { random = true }))
  local request = only(engine)
  local before = entries_of(request)[1].PartitionKey
  stepping.land(engine, request, results(request, function()
    return "ProvisionedThroughputExceededException"
  end))
  engine:advance(1)
  local after = entries_of(only(engine))[1].PartitionKey
  assert.equal(24, #after)
  assert.are_not.equal(before, after)
end)

it("records are stored in the shard of their hash key, at the ends of the ranges, too", function()
  local engine, producer = ready { linger = 0.1, aggregate_records = 2 }
  for i = 1, 4 do
    assert.equal("taken", producer:put("first " .. i, "key", QUARTERS[i]))
    assert.equal("taken", producer:put("last " .. i, "key", ENDS[i]))
  end
  engine:advance(0.1)
  local entries = entries_of(only(engine))
  assert.equal(4, #entries)
  for _, entry in ipairs(entries) do
    local users = kinesis.deaggregate(codec.base64_decode(entry.Data))
    assert.equal(quarter_of(users[1].explicit_hash_key), quarter_of(users[2].explicit_hash_key))
  end
end)

describe("random faults and reshards", function()
  -- A service that fails and reshards at random, by a seed.
  local function run(seed, options)
    math.randomseed(seed)
    local engine, producer = open(options)
    local open_count, taken, maps = 0, 0, { shard_list(FOUR), shard_list { shard("whole", "0", ENDS[4]) } }
    local current = maps[1]
    local settled, stored_order = {}, {}
    local function note()
      for _, record in ipairs(producer:collect()) do
        assert.is_nil(settled[record.data], record.data)
        settled[record.data] = record.outcome
      end
    end
    local function serve(request)
      local roll = math.random()
      if request.operation == "ListShards" then
        return roll < 0.2 and stepping.BROKEN or current
      elseif request.operation == "DescribeStreamSummary" then
        return roll < 0.1 and stepping.THROTTLED or summary()
      elseif roll < 0.1 then
        return stepping.BROKEN
      elseif roll < 0.15 then
        return stepping.THROTTLED
      elseif roll < 0.18 then
        return { body = '{"Records":[]}' }
      end
      return results(request, function(entry)
        roll = math.random()
        if roll < 0.1 then
          return "ProvisionedThroughputExceededException"
        elseif roll < 0.15 then
          return "InternalFailure"
        elseif roll < 0.16 then
          return "KMSAccessDeniedException"
        end
        local data = codec.base64_decode(entry.Data)
        for _, user in ipairs(kinesis.deaggregate(data) or { { data = data } }) do
          stored_order[#stored_order + 1] = user.data
        end
        return { shard = current == maps[1] and shard_of(entry) or "whole" }
      end)
    end
    for _ = 1, 100 do
      for _ = 1, math.random(0, 30) do
        taken = taken + 1
        local key = math.random(1, 6)
        put(producer, ("%d %d"):format(key, taken), key % 4 + 1, { receipt = true })
      end
      if math.random() < 0.05 then
        current = maps[math.random(1, 2)]
      end
      stepping.serve(engine, math.random() * 0.2, serve)
      note()
    end
    local mark = producer:flush()
    stepping.serve(engine, 600, serve)
    note()
    assert.is_true(producer:flushed(mark))
    for _ in pairs(settled) do
      open_count = open_count + 1
    end
    assert.equal(taken, open_count)
    local stats = producer:stats()
    assert.equal(0, stats.open)
    assert.equal(0, stats.held)
    assert.equal(0, stats.in_flight)
    return settled, stored_order
  end

  for seed = 1, 10 do
    it("each record has one outcome, with seed " .. seed, function()
      run(seed, { linger = 0.05, batch_records = 20, aggregate_records = 5 })
      run(seed, { linger = 0.05, batch_records = 20, aggregate = 1, ttl = 5 })
    end)

    it("the order of each key is kept, with seed " .. seed, function()
      local settled, order = run(seed, { linger = 0.05, ordered = true, aggregate_records = seed % 2 == 0 and 5 or 1 })
      local last, seen = {}, {}
      for _, data in ipairs(order) do
        local key, number = data:match "^(%d+) (%d+)$"
        number = tonumber(number)
        if not seen[data] and settled[data] == "stored" then
          assert.is_true(number > (last[key] or 0), data)
          last[key] = number
        end
        seen[data] = true
      end
    end)
  end
end)
