-- A success is one value, which may stand in another call: print, assert, prometheus, a table.
local fresh = require "support.fresh"
local kinesis = require "kinesis"

describe("a success", function()
  local client, stream

  setup(function()
    client = fresh.client(fresh.services[1])
    stream = fresh.stream(client, 1, "values")
  end)

  teardown(function()
    client:call("DeleteStream", { StreamName = stream })
    client:close()
  end)

  local function is_one(...)
    assert.is_truthy((...))
    assert.equal(1, select("#", ...))
    return ...
  end

  it("of making a client or a producer is one value", function()
    local given = { region = fresh.region, credentials = fresh.keys, endpoint = fresh.services[1].endpoint }
    is_one(kinesis.client(given)):close()
    assert.matches("kinesis_client_calls_total", kinesis.prometheus(kinesis.client(given)), 1, true)
    assert.matches("kinesis_producer_stored", kinesis.prometheus(client:producer(stream)), 1, true)
    is_one(kinesis.configure(given))
    is_one(kinesis.producer(stream)):close()
    is_one(kinesis.shards(stream))
    is_one(kinesis.put(stream, "x"))
    is_one(kinesis.call "ListStreams")
    is_one(kinesis.list_streams())
    is_one(kinesis.wait_until("stream_exists", { StreamName = stream }))
    is_one(kinesis.pages "ListStreams")
  end)

  it("of a client's and a producer's methods is one value", function()
    is_one(client:put(stream, "x"))
    is_one(client:call("ListStreams", {}))
    is_one(client:describe_stream_summary { StreamName = stream })
    is_one(client:wait_until("stream_exists", { StreamName = stream }))
    is_one(client:wait_until("stream_not_exists", { StreamName = fresh.name "absent" }))
    is_one(client:shards(stream))
    is_one(client:stats())
    is_one(client:configuration())
    local producer = is_one(client:producer(stream))
    is_one(producer:put "x")
    is_one(is_one(producer:send "x"):wait())
    is_one(producer:flush())
    is_one(producer:stats())
    is_one(producer:close())
    is_one(producer:close())
  end)

  it("of the codec's functions is one value, or those that are described", function()
    is_one(kinesis.hash_key "k")
    is_one(kinesis.deaggregate((kinesis.aggregate { { data = "x", partition_key = "k" } })))
    local reader = client:shards(stream):records { limit = 1 }
    is_one(reader:next())
    is_one(reader:position())
  end)

  it("is not what a failure is: nil and the error", function()
    assert.equal(2, select("#", client:put(fresh.name "absent", "x")))
    assert.equal(2, select("#", client:describe_stream { StreamName = fresh.name "absent" }))
    assert.equal(2, select("#", kinesis.deaggregate "x"))
  end)
end)
