-- Wrong calls at a prompt, and the errors that name the right ones.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
local suggest = require "kinesis.util.suggest"
local operations = require "kinesis.api.operations"
local options = require "kinesis.options"
local shapes = require "kinesis.api.shapes"

local client, stream, producer, shards

setup(function()
  client = fresh.client(fresh.services[1])
  stream = fresh.stream(client, 1, "advice")
  producer = assert(client:producer(stream))
  shards = client:shards(stream)
end)

teardown(function()
  producer:close()
  client:call("DeleteStream", { StreamName = stream })
  client:close()
end)

describe("the module", function()
  it("says what is meant by a name that it does not have", function()
    local read = "did you mean kinesis.shards(stream):records()?"
    for message, f in pairs {
      ["there is no 'records'; " .. read] = function() kinesis.records(stream) end,
      ["there is no 'get'; " .. read] = function() kinesis.get(stream) end,
      ["there is no 'consumer'; " .. read:sub(1, -2) .. ", or kinesis.worker(stream, application)?"] =
        function() kinesis.consumer(stream) end,
      ["there is no 'send'; did you mean kinesis.put(stream, data), or a producer's put or send?"] =
        function() kinesis.send(stream, "x") end,
      ["there is no 'describestream'; did you mean kinesis.describe_stream?"] =
        function() kinesis.describestream {} end,
      ["there is no 'DescribeStream'; did you mean kinesis.describe_stream?"] =
        function() kinesis.DescribeStream {} end,
      ["there is no 'describeStream'; did you mean kinesis.describe_stream?"] =
        function() kinesis.describeStream {} end,
      ["there is no 'discribe_streem'; did you mean kinesis.describe_stream?"] =
        function() kinesis.discribe_streem {} end,
      ["there is no 'putMany'; did you mean kinesis.put_many?"] = function() kinesis.putMany(stream, {}) end,
      ["there is no 'shrads'; did you mean kinesis.shards?"] = function() kinesis.shrads(stream) end,
      ["there is no 'streams'; did you mean kinesis.list_streams()?"] = function() kinesis.streams() end,
      ["there is no 'stats'; did you mean client:stats(), producer:stats(), reader:stats() or worker:stats()?"] =
        function() kinesis.stats() end,
      ["there is no 'position'; did you mean reader:position()?"] = function() kinesis.position() end,
      ["there is no 'flush'; did you mean producer:flush()?"] = function() kinesis.flush() end,
      ["there is no 'configuration'; did you mean client:configuration()?"] = function() kinesis.configuration() end,
      ["there is no 'next'; did you mean reader:next()?"] = function() kinesis.next() end,
      ["there is no 'stop'; did you mean reader:stop() or worker:stop()?"] = function() kinesis.stop() end,
      ["there is no 'wait'; did you mean receipt:wait()?"] = function() kinesis.wait() end,
    } do
      assert.equal(message, fresh.complaint(f))
    end
  end)

  it("answers whoever asks for what another version may have", function()
    for _, name in ipairs {
      "fanout", "new", "setup", "close", "init", "name", "_NAME", "__index",
    } do
      assert.is_nil(kinesis[name], name)
      assert.is_nil(kinesis[name], name)
    end
    assert.is_nil(kinesis[1])
    assert.is_nil(rawget(kinesis, "records"))
    for name in pairs(kinesis) do
      assert.is_not_equal("records", name)
    end
  end)

  it("says dot for colon", function()
    local function says(verb, f)
      assert.equal(("%s: call it with a dot, kinesis.%s(…)"):format(verb, verb), fresh.complaint(f))
    end
    says("put", function() kinesis:put(stream, "x") end)
    says("put_many", function() kinesis:put_many(stream, {}) end)
    says("producer", function() kinesis:producer(stream) end)
    says("shards", function() kinesis:shards(stream) end)
    says("describe_stream", function() kinesis:describe_stream { StreamName = stream } end)
    says("pages", function() kinesis:pages "ListStreams" end)
    says("wait_until", function() kinesis:wait_until("stream_exists", {}) end)
    says("call", function() kinesis:call "ListStreams" end)
    says("client", function() kinesis:client() end)
    says("configure", function() kinesis:configure {} end)
    says("sleep", function() kinesis:sleep(1) end)
  end)
end)

