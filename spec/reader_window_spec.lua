-- What blocks a reader, and what ends it: its window, the tip, its removal. With a fake clock.
-- Flavours: *lua5.4
local reading = require "support.reading"
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local BROKEN, NEW_YEAR, member, page = stepping.BROKEN, stepping.NEW_YEAR, stepping.member, stepping.page
local serve, service, read, ids, asked = stepping.serve, reading.service, reading.read, reading.ids, reading.asked

local MIB = 1024 * 1024

describe("a reader in the engine", function()
  after_each(stepping.close_all)

  describe("keeps to its window", function()
    -- n shards that have their iterators; returns as many GetRecords as the window has space for.
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

    it("and reserves 1 MiB for each page, before the call", function()
      local engine = engine_with {}
      begin(engine, 4, 2 * MIB, 2)
      engine:advance(100)
      flight(engine, 2)
    end)

    it("and fetches one page, however small the window is", function()
      local engine = engine_with {}
      begin(engine, 3, 1, 1)
    end)

    it("and continues when an empty page brings it to low water", function()
      local engine = engine_with {}
      local requests = begin(engine, 4, 4 * MIB, 4)
      for i = 1, 4 do
        engine:answer(requests[i], page { next = "n" .. i, behind = 1 })
      end
      engine:step()
      engine:advance(0.2)
      flight(engine, 4)
    end)

    it("and calls for nothing while it is full, and for all blocked shards once Lua has read", function()
      local engine = engine_with {}
      local requests = begin(engine, 4, 2 * MIB, 2)
      local data = ("A"):rep(MIB - 4)
      land(engine, requests[1], page { next = "n1", behind = 1, { "1", data } })
      land(engine, requests[2], page { next = "n2", behind = 1, { "1", data } })
      engine:advance(10)
      flight(engine, 0) -- pages that Lua has not read fill it
      assert.equal(2, #told(engine, "page"))
      engine:step()
      flight(engine, 0)
      assert.equal(2, engine:give_back())
      engine:step()
      local before = engine:counts().started
      flight(engine, 2) -- low water was reached with the last page: the two that were blocked first
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
      engine:messages()
      local first = engine:counts().started -- more fit, as the pages were smaller than reserved
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

    it("and reserves half as much for a shard at each empty page, down to 64 KiB", function()
      local engine = engine_with {}
      local names = {}
      for i = 1, 16 do
        names[i] = "s" .. i
      end
      read(engine, names, { window = MIB })
      local most = 0
      serve(engine, 60, service(function(shard)
        most = math.max(most, #engine:requests())
        return page { next = "it:" .. shard }
      end), true)
      assert.equal(16, most) -- sixteen times 64 KiB fit where one page of unknown size did
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

    it("and gives each shard its turn when Lua is slower than the shards", function()
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
        engine:messages()
        engine:give_back()
      end
      local least, most = math.huge, 0
      for _, count in pairs(turns) do
        least, most = math.min(least, count), math.max(most, count)
      end
      assert.is_true(least > 0 and most <= 2 * least + 2, ("one shard had %d turns, another %d"):format(least, most))
    end)

    it("and releases the bytes that a failed call had reserved", function()
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
      land(engine, reading.reading(engine, "a", { stop_at_tip = true, follow = true }), page(given))
      engine:advance(10)
      engine:step()
      return engine, told(engine, "shard_end")[1]
    end

    it("ends a shard at an empty page that is 0 ms behind", function()
      local engine, ended = answer { next = "it:a" }
      assert.same({ "a", false, 0 }, { ended.shard_id, ended.closed, ended.alive })
      flight(engine, 0)
    end)

    it("calls once more after a page with records: the shard may be closed, and have children", function()
      local engine, ended = answer { next = "it:a", { "1" } }
      assert.is_nil(ended)
      land(engine, flight(engine, 1)[1], page { children = { { "b", "a" } } })
      engine:step()
      assert.is_true(told(engine, "shard_end")[1].closed)
      assert.equal("b", asked(engine))
    end)

    it("ends a shard at the second page without records that is less than 1 s behind", function()
      local engine, ended = answer { next = "it:a", behind = 999 }
      assert.is_nil(ended)
      land(engine, flight(engine, 1)[1], page { next = "it:a", behind = 999 })
      assert.is_false(told(engine, "shard_end")[1].closed)
    end)

    it("continues while it is 1 s behind", function()
      local engine = answer { next = "it:a", behind = 1000 }
      for _ = 1, 5 do
        land(engine, flight(engine, 1)[1], page { next = "it:a", behind = 1000 })
        engine:advance(1)
      end
      assert.equal(0, #told(engine, "shard_end"))
    end)

    it("ends a shard at the second small page with records that is 0 ms behind", function()
      local engine, ended = answer { next = "it:a", { "1" } }
      assert.is_nil(ended)
      land(engine, flight(engine, 1)[1], page { next = "it:a", { "2" } })
      assert.is_false(told(engine, "shard_end")[1].closed)
    end)

    it("continues behind full pages of page_limit records that are 0 ms behind", function()
      local engine = engine_with {}
      local request = reading.reading(engine, "a", { stop_at_tip = true, page_limit = 2 })
      for _ = 1, 4 do
        land(engine, request, page { next = "it:a", { "1" }, { "2" } })
        engine:advance(1)
        request = flight(engine, 1)[1]
      end
    end)

    it("continues behind large pages that are 0 ms behind: some services say so of every page", function()
      local engine = engine_with {}
      local records = { next = "it:a" }
      for i = 1, 1000 do
        records[i] = { tostring(i) }
      end
      land(engine, reading.reading(engine, "a", { stop_at_tip = true }), page(records))
      for _ = 1, 3 do
        engine:advance(1)
        land(engine, flight(engine, 1)[1], page(records))
      end
      assert.equal(0, #told(engine, "shard_end"))
    end)

    it("needs a second page where an answer does not say how far behind it is", function()
      local engine = engine_with {}
      local silent = { body = '{"Records":[],"NextShardIterator":"it:a"}' }
      land(engine, reading.reading(engine, "a", { stop_at_tip = true }), silent)
      assert.equal(0, #told(engine, "shard_end"))
      engine:advance(1)
      land(engine, flight(engine, 1)[1], silent)
      assert.equal(1, #told(engine, "shard_end"))
    end)

    it("continues while it is behind", function()
      local engine, ended = answer { next = "it:a", behind = 1, { "1" } }
      assert.is_nil(ended)
      flight(engine, 1)
    end)

    it("ends a shard at a record that is newer than the start", function()
      local engine, ended = answer { next = "it:a", behind = 5, { "1" }, { "2", nil, NEW_YEAR + 0.5 } }
      assert.is_false(ended.closed)
      flight(engine, 0)
    end)

    it("continues after a record of the time of the start", function()
      local engine, ended = answer { next = "it:a", behind = 5, { "1", nil, NEW_YEAR } }
      assert.is_nil(ended)
      flight(engine, 1)
    end)

    it("continues with the children of a shard that has ended", function()
      local engine, ended = answer { behind = 0, { "1" }, children = { { "b", "a" } } }
      assert.same({ true, 1 }, { ended.closed, ended.alive })
      assert.equal("b", asked(engine))
    end)

    it("ends though a closed parent is 0 ms behind before its last page", function()
      local engine = engine_with {}
      read(engine, { "p", { id = "c", parent_id = "p" } }, { stop_at_tip = true, follow = true })
      local rounds = 0
      serve(engine, 30, service(function(shard)
        rounds = rounds + 1
        local reads_on = shard == "c" or rounds == 1
        return page { next = reads_on and "it:" .. shard or nil, children = not reads_on and { { "c", "p" } } or nil }
      end))
      local ends = told(engine, "shard_end")
      assert.equal("c p", ids(ends))
      assert.equal(0, ends[#ends].alive)
    end)
  end)

  describe("of a service that never ends a closed shard", function()
    local function answers(shard)
      return page { next = "it:" .. shard }
    end

    it("reads the children of one that the list calls closed", function()
      for _, stop in ipairs { true, false } do
        local engine = engine_with {}
        read(engine, { { id = "p", closed = true }, { id = "c", parent_id = "p" } },
          { stop_at_tip = stop, follow = true })
        serve(engine, 5, service(answers))
        assert.equal(stop and "c p" or "p", ids(told(engine, "shard_end")))
        assert.equal(stop and 1 or 0, #told(engine, "all_read"))
      end
    end)

    it("reads the children of one that has some, and has been at its tip for five seconds", function()
      local engine = engine_with {}
      read(engine, { "p", { id = "c", parent_id = "p" } }, { stop_at_tip = true, follow = true })
      serve(engine, 4, service(answers))
      assert.equal(0, #told(engine, "shard_end"))
      serve(engine, 4, service(answers))
      assert.equal("c p", ids(told(engine, "shard_end")))
      assert.equal(1, #told(engine, "all_read"))
    end)

    it("ends a single shard", function()
      local engine = engine_with {}
      read(engine, { { id = "p", closed = true } })
      serve(engine, 3, service(answers))
      assert.equal("p", ids(told(engine, "shard_end")))
    end)
  end)

  describe("of a closed shard whose last records come late", function()
    it("reads them, while its empty pages say that it is behind, or do not say", function()
      for _, late in ipairs { page { next = "it:p", behind = 300 },
        { body = '{"Records":[],"NextShardIterator":"it:p"}' } } do
        local engine, pages = engine_with {}, 0
        read(engine, { { id = "p", closed = true } })
        serve(engine, 3, service(function()
          pages = pages + 1
          return pages < 4 and late or page { { "1" }, behind = 0 }
        end))
        assert.equal(4, pages)
        assert.equal(1, #told(engine, "page"))
      end
    end)

    it("ends without them when it says so for ever", function()
      local engine = engine_with {}
      read(engine, { { id = "p", closed = true } })
      serve(engine, 8, service(function()
        return page { next = "it:p", behind = 300 }
      end))
      assert.equal("p", ids(told(engine, "shard_end")))
    end)
  end)

  describe("that is removed", function()
    it("cancels its calls and posts nothing more", function()
      local engine = engine_with {}
      local id = read(engine, { "a", "b", "c" })
      serve(engine, 0, service(function(shard)
        return shard == "a" and page { next = "it:a", { "1" } } or nil
      end))
      assert.equal(1, #told(engine, "page"))
      engine:messages()
      flight(engine, 2)
      engine:cancel(id)
      assert.is_nil(engine:step())
      flight(engine, 0)
      assert.equal(2, engine:counts().cancelled)
      assert.equal(1, engine:give_back())
      engine:advance(100)
      flight(engine, 0)
      assert.same({}, engine:messages())
    end)

    it("does not affect other readers and calls", function()
      local engine = engine_with {}
      local id = read(engine, { "a" })
      read(engine, { "b" })
      engine:call("ListStreams", "{}")
      flight(engine, 3)
      engine:cancel(id)
      assert.equal("ListStreams b", asked(engine))
    end)

    it("cancels its queued and waiting calls", function()
      local engine = engine_with { max_connections = 1 }
      local id = read(engine, { "a", "b", "c" })
      land(engine, flight(engine, 1)[1], BROKEN)
      engine:cancel(id)
      assert.is_nil(engine:step())
      engine:advance(100)
      flight(engine, 0)
    end)
  end)

  it("of a thousand shards stays within max_connections, and reads every one", function()
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
