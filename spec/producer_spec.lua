-- A producer of a working stream: what it delivers, its arguments, receipts, flush() and close().
local delivery = require "support.delivery"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local run = require "support.tasks"

local check_sums, data_of = delivery.check_sums, delivery.data_of
local closes = _VERSION == "Lua 5.4" -- a variable may be closed
local MIB = 1024 * 1024
local LARGEST_HASH = "340282366920938463463374607431768211455"

for _, service in ipairs(fresh.services) do
  describe("a producer for " .. service.name, function()
    local client, stream

    setup(function()
      client = fresh.client(service)
    end)

    teardown(function()
      client:close()
    end)

    before_each(function()
      stream = fresh.stream(client, 4, "produce")
    end)

    it("delivers every accepted record", function()
      local producer = assert(client:producer(stream, { aggregate = false }))
      local put = {}
      for i = 1, 300 do
        put[i] = ("record %03d"):format(i)
        assert.is_true(producer:put(put[i], "key" .. i))
      end
      assert.is_true(producer:flush())
      assert.same(put, data_of(fresh.read(client, stream)))
      local stats = producer:stats()
      assert.equal(300, stats.stored)
      assert.equal(300, stats.latency.count)
      assert.equal(0, stats.open)
      assert.equal(0, stats.held_records)
      assert.is_true(producer:close())
    end)

    it("sends a record after the linger without another call", function()
      local producer = assert(client:producer(stream))
      assert(producer:put("alone", "key"))
      local reader = client:shards(stream):records { limit = 1, poll_interval = 0.2 }
      assert.equal("alone", reader().data)
      reader:close()
      producer:close()
    end)

    it("selects shards by the explicit hash key, and by random keys", function()
      local producer = assert(client:producer(stream, { linger = 0 }))
      local first = assert(assert(producer:send("low", "key", { explicit_hash_key = "0" })):wait())
      local last = assert(assert(producer:send("high", "key", { explicit_hash_key = LARGEST_HASH })):wait())
      assert.equal("shardId-000000000000", first.shard_id)
      assert.equal("shardId-000000000003", last.shard_id)
      assert(assert(producer:send "anywhere"):wait())
      producer:close()
      for _, record in ipairs(fresh.read(client, stream)) do
        assert.equal(record.data == "anywhere" and 24 or 3, #record.partition_key)
      end
    end)

    it("sends the records of a shard as one aggregate", function()
      local producer = assert(client:producer(stream, { linger = 30 })) -- close() sends them
      for i = 1, 400 do
        assert(producer:put("record " .. i, "key" .. i))
      end
      assert.is_true(producer:close())
      local records = fresh.read(client, stream, { deaggregate = false })
      assert.equal(4, #records)
      for _, record in ipairs(records) do
        assert.equal("\243\137\154\194", record.data:sub(1, 4))
        assert.equal("a", record.partition_key)
      end
      assert.equal(100, producer:stats().aggregation)
    end)

    it("keeps any bytes and any keys, alone and in aggregates", function()
      local emoji = "\240\159\152\128"
      local texts = { "", "\0", "a\0b", fresh.bytes, emoji, '{"json": "\\u0000"}', "\r\n", "\243\137\154\194",
        fresh.bytes:rep(400) }
      local keys = { "k", '"quoted" \\ / key', "tab\tnewline\n", emoji:rep(128), ("k"):rep(256), "\226\128\168",
        "\1\127" }
      for _, aggregate in ipairs { false, true } do
        local name = fresh.stream(client, 2, "bytes")
        local producer = assert(client:producer(name, { aggregate = aggregate }))
        local expected, found = {}, {}
        for i, key in ipairs(keys) do
          for j, text in ipairs(texts) do
            assert(producer:put(text, key, i % 2 == 0 and { explicit_hash_key = tostring(j) } or nil))
            expected[#expected + 1] = key .. "=" .. text
          end
        end
        assert.is_true(producer:close())
        for _, record in ipairs(fresh.read(client, name)) do
          found[#found + 1] = record.partition_key .. "=" .. record.data
        end
        table.sort(expected)
        table.sort(found)
        assert.equal(#expected, #found)
        for i, text in ipairs(expected) do
          assert.is_true(found[i] == text, i)
        end
      end
    end)

    it("counts every record once, and by its shard", function()
      local producer = assert(client:producer(stream))
      local bytes = 0
      for i = 1, 100 do
        assert(producer:put(("x"):rep(i), "key" .. i))
        bytes = bytes + i + #("key" .. i)
      end
      check_sums(producer:stats())
      assert.is_true(producer:flush())
      local stats = check_sums(producer:stats())
      assert.equal(100, stats.accepted)
      assert.equal(100, stats.stored)
      assert.equal(bytes, stats.accepted_bytes)
      assert.equal(bytes, stats.stored_bytes)
      assert.equal(100 / stats.kinesis_records_stored, stats.aggregation)
      local last = 0
      for _, bucket in ipairs(stats.latency.buckets) do
        assert.is_true(bucket.count >= last)
        last = bucket.count
      end
      for _, shard in ipairs(client:shards(stream)) do
        assert.is_true(stats.shards[shard.id].stored >= 1)
      end
      for _, name in ipairs { "open", "in_flight", "held_records", "held_bytes", "untold_failures", "retried" } do
        assert.equal(0, stats[name], name)
      end
      producer:close()
      assert.equal(100, check_sums(producer:stats()).stored)
    end)

    if service.arns then
      it("takes a stream's ARN for its name", function()
        local name, summary = fresh.stream(client, 1, "arn")
        local producer = assert(client:producer(summary.StreamARN))
        assert(producer:put("by its ARN", "key"))
        assert.is_true(producer:close())
        assert.same({ "by its ARN" }, data_of(fresh.read(client, name)))
      end)
    end

    it("refuses records that the stream would refuse, and delivers the others", function()
      local producer = assert(client:producer(stream, { aggregate = false }))
      local early, err = producer:send(("x"):rep(1024 * 1024 + 1), "early")
      assert(producer:put("good", "key"))
      if early then -- the stream's limit was not known yet
        early, err = early:wait()
      end
      assert.is_nil(early)
      assert.equal("InvalidArgumentException", err.code)
      local taken, late = producer:put(("x"):rep(1024 * 1024), "late")
      assert.is_nil(taken)
      assert.equal("InvalidArgumentException", late.code)
      assert.matches("takes at most 1048576", late.message, 1, true)
      assert.is_true(producer:close())
      assert.same({ "good" }, data_of(fresh.read(client, stream)))
    end)
  end)
end

describe("a producer", function()
  local client, stream

  setup(function()
    client = fresh.client(fresh.services[2])
    stream = fresh.stream(client, 2, "produce")
  end)

  teardown(function()
    client:close()
  end)

  it("names what is wrong with a record, at the caller's line", function()
    local producer = assert(client:producer(stream))
    local function expect(text, ...)
      local data, key, given = ...
      for _, verb in ipairs { "put", "send" } do
        local heard = fresh.complaint(function() local _ = producer[verb](producer, data, key, given) end)
        assert.equal(text:gsub("VERB", verb), heard)
      end
    end
    expect("VERB: data must be a string, got nil")
    expect("VERB: data must be a string, got number", 7, "k")
    expect("VERB: data is 10485761 bytes; a record holds at most 10485760 (10 MiB)", ("x"):rep(10 * MIB + 1), "k")
    expect("VERB: partition_key must be a string, got number", "x", 7)
    expect("VERB: partition_key must be a string, got boolean", "x", false)
    expect("VERB: partition_key is empty; leave it out for a random one", "x", "")
    expect("VERB: partition_key is 257 characters long; the limit is 256", "x", ("k"):rep(257))
    expect("VERB: partition_key is not UTF-8 text", "x", "\255")
    for _, hash in ipairs { "-1", "", "007", "0x1", "1e3", "340282366920938463463374607431768211456" } do
      expect("VERB: explicit_hash_key must be a decimal number from 0 to 2^128-1, as a string", "x", "k",
        { explicit_hash_key = hash })
    end
    expect("bad option 'explicit_hash_key' of produce: must be a string, got 1", "x", "k", { explicit_hash_key = 1 })
    expect("unknown option 'hash_key' of produce; did you mean 'explicit_hash_key'?", "x", "k", { hash_key = "1" })
    expect("options of produce must be a table, got a string", "x", "k", "1")
    assert.equal(0, producer:stats().accepted)
    producer:close()
  end)

  it("names what is wrong with a timeout, at the caller's line", function()
    local producer = assert(client:producer(stream))
    local receipt = assert(producer:send("x", "k"))
    for _, timeout in ipairs { "5", -1, 0 / 0 } do
      local function expect(verb, heard)
        local text = "%s: timeout must be a number of seconds from 0 on, got %s"
        assert.equal(text:format(verb, type(timeout) == "number" and tostring(timeout) or "string"), heard)
      end
      expect("flush", fresh.complaint(function() local _ = producer:flush(timeout) end))
      expect("wait", fresh.complaint(function() local _ = receipt:wait(timeout) end))
      expect("close", fresh.complaint(function() local _ = producer:close(timeout) end))
    end
    assert.is_true(producer:put("still open", "k"))
    assert.is_true(producer:close())
  end)

  it("names what is wrong with its stream or its options, at the caller's line", function()
    local function expect(text, name, options)
      local heard = fresh.complaint(function() local _ = client:producer(name, options) end)
      assert.equal(text, heard:sub(1, #text))
    end
    expect("producer: stream must be a string, got nil")
    expect("producer: stream is empty", "")
    expect("producer: stream is 129 characters long", ("s"):rep(129))
    expect("options of producer must be a table, got a number", stream, 5)
    expect("unknown option 'batch_record' of producer; did you mean 'batch_records'?", stream, { batch_record = 1 })
    expect("bad option 'order' of producer: must be 'shard'", stream, { order = "key" })
    expect("bad option 'when_full' of producer: must be 'wait' or 'refuse'", stream, { when_full = "block" })
    expect("bad option 'on_failure' of producer: must be a function, got a table", stream, { on_failure = {} })
    expect("bad option 'rerandomize_keys' of producer: must be a boolean", stream, { rerandomize_keys = 1 })
    for name, values in pairs {
      linger = { -1, 61, 0 / 0, "1" },
      batch_records = { 0, 501, 1.5 },
      batch_bytes = { 0, 10 * MIB + 1 },
      aggregate_bytes = { 99, 10 * MIB + 1 },
      aggregate_records = { 0 },
      parallel = { 0, 1001 },
      rate_limit = { 0, 1001 },
      max_records = { 0, -1, 1.5 },
      max_bytes = { 1023 },
      record_ttl = { 0, -1, math.huge },
      exit_timeout = { -1, 3601 },
    } do
      for _, value in ipairs(values) do
        expect(("bad option '%s' of producer: must be a"):format(name), stream, { [name] = value })
      end
    end
  end)

  it("gives each receipt its own answer, in concurrent coroutines", function()
    local producer = assert(client:producer(stream))
    local numbers = {}
    local function send(name)
      return function()
        local receipt = assert(producer:send(name, name))
        local stored = assert(receipt:wait())
        assert.equal(stored, receipt:wait())
        assert.equal(1, #stored.attempts)
        numbers[name] = stored.sequence_number
      end
    end
    kinesis.run(send "one", send "two", send "three")
    assert.matches("^%d+$", numbers.one)
    assert.matches("^%d+$", numbers.two)
    assert.matches("^%d+$", numbers.three)
    producer:close()
  end)

  it("has the capacity of a receipt back when it is dropped", function()
    local producer = assert(client:producer(stream))
    for i = 1, 10 do
      assert(producer:send("dropped " .. i))
    end
    fresh.collect()
    assert.is_true(producer:flush())
    assert.equal(0, producer:stats().held_records)
    producer:close()
  end)

  it("gives two coroutines the answer of one receipt", function()
    local producer = assert(client:producer(stream))
    local receipt, answers = assert(producer:send("shared", "key")), {}
    local function look()
      local answer = assert(receipt:wait())
      answers[#answers + 1] = answer
    end
    run(look, look)
    assert.equal(2, #answers)
    assert.equal(answers[1], answers[2])
    producer:close()
  end)

  it("flushes at once when it is empty", function()
    local producer = assert(client:producer(stream))
    assert.is_true(producer:flush())
    assert.is_true(producer:flush(0.5))
    assert.is_true(producer:close())
    assert.equal(0, producer:stats().requests)
  end)

  it("flushes the records that were put before, while others go on putting", function()
    local producer = assert(client:producer(stream))
    local flushed, first
    run(function()
      first = assert(producer:send("first", "key"))
      assert.is_true(producer:flush())
      flushed = true
      assert.is_table(first:wait(0))
    end, function()
      local more = 0
      while not flushed do
        more = more + 1
        assert(producer:put("more " .. more, "key"))
        kinesis.sleep(0.001)
      end
    end)
    assert.is_true(producer:close())
  end)

  it("answers each of several concurrent flushes", function()
    local producer = assert(client:producer(stream, { linger = 30 }))
    local tasks, flushed = {}, 0
    for i = 1, 20 do
      tasks[i] = function()
        local receipt = assert(producer:send("of task " .. i, "key" .. i))
        assert.is_true(producer:flush())
        assert.is_table(receipt:wait(0))
        flushed = flushed + 1
      end
    end
    run((table.unpack or unpack)(tasks))
    assert.equal(20, flushed)
    assert.equal(20, producer:stats().stored)
    producer:close()
  end)

  it("shares no records with another producer of the same client", function()
    local one = assert(client:producer(stream, { linger = 30 }))
    local other = assert(client:producer(stream, { linger = 30 }))
    assert(one:put("one's", "key"))
    assert(other:put("the other's", "key"))
    assert.is_true(one:close())
    assert.equal(1, one:stats().stored)
    assert.equal(1, other:stats().open)
    assert.is_true(other:close())
    assert.equal(1, other:stats().stored)
  end)

  if closes then
    it("is closed with its <close> variable, also by an error", function()
      for _, ending in ipairs { "", "error 'in the middle'" } do
        local producer = assert(client:producer(stream, { linger = 30 }))
        local good = pcall(assert(load([[
          local producer <close> = ...
          assert(producer:put("closed with its variable", "key"))
        ]] .. ending)), producer)
        assert.equal(ending == "", good)
        assert.equal(1, producer:stats().stored)
        assert.equal("Closed", select(2, producer:put("late", "key")).code)
      end
    end)
  end

  it("is closed once, and accepts no more records", function()
    local producer = assert(client:producer(stream))
    assert(producer:put("last", "key"))
    assert.is_true(producer:close())
    assert.is_true(producer:close())
    local taken, err = producer:put("late", "key")
    assert.is_nil(taken)
    assert.equal("Closed", err.code)
    assert.is_nil((producer:send("late", "key")))
    assert.is_true(producer:flush())
    assert.equal(1, producer:stats().stored)
    assert.matches("%(closed%)", tostring(producer))
  end)

  it("reports its records when its client is closed first", function()
    local other = fresh.client(fresh.services[2])
    local producer = assert(other:producer(stream, { linger = 60 }))
    local receipt = assert(producer:send("with a receipt", "key"))
    assert(producer:put("without", "key"))
    other:close()
    assert.equal("Closed", select(2, receipt:wait()).code)
    local done, err, lost = producer:close()
    assert.is_nil(done)
    assert.equal("Closed", err.code)
    assert.equal("without", lost[1].data)
    assert.equal("key", lost[1].partition_key)
    assert.is_true(producer:close())
  end)

  it("answers Closed to whoever puts or flushes when its client is closed", function()
    local scope = faults.open({ PutRecords = { { stall = 30, always = true } } }, { service = "kinesalite" })
    local other = scope:client()
    local told = {}
    local producer = assert(other:producer(stream, { linger = 60, on_failure = function(record, err)
      told[#told + 1] = record.data .. " " .. err.code
    end }))
    assert(producer:put("under way", "key"))
    run(function()
      producer:flush()
    end, function()
      while #scope:seen "PutRecords" == 0 do
        kinesis.sleep(0.01)
      end
      other:close()
    end)
    for _, verb in ipairs { "put", "send", "flush" } do
      local done, err = producer[verb](producer, verb ~= "flush" and "late" or nil)
      assert.is_nil(done)
      assert.equal("Closed", err.code)
    end
    assert.is_true(producer:close())
    assert.equal(1, #told)
    assert.matches("^under way %w+$", told[1])
  end)
end)
