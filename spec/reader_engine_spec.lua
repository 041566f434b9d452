-- Many shards read side by side: when each is called for, and in which order. With a fake clock; the spec answers
-- as the service.
-- Flavours: *lua5.4
local reading = require "support.reading"
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local BROKEN, THROTTLED = stepping.BROKEN, stepping.THROTTLED
local NEW_YEAR, member, page, serve = stepping.NEW_YEAR, stepping.member, stepping.page, stepping.serve
local service, read, reply = reading.service, reading.read, reading.reply
local shortest = reading.shortest

local EXPIRED = stepping.error "ExpiredIteratorException"

describe("a reader in the engine", function()
  after_each(stepping.close_all)

  it("takes an iterator, then records, and posts them", function()
    local engine = engine_with {}
    local id = read(engine, { "a" })
    local request = flight(engine, 1)[1]
    assert.same({ "s", "a", "TRIM_HORIZON" },
      { member(request, "StreamName"), member(request, "ShardId"), member(request, "ShardIteratorType") })
    assert.equal("one", member(reply(engine, "GetShardIterator", stepping.iterator "one"), "ShardIterator"))
    assert.equal(id, told(engine, "ready")[1].owner)
    reply(engine, "GetRecords", page { next = "two", { "17", "eAA=", 12.5 }, { "18", "" } })
    local pages = told(engine, "page")
    assert.equal(1, #pages)
    assert.same({ id, "a" }, { pages[1].owner, pages[1].shard_id })
    assert.same({
      { data = "x\0", partition_key = "k", sequence_number = "17", arrival_timestamp = 12.5 },
      { data = "", partition_key = "k", sequence_number = "18", arrival_timestamp = 1 },
    }, pages[1].records)
    engine:advance(1)
    assert.equal("two", member(flight(engine, 1)[1], "ShardIterator"))
  end)

  it("sends the stream's ARN where the operation has a member for it", function()
    local engine = engine_with {}
    local arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s"
    read(engine, { "a" }, { stream = arn })
    assert.equal(arn, member(flight(engine, 1)[1], "StreamARN"))
    assert.equal(arn, member(reply(engine, "GetShardIterator", stepping.iterator "i"), "StreamARN"))
  end)

  for kind, expected in pairs {
    AT_SEQUENCE_NUMBER = '"StartingSequenceNumber":"17"', AFTER_SEQUENCE_NUMBER = '"StartingSequenceNumber":"17"',
    AT_TIMESTAMP = '"Timestamp":1234567890.250', LATEST = '"ShardIteratorType":"LATEST"}',
  } do
    it("begins " .. kind, function()
      local engine = engine_with {}
      read(engine, { { id = "a", kind = kind, sequence_number = "17", timestamp = 1234567890.25 } })
      local request = flight(engine, 1)[1]
      assert.equal(kind, member(request, "ShardIteratorType"))
      assert.matches(expected, request.body, 1, true)
    end)
  end

  it("asks for no more records a page than page_limit, of child shards neither", function()
    local engine, limits = engine_with {}, {}
    read(engine, { "a" }, { page_limit = 7, follow = true })
    serve(engine, 2, service(function(shard, request)
      limits[shard] = request.body:match '"Limit":(%d+)}$'
      return page { next = shard == "b" and "it:b" or nil, children = { { "b", "a" } } }
    end))
    assert.same({ a = "7", b = "7" }, limits)
    local request = reading.reading(engine_with {})
    assert.is_nil(request.body:find "Limit")
  end)

  describe("paces a shard", function()
    it("to five calls a second while it is behind", function()
      local engine, times = engine_with {}, {}
      read(engine, { "a" })
      serve(engine, 10, service(function(_, request)
        times[#times + 1] = request.at
        return page { next = "it:a", behind = 1000 }
      end))
      assert.is_true(#times >= 50 and #times <= 51, #times .. " calls")
      assert.is_true(shortest(times) > 0.1999, "pause of " .. shortest(times))
    end)

    it("to two megabytes a second", function()
      local engine, times = engine_with {}, {}
      local data = ("A"):rep(4000000) -- three million bytes
      read(engine, { "a" })
      serve(engine, 10, service(function(_, request)
        times[#times + 1] = request.at
        return page { next = "it:a", behind = 1000, { "1", data } }
      end), true)
      assert.is_true(shortest(times) > 1.499 and shortest(times) < 1.51, "pause of " .. shortest(times))
      assert.equal(7, #times)
    end)

    for _, interval in ipairs { 1, 3 } do
      it(("to a call every %d s at the tip"):format(interval), function()
        local engine, times = engine_with {}, {}
        read(engine, { "a" }, { poll_interval = interval })
        serve(engine, 12, service(function(_, request)
          times[#times + 1] = request.at
          return page { next = "it:a" }
        end))
        assert.is_true(math.abs(shortest(times) - interval) < 1e-6, "pause of " .. shortest(times))
        assert.equal(12 / interval + 1, #times)
      end)
    end

    it("from the time a call was sent, not from the time it was queued", function()
      local engine = engine_with { max_connections = 1 }
      engine:call("ListStreams", "{}")
      local hog = flight(engine, 1)[1]
      read(engine, { { id = "a" } })
      engine:advance(1)
      land(engine, hog, stepping.FINE)
      engine:call("ListStreams", "{}")
      reply(engine, "GetShardIterator", stepping.iterator "it:a")
      engine:step()
      hog = flight(engine, 1)[1]
      assert.equal("ListStreams", hog.operation) -- GetRecords is behind it
      engine:advance(5)
      land(engine, hog, stepping.FINE)
      reply(engine, "GetRecords", page { next = "it:a", behind = 1000 })
      flight(engine, 0)
      engine:advance(0.2)
      flight(engine, 1)
    end)
  end)

  describe("renews an iterator that has expired", function()
    it("behind the last record that it posted", function()
      local engine = engine_with {}
      land(engine, reading.reading(engine), page { next = "it:a", { "6" }, { "7" } })
      engine:advance(1)
      reply(engine, "GetRecords", EXPIRED)
      engine:advance(1)
      local request = flight(engine, 1)[1]
      assert.same({ "GetShardIterator", "AFTER_SEQUENCE_NUMBER", "7" },
        { request.operation, member(request, "ShardIteratorType"), member(request, "StartingSequenceNumber") })
      assert.equal("quiet", told(engine, "trouble")[1].level)
      land(engine, request, stepping.iterator "fresh")
      engine:advance(1)
      assert.equal("fresh", member(flight(engine, 1)[1], "ShardIterator"))
    end)

    for kind, again in pairs {
      TRIM_HORIZON = "TRIM_HORIZON", AT_SEQUENCE_NUMBER = "AT_SEQUENCE_NUMBER", AT_TIMESTAMP = "AT_TIMESTAMP",
      LATEST = "AT_TIMESTAMP",
    } do
      it(("%s, %s again before the first record"):format(kind, again), function()
        local engine = engine_with {}
        engine:set_wall(NEW_YEAR + 100.25)
        local request = reading.reading(engine, { id = "a", kind = kind, sequence_number = "5", timestamp = 77 })
        local start = told(engine, "ready")[1].start
        land(engine, request, page { next = "it:a" })
        engine:advance(100)
        land(engine, flight(engine, 1)[1], EXPIRED)
        engine:advance(1)
        request = flight(engine, 1)[1]
        assert.equal(again, member(request, "ShardIteratorType"))
        if kind == "LATEST" then
          assert.equal(NEW_YEAR + 99.25, start)
          assert.equal(start, tonumber(request.body:match '"Timestamp":([%d.]+)'))
        elseif kind == "AT_TIMESTAMP" then
          assert.equal(77, tonumber(request.body:match '"Timestamp":([%d.]+)'))
        elseif kind == "AT_SEQUENCE_NUMBER" then
          assert.equal("5", member(request, "StartingSequenceNumber"))
        end
      end)
    end

    it("at most five times a second", function()
      local engine, count = engine_with {}, 0
      read(engine, { "a" })
      serve(engine, 0, service(function()
        count = count + 1
        return count < 50 and EXPIRED or page { next = "it:a" }
      end))
      assert.is_true(count <= 2, count .. " calls in no time at all")
    end)
  end)

  it("continues behind the last record after LATEST, as after any start", function()
    local engine = engine_with {}
    land(engine, reading.reading(engine, { id = "a", kind = "LATEST" }), page { next = "it:a", { "3" } })
    engine:advance(1)
    land(engine, flight(engine, 1)[1], EXPIRED)
    engine:advance(1)
    assert.equal("AFTER_SEQUENCE_NUMBER", member(flight(engine, 1)[1], "ShardIteratorType"))
  end)

  it("does not use LATEST after it has posted ready", function()
    local engine = engine_with {}
    read(engine, { { id = "p", kind = "AFTER_SEQUENCE_NUMBER", sequence_number = "5" },
      { id = "c", parent_id = "p", kind = "LATEST" } })
    reply(engine, "GetShardIterator", stepping.iterator "it:p")
    assert.equal(1, #told(engine, "ready"))
    engine:advance(60) -- what was put meanwhile must not be missed
    reply(engine, "GetRecords", page { { "6" }, children = { { "c", "p" } } })
    local request = flight(engine, 1)[1] -- a child of a parent that is read starts at TRIM_HORIZON
    assert.same({ "c", "TRIM_HORIZON" }, { member(request, "ShardId"), member(request, "ShardIteratorType") })
  end)

  it("posts the start by the service's clock", function()
    local engine = engine_with {}
    engine:call("ListStreams", "{}")
    land(engine, flight(engine, 1)[1], { body = "{}", date = stepping.http_date(NEW_YEAR + 300) })
    read(engine, { { id = "a", kind = "LATEST" } })
    reply(engine, "GetShardIterator", stepping.iterator "i")
    assert.equal(NEW_YEAR + 299, told(engine, "ready")[1].start)
  end)

  it("posts ready once, when the last of the first iterators is taken", function()
    local engine = engine_with {}
    read(engine, { "a", "b", "c", { id = "child", parent_id = "a" }, { id = "done", kind = "SHARD_END" } })
    local requests = flight(engine, 3)
    land(engine, requests[1], stepping.iterator "it:1")
    land(engine, requests[2], stepping.iterator "it:2")
    serve(engine, 5, function(request)
      return request.operation == "GetRecords" and page { next = "it:1" } or nil
    end)
    assert.equal(0, #told(engine, "ready"))
    land(engine, requests[3], stepping.iterator "it:3")
    assert.equal(1, #told(engine, "ready"))
    serve(engine, 5, service(function()
      return page { next = "it:1" }
    end))
    assert.equal(0, #told(engine, "ready"))
  end)

  it("posts ready at once when nothing is left to read", function()
    local engine = engine_with {}
    read(engine, { { id = "a", kind = "SHARD_END" } })
    flight(engine, 0)
    assert.equal(1, #told(engine, "ready"))
  end)

  describe("after an error", function()
    it("ends after max_attempts when there has been no answer yet", function()
      local engine = engine_with { max_attempts = 3 }
      read(engine, { "a" })
      for i = 1, 3 do
        local rest = land(engine, flight(engine, 1)[1], BROKEN)
        local trouble = told(engine, "trouble")[1]
        assert.same({ "a", i, i == 3, "InternalFailure" },
          { trouble.shard_id, trouble.in_a_row, trouble.fatal, trouble.failure.code })
        if i < 3 then
          assert.is_true(math.abs(rest - 0.025 * 2 ^ (i - 1)) < 1e-5)
        else
          assert.is_nil(rest)
        end
        engine:advance(rest or 100)
      end
      flight(engine, 0)
    end)

    for what, answer in pairs { ["one that passes"] = BROKEN, ["throttling"] = THROTTLED } do
      it(("(%s) tries without end once there was one, slower and slower"):format(what), function()
        local engine = engine_with { max_attempts = 3 }
        engine:randoms(0.999999)
        local request, rests = reading.reading(engine), {}
        for i = 1, 30 do
          rests[i] = land(engine, request, answer)
          engine:advance(rests[i])
          request = flight(engine, 1)[1]
          if request.operation == "GetShardIterator" then -- the other one would have expired meanwhile
            request = reply(engine, "GetShardIterator", stepping.iterator "it:a")
          end
          assert.equal("GetRecords", request.operation)
        end
        local troubles = told(engine, "trouble")
        assert.equal(30, #troubles)
        for i, trouble in ipairs(troubles) do
          assert.same({ i, false }, { trouble.in_a_row, trouble.fatal })
        end
        local first = answer == BROKEN and 0.05 or 1
        for i, rest in ipairs(rests) do
          local expected = math.max(math.min(first * 2 ^ (i - 1), 20), 0.2) -- 5 calls a second
          assert.is_true(math.abs(rest - expected) < 1e-3, ("rest %d is %s"):format(i, rest))
        end
        assert.equal(500, engine:counts().quota)
        land(engine, request, page { next = "it:a" })
        engine:advance(1)
        land(engine, flight(engine, 1)[1], answer)
        assert.equal(1, told(engine, "trouble")[1].in_a_row)
      end)
    end

    it("tries again after a timeout or an answer that cannot be read", function()
      local engine = engine_with {}
      local request = reading.reading(engine)
      for i, answer in ipairs {
        { body = "" }, { body = "<html>" }, { body = "{}" },
        { body = '{"Records":[{"Data":"====","SequenceNumber":"1"}]}' },
        { body = '{"Records":[{"Data":"YQ=="}]}' }, { body = page({ next = "x", { "1" } }).body:sub(1, -2) },
        { body = page({ next = ("x"):rep(2000) }).body },
      } do
        engine:advance(land(engine, request, answer))
        request = flight(engine, 1)[1]
        local trouble = told(engine, "trouble")[1]
        assert.same({ "BadAnswer", i, false }, { trouble.failure.code, trouble.in_a_row, trouble.fatal })
      end
      engine:fail(request, { timed_out = true })
      engine:step()
      assert.equal("Timeout", told(engine, "trouble")[1].failure.code)
      assert.same({}, told(engine, "page"))
    end)

    it("that is fatal stops all shards, and posts nothing more", function()
      local engine = engine_with {}
      read(engine, { "a", "b", "c" })
      serve(engine, 0, service(function(shard)
        return shard == "c" and page { next = "it:c", { "1" } } or nil
      end))
      local requests = flight(engine, 2)
      engine:messages()
      land(engine, requests[1], stepping.error "AccessDeniedException")
      local trouble = told(engine, "trouble")[1]
      assert.same({ "AccessDeniedException", true, 1 }, { trouble.failure.code, trouble.fatal, trouble.in_a_row })
      land(engine, requests[2], page { next = "it:b", { "2" } })
      engine:advance(1000)
      flight(engine, 0)
      assert.same({}, engine:messages())
    end)

    it("does not change the retry quota of direct calls", function()
      local engine = engine_with { max_attempts = 2 }
      engine:call("ListStreams", "{}")
      stepping.refuse(engine, BROKEN)
      stepping.refuse(engine, BROKEN)
      assert.equal(486, engine:counts().quota)
      read(engine, { "a" })
      local count = 0
      serve(engine, 60, service(function()
        count = count + 1
        return count % 2 == 0 and page { next = "it:a" } or BROKEN
      end))
      assert.is_true(count > 20)
      assert.equal(486, engine:counts().quota)
    end)

    it("does not treat an error as clock skew when the call was signed with the service's time", function()
      local engine = engine_with {}
      local date = stepping.http_date(NEW_YEAR + 300)
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], { body = "{}", date = date })
      land(engine, reading.reading(engine), stepping.error("AccessDeniedException", 400, { date = date }))
      local trouble = told(engine, "trouble")[1]
      assert.same({ "AccessDeniedException", true }, { trouble.failure.code, trouble.fatal })
    end)

    it("posts a bounded number of errors while Lua does not drain", function()
      local engine = engine_with {}
      land(engine, reading.reading(engine), page { next = "it:a" })
      serve(engine, 86400, function()
        return BROKEN
      end)
      assert.is_true(#told(engine, "trouble") < 100)
    end)
  end)
end)
