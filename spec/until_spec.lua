-- Readers with until_timestamp: where each shard ends. With a fake clock, the spec answers as the service; then with
-- real services.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local reading = require "support.reading"
local stepping = require "support.stepping"

local engine_with, flight, told = stepping.engine, stepping.flight, stepping.told
local NEW_YEAR, page, serve = stepping.NEW_YEAR, stepping.page, stepping.serve
local ids, list, read, service = reading.ids, reading.list, reading.read, reading.service

local UNTIL = NEW_YEAR - 1000

-- A page of records by their arrival, in seconds after UNTIL.
local function arrived(times, more)
  local answer = { next = "it:a" }
  for i, time in ipairs(times) do
    answer[i] = { tostring(i), nil, UNTIL + time }
  end
  for name, value in pairs(more or {}) do
    answer[name] = value
  end
  return page(answer)
end

local function numbers(pages)
  local found = {}
  for _, each in ipairs(pages) do
    for _, record in ipairs(each.records) do
      found[#found + 1] = each.shard_id .. record.sequence_number
    end
  end
  return table.concat(found, " ")
end

local function read_until(shards, options)
  local engine = engine_with {}
  options = options or {}
  options["until"] = options["until"] or UNTIL
  if options.follow == nil then
    options.follow = true
  end
  read(engine, shards, options)
  return engine
end

-- A service of shards {id, parent, other parent, closed=}: each answers its pages in turn, and the last one for ever.
local function serve_shards(engine, seconds, shards, pages)
  local asked = {}
  local lists = 0
  serve(engine, seconds, service(function(id)
    asked[id] = (asked[id] or 0) + 1
    return pages[id][math.min(asked[id], #pages[id])](id)
  end, function()
    lists = lists + 1
    return list(shards)
  end), false)
  return asked, lists
end

local function silent(behind)
  return function(id)
    return page { next = "it:" .. id, behind = behind }
  end
end

describe("a reader with until_timestamp", function()
  after_each(stepping.close_all)

  it("ends a shard before its first later record, which is not handed over", function()
    local engine = read_until { "a" }
    reading.reply(engine, "GetShardIterator", stepping.iterator "it:a")
    reading.reply(engine, "GetRecords", arrived({ -1, 0, 0.001, 5 }, { behind = 10 }))
    assert.equal("a1 a2", numbers(told(engine, "page")))
    local ended = told(engine, "shard_end")[1]
    assert.same({ "a", false, 0 }, { ended.shard_id, ended.closed, ended.alive })
    assert.equal(1, #told(engine, "all_read"))
    flight(engine, 0)
  end)

  it("hands over nothing of a shard that begins later, nor reads its children", function()
    local engine = read_until { "a" }
    reading.reply(engine, "GetShardIterator", stepping.iterator "it:a")
    local answer = arrived({ 1, -1 }, { children = { { "b", "a" } } })
    answer.body = answer.body:gsub('"NextShardIterator":"it:a"', '"NextShardIterator":null')
    reading.reply(engine, "GetRecords", answer)
    assert.equal(0, #told(engine, "page"))
    assert.equal(0, #told(engine, "shard_added"))
    assert.equal(1, #told(engine, "all_read"))
    flight(engine, 0)
  end)

  it("ends a shard when two pages and a list say that it is read past that time", function()
    local engine = read_until { "a" }
    local asked, lists = serve_shards(engine, 5, { { "a" } }, {
      a = { function() return arrived({ -5 }, { behind = 500000 }) end, silent(500000) },
    })
    assert.same({ 2, 1 }, { asked.a, lists })
    assert.equal("a1", numbers(told(engine, "page")))
    assert.is_false(told(engine, "shard_end")[1].closed)
    assert.equal(1, #told(engine, "all_read"))
  end)

  it("reads on while a page is not past that time by a second", function()
    local engine = read_until { "a" }
    local asked = serve_shards(engine, 5, { { "a" } }, { a = { silent(1e6 + 10000) } })
    assert.is_true(asked.a > 20)
    assert.equal(0, #told(engine, "shard_end"))
  end)

  it("is not ended by large pages that are 0 ms behind: some services say so of every page", function()
    local times = {}
    for i = 1, 1000 do
      times[i] = -2000 + i
    end
    local engine = read_until { "a" }
    local asked = serve_shards(engine, 3, { { "a" } }, { a = { function() return arrived(times) end } })
    assert.is_true(asked.a > 2)
    assert.equal(0, #told(engine, "shard_end"))
  end)

  it("is not ended by full pages of page_limit records that say so", function()
    local engine = read_until({ "a" }, { page_limit = 3 })
    local asked = serve_shards(engine, 3, { { "a" } }, { a = { function() return arrived { -9, -8, -7 } end } })
    assert.is_true(asked.a > 2)
    assert.equal(0, #told(engine, "shard_end"))
  end)

  it("asks again as soon as that time has passed, however long poll_interval is", function()
    local engine = read_until({ "a" }, { ["until"] = NEW_YEAR + 100, poll_interval = 300 })
    local asked = serve_shards(engine, 110, { { "a" } }, { a = { silent(0) } })
    assert.equal(3, asked.a)
    assert.equal(1, #told(engine, "all_read"))
  end)

  it("counts how far an answer is behind from when it was asked for, however late it comes", function()
    local engine = read_until({ "a" }, { ["until"] = NEW_YEAR + 50 })
    local request = reading.reply(engine, "GetShardIterator", stepping.iterator "it:a")
    for _, behind in ipairs { 20000, 60000 } do
      engine:advance(100)
      stepping.land(engine, request, page { next = "it:a", behind = behind, { "1", nil, NEW_YEAR - 1 } })
      engine:advance(0.2)
      request = flight(engine, 1)[1]
      assert.equal("GetRecords", request.operation)
    end
  end)

  it("is ended by one later record behind such pages", function()
    local engine = read_until { "a" }
    serve_shards(engine, 3, { { "a" } },
      { a = { function() return arrived { -3 } end, function() return arrived { -2, 2 } end } })
    assert.equal("a1 a1", numbers(told(engine, "page")))
    assert.equal(1, #told(engine, "all_read"))
  end)

  it("reads a shard that was closed before to its end, and its children", function()
    for _, known in ipairs { true, false } do
      local engine = read_until { { id = "a", closed = known }, { id = "b", parent_id = "a" } }
      local asked = serve_shards(engine, 5, { { "a", closed = true }, { "b", "a" } }, {
        a = { function() return arrived { -9 } end, silent(0), silent(0), silent(0),
          function() return page { children = { { "b", "a" } } } end },
        b = { function() return page { next = "it:b", { "7", nil, UNTIL - 1 }, { "8", nil, UNTIL + 1 } } end },
      })
      assert.equal("a1 b7", numbers(told(engine, "page")))
      assert.equal(1, asked.b)
      assert.equal(1, #told(engine, "all_read"))
    end
  end)

  it("learns from the list that a shard has ended before, and looks for its children", function()
    local engine = read_until { "a" }
    local asked = serve_shards(engine, 5, { { "a", closed = true }, { "b", "a" } }, {
      a = { function() return arrived { -9 } end, silent(0), silent(0), function() return page {} end },
      b = { function() return page { next = "it:b", { "7", nil, UNTIL - 1 }, { "8", nil, UNTIL + 1 } } end },
    })
    assert.equal("a1 b7", numbers(told(engine, "page")))
    assert.same({ 3, 1 }, { asked.a, asked.b }) -- the last page of a closed one needs no iterator
    assert.equal(1, #told(engine, "all_read"))
  end)

  it("does not read the descendants of a shard that it has not read to its end", function()
    local shards = { { id = "p", closed = true }, { id = "q", closed = true }, { id = "m", parent_id = "p",
      adjacent_parent_id = "q", closed = true }, { id = "x", parent_id = "m" }, { id = "y", parent_id = "m" } }
    for _, late in ipairs { "p", "q" } do -- the other parent is read to its end, before or after
      local engine = read_until(shards)
      local function early(id)
        return page { children = { { "m", "p", "q" } }, { id == "p" and "1" or "2", nil, UNTIL - 1 } }
      end
      local function later(id)
        return page { next = "it:" .. id, { "3", nil, UNTIL + 1 } }
      end
      local asked = serve_shards(engine, 5, {}, {
        p = { silent(5000), late == "p" and later or early }, q = { late == "q" and later or early },
        m = { later }, x = { later }, y = { later },
      })
      assert.same({ 2, 1 }, { asked.p, asked.q })
      assert.is_nil(asked.m or asked.x or asked.y)
      assert.equal("m p q x y", ids(told(engine, "shard_end")))
      assert.equal(1, #told(engine, "all_read"))
    end
  end)

  it("waits for a time in the future, and ends though no record comes", function()
    local engine = read_until({ "a" }, { ["until"] = NEW_YEAR + 30 })
    serve_shards(engine, 30, { { "a" } }, { a = { silent(0) } })
    assert.equal(0, #told(engine, "shard_end"))
    serve_shards(engine, 4, { { "a" } }, { a = { silent(0) } })
    assert.is_false(told(engine, "shard_end")[1].closed)
    assert.equal(1, #told(engine, "all_read"))
  end)

  it("goes by the clock of the service", function()
    local engine = read_until({ "a" }, { ["until"] = NEW_YEAR + 3600 })
    serve(engine, 5, service(function()
      local answer = page { next = "it:a" }
      answer.date = stepping.http_date(NEW_YEAR + 7200)
      return answer
    end, function()
      return list { { "a" } }
    end))
    assert.equal(1, #told(engine, "all_read"))
  end)

  it("asks for no list to end a single shard", function()
    local engine = read_until({ "a" }, { follow = false })
    local _, lists = serve_shards(engine, 5, {}, { a = { silent(0) } })
    assert.equal(0, lists)
    assert.equal(1, #told(engine, "all_read"))
  end)
end)

for _, real in ipairs(fresh.services) do
  describe("until_timestamp with " .. real.name, function()
    local client

    setup(function()
      client = fresh.client(real)
    end)

    teardown(function()
      client:close()
    end)

    it("reads what arrived until then, of shards that were split before and after, and position() goes on", function()
      local stream = fresh.stream(client, 2)
      local function split(id, key)
        assert(client:call("SplitShard", { StreamName = stream, ShardToSplit = "shardId-00000000000" .. id,
          NewStartingHashKey = key }))
        fresh.active(client, stream)
      end
      fresh.put_numbers(client, stream, 1, 40)
      split(0, "85070591730234615865843651857942052864")
      fresh.put_numbers(client, stream, 41, 80)
      local newest = 0
      for _, record in ipairs(fresh.read(client, stream)) do
        newest = math.max(newest, record.arrival_timestamp)
      end
      fresh.eventually(function()
        return os.time() > newest + 0.01
      end)
      fresh.put_numbers(client, stream, 81, 120)
      split(1, "255211775190703847597530955573826158592")
      fresh.put_numbers(client, stream, 121, 160)
      local seen = {}
      local function note(reader, first, last)
        for record in reader do
          local number = tonumber(record.data)
          assert.is_true(number >= first and number <= last, record.data)
          assert.is_nil(seen[number])
          seen[number] = true
        end
      end
      local reasons = {}
      local reader = client:shards(stream):records { from = "-1h", until_timestamp = newest, poll_interval = 0.2,
        on_shard_end = function(id, reason)
          reasons[tonumber(id:match "%d+$")] = reason
        end }
      note(reader, 1, 80)
      for i = 1, 80 do
        assert.is_true(seen[i], i)
      end
      -- shard 0 was split before; the children of shard 1 begin later
      assert.same({ [0] = "closed", "until", "until", "until", "until", "until" }, reasons)
      local position = cjson.decode(cjson.encode(reader:position()))
      note(client:shards(stream):records { from = position, limit = 80 }, 81, 160)
      for i = 81, 160 do
        assert.is_true(seen[i], i)
      end
    end)

    it("ends soon on a silent stream, before the first record, and after a time that is waited for", function()
      local stream = fresh.stream(client, 1)
      client:put(stream, "x", "k")
      local records = client:shards(stream):records { until_timestamp = "-1h" }
      assert.is_nil(records())
      assert.equal("trim_horizon", records:position().shards["shardId-000000000000"])
      local count = 0
      for _ in client:shards(stream):records { until_timestamp = os.time() + 1, poll_interval = 0.2 } do
        count = count + 1
      end
      assert.equal(1, count)
    end)
  end)
end

describe("until_timestamp", function()
  it("keeps or cuts an aggregate whole, and goes together with the other ends", function()
    local client = fresh.client(fresh.services[2])
    local stream = fresh.stream(client, 1)
    local function put(first)
      local records = {}
      for i = first, first + 4 do
        records[#records + 1] = { data = tostring(i), partition_key = "k" }
      end
      assert(client:put(stream, kinesis.aggregate(records), "k"))
    end
    put(1)
    local first = fresh.read(client, stream)[1].arrival_timestamp
    fresh.eventually(function()
      return client.core:time() > first + 0.01
    end)
    put(6)
    local function count(options)
      return #fresh.read(client, stream, options)
    end
    local later = client.core:time() + 3600
    assert.equal(5, count { until_timestamp = first, stop_at_tip = false })
    assert.equal(3, count { until_timestamp = first, stop_at_tip = false, limit = 3 })
    assert.equal(10, count { until_timestamp = later })
    assert.equal(0, count { until_timestamp = 0, stop_at_tip = false })
    assert.equal(10, count { until_timestamp = later, stop_at_tip = false, idle_timeout = 0.3 })
    client:close()
  end)

  it("is refused where it is no time, or `from` is later", function()
    local client = fresh.client(fresh.services[2])
    local shards = client:shards((fresh.stream(client, 1)))
    local refused = fresh.complaint(function() shards:records { until_timestamp = "2026-11-27T12:00:00" } end)
    assert.matches("'until_timestamp' of records", refused, 1, true)
    assert.matches("add Z for UTC", refused, 1, true)
    refused = fresh.complaint(function() shards:records { from = "-1h", until_timestamp = "-2h" } end)
    assert.matches("`from` (-1h) is later than `until_timestamp` (-2h)", refused, 1, true)
    refused = fresh.complaint(function() shards:records { from = { timestamp = 9 }, until_timestamp = 8 } end)
    assert.matches("`from` (9) is later than `until_timestamp` (8)", refused, 1, true)
    refused = fresh.complaint(function() shards:records { from = "latest", until_timestamp = "-1s" } end)
    assert.matches("`from` (latest) is later than `until_timestamp` (-1s)", refused, 1, true)
    client:close()
  end)
end)
