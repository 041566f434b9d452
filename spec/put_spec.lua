-- Putting records, against both services: results, wrong arguments, and that a call with wrong arguments is
-- not sent.
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local MIB = 1024 * 1024
local LARGEST_HASH = "340282366920938463463374607431768211455"

local EMOJI = "\240\159\152\128"

local function by_data(records)
  local found = {}
  for _, record in ipairs(records) do
    found[record.data] = record
  end
  return found
end

for _, service in ipairs(fresh.services) do
  it("client:close and reader:close return true, for assert", function()
  local client = fresh.client(fresh.services[1])
  local stream = fresh.stream(client, 1, "closing")
  local reader = client:shards(stream):records()
  assert.is_true(reader:stop())
  assert.is_true(reader:close())
  assert(client:call("DeleteStream", { StreamName = stream }))
  assert.is_true(client:close())
  assert.is_true(client:close())
end)

describe("put to " .. service.name, function()
    local client, stream

    setup(function()
      client = fresh.client(service)
      stream = fresh.stream(client, 4, "put")
    end)

    teardown(function()
      client:close()
    end)

    it("returns where the record is", function()
      local result = assert(client:put(stream, "hello", "key"))
      assert.matches("^shardId%-%d+$", result.shard_id)
      assert.matches("^%d+$", result.sequence_number)
      if service.arns then
        assert.equal("NONE", result.encryption_type)
      end
      local record = by_data(fresh.read(client, stream))["hello"]
      assert.equal(result.shard_id, record.shard_id)
      assert.equal(result.sequence_number, record.sequence_number)
      assert.equal("key", record.partition_key)
    end)

    it("takes a random key when there is none", function()
      assert(client:put(stream, "random 1"))
      assert(client:put(stream, "random 2", nil, {}))
      assert(client:put_many(stream, { { data = "random 3" }, { data = "random 4" } }))
      local found, keys = by_data(fresh.read(client, stream)), {}
      for i = 1, 4 do
        local key = found["random " .. i].partition_key
        assert.matches("^%x+$", key)
        assert.is_true(#key >= 16)
        assert.is_nil(keys[key])
        keys[key] = true
      end
    end)

    it("lets an explicit hash key decide the shard", function()
      local shards = client:shards(stream)
      for _, shard in ipairs(shards) do
        for _, hash in ipairs { shard.starting_hash_key, shard.ending_hash_key } do
          local one = assert(client:put(stream, "x", "the same key", { explicit_hash_key = hash }))
          assert.equal(shard.id, one.shard_id)
          local many = assert(client:put_many(stream, {
            { data = "x", partition_key = "the same key", explicit_hash_key = hash },
          }))
          assert.equal(shard.id, many[1].shard_id)
        end
      end
      assert.equal("0", shards[1].starting_hash_key)
      assert.equal(LARGEST_HASH, shards[#shards].ending_hash_key)
    end)

    it("orders behind a sequence number", function()
      local first = assert(client:put(stream, "first", "ordered"))
      local second = assert(client:put(stream, "second", "ordered", {
        sequence_number_for_ordering = first.sequence_number,
      }))
      assert.equal(first.shard_id, second.shard_id)
      assert.is_true(#second.sequence_number == #first.sequence_number
        and second.sequence_number > first.sequence_number)
      -- from the far future: the service refuses it, which shows that it was sent
      local result, err = client:put(stream, "third", "ordered", {
        sequence_number_for_ordering = ("9"):rep(56),
      })
      assert.is_nil(result)
      assert.equal("InvalidArgumentException", err.code)
    end)

    it("keeps any bytes", function()
      local texts = {
        "", "\0", "a\0b", fresh.bytes, fresh.bytes:reverse(), ("\255"):rep(7), EMOJI,
        "{\"json\": \"\\u0000\"}", "\r\n", ("="):rep(4),
      }
      for i = 1, 8 do
        texts[#texts + 1] = ("p"):rep(i) -- every padding
      end
      local entries = {}
      for i, text in ipairs(texts) do
        entries[i] = { data = text, partition_key = "bytes" }
      end
      local name = fresh.stream(client, 1, "bytes")
      local results, failed = client:put_many(name, entries)
      assert.equal(0, failed)
      local single = assert(client:put(name, fresh.bytes, "single"))
      local records = fresh.read(client, name)
      assert.equal(#texts + 1, #records)
      for i, text in ipairs(texts) do
        assert.equal(text, records[i].data)
        assert.equal(results[i].sequence_number, records[i].sequence_number)
      end
      assert.equal(fresh.bytes, records[#records].data)
      assert.equal(single.sequence_number, records[#records].sequence_number)
    end)

    it("takes empty data", function()
      local name = fresh.stream(client, 1, "empty")
      assert(client:put(name, "", "key"))
      assert.equal("", fresh.read(client, name)[1].data)
    end)

    it("keeps any text as a key", function()
      local keys = {
        'quote " backslash \\ slash /', "tab\tnewline\nreturn\r", "\1\2\3\31\127", EMOJI, EMOJI:rep(128),
        ("k"):rep(256), "\195\164\195\182\195\188", "\226\130\172", "\226\128\168\226\128\169", "null", "<>&'",
        "\194\128\223\191\224\160\128\239\191\191\240\144\128\128\244\143\191\191",
      }
      local name = fresh.stream(client, 1, "keys")
      local entries = {}
      for i, key in ipairs(keys) do
        entries[i] = { data = tostring(i), partition_key = key }
        assert(client:put(name, tostring(i), key))
      end
      local _, failed = client:put_many(name, entries)
      assert.equal(0, failed)
      local records = fresh.read(client, name)
      assert.equal(2 * #keys, #records)
      for _, record in ipairs(records) do
        assert.equal(keys[tonumber(record.data)], record.partition_key)
      end
      -- the service and the library count characters; these two services count UTF-16 units, of which it has 512
      local result, err = client:put(name, "x", EMOJI:rep(256))
      assert.is_nil(result)
      assert.equal(400, err.status)
    end)

    it("takes a record of 1 MiB, and returns the service's error for a larger one", function()
      local name = fresh.stream(client, 1, "large")
      local data = fresh.bytes:rep(MIB / 256)
      assert(client:put(name, data, "large"))
      local result, err = client:put(name, data .. "x", "large")
      assert.is_nil(result)
      assert.equal(400, err.status)
      assert.equal(service.name == "kinesalite" and "ValidationException" or "InvalidArgumentException", err.code)
      local records = fresh.read(client, name)
      assert.equal(1, #records)
      assert.is_true(records[1].data == data)
    end)

    it("returns the error about a stream that does not exist", function()
      local name = fresh.name "absent"
      local function check(operation, result, err)
        assert.is_nil(result)
        assert.equal("table", type(err))
        assert.equal("ResourceNotFoundException", err.code)
        assert.equal(operation, err.operation)
        assert.equal(400, err.status)
        assert.is_false(err.retryable)
        assert.is_false(err.throttled)
        assert.matches(name, err.message, 1, true)
        assert.is_true(#err.request_id > 10)
        local line = tostring(err)
        assert.is_nil(line:find "\n")
        for _, part in ipairs { operation, err.code, name, "HTTP 400", err.request_id, "does the stream exist" } do
          assert.matches(part, line, 1, true)
        end
        assert.is_nil(line:find(fresh.keys.secret_access_key, 1, true))
      end
      check("PutRecord", client:put(name, "x"))
      check("ListShards", (function()
        local good, err = pcall(client.shards, client, name)
        assert.is_false(good)
        return nil, err
      end)())
    end)

    if service.arns then
      it("takes a stream's ARN for its name", function()
        local name, summary = fresh.stream(client, 2, "arn")
        local arn = summary.StreamARN
        assert.matches("^arn:aws:kinesis:", arn)
        assert(client:put(arn, "one", "k"))
        local _, failed = client:put_many(arn, { { data = "two", partition_key = "k" } })
        assert.equal(0, failed)
        assert.equal(2, #client:shards(arn))
        for _, address in ipairs { name, arn } do
          local records = fresh.read(client, address)
          assert.equal(2, #records)
          assert.equal("one", records[1].data)
          assert.equal("two", records[2].data)
        end
      end)
    end
  end)

  describe("put_many to " .. service.name, function()
    local client

    setup(function()
      client = fresh.client(service)
    end)

    teardown(function()
      client:close()
    end)

    local function numbered(count)
      local entries = {}
      for i = 1, count do
        entries[i] = { data = "record " .. i, partition_key = "key " .. i % 17 }
      end
      return entries
    end

    for _, parallel in ipairs(os.getenv "SPEC_LESS" and { 3 } or { 1, 3, 100 }) do
      it(("cuts 1,234 records into calls, parallel = %d"):format(parallel), function()
        local stream = fresh.stream(client, 8, "many")
        local results, failed = client:put_many(stream, numbered(1234), { parallel = parallel })
        assert.equal(0, failed)
        assert.equal(1234, #results)
        local records = fresh.read(client, stream)
        assert.equal(1234, #records)
        local found = by_data(records)
        for i, result in ipairs(results) do
          local record = found["record " .. i]
          assert.equal(record.sequence_number, result.sequence_number)
          assert.equal(record.shard_id, result.shard_id)
          assert.is_nil(result.code)
        end
      end)
    end

    it("takes an empty list", function()
      local results, failed = client:put_many(fresh.name "not-asked-for", {})
      assert.equal(0, #results)
      assert.equal(0, failed)
    end)

    it("takes a list for what it holds: __len is not asked", function()
      local list = setmetatable({}, { __len = function() return 10 end })
      local results, failed = client:put_many(fresh.name "not-asked-for", list)
      assert.equal(0, #results)
      assert.equal(0, failed)
    end)

    it("returns an error for the rest when the list is changed during the call", function()
      local entries, looks = numbered(1000), 0
      -- the record is there when all are checked, and gone when its request is built
      entries[501] = setmetatable({}, {
        __index = function(_, name)
          looks = looks + (name == "data" and 1 or 0)
          return name == "data" and looks <= 2 and "x" or nil
        end,
      })
      local results, failed = client:put_many(fresh.stream(client, 1, "changed"), entries)
      assert.equal(1000, #results)
      assert.equal(500, failed)
      assert.is_nil(results[500].code)
      assert.equal("Cancelled", results[501].code)
      assert.matches("records[501].data", results[501].message, 1, true)
    end)

    it("gives every record its error when the stream does not exist, and sends no more", function()
      local results, failed = client:put_many(fresh.name "absent", numbered(1234))
      assert.equal(1234, failed)
      assert.equal(1234, #results)
      for i, result in ipairs(results) do
        assert.equal("ResourceNotFoundException", result.code)
        assert.is_nil(result.sequence_number)
        assert.equal(i > 500 and 0 or nil, result.attempts)
      end
      assert.matches("1234 results, 1234 failed, the first:", tostring(results), 1, true)
    end)

    it("takes records as they were read, with all their fields", function()
      local from, to = fresh.stream(client, 1, "from"), fresh.stream(client, 1, "to")
      client:put_many(from, numbered(10))
      local records = fresh.read(client, from)
      local _, failed = client:put_many(to, records)
      assert.equal(0, failed)
      local copies = fresh.read(client, to)
      assert.equal(10, #copies)
      for i, record in ipairs(records) do
        assert.equal(record.data, copies[i].data)
        assert.equal(record.partition_key, copies[i].partition_key)
      end
    end)

    it("is the module's function too, with a default client", function()
      assert(kinesis.configure { endpoint = service.endpoint, region = fresh.region, credentials = fresh.keys })
      local stream = fresh.stream(client, 1, "module")
      assert(kinesis.put(stream, "one", "k"))
      local _, failed = kinesis.put_many(stream, { { data = "two" } })
      assert.equal(0, failed)
      local count = 0
      for record in kinesis.shards(stream):records { stop_at_tip = true } do
        count = count + 1
        assert.equal(({ "one", "two" })[count], record.data)
      end
      assert.equal(2, count)
      assert.equal(stream, assert(kinesis.call("DescribeStreamSummary", { StreamName = stream }))
        .StreamDescriptionSummary.StreamName)
    end)
  end)
end

describe("bad input", function()
  local client, stream

  setup(function()
    client = fresh.client(fresh.services[2])
    stream = fresh.stream(client, 1, "bad")
  end)

  teardown(function()
    client:close()
  end)

  -- Each of these must leave the stream empty.
  local function expect(words, ...)
    for _, f in ipairs { ... } do
      local message = fresh.complaint(f)
      for _, word in ipairs(words) do
        assert.matches(word, message, 1, true)
      end
      assert.is_nil(message:find "\n")
    end
    assert.equal(0, #fresh.read(client, stream))
  end

  it("names the stream", function()
    expect({ "stream", "string", "nil" },
      function() client:put(nil, "x") end,
      function() client:put_many(nil, {}) end,
      function() client:shards(nil) end)
    expect({ "stream", "string", "number" },
      function() client:put(12, "x") end,
      function() client:put_many(12, {}) end,
      function() client:shards(12) end)
    expect({ "stream", "empty" },
      function() client:put("", "x") end,
      function() client:put_many("", {}) end,
      function() client:shards("") end)
    expect({ "stream", "129", "128" },
      function() client:put(("s"):rep(129), "x") end,
      function() client:put_many(("s"):rep(129), {}) end,
      function() client:shards(("s"):rep(129)) end)
    expect({ "stream", "characters" },
      function() client:put("a b", "x") end,
      function() client:put("a/b", "x") end,
      function() client:put("a\0b", "x") end,
      function() client:put("\195\164", "x") end,
      function() client:put_many("a\nb", {}) end,
      function() client:shards("a:b") end)
    expect({ "stream", "ARN" },
      function() client:put("arn:aws:s3:::bucket", "x") end,
      function() client:put("arn:aws:kinesis:us-east-1:1:table/x", "x") end,
      function() client:shards("arn:x") end)
    assert(client:put_many(("s"):rep(128), {}))
  end)

  it("names the data, its size and the limit", function()
    expect({ "data", "string", "nil" }, function() client:put(stream) end)
    expect({ "data", "string", "number" }, function() client:put(stream, 12) end)
    expect({ "data", "string", "table" }, function() client:put(stream, {}) end)
    local large = ("x"):rep(10 * MIB + 1)
    expect({ "data", "10485761", "10485760", "10 MiB" },
      function() client:put(stream, large) end,
      function() client:put_many(stream, { { data = large } }) end)
  end)

  it("names the key", function()
    expect({ "partition_key", "empty", "random" }, function() client:put(stream, "x", "") end)
    expect({ "partition_key", "string", "number" }, function() client:put(stream, "x", 12) end)
    expect({ "partition_key", "257", "256" },
      function() client:put(stream, "x", ("k"):rep(257)) end,
      function() client:put(stream, "x", EMOJI:rep(257)) end,
      function() client:put_many(stream, { { data = "x", partition_key = ("k"):rep(257) } }) end)
    for _, wrong in ipairs {
      "\255", "a\128", "\195", "\192\128", "\224\128\128", "\237\160\128", "\240\128\128\128", "\244\144\128\128",
      "\226\130", "\248\136\128\128\128",
    } do
      expect({ "partition_key", "UTF-8" },
        function() client:put(stream, "x", wrong) end,
        function() client:put_many(stream, { { data = "x", partition_key = wrong } }) end)
    end
  end)

  it("names the hash key", function()
    for _, wrong in ipairs {
      "", "x", "-1", "+1", "1.5", " 1", "01", "0x10", "1e3", "340282366920938463463374607431768211456", ("1"):rep(40),
    } do
      expect({ "explicit_hash_key", "2^128-1", "decimal" },
        function() client:put(stream, "x", "k", { explicit_hash_key = wrong }) end,
        function() client:put_many(stream, { { data = "x", explicit_hash_key = wrong } }) end)
    end
    expect({ "explicit_hash_key", "string", "12" },
      function() client:put(stream, "x", "k", { explicit_hash_key = 12 }) end)
    expect({ "records[1].explicit_hash_key", "string", "number" },
      function() client:put_many(stream, { { data = "x", explicit_hash_key = 12 } }) end)
  end)

  it("names the sequence number", function()
    for _, wrong in ipairs { "", "x", "-1", "01", "1.0", ("1"):rep(200) } do
      expect({ "sequence_number_for_ordering", "sequence number", "decimal" },
        function() client:put(stream, "x", "k", { sequence_number_for_ordering = wrong }) end)
    end
    expect({ "sequence_number_for_ordering", "string", "12" },
      function() client:put(stream, "x", "k", { sequence_number_for_ordering = 12 }) end)
  end)

  it("names the record of put_many that is wrong", function()
    expect({ "records", "table", "nil" }, function() client:put_many(stream) end)
    expect({ "records", "table", "string" }, function() client:put_many(stream, "x") end)
    expect({ "records[2]", "table", "string" }, function() client:put_many(stream, { { data = "x" }, "x" }) end)
    expect({ "records[2]", "data", "string", "nil" }, function() client:put_many(stream, { { data = "x" }, {} }) end)
    expect({ "records[1]", "data", "number" }, function() client:put_many(stream, { { data = 1 } }) end)
  end)

  it("sends nothing when the last of many records is wrong", function()
    local entries = {}
    for i = 1, 1201 do
      entries[i] = { data = "x", partition_key = "k" }
    end
    entries[1201].partition_key = ""
    expect({ "records[1201]", "partition_key", "empty" }, function() client:put_many(stream, entries) end)
  end)

  it("names unknown options, and the nearest that is known", function()
    expect({ "'explicit_hashkey'", "did you mean 'explicit_hash_key'" },
      function() client:put(stream, "x", "k", { explicit_hashkey = "1" }) end)
    expect({ "'paralel'", "did you mean 'parallel'" },
      function() client:put_many(stream, {}, { paralel = 2 }) end)
    expect({ "'colour'", "explicit_hash_key", "sequence_number_for_ordering" },
      function() client:put(stream, "x", "k", { colour = "red" }) end)
    expect({ "options", "table", "string" },
      function() client:put(stream, "x", "k", "options") end,
      function() client:put_many(stream, {}, "options") end)
    expect({ "parallel", "from 1 to 100", "0" },
      function() client:put_many(stream, {}, { parallel = 0 }) end)
    expect({ "parallel", "integer", "1.5" },
      function() client:put_many(stream, {}, { parallel = 1.5 }) end)
    expect({ "parallel", "integer", "string" },
      function() client:put_many(stream, {}, { parallel = "2" }) end)
  end)

  it("names what is wrong with a call", function()
    expect({ "operation" },
      function() client:call() end,
      function() client:call("") end,
      function() client:call("describeStream") end,
      function() client:call("A\nB") end,
      function() client:call(("A"):rep(48)) end)
    expect({ "params", "table", "string" }, function() client:call("ListStreams", "x") end)
    expect({ "params", "JSON" }, function() client:call("ListStreams", { print }) end)
  end)

  it("is raised at the caller's line for the module's functions too", function()
    assert(kinesis.configure {
      endpoint = fresh.services[2].endpoint, region = fresh.region, credentials = fresh.keys,
    })
    expect({ "stream", "empty" },
      function() kinesis.put("", "x") end,
      function() kinesis.put_many("", {}) end,
      function() kinesis.shards("") end)
    expect({ "data" }, function() kinesis.put(stream, 1) end)
    expect({ "'paralel'" }, function() kinesis.put_many(stream, {}, { paralel = 2 }) end)
    expect({ "'explicit_hashkey'" }, function() kinesis.put(stream, "x", "k", { explicit_hashkey = "" }) end)
    expect({ "operation" }, function() kinesis.call("") end)
    expect({ "sleep", "seconds", "-1" }, function() kinesis.sleep(-1) end)
    expect({ "run", "argument 2", "string" }, function() kinesis.run(print, "x") end)
    expect({ "'regoin'", "did you mean 'region'" },
      function() kinesis.client { regoin = "x" } end,
      function() kinesis.configure { regoin = "x" } end)
  end)
end)
