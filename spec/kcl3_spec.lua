-- Workers among those of a Kinesis Client Library (KCL) 3, whose leader assigns the leases: the specs are the leader,
-- and change rows (dynalite) as it was recorded to do.
local codec = require("kinesis").codec
local dynamodb = require "support.dynamodb"
local fleet = require "kinesis.worker.fleet"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local tables = require "kinesis.store.dynamodb"

local KINESALITE = fresh.services[2]
local OPTION = { dynamodb = { endpoint = dynamodb.endpoint, kcl3 = true } }

local client, application

before_each(function()
  client, application = fresh.client(KINESALITE), fresh.name "counter"
end)

after_each(function()
  client:close()
end)

-- The rows of two KCL 3.5.1 workers, by key.
local function recorded()
  local file, found = assert(io.open "spec/fixtures/kcl/3-two-workers.json"), {}
  local text = file:read "*a"
  file:close()
  for _, item in ipairs(codec.json_decode(text).tables.app.items) do
    found[item.leaseKey.S] = item
  end
  return found
end

local function put(stream, first, last)
  for i = first, last do
    assert(client:put(stream, tostring(i), "key " .. i))
  end
end

local function items()
  return dynamodb.items(client, application)
end

local function put_item(item)
  assert(dynamodb.call(client, "PutItem", { TableName = application, Item = item }))
end

