-- Aggregates that were stored in a shard that the map does not know.
-- Flavours: *lua5.4
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
