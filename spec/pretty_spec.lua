-- What the library's tables look like when they are printed, and that they stay plain tables otherwise.
local cjson = require "cjson"
local core = require "kinesis.core"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local pretty = require "kinesis.observe.pretty"

describe("a value as text", function()
  it("has every byte of every string escaped, as a value, in a list, and as a key", function()
    assert.equal([["a\x00\x1b[2J\n\"\\\xff"]], pretty.text "a\0\27[2J\n\"\\\255")
    assert.equal([[{ { "\x00" }, a = { ["\x1b"] = "\xff" }, ["b\x00"] = 1 }]],
      pretty.text { { "\0" }, a = { ["\27"] = "\255" }, ["b\0"] = 1 })
    for i = 0, 255 do
      local text = pretty.text { [string.char(i):rep(2)] = string.char(i) }
      assert.is_nil(text:find "[%z\1-\31\127-\255]", i)
    end
  end)

  it("has its members in one order", function()
    local value = { 1, 2, [10] = 3, [2.5] = 4, [true] = 5, b = 6, a = 7, ["a b"] = 8 }
    assert.equal("{ 1, 2, [true] = 5, [2.5] = 4, [10] = 3, a = 7, [\"a b\"] = 8, b = 6 }", pretty.text(value))
    assert.equal("{}", pretty.text {})
  end)

  it("takes several lines when tables in it do not fit one", function()
    local shards = {}
    for i = 1, 2 do
      shards["shard-" .. i] = { stored = i, data = ("x"):rep(60) }
    end
    local expected = ([[{
  count = 2, list = { { 1 }, { 2 } },
  shards = {
    ["shard-1"] = { data = "X", stored = 1 },
    ["shard-2"] = { data = "X", stored = 2 }
  },
  stored = 3
}]]):gsub("X", ("x"):rep(60))
    assert.equal(expected, pretty.text { shards = shards, count = 2, list = { { 1 }, { 2 } }, stored = 3 })
  end)

  it("ends in a circle", function()
    local circle = {}
    circle.circle = circle
    assert.matches("{…}", pretty.text(circle), 1, true)
  end)
end)

describe("at a prompt", function()
  local client, stream

  setup(function()
    client = fresh.client(fresh.services[1])
    stream = fresh.stream(client, 2, "pretty")
    assert(client:put(stream, "a\0b", "key"))
  end)

  teardown(function()
    client:call("DeleteStream", { StreamName = stream })
    client:close()
  end)

  -- The value, printed: no table in it, at whatever depth, is shown as an address.
  local function shown(value)
    local text = tostring(value)
    assert.is_nil(text:find("table: 0x", 1, true), text)
    assert.is_nil(text:find("userdata: 0x", 1, true), text)
    for _, member in pairs(value) do
      if type(member) == "table" then
        shown(member)
      end
    end
    return text
  end

  it("a position prints itself, goes through JSON, and is a place to begin at", function()
    local reader = client:shards(stream):records { limit = 1 }
    assert(reader())
    local position = reader:position()
    assert.matches('["shardId-000000000000"] = ', tostring(position), 1, true)
    assert.matches('["shardId-000000000000"] = ', tostring(position.shards), 1, true)
    assert.matches('default = "trim_horizon"', tostring(position), 1, true)
    reader:close()
    local again = cjson.decode(cjson.encode(position))
    assert.same(position, again)
    for _, from in ipairs { position, again } do
      assert.same({}, fresh.read(client, stream, { from = from }))
    end
    local fields = {}
    for name in pairs(position) do
      fields[name] = true
    end
    assert.same({ stream = true, shards = true, default = true }, fields)
  end)

  it("answers, what is in them, and counters print themselves", function()
    local producer = assert(client:producer(stream))
    local receipt = assert(producer:send("x", "key"))
    local stored = assert(receipt:wait())
    assert.matches("sequence_number = \"", shown(stored), 1, true)
    local stats = producer:stats()
    assert.matches("shards = {", shown(stats), 1, true)
    assert.matches("open = 0", shown(stats), 1, true)
    assert.matches("latency = {", shown(stats), 1, true)
    assert.equal(stats.stored, cjson.decode(cjson.encode(stats)).stored)
    producer:close()
    assert.matches("attempts = ", shown(client:stats()), 1, true)
    local params = { StreamName = stream }
    assert.matches("StartingHashKey = ", shown(assert(client:describe_stream(params))), 1, true)
    assert.matches("StreamStatus = ", shown(assert(client:wait_until("stream_exists", params))), 1, true)
    assert.equal("{}", shown(assert(client:wait_until("stream_not_exists", { StreamName = fresh.name "absent" }))))
    for page in client:pages("ListShards", params) do
      assert.matches("ShardId = ", shown(page), 1, true)
    end
    local iterator = assert(client:get_shard_iterator {
      StreamName = stream, ShardId = "shardId-000000000000", ShardIteratorType = "TRIM_HORIZON",
    }).ShardIterator
    assert.matches("Records = {", shown(assert(client:get_records { ShardIterator = iterator })), 1, true)
    assert.matches("region = { origin = ", shown(client:configuration()), 1, true)
  end)

  it("lists of records say how many they are", function()
    local reader = client:shards(stream):records { batch = true, stop_at_tip = true }
    local batch = reader()
    assert.matches("^%d+ records?, the first: { arrival_timestamp = ", shown(batch))
    reader:close()
    local data = kinesis.aggregate { { data = "a", partition_key = "k" }, { data = "b", partition_key = "k" } }
    assert.equal('2 records, the first: { data = "a", partition_key = "k", sub_sequence_number = 0 }',
      shown(assert(kinesis.deaggregate(data))))
    local nowhere = fresh.client("http://127.0.0.1:9")
    local producer = assert(nowhere:producer "s")
    assert(producer:put("x", "key"))
    local _, _, lost = producer:close(0)
    assert.matches("^1 record, the first: { data = \"x\", error = PutRecords: Closed: ", shown(lost))
    assert.matches("{ data = \"x\"", tostring(lost[1]), 1, true)
    nowhere:close()
  end)

  it("events of hooks and lost records print themselves", function()
    local events, records = {}, {}
    local traced = fresh.client("http://127.0.0.1:9", { max_attempts = 1, on_response = function(event)
      events[#events + 1] = event
    end })
    assert.is_nil(traced:put("s", "x"))
    fresh.eventually(function()
      return events[1]
    end)
    assert.matches("error = PutRecord: Connection: ", shown(events[1]), 1, true)
    local producer = assert(traced:producer("s", { on_failure = function(record)
      records[#records + 1] = record
    end }))
    assert(producer:put("a\0b", "key"))
    producer:close(0)
    assert.matches([[data = "a\x00b"]], shown(records[1]), 1, true)
    traced:close()
  end)

  it("what prints itself is an operand of ..", function()
    local _, err = client:put(fresh.name "absent", "x")
    assert.equal("failed: " .. tostring(err), "failed: " .. err)
    assert.equal(tostring(err) .. "!", err .. "!")
    assert.equal(tostring(err) .. tostring(err), err .. err)
    assert.equal("1" .. tostring(err), 1 .. err)
    assert.is_false((pcall(function() return err .. nil end)))
    for _, value in ipairs {
      client, client:shards(stream), client:shards(stream)[1], client:stats(), assert(client:put(stream, "x")),
      setmetatable({}, core.record_meta),
    } do
      assert.equal("got " .. tostring(value), "got " .. value)
    end
  end)
end)
