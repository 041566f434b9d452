-- Many shards read side by side: when each is asked, in which order, and what stops it. On a clock that
-- stands still; the service is the spec.
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local member, page, serve = stepping.member, stepping.page, stepping.serve
local BROKEN, THROTTLED, NEW_YEAR = stepping.BROKEN, stepping.THROTTLED, stepping.NEW_YEAR

local MIB = 1024 * 1024
local EXPIRED = stepping.error "ExpiredIteratorException"

-- A service whose iterators are named after their shards; answer(shard_id, request) is what GetRecords says.
local function service(answer)
  return function(request)
    if request.operation == "GetShardIterator" then
      return stepping.iterator("it:" .. member(request, "ShardId"))
    end
    return answer(member(request, "ShardIterator"):match "^it:(.*)$", request)
  end
end

local function read(engine, shards, options)
  options = options or {}
  options.shards = {}
  for i, shard in ipairs(shards) do
    options.shards[i] = type(shard) == "table" and shard or { id = shard }
  end
  return engine:reader(options)
end

-- Answers the one request in flight, which must be this operation, and gives what comes then.
local function reply(engine, operation, answer)
  local request = flight(engine, 1)[1]
  assert.equal(operation, request.operation)
  land(engine, request, answer)
  return engine:requests()[1]
end

-- A reader of one shard that has its iterator; gives its GetRecords.
local function reading(engine, shard, options)
  local id = read(engine, { shard or "a" }, options)
  local request = reply(engine, "GetShardIterator", stepping.iterator "it:a")
  assert.equal("GetRecords", request.operation)
  return request, id
end

local function ids(messages)
  local list = {}
  for i, message in ipairs(messages) do
    list[i] = message.shard_id
  end
  table.sort(list)
  return table.concat(list, " ")
end