describe("an object", function()
  it("says colon for dot", function()
    local reader, receipt = shards:records(), assert(producer:send "x")
    local worker = assert(client:worker(stream, "advice", { store = memory.new() }))
    local function says(call, f)
      assert.equal(("%s: call it with a colon, %s(…)"):format(call:match ":(.*)", call), fresh.complaint(f))
    end
    says("producer:put", function() producer.put "x" end)
    says("producer:put", function() producer.put("x", "key") end)
    says("producer:put", function() producer.put() end)
    says("producer:send", function() producer.send "x" end)
    for _, data in ipairs { 123, 0 / 0, true, false, print, {}, coroutine.create(print), "" } do
      says("producer:put", function() producer.put(data) end)
      says("producer:put", function() producer.put(data, "key") end)
      says("producer:put", function() producer.put(data, "key", {}) end)
      says("producer:send", function() producer.send(data, "key") end)
      says("producer:flush", function() producer.flush(data) end)
      says("receipt:wait", function() receipt.wait(data) end)
      says("reader:next", function() reader.next(data) end)
      says("reader:position", function() reader.position(data) end)
      says("client:put", function() client.put(data, "x", "key") end)
      says("client:list_streams", function() client.list_streams(data) end)
      says("shards:records", function() shards.records(data) end)
      says("worker:run", function() worker.run(data) end)
      says("worker:records", function() worker.records(data) end)
      says("worker:ack", function() worker.ack(data) end)
    end
    says("producer:flush", function() producer.flush() end)
    says("producer:flush", function() producer.flush(5) end)
    says("producer:stats", function() producer.stats() end)
    says("producer:close", function() producer.close() end)
    says("receipt:wait", function() receipt.wait() end)
    says("reader:next", function() reader.next() end)
    says("reader:next", function() reader.next("x") end)
    says("reader:next", function() reader.next(client) end)
    says("reader:position", function() reader.position() end)
    says("reader:stop", function() reader.stop() end)
    says("reader:close", function() reader.close() end)
    says("client:put", function() client.put(stream, "x") end)
    says("client:put_many", function() client.put_many(stream, {}) end)
    says("client:describe_stream", function() client.describe_stream { StreamName = stream } end)
    says("client:subscribe_to_shard", function() client.subscribe_to_shard {} end)
    says("client:call", function() client.call "ListStreams" end)
    says("client:pages", function() client.pages "ListStreams" end)
    says("client:producer", function() client.producer(stream) end)
    says("client:shards", function() client.shards(stream) end)
    says("client:stats", function() client.stats() end)
    says("client:configuration", function() client.configuration() end)
    says("client:wait_until", function() client.wait_until("stream_exists", {}) end)
    says("client:close", function() client.close() end)
    says("shards:records", function() shards.records() end)
    says("shards:records", function() shards.records { from = "latest" } end)
    says("shard:records", function() shards[1].records() end)
    assert(receipt:wait())
    reader:close()
  end)

  it("may stand behind another one that has its methods", function()
    local proxy = setmetatable({}, { __index = client })
    assert(proxy:put(stream, "x"))
    assert(proxy:list_streams())
    proxy = setmetatable({}, { __index = producer })
    assert(proxy:put "x")
    assert(proxy:flush())
  end)

  it("says what is meant by a method that it does not have", function()
    local reader = shards:records()
    local worker = assert(client:worker(stream, "advice", { store = memory.new() }))
    for message, f in pairs {
      ["there is no 'close'; did you mean worker:stop()?"] = function() worker:close() end,
      ["this method is called worker:checkpoint"] = function() worker:Checkpoint() end,
      ["there is no 'records'; did you mean client:shards(stream):records()?"] =
        function() client:records(stream) end,
      ["this method is called client:describe_stream"] =
        function() client:DescribeStream {} end,
      ["this method is called client:put_records"] = function() client:putRecords {} end,
      ["there is no 'write'; did you mean producer:put(data)?"] = function() producer:write "x" end,
      ["there is no 'wait'; did you mean producer:flush()?"] = function() producer:wait() end,
      ["there is no 'read'; did you mean reader:next()?"] = function() reader:read() end,
      ["there is no 'seek_to_beginning'; did you mean reader:seek(\"trim_horizon\")?"] =
        function() reader:seek_to_beginning() end,
      ["there is no 'commit'; did you mean reader:position()?"] = function() reader:commit() end,
      ["there is no 'record'; did you mean shards:records()?"] = function() shards:record() end,
      ["there is no 'read'; did you mean shard:records()?"] = function() shards[1]:read() end,
    } do
      assert.equal(message, fresh.complaint(f))
    end
    assert.is_nil(client.fanout)
    assert.is_nil(producer.closed)
    assert.is_nil(worker.err)
    reader:close()
  end)
end)

