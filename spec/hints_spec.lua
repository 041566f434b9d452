-- What an error advises is about its cause.
local faults = require "support.faults"
local fresh = require "support.fresh"
local errors = require "kinesis.errors"
local options = require "kinesis.options"
local operations = require "kinesis.api.operations"
local shapes = require "kinesis.api.shapes"

local function lacks(text, err)
  assert.is_nil(tostring(err):find(text, 1, true), tostring(err))
end

local function has(text, err)
  assert.matches(text, tostring(err), 1, true)
end

describe("a Timeout", function()
  it("of an attempt asks about the network, and of a whole call about call_timeout", function()
    local scope = faults.open { PutRecord = { { stall = 30, always = true } } }
    local client = scope:client { request_timeout = 0.1, max_attempts = 1 }
    local _, err = client:put("s", "x")
    has("is the network slow? raise request_timeout, connect_timeout or call_timeout", err)
    client:close()
    err = errors.new("Timeout", "the call's time was up before an answer came", "PutRecord")
    has("; raise call_timeout", err)
    lacks("network", err)
  end)

  it("of a producer's wait does not, and says what the records wait for", function()
    local scope = faults.open { PutRecords = { { gate = true } } }
    local client = scope:client()
    local producer = assert(client:producer "s")
    local receipt = assert(producer:send "x")
    local _, err = producer:flush(0.05)
    assert.equal("PutRecords: Timeout: 1 record is neither stored nor failed yet", tostring(err))
    _, err = receipt:wait(0.05)
    assert.equal("PutRecords: Timeout: whether the record is stored is not known yet; wait again", tostring(err))
    client.credentials.error, client.credentials.identity = errors.new("NoCredentials", "the vault is sealed"), nil
    _, err = producer:flush(0.05)
    has("neither stored nor failed yet; the latest failure: NoCredentials: the vault is sealed", err)
    scope:open_gate()
    producer:close(0)
    receipt:wait()
    client:close()
  end)

  it("of a producer whose connections are refused says that", function()
    local nowhere = fresh.client("http://127.0.0.1:9")
    local producer = assert(nowhere:producer "s")
    local receipt = assert(producer:send "x")
    assert(producer:put "x")
    fresh.eventually(function()
      local _, err = producer:flush(0.05)
      return tostring(err):find("^PutRecords: Timeout: 2 records are neither stored nor failed yet; "
        .. "the latest failure: %w+: Connection: Failed to connect to 127.0.0.1 port 9")
    end)
    local _, err = receipt:wait(0.05)
    assert.matches("wait again; the latest failure: %w+: Connection: ", tostring(err))
    lacks("network", err)
    producer:close(0)
    assert.equal("Closed", select(2, receipt:wait()).code)
    nowhere:close()
  end)
end)

for _, service in ipairs(fresh.services) do
  describe("by " .. service.name, function()
    local client

    setup(function()
      client = fresh.client(service)
    end)

    teardown(function()
      client:close()
    end)

    it("a wait that is over says what it saw last", function()
      local absent = { StreamName = fresh.name "absent" }
      local _, err = client:wait_until("stream_exists", absent, { timeout = 0.1, interval = 0.05 })
      assert.equal("DescribeStreamSummary: Timeout: stream_exists is not reached after 0.1 seconds; last seen: "
        .. "it does not exist", tostring(err))
      local stream = fresh.stream(client, 1, "hints")
      _, err = client:wait_until("stream_not_exists", { StreamName = stream }, { timeout = 0.1, interval = 60 })
      has("last seen: its status is ACTIVE", err)
      client:delete_stream { StreamName = stream }
    end)

    it("a stream that is there is in use, and its error says how to wait", function()
      local params = { StreamName = fresh.name "hints", ShardCount = 1 }
      assert(client:create_stream(params))
      local _, err = client:create_stream(params)
      assert.equal("ResourceInUseException", err.code)
      has([[there is such a stream, or it is still being deleted; wait_until("stream_not_exists", …) ]]
        .. "waits until it is gone", err)
      fresh.active(client, params.StreamName)
      client:delete_stream { StreamName = params.StreamName }
    end)

    it("what is missing is named", function()
      local stream = fresh.stream(client, 1, "hints")
      local _, err = client:put(fresh.name "absent", "x")
      has("does the stream exist in this region and account, and is it ACTIVE?", err)
      _, err = client:call("GetShardIterator", {
        StreamName = stream, ShardId = "shardId-000000000007", ShardIteratorType = "LATEST",
      })
      if service.name == "kinesalite" then -- the other one gives an iterator
        has("does the stream have this shard?", err)
      end
      client:delete_stream { StreamName = stream }
    end)
  end)