local function asked(engine)
  local list = {}
  engine:step()
  for _, request in ipairs(engine:requests()) do
    list[#list + 1] = member(request, "ShardId") or member(request, "ShardIterator") or request.operation
  end
  table.sort(list)
  return table.concat(list, " ")
end

-- Shortest pause between two numbers that follow each other.
local function shortest(times)
  local least = math.huge
  for i = 2, #times do
    least = math.min(least, times[i] - times[i - 1])
  end
  return least
end

describe("a reader in the engine", function()
  after_each(stepping.close_all)

  it("takes an iterator, then records, and hands them over", function()
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

  it("names an ARN where the operation has one", function()
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

    it("by when a call was sent, not by when it was put into the queue", function()
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

  describe("knows parents from children", function()
    local split = { "p", { id = "c1", parent_id = "p" }, { id = "c2", parent_id = "p" } }

    it("and asks no child of a split before its parent is read", function()
      local engine = engine_with {}
      read(engine, split, { follow = true })
      assert.equal("p", asked(engine))
      reply(engine, "GetShardIterator", stepping.iterator "it:p")
      assert.equal(1, #told(engine, "ready"))
      reply(engine, "GetRecords", page { next = "it:p", behind = 5, { "1" } })
      engine:advance(1)
      assert.equal("it:p", asked(engine))
      reply(engine, "GetRecords", page { { "2" }, children = { { "c1", "p" }, { "c2", "p" } } })
      assert.equal("c1 c2", asked(engine))
      local ends = told(engine, "shard_end")
      assert.equal(1, #ends)
      assert.same({ "p", true, true, 2 }, { ends[1].shard_id, ends[1].closed, ends[1].names_children, ends[1].alive })
      assert.equal(2, #told(engine, "page"))
    end)

    it("hands over a parent's last page before it says that the parent has ended", function()
      local engine = engine_with {}
      local request = reading(engine, "a", { follow = true })
      engine:told()
      land(engine, request, page { { "9" }, children = {} })
      local kinds = {}
      for i, message in ipairs(engine:told()) do
        kinds[i] = message.kind
      end
      assert.same({ "page", "shard_end" }, kinds)
    end)

    it("and starts children that only the answer names, at their beginning", function()
      local engine = engine_with {}
      land(engine, reading(engine, { id = "a", kind = "LATEST" }, { follow = true }),
        page { children = { { "x", "a" }, { "y", "a" } } })
      assert.equal("x y", asked(engine))
      for _, request in ipairs(engine:requests()) do
        assert.equal("TRIM_HORIZON", member(request, "ShardIteratorType"))
      end
      local ended = told(engine, "shard_end")[1]
      assert.same({ true, 2 }, { ended.names_children, ended.alive })
    end)

    it("and starts the child of a merge when both parents are read", function()
      local engine = engine_with {}
      read(engine, { "a", "b" }, { follow = true })
      for _, request in ipairs(flight(engine, 2)) do
        land(engine, request, stepping.iterator("it:" .. member(request, "ShardId")))
      end
      local requests = flight(engine, 2)
      land(engine, requests[1], page { children = { { "c", "a", "b" } } })
      assert.equal(2, told(engine, "shard_end")[1].alive) -- the other parent, and the child
      local left = flight(engine, 1)[1]
      land(engine, left, page { next = member(left, "ShardIterator"), behind = 1, { "1" } })
      engine:advance(1)
      assert.equal(member(left, "ShardIterator"), asked(engine))
      land(engine, engine:requests()[1], page { children = { { "c", "a", "b" } } })
      assert.equal("c", asked(engine))
      assert.equal(1, told(engine, "shard_end")[1].alive)
    end)

    it("and does not wait for a parent that was read before, or that it does not read", function()
      local engine = engine_with {}
      read(engine, {
        { id = "done", kind = "SHARD_END" }, { id = "c", parent_id = "done", adjacent_parent_id = "elsewhere" },
      })
      assert.equal("c", asked(engine))
    end)

    it("and says when an answer did not name them", function()
      local engine = engine_with {}
      land(engine, reading(engine, "a", { follow = true }), page {})
      local ended = told(engine, "shard_end")[1]
      assert.same({ true, false, 0 }, { ended.closed, ended.names_children, ended.alive })
      flight(engine, 0)
    end)

    it("and starts those that it is told of later, once", function()
      local engine = engine_with {}
      local request, id = reading(engine, "a", { follow = true })
      engine:start_shard(id, { id = "c", parent_id = "a" })
      engine:start_shard(id, { id = "c", parent_id = "a" })
      engine:start_shard(id, { id = "a" })
      assert.equal("it:a", asked(engine))
      land(engine, request, page {})
      assert.equal("c", asked(engine))
      assert.equal(1, told(engine, "shard_end")[1].alive)
      engine:start_shard(id, { id = "d", parent_id = "a" })
      assert.equal("c d", asked(engine))
    end)

    it("and leaves them alone when it is not to follow", function()
      local engine = engine_with {}
      land(engine, reading(engine, "a", {}), page { children = { { "x", "a" } } })
      flight(engine, 0)
      local ended = told(engine, "shard_end")[1]
      assert.same({ true, 0 }, { ended.names_children, ended.alive })
    end)

    it("over three generations", function()
      local engine, order = engine_with {}, {}
      local children = { a = { { "b", "a" } }, b = { { "c", "b" } }, c = {} }
      read(engine, { "a" }, { follow = true })
      serve(engine, 10, service(function(shard)
        order[#order + 1] = shard
        return page { children = children[shard], { "1" } }
      end))
      assert.same({ "a", "b", "c" }, order)
      local ends = told(engine, "shard_end")
      assert.same({ 1, 1, 0 }, { ends[1].alive, ends[2].alive, ends[3].alive })
    end)
  end)

  describe("renews an iterator that has expired", function()
    it("behind the last record that it handed over", function()
      local engine = engine_with {}
      land(engine, reading(engine), page { next = "it:a", { "6" }, { "7" } })
      engine:advance(1)
      reply(engine, "GetRecords", EXPIRED)
      engine:advance(1)
      local request = flight(engine, 1)[1]
      assert.same({ "GetShardIterator", "AFTER_SEQUENCE_NUMBER", "7" },
        { request.operation, member(request, "ShardIteratorType"), member(request, "StartingSequenceNumber") })
      assert.same({}, told(engine, "trouble"))
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
        local request = reading(engine, { id = "a", kind = kind, sequence_number = "5", timestamp = 77 })
        local start = told(engine, "ready")[1].start
        land(engine, request, page { next = "it:a" })
        engine:advance(400)
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

    it("no faster than five times a second, however often it happens", function()
      local engine, count = engine_with {}, 0
      read(engine, { "a" })
      serve(engine, 0, service(function()
        count = count + 1
        return count < 50 and EXPIRED or page { next = "it:a" }
      end))
      assert.is_true(count <= 2, count .. " calls in no time at all")
    end)
  end)

  it("after LATEST goes on behind the first record like any other", function()
    local engine = engine_with {}
    land(engine, reading(engine, { id = "a", kind = "LATEST" }), page { next = "it:a", { "3" } })
    engine:advance(1)
    land(engine, flight(engine, 1)[1], EXPIRED)
    engine:advance(1)
    assert.equal("AFTER_SEQUENCE_NUMBER", member(flight(engine, 1)[1], "ShardIteratorType"))
  end)

  it("does not ask for LATEST once it has said that it is ready", function()
    local engine = engine_with {}
    read(engine, { { id = "p", kind = "AFTER_SEQUENCE_NUMBER", sequence_number = "5" },
      { id = "c", parent_id = "p", kind = "LATEST" } })
    reply(engine, "GetShardIterator", stepping.iterator "it:p")
    assert.equal(1, #told(engine, "ready"))
    engine:advance(60) -- what was put meanwhile must not be missed
    reply(engine, "GetRecords", page { { "6" } })
    local request = flight(engine, 1)[1] -- behind a parent, a child begins at its beginning
    assert.same({ "c", "TRIM_HORIZON" }, { member(request, "ShardId"), member(request, "ShardIteratorType") })
  end)

  it("tells the start by the service's clock", function()
    local engine = engine_with {}
    engine:call("ListStreams", "{}")
    land(engine, flight(engine, 1)[1], { body = "{}", date = stepping.http_date(NEW_YEAR + 300) })
    read(engine, { { id = "a", kind = "LATEST" } })
    reply(engine, "GetShardIterator", stepping.iterator "i")
    assert.equal(NEW_YEAR + 299, told(engine, "ready")[1].start)
  end)

  it("is ready when the last of the first iterators is taken, and says so once", function()
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

  it("is ready at once when nothing is left to read", function()
    local engine = engine_with {}
    read(engine, { { id = "a", kind = "SHARD_END" } })
    flight(engine, 0)
    assert.equal(1, #told(engine, "ready"))
  end)

  it("takes a shard without an iterator for one that is read", function()
    local engine = engine_with {}
    read(engine, { "a" }, { follow = true })
    land(engine, flight(engine, 1)[1], { body = '{"ShardIterator":null}' })
    local ended = told(engine, "shard_end")[1]
    assert.same({ true, false, 0 }, { ended.closed, ended.names_children, ended.alive })
    flight(engine, 0)
    assert.equal(1, #told(engine, "ready"))
  end)

  describe("after a failure", function()
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
        engine:dice(0.999999)
        local request, rests = reading(engine), {}
        for i = 1, 30 do
          rests[i] = land(engine, request, answer)
          engine:advance(rests[i])
          request = flight(engine, 1)[1]
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

    it("on a timeout or a page of nonsense tries again as well", function()
      local engine = engine_with {}
      local request = reading(engine)
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

    it("that no repetition helps against stops all shards, and tells nothing more", function()
      local engine = engine_with {}
      read(engine, { "a", "b", "c" })
      serve(engine, 0, service(function(shard)
        return shard == "c" and page { next = "it:c", { "1" } } or nil
      end))
      local requests = flight(engine, 2)
      engine:told()
      land(engine, requests[1], stepping.error "ResourceNotFoundException")
      local trouble = told(engine, "trouble")[1]
      assert.same({ "ResourceNotFoundException", true, 1 }, { trouble.failure.code, trouble.fatal, trouble.in_a_row })
      land(engine, requests[2], page { next = "it:b", { "2" } })
      engine:advance(1000)
      flight(engine, 0)
      assert.same({}, engine:told())
    end)

    it("does not touch the quota of direct calls, nor fill it", function()
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

    it("does not take a refusal for clock skew that was signed with the service's own time", function()
      local engine = engine_with {}
      local date = stepping.http_date(NEW_YEAR + 300)
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], { body = "{}", date = date })
      land(engine, reading(engine), stepping.error("AccessDeniedException", 400, { date = date }))
      local trouble = told(engine, "trouble")[1]
      assert.same({ "AccessDeniedException", true }, { trouble.failure.code, trouble.fatal })
    end)

    it("does not pile up what it has to tell while nobody listens", function()
      local engine = engine_with {}
      land(engine, reading(engine), page { next = "it:a" })
      serve(engine, 86400, function()
        return BROKEN
      end)
      assert.is_true(#told(engine, "trouble") < 100)
    end)
  end)

  describe("keeps to its window", function()
    -- n shards that have their iterators; gives their GetRecords, as many as the window lets through.
    local function begin(engine, n, window, through)
      local names = {}
      for i = 1, n do
        names[i] = "s" .. i
      end
      local id = read(engine, names, { window = window })
      for _, request in ipairs(flight(engine, n)) do
        engine:answer(request, stepping.iterator("it:" .. member(request, "ShardId")))
      end
      return flight(engine, through), id
    end

    it("and reserves 1 MiB for each page, before it asks", function()
      local engine = engine_with {}
      begin(engine, 4, 2 * MIB, 2)
      engine:advance(100)
      flight(engine, 2)
    end)

    it("and lets one page through, however small it is", function()
      local engine = engine_with {}
      begin(engine, 3, 1, 1)
    end)

    it("and goes on when an empty page brings it to low water", function()
      local engine = engine_with {}
      local requests = begin(engine, 4, 4 * MIB, 4)
      for i = 1, 4 do
        engine:answer(requests[i], page { next = "n" .. i, behind = 1 })
      end
      engine:step()
      engine:advance(0.2)
      flight(engine, 4)
    end)

    it("and asks nothing more above it, but everything that waited once Lua is through", function()
      local engine = engine_with {}
      local requests = begin(engine, 4, 2 * MIB, 2)
      local data = ("A"):rep(MIB - 4)
      land(engine, requests[1], page { next = "n1", behind = 1, { "1", data } })
      land(engine, requests[2], page { next = "n2", behind = 1, { "1", data } })
      engine:advance(10)
      flight(engine, 0) -- pages that nobody has read fill it
      assert.equal(2, #told(engine, "page"))
      engine:step()
      flight(engine, 0)
      assert.equal(2, engine:give_back())
      engine:step()
      local before = engine:counts().started
      flight(engine, 2) -- low water came with the last: now the two that waited longest
      engine:advance(10)
      flight(engine, 2)
      assert.equal(before, engine:counts().started)
    end)

    it("and resumes at half of it, once", function()
      local engine = engine_with {}
      local requests = begin(engine, 16, 8 * MIB, 8)
      local data = ("A"):rep(943720) -- nine tenths of a MiB
      for i = 1, 8 do
        land(engine, requests[i], page { next = "n" .. i, { "1", data } })
      end
      engine:told()
      local first = engine:counts().started -- what fitted beside pages smaller than thought
      local function more()
        engine:step()
        return engine:counts().started - first
      end
      assert.equal(2, engine:give_back(2))
      assert.equal(0, more())
      assert.equal(1, engine:give_back(1)) -- 5 of these pages are still above half
      assert.equal(0, more())
      assert.equal(1, engine:give_back(1))
      local resumed = more()
      assert.equal(4, resumed)
      assert.equal(resumed, more())
    end)

    it("and reserves for the next page what the last one took, from 64 KiB up", function()
      local engine = engine_with {}
      local served = {}
      read(engine, { "a", "b", "c", "d", "e", "f", "g", "h" }, { window = MIB })
      serve(engine, 30, service(function(shard)
        served[shard] = true
        return page { next = "it:" .. shard, { "1" } }
      end), true)
      engine:advance(1)
      for shard = ("a"):byte(), ("h"):byte() do
        assert.is_true(served[string.char(shard)])
      end
      flight(engine, 8) -- eight times 64 KiB fit where one page of unknown size did
    end)

    it("and gives each shard its turn", function()
      local engine, turns = engine_with {}, {}
      local data = ("A"):rep(MIB)
      read(engine, { "a", "b", "c", "d", "e", "f", "g", "h" }, { window = 2 * MIB })
      serve(engine, 15, service(function(shard)
        turns[shard] = (turns[shard] or 0) + 1
        return page { next = "it:" .. shard, behind = 1000, { "1", data } }
      end), true)
      local least, most = math.huge, 0
      for shard = ("a"):byte(), ("h"):byte() do
        local count = turns[string.char(shard)] or 0
        least, most = math.min(least, count), math.max(most, count)
      end
      assert.is_true(least > 0 and most <= 2 * least + 2, ("one shard had %d turns, another %d"):format(least, most))
    end)

    it("and gives each shard its turn, also when Lua is slower than they are", function()
      local engine, turns, names = engine_with {}, {}, {}
      local data = ("A"):rep(MIB / 2)
      for i = 1, 8 do
        names[i], turns["s" .. i] = "s" .. i, 0
      end
      read(engine, names, { window = 2 * MIB })
      for _ = 1, 40 do
        serve(engine, 1, service(function(shard)
          turns[shard] = turns[shard] + 1
          return page { next = "it:" .. shard, behind = 1000, { "1", data } }
        end))
        engine:told()
        engine:give_back()
      end
      local least, most = math.huge, 0
      for _, count in pairs(turns) do
        least, most = math.min(least, count), math.max(most, count)
      end
      assert.is_true(least > 0 and most <= 2 * least + 2, ("one shard had %d turns, another %d"):format(least, most))
    end)

    it("and gives back what a failed call had reserved", function()
      local engine = engine_with {}
      local requests = begin(engine, 2, MIB, 1)
      for _ = 1, 10 do
        local shard = member(requests[1], "ShardIterator")
        engine:fail(requests[1], {})
        engine:step()
        requests = engine:requests()
        assert.equal(1, #requests)
        assert.not_equal(shard, member(requests[1], "ShardIterator"))
        engine:advance(20)
      end
    end)
  end)

  describe("that stops at the tip", function()
    local function answer(given)
      local engine = engine_with {}
      land(engine, reading(engine, "a", { stop_at_tip = true, follow = true }), page(given))
      engine:advance(10)
      engine:step()
      return engine, told(engine, "shard_end")[1]
    end

    it("is done with a shard that has nothing more and says it is 0 ms behind", function()
      local engine, ended = answer { next = "it:a" }
      assert.same({ "a", false, 0 }, { ended.shard_id, ended.closed, ended.alive })
      flight(engine, 0)
    end)

    it("asks once more behind a page with records: the shard may be closed, and have children", function()
      local engine, ended = answer { next = "it:a", { "1" } }
      assert.is_nil(ended)
      land(engine, flight(engine, 1)[1], page { children = { { "b", "a" } } })
      engine:step()
      assert.is_true(told(engine, "shard_end")[1].closed)
      assert.equal("b", asked(engine))
    end)

    it("reads on while it is behind", function()
      local engine, ended = answer { next = "it:a", behind = 1, { "1" } }
      assert.is_nil(ended)
      flight(engine, 1)
    end)

    it("is done with a record that is newer than the start", function()
      local engine, ended = answer { next = "it:a", behind = 5, { "1" }, { "2", nil, NEW_YEAR + 0.5 } }
      assert.is_false(ended.closed)
      flight(engine, 0)
    end)

    it("reads on behind a record of the very start", function()
      local engine, ended = answer { next = "it:a", behind = 5, { "1", nil, NEW_YEAR } }
      assert.is_nil(ended)
      flight(engine, 1)
    end)

    it("goes on with the children of a shard that has ended", function()
      local engine, ended = answer { behind = 0, { "1" }, children = { { "b", "a" } } }
      assert.same({ true, 1 }, { ended.closed, ended.alive })
      assert.equal("b", asked(engine))
    end)

    it("comes to an end though a closed parent says that it is 0 ms behind before it ends", function()
      local engine = engine_with {}
      read(engine, { "p", { id = "c", parent_id = "p" } }, { stop_at_tip = true, follow = true })
      local rounds = 0
      serve(engine, 30, service(function(shard)
        rounds = rounds + 1
        local reads_on = shard == "c" or rounds == 1
        return page { next = reads_on and "it:" .. shard or nil, children = shard == "p" and {} or nil }
      end))
      local ends = told(engine, "shard_end")
      assert.equal("c p", ids(ends))
      assert.equal(0, ends[#ends].alive)
    end)
  end)

  describe("that is removed", function()
    it("takes its calls along and is not heard again", function()
      local engine = engine_with {}
      local id = read(engine, { "a", "b", "c" })
      serve(engine, 0, service(function(shard)
        return shard == "a" and page { next = "it:a", { "1" } } or nil
      end))
      assert.equal(1, #told(engine, "page"))
      engine:told()
      flight(engine, 2)
      engine:cancel(id)
      assert.is_nil(engine:step())
      flight(engine, 0)
      assert.equal(2, engine:counts().cancelled)
      assert.equal(1, engine:give_back())
      engine:start_shard(id, { id = "late" })
      engine:advance(100)
      flight(engine, 0)
      assert.same({}, engine:told())
    end)

    it("leaves other readers and calls alone", function()
      local engine = engine_with {}
      local id = read(engine, { "a" })
      read(engine, { "b" })
      engine:call("ListStreams", "{}")
      flight(engine, 3)
      engine:cancel(id)
      assert.equal("ListStreams b", asked(engine))
    end)

    it("takes its queued and resting calls along", function()
      local engine = engine_with { max_connections = 1 }
      local id = read(engine, { "a", "b", "c" })
      land(engine, flight(engine, 1)[1], BROKEN)
      engine:cancel(id)
      assert.is_nil(engine:step())
      engine:advance(100)
      flight(engine, 0)
    end)
  end)

  it("of a thousand shards keeps to the connections, and serves every one", function()
    local engine = engine_with { max_connections = 24 }
    local names, pages = {}, {}
    for i = 1, 1000 do
      names[i] = "shard-" .. i
    end
    read(engine, names)
    flight(engine, 24)
    serve(engine, 4, service(function(shard)
      pages[shard] = (pages[shard] or 0) + 1
      return page { next = "it:" .. shard, { tostring(pages[shard]) } }
    end), true)
    assert.is_true(engine:counts().most <= 24, engine:counts().most .. " in flight")
    for _, name in ipairs(names) do
      assert.is_true((pages[name] or 0) >= 2, ("%s was asked %d times"):format(name, pages[name] or 0))
    end
  end)
end)
