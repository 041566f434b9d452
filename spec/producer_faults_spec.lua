-- A producer while the service fails: no accepted record is lost, and possible duplicates are counted.
-- Flavours: *lua5.4 *luajit
local delivery = require "support.delivery"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local SERVICE = { service = "kinesalite" }

local sanitized = os.getenv("BUILD_FLAVOUR"):find("^[at]san") ~= nil
local direct

setup(function()
  direct = fresh.client(os.getenv "KINESALITE")
end)

teardown(function()
  direct:close()
end)

-- ---- records: each is a number, and has one of some keys ----

local function key_of(number, keys)
  return "key" .. number % keys
end

-- `size`: of the data, in bytes
local function data_of(number, size)
  local data = ("%06d"):format(number)
  return data .. ("."):rep((size or 0) - #data)
end

local function put_all(producer, first, last, keys)
  for number = first, last do
    assert(producer:put(data_of(number), key_of(number, keys)))
  end
end

local function read_all(client, stream)
  local list = delivery.user_records(client, stream)
  for _, record in ipairs(list) do
    record.number = tonumber(record.data:match "^%d+")
  end
  return list
end

-- Checks that readers find each of `count` records; returns the number of surplus copies.
local function expect_all(count, keys, list)
  local good = {}
  for _, record in ipairs(list) do
    assert.equal(key_of(record.number, keys), record.key)
    good[record.number] = good[record.number] or record.good
  end
  for number = 1, count do
    assert.is_true(good[number], ("record %d is not there"):format(number))
  end
  return #list - count
end

-- The same, and by the producer's counts all are stored, and every surplus copy is a possible duplicate.
local function expect_delivered(count, keys, list, stats)
  local surplus = expect_all(count, keys, list)
  assert.equal(count, stats.accepted)
  assert.equal(count, stats.stored)
  assert.equal(0, stats.open)
  assert.equal(0, stats.held_records)
  assert.is_true(surplus <= stats.possible_duplicates, ("%d surplus, %d known"):format(surplus,
    stats.possible_duplicates))
  return surplus
end

-- The first copies of each key's records are in the order in which they were put.
local function expect_in_order(list)
  local last, seen = {}, {}
  for _, record in ipairs(list) do
    if record.good and not seen[record.number] then
      seen[record.number] = true
      assert.is_true(record.number > (last[record.key] or 0), ("%d came behind %d of %s"):format(record.number,
        last[record.key] or 0, record.key))
      last[record.key] = record.number
    end
  end
end

-- ---- single calls and entries that fail ----

-- Puts `count` records while PutRecords follows these rules; returns the records in the stream, and the stats.
local function produce(count, keys, rules, options)
  local stream = fresh.stream(direct, 4, "faults")
  local client = faults.open({ PutRecords = rules }, SERVICE):client()
  options.rate_limit, options.linger = 100, 0.02 -- the local service has no limits
  local producer = assert(client:producer(stream, options))
  put_all(producer, 1, count, keys)
  assert(producer:close(60))
  local stats = producer:stats()
  client:close()
  local list = read_all(direct, stream)
  direct:call("DeleteStream", { StreamName = stream })
  return list, stats
end

local HOT = { hot = 1, share = 0.3 } -- one shard of four throttles 30 % of its entries

-- Of 100 calls 5 are answered 500, and 2 are reset after they were stored; the others meet a hot shard.
local function mixed()
  local rules = {}
  for i = 1, 1000 do
    rules[i] = i % 20 == 10 and { code = "InternalFailure", status = 500 } or i % 50 == 25 and { reset = "after" }
      or HOT
  end
  return rules
end

describe("under faults of every kind, a producer", function()
  for _, aggregate in ipairs { false, true } do
    local how = aggregate and "aggregated" or "one by one"
    local batch = aggregate and 10 or 200 -- so that there are about a hundred calls

    local function options(more)
      more.aggregate, more.aggregate_bytes, more.batch_records = aggregate, 1000, batch
      return more
    end

    it("loses none of 20,000 records sent " .. how, function()
      local count = 20000
      local list, stats = produce(count, 50, mixed(), options {})
      assert.is_true(expect_delivered(count, 50, list, stats) > 0)
      assert.is_true(stats.throttled > 0)
    end)

    it("stores none of them twice that was only throttled, sent " .. how, function()
      local count = aggregate and 20000 or 5000
      local list, stats = produce(count, 50, { { hot = HOT.hot, share = HOT.share, always = true } }, options {})
      assert.equal(0, expect_delivered(count, 50, list, stats))
      assert.equal(0, stats.possible_duplicates)
      assert.is_true(stats.throttled > 0)
    end)

    it("keeps the order of each key when told so, sent " .. how, function()
      local count = aggregate and 5000 or 400
      local list, stats = produce(count, 20, mixed(), options { order = "shard" })
      assert.is_true(expect_delivered(count, 20, list, stats) > 0)
      assert.is_true(stats.throttled > 0)
      expect_in_order(list)
    end)
  end
end)

-- ---- malformed answers ----

local ONE_RESULT = '{"SequenceNumber":"1","ShardId":"shardId-000000000000"}'

local function results(...)
  return { body = ('{"FailedRecordCount":0,"Records":[%s]}'):format(table.concat({ ... }, ",")) }
end

local function times(text, count)
  local list = {}
  for i = 1, count do
    list[i] = text
  end
  return (table.unpack or unpack)(list)
end

local BATCH = 20
local GARBAGE = {
  { raw = "\1\2\3" }, { raw = "SSH-2.0-OpenSSH_9.2\r\n" },
  { body = "<html>busy</html>", status = 200, headers = { ["Content-Type"] = "text/html" } },
  { body = "<html>busy</html>", status = 502, headers = { ["Content-Type"] = "text/html" } },
  { body = "" }, { body = "{}" }, { body = "[]" }, { body = "null" }, { body = ("["):rep(100000) },
  results(), results(ONE_RESULT), results(times(ONE_RESULT, BATCH - 1)), results(times(ONE_RESULT, BATCH + 1)),
  results(times("{}", BATCH)), results(times("null", BATCH)),
  { truncate = 0 }, { truncate = 25 }, { truncate = 500 }, { cut = 0 }, { cut = 500 }, { lie = 10 }, { lie = -10 },
}

describe("from answers that make no sense, a producer", function()
  for _, aggregate in ipairs { false, true } do
    it("concludes nothing, sending " .. (aggregate and "aggregated" or "one by one"), function()
      local rules = {}
      for _, rule in ipairs(GARBAGE) do -- twice, and then a call that goes well: pauses do not grow
        rules[#rules + 1], rules[#rules + 2], rules[#rules + 3] = rule, rule, {}
      end
      local list, stats = produce(aggregate and 8000 or 2000, 50, rules,
        { aggregate = aggregate, aggregate_bytes = 200, batch_records = BATCH, unknown_attempts = 255 })
      assert.is_true(expect_delivered(aggregate and 8000 or 2000, 50, list, stats) > 0)
      assert.is_true(stats.requests > #rules, stats.requests)
      assert.equal(0, stats.failed)
    end)
  end
end)

-- ---- a service that hangs ----

local function memory()
  local file = assert(io.open "/proc/self/smaps_rollup")
  local text = file:read "*a"
  file:close()
  return tonumber(text:match "\nRss:%s+(%d+) kB") * 1024
end

describe("while the service hangs, a producer", function()
  it("holds no more than its bound, says Full at once, and delivers all when it is back", function()
    local COUNT, SIZE, BOUND = 1000, 2000, 500000
    local stream = fresh.stream(direct, 4, "hang")
    local scope = faults.open({ PutRecords = { {}, { gate = true, always = true } } }, SERVICE)
    local client = scope:client { request_timeout = 0.5 }
    local producer = assert(client:producer(stream, {
      rate_limit = 100, linger = 0.02, max_bytes = BOUND, batch_bytes = 100000, when_full = "refuse",
    }))
    local taken, full, held, before, used, back = 0, 0, 0, memory(), 0, false
    while taken < COUNT do
      for _ = 1, 20 do
        local done, err = producer:put(data_of(taken + 1, SIZE), key_of(taken + 1, 50))
        if done then
          taken = taken + 1
        else
          assert.equal("Full", err.code)
          full = full + 1
        end
        held = math.max(held, producer:stats().held_bytes)
        if taken == COUNT then
          break
        end
      end
      used = math.max(used, memory())
      kinesis.sleep(0.01)
      if full > 0 and not back and #scope:seen "PutRecords" > 3 then
        scope:open_gate()
        back = true
      end
    end
    assert.is_true(held <= BOUND and held > BOUND / 2, held)
    assert.is_true(sanitized or used - before < 16 * 1024 * 1024, used - before)
    assert(producer:close(60))
    local stats = producer:stats()
    client:close()
    expect_delivered(COUNT, 50, read_all(direct, stream), stats)
    direct:call("DeleteStream", { StreamName = stream })
  end)
end)

-- ---- two at once ----

describe("two producers of one stream", function()
  it("both complete, side by side, and only one of them waits for order", function()
    local EACH, KEYS = 3000, 20
    local stream = fresh.stream(direct, 4, "both")
    local client = faults.open({ PutRecords = mixed() }, SERVICE):client()
    local given = { rate_limit = 100, linger = 0.02, max_records = 300, aggregate_bytes = 1000 }
    local free = assert(client:producer(stream, given))
    given.order = "shard"
    local ordered = assert(client:producer(stream, given))
    local stats = {}
    local function writer(producer, first, other)
      return function()
        put_all(producer, first, first + EACH - 1, KEYS)
        assert.is_true(other:stats().accepted > 300) -- it was not delayed
        assert(producer:close(60))
        stats[producer] = producer:stats()
        assert.equal(EACH, stats[producer].stored)
      end
    end
    kinesis.run(writer(ordered, 1, free), writer(free, EACH + 1, ordered))
    client:close()
    local list, of_ordered = read_all(direct, stream), {}
    for _, record in ipairs(list) do
      if record.number <= EACH then
        of_ordered[#of_ordered + 1] = record
      end
    end
    local surplus = expect_all(2 * EACH, KEYS, list)
    assert.is_true(surplus <= stats[free].possible_duplicates + stats[ordered].possible_duplicates, surplus)
    expect_in_order(of_ordered)
    direct:call("DeleteStream", { StreamName = stream })
  end)
end)

-- ---- shards that are split and merged ----

describe("through a split and a merge, a producer", function()
  local COUNT, KEYS = 5000, 200
  local client, stream

  setup(function()
    client = fresh.client(fresh.services[1])
  end)

  teardown(function()
    client:close()
  end)

  before_each(function()
    stream = fresh.stream(client, 4, "reshard")
  end)

  after_each(function()
    client:call("DeleteStream", { StreamName = stream })
  end)

  local function split(shard_id, hash_key)
    assert(client:split_shard { StreamName = stream, ShardToSplit = shard_id, NewStartingHashKey = hash_key })
    fresh.active(client, stream)
  end

  local function merge(shard_id, adjacent)
    assert(client:merge_shards { StreamName = stream, ShardToMerge = shard_id, AdjacentShardToMerge = adjacent })
    fresh.active(client, stream)
  end

  -- Puts all records while a shard is split and, when the producer has noticed that, two are merged; returns the
  -- records in the stream, and the stats.
  local function produce_through(options)
    local producer, put, was_split, merged = assert(client:producer(stream, options)), 0, false, false
    local function wait_for(look)
      while not look() do
        kinesis.sleep(0.005)
      end
    end
    kinesis.run(function()
      for number = 1, COUNT do
        if number == 1500 then -- the records after these show the producer that the shard was split
          wait_for(function() return was_split end)
        elseif number == COUNT - 1000 then
          wait_for(function() return merged end)
        end
        assert(producer:put(data_of(number), key_of(number, KEYS)))
        put = number
        if number % 25 == 0 then
          kinesis.sleep(0.01)
        end
      end
    end, function()
      wait_for(function() return put > 1000 end)
      split("shardId-000000000001", "127605887595351923798765477786913079296") -- in the middle of its range
      was_split = true
      wait_for(function() return producer:stats().map_refreshes > 1 end)
      merge("shardId-000000000002", "shardId-000000000003")
      merged = true
    end)
    assert(producer:close(30))
    return read_all(client, stream), producer:stats()
  end

  it("delivers every record to the shard it belongs to, and knows exactly what is there twice", function()
    local list, stats = produce_through { linger = 0.02, aggregate_bytes = 2000 }
    local surplus, good = expect_delivered(COUNT, KEYS, list, stats), 0
    for _, record in ipairs(list) do
      good = good + (record.good and 1 or 0)
    end
    assert.equal(COUNT, good)
    assert.equal(stats.possible_duplicates, surplus)
    assert.equal(stats.misplaced, surplus)
    assert.is_true(surplus > 0)
    -- the shards are looked up once a second at most: after the merge everything may be stored before that
    assert.is_true(stats.map_refreshes >= 2 and stats.map_refreshes <= 6, stats.map_refreshes)
    assert.is_true(stats.requests <= 500, stats.requests)
  end)

  it("keeps the order of each key when told so", function()
    local list, stats = produce_through { linger = 0.02, aggregate_bytes = 2000, order = "shard" }
    expect_delivered(COUNT, KEYS, list, stats)
    expect_in_order(list)
  end)
end)
