-- A producer while the service fails: nothing that it took is lost, and what is stored twice is counted.
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local SERVICE = { service = "kinesalite" }

local direct

setup(function()
  direct = fresh.client(os.getenv "KINESALITE")
end)

teardown(function()
  direct:close()
end)

-- The same numbers on every Lua.
local function dice(seed)
  return function(sides)
    seed = (seed * 1103515245 + 12345) % 2147483648
    return math.floor(seed / 65536) % sides + 1
  end
end

-- Of 100 calls 5 are answered 500, 2 are reset after they were stored; the others meet a shard of four that
-- throttles 30 % of its records.
local function rules(count, hot)
  local throw, list = dice(42), {}
  for i = 1, count do
    local roll = throw(100)
    list[i] = hot or roll <= 5 and { code = "InternalFailure", status = 500 } or roll <= 7 and { reset = "after" }
      or { hot = 1, share = 0.3 }
  end
  list[count].always = true
  return list
end

-- Every user record that is in the stream, in its shard's order: lists by shard.
local function read_all(client, stream)
  local shards, count = {}, 0
  for record in client:shards(stream):records { stop_at_tip = true, poll_interval = 0.2 } do
    local list = shards[record.shard_id] or {}
    shards[record.shard_id] = list
    for _, user in ipairs(kinesis.deaggregate(record.data) or { record }) do
      list[#list + 1] = user
      count = count + 1
    end
  end
  return shards, count
end

local function times_seen(shards)
  local times = {}
  for _, list in pairs(shards) do
    for _, record in ipairs(list) do
      times[record.data] = (times[record.data] or 0) + 1
    end
  end
  return times
end

-- Puts `count` records of 50 keys; returns what the stream holds then, and the producer's counts.
local function produce(count, script, given)
  local stream = fresh.stream(direct, 4, "storm")
  local scope = faults.open({ PutRecords = script }, SERVICE)
  local client = scope:client()
  local options = { rate_limit = 100, linger = 0.02, on_failure = function(record, err)
    error(("lost %s: %s"):format(record.data, tostring(err)))
  end }
  for name, value in pairs(given or {}) do
    options[name] = value
  end
  local producer = assert(client:producer(stream, options))
  for i = 1, count do
    assert(producer:put(("%06d"):format(i), "key" .. i % 50))
  end
  assert.is_true(producer:close(60))
  local stats = producer:stats()
  client:close()
  local shards, held = read_all(direct, stream)
  direct:call("DeleteStream", { StreamName = stream })
  return shards, held, stats
end

local function check_all_there(count, shards, held, stats)
  local times = times_seen(shards)
  for i = 1, count do
    assert.is_truthy(times[("%06d"):format(i)], i)
  end
  assert.equal(count, stats.stored)
  assert.is_true(held - count <= stats.possible_duplicates, ("%d surplus, %d known"):format(held - count,
    stats.possible_duplicates))
end

describe("under faults of every kind, a producer", function()
  for _, aggregate in ipairs { false, true } do
    local how = aggregate and "aggregated" or "one by one"

    it("loses none of 20,000 records sent " .. how, function()
      local shards, held, stats = produce(20000, rules(400),
        { aggregate = aggregate, batch_records = aggregate and 20 or 200, aggregate_bytes = 1000 })
      check_all_there(20000, shards, held, stats)
      assert.is_true(stats.throttled > 0)
      assert.is_true(stats.possible_duplicates > 0)
    end)

    it("stores none of them twice that was only throttled, sent " .. how, function()
      local shards, held, stats = produce(2000, rules(1, { hot = 1, share = 0.3 }), { aggregate = aggregate })
      check_all_there(2000, shards, held, stats)
      assert.equal(2000, held)
      assert.equal(0, stats.possible_duplicates)
    end)

    it("keeps the order of each key when told so, sent " .. how, function()
      local count = aggregate and 5000 or 600
      local shards, held, stats = produce(count, rules(800),
        { aggregate = aggregate, order = "shard", aggregate_bytes = 1000 })
      check_all_there(count, shards, held, stats)
      local last, seen = {}, {}
      for _, list in pairs(shards) do
        for _, record in ipairs(list) do
          local number = tonumber(record.data)
          if not seen[number] then
            assert.is_true(number > (last[record.partition_key] or 0), "overtaken: " .. number)
            last[record.partition_key], seen[number] = number, true
          end
        end
      end
    end)
  end
end)

-- ---- a service that hangs ----

describe("while the service hangs, a producer", function()
  it("holds no more than its bound, says Full at once, and delivers all when it is back", function()
    local stream = fresh.stream(direct, 4, "hang")
    local scope = faults.open({ PutRecords = { {}, { stall = 30, lasts = 3, always = true } } }, SERVICE)
    local client = scope:client { request_timeout = 0.5 }
    local producer = assert(client:producer(stream, {
      rate_limit = 100, linger = 0.02, max_bytes = 300000, when_full = "refuse", aggregate_bytes = 2000,
    }))
    local taken, full, most = 0, 0, 0
    while taken < 8000 do
      local done, err = producer:put(("%06d"):format(taken + 1), "key" .. taken % 50)
      if done then
        taken = taken + 1
      else
        assert.equal("Full", err.code)
        full = full + 1
        most = math.max(most, producer:stats().held_bytes)
        kinesis.sleep(0.01)
      end
    end
    assert.is_true(full > 50, full)
    assert.is_true(most <= 300000, most)
    assert.is_true(producer:close(60))
    local stats = producer:stats()
    client:close()
    local shards, held = read_all(direct, stream)
    check_all_there(8000, shards, held, stats)
  end)
end)

-- ---- shards that are split and merged ----

local function less(one, other)
  return #one < #other or #one == #other and one < other
end

-- How many copies of each record there are, and whether one lies where every reader takes it.
local function copies_of(client, stream)
  local ranges, copies, good = {}, {}, {}
  local shards = client:shards(stream)
  for _, shard in ipairs(shards) do
    ranges[shard.id] = shard
  end
  local function belongs(user, range)
    local hash = user.explicit_hash_key or kinesis.hash_key(user.partition_key)
    return not less(hash, range.starting_hash_key) and not less(range.ending_hash_key, hash)
  end
  for record in shards:records { stop_at_tip = true, poll_interval = 0.2 } do
    local users, all = kinesis.deaggregate(record.data) or { record }, true
    for _, user in ipairs(users) do
      copies[user.data] = (copies[user.data] or 0) + 1
      all = all and belongs(user, ranges[record.shard_id])
    end
    for _, user in ipairs(users) do
      good[user.data] = good[user.data] or all
    end
  end
  return copies, good
end

describe("through a reshard, a producer", function()
  it("delivers every record to the shard it belongs to, and knows exactly what is there twice", function()
    local service = fresh.services[1]
    local client = fresh.client(service)
    local stream = fresh.stream(client, 4, "reshard")
    local producer = assert(client:producer(stream, { linger = 0.02, aggregate_bytes = 2000 }))
    local count, put, changes = 5000, 0, 0
    local function reshard(change)
      assert(change)
      fresh.active(client, stream)
      changes = changes + 1
    end
    kinesis.run(function()
      for i = 1, count do
        assert(producer:put(("%06d"):format(i), "key" .. i % 200))
        put = i
        while i % 25 == 0 do
          kinesis.sleep(0.01)
          if changes >= (i >= 4500 and 2 or i >= 2000 and 1 or 0) then -- some are put after each change
            break
          end
        end
      end
    end, function()
      local function after(number)
        while put < number do
          kinesis.sleep(0.005)
        end
      end
      after(1000)
      reshard(client:split_shard { StreamName = stream, ShardToSplit = "shardId-000000000001",
        NewStartingHashKey = "127605887595351923798765477786913079296" })
      after(2500)
      reshard(client:merge_shards { StreamName = stream, ShardToMerge = "shardId-000000000002",
        AdjacentShardToMerge = "shardId-000000000003" })
    end)
    assert.is_true(producer:close(30))
    local stats = producer:stats()
    local copies, good = copies_of(client, stream)
    local surplus = 0
    for i = 1, count do
      local data = ("%06d"):format(i)
      assert.is_true(good[data], data)
      surplus = surplus + copies[data] - 1
    end
    assert.equal(stats.possible_duplicates, surplus)
    assert.is_true(stats.map_refreshes >= 3 and stats.map_refreshes <= 8, stats.map_refreshes)
    assert.equal(count, stats.stored)
    client:call("DeleteStream", { StreamName = stream })
    client:close()
  end)
end)
