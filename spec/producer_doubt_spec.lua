-- Aggregates that land in a shard whose id is known, but where their records do not belong: the producer doubts its
-- map, and then itself. A record has at most two copies too many, and readers find each.
-- Flavours: *lua5.4 *luajit
local delivery = require "support.delivery"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local client

setup(function()
  client = fresh.client(fresh.services[1])
end)

teardown(function()
  client:close()
end)

local function put_all(producer, first, last)
  local data = {}
  for number = first, last do
    data[#data + 1] = ("%06d"):format(number)
    assert(producer:put(data[#data], "key" .. number))
  end
  return data
end

local function delete(stream)
  assert(client:call("DeleteStream", { StreamName = stream }))
  fresh.eventually(function()
    local answer, err = client:call("DescribeStreamSummary", { StreamName = stream })
    return not answer and err.code == "ResourceNotFoundException"
  end)
end

local function remake(stream, shards)
  delete(stream)
  assert(client:call("CreateStream", { StreamName = stream, ShardCount = shards }))
  fresh.active(client, stream)
end

describe("a stream that was deleted and made again under its name", function()
  for _, shards in ipairs { { 4, 2 }, { 2, 4 }, { 4, 1 } } do
    it(("with %d shards, then %d: the map is asked again, and each record is stored"):format(
      shards[1], shards[2]), function()
      local stream = fresh.stream(client, shards[1], "remade")
      local scope = faults.open {}
      local of_producer = scope:client()
      local producer = assert(of_producer:producer(stream, { linger = 0.02 }))
      put_all(producer, 1, 100)
      assert(producer:flush(10))
      remake(stream, shards[2])
      local data = put_all(producer, 101, 200)
      assert(producer:flush(10))
      assert.equal(2, #scope:seen "ListShards")
      local later = put_all(producer, 201, 300)
      assert(producer:close(10))
      for _, one in ipairs(later) do
        data[#data + 1] = one
      end
      local most, surplus = delivery.check_copies(data, delivery.user_records(client, stream))
      local stats = producer:stats()
      assert.is_true(most <= 2, most)
      assert.equal(stats.misplaced, surplus)
      assert.same({ 300, 0 }, { stats.stored, stats.open })
      assert.is_nil(stats.aggregation_off)
      assert.is_true(stats.aggregation > 5)
      assert.equal(2, #scope:seen "ListShards")
      of_producer:close()
      delete(stream)
    end)
  end
end)

describe("shards that are split side by side, while parents and children are listed as open", function()
  it("make no copies without end; aggregation goes on when the list is whole", function()
    local stream = fresh.stream(client, 2, "overlap")
    local scope = faults.open { ListShards = { {}, { reopen = true, lasts = 0.5, always = true } } }
    local of_producer = scope:client()
    local producer = assert(of_producer:producer(stream, { linger = 0.02 }))
    local data = put_all(producer, 1, 50)
    assert(producer:flush(10))
    assert(client:update_shard_count { StreamName = stream, TargetShardCount = 4, ScalingType = "UNIFORM_SCALING" })
    local function go_on()
      for _, one in ipairs(put_all(producer, #data + 1, #data + 25)) do
        data[#data + 1] = one
      end
      kinesis.sleep(0.05)
    end
    fresh.eventually(function()
      go_on()
      return producer:stats().map_refreshes > 2
    end)
    local before = producer:stats()
    go_on()
    assert(producer:close(10))
    local stats, list = producer:stats(), delivery.user_records(client, stream)
    local most, surplus = delivery.check_copies(data, list)
    assert.is_true(most <= 2, most)
    assert.equal(stats.misplaced, surplus)
    assert.equal(#data, stats.stored)
    assert.is_nil(stats.aggregation_off)
    assert.is_true(stats.kinesis_records - before.kinesis_records <= 8)
    of_producer:close()
    delete(stream)
  end)
end)

describe("a service that ignores the explicit hash key", function()
  it("ends aggregation: each record is sent once more, alone, and that is told", function()
    local stream = fresh.stream(client, 4, "deaf")
    local scope = faults.open { PutRecords = { { drop = "ExplicitHashKey", always = true } } }
    local of_producer = scope:client()
    local producer = assert(of_producer:producer(stream, { linger = 0.02 }))
    local data = put_all(producer, 1, 200)
    assert(producer:flush(10))
    for _, one in ipairs(put_all(producer, 201, 300)) do
      data[#data + 1] = one
    end
    assert(producer:close(10))
    local stats = delivery.check_sums(producer:stats())
    local most, surplus = delivery.check_copies(data, delivery.user_records(client, stream))
    assert.equal(2, most)
    assert.is_true(surplus > 0 and surplus <= 200, surplus)
    assert.equal(surplus, stats.misplaced)
    assert.equal(300, stats.stored)
    assert.equal(0, stats.open)
    assert.equal("misplaced", stats.aggregation_off)
    assert.same({}, stats.errors)
    assert.equal(2, #scope:seen "ListShards")
    assert.equal(2, #scope:seen "DescribeStreamSummary")
    of_producer:close()
    delete(stream)
  end)
end)
