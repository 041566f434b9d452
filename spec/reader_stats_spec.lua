-- What a reader says of itself: how far it is behind, and what it has counted.
local cjson = require "cjson"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local reading = require "support.reading"
local stepping = require "support.stepping"

local FIRST = "shardId-000000000000"

local engine_with, land, member, near, page = stepping.engine, stepping.land, stepping.member, stepping.near,
  stepping.page
local list, read, serve, service = reading.list, reading.read, stepping.serve, reading.service

-- A stepped reader of shard a: its engine, its first GetRecords request, and a function that reads its metrics.
local function reading_one(options)
  local engine = engine_with {}
  local _, metrics = read(engine, { "a" }, options)
  local request = reading.reply(engine, "GetShardIterator", stepping.iterator "it:a")
  return engine, request, function()
    return metrics:read((engine:now()))
  end
end

-- Answers the next GetRecords request, which is due within `seconds`.
local function answer_next(engine, answer, seconds)
  engine:advance(seconds or 1)
  return land(engine, stepping.flight(engine, 1)[1], answer)
end

describe("the metrics of a reader", function()
  after_each(stepping.close_all)

  describe("have a lag", function()
    it("that is nil before the first answer", function()
      local engine, request, look = reading_one()
      engine:advance(5)
      assert.is_nil(look().lag)
      land(engine, request, page { next = "it:a", behind = 7000 })
      near(7, look().lag)
    end)

    it("that grows while no answer comes, and is renewed by each empty one", function()
      local engine, request, look = reading_one()
      land(engine, request, page { next = "it:a", behind = 3000 })
      near(3, look().lag)
      engine:advance(100)
      near(103, look().lag)
      answer_next(engine, page { next = "it:a", behind = 0 })
      near(0, look().lag)
      engine:advance(0.5)
      near(0.5, look().lag)
    end)

    it("that stays as it was after close, whatever answers come until the engine knows", function()
      local engine = engine_with {}
      local _, metrics = read(engine, { "a" })
      reading.reply(engine, "GetShardIterator", stepping.iterator "it:a")
      land(engine, stepping.flight(engine, 1)[1], page { next = "it:a", behind = 3000 })
      engine:advance(100)
      metrics:close((engine:now()))
      answer_next(engine, page { next = "it:a", behind = 0, { "1" } })
      local figures = metrics:read((engine:now()))
      near(103, figures.lag)
      assert.equal(2, figures.shards.a.calls)
      near(3000, figures.shards.a.behind)
    end)

    it("that is the one of the page that was handed over last, while others wait", function()
      local engine, request, look = reading_one()
      land(engine, request, page { next = "it:a", behind = 0 })
      answer_next(engine, page { next = "it:a", behind = 5000, { "1" } })
      near(1, look().lag)
      answer_next(engine, page { next = "it:a", behind = 4000, { "2" } })
      answer_next(engine, page { next = "it:a", behind = 0 })
      near(3, look().lag)
      engine:messages()
      engine:hand_over(1)
      near(5 + 2, look().lag)
      engine:advance(10)
      near(5 + 12, look().lag)
      engine:hand_over()
      near(10, look().lag) -- since the empty answer
    end)

    it("for which pages that are dropped do not wait", function()
      local engine, request, look = reading_one()
      land(engine, request, page { next = "it:a", behind = 5000, { "1" } })
      answer_next(engine, page { next = "it:a", behind = 4000, { "2" } })
      engine:messages()
      near(6, look().lag)
      engine:give_back()
      near(4, look().lag)
      assert.equal(0, look().records)
    end)

    it("that is the one of the first answer, until its page is handed over", function()
      local engine, request, look = reading_one()
      land(engine, request, page { next = "it:a", behind = 60000, { "1" } })
      answer_next(engine, page { next = "it:a", behind = 0, { "2" } })
      near(61, look().lag)
    end)

    it("to which a shard without an answer adds the time since it was begun", function()
      local engine = engine_with {}
      local _, metrics = read(engine, { "a", "b" })
      serve(engine, 30, service(function(id)
        return id == "a" and page { next = "it:a" } or nil
      end))
      near(30, metrics:read((engine:now())).lag)
    end)

    it("for which a child that waits does not count, nor a shard of which nothing is left", function()
      local engine = engine_with {}
      local _, metrics = read(engine, { { id = "a", closed = true }, { id = "b", parent_id = "a" } })
      local function look()
        return metrics:read((engine:now()))
      end
      local last = false
      local function answer(id)
        return id == "b" and page { next = "it:b" }
          or last and page { { "2" }, behind = 0 } or page { next = "it:a", behind = 1000 }
      end
      serve(engine, 20, service(answer))
      assert.is_true(look().lag < 1.5, look().lag)
      assert.equal("waiting", look().shards.b.state)
      last = true
      serve(engine, 20, service(answer))
      assert.equal("done", look().shards.a.state)
      assert.is_true(look().lag > 18, "the last page waits")
      engine:messages()
      engine:hand_over()
      assert.is_true(look().lag <= 1, look().lag)
      assert.equal("reading", look().shards.b.state)
    end)

    it("for which a shard that has ended counts until its children are known, or the list is not late", function()
      local engine = engine_with {}
      local _, metrics = read(engine, { { id = "a", closed = true } }, { follow = true })
      local function lag_after(seconds)
        serve(engine, seconds, service(function() return page {} end, function()
          return list { { "a", closed = true } }
        end))
        assert.equal("done", metrics:read((engine:now())).shards.a.state)
        return metrics:read((engine:now())).lag
      end
      near(4, lag_after(4))
      near(0, lag_after(20))
    end)

    it("that stays as it was when the reader was closed", function()
      local engine = engine_with {}
      local _, metrics = read(engine, { "a" })
      serve(engine, 3, service(function() return page { next = "it:a", behind = 2000 } end))
      local before = metrics:read((engine:now())).lag
      metrics:close((engine:now()))
      engine:advance(50)
      assert.equal(before, metrics:read((engine:now())).lag)
    end)
  end)

  it("begin anew for a shard that is moved: pages that are dropped do not wait, and nothing is renewed", function()
    local engine = engine_with {}
    local id, metrics = read(engine, { "a" })
    local function look()
      return metrics:read((engine:now()))
    end
    reading.reply(engine, "GetShardIterator", stepping.iterator "it:a")
    reading.reply(engine, "GetRecords", page { next = "it:a", behind = 5000, { "1" } })
    engine:messages()
    answer_next(engine, page { next = "it:a", behind = 2000 })
    near(6, look().lag)
    engine:command(id, 1, { { id = "a", command = "seek", kind = "TRIM_HORIZON" } })
    engine:step()
    engine:give_back()
    engine:advance(3)
    near(3, look().lag)
    reading.reply(engine, "GetShardIterator", stepping.iterator "it:a")
    near(3, look().lag)
    assert.equal(0, look().shards.a.renewals)
    answer_next(engine, page { next = "it:a", behind = 9000 })
    near(9, look().lag)
  end)

  it("keep the lag of a shard that is paused, which grows, without the pages that are dropped", function()
    local engine = engine_with {}
    local id, metrics = read(engine, { "a" })
    local function look()
      return metrics:read((engine:now()))
    end
    reading.reply(engine, "GetShardIterator", stepping.iterator "it:a")
    reading.reply(engine, "GetRecords", page { next = "it:a", behind = 5000, { "1" } })
    engine:messages()
    engine:hand_over()
    answer_next(engine, page { next = "it:a", behind = 2000, { "2" } })
    near(6, look().lag)
    engine:messages()
    engine:command(id, 1, { { id = "a", command = "pause", kind = "AFTER_SEQUENCE_NUMBER", sequence_number = "1" } })
    engine:step()
    engine:give_back()
    near(6, look().lag)
    engine:advance(10)
    near(16, look().lag)
    assert.equal("paused", look().shards.a.state)
    engine:command(id, 2, { { id = "a", command = "resume" } })
    reading.reply(engine, "GetShardIterator", stepping.iterator "it:a")
    near(16, look().lag)
    assert.equal(0, look().shards.a.renewals)
    answer_next(engine, page { next = "it:a", behind = 3000 })
    near(3, look().lag)
  end)

  it("count calls, throttling, renewals and failures, each where it belongs", function()
    local engine, request, look = reading_one()
    land(engine, request, page { next = "it:a" })
    for _, answer in ipairs { stepping.THROTTLED, stepping.BROKEN, stepping.error "ExpiredIteratorException" } do
      answer_next(engine, answer, 60)
    end
    answer_next(engine, stepping.iterator "it:a", 60)
    local shard = look().shards.a
    assert.same({ 7, 1, 1, 1 }, { shard.calls, shard.throttled, shard.failures, shard.renewals })
  end)

  describe("have rates of what was handed over", function()
    it("in the last ten seconds", function()
      local engine, request, look = reading_one()
      land(engine, request, page { next = "it:a", { "1" }, { "2" } })
      for i = 1, 30 do
        engine:messages()
        engine:hand_over()
        answer_next(engine, page { next = "it:a", { tostring(2 * i + 1) }, { tostring(2 * i + 2) } })
      end
      local shard = look().shards.a
      assert.is_true(math.abs(shard.records_per_second - 2) < 0.3, shard.records_per_second)
      assert.is_true(math.abs(shard.bytes_per_second - 12) < 2, shard.bytes_per_second) -- "hello" and "k"
      assert.equal(60, shard.records)
      engine:advance(5)
      assert.is_true(look().shards.a.records_per_second < 1.3)
      engine:advance(6)
      assert.equal(0, look().shards.a.records_per_second)
    end)

    it("and of a young reader since its first record", function()
      local engine, request, look = reading_one()
      land(engine, request, page { next = "it:a", { "1" }, { "2" }, { "3" }, { "4" } })
      engine:messages()
      engine:hand_over()
      engine:advance(2)
      near(2, look().shards.a.records_per_second)
    end)
  end)

  it("name the states of the chart", function()
    local engine = engine_with {}
    local _, metrics = read(engine, { "a", { id = "b", parent_id = "a" }, { id = "c", closed = true } },
      { window = 1, follow = true })
    local function states()
      local shards, words = metrics:read((engine:now())).shards, {}
      for _, id in ipairs { "a", "b", "c" } do
        words[#words + 1] = shards[id].state
      end
      return table.concat(words, " ")
    end
    engine:step()
    assert.equal("starting waiting starting", states())
    local requests = stepping.flight(engine, 2)
    land(engine, requests[1], stepping.iterator("it:" .. member(requests[1], "ShardId")))
    assert.equal("reading waiting starting", states())
    land(engine, requests[2], stepping.iterator("it:" .. member(requests[2], "ShardId")))
    assert.equal("reading waiting blocked", states())
    for _, request in ipairs(engine:requests()) do
      if request.operation == "GetRecords" then
        land(engine, request, page {})
      end
    end
    assert.equal("asking waiting reading", states())
  end)
end)

for _, name in ipairs { "KINESIS_LOCAL", "KINESALITE" } do
  describe("reader:stats() with " .. name, function()
    local client, stream

    setup(function()
      client = fresh.client(os.getenv(name))
      stream = fresh.stream(client, 2, "stats")
      for i = 1, 40 do
        assert(client:put(stream, "12345", "key " .. i % 10))
      end
    end)

    teardown(function()
      client:call("DeleteStream", { StreamName = stream })
      client:close()
    end)

    for what, options in pairs { tables = {}, values = { values = { "data" } }, lists = { batch = true },
      columns = { batch = "columns" } } do
      it("counts what was returned, by shard: " .. what, function()
        options.stop_at_tip = true
        local reader = client:shards(stream):records(options)
        assert.equal(0, reader:stats().records)
        for _ in reader do
          assert(reader:lag() >= 0)
        end
        local stats = reader:stats()
        assert.same({ stream, 40, 40 * 10, 0, 0 },
          { stats.stream, stats.records, stats.bytes, stats.misplaced, stats.trimmed })
        assert.equal(0, stats.lag)
        local sum = { records = 0, bytes = 0 }
        for id, shard in pairs(stats.shards) do
          sum.records, sum.bytes = sum.records + shard.records, sum.bytes + shard.bytes
          assert.same(reader:position().shards[id], shard.position)
          assert.equal("done", shard.state)
          assert.is_true(shard.calls >= 2)
          assert.same({ 0, 0, 0 }, { shard.throttled, shard.renewals, shard.failures })
          assert.is_true(shard.millis_behind_latest >= 0)
          assert.is_true(shard.records == 0 or shard.records_per_second > 0 and shard.bytes_per_second > 0)
        end
        assert.same({ records = 40, bytes = 400 }, sum)
        assert.equal(cjson.encode(stats.shards[FIRST].position), cjson.encode(reader:position().shards[FIRST]))
      end)
    end

    it("counts to the record, and not what an error has cut off", function()
      local reader = client:shards(stream):records {}
      for i = 1, 15 do
        assert(reader())
        assert.equal(i, reader:stats().records)
        assert.equal(10 * i, reader:stats().bytes)
      end
      local cut_off = reader.core:next(reader.left) -- as when an error comes before `next` has returned it
      assert.equal("12345", cut_off.data)
      assert.equal(15, reader:stats().records)
      assert.equal(cut_off.sequence_number, reader().sequence_number)
      assert.equal(16, reader:stats().records)
      reader:close()
      assert.equal(16, reader:stats().records)
    end)

    it("has no lag before the first answer, and hardly any at the tip", function()
      local gate = faults.open({ GetRecords = { { gate = true, always = true } } },
        { service = name == "KINESALITE" and "kinesalite" or nil })
      local own = gate:client()
      local waiting = own:shards(stream):records {}
      assert.is_nil(waiting:lag())
      assert.is_nil(waiting:stats().lag)
      gate:open_gate()
      own:close()
      local reader = client:shards(stream):records { poll_interval = 0.2 }
      for _ = 1, 40 do
        assert(reader())
      end
      fresh.eventually(function()
        return reader:lag() < 0.5
      end)
      reader:close()
    end)
  end)
end

describe("reader:stats()", function()
  local client, stream

  setup(function()
    client = fresh.client(os.getenv "KINESALITE")
    stream = fresh.stream(client, 1, "stats")
  end)

  teardown(function()
    client:close()
  end)

  it("counts the user records of aggregates", function()
    local records = {}
    for i = 1, 10 do
      records[i] = { data = "abc", partition_key = "k" .. i % 10 }
    end
    local own = fresh.stream(client, 1, "stats")
    assert(client:put(own, (kinesis.aggregate(records)), "a"))
    local reader = client:shards(own):records { limit = 4 }
    for i = 1, 4 do
      assert(reader())
      assert.equal(i, reader:stats().records)
    end
    assert.equal(4 * 5, reader:stats().bytes)
    assert.same({ after = reader:stats().shards[FIRST].position.after, sub = 3 }, reader:stats().shards[FIRST].position)
    local rest = client:shards(own):records { from = reader:position(), stop_at_tip = true }
    for _ in rest do
      assert(true)
    end
    assert.equal(6, rest:stats().records)
    assert.equal(0, rest:lag())
    local behind = { shards = { [FIRST] = { after = rest:position().shards[FIRST].after, sub = 9 } } }
    local none = client:shards(own):records { from = behind, stop_at_tip = true }
    assert.is_nil(none())
    assert.same({ 0, 0 }, { none:stats().records, none:lag() })
    reader:close()
  end)

  it("counts the shards of a position that were trimmed, tells on_error of them, and reads the rest", function()
    local own = fresh.stream(client, 1, "stats")
    local put = assert(client:put(own, "first", "key"))
    assert(client:put(own, "second", "key"))
    local told = {}
    local reader = client:shards(own):records {
      from = { stream = own, shards = {
        [FIRST] = { after = put.sequence_number }, ["shardId-000000000077"] = { after = put.sequence_number },
        ["shardId-000000000078"] = { at = put.sequence_number }, ["shardId-000000000079"] = "shard_end",
      } },
      idle_timeout = 0.5, poll_interval = 0.2, on_error = function(err, shard_id) told[shard_id] = err end,
    }
    assert.equal("second", reader().data)
    assert.is_nil(reader())
    assert.equal(2, reader:stats().trimmed)
    for _, id in ipairs { "shardId-000000000077", "shardId-000000000078" } do
      assert.equal("Trimmed", told[id].code)
      assert.is_false(told[id].retryable)
      assert.matches("lost", told[id].message, 1, true)
      assert.equal("shard_end", reader:position().shards[id])
    end
    assert.is_nil(told["shardId-000000000079"])
    assert.is_nil(reader:position().shards["shardId-000000000079"])
  end)

  it("keeps the lag of a page that was not returned as a whole, after close, too", function()
    local RECORD = '{"Data":"YQ==","PartitionKey":"k","SequenceNumber":"%d"}'
    local scope = faults.open({
      GetRecords = {
        { status = 200, body = ('{"Records":[%s,%s],"NextShardIterator":"x","MillisBehindLatest":5000}'):format(
          RECORD:format(1), RECORD:format(2)) },
        { status = 200, body = '{"Records":[],"NextShardIterator":"x","MillisBehindLatest":0}', always = true },
      },
    }, { service = "kinesalite" })
    local own = scope:client()
    local reader = own:shards(stream):records { poll_interval = 0.2 }
    assert(reader())
    fresh.eventually(function()
      return #scope:seen "GetRecords" >= 3
    end)
    assert.is_true(reader:lag() >= 5)
    reader:close()
    assert.is_true(reader:lag() >= 5)
    own:close()
  end)

  it("raises a call with a dot", function()
    local reader = client:shards(stream):records {}
    assert.matches("stats: call it with a colon", fresh.complaint(function() local _ = reader.stats() end), 1, true)
    assert.matches("lag: call it with a colon", fresh.complaint(function() local _ = reader.lag() end), 1, true)
    reader:close()
  end)
end)
