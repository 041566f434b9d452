-- What commands do to the shards of a reader, in whatever state they are. With a fake clock; the spec answers as the
-- service.
-- Flavours: *lua5.4
local reading = require "support.reading"
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local member, page, serve = stepping.member, stepping.page, stepping.serve
local service, read, asked, ids = reading.service, reading.read, reading.asked, reading.ids

local MIB = 1024 * 1024

local function after(sequence_number)
  return { kind = "AFTER_SEQUENCE_NUMBER", sequence_number = sequence_number }
end

-- A list of commands: {"pause", "a", position, ended=}, …
local function list(commands)
  local shards = { whole = commands.whole }
  for i, command in ipairs(commands) do
    local shard = { command = command[1], id = command[2], ended = command.ended }
    for name, value in pairs(command[3] or {}) do
      shard[name] = value
    end
    shards[i] = shard
  end
  return shards
end

-- Sends commands, and returns the message with which they came back.
local function command(engine, id, number, commands)
  engine:command(id, number, list(commands))
  engine:step()
  local applied = told(engine, "applied")
  assert.equal(1, #applied)
  return applied[1]
end

-- How a request begins its shard: type, and number if there is one.
local function beginning(request)
  assert.equal("GetShardIterator", request.operation)
  return member(request, "ShardIteratorType"), member(request, "StartingSequenceNumber")
end

local function seqs(pages)
  local all = {}
  for _, each in ipairs(pages) do
    for _, record in ipairs(each.records) do
      all[#all + 1] = record.sequence_number
    end
  end
  return table.concat(all, " ")
end

describe("a command to a reader", function()
  after_each(stepping.close_all)

  describe("discards the answer of a call that is in flight,", function()
    it("and reads on from the position of a pause when that is over", function()
      local engine = engine_with {}
      local request, id = reading.reading(engine)
      assert.same({ "a" }, command(engine, id, 1, { { "pause", "a", after "7" } }).moved)
      flight(engine, 1) -- it is not cancelled
      assert.equal(0, engine:counts().cancelled)
      land(engine, request, page { next = "it:a", { "8" } })
      assert.same({}, told(engine, "page"))
      engine:advance(1000)
      flight(engine, 0)
      command(engine, id, 2, { { "resume", "a" } })
      assert.same({ "AFTER_SEQUENCE_NUMBER", "7" }, { beginning(flight(engine, 1)[1]) })
    end)

    it("though the shard is resumed before that answer", function()
      local engine = engine_with {}
      local request, id = reading.reading(engine)
      command(engine, id, 1, { { "pause", "a", after "7" } })
      command(engine, id, 2, { { "resume", "a" } })
      assert.equal(request.id, flight(engine, 1)[1].id)
      land(engine, request, page { next = "it:a", { "8" } })
      assert.same({}, told(engine, "page"))
      engine:advance(1)
      assert.same({ "AFTER_SEQUENCE_NUMBER", "7" }, { beginning(flight(engine, 1)[1]) })
    end)

    it("of a seek, twice in a row", function()
      local engine = engine_with {}
      local request, id = reading.reading(engine)
      command(engine, id, 1, { { "seek", "a", after "7" } })
      command(engine, id, 2, { { "seek", "a", after "3" } })
      land(engine, request, stepping.BROKEN)
      assert.same({}, told(engine, "trouble"))
      engine:advance(1)
      assert.same({ "AFTER_SEQUENCE_NUMBER", "3" }, { beginning(flight(engine, 1)[1]) })
    end)

    it("and gives its bytes back", function()
      local engine = engine_with {}
      local id = read(engine, { "a", "b" }, { window = 1 })
      for _, request in ipairs(flight(engine, 2)) do
        engine:answer(request, stepping.iterator("it:" .. member(request, "ShardId")))
      end
      local request = flight(engine, 1)[1]
      local first = member(request, "ShardIterator"):match ":(.)"
      command(engine, id, 1, { { "pause", first, after "7" } })
      flight(engine, 1) -- the bytes belong to the call as long as it lasts
      land(engine, request, page { next = "x", { "8", ("A"):rep(MIB) } })
      assert.not_equal(first, member(flight(engine, 1)[1], "ShardIterator"):match ":(.)")
    end)

    it("which waits for credentials", function()
      local engine = engine_with { keyless = true }
      engine:credentials("FIRST", "secret", "token")
      local request, id = reading.reading(engine)
      land(engine, request, stepping.error "ExpiredTokenException") -- it is sent again with other credentials
      assert.equal(1, stepping.wanted(engine))
      engine:credentials_failed "the vault is sealed"
      flight(engine, 0)
      assert.equal(1, #told(engine, "trouble"))
      command(engine, id, 1, { { "pause", "a", after "7" } })
      engine:advance(30)
      engine:step()
      engine:credentials_failed "the vault is sealed"
      flight(engine, 0)
      assert.same({}, told(engine, "trouble")) -- nothing waits for it
      command(engine, id, 2, { { "resume", "a" } })
      engine:advance(30)
      engine:step()
      engine:credentials_failed "the vault is sealed"
      flight(engine, 0)
      assert.equal(1, #told(engine, "trouble"))
      engine:credentials("SECOND", "secret", "token")
      request = flight(engine, 1)[1]
      assert.equal("GetRecords", request.operation)
      land(engine, request, page { next = "it:a", { "2" } })
      engine:advance(1)
      assert.same({ "AFTER_SEQUENCE_NUMBER", "7" }, { beginning(flight(engine, 1)[1]) })
    end)
  end)

  describe("moves a shard", function()
    it("that rests", function()
      local engine = engine_with {}
      local request, id = reading.reading(engine)
      land(engine, request, page { next = "it:a", { "1" } })
      flight(engine, 0)
      command(engine, id, 1, { { "seek", "a", { kind = "AT_TIMESTAMP", timestamp = 5 } } })
      engine:advance(1)
      request = flight(engine, 1)[1]
      assert.equal("AT_TIMESTAMP", (beginning(request)))
      assert.matches('"Timestamp":5', request.body, 1, true)
    end)

    it("that is blocked, and the others behind it get their turn", function()
      local engine = engine_with {}
      local id = read(engine, { "a", "b", "c", "d" }, { window = 1 })
      for _, request in ipairs(flight(engine, 4)) do
        engine:answer(request, stepping.iterator("it:" .. member(request, "ShardId")))
      end
      local request = flight(engine, 1)[1]
      local first = member(request, "ShardIterator")
      command(engine, id, 1, { { "pause", "a", after "1" }, { "pause", "c", after "1" } })
      local seen = {}
      serve(engine, 20, service(function(shard)
        seen[shard] = (seen[shard] or 0) + 1
        return page { next = "it:" .. shard, { "9" } }
      end), true)
      assert.is_true(seen.b > 1 and seen.d > 1)
      assert.is_true((seen.a or 0) + (seen.c or 0) <= (first:find "[ac]" and 1 or 0))
      command(engine, id, 2, { { "resume", "a" }, { "resume", "c" } })
      serve(engine, 20, service(function(shard)
        seen[shard] = (seen[shard] or 0) + 1
        return page { next = "it:" .. shard, { "9" } }
      end), true)
      assert.is_true(seen.a > 1 and seen.c > 1)
    end)

    it("that asks whether it has ended, and the question is void", function()
      local engine = engine_with {}
      local request, id = reading.reading(engine, "a", { follow = true })
      land(engine, request, page {}) -- no iterator, no children
      request = flight(engine, 1)[1]
      assert.equal("ListShards", request.operation)
      command(engine, id, 1, { { "pause", "a", after "7" } })
      land(engine, request, reading.list { { "a", closed = true } })
      engine:advance(100)
      flight(engine, 0)
      assert.same({}, told(engine, "shard_end"))
      command(engine, id, 2, { { "resume", "a" } })
      request = flight(engine, 1)[1]
      assert.same({ "AFTER_SEQUENCE_NUMBER", "7" }, { beginning(request) })
      land(engine, request, stepping.iterator "it:a")
      land(engine, flight(engine, 1)[1], page {})
      assert.equal("a", ids(told(engine, "shard_end")))
    end)

    it("that the service does not know, and asks again when it is resumed", function()
      local engine = engine_with {}
      local request, id = reading.reading(engine, "a", { follow = true })
      land(engine, request, stepping.error "ResourceNotFoundException")
      assert.equal("ListShards", asked(engine))
      command(engine, id, 1, { { "pause", "a", after "7" } })
      land(engine, flight(engine, 1)[1], reading.list { { "b" } })
      engine:step()
      assert.same({}, told(engine, "shard_end"))
      command(engine, id, 2, { { "resume", "a" } })
      engine:advance(1)
      engine:step()
      for _, one in ipairs(engine:requests()) do
        if one.operation == "GetShardIterator" and member(one, "ShardId") == "a" then
          return
        end
      end
      error "it is not asked for"
    end)

    it("that waits for its parent, which it begins there", function()
      local engine = engine_with {}
      local id = read(engine, { "p", { id = "c", parent_id = "p" } }, { follow = true })
      command(engine, id, 1, { { "seek", "c", after "7" } })
      assert.equal("p", asked(engine))
      serve(engine, 2, service(function(shard)
        return shard == "p" and page { children = { { "c", "p" } } } or nil
      end))
      assert.equal("it:c", asked(engine))
      command(engine, id, 2, { { "seek", "c", after "8" } })
      assert.same({ "c", "p" }, { ids(told(engine, "shard_added")) .. "c", ids(told(engine, "shard_end")) })
    end)

    it("to its end, and lets its children begin", function()
      local engine = engine_with {}
      local id = read(engine, { "p", { id = "c", parent_id = "p" } }, { follow = true })
      land(engine, flight(engine, 1)[1], stepping.iterator "it:p")
      local applied = command(engine, id, 1, { { "seek", "p", { kind = "SHARD_END" } } })
      assert.same({ "p" }, applied.moved)
      assert.equal("p", ids(told(engine, "shard_end"))) -- posted behind the command
      assert.equal("c it:p", asked(engine))
    end)
  end)
end)

describe("shards that are moved to their end", function()
  after_each(stepping.close_all)

  local END = { kind = "SHARD_END" }

  it("end once, and the others are read on", function()
    local engine = engine_with {}
    local id = read(engine, { "a", "b", "c" })
    land(engine, flight(engine, 3)[1], stepping.iterator "it:a")
    for _, request in ipairs(engine:requests()) do
      if request.operation == "GetShardIterator" then
        land(engine, request, stepping.iterator("it:" .. member(request, "ShardId")))
      end
    end
    command(engine, id, 1, { { "seek", "a", END }, { "seek", "b", END } })
    engine:step()
    for _, request in ipairs(engine:requests()) do
      land(engine, request, page { next = member(request, "ShardIterator"), { "8" } })
    end
    engine:advance(10)
    local ended = told(engine, "shard_end")
    assert.equal("a b", ids(ended))
    assert.equal(1, ended[2].alive)
    assert.equal("it:c", asked(engine))
    assert.same({}, told(engine, "all_read"))
  end)

  it("stay there when the end of their parent, which was not handed over, is read again", function()
    local engine = engine_with {}
    local shards = { { id = "p", closed = true }, { id = "c", parent_id = "p" }, { id = "d", parent_id = "p" } }
    local id = read(engine, shards, { follow = true })
    serve(engine, 1, service(function(shard)
      local last = page { { "1" }, children = { { "c", "p" }, { "d", "p" } } }
      return shard == "p" and last or page { next = "it:" .. shard }
    end))
    command(engine, id, 1, { { "seek", "c", END }, { "seek", "d", END } })
    assert.same({ "p" }, command(engine, id, 2, { { "seek", "p", after "0" } }).moved)
  end)
end)

describe("a shard that was read to its end", function()
  after_each(stepping.close_all)

  -- p has ended; its child c is read. Returns the engine, the reader, and the requests of c in flight.
  local function ended(options)
    options = options or {}
    options.follow = true
    local engine = engine_with {}
    local id = read(engine, { { id = "p", closed = true }, { id = "c", parent_id = "p" } }, options)
    serve(engine, 1, service(function(shard)
      return shard == "p" and page { { "1" }, children = { { "c", "p" } } } or page { next = "it:c", { "10" } }
    end))
    assert.equal("p", ids(told(engine, "shard_end")))
    told(engine, "page")
    engine:give_back()
    return engine, id
  end

  it("is read again after a seek, while its child goes on", function()
    local engine, id = ended()
    local applied = command(engine, id, 1, { { "seek", "p", { kind = "TRIM_HORIZON" }, ended = true } })
    assert.same({ "p" }, applied.moved)
    local pages = {}
    serve(engine, 3, service(function(shard)
      return shard == "p" and page { { "1" }, children = { { "c", "p" } } } or page { next = "it:c", { "11" } }
    end))
    for _, each in ipairs(told(engine, "page")) do
      pages[#pages + 1] = each.shard_id
    end
    assert.matches("p", table.concat(pages))
    assert.matches("c", table.concat(pages))
    assert.equal("p", ids(told(engine, "shard_end")))
  end)

  it("is read again before its child when that is moved, too", function()
    local engine, id = ended()
    engine:step()
    for _, request in ipairs(engine:requests()) do
      land(engine, request, page { next = "it:c" })
    end
    local horizon = { kind = "TRIM_HORIZON" }
    command(engine, id, 1, { { "seek", "c", horizon }, { "seek", "p", horizon, ended = true } })
    assert.equal("p", asked(engine))
    engine:advance(10)
    assert.equal("p", asked(engine))
    serve(engine, 1, service(function(shard)
      return shard == "p" and page { { "1" }, children = { { "c", "p" } } } or page { next = "it:c", { "10" } }
    end))
    local pages = told(engine, "page")
    assert.same({ "p", "c" }, { pages[1].shard_id, pages[2].shard_id })
  end)

  it("takes its children along when its end has not been handed over", function()
    local engine, id = ended()
    local applied = command(engine, id, 1, { { "pause", "p", after "0" } })
    assert.same({ "c", "p" }, applied.moved)
    engine:step()
    for _, request in ipairs(engine:requests()) do -- void
      land(engine, request, page { next = "it:c", { "11" } })
    end
    engine:advance(100)
    flight(engine, 0)
    command(engine, id, 2, { { "resume", "p" } })
    assert.same({ "AFTER_SEQUENCE_NUMBER", "0" }, { beginning(flight(engine, 1)[1]) })
    serve(engine, 1, service(function(shard)
      return shard == "p" and page { { "1" }, children = { { "c", "p" } } } or page { next = "it:c", { "10" } }
    end))
    local pages = told(engine, "page")
    assert.same({ "p", "c" }, { pages[1].shard_id, pages[2].shard_id })
  end)

  for what, names in pairs { before = { "p", "c" }, after = { "c", "p" } } do
    it(("takes no child along that the same command moves, named %s it"):format(what), function()
      local engine, id = ended { report_starts = true }
      told(engine, "shard_start")
      local places = { p = after "0", c = after "9" }
      local moves = {}
      for i, name in ipairs(names) do
        moves[i] = { "seek", name, places[name] }
      end
      command(engine, id, 1, moves)
      for _, request in ipairs(engine:requests()) do -- void
        if request.operation == "GetRecords" then
          land(engine, request, page { next = "it:c", { "11" } })
        end
      end
      engine:advance(1)
      assert.equal("p", asked(engine))
      local begun
      serve(engine, 3, function(request)
        if request.operation == "GetShardIterator" and member(request, "ShardId") == "c" then
          begun = { beginning(request) }
        end
        return service(function(shard)
          return shard == "p" and page { { "1" }, children = { { "c", "p" } } } or page { next = "it:c", { "10" } }
        end)(request)
      end)
      assert.same({ "AFTER_SEQUENCE_NUMBER", "9" }, begun)
      assert.equal("c", ids(told(engine, "shard_start"))) -- again: of c, nothing had been handed over
    end)

    it(("waits for its turn when both are paused, the parent named %s the child"):format(what), function()
      local engine, id = ended()
      local moves = {}
      for i, name in ipairs(names) do
        moves[i] = { "pause", name, { kind = "TRIM_HORIZON" } }
      end
      command(engine, id, 1, moves)
      for _, request in ipairs(engine:requests()) do -- void
        land(engine, request, page { next = "it:c", { "11" } })
      end
      command(engine, id, 2, { { "resume", "c" } })
      engine:advance(10)
      flight(engine, 0)
      command(engine, id, 3, { { "resume", "p" } })
      assert.equal("p", asked(engine))
    end)
  end

  it("takes along a child, too, that was paused before", function()
    local engine, id = ended()
    assert.same({ "c" }, command(engine, id, 1, { { "pause", "c", { kind = "TRIM_HORIZON" } } }).moved)
    assert.same({ "c", "p" }, command(engine, id, 2, { { "seek", "p", after "0" } }).moved)
    for _, request in ipairs(engine:requests()) do -- void
      if request.operation == "GetRecords" then
        land(engine, request, page { next = "it:c", { "11" } })
      end
    end
    command(engine, id, 3, { { "resume", "c" } })
    engine:advance(10)
    assert.equal("p", asked(engine))
  end)

  it("and its end is read again before those of its children that were not handed over, after a seek back", function()
    local engine, id = ended()
    command(engine, id, 1, { { "seek", "p", { kind = "TRIM_HORIZON" }, ended = true } })
    serve(engine, 3, service(function(shard)
      return shard == "p" and page { { "1" }, children = { { "c", "p" } } } or page { next = "it:c" }
    end))
    assert.equal("p", ids(told(engine, "shard_end")))
    -- c was handed over long ago: it is not read again
    assert.same({ "p" }, command(engine, id, 2, { { "pause", "p", after "0" } }).moved)
  end)

  it("opens the reader again whose end was not handed over", function()
    local engine = engine_with {}
    local id = read(engine, { { id = "a", closed = true } })
    serve(engine, 1, service(function()
      return page { { "1" }, children = { { "b", "a" } } }
    end))
    assert.equal(1, #told(engine, "all_read"))
    assert.is_true(command(engine, id, 1, { { "seek", "a", { kind = "TRIM_HORIZON" } } }).reopened)
    told(engine, "page")
    engine:give_back()
    serve(engine, 1, service(function()
      return page { { "1" }, children = { { "b", "a" } } }
    end))
    assert.equal("1", seqs(told(engine, "page")))
    assert.equal(1, #told(engine, "all_read"))
    -- what is named only, is not read again
    assert.is_true(command(engine, id, 2, { { "pause", "a", ended = true } }).reopened)
    assert.equal(1, #told(engine, "all_read"))
    flight(engine, 0)
  end)
end)

describe("a paused reader", function()
  after_each(stepping.close_all)

  it("makes no call, and keeps its calls in flight", function()
    local engine = engine_with {}
    local request, id = reading.reading(engine)
    command(engine, id, 1, { whole = "pause" })
    assert.equal(1, #told(engine, "paused"))
    land(engine, request, page { next = "it:a", behind = 1, { "8" } })
    assert.equal("8", seqs(told(engine, "page")))
    engine:advance(100)
    flight(engine, 0)
    command(engine, id, 2, { whole = "everything" })
    assert.equal("it:a", member(flight(engine, 1)[1], "ShardIterator"))
  end)

  it("never uses an iterator that may have expired", function()
    local engine = engine_with {}
    local request, id = reading.reading(engine)
    land(engine, request, page { next = "it:a", { "8" } })
    command(engine, id, 1, { whole = "pause" })
    engine:advance(3600)
    command(engine, id, 2, { whole = "everything" })
    assert.same({ "AFTER_SEQUENCE_NUMBER", "8" }, { beginning(flight(engine, 1)[1]) })
    assert.same({}, told(engine, "trouble"))
  end)

  it("does not end while one shard is paused", function()
    local engine = engine_with {}
    local id = read(engine, { "a", "b" }, { stop_at_tip = true })
    command(engine, id, 1, { { "pause", "a", { kind = "TRIM_HORIZON" } } })
    serve(engine, 10, service(function(shard)
      return page { next = "it:" .. shard }
    end))
    assert.equal("b", ids(told(engine, "shard_end")))
    assert.equal(1, #told(engine, "paused"))
    assert.same({}, told(engine, "all_read"))
    command(engine, id, 2, { { "resume", "a" } })
    serve(engine, 10, service(function(shard)
      return page { next = "it:" .. shard }
    end))
    assert.equal("a", ids(told(engine, "shard_end")))
    assert.equal(1, #told(engine, "all_read"))
  end)

  it("waits with the children of a paused shard, and with a paused child", function()
    local engine = engine_with {}
    local id = read(engine, { "p", { id = "c", parent_id = "p" }, { id = "d", parent_id = "p" } }, { follow = true })
    command(engine, id, 1, { { "pause", "c", { kind = "TRIM_HORIZON" } } })
    serve(engine, 2, service(function(shard)
      return shard == "p" and page { children = { { "c", "p" }, { "d", "p" } } } or page { next = "it:" .. shard }
    end))
    assert.not_matches("c", asked(engine))
    command(engine, id, 2, { { "resume", "c" } })
    assert.matches("c", asked(engine))
  end)

  it("keeps LATEST: what comes while it is paused is read", function()
    local engine = engine_with {}
    local id = read(engine, { "a", "b" })
    serve(engine, 1, service(function(shard)
      return page { next = "it:" .. shard }
    end))
    told(engine, "ready")
    command(engine, id, 1, { { "pause", "a", { kind = "TRIM_HORIZON" } } })
    local before = select(2, engine:now())
    command(engine, id, 2, { { "seek", "a", { kind = "LATEST" } }, { "seek", "b", { kind = "LATEST" } } })
    assert.same({}, told(engine, "ready"))
    serve(engine, 1, function(request)
      return request.operation == "GetShardIterator" and stepping.iterator "it:b" or page { next = "it:b" }
    end)
    assert.equal(before - 1, told(engine, "ready")[1].start)
    engine:advance(60)
    command(engine, id, 3, { { "resume", "a" } })
    for _, request in ipairs(engine:requests()) do
      if request.operation == "GetShardIterator" then
        assert.equal("AT_TIMESTAMP", (beginning(request)))
        assert.equal(before - 1, tonumber(request.body:match '"Timestamp":([%d.]+)'))
        return
      end
    end
    error "it is not asked for"
  end)
end)

describe("a reader that is paused as a whole", function()
  after_each(stepping.close_all)

  for what, order in pairs { before = { 1, 2 }, after = { 2, 1 } } do
    it(("%s it is moved to LATEST is ready at once, and takes the time of that"):format(what), function()
      local engine = engine_with {}
      local id = read(engine, { "a", "b" })
      serve(engine, 1, service(function(shard)
        return page { next = "it:" .. shard }
      end))
      told(engine, "ready")
      for _, request in ipairs(engine:requests()) do
        land(engine, request, page { next = member(request, "ShardIterator") })
      end
      local moment = select(2, engine:now())
      local latest = { kind = "LATEST" }
      local commands = { { whole = "pause" }, { { "seek", "a", latest }, { "seek", "b", latest } } }
      for number, which in ipairs(order) do
        engine:command(id, number, list(commands[which]))
      end
      engine:step()
      assert.equal(moment - 1, told(engine, "ready")[1].start)
      assert.equal(2, #told(engine, "applied"))
      flight(engine, 0)
      engine:advance(60)
      command(engine, id, 3, { whole = "everything" })
      for _, request in ipairs(flight(engine, 2)) do
        assert.equal("AT_TIMESTAMP", (beginning(request)))
        assert.equal(moment - 1, tonumber(request.body:match '"Timestamp":([%d.]+)'))
      end
    end)
  end
end)

describe("many commands", function()
  after_each(stepping.close_all)

  it("leave as many bytes in the window as there were", function()
    local engine = engine_with {}
    local names = {}
    for i = 1, 8 do
      names[i] = "s" .. i
    end
    local id = read(engine, names, { window = 2 * MIB })
    local data = ("A"):rep(MIB / 4)
    local function answer(shard)
      return page { next = "it:" .. shard, behind = 1, { "1", data } }
    end
    for number = 1, 100 do
      local shard = "s" .. 1 + number * 5 % 8
      engine:command(id, number, list { { ({ "pause", "seek", "resume" })[1 + number % 3], shard, after "1" } })
      local answered = 0
      serve(engine, 0.1, service(function(name)
        answered = answered + 1
        return answered < 5 and answer(name) or nil
      end), number % 2 == 0)
      engine:messages()
    end
    engine:command(id, 101, { whole = "everything" })
    for _ = 1, 20 do
      serve(engine, 1, service(answer), true)
    end
    told(engine, "page")
    engine:give_back()
    -- eight pages of a known size fit into a window that is empty
    local seen = {}
    serve(engine, 3, service(function(shard)
      seen[shard] = true
      return nil
    end), true)
    local count = 0
    for _ in pairs(seen) do
      count = count + 1
    end
    assert.is_true(count >= 5, count .. " shards are read")
  end)
end)
