-- What a reader makes of aggregates: the records that were put, positions between them, and what only looks like one.
local cjson = require "cjson"
local faults = require "support.faults"
local framed = require("support.framing").framed
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local unpack = table.unpack or unpack

local function unhex(text)
  return (text:gsub("%x%x", function(byte)
    return string.char(tonumber(byte, 16))
  end))
end

local function content(path)
  local file = assert(io.open("spec/fixtures/kpl/" .. path))
  local text = file:read "*a"
  file:close()
  return text
end

-- `count` records of a few keys; the data say which.
local function some_records(count, keys)
  local list = {}
  for i = 1, count do
    list[i] = { data = "record " .. i, partition_key = "key " .. i % (keys or 3) }
  end
  return list
end

local function data_of(records)
  local list = {}
  for i, record in ipairs(records) do
    list[i] = record.data
  end
  return list
end

-- Lists by key that have the same items in the same order; of thousands of them, nothing is printed.
local function equal_lists(expected, got)
  for key, list in pairs(expected) do
    if not got[key] or #list ~= #got[key] or table.concat(list, "\1") ~= table.concat(got[key], "\1") then
      return false, key
    end
  end
  return true
end

local RECORDS = os.getenv "SPEC_LESS" and 2000 or 20000

for _, service in ipairs(fresh.services) do
  describe("a reader of " .. service.name, function()
    local client

    setup(function()
      client = fresh.client(service)
    end)

    teardown(function()
      client:close()
    end)

    local function put_aggregate(stream, records)
      assert(client:put(stream, (kinesis.aggregate(records)), "a"))
    end

    -- Puts RECORDS records of 40 keys with a producer; returns their data by key, in the order of put.
    local function produce(stream, options)
      local producer, wanted = assert(client:producer(stream, options)), {}
      for i = 1, RECORDS do
        local key, size = "key " .. i % 40, i % 1000 == 0 and 5000 or i % 20
        local data = ("%d \0\255 %s"):format(i, ("x"):rep(size))
        wanted[key] = wanted[key] or {}
        table.insert(wanted[key], data)
        assert(producer:put(data, key))
      end
      assert.is_true(producer:close())
      assert.equal(RECORDS, producer:stats().stored)
      assert.is_true(service.name ~= "kinesis-local" or producer:stats().kinesis_records_stored < RECORDS / 20)
      return wanted
    end

    -- The data of these user records by key, in their order.
    local function by_key(records)
      local lists = {}
      for _, record in ipairs(records) do
        lists[record.partition_key] = lists[record.partition_key] or {}
        table.insert(lists[record.partition_key], record.data)
      end
      return lists
    end

    it("returns what a producer with the defaults was given, byte for byte, in the order of the shards", function()
      local stream = fresh.stream(client, 3, "whole")
      local wanted = produce(stream)
      local got, stored = by_key(fresh.read(client, stream)), {}
      for _, record in ipairs(fresh.read(client, stream, { deaggregate = false })) do
        for _, user in ipairs(kinesis.deaggregate(record.data) or { record }) do
          stored[#stored + 1] = user
        end
      end
      assert.is_true(equal_lists(by_key(stored), got))
      for _, lists in ipairs { wanted, got } do -- without an order of the producer, any may be stored
        for _, list in pairs(lists) do
          table.sort(list)
        end
      end
      assert.is_true(equal_lists(wanted, got))
    end)

    it("returns what a producer that keeps the order was given, in the order of each key", function()
      local stream = fresh.stream(client, 3, "ordered")
      local wanted = produce(stream, { order = "shard" })
      assert.is_true(equal_lists(wanted, by_key(fresh.read(client, stream))))
    end)

    it("returns the records of an aggregate with all their fields", function()
      local stream = fresh.stream(client, 1, "fields")
      put_aggregate(stream, { { data = "", partition_key = "k" },
        { data = "x", partition_key = "k", explicit_hash_key = "17" } })
      local first, second = unpack(fresh.read(client, stream))
      assert.same({ data = "", partition_key = "k", sub_sequence_number = 0, shard_id = "shardId-000000000000",
        sequence_number = first.sequence_number, arrival_timestamp = first.arrival_timestamp }, first)
      assert.same({ data = "x", partition_key = "k", explicit_hash_key = "17", sub_sequence_number = 1,
        shard_id = first.shard_id, sequence_number = first.sequence_number,
        arrival_timestamp = first.arrival_timestamp }, second)
      local whole = fresh.read(client, stream, { deaggregate = false })
      assert.equal(1, #whole)
      assert.equal(2, #kinesis.deaggregate(whole[1].data))
      assert.is_nil(whole[1].sub_sequence_number)
    end)

    it("counts the records of aggregates for `limit`, and lists them in batches", function()
      local stream = fresh.stream(client, 1, "counted")
      put_aggregate(stream, some_records(25))
      assert(client:put(stream, "alone", "key"))
      assert.equal(7, #fresh.read(client, stream, { limit = 7 }))
      local batches = fresh.read(client, stream, { batch = true })
      local all = {}
      for _, batch in ipairs(batches) do
        for _, record in ipairs(batch) do
          all[#all + 1] = record.data
        end
      end
      assert.equal(26, #all)
      assert.same({ "record 25", "alone" }, { all[25], all[26] })
      assert.equal(7, #fresh.read(client, stream, { batch = true, limit = 7 })[1])
    end)

    it("goes on from every position, inside aggregates too", function()
      local stream = fresh.stream(client, 1, "positions")
      put_aggregate(stream, some_records(5))
      assert(client:put(stream, "alone", "key"))
      put_aggregate(stream, some_records(3))
      local all, positions = {}, {}
      local reader = client:shards(stream):records { stop_at_tip = true, poll_interval = 0.2 }
      for record in reader do
        all[#all + 1] = record.data
        positions[#positions + 1] = cjson.decode(cjson.encode(reader:position()))
      end
      assert.equal(9, #all)
      assert.equal(1, positions[2].shards["shardId-000000000000"].sub)
      assert.is_nil(positions[5].shards["shardId-000000000000"].sub)
      for i, position in ipairs(positions) do
        local rest = data_of(fresh.read(client, stream, { from = position }))
        assert.same({ unpack(all, i + 1) }, rest, "after record " .. i)
      end
    end)

    it("reads a position inside an aggregate whole where aggregates are not taken apart", function()
      local stream = fresh.stream(client, 1, "inside")
      put_aggregate(stream, some_records(4))
      local reader = client:shards(stream):records { limit = 2 }
      local _ = reader() and reader()
      local whole = fresh.read(client, stream, { from = reader:position(), deaggregate = false })
      assert.equal(1, #whole)
      assert.equal(4, #kinesis.deaggregate(whole[1].data))
    end)

    it("begins behind a plain record that is named with a sub-sequence number, as the KCL names it", function()
      local stream = fresh.stream(client, 1, "plain")
      local first = assert(client:put(stream, "first", "key"))
      assert(client:put(stream, "second", "key"))
      local from = { shards = { [first.shard_id] = { after = first.sequence_number, sub = 0 } } }
      assert.same({ "second" }, data_of(fresh.read(client, stream, { from = from })))
      from.shards[first.shard_id].sub = 41 -- more than there are
      assert.same({ "second" }, data_of(fresh.read(client, stream, { from = from })))
    end)

    it("returns what only looks like an aggregate as it is", function()
      local stream = fresh.stream(client, 1, "lookalikes")
      local good = (kinesis.aggregate(some_records(3)))
      local key, record = "\10\1k", "\26\5\8\0\26\1x" -- a table of one key, a record of it
      local cases = { good:sub(1, -2), good .. "\0", good:sub(1, 10) .. "?" .. good:sub(12), good:sub(1, 4),
        good:sub(1, 4) .. ("\0"):rep(20),
        -- with the right digest: no records, no key, keys beyond the tables, no field, a field cut off
        framed(key), framed(record), framed(key .. "\26\5\8\1\26\1x"), framed(key .. "\26\7\8\0\16\0\26\1x"),
        framed "nothing", framed(key .. record .. "\26\5"),
        -- the digest is right, and there is only half a record behind two whole ones
        unhex "f3899ac20a016b1a0508001a01781a0508001a01791a7f5389a19f90eeb9a94d50205d436a8a57" }
      for _, data in ipairs(cases) do
        assert(client:put(stream, data, "key"))
      end
      assert.same(cases, data_of(fresh.read(client, stream)))
    end)

    it("takes an aggregate apart, but not one that is the data of its records", function()
      local stream = fresh.stream(client, 1, "nested")
      local inner = (kinesis.aggregate(some_records(2)))
      put_aggregate(stream, { { data = inner, partition_key = "k" }, { data = "x", partition_key = "k" } })
      assert.same({ inner, "x" }, data_of(fresh.read(client, stream)))
    end)

    it("returns what the KPL was given", function()
      local recorded = cjson.decode(content "kpl-1.1.1-recorded.json")
      local stream = fresh.stream(client, #recorded.shards, "kpl")
      local ends = {} -- those of the services differ by a few numbers, and begin later
      for _, shard in ipairs(recorded.shards) do
        ends[shard.id] = shard.ending_hash_key
      end
      for _, record in ipairs(recorded.records) do
        assert(client:put(stream, unhex(record.data_hex), unhex(record.partition_key_hex),
          { explicit_hash_key = ends[record.shard_id] }))
      end
      local wanted, got = {}, {}
      local hashes = {} -- the service returns none; that of a record that was stored alone is not known
      for line in content("kpl-1.1.1-user-records.tsv"):gmatch "[^\n]+" do
        local key, data, hash = line:match "^(%x*)\t(%x*)\t(%S+)$"
        wanted[#wanted + 1] = unhex(key) .. "\1" .. unhex(data)
        hashes[wanted[#wanted]] = hash ~= "-" and hash or nil
      end
      local reader = client:shards(stream):records { stop_at_tip = true, poll_interval = 0.2 }
      for record in reader do
        got[#got + 1] = record.partition_key .. "\1" .. record.data
        assert.equal(record.sub_sequence_number and hashes[got[#got]], record.explicit_hash_key)
      end
      -- the KPL misplaces none; at kinesalite the third shard begins behind 2^127 - 1, the hash key of 14 records
      assert.equal(service.name == "kinesalite" and 14 or 0, reader:stats().misplaced)
      table.sort(wanted)
      table.sort(got)
      assert.equal(#wanted, #got)
      assert.is_true(table.concat(wanted, "\2") == table.concat(got, "\2"))
    end)
  end)
end

describe("a position inside an aggregate", function()
  local GONE = { code = "ResourceNotFoundException", status = 400 }
  local EXPIRED = { code = "ExpiredIteratorException", status = 400 }
  local NO_ITERATOR = { body = '{"Records":[],"MillisBehindLatest":5000}', status = 200 }
  local NO_RECORDS = { body = '{"Records":[],"NextShardIterator":"x","MillisBehindLatest":5000}', status = 200 }

  for what, rules in pairs {
    ["the first iterator has expired"] = { GetRecords = { EXPIRED } },
    ["the first pages have no records"] = { GetRecords = { NO_RECORDS, EXPIRED } },
    ["the first page has no iterator"] = { GetRecords = { NO_ITERATOR } },
    ["the shard is not known at first"] = { GetShardIterator = { GONE }, GetRecords = { GONE } },
  } do
    it("is where reading begins, also when " .. what, function()
      local scope = faults.open(rules)
      local client = scope:client()
      local stream = fresh.stream(client, 1, "begin")
      assert(client:put(stream, (kinesis.aggregate(some_records(4))), "a"))
      assert(client:put(stream, "alone", "a"))
      local direct = fresh.client(fresh.services[1])
      local reader = direct:shards(stream):records { limit = 2 }
      local _ = reader() and reader()
      local from = reader:position()
      direct:close()
      local rest = fresh.read(client, stream, { from = from, limit = 3, on_error = function() end })
      assert.same({ "record 3", "record 4", "alone" }, data_of(rest))
      client:close()
    end)
  end
end)

describe("an aggregate of 1 MiB of the smallest records", function()
  it("is returned record by record", function()
    local client = fresh.client(fresh.services[2])
    local stream = fresh.stream(client, 1, "smallest")
    local records = {}
    for i = 1, 170000 do
      records[i] = { data = "", partition_key = "k" }
    end
    assert(client:put(stream, (kinesis.aggregate(records)), "key"))
    local count = 0
    for record in client:shards(stream):records { stop_at_tip = true, poll_interval = 0.2 } do
      assert(record.sub_sequence_number == count and record.data == "" and record.partition_key == "k")
      count = count + 1
    end
    assert.equal(#records, count)
    client:close()
  end)
end)
