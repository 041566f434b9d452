-- The table of leases: what several streams, applications of one name, and hands do to it.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
local shard_lists = require "kinesis.shards"
local sharing = require "support.sharing"

local unpack = table.unpack or unpack

local KINESALITE = fresh.services[2]
local awaits, key_of, run = sharing.awaits, sharing.key_of, sharing.run
local client, store

before_each(function()
  client, store = fresh.client(KINESALITE), memory.new()
end)

after_each(function()
  client:close()
end)

local function open(streams, more, by)
  local options = sharing.options(more)
  options.store = store
  return assert((by or client):worker(streams, "counter", options))
end

local function put(stream, ...)
  for _, data in ipairs { ... } do
    assert(client:put(stream, data, "key"))
  end
end

describe("a table of leases", function()
  it("has two applications of one name and two streams, which leave each other alone", function()
    local a, b = fresh.stream(client, 1, "a"), fresh.stream(client, 2, "b")
    put(a, "a1", "a2")
    put(b, "b1")
    local one, other, stats = open(a), open(b), nil
    local got = run({ one, other }, function(seen)
      awaits(3)(seen)
      fresh.eventually(function()
        stats = one:stats()
        return stats.leases["shardId-000000000000"] and store.get(key_of(b, 1))
      end)
    end)
    table.sort(got)
    assert.same({ "a1", "a2", "b1" }, { unpack(got) })
    assert.same({ key_of(a, 0), key_of(b, 0), key_of(b, 1) }, fresh.sorted_keys(store.list()))
    assert.same({ "shardId-000000000000" }, fresh.sorted_keys(stats.leases), "the other's rows are none of its own")
  end)

  it("goes on when an application reads one stream, later two, and later one again", function()
    local a, b = fresh.stream(client, 1, "a"), fresh.stream(client, 1, "b")
    put(a, "a1")
    assert.same({ "a1" }, { unpack(run(open(a), awaits(1))) })
    put(a, "a2")
    put(b, "b1")
    local got, stats
    local both = open { a, b }
    got = run(both, function(seen)
      awaits(2)(seen)
      stats = both:stats()
    end)
    assert.same({ "a2", "b1" }, { got.a2 and "a2", got.b1 and "b1" })
    assert.is_nil(got.a1)
    assert.equal(b, got.b1.stream)
    local labels = { a .. ":shardId-000000000000", b .. ":shardId-000000000000" }
    table.sort(labels)
    assert.same(labels, fresh.sorted_keys(stats.leases))
    assert.same(labels, fresh.sorted_keys(stats.shards))
    put(a, "a3")
    put(b, "b2")
    assert.same({ "b2" }, { unpack(run(open(b), awaits(1))) })
    assert.same({ "a3" }, { unpack(run(open(a), awaits(1))) })
  end)

  -- kinesalite never answers a question for the iterator of a time that no record is behind
  it("begins a stream that is added later where `from` says then", function()
    client:close()
    client = fresh.client(fresh.services[1])
    local a, b = fresh.stream(client, 1, "a"), fresh.stream(client, 1, "b")
    put(a, "a1")
    put(b, "b1")
    run(open(a), awaits(1))
    kinesis.sleep(2.1) -- the start is a time of whole seconds, less one
    local got = run(open({ a, b }, { from = "latest" }), function(seen)
      fresh.eventually(function()
        return store.get(key_of(b, 0))
      end)
      put(a, "a2")
      put(b, "b2")
      awaits(2)(seen)
    end)
    assert.is_nil(got.b1)
    assert.is_truthy(got.a2 and got.b2)
  end)

  it("keeps two regions apart", function()
    local stream = fresh.stream(client, 1)
    local far = fresh.client(KINESALITE, { region = "eu-west-1" })
    finally(function()
      far:close()
    end)
    put(stream, "1")
    run(open(stream), awaits(1))
    local created = fresh.stream(far, 1, "far")
    assert(far:put(created, "2", "key"))
    run(open(created, nil, far), awaits(1))
    assert.same({ key_of(created, 0, "eu-west-1"), key_of(stream, 0) }, fresh.sorted_keys(store.list()))
  end)

  it("names the stream of an ARN", function()
    local arn = "arn:aws:kinesis:us-west-2:123456789012:stream/clicks"
    local worker = open(arn)
    assert.equal("us-west-2:clicks:", worker.sources[1].prefix)
    local both = { "clicks", "arn:aws:kinesis:us-east-1:123456789012:stream/clicks" }
    assert.equal("worker: the stream 'clicks' is named twice",
      fresh.complaint(function() client:worker(both, "counter") end))
    worker:stop()
  end)

  it("says who has what since when, and what its shard delivers", function()
    local stream = fresh.stream(client, 2)
    for i = 1, 20 do
      assert(client:put(stream, ("x"):rep(1000), "key " .. i))
    end
    local one, other = open(stream, { balance = "throughput" }), open(stream, { balance = "throughput" })
    run({ one, other }, function(got)
      awaits(20)(got)
      local stats = fresh.eventually(function()
        assert(client:put(stream, ("x"):rep(1000), "key " .. #got)) -- an idle shard delivers nothing
        local stats = one:stats()
        local a, b = stats.leases["shardId-000000000000"], stats.leases["shardId-000000000001"]
        return stats.held == 1 and a and b and a.worker ~= b.worker and a.throughput and b.throughput
          and a.since and b.since and stats
      end)
      assert.same({ 2, 0 }, { stats.known, stats.unowned })
      for _, lease in pairs(stats.leases) do
        assert.is_true(lease.worker == one.id or lease.worker == other.id)
        assert.is_true(math.abs(lease.since - os.time()) < 60)
      end
      local row = store.get(key_of(stream, 0))
      assert.is_true(row.throughput > 0)
      assert.is_true(math.abs(row.since - os.time()) < 60)
    end)
    for _, row in pairs(store.list()) do
      assert.is_nil(row.since, "it has no owner")
    end
  end)

  it("lets a lease whose shard is in no list wait, which holds up no other, and looks for that again", function()
    local stream = fresh.stream(client, 2)
    local strange, lists, list_shards = key_of(stream, 9), 0, shard_lists.list
    store.create(strange, { counter = 0, checkpoint = "TRIM_HORIZON" })
    finally(function()
      shard_lists.list = list_shards
    end)
    shard_lists.list = function(...)
      lists = lists + 1
      return list_shards(...)
    end
    local one, other = open(stream), open(stream)
    run({ one, other }, function()
      fresh.eventually(function()
        return one:count() == 1 and other:count() == 1
      end)
      kinesis.sleep(1)
    end)
    assert.equal("TRIM_HORIZON", store.get(strange).checkpoint)
    assert.is_true(lists <= 8, lists .. " lists")
  end)
end)
