-- User records of aggregates that lie in a shard to which their hash key does not belong: they are counted, and dropped
-- where the reader is told to.
local cjson = require "cjson"
local codec = require("kinesis").codec
local faults = require "support.faults"
local framed = require("support.framing").framed
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local notice = require "kinesis.observe.notice"
local wait = require "kinesis.wait"
local wire = require("stepped").codec

local unpack = table.unpack or unpack

local HALF = "170141183460469231731687303715884105728" -- 2^127: the first hash key of the second of two shards
local LARGEST = "340282366920938463463374607431768211455"

local print_rarely = notice.print_rarely

setup(function()
  notice.print_rarely = function() end -- of drops, which a spec below reads
end)

teardown(function()
  notice.print_rarely = print_rarely
end)

-- Whether a decimal number is below another one.
local function below(one, other)
  return #one < #other or #one == #other and one < other
end

local function is_low(record)
  return below(record.explicit_hash_key or kinesis.hash_key(record.partition_key), HALF)
end

-- Records of many keys; every third one has a hash key of its own.
local function some_records(count)
  local records = {}
  for i = 1, count do
    records[i] = { data = "record " .. i, partition_key = "key " .. i % 11 }
    if i % 3 == 0 then
      records[i].explicit_hash_key = i % 2 == 0 and "12" or HALF
    end
  end
  return records
end

