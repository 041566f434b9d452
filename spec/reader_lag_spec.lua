-- Readers of a service whose signs are late, missing or wrong: what is read, where reading ends, what is reported.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local faults = require "support.faults"
local fresh = require "support.fresh"

local direct, own

setup(function()
  direct = fresh.client(os.getenv "KINESIS_LOCAL")
end)

teardown(function()
  direct:close()
end)

before_each(function()
  own = fresh.stream(direct, 1)
end)

after_each(function()
  direct:call("DeleteStream", { StreamName = own })
end)

local function put_numbers(first, last)
  fresh.put_numbers(direct, own, first, last)
end

-- The body of ListShards as it is now, for rules.
local function listed()
  return cjson.encode { Shards = assert(direct:call("ListShards", { StreamName = own })).Shards }
end

local function split()
  local half = "170141183460469231731687303715884105728"
  assert(direct:call("SplitShard", {
    StreamName = own, ShardToSplit = "shardId-000000000000", NewStartingHashKey = half,
  }))
  fresh.active(direct, own)
end

-- Rules: `body` for the first `count` calls.
local function first_calls(count, body)
  local rules = {}
  for i = 1, count do
    rules[i] = { body = body, status = 200 }
  end
  return rules
end

local function expect_once(first, last, numbers)
  for i = first, last do
    assert.equal(1, numbers[tostring(i)], i .. " was read so often")
  end
end

