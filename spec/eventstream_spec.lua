-- Event stream responses: frames encoded by @smithy's codec, and errors in the middle of a stream.
local codec = require("kinesis.core").codec
local faults = require "support.faults"
local event_frames = require "support.frames"
local fresh = require "support.fresh"
local wire = require("stepped").codec

local framed, event = event_frames.encode, event_frames.event

local EMPTY = '{"Records":[],"ContinuationSequenceNumber":"1","MillisBehindLatest":0}'

describe("a frame", function()
  it("of @smithy's codec is read, with headers of every type, cut anywhere", function()
    local wanted = { event(fresh.bytes), event("", "initial-response"),
      { { [":message-type"] = "exception", [":exception-type"] = "ResourceInUseException" }, '{"message":"m"}' },
      { { [":message-type"] = "error", [":error-code"] = "Code", [":error-message"] = "why" }, "" },
      event(("x"):rep(70000)),
    }
    local frames = framed(wanted)
    local all = table.concat(frames)
    local read, rest = wire.event_frames(all)
    assert.equal(0, rest)
    assert.equal(#wanted, #read)
    assert.same({ kind = "event", name = "SubscribeToShardEvent", payload = fresh.bytes }, read[1])
    assert.same({ kind = "event", name = "initial-response", payload = "" }, read[2])
    assert.same({ kind = "exception", name = "ResourceInUseException", payload = '{"message":"m"}' }, read[3])
    assert.same({ kind = "error", name = "Code", message = "why", payload = "" }, read[4])
    assert.equal(70000, #read[5].payload)
    for cut = 0, #frames[3] - 1 do
      read, rest = wire.event_frames(frames[3]:sub(1, cut))
      assert.same({ {}, cut }, { read, rest })
    end
  end)

  it("with any inverted bit is refused", function()
    local frame = framed({ event "payload" })[1]
    for i = 1, #frame do
      local mangled = frame:sub(1, i - 1) .. string.char((frame:byte(i) + 128) % 256) .. frame:sub(i + 1)
      local read, rest = wire.event_frames(mangled)
      assert.same({}, read, i)
      -- a larger length is found by the checksum of the prelude, which is checked first
      assert.equal("broken", rest)
    end
  end)
end)

describe("subscribe_to_shard", function()
  local ASKED = { ConsumerARN = "arn:x", ShardId = "s", StartingPosition = { Type = "LATEST" } }

  -- The result of a response of these bytes: the events, the error, and the number of requests.
  local function subscribe(bytes, rule)
    rule = rule or {}
    rule.base64 = codec.base64_encode(bytes)
    local scope = faults.open { SubscribeToShard = { rule, {} } }
    local client = scope:client { max_attempts = 2 }
    local got = {}
    local good, err = pcall(function()
      for each in client:subscribe_to_shard(ASKED) do
        got[#got + 1] = each
      end
    end)
    local asked = #scope:seen "SubscribeToShard"
    client:close()
    return got, not good and err or nil, asked
  end

  it("gives events as bytes and integers, and ends when the service ends it", function()
    local got, err = subscribe(table.concat(framed {
      event("", "initial-response"), event(EMPTY),
      event('{"Records":[{"Data":"AAE=","SequenceNumber":"2","PartitionKey":"k","ApproximateArrivalTimestamp":1.5}],'
        .. '"ContinuationSequenceNumber":"2","MillisBehindLatest":7,"ChildShards":null}'),
    }))
    assert.is_nil(err)
    assert.equal(2, #got)
    assert.same({}, got[1].Records)
    assert.equal("\0\1", got[2].Records[1].Data)
    assert.equal(7, got[2].MillisBehindLatest)
    assert.is_nil(got[2].ChildShards)
  end)

  it("passes over events, and messages, of a type that it does not know", function()
    local got, err, asked = subscribe(table.concat(framed {
      event('{"Records":"none"}', "FutureEvent"), event(EMPTY), event("no JSON", "AnotherEvent"),
      { { [":message-type"] = "heartbeat" }, "" }, event(EMPTY),
    }))
    assert.is_nil(err)
    assert.equal(2, #got)
    assert.equal(1, asked)
  end)

  it("raises an exception whose type it does not know, and a frame without a type", function()
    for code, frame in pairs {
      FutureException = { { [":message-type"] = "exception", [":exception-type"] = "FutureException" }, "{}" },
      BadAnswer = { { [":event-type"] = "SubscribeToShardEvent" }, EMPTY },
    } do
      local got, err = subscribe(table.concat(framed { event(EMPTY), frame }))
      assert.equal(1, #got)
      assert.equal(code, err.code)
    end
  end)

  it("raises an error that arrives in the middle, and is not retried", function()
    local got, err, asked = subscribe(table.concat(framed { event(EMPTY),
      { { [":message-type"] = "exception", [":exception-type"] = "ResourceInUseException" },
        '{"message":"somebody else has it"}' } }))
    assert.equal(1, #got)
    assert.equal("ResourceInUseException", err.code)
    assert.equal("somebody else has it", err.message)
    assert.equal("SubscribeToShard", err.operation)
    assert.equal(1, asked)
  end)

  it("raises an error when the stream breaks off, or is not an event stream", function()
    local bytes = table.concat(framed { event(EMPTY), event(EMPTY) })
    local got, err, asked = subscribe(bytes:sub(1, -2))
    assert.equal(1, #got)
    assert.equal("BadAnswer", err.code)
    assert.equal(1, asked)
    got, err = subscribe(bytes:sub(1, -6) .. ("?"):rep(5))
    assert.equal(1, #got)
    assert.equal("BadAnswer", err.code)
    assert.is_true(err.retryable)
  end)

  it("raises the service's error, after as many attempts as a call has", function()
    local scope = faults.open { SubscribeToShard = {
      { code = "InternalFailure", status = 500 }, { code = "ResourceInUseException", status = 400 },
    } }
    local client = scope:client()
    local good, err = pcall(client:subscribe_to_shard(ASKED))
    assert.is_false(good)
    assert.equal("ResourceInUseException", err.code)
    assert.equal(2, #scope:seen "SubscribeToShard")
    client:close()
  end)

  it("fails when 16 MiB of events were not read", function()
    local payload = '{"Records":[],"ContinuationSequenceNumber":"' .. ("1"):rep(1024 * 1024) .. '"}'
    local frame = framed({ event(payload) })[1]
    local scope = faults.open { SubscribeToShard = { { base64 = codec.base64_encode(frame), times = 40 } } }
    local client = scope:client()
    local events = client:subscribe_to_shard(ASKED)
    fresh.eventually(function()
      return client:stats().failed == 1
    end)
    local count = 0
    local good, err = pcall(function()
      for _ in events do
        count = count + 1
      end
    end)
    assert.is_false(good)
    assert.equal("Full", err.code)
    assert.equal(15, count)
    client:close()
  end)

  it("goes by HTTP/2 where there is TLS, beside calls that do not", function()
    local client = fresh.client(os.getenv "KINESIS_LOCAL_TLS", { ca_bundle = os.getenv "CERTS" .. "/ca.pem" })
    local stream, summary = fresh.stream(client)
    local consumer = assert(client:register_stream_consumer { StreamARN = summary.StreamARN, ConsumerName = "fan" })
    local arn = consumer.Consumer.ConsumerARN
    assert(client:wait_until("consumer_active", { ConsumerARN = arn }, { interval = 0.05 }))
    assert(client:put(stream, "by TLS", "k"))
    local list, _, _, ticket = client:subscribe_to_shard {
      ConsumerARN = arn, ShardId = "shardId-000000000000", StartingPosition = { Type = "TRIM_HORIZON" },
    }
    local got
    repeat
      got = list().Records[1]
    until got
    assert.equal("by TLS", got.Data)
    ticket:close()
    assert(client:put(stream, "and again", "k"))
    client:close()
  end)

  it("occupies no connection of calls, and may last longer", function()
    local scope = faults.open { SubscribeToShard = { { stall = 10, always = true } } }
    local client = scope:client { max_connections = 1, call_timeout = 2 }
    local list = {}
    for i = 1, 3 do
      list[i] = { client:subscribe_to_shard(ASKED) }
    end
    fresh.eventually(function()
      return client:stats().subscriptions == 3
    end)
    assert(client:call "ListStreams")
    assert.equal(#list, client:stats().subscriptions)
    client:close()
  end)

  it("ends with Closed when the client is closed", function()
    local scope = faults.open { SubscribeToShard = { { stall = 10 } } }
    local client = scope:client()
    local events = client:subscribe_to_shard(ASKED)
    client:close()
    local good, err = pcall(events)
    assert.is_false(good)
    assert.equal("Closed", err.code)
  end)
end)
