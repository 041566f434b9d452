-- The rows that workers write to DynamoDB, at each moment of a lease's life, beside the rows that the Kinesis Client
-- Library (KCL) has written at the same moment (spec/fixtures/kcl): which attributes they have, of which types.
local crowds = require "support.crowd"
local dynamodb = require "support.dynamodb"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local resharding = require "support.resharding"
local sharing = require "support.sharing"

local KINESALITE = fresh.services[2]

-- What only our rows have.
local OURS = {
  kinesisStream = "S", -- always: the KCL's keys of one stream do not tell which
  heldBy = "S", ownedSince = "N", -- while this library owns it
  wantedBy = "S", -- while another worker of this library asks for it
  throughputKBps = "N", -- with a checkpoint; KCL 3 has it, too
}

-- What a KCL of any version needs in every row, at every moment, or it ends, or never begins the shard; and the hash
-- keys, by which it looks for holes.
local NEEDED = { leaseCounter = "N", ownerSwitchesSinceCheckpoint = "N", checkpoint = "S",
  checkpointSubSequenceNumber = "N", startingHashKey = "S", endingHashKey = "S" }

-- Moment -> recorded table and the number of its shard; what only ours has then, and what only the recorded one has.
local MOMENTS = {
  ["just created"] = { "2-created", 0, "kinesisStream" },
  ["taken, before any record"] = { "2-checkpoint-in-aggregate", 1, "kinesisStream heldBy ownedSince" },
  ["a checkpoint inside an aggregate"] = { "2-checkpoint-in-aggregate", 0,
    "kinesisStream heldBy ownedSince throughputKBps" },
  ["a checkpoint inside an aggregate, of KCL 1"] = { "1-checkpoint-in-aggregate", 0,
    "kinesisStream heldBy ownedSince throughputKBps" },
  ["a checkpoint inside an aggregate, of KCL 3"] = { "3-hand-off", 1, "kinesisStream heldBy ownedSince",
    "entityType" }, -- without it, it is a lease
  ["released by a worker that has stopped"] = { "2-checkpoint-in-aggregate", 0, "kinesisStream throughputKBps",
    "leaseOwner" }, -- a KCL that stops leaves its name
  ["split: the parent at its end"] = { "2-split", 0, "kinesisStream throughputKBps", "leaseOwner" },
  ["split: a child just created"] = { "2-split", 2, "kinesisStream" },
  ["split: the child at its end"] = { "2-merge", 3, "kinesisStream throughputKBps", "leaseOwner" },
  ["merge: the child just created"] = { "2-merge", 4, "kinesisStream" },
  ["asked for by another worker"] = { "2-checkpoint-in-aggregate", 0,
    "kinesisStream heldBy ownedSince throughputKBps wantedBy" },
  ["handed over by a worker of KCL 3"] = { "3-hand-off", 0, "kinesisStream heldBy ownedSince",
    "entityType checkpointOwner" }, -- which names the worker that still has it
  ["taken with a prepared checkpoint"] = { "2-prepared-checkpoint", 1, "heldBy ownedSince" },
  ["with a checkpoint behind a prepared one"] = { "2-prepared-checkpoint", 0, "heldBy ownedSince throughputKBps" },
}

local client, application, seen, watching

before_each(function()
  client, application, seen, watching = fresh.client(KINESALITE), fresh.name "moments", 0, true
end)

after_each(function()
  client:close()
end)

local function items()
  return dynamodb.items(client, application)
end

local function shard_of(number)
  return ("shardId-%012d"):format(number)
end

local function words(text)
  local set = {}
  for word in (text or ""):gmatch "%S+" do
    set[word] = true
  end
  return set
end

local function kind_of(item)
  return item.checkpoint.S:find "^%d" and "a sequence number" or item.checkpoint.S
end

