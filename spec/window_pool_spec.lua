-- Readers that share a window, as those of a worker do. With a fake clock.
-- Flavours: *lua5.4
local reading = require "support.reading"
local stepped = require "stepped"
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local page, service = stepping.page, reading.service

local MIB = 1024 * 1024
local SIZE = 12000
local RECORD = ("A"):rep(SIZE / 3 * 4) -- of so many bytes, in base64

-- The number of records that a request asks for.
local function limit_of(request)
  return tonumber(request.body:match '"Limit":(%d+)}$')
end

-- Of so many records.
local function page_of(shard, count, record)
  local records = { next = "it:" .. shard, behind = 1000 }
  for i = 1, count do
    records[i] = { tostring(i), record }
  end
  return page(records)
end

-- A page that is as large as the request allows.
local function full(shard, request)
  return page_of(shard, limit_of(request), RECORD)
end

local function quiet(shard)
  return page { next = "it:" .. shard }
end

describe("readers that share a window", function()
  local engine, pool, removed
  local taken -- shard -> the records that were taken
  local calls -- shard -> GetRecords
  local held, most -- the bytes that are not given back, and the most that were

  after_each(stepping.close_all)

  -- n readers of one shard each, s01 …
  local function begin(n, bytes, options)
    engine, removed = engine_with(options or { max_connections = 100 }), {}
    pool = stepped.window_pool(bytes)
    taken, calls, held, most = {}, {}, {}, 0
    for i = 1, n do
      removed[i] = reading.read(engine, { ("s%02d"):format(i) }, { window_pool = pool })
    end
  end

  local function sum(counts)
    local all = 0
    for _, count in pairs(counts) do
      all = all + count
    end
    return all
  end

  local function note_pages()
    for _, message in ipairs(told(engine, "page")) do
      local shard = message.shard_id
      taken[shard] = (taken[shard] or 0) + #message.records
      held[shard] = (held[shard] or 0) + message.bytes
    end
    most = math.max(most, sum(held))
  end

  -- Frees all pages that have come, but not those of the shards that `kept` names.
  local function free(kept)
    engine:give_back(nil, kept)
    for shard in pairs(held) do
      held[shard] = kept and kept:find(shard, 1, true) and held[shard] or nil
    end
  end

  -- Lets time pass in small steps. answer(shard, request) as in `service`; take() after each step.
  local function live(seconds, answer, take)
    for _ = 1, seconds * 20 do
      stepping.serve(engine, 0.05, service(function(shard, request)
        calls[shard] = (calls[shard] or 0) + 1
        return answer(shard, request)
      end))
      for _, request in ipairs(engine:requests()) do
        assert.is_falsy(request.paused)
      end
      note_pages()
      take()
    end
  end

  it("let one of 32 be read at the rate of its shard, while the others are quiet", function()
    begin(32, 4 * MIB)
    live(5, function(shard, request)
      return (shard == "s07" and full or quiet)(shard, request)
    end, free)
    local bytes = taken.s07 * SIZE
    assert.is_true(bytes > 0.8 * 2e6 * 5, bytes .. " bytes in 5 seconds")
    assert.is_true(calls.s07 <= 26 and calls.s01 >= 4)
    assert.is_true(most <= 4 * MIB)
  end)

  it("and fetch its next page while one is read", function()
    begin(32, 4 * MIB)
    local waiting = 0
    live(4, function(shard, request)
      return (shard == "s07" and full or quiet)(shard, request)
    end, function()
      waiting = waiting + 1
      if waiting % 8 == 0 then -- a page takes 0.4 s
        engine:give_back(1)
      end
    end)
    assert.is_true(most > 1.2e6, most .. " bytes") -- of two pages
  end)

  it("hold no more than it when nothing is taken", function()
    for _, n in ipairs { 1, 2, 16 } do
      begin(n, 2 * MIB)
      live(3, full, function() end)
      local all = sum(held)
      assert.is_true(all <= 2 * MIB and all > MIB, ("%d readers: %d bytes"):format(n, all))
      stepping.close_all()
    end
  end)

  it("are not stopped by one whose pages are not taken", function()
    begin(8, MIB)
    live(2, full, function()
      free "s03"
    end)
    local stuck = taken.s03
    live(3, full, function()
      free "s03"
    end)
    assert.equal(stuck, taken.s03)
    assert.is_true(held.s03 <= MIB / 2, held.s03 .. " bytes")
    assert.is_true(most <= MIB, most .. " bytes")
    for shard, count in pairs(taken) do
      -- an even part is 128 KiB: five calls a second would take 0.49 MB
      local rate = count * SIZE / 5
      assert.is_true(shard == "s03" or rate > 0.5 * 0.49e6, ("%s: %d bytes a second"):format(shard, rate))
    end
  end)

  it("are not stopped by all but one whose pages are not taken", function()
    begin(8, MIB)
    local others = "s01 s02 s03 s04 s05 s06 s07"
    live(3, function(shard, request)
      return (shard == "s08" and quiet or full)(shard, request)
    end, function()
      free(others)
    end)
    live(5, full, function()
      free(others)
    end)
    local rate = taken.s08 * SIZE / 5
    assert.is_true(rate > 0.15e6, rate .. " bytes a second") -- 64 KiB five times a second are 0.24 MB
    assert.is_true(most <= MIB, most .. " bytes")
  end)

  it("have even shares when all are busy, and Lua is slow", function()
    begin(8, MIB)
    live(10, full, function()
      engine:give_back(1)
    end)
    local least, greatest = math.huge, 0
    for i = 1, 8 do
      local count = taken["s0" .. i]
      least, greatest = math.min(least, count), math.max(greatest, count)
    end
    assert.is_true(greatest <= 1.5 * least, ("one shard had %d records, another %d"):format(least, greatest))
  end)

  it("hold little when all were quiet, and all are busy at once", function()
    begin(32, 4 * MIB)
    live(1, full, free)
    live(10, quiet, free)
    most = 0
    live(1, full, function() end)
    assert.is_true(most <= 4 * MIB, most .. " bytes")
  end)

  it("have a page of 64 KiB each, however many they are", function()
    begin(40, MIB)
    live(2, full, free)
    for _, count in pairs(taken) do
      local rate = count * SIZE / 2
      assert.is_true(rate > 0.12e6, rate .. " bytes a second")
    end
  end)

  it("get the bytes of one that is removed", function()
    begin(2, 4 * MIB)
    live(5, function(shard, request)
      return (shard == "s01" and full or quiet)(shard, request)
    end, function() end)
    local before = held.s01
    assert.is_true(before > 2 * MIB)
    engine:cancel(removed[1])
    engine:step()
    free()
    live(5, full, function() end)
    assert.is_true(held.s02 > 2 * MIB, held.s02 .. " bytes")
  end)

  it("pause an answer that does not fit since others have come, until its reader's pages are taken", function()
    begin(1, 2 * MIB)
    local last
    stepping.serve(engine, 10, service(function(shard, request)
      note_pages()
      last = request
      return sum(held) < 0.8 * MIB and full(shard, request) or nil
    end))
    for i = 2, 16 do
      reading.read(engine, { ("s%02d"):format(i) }, { window_pool = pool })
    end
    live(3, function(shard, request)
      return shard ~= "s01" and full(shard, request) or nil
    end, function() end)
    local large = page_of("s01", limit_of(last), RECORD .. RECORD) -- twice as large as was reserved
    assert.is_false(engine:answer(last, large))
    local before = taken.s01
    free "s02 s03 s04 s05 s06 s07 s08 s09 s10 s11 s12 s13 s14 s15 s16" -- but not s01
    engine:step()
    note_pages()
    assert.equal(before + limit_of(last), taken.s01)
  end)

  it("ask for pages by the size of the records before them", function()
    begin(1, 2 * 100000)
    local limits = {}
    land(engine, flight(engine, 1)[1], stepping.iterator "it:s01")
    for i, size in ipairs { 10000, 100, 1, 400000, 100 } do
      local request = flight(engine, 1)[1]
      limits[i] = limit_of(request)
      land(engine, request, page { next = "next", behind = 1, { tostring(i), ("A"):rep(size) } })
      told(engine, "page")
      engine:give_back()
      engine:advance(1)
    end
    assert.equal(1, limits[1]) -- it shows how large records are
    assert.is_true(limits[2] > 4 and limits[2] <= 20, limits[2])
    assert.is_true(limits[3] > 100 and limits[3] < 1000, limits[3])
    assert.is_true(limits[4] > 100 and limits[4] <= 10000, limits[4])
    assert.equal(1, limits[5])
  end)
end)