end

it("limits and iterators have theirs", function()
  has("; describe_limits returns the limits", errors.new("LimitExceededException", "why", "CreateStream"))
  has("; a shard iterator expires after five minutes", errors.new("ExpiredIteratorException", "why", "GetRecords"))
end)

it("a stream that is not ACTIVE may become so", function()
  local err = errors.new("ResourceInUseException", "Stream x is not currently ACTIVE", "SplitShard")
  has([[wait_until("stream_active", …) waits until it is, unless it is being deleted]], err)
  has([[wait_until("stream_active", ]], errors.new("ResourceInUseException", "Stream x under account 0 not ACTIVE, "
    .. "instead in state CREATING", "SplitShard"))
  err = errors.new("ResourceInUseException", "Consumer c exists", "RegisterStreamConsumer")
  has("there is such a consumer, or it is still being deleted", err)
  lacks("wait_until", err)
  err = errors.new("ResourceInUseException", "Consumers exist in stream x", "DeleteStream")
  assert.equal("DeleteStream: ResourceInUseException: Consumers exist in stream x", tostring(err))
end)

describe("milliseconds", function()
  local now = os.time() * 1000

  it("are rejected wherever a time is in seconds", function()
    for _, from in ipairs {
      { timestamp = now }, { shards = { a = { timestamp = now } } }, { shards = {}, default = { timestamp = now } },
    } do
      local good, message = pcall(options.from, from, 1)
      assert.is_false(good)
      assert.matches("a time beyond the year 9999: seconds since 1970, not milliseconds", message, 1, true)
    end
    assert.is_true(options.from({ timestamp = now / 1000 }, 1))
    for name, params in pairs {
      GetShardIterator = {
        StreamName = "s", ShardId = "a", ShardIteratorType = "AT_TIMESTAMP", Timestamp = now,
      },
      ListShards = { StreamName = "s", ShardFilter = { Type = "AT_TIMESTAMP", Timestamp = now } },
      SubscribeToShard = {
        ConsumerARN = "arn:x", ShardId = "a", StartingPosition = { Type = "AT_TIMESTAMP", Timestamp = now },
      },
      ListStreamConsumers = { StreamARN = "arn:x", StreamCreationTimestamp = now },
    } do
      local _, problem = shapes.request(operations.by_name[name], params)
      assert.matches("imestamp must be a time in seconds since 1970, not milliseconds, got " .. now, problem, 1, true)
    end
  end)

  it("that the service refuses have a hint", function()
    for _, message in ipairs {
      "Timestamp cannot be in the future",
      "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: 1",
    } do
      has("the time is after the service's clock, which is in UTC; times are seconds since 1970",
        errors.new("InvalidArgumentException", message))
    end
    lacks("1970", errors.new("InvalidArgumentException", "why"))
  end)

  it("are rejected as the expiration of credentials", function()
    local keys = { access_key_id = "AKIDEXAMPLE", secret_access_key = "x", expiration = now }
    local client = fresh.client(fresh.services[1], { credentials = function()
      return keys
    end })
    local _, err = client:list_streams()
    assert.equal("NoCredentials", err.code)
    has("an expiration beyond the year 9999: seconds since 1970, not milliseconds", err)
    client:close()
  end)

  it("are not what the last second of the year 9999 is taken for, which means never", function()
    local never = 253402300799
    local client = fresh.client(fresh.services[1], { credentials = function()
      return { access_key_id = "AKIDEXAMPLE", secret_access_key = "x", expiration = never }
    end })
    assert(client:list_streams())
    client:close()
    assert.is_true(options.from({ timestamp = never }, 1))
  end)
end)
