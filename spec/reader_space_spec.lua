-- Answers that are larger than what a reader has reserved for them: which are paused, and when they go on. With a
-- fake clock.
-- Flavours: *lua5.4
local reading = require "support.reading"
local stepping = require "support.stepping"

local engine_with, flight, told, page = stepping.engine, stepping.flight, stepping.told, stepping.page
local service, read, ids, member = reading.service, reading.read, reading.ids, stepping.member

local MIB = 1024 * 1024
local WINDOW, LARGE = MIB, 2.5 * MIB

-- A body of about `bytes`.
local function large(shard, bytes)
  return page { next = "it:" .. shard, { "1", ("A"):rep(bytes - bytes % 4) } }
end

local function shard_of(request)
  return member(request, "ShardIterator"):match "^it:(.*)$"
end

describe("a reader whose quiet shards answer with large pages", function()
  after_each(stepping.close_all)

  -- n shards whose next call is in flight and has reserved 64 KiB.
  local function quiet(engine, n)
    local names, rounds = {}, {}
    for i = 1, n do
      names[i] = ("s%02d"):format(i)
    end
    local id, metrics = read(engine, names, { window = WINDOW })
    stepping.serve(engine, 20, service(function(shard)
      rounds[shard] = (rounds[shard] or 0) + 1
      return rounds[shard] <= 8 and page { next = "it:" .. shard } or nil
    end), true)
    local requests = flight(engine, n)
    table.sort(requests, function(a, b)
      return shard_of(a) < shard_of(b)
    end)
    return requests, id, metrics
  end

  -- Answers all requests at once; returns the shards whose answers were taken, and those that are paused.
  local function burst(engine, requests, bytes)
    local taken, paused = {}, {}
    for _, request in ipairs(requests) do
      local list = engine:answer(request, large(shard_of(request), bytes)) and taken or paused
      list[#list + 1] = { shard_id = shard_of(request) }
    end
    return ids(taken), ids(paused)
  end

  -- The pages that Lua has now; it reads them.
  local function pages(engine)
    engine:step()
    local list = told(engine, "page")
    engine:give_back()
    return list
  end

  it("takes one that exceeds the window, and the others one after the other, as Lua reads", function()
    local engine = engine_with {}
    local taken, paused = burst(engine, quiet(engine, 6), LARGE)
    assert.equal("s01", taken)
    assert.equal("s02 s03 s04 s05 s06", paused)
    for i = 1, 6 do
      engine:step()
      local list = told(engine, "page")
      assert.equal("s0" .. i, ids(list))
      engine:advance(10)
      engine:step()
      assert.equal(0, #told(engine, "page")) -- Lua has not read
      flight(engine, 6 - i) -- and no call begins
      engine:give_back()
    end
    flight(engine, 1) -- the next calls reserve that much
  end)

  it("takes side by side what fits into the window", function()
    local engine = engine_with {}
    local taken, paused = burst(engine, quiet(engine, 12), 80 * 1024)
    assert.equal(12, select(2, taken:gsub("s", "")))
    assert.equal("", paused)
  end)

  it("lets one that fits wait for those that came before it", function()
    local engine = engine_with {}
    local requests = quiet(engine, 4)
    assert.is_true(engine:answer(requests[1], large("s01", LARGE)))
    assert.is_false(engine:answer(requests[2], large("s02", LARGE)))
    assert.is_false(engine:answer(requests[3], large("s03", 80 * 1024)))
    assert.is_true(engine:answer(requests[4], page { next = "it:s04", { "1" } })) -- within what it has reserved
    assert.equal("s01 s04", ids(pages(engine)))
    assert.equal("s02", ids(pages(engine)))
    assert.equal("s03", ids(pages(engine)))
  end)

  it("never waits for low water that paused calls alone keep it from", function()
    local engine = engine_with {}
    burst(engine, quiet(engine, 12), LARGE) -- together they have reserved three quarters of the window
    local seen = 0
    for _ = 1, 12 do
      seen = seen + #pages(engine)
    end
    assert.equal(12, seen)
  end)

  it("goes on with the next one when the one that exceeds the window fails", function()
    local engine = engine_with {}
    local requests = quiet(engine, 3)
    engine:answer(requests[1], large("s01", LARGE))
    engine:answer(requests[2], large("s02", LARGE))
    engine:answer(requests[3], large("s03", LARGE))
    assert.equal("s01", ids(pages(engine)))
    engine:fail(requests[3], {}) -- paused
    assert.equal("s02", ids(pages(engine)))
    assert.equal(0, #pages(engine))
    stepping.serve(engine, 20, service(function(shard)
      return shard == "s03" and large(shard, LARGE) or page { next = "it:" .. shard }
    end))
    assert.equal("s03", ids(pages(engine)))
  end)

  it("reports the failure of one that was paused from the third in a row on", function()
    local engine = engine_with {}
    local requests = quiet(engine, 2)
    burst(engine, requests, LARGE)
    engine:fail(requests[2], {})
    engine:step()
    assert.equal("quiet", told(engine, "trouble")[1].level)
    engine:advance(20)
    flight(engine, 0) -- it has to reserve the whole page before it is asked for again
    pages(engine)
    engine:advance(1)
    engine:step()
    assert.equal(1, #engine:requests())
  end)

  it("keeps a quarter of the connections for other calls", function()
    local engine = engine_with { max_connections = 8 }
    local requests = quiet(engine, 8)
    local taken, paused = burst(engine, requests, LARGE)
    assert.equal("s01 s08", taken) -- s08 found no space, and fails
    assert.equal("s02 s03 s04 s05 s06 s07", paused)
    for _ = 1, 2 do
      engine:call("PutRecord", "{}")
    end
    for _, request in ipairs(flight(engine, 8)) do
      if request.operation == "PutRecord" then
        engine:answer(request, stepping.FINE)
      end
    end
    for i = 1, 7 do
      assert.equal("s0" .. i, ids(pages(engine)))
    end
    stepping.serve(engine, 60, service(function(shard)
      return shard == "s08" and large(shard, LARGE) or page { next = "it:" .. shard }
    end))
    assert.equal("s08", ids(pages(engine)))
    assert.equal(0, #told(engine, "trouble"))
  end)

  it("pauses none on a client of one connection", function()
    local engine = engine_with { max_connections = 1 }
    local id = read(engine, { "a", "b" }, { window = MIB })
    stepping.serve(engine, 20, service(function(shard)
      return page { next = "it:" .. shard }
    end), true)
    stepping.serve(engine, 3, service(function(shard)
      return large(shard, LARGE)
    end))
    assert.equal(1, #told(engine, "page"))
    engine:call("PutRecord", "{}")
    assert.equal("PutRecord", flight(engine, 1)[1].operation)
    engine:cancel(id)
  end)

  it("takes a response of unknown length in steps", function()
    local engine = engine_with {}
    local requests = quiet(engine, 2)
    for i = 1, 2 do
      local answer = large("s0" .. i, LARGE)
      answer.chunked = true
      assert.equal(i == 1, engine:answer(requests[i], answer))
    end
    assert.equal("s01", ids(pages(engine)))
    assert.equal("s02", ids(pages(engine)))
  end)

  it("counts how far a page is behind from when it was asked for", function()
    local engine = engine_with {}
    local requests, _, metrics = quiet(engine, 2)
    burst(engine, requests, 10 * MIB)
    engine:step()
    engine:advance(100)
    assert.equal("s01", ids(pages(engine)))
    assert.equal("s02", ids(pages(engine)))
    local request = flight(engine, 1)[1]
    assert.equal("s01", shard_of(request))
    stepping.land(engine, request, page { next = "it:s01" })
    local lag = metrics:read((engine:now())).lag -- of s02
    assert.is_true(lag >= 100 and lag < 130, lag)
  end)

  it("is removed with its paused calls", function()
    local engine = engine_with { max_connections = 8 }
    for _ = 1, 3 do -- what was paused does not count any more
      local requests, id = quiet(engine, 6)
      local _, paused = burst(engine, requests, LARGE)
      assert.equal("s02 s03 s04 s05 s06", paused)
      engine:cancel(id)
      flight(engine, 0)
      engine:messages()
      engine:give_back()
    end
  end)

  it("resumes nothing once an error has ended it", function()
    local engine = engine_with {}
    local requests, id = quiet(engine, 4)
    burst(engine, requests, LARGE)
    engine:fail(requests[2], { fatal = true })
    engine:step()
    engine:fail(requests[3], {})
    engine:step()
    assert.is_true(told(engine, "trouble")[1].fatal)
    engine:messages()
    engine:give_back()
    assert.is_true(flight(engine, 1)[1].paused)
    engine:cancel(id)
    flight(engine, 0)
  end)

  it("is stopped with its paused calls", function()
    local engine = engine_with {}
    burst(engine, quiet(engine, 6), LARGE)
    engine:stop()
  end)
end)

describe("a reader whose consumer sleeps for an hour", function()
  after_each(stepping.close_all)

  -- Iterators say which record comes next, and when they were given: they live for five minutes.
  local function answers(engine, counts)
    return function(request)
      local function iterator(shard, number)
        return ("%s:%d:%.3f"):format(shard, number, (engine:now()))
      end
      counts[request.operation] = (counts[request.operation] or 0) + 1
      if request.operation == "GetShardIterator" then
        local last = tonumber(member(request, "StartingSequenceNumber") or 0)
        return stepping.iterator(iterator(member(request, "ShardId"), last + 1))
      end
      local shard, number, given = member(request, "ShardIterator"):match "^(.*):(.*):(.*)$"
      if engine:now() - given >= 300 then
        counts.expired = (counts.expired or 0) + 1
        return stepping.error "ExpiredIteratorException"
      end
      return page { next = iterator(shard, number + 1), behind = 1000, { number, ("A"):rep(MIB) } }
    end
  end

  it("uses no iterator that has expired, and loses and repeats nothing", function()
    local engine, counts, last = engine_with {}, {}, { a = 0, b = 0, c = 0 }
    local answer = answers(engine, counts)
    read(engine, { "a", "b", "c" }, { window = MIB })
    for _ = 1, 4 do
      stepping.serve(engine, 3600, answer)
      local all = told(engine, "page")
      assert.is_true(#all <= 2)
      for _, one in ipairs(all) do
        assert.equal(last[one.shard_id] + 1, tonumber(one.records[1].sequence_number))
        last[one.shard_id] = last[one.shard_id] + 1
      end
      engine:give_back()
    end
    assert.is_true(last.a > 0 and last.b > 0 and last.c > 0)
    assert.is_nil(counts.expired)
    assert.equal(0, #told(engine, "trouble"))
    assert.is_true(counts.GetShardIterator <= 3 + 4, counts.GetShardIterator .. " iterators") -- one for each page
  end)
end)