local function numbered(records, wanted)
  local list = {}
  for i, record in ipairs(records) do
    if not wanted or wanted(record) then
      list[#list + 1] = { record.data, i - 1 }
    end
  end
  return list
end

-- What a reader with these options returns, until the tip; and the reader.
local function read(client, stream, more)
  local options, list = { stop_at_tip = true, poll_interval = 0.2, idle_timeout = 20 }, {}
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  local reader = client:shards(stream):records(options)
  for record in reader do
    list[#list + 1] = record
  end
  return list, reader
end

local function data_and_sub(records)
  local list = {}
  for i, record in ipairs(records) do
    list[i] = { record.data, record.sub_sequence_number }
  end
  return list
end

-- What the core of a reader returns for `left` wanted records.
local function taken(client, handle, verb, left)
  return fresh.eventually(function()
    wait.poll(client)
    local got, event = handle[verb](handle, left)
    if event == "ready" then
      handle:pass()
    end
    return got
  end)
end

local function dropping(more)
  local options = { drop_misplaced = true }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  return options
end

describe("whether a record of an aggregate lies outside a range", function()
  local function expect_same(records, first, last)
    local wanted = {}
    for i, record in ipairs(records) do
      local hash = record.explicit_hash_key or kinesis.hash_key(record.partition_key)
      wanted[i] = below(hash, first) or below(last, hash)
    end
    assert.same(wanted, wire.outside((kinesis.aggregate(records)), first, last))
  end

  it("is what the hash of its key says, for keys of every length", function()
    local records = {}
    for i = 1, 256 do
      records[i] = { data = "", partition_key = ("k"):rep(i - 1) .. string.char(33 + i % 90) }
    end
    expect_same(records, "0", HALF)
    expect_same(records, HALF, LARGEST)
    expect_same(records, "0", LARGEST)
    expect_same({ unpack(records, 1, 3) }, HALF, LARGEST)
  end)

  it("counts both ends of the range as inside", function()
    local hash = kinesis.hash_key "here"
    local records = { { data = "", partition_key = "here" },
      { data = "", partition_key = "x", explicit_hash_key = hash } }
    assert.same({ false, false }, wire.outside((kinesis.aggregate(records)), hash, hash))
    expect_same({ { data = "", partition_key = "x", explicit_hash_key = LARGEST },
      { data = "", partition_key = "x", explicit_hash_key = "0" } }, "1", "340282366920938463463374607431768211454")
  end)

  it("is asked of the hash key where there is one, whatever other records of the key have", function()
    expect_same(some_records(100), HALF, LARGEST)
  end)

  it("is false of a hash key that is no number below 2^128; an empty one is none", function()
    local message = "\10\1a\10\1k" -- hash keys below and above HALF
    for _, text in ipairs { "340282366920938463463374607431768211456", "-1", "0x10", "", "k" } do
      message = message .. "\18" .. string.char(#text) .. text
    end
    for i = 0, 4 do
      for key = 0, 1 do
        message = message .. "\26\7\8" .. string.char(key) .. "\16" .. string.char(i) .. "\26\1x"
      end
    end
    assert.same({ false, false, false, false, false, false, true, false, false, false },
      wire.outside(framed(message), HALF, LARGEST))
  end)
end)

for _, service in ipairs(fresh.services) do
  describe("a reader of " .. service.name, function()
    local client, stream
    local records = some_records(24)
    local low, high = numbered(records, is_low), numbered(records, function(r) return not is_low(r) end)

    setup(function()
      client = fresh.client(service)
      stream = fresh.stream(client, 2, "two")
      assert(client:put(stream, (kinesis.aggregate(records)), "a", { explicit_hash_key = "0" }))
      assert(client:put(stream, (kinesis.aggregate(records)), "a", { explicit_hash_key = HALF }))
    end)

    teardown(function()
      client:close()
    end)

    local function both(of_low, of_high)
      local shards = client:shards(stream)
      return { [shards[1].id] = of_low, [shards[2].id] = of_high }
    end

    it("returns and counts what lies in a shard to which it does not belong", function()
      local got, reader = read(client, stream)
      assert.equal(48, #got)
      assert.equal(24, reader:stats().misplaced)
      assert.is_true(#low > 0 and #high > 0)
    end)

    it("drops it record by record if it is told to, and numbers the others as they were", function()
      local got, reader = read(client, stream, dropping())
      local by_shard = both({}, {})
      for _, record in ipairs(got) do
        table.insert(by_shard[record.shard_id], { record.data, record.sub_sequence_number })
      end
      assert.same(both(low, high), by_shard)
      assert.equal(#low + #high, reader:stats().records)
      assert.equal(24, reader:stats().misplaced)
    end)

    it("drops it in lists, columns and values, too, and counts what it returns for `limit`", function()
      local shard = client:shards(stream)[1]
      local function all(options)
        return shard:records(dropping(options))
      end
      local batch = all { batch = true, limit = 7 } ()
      assert.same({ unpack(low, 1, 7) }, data_and_sub(batch))
      assert.same(low, data_and_sub(all { batch = true } ()))
      local columns = all { batch = "columns", fields = { "data", "sub_sequence_number" } } ()
      assert.equal(#low, columns.n)
      for i, each in ipairs(low) do
        assert.same(each, { columns.data[i], columns.sub_sequence_number[i] })
      end
      local values = {}
      for data, sub in all { values = { "data", "sub_sequence_number" }, limit = #low } do
        values[#values + 1] = { data, sub }
      end
      assert.same(low, values)
    end)

    it("goes on behind what it dropped, from every position", function()
      local shard = client:shards(stream)[2]
      local reader = shard:records(dropping { stop_at_tip = true, poll_interval = 0.2 })
      local positions = {}
      for _ in reader do
        positions[#positions + 1] = cjson.decode(cjson.encode(reader:position()))
      end
      assert.equal(#high, #positions)
      assert.equal(high[1][2], positions[1].shards[shard.id].sub)
      for i, position in ipairs(positions) do
        local rest = {}
        for record in shard:records(dropping { from = position, stop_at_tip = true, poll_interval = 0.2 }) do
          rest[#rest + 1] = { record.data, record.sub_sequence_number }
        end
        assert.same({ unpack(high, i + 1) }, rest, "after record " .. i)
      end
    end)

    it("never counts or drops a record that was put alone", function()
      local plain = fresh.stream(client, 2, "plain")
      assert(client:put(plain, "elsewhere", "a", { explicit_hash_key = LARGEST })) -- "a" belongs to the other one
      local got, reader = read(client, plain, dropping())
      assert.equal("elsewhere", got[1].data)
      assert.equal(0, reader:stats().misplaced)
    end)

    it("moves its position behind a page of which it drops everything", function()
      local lost = fresh.stream(client, 2, "lost")
      local stored = assert(client:put(lost, (kinesis.aggregate { { data = "x", partition_key = "k" } }), "a",
        { explicit_hash_key = "0" }))
      local got, reader = read(client, lost, dropping())
      assert.same({ {}, 1 }, { got, reader:stats().misplaced })
      assert.same({ after = stored.sequence_number }, reader:position().shards[stored.shard_id])
    end)

    it("drops it in shards that it learns of while it reads", function()
      local split = fresh.stream(client, 1, "learnt")
      local reader = client:shards(split):records(dropping { poll_interval = 0.2, idle_timeout = 20, limit = 3 })
      assert(client:put(split, "first", "a"))
      assert.equal("first", reader().data)
      assert(client:call("SplitShard", { StreamName = split, ShardToSplit = "shardId-000000000000",
        NewStartingHashKey = HALF }))
      fresh.active(client, split)
      local list = { { data = "high", partition_key = "k" }, { data = "low", partition_key = "a" } }
      assert(client:put(split, (kinesis.aggregate(list)), "a", { explicit_hash_key = "0" }))
      assert(client:put(split, "last", "a", { explicit_hash_key = "0" }))
      assert.same({ "low", "last" }, { reader().data, reader().data })
      assert.equal(1, reader:stats().misplaced)
    end)

    it("drops nothing of a stream of one shard", function()
      local one = fresh.stream(client, 1, "one")
      assert(client:put(one, (kinesis.aggregate(records)), "a"))
      local got, reader = read(client, one, dropping())
      assert.same({ numbered(records), 0 }, { data_and_sub(got), reader:stats().misplaced })
    end)
  end)
end

describe("misplaced records", function()
  local client, stream, sequence

  setup(function()
    client = fresh.client(fresh.services[2])
    stream = fresh.stream(client, 2, "counted")
    local records = {}
    for i = 1, 8 do -- "k" belongs to the second shard, "a" to the first
      records[i] = { data = tostring(i), partition_key = i % 2 == 0 and "a" or "k" }
    end
    local stored = assert(client:put(stream, (kinesis.aggregate(records)), "a", { explicit_hash_key = "0" }))
    sequence = stored.sequence_number
  end)

  teardown(function()
    client:close()
  end)

  for _, drop in ipairs { false, true } do
    it(("are counted once when a delivery is repeated, with drop_misplaced = %s"):format(drop), function()
      local reader = client:shards(stream)[1]:records { drop_misplaced = drop }
      local handle = reader.core
      local wanted = drop and { "2", "4", "6", "8" } or { "1", "2", "3", "4", "5", "6", "7", "8" }
      for i, data in ipairs(wanted) do
        for _ = 1, 3 do -- the same number again: the user has not seen the record
          local got = taken(client, handle, "next", -i)
          assert.equal(data, got.data)
          assert.equal(drop and i or math.ceil(i / 2), handle:misplaced())
        end
      end
      assert.equal("page_end", select(2, handle:next(-10)))
      assert.equal("page_end", select(2, handle:next(-10)))
      handle:pass()
      assert.equal(4, handle:misplaced())
      reader:close()
      assert.equal(4, reader:stats().misplaced)
    end)

    it(("are counted once when a list is repeated, with drop_misplaced = %s"):format(drop), function()
      local reader = client:shards(stream)[1]:records { drop_misplaced = drop, batch = true }
      for _ = 1, 3 do
        local list = taken(client, reader.core, "batch", 3)
        assert.same(drop and { "2", "4", "6" } or { "1", "2", "3" },
          { list[1].data, list[2].data, list[3].data })
        assert.equal(drop and 3 or 2, reader.core:misplaced())
      end
      reader.left = 2 -- what `next` makes of it
      assert.same({ after = sequence, sub = drop and 5 or 2 }, reader:position().shards["shardId-000000000000"])
      reader:close()
    end)
  end

  it("behind a delivered record are counted when the page is over", function()
    local other = fresh.stream(client, 2, "behind")
    local records = { { data = "in", partition_key = "a" }, { data = "1", partition_key = "k" },
      { data = "2", partition_key = "k" } }
    assert(client:put(other, (kinesis.aggregate(records)), "a", { explicit_hash_key = "0" }))
    local got, over = read(client, other, dropping())
    assert.same({ 1, 2 }, { #got, over:stats().misplaced })
  end)
end)

describe("a record that drop_misplaced drops", function()
  it("is reported on stderr, once", function()
    local client = fresh.client(fresh.services[2])
    local stream = fresh.stream(client, 2, "notice")
    for _ = 1, 2 do
      assert(client:put(stream, (kinesis.aggregate(some_records(12))), "a", { explicit_hash_key = "0" }))
    end
    client:close()
    local output = fresh.lua([[
      local kinesis = require "kinesis"
      for _ = 1, 2 do
        for record in kinesis.shards(arg[1]):records { drop_misplaced = arg[2] == "drop", stop_at_tip = true } do
        end
      end
    ]], fresh.example_env(fresh.services[2], stream), stream, "drop"):wait()
    assert.matches("kinesis: shardId-000000000000 of " .. stream .. ": drop_misplaced drops ", output, 1, true)
    assert.matches("other shards, %d+ so far", output)
    assert.equal(1, select(2, output:gsub("\n", "")))
  end)
end)

describe("a shard that is split while a producer has an older map", function()
  it("makes misplaced records, which the producer puts again: dropped, each of them is there once", function()
    local client = fresh.client(fresh.services[2])
    local stream = fresh.stream(client, 1, "split")
    local producer = assert(client:producer(stream, { linger = 10, aggregate = true }))
    assert(producer:put("first", "key"))
    assert(producer:flush())
    assert(client:call("SplitShard", { StreamName = stream, ShardToSplit = "shardId-000000000000",
      NewStartingHashKey = HALF }))
    fresh.active(client, stream)
    for i = 1, 300 do
      assert(producer:put(tostring(i), "key " .. i))
    end
    assert.is_true(producer:close())
    local again = producer:stats().misplaced
    local all, counting = read(client, stream, { stop_at_tip = true })
    local kept, dropping_reader = read(client, stream, dropping())
    local misplaced = counting:stats().misplaced
    assert.is_true(again > 0 and misplaced > 0)
    assert.same({ 301 + again, 301 + again - misplaced, misplaced },
      { #all, #kept, dropping_reader:stats().misplaced })
    local times, misplaced_data = {}, {}
    for _, record in ipairs(kept) do
      times[record.data] = (times[record.data] or 0) + 1
    end
    local low_shard = client:shards(stream)[2].id
    for _, record in ipairs(all) do -- of the children; the parent has its own
      if record.sub_sequence_number and record.shard_id ~= "shardId-000000000000"
        and (record.shard_id == low_shard) ~= is_low(record) then
        misplaced_data[#misplaced_data + 1] = record.data
      end
    end
    assert.equal(misplaced, #misplaced_data)
    for _, data in ipairs(misplaced_data) do
      assert.equal(1, times[data], data)
    end
    for i = 1, 300 do
      assert.is_true(times[tostring(i)] == 1 or times[tostring(i)] == 2) -- 2: it lay in the right shard, beside others
    end
    client:close()
  end)
end)

describe("aws-kinesis-agg", function()
  -- It puts records of many keys under the key of the first one.
  it("misplaces records, which lie nowhere else: they are returned by default, and lost with drop_misplaced", function()
    local file = os.tmpname()
    local out = assert(io.open(file, "w"))
    local records, asked = {}, {}
    for i = 1, 30 do
      records[i] = { data = tostring(i), partition_key = "key " .. i }
      asked[i] = { data = codec.base64_encode(records[i].data), key = records[i].partition_key }
    end
    out:write(cjson.encode { records = { asked }, aggregates = {}, messages = {}, keys = {} })
    out:close()
    local output, status = fresh.node("oracles/aggregates.mjs", nil, file):wait()
    os.remove(file)
    assert.equal(0, status, output)
    local client = fresh.client(fresh.services[2])
    local stream = fresh.stream(client, 2, "agg")
    local stored = assert(client:put(stream, (codec.base64_decode(cjson.decode(output).aggregates[1])), "key 1"))
    local all, counting = read(client, stream)
    local kept = read(client, stream, dropping())
    local inside = {}
    for i, record in ipairs(records) do
      if is_low(record) == (stored.shard_id == "shardId-000000000000") then
        inside[#inside + 1] = { record.data, i - 1 }
      end
    end
    assert.same(numbered(records), data_and_sub(all))
    assert.same(inside, data_and_sub(kept))
    assert.equal(30 - #inside, counting:stats().misplaced)
    assert.is_true(#inside > 0 and #inside < 30)
    client:close()
  end)
end)

describe("drop_misplaced", function()
  local SUMMARY = '{"StreamDescriptionSummary":{"StreamStatus":"ACTIVE"%s}}'

  -- What a reader raises where DescribeStreamSummary is answered so; and the operations that were called.
  local function refused(rule, more)
    rule.always = true
    local scope = faults.open { DescribeStreamSummary = { rule },
      ListShards = { { always = true, body = '{"Shards":[{"ShardId":"shardId-0"}]}' } },
      GetShardIterator = { { always = true, body = '{"ShardIterator":"i"}' } },
      GetRecords = { { always = true, body = '{"Records":[],"NextShardIterator":"i","MillisBehindLatest":0}' } } }
    local client = scope:client { max_attempts = 2 }
    local shards = client:shards "s"
    local good, err = pcall(function()
      local reader = shards:records(dropping(more))
      return reader
    end)
    if good then
      err:close()
    end
    client:close()
    local counts = {}
    for _, request in ipairs(scope:seen()) do
      counts[request.operation] = (counts[request.operation] or 0) + 1
    end
    return not good and err or nil, counts
  end

  it("is refused where the service selects the shards", function()
    local err, counts = refused { body = SUMMARY:format ',"RecordDistributionStrategy":"AUTO"' }
    assert.equal("InvalidArgumentException", err.code)
    assert.matches("^InvalidArgumentException: drop_misplaced cannot be used for the stream s: its "
      .. "RecordDistributionStrategy is AUTO", tostring(err):gsub("^%S+:%d+: ", ""))
    assert.matches("misplaced_spec.lua:%d+$", err.where)
    assert.same({ ListShards = 1, DescribeStreamSummary = 1 }, counts)
  end)

  it("is refused before the newest records are looked for", function()
    local err, counts = refused({ body = SUMMARY:format ',"RecordDistributionStrategy":"AUTO"' }, { last = 5 })
    assert.equal("InvalidArgumentException", err.code)
    assert.is_nil(counts.GetShardIterator)
    assert.equal(1, counts.DescribeStreamSummary)
  end)

  it("is refused where the service may not be asked, and says so", function()
    local err, counts = refused { status = 400, code = "AccessDeniedException", message = "User: x is not authorized" }
    assert.equal("AccessDeniedException", err.code)
    assert.equal("DescribeStreamSummary", err.operation)
    assert.matches("drop_misplaced needs to ask .*may not %(.*%); allow kinesis:DescribeStreamSummary, or leave "
      .. "drop_misplaced out", err.message)
    assert.matches("misplaced_spec.lua:%d+$", err.where)
    assert.same({ ListShards = 1, DescribeStreamSummary = 1 }, counts)
  end)

  for code, attempts in pairs { ResourceNotFoundException = 1, InternalFailure = 2, ExpiredTokenException = false } do
    it("raises other failures of that question as they are: " .. code, function()
      local status = code == "InternalFailure" and 500 or 400
      local err, counts = refused { status = status, code = code, message = "because" }
      assert.equal(code, err.code)
      assert.is_nil(err.message:find "drop_misplaced")
      assert.equal(attempts or counts.DescribeStreamSummary, counts.DescribeStreamSummary)
      assert.is_nil(counts.GetShardIterator)
    end)
  end

  it("raises an answer that is no summary", function()
    local err = refused { body = "{}" }
    assert.equal("BadAnswer", err.code)
  end)

  for _, more in ipairs { "", ',"RecordDistributionStrategy":null', ',"RecordDistributionStrategy":"PARTITION_KEY"' } do
    it("is accepted where keys select the shards: " .. more, function()
      local err, counts = refused { body = SUMMARY:format(more) }
      assert.is_nil(err)
      assert.equal(1, counts.DescribeStreamSummary)
    end)
  end

  it("is no option without de-aggregation", function()
    local client = fresh.client(fresh.services[2])
    local shards = client:shards(fresh.stream(client, 1, "whole"))
    assert.matches("^records: 'drop_misplaced' drops records of aggregates, which 'deaggregate = false' leaves whole$",
      fresh.complaint(function() shards:records { drop_misplaced = true, deaggregate = false } end))
    client:close()
  end)

  it("asks nothing where it is not set", function()
    local scope = faults.open()
    local client = scope:client()
    local stream = fresh.stream(fresh.client(fresh.services[1]), 1, "unasked")
    fresh.read(client, stream)
    assert.equal(0, #scope:seen "DescribeStreamSummary")
    client:close()
  end)
end)

describe("an aggregate", function()
  -- A reader's records of one canned page of a shard with this range.
  local function canned(record, range)
    local scope = faults.open {
      ListShards = { { always = true, body = ('{"Shards":[{"ShardId":"shardId-0"%s}]}'):format(range) } },
      DescribeStreamSummary = { { always = true, body = '{"StreamDescriptionSummary":{}}' } },
      GetShardIterator = { { always = true, body = '{"ShardIterator":"i"}' } },
      GetRecords = { { always = true,
        body = ('{"Records":[%s],"NextShardIterator":"i","MillisBehindLatest":0}'):format(record) } } }
    local client = scope:client()
    local list, reader = {}, client:shards("s"):records { drop_misplaced = true, limit = 2 }
    for got in reader do
      list[#list + 1] = got.data
    end
    local count = reader:stats().misplaced
    client:close()
    return list, count
  end

  local RANGE = (',"HashKeyRange":{"StartingHashKey":"%s","EndingHashKey":"%s"}'):format(HALF, LARGEST)
  local bytes = kinesis.aggregate { { data = "low", partition_key = "a" }, { data = "high", partition_key = "k" } }
  local RECORD = '{"Data":"' .. codec.base64_encode(bytes) .. '","SequenceNumber":"1"%s}'

  it("is judged by the range of its shard", function()
    local list, count = canned(RECORD:format ',"PartitionKey":"a"', RANGE)
    assert.same({ "high", "high" }, list)
    assert.is_true(count >= 1)
  end)

  it("is not judged where the service returns no partition key: keys select no shard there", function()
    assert.same({ { "low", "high" }, 0 }, { canned(RECORD:format "", RANGE) })
  end)

  for what, range in pairs { ["no range"] = "", ["half a range"] = ',"HashKeyRange":{"StartingHashKey":"1"}',
    ["a range that is none"] = ',"HashKeyRange":{"StartingHashKey":"5","EndingHashKey":"x"}' } do
    it("is not judged where the shard has " .. what, function()
      assert.same({ { "low", "high" }, 0 }, { canned(RECORD:format ',"PartitionKey":"a"', range) })
    end)
  end
end)