describe("options", function()
  it("to an operation may be called otherwise elsewhere", function()
    for verb, names in pairs {
      DescribeStream = {
        stream = "StreamName", name = "StreamName", arn = "StreamARN", streamName = "StreamName",
        stream_name = "StreamName", streamname = "StreamName", StreamArn = "StreamARN", stream_arn = "StreamARN",
        Arn = "StreamARN", limit = "Limit", StreamNam = "StreamName", StreamNmae = "StreamName",
      },
      CreateStream = { shards = "ShardCount", name = "StreamName", count = "ShardCount", mode = "StreamModeDetails",
        shard_count = "ShardCount", Shards = "ShardCount", tags = "Tags" },
      UpdateShardCount = { shards = "TargetShardCount", ShardCount = "TargetShardCount", scaling = "ScalingType" },
      GetShardIterator = { shard = "ShardId", shard_id = "ShardId", type = "ShardIteratorType",
        timestamp = "Timestamp", sequence_number = "StartingSequenceNumber" },
      GetRecords = { iterator = "ShardIterator", limit = "Limit" },
      PutRecord = { key = "PartitionKey", partition_key = "PartitionKey", data = "Data" },
      RegisterStreamConsumer = { name = "ConsumerName", stream = "StreamARN" },
      IncreaseStreamRetentionPeriod = { hours = "RetentionPeriodHours", retention = "RetentionPeriodHours" },
    } do
      for name, meant in pairs(names) do
        local _, problem = shapes.request(operations.by_name[verb], { [name] = "x" })
        assert.equal(("%s is not known; did you mean %s?"):format(name, meant), problem)
      end
    end
    assert.equal("describe_stream: params must be a table, got 's'; did you mean {StreamName = 's'}?",
      fresh.complaint(function() client:describe_stream "s" end))
  end)

  it("as an option, too", function()
    for noun, names in pairs {
      client = { url = "endpoint", endpoint_url = "endpoint", timeout = "request_timeout", retries = "max_attempts",
        aws_region = "region", access_key_id = "credentials", maxAttempts = "max_attempts", profil = "profile" },
      producer = { batch_size = "batch_records", on_error = "on_failure", ttl = "record_ttl", linger_ms = "linger",
        concurrency = "parallel", aggregation = "aggregate", onFailure = "on_failure", timeout = "exit_timeout" },
      records = { start = "from", since = "from", timeout = "idle_timeout", max = "limit", interval = "poll_interval",
        on_failure = "on_error", stopAtTip = "stop_at_tip", tip = "stop_at_tip", batch_size = "batch" },
      put = { hash_key = "explicit_hash_key" },
      wait_until = { every = "interval", time_out = "timeout" },
      put_many = { concurrency = "parallel" },
    } do
      for name, meant in pairs(names) do
        local _, message = pcall(options.check, noun, { [name] = "x" }, 1)
        assert.matches(("unknown option '%s' of %s; did you mean '%s'?"):format(name, noun, meant), message, 1, true)
      end
    end
  end)

  it("as a name among others, too", function()
    for message, f in pairs {
      ["wait_until: 'active' is no state; did you mean 'stream_active'?"] =
        function() client:wait_until("active", {}) end,
      ["wait_until: 'stream_exist' is no state; did you mean 'stream_exists'?"] =
        function() client:wait_until("stream_exist", {}) end,
      ["pages: 'list_streams' is no operation of the API, such as 'ListStreams'"] =
        function() client:pages "list_streams" end,
      ["call: operation must be the name of an API operation, such as 'DescribeStream'"] =
        function() client:call "describe_stream" end,
      ["put_many: records must be a list of tables, got one of them"] =
        function() client:put_many(stream, { data = "x" }) end,
    } do
      assert.equal(message, fresh.complaint(f))
    end
    for given, meant in pairs {
      TRIM_HORIZON = "trim_horizon", Latest = "latest", oldest = "trim_horizon", now = "latest",
    } do
      local _, message = pcall(options.from, given, 1)
      assert.matches(("is the unknown '%s' (did you mean '%s'?)"):format(given, meant), message, 1, true)
    end
    local _, message = pcall(options.from, ' {"shards":{}}', 1)
    assert.matches("is JSON text; decode it first; known forms:", message, 1, true)
  end)

  it("is not guessed at when nothing is near", function()
    assert.is_nil(suggest.of("colour", { "parallel" }))
    assert.is_nil(suggest.of("", { "StreamName" }))
    assert.is_nil(suggest.of("x", { "StreamName", "Limit" }))
    assert.is_nil(suggest.slip("fanout", { "producer", "put" }))
  end)
end)