-- A table of the KCL 3 for a stream, whose leases have this owner, if there is one.
local function make_table(stream, owner)
  local of, rows = recorded(), {}
  for _, shard in ipairs(client:shards(stream)) do
    rows[#rows + 1] = { leaseKey = { S = shard.id }, leaseOwner = owner and { S = owner }, leaseCounter = { N = "3" },
      ownerSwitchesSinceCheckpoint = { N = "0" }, checkpoint = { S = "TRIM_HORIZON" }, entityType = { S = "LEASE" },
      checkpointSubSequenceNumber = { N = "0" }, startingHashKey = { S = shard.starting_hash_key },
      endingHashKey = { S = shard.ending_hash_key }, throughputKBps = { N = "1.5" },
      parentShardId = shard.parent_id and { SS = { shard.parent_id } } }
  end
  rows[#rows + 1] = of["Migration3.0"]
  rows[#rows + 1] = of.Leader
  dynamodb.create(client, application, rows)
end

-- As the leader assigns a lease, whose owner this is, without waiting for that.
local function assign(key, to, owner)
  assert(dynamodb.call(client, "UpdateItem", { TableName = application, Key = { leaseKey = { S = key } },
    AttributeUpdates = { leaseOwner = { Action = "PUT", Value = { S = to } },
      leaseCounter = { Action = "ADD", Value = { N = "1" } }, checkpointOwner = { Action = "DELETE" } },
    Expected = { checkpointOwner = { Exists = false },
      leaseOwner = owner and { Value = { S = owner } } or { Exists = false } } }))
end

-- As the leader moves a lease from a living owner.
local function move(key, from, to)
  assert(dynamodb.call(client, "UpdateItem", { TableName = application, Key = { leaseKey = { S = key } },
    AttributeUpdates = { leaseOwner = { Action = "PUT", Value = { S = to } },
      checkpointOwner = { Action = "PUT", Value = { S = from } } },
    Expected = { leaseOwner = { Value = { S = from } }, checkpointOwner = { Exists = false } } }))
end

-- As the old owner ends that.
local function let_go(key, from, to)
  assert(dynamodb.call(client, "UpdateItem", { TableName = application, Key = { leaseKey = { S = key } },
    AttributeUpdates = { leaseOwner = { Action = "PUT", Value = { S = to } },
      leaseCounter = { Action = "ADD", Value = { N = "1" } }, checkpointOwner = { Action = "DELETE" } },
    Expected = { leaseOwner = { Value = { S = to } }, checkpointOwner = { Value = { S = from } } } }))
end

-- Runs a worker, and a function beside it that is the fleet; then stops it. Returns the numbers of its records, the ids
-- of the shards that it has begun, and what has ended its readings.
local function run(stream, more, beside)
  local got, taken, lost, result = {}, {}, {}, nil
  local options = { store = OPTION, stop_timeout = 5, on_lease_taken = function(shard)
    taken[#taken + 1] = shard.id
  end, on_lease_lost = function(_, reason)
    lost[#lost + 1] = reason
  end }
  for name, value in pairs(more) do
    options[name] = name ~= "handler" and value or nil
  end
  local worker = dynamodb.open_worker(client, stream, application, options)
  kinesis.run(function()
    local good, err = worker:run(function(record)
      got[#got + 1] = tonumber(record.data)
      if more.handler then
        more.handler(record)
      end
    end)
    result = good or err
  end, function()
    local good, err = pcall(beside, worker, got, taken, lost)
    worker:stop()
    fresh.eventually(function()
      return result ~= nil
    end)
    assert(good, err)
  end)
  assert.is_true(result, tostring(result))
  return got, taken, lost
end

local function eventually_item(key, look)
  return fresh.eventually(function()
    local item = items()[key]
    return item and look(item) and item
  end)
end

local SHARDS = { "shardId-000000000000", "shardId-000000000001" }

describe("a table of KCL 3 workers", function()
  it("is used with kcl3", function()
    local of = {}
    for _, item in pairs(recorded()) do
      of[#of + 1] = item
    end
    dynamodb.create(client, application, of)
    local found = assert(tables.open(client, { dynamodb.source "clicks" }, application, OPTION))
    dynamodb.ready(found)
    assert.equal("CLIENT_VERSION_3X", found.version)
    local rows = dynamodb.leases(client, found, "me"):list()
    assert.equal("worker-b", rows[fresh.region .. ":clicks:" .. SHARDS[1]].owner)
  end)

  it("is refused when it is that of KCL 3.4", function()
    local file = assert(io.open "spec/fixtures/kcl/3.4-three-tables.json")
    local of = codec.json_decode(file:read "*a").tables
    file:close()
    dynamodb.create(client, application, of.app34.items)
    dynamodb.create(client, application .. "-CoordinatorState", of["app34-CoordinatorState"].items, "key")
    local err = select(2, assert(tables.open(client, { dynamodb.source "clicks" }, application, OPTION)):prepare())
    assert.equal("LeaseStore", err.code)
    assert.matches("KCL 3 workers before 3.5", err.message, 1, true)
  end)
end)

describe("a worker among KCL 3 workers", function()
  it("reads what the leader assigns, and nothing else; its rows are the KCL's", function()
    local stream = fresh.stream(client, 2)
    make_table(stream)
    put(stream, 1, 20)
    local id
    local got, taken = run(stream, {}, function(worker, read, begun)
      id = worker.id
      local row = fresh.eventually(function()
        return items()[id]
      end)
      local of_kcl = recorded()["worker-a"]
      assert.matches("^%d%d%d%d%d%d%d%d%d%d$", row.lut.N)
      assert.equal(row.lut.N, row.slu.N)
      of_kcl.lut, of_kcl.slu, of_kcl.leaseKey = row.lut, row.slu, row.leaseKey
      assert.same(of_kcl, row)
      kinesis.sleep(1.5) -- two looks
      assert.same({}, begun)
      assign(SHARDS[2], id)
      fresh.eventually(function()
        return #read > 0
      end)
      local item = eventually_item(SHARDS[2], function(item)
        return item.checkpoint.S:find "^%d"
      end)
      local names = {}
      for name in pairs(item) do
        names[name] = true
      end
      for name in pairs(recorded()[SHARDS[2]]) do
        assert.is_true(names[name], name)
        names[name] = nil
      end
      names.heldBy, names.ownedSince, names.kinesisStream = nil, nil, nil -- ours
      assert.same({}, names)
      assert.equal("0", item.ownerSwitchesSinceCheckpoint.N)
      assert.is_nil(items()[SHARDS[1]].leaseOwner)
    end)
    assert.same({ SHARDS[2] }, taken)
    assert.is_true(#got > 0)
    local after = items()
    assert.is_nil(after[id]) -- its row of metrics
    assert.is_nil(after[SHARDS[2]].leaseOwner)
  end)

  it("hands a lease over as the leader says, with its last checkpoint", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 10)
    local busy, finish = false, false
    make_table(stream)
    local _, taken, lost = run(stream, { checkpoint_interval = 60, handler = function(record)
      busy = record.data == "5"
      fresh.eventually(function()
        return not busy or finish
      end)
    end }, function(worker, got, _, ended)
      assign(SHARDS[1], worker.id)
      fresh.eventually(function()
        return busy
      end)
      move(SHARDS[1], worker.id, "kcl")
      local at = tonumber(items()[SHARDS[1]].leaseCounter.N)
      eventually_item(SHARDS[1], function(item) -- it is renewed meanwhile
        return tonumber(item.leaseCounter.N) > at + 1
      end)
      local item = items()[SHARDS[1]]
      assert.same({ "TRIM_HORIZON", "kcl", worker.id },
        { item.checkpoint.S, item.leaseOwner.S, item.checkpointOwner.S })
      finish = true
      item = eventually_item(SHARDS[1], function(found)
        return not found.checkpointOwner
      end)
      assert.equal(5, #got)
      assert.same({ { S = "kcl" }, nil }, { item.leaseOwner, item.heldBy })
      local records = fresh.read(client, stream)
      assert.equal(records[5].sequence_number, item.checkpoint.S)
      fresh.eventually(function()
        return ended[1]
      end)
      local counter = item.leaseCounter.N
      kinesis.sleep(1.5)
      assert.same({ "kcl", counter }, { items()[SHARDS[1]].leaseOwner.S, items()[SHARDS[1]].leaseCounter.N })
    end)
    assert.same({ SHARDS[1] }, taken)
    assert.same({ "handoff" }, lost)
  end)

  it("begins with a lease that is moved to it when the old owner has let go", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 5)
    make_table(stream, "kcl")
    run(stream, {}, function(worker, got, taken)
      fresh.eventually(function()
        return items()[worker.id]
      end)
      move(SHARDS[1], "kcl", worker.id)
      kinesis.sleep(1.8) -- longer than failover: the leader alone decides
      assert.same({}, taken)
      assert.equal("kcl", items()[SHARDS[1]].checkpointOwner.S)
      let_go(SHARDS[1], "kcl", worker.id)
      fresh.eventually(function()
        return #got == 5
      end)
    end)
  end)

  it("loses a lease that the leader takes from it, when it has not handed it over in time", function()
    local stream, stuck = fresh.stream(client, 1), true
    put(stream, 1, 5)
    make_table(stream)
    local _, _, lost = run(stream, { handler = function()
      fresh.eventually(function()
        return not stuck
      end)
    end }, function(worker, got, _, ended)
      assign(SHARDS[1], worker.id)
      fresh.eventually(function()
        return got[1]
      end)
      assign(SHARDS[1], "kcl", worker.id)
      kinesis.sleep(1)
      stuck = false
      fresh.eventually(function()
        return ended[1]
      end)
      assert.equal(1, #got)
      assert.equal("TRIM_HORIZON", items()[SHARDS[1]].checkpoint.S)
    end)
    assert.same({ "lost" }, lost)
  end)

  it("renews an assigned lease whose parent is not finished, and passes it on", function()
    local stream = fresh.stream(client, 1)
    assert(client:split_shard { StreamName = stream, ShardToSplit = SHARDS[1],
      NewStartingHashKey = "170141183460469231731687303715884105728" })
    fresh.active(client, stream)
    make_table(stream, "kcl")
    local _, taken = run(stream, {}, function(worker)
      fresh.eventually(function()
        return items()[worker.id]
      end)
      assign(SHARDS[2], worker.id, "kcl")
      local counter = tonumber(items()[SHARDS[2]].leaseCounter.N)
      eventually_item(SHARDS[2], function(item)
        return tonumber(item.leaseCounter.N) >= counter + 2
      end)
      move(SHARDS[2], worker.id, "kcl")
      local item = eventually_item(SHARDS[2], function(item)
        return not item.checkpointOwner
      end)
      assert.equal("kcl", item.leaseOwner.S)
    end)
    assert.same({}, taken)
  end)

  it("shares the leases by itself, and writes no row that is no lease, until there is a KCL 3", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 3)
    local id
    run(stream, {}, function(worker, got)
      id = worker.id
      fresh.eventually(function()
        return #got == 3
      end)
      local found = items()
      assert.is_nil(found[id])
      assert.equal("LEASE", found[SHARDS[1]].entityType.S)
      put_item(recorded().Leader)
      put_item(recorded()["Migration3.0"])
      worker.fleet_at = 0 -- instead of 15 s
      kinesis.sleep(0.1)
      worker.look_at = 0
      fresh.eventually(function()
        return items()[id] and worker.leases.is_led
      end)
    end)
    assert.is_nil(items()[id])
  end)

  it("takes without a leader what nobody renews, and nothing from a KCL", function()
    local stream = fresh.stream(client, 4)
    make_table(stream, "kcl")
    local told
    local _, taken = run(stream, { on_error = function(err)
      told = tostring(err)
    end }, function(worker)
      fresh.eventually(function()
        return worker.leader_lock and worker.leases.is_led
      end)
      local lock = worker.leader_lock
      lock.since, worker.fleet_at = lock.seen_at - 179.99, 0 -- instead of three minutes
      local deadline = client.core:time() + 4
      while client.core:time() < deadline do
        for key, item in pairs(items()) do
          if item.leaseOwner and item.leaseOwner.S == "kcl" and key ~= SHARDS[1] then
            assert(dynamodb.call(client, "UpdateItem", { TableName = application, Key = { leaseKey = { S = key } },
              AttributeUpdates = { leaseCounter = { Action = "ADD", Value = { N = "1" } } } }))
          end
        end
        kinesis.sleep(0.3)
      end
    end)
    assert.same({ SHARDS[1] }, taken)
    assert.matches("no KCL 3 worker has renewed the lock of the leader", told, 1, true)
  end)

  it("releases at its end what was assigned to it, and not taken", function()
    local stream = fresh.stream(client, 1)
    make_table(stream)
    run(stream, { take_interval = 60, failover = 60 }, function(worker)
      fresh.eventually(function()
        return items()[worker.id] and worker.asks
      end)
      assign(SHARDS[1], worker.id) -- the next look is far
    end)
    local item = items()[SHARDS[1]]
    assert.is_nil(item.leaseOwner)
    assert.equal("5", item.leaseCounter.N)
  end)
end)

describe("who assigns the leases", function()
  -- A worker as far as worker/fleet.lua needs it, whose table answers with these.
  local function stub(version)
    local worker = { id = "me", at = 0, told = {}, failed = {}, metrics = 0, look_at = 100, leases = {} }
    worker.table = { kcl3 = true, version = version, name = "counter", mark = "1" }
    function worker.table.read_version()
      return worker.table.problem
    end
    function worker.table.leader_mark()
      return not worker.table.problem and worker.table.mark or nil, worker.table.problem
    end
    function worker.table.write_metrics()
      worker.metrics = worker.metrics + 1
      return worker.table.problem
    end
    function worker.now()
      return worker.at
    end
    function worker:report(err)
      self.told[#self.told + 1] = tostring(err)
    end
    function worker:fail(err)
      self.failed[#self.failed + 1] = err
    end
    function worker.leases.is_fatal(_, err)
      return not err.retryable
    end
    function worker.step(seconds)
      for _ = 1, seconds, 5 do
        worker.at = worker.at + 5
        if worker.at >= fleet.due_at(worker) then
          fleet.run(worker)
        end
      end
      return fleet.is_led(worker)
    end
    return worker
  end

  it("is the leader, as long as its lock changes", function()
    local worker = stub "CLIENT_VERSION_3X"
    for i = 1, 20 do
      worker.table.mark = tostring(i)
      assert.is_true(worker.step(60))
    end
    assert.same({}, worker.told)
    assert.equal(80, worker.metrics) -- one each 15 s
  end)

  it("is nobody when there is no leader any more, which is reported once", function()
    for _, mark in ipairs { "7", "" } do
      local worker = stub "CLIENT_VERSION_3X_WITH_ROLLBACK"
      worker.table.mark = mark
      worker.step(5)
      worker.table.problem = { retryable = true } -- what cannot be looked at is no sign
      assert.is_true(worker.step(600))
      worker.table.problem, worker.told, worker.table.mark = nil, {}, mark .. "'"
      assert.is_true(worker.step(180)) -- seen after 5 s at most
      assert.same({}, worker.told)
      assert.is_false(worker.step(20))
      assert.equal(1, #worker.told)
      assert.is_true(worker.look_at > 100)
      assert.is_false(worker.step(600))
      assert.equal(1, #worker.told)
      assert.matches("no KCL 3 worker has renewed the lock of the leader in the table counter for 180 s",
        worker.told[1], 1, true)
      worker.table.mark = "8"
      assert.is_true(worker.step(20))
    end
  end)

  it("is nobody in the KCL's 2X modes", function()
    local worker = stub "CLIENT_VERSION_2X"
    assert.is_false(worker.step(300))
    assert.equal(0, worker.metrics)
    worker.table.version = "CLIENT_VERSION_UPGRADE_FROM_2X"
    assert.is_false(worker.step(300))
    assert.equal(20, worker.metrics)
    assert.same({}, worker.told)
  end)

  it("is looked for again soon after a failure, and what is for good ends the worker", function()
    local worker = stub "CLIENT_VERSION_3X"
    worker.table.problem = setmetatable({ retryable = true }, { __tostring = function()
      return "throttled"
    end })
    worker.step(60)
    assert.equal(12, worker.metrics)
    assert.equal("throttled", worker.told[1])
    worker.table.problem = { retryable = false }
    worker.step(5)
    assert.equal(worker.table.problem, worker.failed[1])
  end)
end)