-- Compares a row of ours with the recorded one of this moment, attribute by attribute.
local function expect(moment, item)
  local case = assert(MOMENTS[moment], moment)
  local name, number, ours, theirs = case[1], case[2], words(case[3]), words(case[4])
  local recorded
  for _, tab in pairs(dynamodb.recorded(name)) do
    for _, each in ipairs(tab.items) do
      recorded = each.leaseKey.S == shard_of(number) and each or recorded
    end
  end
  for attribute, value in pairs(item) do
    local of = recorded[attribute] or ours[attribute] and { [OURS[attribute]] = true }
    assert.is_truthy(of, ("%s: only ours has %s"):format(moment, attribute))
    assert.equal(next(of), (next(value)), moment .. ": " .. attribute)
    assert.is_false(ours[attribute] and recorded[attribute] ~= nil or false, attribute)
    ours[attribute] = nil
  end
  for attribute in pairs(recorded) do
    assert.is_truthy(item[attribute] or theirs[attribute], ("%s: ours lacks %s"):format(moment, attribute))
    assert.is_falsy(item[attribute] and theirs[attribute], ("%s: ours has %s, too"):format(moment, attribute))
  end
  assert.is_nil(next(ours), ("%s: it lacks %s"):format(moment, tostring(next(ours))))
  assert.equal(kind_of(recorded), kind_of(item), moment)
  for _, attribute in ipairs { "parentShardId", "childShardIds" } do
    assert.equal(#(recorded[attribute] or { SS = {} }).SS, #(item[attribute] or { SS = {} }).SS, attribute)
  end
  MOMENTS[moment].seen = true
end

-- Every row that is seen meanwhile is complete, and is a lease.
local function watch()
  while watching do
    for key, item in pairs(items()) do
      assert.matches("^shardId%-%d+$", key)
      for attribute, kind in pairs(NEEDED) do
        assert.equal(kind, item[attribute] and (next(item[attribute])), key .. ": " .. attribute)
      end
      seen = seen + 1
    end
    kinesis.sleep(0.005)
  end
end

local function open(stream, max_leases)
  return assert(client:worker(stream, application, sharing.options { failover = 3, checkpoint_interval = 0,
    max_leases = max_leases or 1, store = { dynamodb = { endpoint = dynamodb.endpoint } } }))
end

local function put(stream, first, last)
  crowds.put(client, stream, first, last, true)
end

-- Runs a worker until it stops itself, and watches the table meanwhile.
local function run(worker, handler)
  kinesis.run(function()
    local good, err = worker:run(handler)
    watching = false
    assert.is_true(good, tostring(err))
  end, watch)
  assert.is_true(seen > 0)
end

-- The rows of this library's workers, and those that nobody has, by what they are: {held=, free=}.
local function rows_of()
  local rows = {}
  for _, item in pairs(items()) do
    rows[item.leaseOwner and "held" or "free"] = item
  end
  return rows
end

describe("a row of ours, beside the KCL's,", function()
  it("is the same but for what is listed: from its creation to its release", function()
    local stream, count = fresh.stream(client, 2), 0
    put(stream, 1, 40)
    local worker = open(stream)
    run(worker, function()
      count = count + 1
      local rows = rows_of()
      if count == 1 then
        expect("just created", rows.free)
        expect("taken, before any record", rows.held)
        assert.equal("0", rows.free.leaseCounter.N)
      elseif count == 3 then
        expect("a checkpoint inside an aggregate", rows.held)
        expect("a checkpoint inside an aggregate, of KCL 1", rows.held)
        expect("a checkpoint inside an aggregate, of KCL 3", rows.held)
        assert.equal("1", rows.held.checkpointSubSequenceNumber.N)
        worker:stop()
      end
    end)
    for _, item in pairs(items()) do
      if item.checkpoint.S:find "^%d" then
        expect("released by a worker that has stopped", item)
        assert.equal("2", item.checkpointSubSequenceNumber.N)
      end
    end
  end)

  it("is the same but for what is listed: through a split and a merge", function()
    local stream, shown = fresh.stream(client, 1), {}
    put(stream, 1, 10)
    resharding.split(client, stream, client:shards(stream)[1])
    put(stream, 11, 30)
    resharding.merge(client, stream, shard_of(1), shard_of(2))
    put(stream, 31, 40)
    local worker = open(stream)
    run(worker, function(_, shard)
      local rows, generation = items(), shard.id == shard_of(3) and "merge" or shard.id ~= shard_of(0) and "split"
      if generation == "split" and not shown.split then
        expect("split: the parent at its end", rows[shard_of(0)])
        expect("split: a child just created", rows[shard.id == shard_of(1) and shard_of(2) or shard_of(1)])
      elseif generation == "split" and rows[shard_of(3)] then
        expect("merge: the child just created", rows[shard_of(3)])
      elseif generation == "merge" then
        expect("split: the child at its end", rows[shard_of(1)])
        expect("split: the child at its end", rows[shard_of(2)])
        worker:stop()
      end
      shown[generation or "first"] = true
    end)
    assert.is_true(shown.merge)
  end)

  it("is the same but for what is listed: from one worker to another", function()
    local stream = fresh.stream(client, 2)
    put(stream, 1, 40)
    local first, second = open(stream, 2), open(stream)
    local function find(is_it)
      return fresh.eventually(function()
        for _, item in pairs(items()) do
          if is_it(item) then
            return item
          end
        end
      end)
    end
    local function is_behind(item)
      return item.checkpoint.S:find "^%d"
    end
    local function are_all_behind()
      local count = 0
      for _, item in pairs(items()) do
        count = count + (is_behind(item) and 1 or 0)
      end
      return count == 2
    end
    local holds, asked, moved = false, nil, nil
    kinesis.run(function()
      assert(first:run(function()
        while holds and not asked do -- a lease is handed over behind the record in hand
          kinesis.sleep(0.01)
        end
      end))
      watching = false
    end, function()
      fresh.eventually(are_all_behind)
      holds = true
      put(stream, 41, 80)
      assert(second:run(function()
        while not moved do -- a checkpoint is written behind it
          kinesis.sleep(0.01)
        end
      end))
    end, watch, function()
      asked = find(function(item)
        return item.wantedBy
      end)
      expect("asked for by another worker", asked)
      moved = find(function(item)
        return item.ownerSwitchesSinceCheckpoint.N == "1"
      end)
      expect("handed over by a worker of KCL 3", moved)
      assert.same({ asked.leaseKey.S, asked.wantedBy.S, asked.wantedBy.S },
        { moved.leaseKey.S, moved.leaseOwner.S, moved.heldBy.S })
      second:stop()
      first:stop()
    end)
  end)

  it("is the same but for what is listed: with the pending attributes of a KCL", function()
    local stream, count = fresh.stream(client, 1), 0
    put(stream, 1, 10)
    local prepared
    for _, item in ipairs(dynamodb.recorded("2-prepared-checkpoint").app.items) do
      prepared = item.pendingCheckpoint and item or prepared
    end
    prepared.leaseKey.S, prepared.leaseOwner = shard_of(0), nil
    dynamodb.create(client, application, { prepared })
    local worker = open(stream)
    run(worker, function(record)
      count = count + 1
      local item = items()[shard_of(0)]
      if count == 1 then
        assert.equal("1", record.data) -- a prepared checkpoint is none yet
        expect("taken with a prepared checkpoint", item)
      else
        expect("with a checkpoint behind a prepared one", item)
        worker:stop()
      end
    end)
  end)

  it("was compared at each moment", function()
    for moment, case in pairs(MOMENTS) do
      assert.is_true(case.seen, moment)
    end
  end)
end)
