-- Which shards a reader reads, and in which order: parents before children, what one sign says confirmed by the list
-- of shards. With a fake clock; the spec answers as the service.
-- Flavours: *lua5.4
local reading = require "support.reading"
local stepped = require "stepped"
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local member, page, serve = stepping.member, stepping.page, stepping.serve
local service, read, reply, asked, list = reading.service, reading.read, reading.reply, reading.asked, reading.list
local ids = reading.ids

local GONE = stepping.error "ResourceNotFoundException"

-- A page of an open shard without records.
local function tip(shard)
  return page { next = "it:" .. shard }
end

describe("a reader in the engine", function()
  after_each(stepping.close_all)

  describe("reads parents before children", function()
    local split = { "p", { id = "c1", parent_id = "p" }, { id = "c2", parent_id = "p" } }

    it("and starts no child of a split before its parent is read", function()
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
      assert.same({ "p", true, 2 }, { ends[1].shard_id, ends[1].closed, ends[1].alive })
      assert.equal(2, #told(engine, "page"))
    end)

    it("and posts a parent's last page, and its children, before the parent's end", function()
      local engine = engine_with {}
      local request = reading.reading(engine, "a", { follow = true })
      engine:messages()
      land(engine, request, page { { "9" }, children = { { "b", "a" } } })
      local kinds = {}
      for _, message in ipairs(engine:messages()) do
        kinds[message.kind] = #kinds + 1
        kinds[#kinds + 1] = message.kind
      end
      assert.same({ page = 2, shard_added = 1, shard_end = 3, "shard_added", "page", "shard_end" }, kinds)
    end)

    it("and starts children that only the answer names, at TRIM_HORIZON", function()
      local engine = engine_with {}
      land(engine, reading.reading(engine, { id = "a", kind = "LATEST" }, { follow = true }),
        page { children = { { "x", "a" }, { "y", "a" } } })
      assert.equal("x y", asked(engine))
      for _, request in ipairs(engine:requests()) do
        assert.equal("TRIM_HORIZON", member(request, "ShardIteratorType"))
      end
      local ended = told(engine, "shard_end")[1]
      assert.same({ true, 2 }, { ended.closed, ended.alive })
      assert.equal("x y", ids(told(engine, "shard_added")))
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

    it("and does not start them without the option follow", function()
      local engine = engine_with {}
      land(engine, reading.reading(engine, "a", {}), page { children = { { "x", "a" } } })
      flight(engine, 0)
      local ended = told(engine, "shard_end")[1]
      assert.same({ true, 0 }, { ended.closed, ended.alive })
      assert.equal(1, #told(engine, "all_read"))
    end)

    it("over three generations", function()
      local engine, order = engine_with {}, {}
      local children = { a = { { "b", "a" } }, b = { { "c", "b" } } }
      read(engine, { "a" }, { follow = true })
      serve(engine, 10, service(function(shard)
        order[#order + 1] = shard
        return page { next = not children[shard] and "it:c" or nil, children = children[shard], { "1" } }
      end))
      assert.equal("a b c c", table.concat(order, " ", 1, 4))
      local ends = told(engine, "shard_end")
      assert.same({ 1, 1 }, { ends[1].alive, ends[2].alive })
    end)

    it("and does so at a cost that grows as the number of shards", function()
      local visits, shards = stepped.lineage_visits(1000)
      assert.equal(2000, shards)
      assert.is_true(visits / 1000 < 15, visits .. " visits")
      local more = stepped.lineage_visits(8000)
      assert.is_true(more < 9 * visits, ("%d visits, and %d for eight times the shards"):format(visits, more))
    end)

    it("and reports parents that form a circle, and breaks it at one place", function()
      local engine, order = engine_with {}, {}
      read(engine, {
        { id = "a", parent_id = "c" }, { id = "b", parent_id = "a" }, { id = "c", parent_id = "b" },
        { id = "self", parent_id = "self" }, { id = "behind", parent_id = "b" },
      }, { follow = true })
      serve(engine, 1, service(function(shard)
        order[#order + 1] = shard
        return page { next = shard == "behind" and "it:behind" or nil, children = { { "behind", "b", "self" } } }
      end))
      local troubles = told(engine, "trouble")
      assert.same({ "noted", "noted" }, { troubles[1].level, troubles[2].level })
      assert.matches("circle", troubles[1].failure.message)
      local seen = {}
      for i, shard in ipairs(order) do
        seen[shard] = seen[shard] or i
      end
      assert.is_true(seen.a < 5 and seen.b < 5 and seen.c < 5 and seen.self < 5 and seen.b < seen.behind)
    end)

    it("and reports a circle that an answer closes", function()
      local engine = engine_with {}
      read(engine, { "p", "busy", { id = "q", parent_id = "busy" } }, { follow = true })
      serve(engine, 1, service(function(shard)
        if shard == "p" then
          return page { children = { { "c", "p", "c" } } }
        end
        return tip(shard)
      end))
      assert.matches("circle", told(engine, "trouble")[1].failure.message)
      assert.matches("c", asked(engine) .. ids(told(engine, "shard_added")))
    end)
  end)

  -- 0 was split into 2 and 3, 1 into 4 and 5; then 3 and 4 were merged into 6.
  describe("that hears of a parent of which it does not know", function()
    -- Reads 2 and 3 while 1 is behind; 3 ends and names 6. Returns what was asked for, in order.
    local function merge(lists)
      local engine, order, n = engine_with {}, {}, 0
      read(engine, { "1", "2", "3" }, { follow = true })
      local pages = { ["3"] = page { { "30" }, children = { { "6", "3", "4" } } },
        ["1"] = page { next = "it:1", behind = 5000, { "10" } } }
      serve(engine, 4, service(function(shard)
        order[#order + 1] = shard
        return pages[shard] or tip(shard)
      end, function()
        n = n + 1
        return lists[math.min(n, #lists)]
      end))
      return engine, order, pages
    end

    local function position(order, shard)
      for i, other in ipairs(order) do
        if other == shard then
          return i
        end
      end
    end

    local WHOLE = list { { "1", closed = true }, { "2", "0" }, { "3", "0", closed = true }, { "4", "1" }, { "5", "1" },
      { "6", "3", "4" } }

    it("asks for the list, and reads the parent first when the list names it", function()
      local engine, order, pages = merge { WHOLE }
      assert.is_nil(position(order, "6"))
      assert.is_nil(position(order, "4"))
      pages["1"] = page { children = { { "4", "1" }, { "5", "1" } }, { "11" } }
      pages["4"] = page { children = { { "6", "3", "4" } }, { "40" } }
      serve(engine, 5, service(function(shard)
        order[#order + 1] = shard
        return pages[shard] or tip(shard)
      end))
      assert.is_true(position(order, "4") < position(order, "6"))
    end)

    it("starts the child when the list names that, and not the parent", function()
      local _, order = merge { list { { "1" }, { "2" }, { "3", closed = true }, { "6", "3", "4" } } }
      assert.truthy(position(order, "6"))
    end)

    it("asks again when the list names neither: it is late", function()
      local _, order = merge { list { { "1" }, { "2" }, { "3" } }, list { { "1" }, { "2" }, { "3" } }, WHOLE }
      assert.is_nil(position(order, "6"))
    end)

    it("reports it after five seconds, and starts the child", function()
      local engine, order = merge { list { { "1" }, { "2" }, { "3" } } }
      assert.is_nil(position(order, "6"))
      serve(engine, 6, service(function(shard)
        order[#order + 1] = shard
        return tip(shard)
      end, function()
        return list { { "1" }, { "2" }, { "3" } }
      end))
      assert.truthy(position(order, "6"))
      local trouble = told(engine, "trouble")[1]
      assert.same({ "6", "noted" }, { trouble.shard_id, trouble.level })
    end)
  end)

  describe("that gets a page without an iterator", function()
    local function ending(shards, options)
      local engine = engine_with {}
      options = options or { follow = true }
      read(engine, shards, options)
      for _, request in ipairs(flight(engine, #shards)) do
        land(engine, request, stepping.iterator("it:" .. member(request, "ShardId")))
      end
      return engine
    end

    it("and no children goes on behind its last record when the list calls the shard open", function()
      for _, closed in ipairs { false, true } do
        local engine = ending { "a" }
        reply(engine, "GetRecords", page { { "7" } })
        assert.equal(0, #told(engine, "shard_end"))
        reply(engine, "ListShards", list { { "a", closed = closed } })
        engine:advance(1)
        local request = flight(engine, 1)[1]
        assert.same({ "GetShardIterator", "AFTER_SEQUENCE_NUMBER", "7" },
          { request.operation, member(request, "ShardIteratorType"), member(request, "StartingSequenceNumber") })
        land(engine, request, stepping.iterator "it:a")
        engine:advance(1)
        assert.equal(0, #told(engine, "shard_end"))
        land(engine, flight(engine, 1)[1], page {})
        assert.equal(closed and 1 or 0, #told(engine, "shard_end")) -- it was closed after the first page, or before
      end
    end)

    it("needs a list that was asked for after it", function()
      local engine = ending { "a", "b" }
      local requests = flight(engine, 2)
      land(engine, requests[1], page {})
      local listing = engine:requests()[2]
      assert.equal("ListShards", listing.operation)
      land(engine, requests[2], page {})
      land(engine, listing, list { { "a" }, { "b", closed = true }, { "c", "a", "b" } })
      assert.equal(0, #told(engine, "shard_end"))
      engine:advance(1)
      assert.matches("ListShards", asked(engine)) -- for b
    end)

    it("ends when the list names a shard no more that it named before", function()
      local engine = ending { "a", "b" }
      for _, request in ipairs(flight(engine, 2)) do
        land(engine, request, member(request, "ShardIterator") == "it:a" and page { { "7" } } or tip "b")
      end
      land(engine, engine:requests()[1], list { { "b" } })
      assert.equal("a", ids(told(engine, "shard_end")))
    end)

    it("does not end when no list has named the shard yet", function()
      local engine = engine_with {}
      read(engine, { "a" }, { follow = true })
      local pages = { a = page { children = { { "b", "a" } } }, b = page { { "1" } } }
      serve(engine, 3, service(function(shard)
        return pages[shard]
      end, function()
        return list { { "a" } }
      end))
      assert.equal("a", ids(told(engine, "shard_end")))
      pages.b = tip "b"
      serve(engine, 5, service(function(shard)
        return pages[shard]
      end))
      assert.equal(0, #told(engine, "shard_end"))
    end)

    it("reports it from the third in a row", function()
      local engine = engine_with {}
      read(engine, { "a" }, { follow = true })
      serve(engine, 4, service(function()
        return page {}
      end, function()
        return list { { "a" } }
      end))
      local troubles = told(engine, "trouble")
      assert.same({ "quiet", "quiet", "retried" }, { troubles[1].level, troubles[2].level, troubles[3].level })
      assert.equal(3, troubles[3].in_a_row)
    end)

    it("treats a missing first iterator in the same way", function()
      for _, closed in ipairs { false, true } do
        local engine = engine_with {}
        read(engine, { "a" }, { follow = true })
        reply(engine, "GetShardIterator", { body = '{"ShardIterator":null}' })
        reply(engine, "ListShards", list { { "a", closed = closed }, { "b", closed and "a" or nil } })
        engine:advance(1)
        assert.equal(closed and "a" or "a b", asked(engine))
        assert.equal(0, #told(engine, "ready"))
        if closed then
          reply(engine, "GetShardIterator", { body = "{}" })
          assert.equal("a", ids(told(engine, "shard_end")))
          assert.equal("b", asked(engine))
          assert.equal(1, #told(engine, "ready"))
        end
      end
    end)

    it("does not ask when the first list called the shard closed", function()
      local engine = ending { { id = "a", closed = true }, { id = "b", parent_id = "elsewhere" } }
      for _, request in ipairs(flight(engine, 2)) do
        if member(request, "ShardIterator") == "it:a" then
          land(engine, request, page { { "7" } })
        end
      end
      assert.equal("a", ids(told(engine, "shard_end")))
    end)

    it("asks for a single shard, too", function()
      local engine = ending({ "a" }, {})
      reply(engine, "GetRecords", page {})
      reply(engine, "ListShards", list { { "a" }, { "b" } })
      assert.equal(0, #told(engine, "shard_end"))
      engine:advance(1)
      assert.equal("a", asked(engine))
    end)
  end)

  describe("that looks for the children of a shard", function()
    it("rests between the lists until they are there", function()
      local engine, times = engine_with {}, {}
      read(engine, { "a" }, { follow = true })
      serve(engine, 30, service(function(shard)
        return shard == "a" and page {} or tip(shard)
      end, function(request)
        times[#times + 1] = request.at
        return list { { "a", closed = true }, #times > 8 and { "b", "a" } or nil }
      end))
      assert.equal("b", ids(told(engine, "shard_added")))
      assert.equal(9, #times)
      assert.is_true(reading.shortest(times) > 0.2, "a rest of " .. reading.shortest(times))
      assert.equal(0, #told(engine, "all_read"))
    end)

    it("reports it once, after a minute, and goes on", function()
      local engine, count = engine_with {}, 0
      read(engine, { "a" }, { follow = true })
      local answers = service(function()
        return page {}
      end, function()
        count = count + 1
        return list { { "a", closed = true } }
      end)
      serve(engine, 50, answers)
      assert.equal(0, #told(engine, "trouble"))
      serve(engine, 100, answers)
      local troubles = told(engine, "trouble")
      assert.same({ 1, "a", "noted" }, { #troubles, troubles[1].shard_id, troubles[1].level })
      assert.is_true(count < 40, count .. " lists")
      assert.equal(0, #told(engine, "all_read"))
    end)

    it("looks for those of a shard that was read before, too", function()
      local engine = engine_with {}
      read(engine, { { id = "a", kind = "SHARD_END" } }, { follow = true })
      reply(engine, "ListShards", list { { "a" }, { "b", "a" } })
      assert.equal("b", asked(engine))
    end)

    it("but ends when a position leaves out an open shard", function()
      local engine = engine_with {}
      read(engine, { { id = "a", kind = "SHARD_END" } }, { follow = true })
      serve(engine, 5, service(nil, function()
        return list { { "a" } }
      end))
      assert.equal(1, #told(engine, "all_read"))
    end)
  end)

  describe("whose position names a shard that the list does not", function()
    it("reads on in it at once when it had begun it", function()
      local engine = engine_with {}
      read(engine, { "a", { id = "b", unlisted = true, kind = "AFTER_SEQUENCE_NUMBER", sequence_number = "5" } },
        { follow = true })
      assert.equal("a b", asked(engine))
    end)

    it("waits with one that it had not begun until its parents are known", function()
      local engine, late, order = engine_with {}, true, {}
      read(engine, { "a", { id = "c", unlisted = true, kind = "TRIM_HORIZON" }, { id = "z", kind = "SHARD_END" } },
        { follow = true })
      local pages = { a = page { next = "it:a", { "1" } } }
      local answers = service(function(shard)
        order[#order + 1] = shard
        return pages[shard] or tip(shard)
      end, function()
        return late and list { { "a" } } or list { { "a" }, { "c", "a", "z" } }
      end)
      serve(engine, 3, answers)
      assert.is_nil(table.concat(order):find "c")
      late = false
      serve(engine, 10, answers)
      assert.is_nil(table.concat(order):find "c")
      pages.a = page { children = { { "c", "a", "z" } } }
      serve(engine, 3, answers)
      assert.truthy(table.concat(order):find "c")
    end)

    it("passes over one that was trimmed, and reports it unless it was read before", function()
      for kind, level in pairs { AFTER_SEQUENCE_NUMBER = "noted", TRIM_HORIZON = "noted", SHARD_END = false } do
        local engine = engine_with {}
        read(engine, { { id = "child", parent_id = "old" },
          { id = "old", unlisted = true, kind = kind, sequence_number = "5" } }, { follow = true })
        serve(engine, kind == "TRIM_HORIZON" and 9 or 0, function(request)
          if request.operation == "ListShards" then
            return list { { "child", "old" } }
          elseif member(request, "ShardId") == "old" then
            return GONE
          end
          return request.operation == "GetShardIterator" and stepping.iterator "it" or nil
        end)
        local ended = told(engine, "shard_end")[1]
        assert.same({ "old", true, true }, { ended.shard_id, ended.closed, ended.trimmed })
        local trouble = told(engine, "trouble")[1]
        assert.equal(level, trouble and trouble.level or false)
        assert.equal(level and "Trimmed", trouble and trouble.failure.code or false)
        assert.equal("it", asked(engine))
      end
    end)

    it("needs one list for many that were trimmed", function()
      local engine, shards, lists = engine_with {}, { "a" }, 0
      for i = 1, 300 do
        shards[i + 1] = { id = "old" .. i, unlisted = true, kind = "SHARD_END" }
      end
      read(engine, shards, { follow = true })
      serve(engine, 5, function(request)
        lists = lists + (request.operation == "ListShards" and 1 or 0)
        if request.operation == "GetShardIterator" and member(request, "ShardId") ~= "a" then
          return GONE
        end
        return service(tip, function()
          return list { { "a" } }
        end)(request)
      end)
      assert.equal(300, #told(engine, "shard_end"))
      assert.is_true(lists <= 2, lists .. " lists")
    end)

    it("waits a little for one that it had not begun, which may be new", function()
      local engine = engine_with {}
      read(engine, { { id = "new", unlisted = true, kind = "TRIM_HORIZON" } }, { follow = true })
      serve(engine, 4, function(request)
        return request.operation == "ListShards" and list {} or GONE
      end)
      assert.same({}, told(engine, "shard_end"))
      serve(engine, 4, service(tip, function()
        return list { { "new" } }
      end))
      assert.equal(0, #told(engine, "shard_end"))
      engine:advance(1)
      assert.equal("it:new", asked(engine))
    end)

    it("does not say of an open one that it leaves out that it was read", function()
      local engine = engine_with {}
      read(engine, { { id = "out", kind = "SHARD_END" }, "a" }, { follow = true })
      serve(engine, 90, service(tip, function()
        return list { { "out" }, { "a" } }
      end))
      local troubles = told(engine, "trouble")
      assert.equal(1, #troubles)
      assert.matches("^the position leaves this shard out", troubles[1].failure.message)
    end)

    it("keeps as read one that the service still has", function()
      local engine = engine_with {}
      read(engine, { { id = "old", unlisted = true, kind = "SHARD_END" }, "a" }, { follow = true })
      serve(engine, 3, service(tip, function()
        return list { { "a" } }
      end))
      local ended = told(engine, "shard_end")[1]
      assert.same({ "old", true, false }, { ended.shard_id, ended.closed, ended.trimmed })
    end)
  end)

  describe("that is told that a shard does not exist", function()
    local function lose(listed, shard)
      local engine = engine_with {}
      read(engine, { "a", shard or "b" }, { follow = true })
      for _, request in ipairs(flight(engine, 2)) do
        land(engine, request, member(request, "ShardId") == "b" and GONE or stepping.iterator "it:a")
      end
      for _, request in ipairs(flight(engine, 2)) do
        if request.operation == "ListShards" then
          land(engine, request, listed)
        end
      end
      return engine
    end

    it("goes on without it when the list does not name it", function()
      local engine = lose(list { { "a" } })
      local trouble, ended = told(engine, "trouble")[1], told(engine, "shard_end")[1]
      assert.same({ "b", "noted" }, { trouble.shard_id, trouble.level })
      assert.same({ "b", true, true, 1 }, { ended.shard_id, ended.closed, ended.trimmed, ended.alive })
      assert.equal("it:a", asked(engine))
      assert.equal(1, #told(engine, "ready"))
    end)

    it("says so of each, however many there are", function()
      local engine, shards = engine_with {}, { "a" }
      for i = 1, 100 do
        shards[#shards + 1] = "gone" .. i
      end
      read(engine, shards, { follow = true })
      serve(engine, 3, function(request)
        if (member(request, "ShardId") or ""):match "^gone" then
          return GONE
        end
        return service(tip, function()
          return list { { "a" } }
        end)(request)
      end)
      local noted = {}
      for _, message in ipairs(engine:messages()) do
        if message.kind == "trouble" and message.level == "noted" then
          noted[#noted + 1] = message.shard_id
        end
      end
      assert.equal(100, #noted)
    end)

    it("raises when the stream does not exist", function()
      local engine = lose(GONE)
      local trouble = told(engine, "trouble")[1]
      assert.same({ "ResourceNotFoundException", "ListShards", true },
        { trouble.failure.code, trouble.failure.operation, trouble.fatal })
    end)

    it("tries again while the list names it", function()
      local engine = lose(list { { "a" }, { "b" } })
      assert.equal(0, #told(engine, "shard_end"))
      engine:advance(1)
      assert.equal("b it:a", asked(engine))
    end)

    it("raises, and names it, when the list names it and a saved sequence number is unknown", function()
      local engine = engine_with {}
      read(engine, { { id = "b", kind = "AFTER_SEQUENCE_NUMBER", sequence_number = "77" } }, { follow = true })
      serve(engine, 30, function(request)
        return request.operation == "ListShards" and list { { "b" } } or GONE
      end)
      local troubles = told(engine, "trouble")
      local last = troubles[#troubles]
      assert.same({ 3, true }, { #troubles, last.fatal })
      assert.matches("b or its sequence number 77", last.failure.message)
      assert.matches("deleted and made again", last.failure.message)
    end)

    it("does not raise when two other failures come before the only one that says so", function()
      local engine = engine_with {}
      local request = reading.reading(engine, "b", { follow = true })
      engine:advance(land(engine, request, page { next = "it:b", { "7" } }))
      local answers = { stepping.BROKEN, stepping.BROKEN, GONE, list { { "b" } }, stepping.iterator "it:b",
        page { next = "it:b", { "8" } } }
      for _, answer in ipairs(answers) do
        engine:advance(land(engine, flight(engine, 1)[1], answer) or 0)
      end
      local troubles = told(engine, "trouble")
      assert.same({ 3, false, "ResourceNotFoundException" },
        { #troubles, troubles[3].fatal, troubles[3].failure.code })
      assert.equal(2, #told(engine, "page"))
    end)

    it("waits for a child that neither knows yet", function()
      local engine, known = engine_with {}, false
      read(engine, { "a" }, { follow = true })
      local function answers(request)
        if request.operation == "ListShards" then
          return list { { "a" } }
        elseif request.operation == "GetShardIterator" and member(request, "ShardId") == "b" and not known then
          return GONE
        end
        return service(function(shard)
          return shard == "a" and page { children = { { "b", "a" } } } or tip(shard)
        end)(request)
      end
      serve(engine, 20, answers)
      assert.equal("a", ids(told(engine, "shard_end")))
      known = true
      serve(engine, 20, answers)
      assert.same({}, told(engine, "shard_end"))
      assert.same({}, told(engine, "all_read"))
    end)
  end)

  it("names the shard whose saved sequence number is refused", function()
    local engine = engine_with {}
    read(engine, { { id = "b", kind = "AT_SEQUENCE_NUMBER", sequence_number = "77" } })
    land(engine, flight(engine, 1)[1], stepping.error "InvalidArgumentException")
    local trouble = told(engine, "trouble")[1]
    assert.same({ "InvalidArgumentException", true }, { trouble.failure.code, trouble.fatal })
    assert.matches("77 in b: the stream was probably deleted and made again", trouble.failure.message)
  end)

  describe("that lists the shards", function()
    local function listing()
      local engine = engine_with {}
      land(engine, reading.reading(engine, "a", { follow = true }), page { { "7" } })
      return engine
    end

    it("follows its pages, without the stream's name", function()
      local engine = listing()
      local request = flight(engine, 1)[1]
      assert.equal('{"StreamName":"s"}', request.body)
      reply(engine, "ListShards", list { { "a", closed = true }, token = "two" })
      assert.equal('{"NextToken":"two"}', flight(engine, 1)[1].body)
      reply(engine, "ListShards", list { { "b", "a" } })
      assert.equal("b", ids(told(engine, "shard_added")))
    end)

    it("begins again when the token has expired", function()
      local engine = listing()
      reply(engine, "ListShards", list { { "a", closed = true }, token = "two" })
      reply(engine, "ListShards", stepping.error "ExpiredNextTokenException")
      engine:advance(1)
      assert.equal('{"StreamName":"s"}', flight(engine, 1)[1].body)
      assert.is_false(told(engine, "trouble")[1].fatal)
    end)

    local DENIED = stepping.error "AccessDeniedException"

    -- Shard b is read on, while the service refuses the list that a needs.
    local function refused(refusal)
      local engine = engine_with {}
      read(engine, { "a", "b" }, { follow = true })
      local pages = { a = 0, b = 0 }
      serve(engine, 2, service(function(shard)
        pages[shard] = pages[shard] + 1
        return shard == "a" and page {} or tip(shard)
      end, function()
        return refusal
      end))
      return engine, told(engine, "trouble"), pages
    end

    it("reads on what needs no list while the service refuses it", function()
      local engine, troubles, pages = refused(DENIED)
      assert.is_true(#troubles > 1)
      for i, trouble in ipairs(troubles) do
        assert.same({ "AccessDeniedException", "", i, false },
          { trouble.failure.code, trouble.shard_id, trouble.in_a_row, trouble.fatal })
      end
      assert.is_true(pages.b > 2)
      assert.equal(1, pages.a)
      serve(engine, 60, service(tip, function()
        return list { { "a", closed = true }, { "b" }, { "c", "a" } }
      end))
      assert.equal("c", ids(told(engine, "shard_added")))
    end)

    it("raises the refusal when nothing is left that needs no list", function()
      local engine = refused(DENIED)
      serve(engine, 60, service(function(shard)
        return shard == "b" and page { children = { { "b1", "b" }, { "b2", "b" } } } or page {}
      end, function()
        return DENIED
      end))
      local troubles = told(engine, "trouble")
      local last = troubles[#troubles]
      assert.same({ "AccessDeniedException", true }, { last.failure.code, last.fatal })
      flight(engine, 0)
    end)

    it("raises at once that the stream is gone", function()
      local _, troubles = refused(GONE)
      assert.equal(1, #troubles)
      assert.same({ "ResourceNotFoundException", true }, { troubles[1].failure.code, troubles[1].fatal })
    end)

    it("asks for a page again after a transient error, and raises a fatal one", function()
      local engine = listing()
      reply(engine, "ListShards", list { { "a" }, token = "two" })
      reply(engine, "ListShards", stepping.BROKEN)
      engine:advance(1)
      assert.equal('{"NextToken":"two"}', flight(engine, 1)[1].body)
      reply(engine, "ListShards", stepping.error "AccessDeniedException")
      local troubles = told(engine, "trouble")
      assert.same({ false, true }, { troubles[1].fatal, troubles[2].fatal })
      flight(engine, 0)
    end)

    for what, token in pairs { ["a token that was given before"] = 3, ["pages that bring nothing new"] = 1e9 } do
      it("does not follow for ever " .. what, function()
        local engine, count = listing(), 0
        serve(engine, 0, service(nil, function()
          count = count + 1
          return list { { "a" }, token = "t" .. count % token }
        end))
        local trouble = told(engine, "trouble")[1]
        assert.same({ "BadAnswer", false }, { trouble.failure.code, trouble.fatal })
        assert.matches("no end", trouble.failure.message)
        assert.is_true(count <= 60, count .. " pages")
      end)
    end
  end)
end)