describe("a reader", function()
  it("that continues from position() while ListShards is late loses nothing and reads nothing twice", function()
    local old = listed()
    put_numbers(1, 40)
    split()
    put_numbers(41, 100)
    local numbers = {}
    local function note(record)
      numbers[record.data] = (numbers[record.data] or 0) + 1
    end
    local first = direct:shards(own):records { limit = 75, idle_timeout = 10, poll_interval = 0.2 }
    for record in first do
      note(record)
    end
    local position = cjson.decode(cjson.encode(first:position()))
    assert.equal("shard_end", position.shards["shardId-000000000000"])
    assert.truthy(position.shards["shardId-000000000001"])
    assert.truthy(position.shards["shardId-000000000002"])
    local scope = faults.open { ListShards = first_calls(4, old) }
    local client = scope:client()
    local second = client:shards(own):records { from = position, idle_timeout = 10, poll_interval = 0.2, limit = 45 }
    note(second())
    local kept = second:position().shards
    assert.truthy(kept["shardId-000000000001"])
    assert.truthy(kept["shardId-000000000002"])
    put_numbers(101, 120)
    for record in second do
      note(record)
    end
    client:close()
    expect_once(1, 120, numbers)
  end)

  it("waits with idle_timeout for children that only a late list names", function()
    local client = fresh.client(os.getenv "KINESALITE")
    local stream = fresh.stream(client, 1)
    fresh.put_numbers(client, stream, 1, 20)
    local old = cjson.encode { Shards = assert(client:call("ListShards", { StreamName = stream })).Shards }
    assert(client:call("SplitShard", { StreamName = stream, ShardToSplit = "shardId-000000000000",
      NewStartingHashKey = "170141183460469231731687303715884105728" }))
    fresh.active(client, stream)
    fresh.put_numbers(client, stream, 21, 40)
    local late = faults.open({ ListShards = first_calls(3, old) }, { service = "kinesalite" }):client()
    local numbers = {}
    for record in late:shards(stream):records { idle_timeout = 0.4, poll_interval = 0.2 } do
      numbers[record.data] = (numbers[record.data] or 0) + 1
    end
    late:close()
    client:close()
    expect_once(1, 40, numbers)
  end)

  for code, status in pairs { ServiceUnavailable = 503, AccessDeniedException = 400 } do
    it("raises with idle_timeout why it cannot list the children of a shard: " .. code, function()
      local client = fresh.client(os.getenv "KINESALITE")
      local stream = fresh.stream(client, 2)
      local old = cjson.encode { Shards = assert(client:call("ListShards", { StreamName = stream })).Shards }
      assert(client:call("SplitShard", { StreamName = stream, ShardToSplit = "shardId-000000000000",
        NewStartingHashKey = "85070591730234615865843651857942052864" }))
      fresh.active(client, stream)
      local rules = { { body = old, status = 200 }, { code = code, status = status, always = true } }
      local late = faults.open({ ListShards = rules }, { service = "kinesalite" }):client()
      local reader = late:shards(stream):records { idle_timeout = 1, poll_interval = 0.2, on_error = function() end }
      local began, good, err = os.time(), pcall(reader)
      assert.is_false(good)
      assert.equal(code, err.code)
      assert.is_true(os.time() - began < 10)
      late:close()
      client:close()
    end)
  end

  it("names in its position the children that it knows and has not begun", function()
    local old = direct:shards(own)
    put_numbers(1, 2)
    split()
    put_numbers(3, 20)
    local reader = old:records { idle_timeout = 10, poll_interval = 0.2 }
    for _ = 1, 3 do
      reader()
    end
    local shards = reader:position().shards
    assert.equal("shard_end", shards["shardId-000000000000"])
    local begun, waiting = shards["shardId-000000000001"], shards["shardId-000000000002"]
    assert.is_true(begun == "trim_horizon" or waiting == "trim_horizon")
    assert.is_true(type(begun) == "table" or type(waiting) == "table")
    reader:close()
  end)

  it("does not take a page without an iterator for the end of an open shard", function()
    put_numbers(1, 5)
    for _, body in ipairs { '{"Records":[],"MillisBehindLatest":0}',
      '{"Records":[],"MillisBehindLatest":0,"NextShardIterator":null,"ChildShards":[]}' } do
      local scope = faults.open { GetRecords = first_calls(1, body) }
      local client = scope:client()
      local reader = client:shards(own):records { idle_timeout = 10, limit = 5, poll_interval = 0.2 }
      local count = 0
      for _ in reader do
        count = count + 1
      end
      assert.equal(5, count)
      assert.is_nil(({ shard_end = true })[reader:position().shards["shardId-000000000000"]])
      client:close()
    end
  end)

  it("names the shard of a saved position when the stream was made again", function()
    local client = fresh.client(os.getenv "KINESALITE")
    local stream = fresh.stream(client, 1)
    local put = assert(client:put(stream, "data", "key"))
    assert(client:call("DeleteStream", { StreamName = stream }))
    fresh.eventually(function()
      return not client:call("DescribeStreamSummary", { StreamName = stream })
    end)
    local deleted = os.time()
    fresh.eventually(function()
      return os.time() > deleted + 1 -- sequence numbers hold the second of the stream's creation
    end)
    assert(client:call("CreateStream", { StreamName = stream, ShardCount = 1 }))
    fresh.active(client, stream)
    local good, err = pcall(function()
      return client:shards(stream):records {
        from = { shards = { [put.shard_id] = { after = put.sequence_number } } }, on_error = function() end,
        idle_timeout = 20,
      }:next()
    end)
    client:close()
    assert.is_false(good)
    assert.matches(put.shard_id, err.message, 1, true)
    assert.matches(put.sequence_number, err.message, 1, true)
    assert.matches("deleted and made again", err.message, 1, true)
  end)

  it("goes on when one shard is gone, and tells on_error", function()
    local stream = fresh.stream(direct, 2)
    for i = 1, 20 do
      assert(direct:put(stream, tostring(i), "key " .. i))
    end
    local both = assert(direct:call("ListShards", { StreamName = stream })).Shards
    local scope = faults.open {
      GetShardIterator = { { code = "ResourceNotFoundException" } },
      ListShards = { {}, { body = cjson.encode { Shards = { both[2] } }, status = 200, always = true } },
    }
    local client = scope:client { max_connections = 1 }
    local told, count = {}, 0
    for record in client:shards(stream):records {
      stop_at_tip = true, idle_timeout = 10, on_error = function(err, shard_id) told[shard_id] = err end,
    } do
      assert.equal("shardId-000000000001", record.shard_id)
      count = count + 1
    end
    client:close()
    assert.is_true(count > 0)
    assert.equal("Trimmed", told["shardId-000000000000"].code)
  end)

  describe("with idle_timeout", function()
    local BEHIND = '{"Records":[],"NextShardIterator":"%s","MillisBehindLatest":5000}'

    it("does not end while a shard is behind", function()
      put_numbers(1, 1)
      local iterator = assert(direct:call("GetShardIterator", {
        StreamName = own, ShardId = "shardId-000000000000", ShardIteratorType = "TRIM_HORIZON",
      })).ShardIterator
      local client = faults.open({ GetRecords = first_calls(6, BEHIND:format(iterator)) }):client()
      local reader = client:shards(own):records { idle_timeout = 0.4, poll_interval = 0.2 }
      assert.equal("1", (reader() or {}).data)
      assert.is_nil(reader())
      client:close()
    end)

    it("does not end before the first page has come", function()
      put_numbers(1, 1)
      local client = faults.open({ GetRecords = { { delay = 1 } } }):client()
      local reader = client:shards(own):records { idle_timeout = 0.2, poll_interval = 0.2 }
      assert.equal("1", (reader() or {}).data)
      assert.is_nil(reader())
      client:close()
    end)

    it("raises the last error when shards fail for so long", function()
      put_numbers(1, 1)
      local client = faults.open({ GetRecords = { {}, { code = "InternalFailure", status = 500, always = true } } })
        :client()
      local reader = client:shards(own):records { idle_timeout = 0.6, poll_interval = 0.2, on_error = function() end }
      assert.equal("1", reader().data)
      local good, err = pcall(reader)
      assert.is_false(good)
      assert.equal("InternalFailure", err.code)
      assert.is_nil(reader())
      client:close()
    end)
  end)

  it("tells on_error of iterators that always expire, from the third in a row", function()
    local client = faults.open({ GetRecords = { { code = "ExpiredIteratorException", always = true } } }):client()
    local rows = {}
    local reader = client:shards(own):records {
      idle_timeout = 1.5,
      on_error = function(err, _, in_a_row)
        assert.equal("ExpiredIteratorException", err.code)
        rows[#rows + 1] = in_a_row
      end,
    }
    local good, err = pcall(reader)
    assert.is_false(good)
    assert.equal("ExpiredIteratorException", err.code)
    assert.equal(3, rows[1])
    client:close()
  end)

  it("prints a line about pages that can never be read, at the third", function()
    put_numbers(1, 1)
    local scope = faults.open { GetRecords = { { body = '{"Records":[{}]}', status = 200, always = true } } }
    local output = fresh.lua([[
      local kinesis = require "kinesis"
      local client = kinesis.client { endpoint = arg[1], region = "us-east-1",
        credentials = { access_key_id = "a", secret_access_key = "b" } }
      print(pcall(client:shards(arg[2]):records { poll_interval = 0.2, idle_timeout = 2 }))
    ]], nil, scope.url, own):wait()
    assert.matches("kinesis: reading shardId%-000000000000 of .*BadAnswer", output)
    assert.matches("false\t.*BadAnswer", output)
  end)

  describe("with stop_at_tip ends", function()
    local PAGE = '{"Records":[%s],"NextShardIterator":"x","MillisBehindLatest":%d}'
    local RECORD = '{"Data":"YQ==","PartitionKey":"k","SequenceNumber":"%d","ApproximateArrivalTimestamp":1}'

    local function read(rules)
      local client = faults.open({ GetRecords = rules }):client()
      local count, started = 0, os.time()
      for _ in client:shards(own):records { stop_at_tip = true } do
        count = count + 1
      end
      client:close()
      assert.is_true(os.time() - started < 5)
      return count
    end

    it("where a shard is a few milliseconds behind for ever", function()
      assert.equal(0, read { { body = PAGE:format("", 5), status = 200, always = true } })
    end)

    it("where pages have records and are 0 ms behind", function()
      assert.equal(2, read { { body = PAGE:format(RECORD:format(1), 0), status = 200, always = true } })
    end)
  end)
end)
