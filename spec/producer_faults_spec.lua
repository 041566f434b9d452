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
