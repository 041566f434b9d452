-- The producer as its users see it: what goes in, what comes back, and that nothing is lost on the way.
local core = require "kinesis.core"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local closes = _VERSION == "Lua 5.4" -- a variable may be closed

local MIB = 1024 * 1024
local LARGEST_HASH = "340282366920938463463374607431768211455"

local function data_of(records)
  local list = {}
  for i, record in ipairs(records) do
    list[i] = record.data
  end
  table.sort(list)
  return list
end

-- kinesis.run, but no longer than some seconds: what nobody wakes would wait for ever.
local function run(...)
  local tasks, left = {}, select("#", ...)
  for i = 1, left do
    local f = select(i, ...)
    tasks[i] = function()
      f()
      left = left - 1
    end
  end
  tasks[#tasks + 1] = function()
    local deadline = core.now() + 10
    while left > 0 do
      assert(core.now() < deadline, "a task was never woken")
      kinesis.sleep(0.02)
    end
  end
  kinesis.run((table.unpack or unpack)(tasks))
end

-- Each of them has found one outcome, or none yet.
local function check_sums(stats)
  assert.equal(stats.accepted, stats.stored + stats.failed + stats.expired + stats.returned + stats.open)
  assert.equal(stats.stored, stats.latency.count)
  local in_shards, throttled = 0, 0
  for _, shard in pairs(stats.shards) do
    in_shards, throttled = in_shards + shard.stored, throttled + shard.throttled
  end
  assert.equal(stats.kinesis_records_stored, in_shards)
  assert.equal(stats.throttled, throttled)
  return stats
end

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

    it("delivers what it took", function()
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

    it("leaves in time, though nobody calls", function()
      local producer = assert(client:producer(stream))
      assert(producer:put("alone", "key"))
      local reader = client:shards(stream):records { limit = 1, poll_interval = 0.2 }
      assert.equal("alone", reader().data)
      reader:close()
      producer:close()
    end)

    it("puts by the explicit hash key, and by random keys", function()
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

    it("sends many of a shard as one", function()
      local producer = assert(client:producer(stream, { linger = 30 })) -- close() sends them
      for i = 1, 400 do
        assert(producer:put("record " .. i, "key" .. i))
      end
      assert.is_true(producer:close())
      local records = fresh.read(client, stream)
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
          for _, user in ipairs(aggregate and kinesis.deaggregate(record.data) or { record }) do
            found[#found + 1] = user.partition_key .. "=" .. user.data
          end
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

    it("refuses what the stream would, and delivers the rest", function()
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
    for _, timeout in ipairs { "soon", -1, 0 / 0 } do
      local function expect(verb, heard)
        local text = "%s: timeout must be a number of seconds from 0 on, got %s"
        assert.equal(text:format(verb, tostring(timeout)), heard)
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

  it("gives each receipt its own answer, in coroutines side by side", function()
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

  it("gives a receipt's place back when it is dropped", function()
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

  it("flushes nothing at once", function()
    local producer = assert(client:producer(stream))
    assert.is_true(producer:flush())
    assert.is_true(producer:flush(0.5))
    assert.is_true(producer:close())
    assert.equal(0, producer:stats().requests)
  end)

  it("flushes what was put before, however much others go on putting", function()
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

  it("tells each of many that flush side by side", function()
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

  it("does not share what it holds with another of the same client", function()
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
    it("is closed with its variable, also by an error", function()
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

  it("is closed once, and takes nothing any more", function()
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

  it("tells what became of its records when its client is closed first", function()
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

describe("a producer whose stream is gone", function()
  local client

  setup(function()
    client = fresh.client(fresh.services[1])
  end)

  teardown(function()
    client:close()
  end)

  it("tells on_failure, with the record and its attempts", function()
    local lost = {}
    local producer = assert(client:producer("never-was", {
      on_failure = function(record, err)
        lost[#lost + 1] = { record, err }
      end,
    }))
    assert(producer:put("a", "key", { explicit_hash_key = "7" }))
    assert(producer:put("b", "key"))
    assert.is_true(producer:flush())
    assert.equal(2, #lost)
    assert.same({ data = "a", partition_key = "key", explicit_hash_key = "7" }, lost[1][1])
    assert.equal("ResourceNotFoundException", lost[1][2].code)
    assert.equal(1, #lost[1][2].attempts)
    assert.equal(0, producer:stats().held_records)
    producer:close()
  end)

  it("hands back what comes after the stream has been deleted", function()
    local direct = fresh.client(fresh.services[2])
    local stream = fresh.stream(direct, 1, "deleted")
    local producer = assert(direct:producer(stream))
    local before = assert(producer:send("before", "key"))
    assert.is_true(producer:flush())
    assert.is_table(before:wait())
    assert(direct:call("DeleteStream", { StreamName = stream }))
    fresh.eventually(function()
      local _, err = direct:call("DescribeStreamSummary", { StreamName = stream })
      return err and err.code == "ResourceNotFoundException"
    end)
    local after = assert(producer:send("with a receipt", "key"))
    assert(producer:put("after", "key"))
    local done, err, left, failed = producer:flush()
    assert.is_nil(done)
    assert.equal("ResourceNotFoundException", err.code)
    assert.equal(0, left)
    assert.same({ "after" }, data_of(failed))
    assert.equal("ResourceNotFoundException", failed[1].error.code)
    assert.equal(1, #failed[1].error.attempts)
    assert.matches(stream, failed[1].error.message, 1, true)
    local _, why = after:wait()
    assert.equal("ResourceNotFoundException", why.code)
    assert.equal(why, select(2, after:wait()))
    local stats = check_sums(producer:stats())
    assert.equal(1, stats.stored)
    assert.equal(2, stats.failed)
    assert.is_true(producer:close())
    direct:close()
  end)

  it("lets on_failure put its records elsewhere, by calls that wait", function()
    local dead = fresh.stream(client, 1, "dead")
    local letters = assert(client:producer(dead, { aggregate = false }))
    local function save(record)
      if record.data == "one" then
        assert(letters:put(record.data, record.partition_key))
        assert.is_true(letters:flush())
      else
        assert(client:put(dead, record.data, record.partition_key))
      end
    end
    for i = 1, 2 do
      local producer = assert(client:producer("never-was", { on_failure = save }))
      local function work()
        assert(producer:put("one", "key"))
        assert(producer:put("two", "key"))
        assert.is_true(producer:flush())
      end
      if i == 1 then
        work()
      else
        run(work)
      end
      producer:close()
    end
    assert.is_true(letters:close())
    assert.same({ "one", "one", "two", "two" }, data_of(fresh.read(client, dead)))
  end)

  it("tells on_failure though Lua only does something else", function()
    local told = 0
    local producer = assert(client:producer("never-was", { on_failure = function()
      told = told + 1
    end }))
    assert(producer:put("x", "key"))
    fresh.eventually(function()
      assert(client:call "ListStreams")
      return told == 1
    end)
    assert.equal(0, producer:stats().held_records)
    producer:close()
  end)

  it("keeps failures for flush where there is no on_failure", function()
    local producer = assert(client:producer("never-was", { max_records = 3, when_full = "refuse" }))
    for i = 1, 3 do
      assert(producer:put("r" .. i, "key"))
    end
    fresh.eventually(function()
      kinesis.run(function()
        kinesis.sleep(0.01)
      end)
      return producer:stats().failed == 3
    end)
    local taken, full = producer:put("no room", "key")
    assert.is_nil(taken)
    assert.equal("Full", full.code)
    local done, err, left, failed = producer:flush()
    assert.is_nil(done)
    assert.equal("ResourceNotFoundException", err.code)
    assert.matches("3 records failed; the first: ", err.message, 1, true)
    assert.equal(0, left)
    assert.same({ "r1", "r2", "r3" }, data_of(failed))
    assert.equal("ResourceNotFoundException", failed[1].error.code)
    assert(producer:put("room again", "key"))
    producer.when_full = "wait"
    for i = 1, 2 do
      assert(producer:put("more " .. i, "key"))
    end
    local late, full_of_failures = producer:put("no room for ever", "key")
    assert.is_nil(late)
    assert.equal("Full", full_of_failures.code)
    assert.matches("3 of them failed and were not reported", full_of_failures.message, 1, true)
    local closed, why, lost = producer:close()
    assert.is_nil(closed)
    assert.equal("ResourceNotFoundException", why.code)
    assert.equal("room again", lost[1].data)
  end)
end)

describe("a producer in trouble", function()
  local direct, stream

  setup(function()
    direct = fresh.client(fresh.services[2])
    stream = fresh.stream(direct, 2, "trouble")
  end)

  teardown(function()
    direct:close()
  end)

  local function open(rules, given, client_given)
    local scope = faults.open(rules, { service = "kinesalite" })
    local client = scope:client(client_given)
    return assert(client:producer(stream, given)), client, scope
  end

  it("hands back at once what it has no permission for", function()
    local denied = { code = "AccessDeniedException", status = 400, always = true }
    local producer, client, scope = open { PutRecords = { denied } }
    local stored, err = assert(producer:send("secret", "key")):wait()
    assert.is_nil(stored)
    assert.equal("AccessDeniedException", err.code)
    assert.equal(1, #err.attempts)
    assert.equal(1, #scope:seen "PutRecords")
    producer:close()
    client:close()
  end)

  it("tries again what passes, and keeps the attempts", function()
    local producer, client = open { PutRecords = { { code = "InternalFailure", status = 500 },
      { code = "ServiceUnavailable", status = 503 } } }
    local stored = assert(assert(producer:send("again", "key")):wait())
    assert.equal(3, #stored.attempts)
    assert.equal("InternalFailure", stored.attempts[1].code)
    assert.equal("ServiceUnavailable", stored.attempts[2].code)
    assert.is_nil(stored.attempts[3].code)
    assert.equal(2, producer:stats().possible_duplicates)
    producer:close()
    client:close()
  end)

  it("gives up after the time to live", function()
    local producer, client = open({ PutRecords = { { code = "InternalFailure", status = 500, always = true } } },
      { record_ttl = 0.3 })
    local stored, err = assert(producer:send("old", "key")):wait()
    assert.is_nil(stored)
    assert.equal("Expired", err.code)
    assert.is_true(#err.attempts >= 1)
    assert.matches("not stored within 0.3 s, in %d+ attempts?; the last attempt: InternalFailure", err.message)
    assert.equal(1, producer:stats().expired)
    producer:close()
    client:close()
  end)

  it("comes back from close in time, with what is not stored", function()
    local producer, client = open({ PutRecords = { { stall = 30, always = true } } })
    local receipt = assert(producer:send("waited for", "key"))
    assert(producer:put("not waited for", "key"))
    local began = core.now()
    local done, err, lost = producer:close(0.5)
    assert.is_true(core.now() - began < 3)
    assert.is_nil(done)
    assert.equal("Closed", err.code)
    assert.same({ "not waited for" }, data_of(lost))
    local _, why = receipt:wait()
    assert.equal("Closed", why.code)
    assert.matches("may have stored it", why.message, 1, true)
    client:close()
  end)

  it("says how many are left when a flush takes too long", function()
    local producer, client, scope = open { PutRecords = { { gate = true } } }
    assert(producer:put("slow", "key"))
    local done, err, left = producer:flush(0.1)
    assert.is_nil(done)
    assert.equal("Timeout", err.code)
    assert.equal(1, left)
    scope:open_gate()
    assert.is_true(producer:flush())
    producer:close()
    client:close()
  end)

  it("is Full at once in a host, and waits in a script", function()
    local producer, client, scope = open({ PutRecords = { { gate = true, always = true } } },
      { max_records = 5, when_full = "refuse", linger = 0 })
    for i = 1, 5 do
      assert(producer:put("r" .. i, "key"))
    end
    local taken, err = producer:put("r6", "key")
    assert.is_nil(taken)
    assert.equal("Full", err.code)
    assert.matches("5 records %(%d+ bytes%) fill this producer", err.message)
    scope:open_gate()
    producer:close()
    local patient = assert(client:producer(stream, { max_records = 5 }))
    for i = 1, 50 do
      assert(patient:put("p" .. i, "key"))
    end
    assert.is_true(patient:close())
    assert.equal(50, patient:stats().stored)
    client:close()
  end)

  it("hands back at once what it may no longer put, and keeps what it has put", function()
    local producer, client, scope = open { PutRecords = { {}, { code = "AccessDeniedException", always = true } } }
    local before = assert(producer:send("before", "key"))
    assert.is_true(producer:flush())
    assert.is_table(before:wait(0))
    assert(producer:put("after", "key"))
    local done, err, left, failed = producer:flush()
    assert.is_nil(done)
    assert.equal("AccessDeniedException", err.code)
    assert.matches("^PutRecords: AccessDeniedException: 1 record failed; the first: ", tostring(err))
    assert.equal(0, left)
    assert.same({ "after" }, data_of(failed))
    assert.equal(1, #failed[1].error.attempts)
    assert.equal(2, #scope:seen "PutRecords")
    local stats = check_sums(producer:stats())
    assert.equal(0, stats.retried)
    assert.equal(0, stats.held_records)
    assert.is_true(producer:close())
    client:close()
  end)

  it("tells the time of each attempt", function()
    local producer, client = open { PutRecords = { { delay = 0.2, code = "InternalFailure", status = 500 } } }
    local began = os.time()
    local stored = assert(assert(producer:send("timed", "key")):wait())
    local first, second = stored.attempts[1], stored.attempts[2]
    assert.is_true(first.at >= began - 1 and second.at <= os.time() + 1)
    assert.is_true(first.duration >= 0.15 and first.duration < 5, first.duration)
    assert.is_true(second.duration > 0 and second.duration < 5, second.duration)
    assert.is_true(second.at >= first.at + first.duration - 0.05)
    assert.equal("scripted", first.message)
    producer:close()
    client:close()
  end)

  it("sends again only those records of a call that were refused", function()
    local producer, client, scope = open({ PutRecords = { { fail_entries = { 2 }, code = "InternalFailure" } } },
      { aggregate = false, linger = 30 })
    local receipts, attempts = {}, {}
    for i = 1, 3 do
      receipts[i] = assert(producer:send("r" .. i, "the same key"))
    end
    assert.is_true(producer:flush())
    for i, receipt in ipairs(receipts) do
      attempts[i] = #assert(receipt:wait(0)).attempts
    end
    table.sort(attempts)
    assert.same({ 1, 1, 2 }, attempts)
    local seen = scope:seen "PutRecords"
    assert.equal(2, #seen)
    assert.equal(1, #seen[2].keys)
    assert.equal(1, producer:stats().retried)
    assert.equal(0, producer:stats().possible_duplicates)
    producer:close()
    client:close()
  end)

  it("says Timeout while a receipt's answer is not known, and tells it later", function()
    local producer, client = open { PutRecords = { { delay = 0.5 } } }
    local receipt = assert(producer:send("slow", "key"))
    for _, timeout in ipairs { 0, 0.05 } do
      local stored, err = receipt:wait(timeout)
      assert.is_nil(stored)
      assert.equal("Timeout", err.code)
    end
    assert.is_table(receipt:wait())
    assert.is_table(receipt:wait(0))
    producer:close()
    client:close()
  end)

  it("lets others of kinesis.run have their turn while it waits for room", function()
    local producer, client, scope = open({ PutRecords = { { gate = true, always = true } } },
      { max_records = 2, linger = 0 })
    local turns, done = 0, false
    run(function()
      for i = 1, 4 do
        assert(producer:put("r" .. i, "key"))
      end
      done = true
    end, function()
      while not done do
        kinesis.sleep(0.01)
        turns = turns + 1
        if turns == 5 then -- until then there is no room
          assert.is_false(done)
          scope:open_gate()
        end
      end
    end)
    assert.is_true(turns >= 5, turns)
    assert.is_true(producer:close())
    assert.equal(4, producer:stats().stored)
    client:close()
  end)

  it("answers Closed to a put that waits for room, when another coroutine closes it", function()
    local producer, client = open({ PutRecords = { { stall = 30, always = true } } }, { max_records = 1, linger = 0 })
    assert(producer:put("takes the room", "key"))
    local taken, err
    run(function()
      taken, err = producer:put("finds none", "key")
    end, function()
      local done, why, lost = producer:close(0.2)
      assert.is_nil(done)
      assert.equal("Closed", why.code)
      assert.same({ "takes the room" }, data_of(lost))
    end)
    assert.is_nil(taken)
    assert.equal("Closed", err.code)
    client:close()
  end)

  it("ends the waits of others when its client is closed", function()
    local producer, client = open { PutRecords = { { stall = 30, always = true } } }
    local codes = {}
    run(function()
      codes.receipt = select(2, assert(producer:send("a", "key")):wait()).code
    end, function()
      assert(producer:put("b", "key"))
      local done, err, left, failed = producer:flush()
      assert.is_nil(done)
      assert.equal(0, left)
      assert.same({ "b" }, data_of(failed))
      codes.flush = err.code
    end, function()
      kinesis.sleep(0.1)
      client:close()
    end)
    assert.same({ receipt = "Closed", flush = "Closed" }, codes)
    assert.equal(2, check_sums(producer:stats()).returned)
    assert.is_true(producer:close())
  end)

  it("holds no more memory than its bound, and takes again after the trouble", function()
    local producer, client, scope = open({ PutRecords = { { gate = true, always = true } } },
      { max_bytes = 50000, when_full = "refuse", linger = 0 })
    local taken, err = 0, nil
    while not err do
      local done
      done, err = producer:put(("x"):rep(1000), "key")
      taken = taken + (done and 1 or 0)
      local held = producer:stats().held_bytes
      assert.is_true(held <= 50000, held)
      assert.is_true(err == nil or held > 48000, held)
    end
    assert.equal("Full", err.code)
    assert.matches(("%d records %%(%%d+ bytes%%) fill this producer"):format(taken), err.message)
    assert.is_true(taken > 30, taken)
    scope:open_gate()
    assert.is_true(producer:flush())
    assert.equal(0, producer:stats().held_bytes)
    assert(producer:put(("x"):rep(1000), "key"))
    assert.is_true(producer:close())
    assert.equal(taken + 1, producer:stats().stored)
    client:close()
  end)

  it("takes a record that is larger than its bound when it holds nothing else", function()
    local producer, client, scope = open({ PutRecords = { { gate = true, always = true } } },
      { max_bytes = 2000, when_full = "refuse" })
    assert.is_true(producer:put(("x"):rep(3000), "key"))
    assert.equal("Full", select(2, producer:put("x", "key")).code)
    scope:open_gate()
    assert.is_true(producer:close())
    assert.equal(1, producer:stats().stored)
    client:close()
  end)

  it("tells its on_failure of what close could not deliver", function()
    local told = {}
    local function note(record, err)
      told[#told + 1] = record
      assert.equal("Closed", err.code)
    end
    local producer, client = open({ PutRecords = { { stall = 30, always = true } } }, { on_failure = note })
    assert(producer:put("one", "key"))
    assert(producer:put("two", "key"))
    assert.is_true(producer:close(0.2))
    assert.same({ "one", "two" }, data_of(told))
    assert.equal(2, check_sums(producer:stats()).returned)
    client:close()
  end)

  it("needs no permission to look at the stream", function()
    local denied = { code = "AccessDeniedException", status = 400, always = true }
    for _, operations in ipairs {
      { "ListShards" }, { "DescribeStreamSummary" }, { "ListShards", "DescribeStreamSummary" },
    } do
      local rules, name = {}, fresh.stream(direct, 2, "denied")
      for _, operation in ipairs(operations) do
        rules[operation] = { denied }
      end
      local scope = faults.open(rules, { service = "kinesalite" })
      local client = scope:client()
      local producer, put = assert(client:producer(name)), {}
      for i = 1, 20 do
        put[i] = ("r%02d"):format(i)
        assert(producer:put(put[i], "key" .. i))
      end
      assert.is_true(producer:close())
      assert.same(put, data_of(fresh.read(direct, name))) -- not aggregated
      check_sums(producer:stats())
      client:close()
    end
  end)

  it("expires what could not be sent at all", function()
    local producer, client = open({ ListShards = { { code = "InternalFailure", status = 500, always = true } } },
      { record_ttl = 0.3 })
    local stored, err = assert(producer:send("old", "key")):wait()
    assert.is_nil(stored)
    assert.equal("Expired", err.code)
    assert.same({}, err.attempts)
    assert.equal(1, check_sums(producer:stats()).expired)
    producer:close()
    client:close()
  end)

  it("hands back what there are no keys for", function()
    local client = fresh.client(fresh.services[2], { credentials = function()
      return nil, "none today"
    end })
    local producer = assert(client:producer(stream))
    local _, err = assert(producer:send("unsigned", "key")):wait()
    assert.equal("NoCredentials", err.code)
    assert.matches("none today", err.message, 1, true)
    producer:close()
    client:close()
  end)

  it("says why nothing could be sent, when the service is not to be reached", function()
    local client = fresh.client "http://127.0.0.1:9"
    local producer = assert(client:producer(stream, { record_ttl = 0.5 }))
    local _, err = assert(producer:send("unsent", "key")):wait()
    assert.equal("Expired", err.code)
    assert.matches("Connection: ", err.message, 1, true)
    client:close()
  end)

  it("flushes at once, given no time, what is stored already", function()
    local producer, client = open {}
    assert.is_table(assert(producer:send("stored", "key")):wait())
    for _ = 1, 100 do
      assert.is_true(producer:flush(0))
    end
    producer:close()
    client:close()
  end)
end)

-- ---- ends that nobody waited for ----

-- A script with a producer; `body` is what it does.
local function script(body, options)
  return ([[
local kinesis = require "kinesis"
local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1",
  credentials = { access_key_id = "a", secret_access_key = "s" } })
local producer = assert(client:producer(arg[2], %s))
%s
]]):format(options or "{}", body)
end

local FIVE = "for i = 1, 5 do assert(producer:put('record ' .. i, 'key')) end\n"

describe("a producer that nobody closes", function()
  local direct

  setup(function()
    direct = fresh.client(fresh.services[2])
  end)

  teardown(function()
    direct:close()
  end)

  local function count_stored(stream)
    local count = 0
    for _, record in ipairs(fresh.read(direct, stream)) do
      count = count + #(kinesis.deaggregate(record.data) or { record })
    end
    return count
  end

  for how, body in pairs {
    ["at the end of the script"] = FIVE,
    ["by os.exit"] = FIVE .. "os.exit(0)",
    ["by os.exit that closes the state"] = FIVE .. "os.exit(0, true)",
    ["by the collector"] = FIVE .. "producer = nil collectgarbage() collectgarbage() io.write 'collected'",
    ["by an error"] = FIVE .. "os.exit(pcall(error, 'x') and 1 or 0)",
  } do
    it("is drained " .. how, function()
      local stream = fresh.stream(direct, 1, "unclosed")
      local child = fresh.lua(script(body, "{ linger = 30 }"), nil, fresh.services[2].endpoint, stream)
      local output, status = child:wait()
      assert.equal(how == "by the collector" and "collected" or "", output)
      assert.equal(0, status)
      assert.equal(5, count_stored(stream))
    end)
  end

  local function not_delivered(stream, why)
    return ("kinesis: 5 records for %s were not delivered: %s; close producers, and look at receipts\n"):format(
      stream, why)
  end

  for how, ending in pairs {
    ["at the end of the script"] = "",
    ["by os.exit"] = "os.exit(0)",
    ["by os.exit that closes the state"] = "os.exit(0, true)",
    ["by the collector"] = "producer = nil collectgarbage() collectgarbage()",
  } do
    it("says how many records are lost when that takes too long " .. how, function()
      local stream = fresh.stream(direct, 1, "unclosed")
      local scope = faults.open({ PutRecords = { { stall = 30, always = true } } }, { service = "kinesalite" })
      local began = core.now()
      local output, status = fresh.lua(script(FIVE .. ending, "{ exit_timeout = 0.3 }"), nil, scope.url, stream):wait()
      assert.is_true(core.now() - began < 10)
      assert.equal(not_delivered(stream, "no answer came in time"), output)
      assert.equal(0, status)
    end)
  end

  local function expect_failures_told(ending)
    local body = FIVE .. [[
      while producer:stats().untold_failures < 5 do
        client:call "ListStreams"
      end
    ]] .. ending
    local output, status = fresh.lua(script(body), nil, fresh.services[2].endpoint, "never-was"):wait()
    local why = "PutRecords: ResourceNotFoundException: Stream never-was under account 000000000000 not found"
    assert.equal(not_delivered("never-was", why), output:match "\n(.*)$") -- behind the line that told of the cause
    assert.equal(0, status)
  end

  it("says how many records failed that nobody looked at", function()
    expect_failures_told ""
    expect_failures_told "os.exit(0, true)"
  end)

  it("says how many records failed that nobody looked at, by os.exit", function()
    expect_failures_told "os.exit(0)"
  end)

  if closes then
    it("tells of what is lost when its variable is closed, which nobody can look at", function()
      local body = [[
        local closing <close> = producer
        assert(producer:put("lost", "key"))
      ]]
      local output = fresh.lua(script(body), nil, fresh.services[2].endpoint, "never-was"):wait()
      assert.matches("never-was", output, 1, true)
    end)
  end

  it("says on stderr that a handler raised, once a minute, and tells it of the others", function()
    local body = FIVE .. "print(producer:flush(), told) producer:close()"
    local options = [[{ on_failure = function(record)
      told = (told or 0) + 1
      if told % 2 == 1 then error("the handler's own " .. record.data, 0) end
    end }]]
    local output, status = fresh.lua(script(body, options), nil, fresh.services[2].endpoint, "never-was"):wait()
    assert.equal(0, status)
    assert.matches("true\t5\n", output, 1, true)
    local _, complaints = output:gsub("kinesis: on_failure raised: the handler's own record 1\n", "")
    assert.equal(1, complaints, output)
  end)

  it("may be dropped, with others, by a handler", function()
    local body = [[
      local function handler()
        producer, other = nil, nil
        collectgarbage() collectgarbage()
      end
      other = assert(client:producer("never-was", { on_failure = handler }))
      producer = assert(client:producer("never-was", { on_failure = handler }))
      assert(producer:put("x", "key"))
      assert(other:put("x", "key"))
      while producer:stats().open + other:stats().open > 0 do end -- both have failed when the next answer is looked at
      assert(client:call "ListStreams")
      assert(client:call "ListStreams")
      io.write "fine"
    ]]
    local output, status = fresh.lua(script(body), nil, fresh.services[2].endpoint, "never-was"):wait()
    assert.matches("fine", output)
    assert.equal(0, status)
  end)

  -- A script that sends more records than there is room for receipts; no longer than 10 s.
  local function send_many(stream, keep)
    local body = ([[
      local kept, taken = {}, 0
      for i = 1, 1000 do
        local receipt, err = producer:send("record " .. i, "key")
        if not receipt then
          print(err.code, err.message)
          break
        end
        %s
        taken = i
      end
      print(taken, producer:flush())
      if kept[1] then
        print((kept[1]:wait().shard_id), producer:put("room again", "key"))
      end
      print(producer:close())
    ]]):format(keep)
    local child = fresh.lua(script(body, "{ max_records = 100, aggregate = false }"), nil, fresh.services[2].endpoint,
      stream)
    return child:wait()
  end

  it("is Full, and does not wait for ever, when receipts that are kept fill it", function()
    local output = send_many(fresh.stream(direct, 1, "receipts"), "kept[i] = receipt")
    assert.matches("^Full\t[^\n]+\n100\ttrue\nshardId%-000000000000\ttrue\ntrue\n$", output)
  end)

  it("says that receipts take the room", function()
    local output = send_many(fresh.stream(direct, 1, "receipts"), "kept[i] = receipt")
    assert.matches("^Full\t[^\n]*receipt", output)
  end)

  it("takes more than there is room for when the receipts are dropped", function()
    local output = send_many(fresh.stream(direct, 1, "receipts"), "")
    assert.equal("1000\ttrue\ntrue\n", output)
  end)

  it("is the default client's, as the README has it", function()
    local stream = fresh.stream(direct, 1, "default")
    local source = [[
      local kinesis = require "kinesis"
      local producer = assert(kinesis.producer(arg[1], {
        on_failure = function(record, err) print("lost:", record.data, err) end,
      }))
      for _, line in ipairs { "anna bought", "otto sold", "anna paid" } do
        assert(producer:put(line, line:match "%S+"))
      end
      assert(producer:close())
    ]]
    local output, status = fresh.lua(source, { AWS_ENDPOINT_URL_KINESIS = fresh.services[2].endpoint,
      AWS_REGION = fresh.region, AWS_ACCESS_KEY_ID = "a", AWS_SECRET_ACCESS_KEY = "s" }, stream):wait()
    assert.equal("", output)
    assert.equal(0, status)
    assert.equal(3, count_stored(stream))
  end)

  it("is no business of a child after a fork", function()
    if os.getenv("BUILD_FLAVOUR"):find "^[at]san" then
      pending "a sanitizer's malloc, locked by a thread that the child does not have, stays locked there"
      return
    end
    local stream = fresh.stream(direct, 1, "forked")
    local body = [[
      local function first_line(path)
        local file = assert(io.open(path))
        local line = file:read "*l"
        file:close()
        return line
      end
      local function pid() return first_line("/proc/self/stat"):match "^%d+" end
      local parent = pid()
      local receipt = assert(producer:send("sent before", "key"))
      for i = 1, 4 do assert(producer:put("record " .. i, "key")) end
      if jit then
        local ffi = require "ffi"
        ffi.cdef "int fork(void);"
        ffi.C.fork()
      else
        local fork = assert(package.loadlib("libc.so.6", "fork"))
        fork() -- no C function of Lua's, but nobody wants its results
      end
      if pid() ~= parent then
        for _, verb in ipairs { "put", "send", "flush", "stats" } do
          local data = (verb == "put" or verb == "send") and "x" or nil
          local done, err = producer[verb](producer, data)
          io.write(verb, " ", tostring(done), " ", err.code, "\n")
        end
        local done, err = receipt:wait()
        io.write("wait ", tostring(done), " ", err.code, "\n")
        io.write("close ", tostring(producer:close()), "\n")
        io.stdout:flush()
        os.exit(0, arg[3] == "close the state")
      end
      for child in first_line("/proc/self/task/" .. parent .. "/children"):gmatch "%d+" do
        while not first_line("/proc/" .. child .. "/stat"):find "%) Z" do kinesis.sleep(0.01) end
      end
      io.write("parent ", tostring((receipt:wait().shard_id)), " ", tostring(producer:close()), "\n")
    ]]
    for _, ending in ipairs { "as it is", "close the state" } do
      local output, status = fresh.lua(script(body), { ASAN_OPTIONS = "detect_leaks=0:exitcode=99" },
        fresh.services[2].endpoint, stream, ending):wait()
      assert.equal("put nil Forked\nsend nil Forked\nflush nil Forked\nstats nil Forked\nwait nil Forked\nclose true\n"
        .. "parent shardId-000000000000 true\n", output)
      assert.equal(0, status)
    end
    assert.equal(10, count_stored(stream))
  end)

  it("loses nothing when a signal's handler closes it", function()
    if not pcall(require, "posix.signal") then
      pending "lua-posix is not there for this Lua"
    end
    local stream = fresh.stream(direct, 1, "signalled")
    local body = [[
local signal, taken = require "posix.signal", 0
signal.signal(signal.SIGTERM, function()
  local done, err = producer:close(10)
  print(taken, done, err)
  os.exit(0)
end)
io.write(require("posix.unistd").getpid(), "\n")
io.flush()
while true do
  if producer:put("record " .. taken + 1, "key") then
    taken = taken + 1
  end
  kinesis.sleep(0.0005)
end
]]
    local child = fresh.lua(script(body, "{ linger = 5, max_records = 500 }"), nil, fresh.services[2].endpoint, stream)
    local pid = child:line()
    fresh.eventually(function()
      return #direct:shards(stream) == 1 and next(fresh.read(direct, stream)) or nil
    end, 20)
    os.execute("kill " .. pid)
    local output = child:wait()
    local taken, done = output:match "^(%d+)%s+(%S+)"
    assert.equal("true", done, output)
    assert.equal(tonumber(taken), count_stored(stream))
  end)

  if closes then
    it("that is a <close> variable loses nothing by Ctrl-C", function()
      local stream = fresh.stream(direct, 1, "interrupted")
      local body = [[
        local taken = 0
        local count <close> = setmetatable({}, { __close = function() print(taken, producer:stats().stored) end })
        local closing <close> = producer
        io.write((io.open("/proc/self/stat"):read "*a"):match "^%d+", "\n")
        io.stdout:flush()
        while true do
          if producer:put("record " .. taken + 1, "key") then
            taken = taken + 1
          end
          kinesis.sleep(0.0005)
        end
      ]]
      local options = "{ linger = 5, max_records = 500 }"
      local child = fresh.lua(script(body, options), nil, fresh.services[2].endpoint, stream)
      local pid = child:line()
      fresh.eventually(function()
        return next(fresh.read(direct, stream))
      end, 20)
      os.execute("kill -INT " .. pid)
      local output = child:wait()
      local taken, stored = output:match "(%d+)\t(%d+)\n"
      assert.is_truthy(taken, output)
      assert.matches("interrupted!", output, 1, true)
      assert.equal(taken, stored, output)
      assert.equal(tonumber(taken), count_stored(stream))
    end)
  end
end)
