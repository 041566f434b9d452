-- What a reader tells of its shards: on_shard_start and on_shard_end.
-- Flavours: *lua5.4 *luajit
local fresh = require "support.fresh"
local reading = require "support.reading"
local stepping = require "support.stepping"

local FIRST, HALF = "shardId-000000000000", "170141183460469231731687303715884105728"
local page = stepping.page

-- Options that write into the list `events`, in the order of the calls.
local function noting(events, options)
  options = options or {}
  function options.on_shard_start(shard_id)
    events[#events + 1] = "start " .. shard_id:sub(-1)
  end
  function options.on_shard_end(shard_id, reason)
    events[#events + 1] = ("end %s %s"):format(shard_id:sub(-1), reason)
  end
  return options
end

for _, name in ipairs { "KINESIS_LOCAL", "KINESALITE" } do
  describe("a reader of " .. name, function()
    local client, stream

    setup(function()
      client = fresh.client(os.getenv(name))
      stream = fresh.stream(client, 1, "events")
      fresh.put_numbers(client, stream, 1, 10)
      assert(client:call("SplitShard", { StreamName = stream, ShardToSplit = FIRST, NewStartingHashKey = HALF }))
      fresh.active(client, stream)
      fresh.put_numbers(client, stream, 11, 30)
    end)

    teardown(function()
      client:call("DeleteStream", { StreamName = stream })
      client:close()
    end)

    it("tells when it begins to read a shard, and when all of it was returned", function()
      local events = {}
      for record in client:shards(stream):records(noting(events, { stop_at_tip = true })) do
        events[#events + 1] = record.shard_id:sub(-1)
      end
      local text = " " .. table.concat(events, " ") .. " "
      assert.equal(1, select(2, text:gsub("start 0", "")))
      assert.equal(" start 0 " .. ("0 "):rep(10) .. "end 0 closed ", text:sub(1, #" start 0 " + 20 + #"end 0 closed "))
      for _, id in ipairs { "1", "2" } do
        local first, last = text:find(" start " .. id, 1, true), text:find((" end %s tip "):format(id), 1, true)
        assert.is_true(first < last)
        assert.is_nil(text:sub(1, first):find((" %s "):format(id), 1, true), "a record before the start")
        assert.is_nil(text:find((" %s "):format(id), last + 6, true), "a record behind the end")
      end
      assert.equal(6, select(2, text:gsub("start %d", "")) + select(2, text:gsub("end %d", "")))
    end)

    it("tells nothing of a shard that was finished before", function()
      local events = {}
      local _ = fresh.read(client, stream, noting(events, { stop_at_tip = true,
        from = { shards = { [FIRST] = "shard_end" } } }))
      assert.is_nil(table.concat(events, " "):find "[dt] 0")
      assert.equal(4, #events)
    end)

    it("that was begun at the tip tells of the start of each open shard, before records() returns", function()
      local events = {}
      local reader = client:shards(stream):records(noting(events, { from = "latest" }))
      table.sort(events)
      assert.equal("start 1 start 2", table.concat(events, " "))
      reader:close()
      assert.equal(2, #events)
    end)

    for what, options in pairs { on_shard_start = {}, on_shard_end = {} } do
      it("goes on behind an error that is thrown in " .. what, function()
        local events, thrown = {}, 0
        noting(events, options)
        local note = options[what]
        options[what] = function(...)
          note(...)
          thrown = thrown + 1
          error("thrown " .. thrown, 0)
        end
        options.stop_at_tip = true
        local reader = client:shards(stream):records(options)
        local seen, raised = {}, 0
        repeat
          local good, record = pcall(reader)
          if good and record then
            seen[#seen + 1] = record.data
          elseif not good then
            raised = raised + 1
            assert.matches("^thrown %d$", record)
          end
        until good and not record
        assert.equal(30, #seen)
        assert.same({ 3, 3 }, { raised, thrown })
        assert.equal(6, #events)
        table.sort(events)
        assert.equal("end 0 closed end 1 tip end 2 tip start 0 start 1 start 2", table.concat(events, " "))
      end)
    end

    it("may be stopped in them", function()
      local reader
      reader = client:shards(stream):records { stop_at_tip = true, on_shard_end = function() reader:stop() end }
      local count = 0
      for _ in reader do
        count = count + 1
      end
      assert.equal(10, count)
    end)
  end)
end

describe("a reader", function()
  after_each(stepping.close_all)

  it("tells once of the start of a shard whose iterators expire, before its first page", function()
    local engine = stepping.engine {}
    local request = reading.reading(engine, "a", { report_starts = true })
    assert.equal("a", reading.ids(stepping.told(engine, "shard_start")))
    stepping.land(engine, request, stepping.error "ExpiredIteratorException")
    engine:advance(1)
    reading.reply(engine, "GetShardIterator", stepping.iterator "it:a")
    engine:advance(1)
    reading.reply(engine, "GetRecords", page { next = "it:a", { "1" } })
    assert.equal(0, #stepping.told(engine, "shard_start"))
  end)

  it("tells nothing of the start when nobody asks", function()
    local engine = stepping.engine {}
    reading.reading(engine)
    assert.equal(0, #stepping.told(engine, "shard_start"))
  end)

  it("tells of the start of a shard that waits with its iterator when its parents are done", function()
    local engine = stepping.engine {}
    reading.read(engine, { { id = "a", closed = true }, { id = "b", unlisted = true } },
      { follow = true, report_starts = true })
    local over = false
    local function answer(id)
      if id == "b" then
        return page { next = "it:b" }
      end
      return over and page {} or page { next = "it:a", behind = 1000 }
    end
    local function list()
      return reading.list { { "a", closed = true }, { "b", "a" } }
    end
    stepping.serve(engine, 10, reading.service(answer, list))
    assert.equal("a", reading.ids(stepping.told(engine, "shard_start")))
    over = true
    stepping.serve(engine, 10, reading.service(answer, list))
    assert.equal("b", reading.ids(stepping.told(engine, "shard_start")))
  end)

  it("ends what was trimmed without a start, and without an end what was finished before", function()
    local client = fresh.client(os.getenv "KINESALITE")
    local stream = fresh.stream(client, 1, "events")
    local put = assert(client:put(stream, "first", "key"))
    local events = {}
    for _ in client:shards(stream):records(noting(events, {
      from = { shards = { ["shardId-000000000077"] = { after = put.sequence_number },
        ["shardId-000000000078"] = "shard_end" } },
      idle_timeout = 0.5, poll_interval = 0.2, on_error = function() end,
    })) do
      assert(true)
    end
    client:close()
    table.sort(events)
    assert.equal("end 7 trimmed start 0", table.concat(events, " "))
  end)

  it("ends a shard by until_timestamp, and its position is behind the last record in time", function()
    local client = fresh.client(os.getenv "KINESALITE")
    local stream = fresh.stream(client, 1, "events")
    assert(client:put(stream, "in time", "key"))
    local arrived = fresh.read(client, stream)[1].arrival_timestamp
    fresh.eventually(function()
      return os.time() > arrived + 1
    end)
    local late, events = assert(client:put(stream, "late", "key")), {}
    local reader = client:shards(stream):records(noting(events, { until_timestamp = arrived }))
    assert.equal("in time", reader().data)
    assert.is_nil(reader())
    assert.equal("start 0 end 0 until", table.concat(events, " "))
    local place = reader:position().shards[late.shard_id]
    assert.is_string(place.after)
    assert.equal("late", client:shards(stream):records({ from = reader:position(), limit = 1 }):next().data)
    client:close()
  end)

  it("refuses what is no function, at the caller's line", function()
    local client = fresh.client(os.getenv "KINESALITE")
    local shards = client:shards(fresh.stream(client, 1, "events"))
    for _, name in ipairs { "on_shard_start", "on_shard_end" } do
      assert.matches("^bad option '" .. name .. "' of records: must be a function",
        fresh.complaint(function() local _ = shards:records { [name] = 1 } end))
    end
    client:close()
  end)
end)
