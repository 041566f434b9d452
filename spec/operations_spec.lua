-- Every operation of the API: what it sends beside what aws-sdk-js sends, what it refuses, and what comes back.
-- luacheck: no max line length (a complaint stands on one line with the call that earns it)
local response = require "kinesis.response"
local cjson = require "cjson"
local codec = require("kinesis.core").codec
local faults = require "support.faults"
local fresh = require "support.fresh"
local operations = require "kinesis.api.operations"
local paginator = require "kinesis.api.paginator"
local shapes = require "kinesis.api.shapes"
local waiters = require "kinesis.api.waiters"

local service = fresh.services[1]

-- ---- requests that have every member ----

local TIME = 1767225600.125

-- A value of a type, for us and for the SDK.
local function sample(kind, name)
  if kind.kind == "structure" then
    local ours, theirs = {}, {}
    for _, member in ipairs(kind.members) do
      ours[member.name], theirs[member.name] = sample(shapes.type(member.type), member.name)
    end
    return ours, theirs
  elseif kind.kind == "list" then
    local ours, theirs = sample(shapes.type(kind.item), name)
    return { ours }, { theirs }
  elseif kind.kind == "map" then
    return { [name] = "of " .. name }, { [name] = "of " .. name }
  elseif kind.kind == "time" then
    return TIME, { ["$time"] = TIME }
  elseif kind.kind == "blob" then
    return fresh.bytes, { ["$blob"] = codec.base64_encode(fresh.bytes) }
  elseif kind.kind == "boolean" then
    return true, true
  elseif kind.kind == "integer" then
    return kind.most or 7, kind.most or 7
  end
  local text = kind.values and kind.values[#kind.values] or kind.decimal and "340282366920938463463374607431768211455"
    or name:sub(1, kind.most or 100)
  return text, text
end

describe("every operation", function()
  local client

  setup(function()
    client = fresh.client(os.getenv "NGINX_FAULTS" .. "/echo")
  end)

  teardown(function()
    client:close()
  end)

  it("sends what aws-sdk-js sends for the same input, member by member", function()
    local calls, ours = {}, {}
    for _, operation in ipairs(operations.list) do
      local mine, theirs = sample({ kind = "structure", members = shapes.members(operation.request) }, "")
      -- an id goes to another host, whatever the endpoint; that is another spec's
      mine.StreamId, theirs.StreamId = nil, nil
      calls[#calls + 1] = { operation.name, next(theirs) and theirs or cjson.decode "{}" }
      ours[#ours + 1] = { operation, mine }
    end
    local file = os.tmpname()
    local out = assert(io.open(file, "w"))
    out:write((cjson.encode(calls):gsub("%[%]", "{}")))
    out:close()
    local output, status = fresh.node("oracles/bodies.mjs", nil, file):wait()
    os.remove(file)
    assert.equal(0, status, output)
    local bodies = cjson.decode(output)
    assert.equal(45, #bodies)
    for i, call in ipairs(ours) do
      local operation = call[1]
      assert.is_string(bodies[i], operation.name)
      if operation.events then -- whose answer here is none
        assert.same(cjson.decode(bodies[i]), cjson.decode(response.write(shapes.request(operation, call[2]))))
      else
        local seen = assert(client[operation.verb](client, call[2]))
        assert.equal("Kinesis_20131202." .. operation.name, seen.headers["x-amz-target"])
        assert.same(cjson.decode(bodies[i]), cjson.decode(seen.body), operation.name)
      end
    end
  end)

  it("is refused with the member and its bound, at the caller's line", function()
    for message, f in pairs {
      ["describe_stream: Limit must be 1 to 10000, got 0"] = function() client:describe_stream { Limit = 0 } end,
      ["create_stream: StreamName is missing"] = function() client:create_stream() end,
      ["create_stream: StreamName must hold 1 to 128 characters, got 129"] = function() client:create_stream { StreamName = ("ä"):rep(129) } end,
      ["list_streams: Limits is not known; did you mean Limit?"] = function() client:list_streams { Limits = 5 } end,
      ["describe_limits: Limit is not known: there are none"] = function() client:describe_limits { Limit = 5 } end,
      ["describe_limits: params must be a table, got 'x'"] = function() client:describe_limits "x" end,
      ["list_shards: ShardFilter.Type must be one of AFTER_SHARD_ID, AT_TRIM_HORIZON, FROM_TRIM_HORIZON, AT_LATEST, AT_TIMESTAMP, FROM_TIMESTAMP, got 'x'"] = function() client:list_shards { ShardFilter = { Type = "x" } } end,
      ["list_shards: ShardFilter.Timestamp must be a time in seconds since 1970, got 'now'"] = function() client:list_shards { ShardFilter = { Type = "AT_TIMESTAMP", Timestamp = "now" } } end,
      ["list_shards: ShardFilter must be a table, got 1"] = function() client:list_shards { ShardFilter = 1 } end,
      ["put_records: Records[2].Data is missing"] = function() client:put_records { Records = { { Data = "" }, { PartitionKey = "k" } } } end,
      ["put_records: Records must hold 1 to 500 elements, got 0"] = function() client:put_records { Records = {} } end,
      ["put_record: Data must be a string of bytes, got 1"] = function() client:put_record { Data = 1 } end,
      ["put_record: ExplicitHashKey must be a string of decimal digits, got '0x1'"] = function() client:put_record { Data = "", ExplicitHashKey = "0x1" } end,
      ["put_record: DryRun must be true or false, got 'yes'"] = function() client:put_record { Data = "", DryRun = "yes" } end,
      ["update_shard_count: TargetShardCount must be an integer, got 1.5"] = function() client:update_shard_count { TargetShardCount = 1.5, ScalingType = "UNIFORM_SCALING" } end,
      ["increase_stream_retention_period: RetentionPeriodHours must be 24 to 8760, got 8761"] = function() client:increase_stream_retention_period { StreamName = "s", RetentionPeriodHours = 8761 } end,
      ["tag_resource: Tags.k must hold 0 to 256 characters, got 257"] = function() client:tag_resource { ResourceARN = "arn:x", Tags = { k = ("v"):rep(257) } } end,
      ["tag_resource: Tags must hold 1 to 200 entries, got 0"] = function() client:tag_resource { ResourceARN = "arn:x", Tags = {} } end,
      ["subscribe_to_shard: StartingPosition.Type must be one of AT_SEQUENCE_NUMBER, AFTER_SEQUENCE_NUMBER, TRIM_HORIZON, LATEST, AT_TIMESTAMP, got 'x'"] = function() client:subscribe_to_shard { ConsumerARN = "arn:x", ShardId = "s", StartingPosition = { Type = "x" } } end,
      ["pages: 'Nothing' is no operation of the API, such as 'ListStreams'"] = function() client:pages "Nothing" end,
      ["pages: PutRecord is not paginated; operations that are: DescribeStream, ListChannels, ListShards, ListStreamConsumers, ListStreams, ListTagsForStream"] = function() client:pages("PutRecord", { Data = "" }) end,
      ["pages: Limit must be 1 to 10000, got 0"] = function() client:pages("ListStreams", { Limit = 0 }) end,
      ["wait_until: 'ready' is no state; known are stream_exists, stream_active, stream_not_exists, consumer_active"] = function() client:wait_until("ready", {}) end,
      ["wait_until: StreamNam is not known; did you mean StreamName?"] = function() client:wait_until("stream_active", { StreamNam = "x" }) end,
      ["bad option 'timeout' of wait_until: must be a number above 0, got 0"] = function() client:wait_until("stream_active", {}, { timeout = 0 }) end,
    } do
      assert.equal(message, fresh.complaint(f))
    end
  end)

  it("is refused at the caller's line by the module, too", function()
    local kinesis = require "kinesis"
    assert(kinesis.configure { endpoint = service.endpoint, region = fresh.region, credentials = fresh.keys })
    assert.equal("list_streams: Limit must be 1 to 10000, got 0",
      fresh.complaint(function() kinesis.list_streams { Limit = 0 } end))
    assert.is_table(kinesis.list_streams().StreamNames)
    assert.is_table(kinesis.pages "ListStreams"())
  end)
end)

-- ---- the real thing ----

describe("kinesis-local", function()
  local client
  local answered = {} -- operations, by name

  setup(function()
    client = fresh.client(service, { on_response = function(event)
      answered[event.operation] = answered[event.operation] or not event.error
    end })
  end)

  teardown(function()
    client:close()
  end)

  it("is put to and read from with bytes and times", function()
    local stream = fresh.stream(client)
    local put = assert(client:put_record { StreamName = stream, Data = fresh.bytes, PartitionKey = "k" })
    local many = assert(client:put_records { StreamName = stream, Records = {
      { Data = "", PartitionKey = "a" }, { Data = "two", PartitionKey = "b", ExplicitHashKey = "7" },
    } })
    assert.equal(0, many.FailedRecordCount)
    assert.matches("^%x+%-%x+", many.request_id)
    assert.equal(2, #many.Records)
    local iterator = assert(client:get_shard_iterator {
      StreamName = stream, ShardId = put.ShardId, ShardIteratorType = "AT_TIMESTAMP", Timestamp = os.time() - 60.5,
    }).ShardIterator
    local got = assert(client:get_records { ShardIterator = iterator, Limit = 10 })
    assert.same({ fresh.bytes, "", "two" }, { got.Records[1].Data, got.Records[2].Data, got.Records[3].Data })
    assert.is_true(math.abs(got.Records[1].ApproximateArrivalTimestamp - os.time()) < 60)
    assert.equal("integer", (math.type or function() return "integer" end)(got.MillisBehindLatest))
  end)

  it("is asked by the whole of the control plane", function()
    local name = fresh.name "control"
    assert(client:create_stream { StreamName = name, ShardCount = 2, Tags = { team = "blue" } })
    local summary = assert(client:wait_until("stream_exists", { StreamName = name }, { interval = 0.05 }))
    summary = summary.StreamDescriptionSummary
    local arn = summary.StreamARN
    assert.equal("ACTIVE", summary.StreamStatus)
    local function settled(verb, params)
      params.StreamName = name
      assert(client[verb](client, params))
      assert(client:wait_until("stream_active", { StreamName = name }, { interval = 0.05 }))
    end
    assert.equal(name, assert(client:describe_stream { StreamARN = arn }).StreamDescription.StreamName)
    settled("increase_stream_retention_period", { RetentionPeriodHours = 168 })
    settled("decrease_stream_retention_period", { RetentionPeriodHours = 24 })
    assert(client:add_tags_to_stream { StreamName = name, Tags = { a = "1", b = "" } })
    assert(client:remove_tags_from_stream { StreamName = name, TagKeys = { "a" } })
    local tags = {}
    for _, tag in ipairs(assert(client:list_tags_for_stream { StreamName = name }).Tags) do
      tags[tag.Key] = tag.Value
    end
    assert.same({ team = "blue", b = "" }, tags)
    settled("enable_enhanced_monitoring", { ShardLevelMetrics = { "IncomingBytes" } })
    settled("disable_enhanced_monitoring", { ShardLevelMetrics = { "ALL" } })
    settled("start_stream_encryption", { EncryptionType = "KMS", KeyId = "alias/aws/kinesis" })
    settled("stop_stream_encryption", { EncryptionType = "KMS", KeyId = "alias/aws/kinesis" })
    local shards = assert(client:list_shards { StreamName = name }).Shards
    settled("merge_shards", { ShardToMerge = shards[1].ShardId, AdjacentShardToMerge = shards[2].ShardId })
    local merged = assert(client:list_shards { StreamName = name, ShardFilter = { Type = "AT_LATEST" } }).Shards
    assert.equal(1, #merged)
    settled("split_shard", { ShardToSplit = merged[1].ShardId,
      NewStartingHashKey = "170141183460469231731687303715884105728" })
    settled("update_shard_count", { TargetShardCount = 4, ScalingType = "UNIFORM_SCALING" })
    assert.equal(4, assert(client:describe_stream_summary { StreamName = name }).StreamDescriptionSummary.OpenShardCount)
    assert(client:update_stream_mode { StreamARN = arn, StreamModeDetails = { StreamMode = "ON_DEMAND" } })
    assert(client:wait_until("stream_active", { StreamName = name }, { interval = 0.05 }))
    local consumer = assert(client:register_stream_consumer { StreamARN = arn, ConsumerName = "fan" }).Consumer
    local described = assert(client:wait_until("consumer_active", { ConsumerARN = consumer.ConsumerARN },
      { interval = 0.05 })).ConsumerDescription
    assert.equal("fan", described.ConsumerName)
    assert.equal(1, #assert(client:list_stream_consumers { StreamARN = arn }).Consumers)
    assert(client:deregister_stream_consumer { ConsumerARN = consumer.ConsumerARN })
    assert(client:put_resource_policy { ResourceARN = arn, Policy = "{}" })
    assert.equal("{}", assert(client:get_resource_policy { ResourceARN = arn }).Policy)
    assert(client:delete_resource_policy { ResourceARN = arn })
    assert(client:tag_resource { ResourceARN = arn, Tags = { c = "3" } })
    assert(client:untag_resource { ResourceARN = arn, TagKeys = { "c" } })
    assert.is_table(assert(client:list_tags_for_resource { ResourceARN = arn }).Tags)
    assert.is_number(assert(client:describe_limits()).ShardLimit)
    assert(client:update_account_settings { MinimumThroughputBillingCommitment = { Status = "ENABLED" } })
    assert.is_table(client:describe_account_settings().MinimumThroughputBillingCommitment)
    assert(client:update_max_record_size { StreamARN = arn, MaxRecordSizeInKiB = 2048 })
    assert(client:wait_until("stream_active", { StreamName = name }, { interval = 0.05 }))
    assert(client:update_stream_warm_throughput { StreamName = name, WarmThroughputMiBps = 10 })
    assert(client:wait_until("stream_active", { StreamName = name }, { interval = 0.05 }))
    assert(client:delete_stream { StreamName = name, EnforceConsumerDeletion = true })
    assert(client:wait_until("stream_not_exists", { StreamName = name }, { interval = 0.05 }))
    local missing, err = client:describe_stream_summary { StreamName = name }
    assert.is_nil(missing)
    assert.equal("ResourceNotFoundException", err.code)
  end)

  it("gives a consumer the events of a shard, bytes and all", function()
    local stream, summary = fresh.stream(client)
    local arn = summary.StreamARN
    local consumer = assert(client:register_stream_consumer { StreamARN = arn, ConsumerName = "fan" }).Consumer
    assert(client:wait_until("consumer_active", { ConsumerARN = consumer.ConsumerARN }, { interval = 0.05 }))
    assert(client:put(stream, fresh.bytes, "k"))
    local seen, before = {}, client:stats().bytes_received
    local asked = {
      ConsumerARN = consumer.ConsumerARN, ShardId = "shardId-000000000000", StartingPosition = { Type = "TRIM_HORIZON" },
    }
    for event in client:subscribe_to_shard(asked) do
      assert.is_string(event.ContinuationSequenceNumber)
      for _, record in ipairs(event.Records) do
        seen[#seen + 1] = record.Data
        if #seen == 1 then
          assert(client:put(stream, "while it is open", "k")) -- on the same client
        end
      end
      if #seen == 2 then
        break
      end
    end
    assert.same({ fresh.bytes, "while it is open" }, seen)
    assert.is_true(client:stats().bytes_received - before > 600) -- an event of 256 bytes, and another
    answered.SubscribeToShard = true -- left before its end, of which the hook would be told
    if _VERSION == "Lua 5.4" then
      fresh.eventually(function()
        return client:stats().subscriptions == 0
      end)
    end
  end)

  it("gives every page of a list", function()
    local names = {}
    for i = 1, 5 do
      names[i] = fresh.stream(client, 1, ("page-%d"):format(i))
    end
    local found, count = {}, 0
    for page in client:pages("ListStreams", { Limit = 2 }) do
      count = count + 1
      assert.is_true(#page.StreamNames <= 2)
      for _, name in ipairs(page.StreamNames) do
        found[name] = true
      end
    end
    assert.is_true(count >= 3)
    for _, name in ipairs(names) do
      assert.is_true(found[name], name)
    end
    local stream = fresh.stream(client, 5)
    for _, operation in ipairs { "ListShards", "DescribeStream" } do
      local ids, limit = {}, operation == "ListShards" and "MaxResults" or "Limit"
      for page in client:pages(operation, { StreamName = stream, [limit] = 2 }) do
        for _, shard in ipairs(page.Shards or page.StreamDescription.Shards) do
          ids[#ids + 1] = shard.ShardId
        end
      end
      assert.equal(5, #ids, operation)
    end
  end)

  it("was asked by all operations that it knows", function()
    local missing = {}
    for _, operation in ipairs(operations.list) do
      missing[#missing + 1] = not answered[operation.name] and operation.name or nil
    end
    table.sort(missing)
    assert.same({
      "CreateChannel", "DeleteChannel", "DescribeChannel", "ListChannels", "UpdateChannel",
      "UpdateStreamRecordDistributionStrategy",
    }, missing)
  end)
end)

describe("examples/stream.lua", function()
  it("is the console: capacity, retention, mode, shards, encryption, and what goes with a deletion", function()
    local client = fresh.client(service)
    local stream = fresh.name "console"
    local function console(arguments)
      local words = ('%s "$ROOT/examples/stream.lua" %s'):format(os.getenv "LUA", arguments)
      return fresh.spawn(words, {
        KINESIS_STREAM = stream, AWS_REGION = fresh.region, AWS_ENDPOINT_URL_KINESIS = service.endpoint,
        AWS_ACCESS_KEY_ID = fresh.keys.access_key_id, AWS_SECRET_ACCESS_KEY = fresh.keys.secret_access_key,
      }):wait()
    end
    local function shows(arguments, pattern)
      local output, status = console(arguments)
      assert.equal(0, status, output)
      assert.matches(pattern, output)
    end
    shows("create 2", "Mode:      PROVISIONED\nRetention: 24 hours\n.*shardId%-000000000001 .* open")
    shows("retention 168", "Retention: 168 hours")
    shows("retention 8760", "Retention: 8760 hours")
    shows("retention 24", "Retention: 24 hours")
    shows("mode on-demand", "Mode:      ON_DEMAND")
    shows("reshard 3", "shardId%-000000000003 .* open")
    shows("encrypt", "Encrypted: by alias/aws/kinesis")
    shows("list", "%f[%w]" .. stream:gsub("%-", "%%-") .. "\n")
    local arn = client:describe_stream_summary({ StreamName = stream }).StreamDescriptionSummary.StreamARN
    assert(client:register_stream_consumer { StreamARN = arn, ConsumerName = "fan" })
    shows("delete", "^Service:   " .. service.endpoint .. " %(on this machine%)\nconsumer fan is deleted, too\n"
      .. stream:gsub("%-", "%%-") .. " is being deleted\n$")
    assert(client:wait_until("stream_not_exists", { StreamName = stream }, { interval = 0.05 }))
    local output, status = console "retention 1"
    assert.equal(1, status)
    assert.matches("\nDescribeStreamSummary: ResourceNotFoundException: ", output)
    output, status = console ""
    assert.equal(2, status)
    assert.matches("stream.lua retention HOURS\n", output)
    client:close()
  end)

  it("says which service it talks to, and whether that is on this machine", function()
    local function service_with(url)
      return (fresh.spawn(('%s "$ROOT/examples/stream.lua" service'):format(os.getenv "LUA"), {
        AWS_REGION = fresh.region, AWS_ENDPOINT_URL = url,
        AWS_ACCESS_KEY_ID = fresh.keys.access_key_id, AWS_SECRET_ACCESS_KEY = fresh.keys.secret_access_key,
      }):wait())
    end
    assert.equal("Service:   https://kinesis.us-east-1.amazonaws.com (AWS)\n", service_with(nil))
    for _, url in ipairs { "http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9" } do
      assert.equal(("Service:   %s (on this machine)\n"):format(url), service_with(url))
    end
    assert.equal("Service:   http://localhost.example.com:9 (from AWS_ENDPOINT_URL)\n",
      service_with "http://localhost.example.com:9")
  end)
end)

-- ---- what no service shows ----

describe("pages", function()
  local function read(operation, params, bodies)
    local rules = {}
    for i, body in ipairs(bodies) do
      rules[i] = type(body) == "table" and body or { body = body, status = 200 }
    end
    local scope = faults.open { [operation] = rules }
    local client = scope:client()
    local got = {}
    local good, err = pcall(function()
      for page in client:pages(operation, params) do
        got[#got + 1] = page
      end
    end)
    local asked = #scope:seen(operation)
    client:close()
    return got, asked, not good and err or nil
  end

  it("go on behind an empty page", function()
    local got, asked, err = read("ListChannels", {}, {
      '{"ChannelSummaries":[],"NextToken":"a"}', '{"ChannelSummaries":[],"NextToken":"b"}',
      '{"ChannelSummaries":[{"ChannelName":"c"}]}',
    })
    assert.is_nil(err)
    assert.equal(3, asked)
    assert.equal("c", got[3].ChannelSummaries[1].ChannelName)
  end)

  it("raise when the same place comes twice, as the list would have no end", function()
    local got, asked, err = read("ListStreamConsumers", { StreamARN = "arn:x" }, {
      '{"Consumers":[],"NextToken":"a"}', '{"Consumers":[],"NextToken":"a"}', '{"Consumers":[]}',
    })
    assert.equal(1, #got)
    assert.equal(2, asked)
    assert.equal("BadAnswer", err.code)
    got, asked, err = read("ListStreams", {}, { '{"StreamNames":[],"HasMoreStreams":true}' })
    assert.equal(0, #got)
    assert.equal(1, asked)
    assert.equal("BadAnswer", err.code)
  end)

  it("raise when a place comes again later, and when many pages bring nothing new", function()
    local function shard(id)
      return ('{"ShardId":"%s","HashKeyRange":{},"SequenceNumberRange":{}}'):format(id)
    end
    local got, asked, err = read("ListShards", { StreamName = "s" }, {
      '{"Shards":[' .. shard "1" .. '],"NextToken":"a"}', '{"Shards":[' .. shard "2" .. '],"NextToken":"b"}',
      '{"Shards":[' .. shard "3" .. '],"NextToken":"a"}',
    })
    assert.same({ 2, 3, "BadAnswer" }, { #got, asked, err.code })
    local bodies = {}
    for i = 1, 120 do
      bodies[i] = ('{"Shards":[%s],"NextToken":"t%d"}'):format(shard "1", i)
    end
    got, asked, err = read("ListShards", { StreamName = "s" }, bodies)
    assert.equal(#got + 1, asked)
    assert.is_true(asked < 60, asked .. " pages")
    assert.matches("no end", err.message)
  end)

  it("begin again when the token has expired, and give each item once", function()
    local expired = { code = "ExpiredNextTokenException" }
    local got, asked, err = read("ListStreams", {}, {
      '{"StreamNames":["a","b"],"HasMoreStreams":true,"NextToken":"t"}', expired,
      '{"StreamNames":["a","b"],"HasMoreStreams":true,"NextToken":"u"}',
      '{"StreamNames":["c"],"HasMoreStreams":false}',
    })
    assert.is_nil(err)
    assert.equal(4, asked)
    local names = {}
    for _, page in ipairs(got) do
      for _, name in ipairs(page.StreamNames) do
        names[#names + 1] = name
      end
    end
    assert.equal("a b c", table.concat(names, " "))
    expired.always = true
    got, asked, err = read("ListStreams", {}, { '{"StreamNames":["a"],"HasMoreStreams":true,"NextToken":"t"}', expired })
    assert.same({ "ExpiredNextTokenException", 3, 1 }, { err.code, asked, #got })
  end)

  it("raise the error object of a page that does not come", function()
    local got, _, err = read("ListStreams", {}, { '{"StreamNames":["a"],"HasMoreStreams":true,"NextToken":"t"}', "<html>" })
    assert.equal(1, #got)
    assert.equal("BadAnswer", err.code)
  end)

  it("are of every list of the API", function()
    for _, operation in ipairs(operations.list) do
      if operation.answer:find "NextToken" or operation.answer:find "HasMore" then
        assert.is_truthy(table.concat(paginator.names(), " "):find(operation.name, 1, true), operation.name)
      end
    end
  end)
end)

describe("client:shards", function()
  local function list(bodies)
    local rules = {}
    for i, body in ipairs(bodies) do
      rules[i] = type(body) == "table" and body or { body = body, status = 200 }
    end
    local client = faults.open({ ListShards = rules }):client()
    local good, shards = pcall(client.shards, client, "s")
    client:close()
    return good, shards
  end

  local function page(id, token)
    return ('{"Shards":[{"ShardId":"%s"}]%s}'):format(id, token and (',"NextToken":"%s"'):format(token) or "")
  end

  it("begins the list again when its token has expired", function()
    local good, shards = list { page("1", "t"), { code = "ExpiredNextTokenException" }, page("1", "u"), page("2") }
    assert.is_true(good)
    assert.same({ 2, "1", "2" }, { #shards, shards[1].id, shards[2].id })
  end)

  it("raises when the list has no end", function()
    local good, err = list { page("1", "t"), page("2", "u"), page("3", "t"), page("4", "u") }
    assert.is_false(good)
    assert.equal("BadAnswer", err.code)
  end)

  it("raises when the answer is no list", function()
    for _, body in ipairs { '{"Shards":5}', '{"Shards":[{}]}', '{"Shards":[{"ShardId":nan}]}', '{"Shards":[],"NextToken":{}}' } do
      local good, err = list { body }
      assert.is_false(good)
      assert.equal("BadAnswer", err.code)
    end
  end)
end)

describe("client:wait_until", function()
  it("gives up after its time, and says what it saw", function()
    local body = '{"StreamDescriptionSummary":{"StreamName":"s","StreamStatus":"CREATING"}}'
    local scope = faults.open { DescribeStreamSummary = { { body = body, status = 200, always = true } } }
    local client = scope:client()
    local answer, err = client:wait_until("stream_exists", { StreamName = "s" }, { timeout = 0.2, interval = 0.05 })
    assert.is_nil(answer)
    assert.equal("Timeout", err.code)
    assert.equal("stream_exists is not reached after 0.2 seconds; last seen: its status is CREATING", err.message)
    client:close()
  end)

  it("bears that a stream is missing when it is to exist, and only then", function()
    local client = fresh.client(service)
    local absent = { StreamName = fresh.name "absent" }
    local _, err = client:wait_until("stream_exists", absent, { timeout = 0.1, interval = 0.05 })
    assert.equal("Timeout", err.code)
    assert.matches("last seen: it does not exist$", err.message)
    _, err = client:wait_until("stream_active", absent)
    assert.equal("ResourceNotFoundException", err.code)
    assert.same({}, client:wait_until("stream_not_exists", absent))
    client:close()
  end)

  it("knows states of operations that there are", function()
    for _, state in ipairs(waiters.names) do
      assert.is_table(operations.by_name[waiters.operation(state)])
    end
  end)
end)

it("what editors are told of the operations is what the tables say", function()
  for _, script in ipairs { "operation_types", "option_types" } do
    local pipe = assert(io.popen(("cd '%s' && lua5.4 spec/support/%s.lua"):format(os.getenv "ROOT", script)))
    local fresh_text = pipe:read "*a"
    pipe:close()
    local file = assert(io.open(("%s/lua/kinesis/meta/%s.lua"):format(os.getenv "ROOT", script)))
    assert.equal(file:read "*a", fresh_text)
    file:close()
  end
end)
