-- Workers: processes that share a stream's shards.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
local working = require "support.working"

local numbers, sorted, unpack = working.numbers, working.sorted, table.unpack or unpack

local client, folder
local KINESALITE = fresh.services[2]

local SOURCE = [[
  local kinesis = require "kinesis"
  local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1" })
  local worker = assert(client:worker(arg[2], "counter",
    { path = arg[3], checkpoint_interval = 0.2, poll_interval = 0.2 }))
  io.stdout:setvbuf "line"
  assert(worker:run(function(record) print(record.data) end))
]]

before_each(function()
  client, folder = fresh.client(KINESALITE), fresh.folder { ["worker.lua"] = SOURCE }
end)

after_each(function()
  client:close()
end)

-- A worker of this process, in a run of its own.
local function open(stream, more)
  local options = { path = folder, failover = 1, take_interval = 1, checkpoint_interval = 0.2, poll_interval = 0.2 }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  return assert(client:worker(stream, "counter", options))
end

local function put(stream, first, last)
  working.spread(client, stream, first, last)
end

local function process(stream, count, more)
  return working.process_numbers(open(stream, more), count)
end

describe("a worker", function()
  it("processes all shards, and goes on where the one before it stopped", function()
    local stream = fresh.stream(client, 4)
    put(stream, 1, 100)
    local before = process(stream, 60)
    assert.equal(60, #before)
    local after = process(stream, 40)
    for _, each in ipairs(after) do
      before[#before + 1] = each
    end
    assert.same(numbers(1, 100), sorted(before))
  end)

  it("reads the children of a shard after it", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 10)
    local shard = client:shards(stream)[1]
    assert(client:split_shard { StreamName = stream, ShardToSplit = shard.id,
      NewStartingHashKey = "170141183460469231731687303715884105728" })
    fresh.active(client, stream)
    put(stream, 11, 30)
    local got, ended = {}, {}
    local worker
    worker = open(stream, { on_shard_end = function(each)
      ended[#ended + 1] = each.id
    end })
    assert(worker:run(function(record)
      got[#got + 1] = tonumber(record.data)
      if #got == 30 then
        worker:stop()
      end
    end))
    assert.same({ shard.id }, ended)
    assert.same(numbers(1, 30), sorted(got))
    assert.same(numbers(1, 10), { unpack(got, 1, 10) })
  end)

  it("reads the child of a merge after both parents, also when the lease of one of them was not made yet", function()
    local stream = fresh.stream(client, 2)
    local lower, upper = client:shards(stream)[1], client:shards(stream)[2]
    local store = memory.new()
    local function put_into(data, hash_key)
      assert(client:put(stream, data, "key", { explicit_hash_key = hash_key }))
    end
    local got, held = {}, true
    local worker = open(stream, { store = store })
    kinesis.run(function()
      assert(worker:run(function(record)
        while record.data == "lower" and held do
          kinesis.sleep(0.01)
        end
        got[#got + 1] = record.data
      end))
    end, function()
      put_into("lower", "0")
      fresh.eventually(function()
        return worker:count() == 2
      end)
      -- the shards of the split are known after the lower shard was read, which takes until `held` is false
      assert(client:split_shard { StreamName = stream, ShardToSplit = lower.id, NewStartingHashKey = "1000" })
      fresh.active(client, stream)
      local half = client:shards(stream)[4]
      put_into("half", "1000")
      assert(client:merge_shards { StreamName = stream, ShardToMerge = half.id, AdjacentShardToMerge = upper.id })
      fresh.active(client, stream)
      put_into("merged", "340282366920938463463374607431768211455")
      fresh.eventually(function() -- the upper shard is finished
        return worker:count() == 1
      end)
      local key = ("us-east-1:%s:%s"):format(stream, half.id)
      assert.equal("TRIM_HORIZON", store.get(key).checkpoint)
      held = false
      fresh.eventually(function()
        return #got == 3
      end)
      worker:stop()
    end)
    assert.same({ "lower", "half", "merged" }, got)
  end)

  it("shares shards with another in the same run, and hands them over", function()
    local stream = fresh.stream(client, 4)
    put(stream, 1, 40)
    local owned, got, workers = { {}, {} }, {}, {}
    local function run(i)
      workers[i] = open(stream, {
        on_lease_taken = function(shard)
          owned[i][shard.id] = true
        end,
        on_lease_lost = function(shard)
          owned[i][shard.id] = nil
        end,
      })
      assert(workers[i]:run(function(record)
        got[#got + 1] = tonumber(record.data)
      end))
    end
    local function count(i)
      local sum = 0
      for _ in pairs(owned[i]) do
        sum = sum + 1
      end
      return sum
    end
    kinesis.run(function()
      run(1)
    end, function()
      fresh.eventually(function()
        return count(1) == 4 and #got == 40
      end)
      kinesis.run(function() end)
      run(2)
    end, function()
      fresh.eventually(function()
        return count(1) == 2 and count(2) == 2
      end)
      workers[1]:stop()
      fresh.eventually(function()
        return count(2) == 4
      end)
      put(stream, 41, 60)
      fresh.eventually(function()
        return #got == 60
      end)
      workers[2]:stop()
    end)
    assert.same(numbers(1, 60), sorted(got))
  end)

  it("ends with the handler's error and its traceback, behind the record before", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 5)
    local got = {}
    local good, err = open(stream):run(function(record)
      if record.data == "3" then
        error "no disk"
      end
      got[#got + 1] = record.data
    end)
    assert.is_nil(good)
    assert.matches("no disk\nstack traceback", err)
    assert.same({ "1", "2" }, got)
    assert.same({ 3, 4, 5 }, process(stream, 3))
  end)

  it("retries or skips what its handler cannot process", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 4)
    local attempts, got = {}, {}
    local worker
    worker = open(stream, { on_record_error = function(record, err, attempt)
      attempts[#attempts + 1] = { record.data, attempt }
      assert.matches("no", tostring(err))
      return attempt < 3 and "retry" or "skip"
    end })
    assert(worker:run(function(record)
      if record.data == "2" then
        error "no"
      end
      got[#got + 1] = record.data
      if #got == 3 then
        worker:stop()
      end
    end))
    assert.same({ "1", "3", "4" }, got)
    assert.same({ { "2", 1 }, { "2", 2 }, { "2", 3 } }, attempts)
  end)

  it("puts what it skips into another stream, before its checkpoint moves", function()
    local stream, dead = fresh.stream(client, 1), fresh.stream(client, 1)
    put(stream, 1, 3)
    local worker
    worker = open(stream, { on_record_error = "skip", dead_letter = dead })
    assert(worker:run(function(record)
      if record.data == "3" then
        worker:stop()
      else
        error "no"
      end
    end))
    local letters = {}
    for record in client:shards(dead):records { stop_at_tip = true } do
      letters[#letters + 1] = record.data .. " " .. record.partition_key
    end
    assert.same({ "1 key 1", "2 key 2" }, letters)
  end)

  it("has its checkpoint behind the last record before which all are acknowledged", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 10)
    local held = {}
    local worker
    worker = open(stream, { ack = true, max_in_flight = 6, stop_timeout = 0.3 })
    local good, err = worker:run(function(record)
      held[#held + 1] = record
      if #held == 6 then
        assert.is_true(worker:ack(held[3]))
        assert.is_true(worker:ack(held[1]))
        assert.is_true(worker:ack(held[2]))
        assert.is_true(worker:ack(held[5]))
      elseif #held == 9 then
        worker:stop()
      end
    end)
    assert.is_nil(good)
    assert.equal("Timeout", err.code)
    assert.equal(9, #held) -- six are in flight at most: three of nine were behind the checkpoint
    assert.same(numbers(4, 10), process(stream, 7))
  end)

  it("writes checkpoints by hand", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 6)
    local worker
    worker = open(stream, { checkpoint = "manual" })
    assert(worker:run(function(record)
      if record.data == "4" then
        assert.is_true(worker:checkpoint(record))
      elseif record.data == "6" then
        worker:stop()
      end
    end))
    assert.same({ 5, 6 }, process(stream, 2))
    assert.error_matches(function()
      worker:checkpoint {}
    end, "checkpoint: takes a record, or a list, that this worker has handed out")
  end)

  for _, batch in ipairs { true, "columns" } do
    it("hands over lists: " .. tostring(batch), function()
      local stream = fresh.stream(client, 1)
      put(stream, 1, 20)
      local got = {}
      local worker
      worker = open(stream, { batch = batch })
      assert(worker:run(function(records)
        for i = 1, records.n or #records do
          got[#got + 1] = tonumber(records.data and records.data[i] or records[i].data)
        end
        if #got == 20 then
          worker:stop()
        end
      end))
      assert.same(numbers(1, 20), got)
      put(stream, 21, 22)
      assert.same({ 21, 22 }, process(stream, 2))
    end)
  end

  it("is one loop over all shards", function()
    local stream = fresh.stream(client, 4)
    put(stream, 1, 40)
    local got = {}
    local worker = open(stream)
    for record, shard in worker:records() do
      assert.equal(stream, shard.stream)
      got[#got + 1] = tonumber(record.data)
      if #got == 40 then
        worker:stop()
      end
    end
    assert.same(numbers(1, 40), sorted(got))
  end)

  it("does not process the record that leaves the loop", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 5)
    local iterate, _, _, closing = open(stream):records()
    for i = 1, 3 do
      assert.equal(tostring(i), iterate().data)
    end
    getmetatable(closing).__close()
    assert.same({ 3, 4, 5 }, process(stream, 3))
  end)

  it("is one loop in a run, too", function()
    local stream = fresh.stream(client, 2)
    put(stream, 1, 10)
    local worker, got = open(stream), {}
    kinesis.run(function()
      for record in worker:records() do
        got[#got + 1] = tonumber(record.data)
        if #got == 10 then
          worker:stop()
        end
      end
    end)
    assert.same(numbers(1, 10), sorted(got))
  end)

  it("reads several streams", function()
    local streams = { fresh.stream(client, 2), (fresh.stream(client, 1)) }
    put(streams[1], 1, 10)
    put(streams[2], 11, 20)
    local got = {}
    local worker
    worker = open(streams)
    assert(worker:run(function(record, shard)
      local number = tonumber(record.data)
      assert.equal(streams[number > 10 and 2 or 1], shard.stream)
      got[#got + 1] = number
      if #got == 20 then
        worker:stop()
      end
    end))
    assert.same(numbers(1, 20), sorted(got))
    put(streams[2], 21, 22)
    assert.same({ 21, 22 }, process(streams, 2))
  end)

  it("says what it does", function()
    local stream = fresh.stream(client, 2)
    put(stream, 1, 20)
    local worker = open(stream)
    local count, stats = 0, nil
    kinesis.run(function()
      assert(worker:run(function()
        count = count + 1
      end))
    end, function()
      fresh.eventually(function()
        stats = worker:stats()
        return stats.records == 20
      end)
      worker:stop()
    end)
    assert.same({ { stream }, "counter", worker.id }, { stats.streams, stats.application, stats.worker })
    local shards = 0
    for id, shard in pairs(stats.shards) do
      shards = shards + 1
      assert.equal("reading", shard.state)
      assert.equal(worker.id, stats.leases[id].worker)
    end
    assert.equal(2, shards)
  end)

  it("goes on from its last checkpoint when its lease was deleted by hand", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 3)
    local got, taken = {}, 0
    local worker
    worker = open(stream, { on_lease_taken = function()
      taken = taken + 1
    end })
    kinesis.run(function()
      assert(worker:run(function(record)
        got[#got + 1] = tonumber(record.data)
      end))
    end, function()
      fresh.eventually(function()
        return #got == 3
      end)
      local key = ("us-east-1:%s:%s"):format(stream, client:shards(stream)[1].id)
      assert(worker.leases:delete(key, worker.leases:get(key)))
      fresh.eventually(function()
        return taken == 2
      end)
      put(stream, 4, 6)
      fresh.eventually(function()
        return #got >= 6
      end)
      worker:stop()
    end)
    assert.same(numbers(1, 6), got)
  end)

  it("begins a new application at the latest records, whatever happens before its first checkpoint", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 3)
    kinesis.sleep(2.1) -- the start is a time of whole seconds, less one
    local worker = open(stream, { from = "latest" })
    kinesis.run(function()
      worker:run(function() end)
    end, function()
      fresh.eventually(function()
        return worker:count() == 1
      end)
      worker:stop()
    end)
    put(stream, 4, 6)
    assert.same({ 4, 5, 6 }, process(stream, 3, { from = "latest" }))
  end)
end)

it("a worker says what is wrong with its arguments", function()
  for message, arguments in pairs {
    ["the list of streams is empty"] = { {}, "a" },
    ["the stream 's' is named twice"] = { { "s", "s" }, "a" },
    ["stream must be a string"] = { nil, "a" },
    ["application must be a name"] = { "s", "a/b" },
    ["'.' and '-', the first one no '.', got ''"] = { "s", "" },
    ["'.' and '-', the first one no '.', got '.a'"] = { "s", ".a" },
    ["'.' and '-', the first one no '.', got nil"] = { "s" },
    ["bad option 'store' of worker: must have the function `list`"] = { "s", "a", { store = {} } },
    ["bad option 'from' of worker: must be \"trim_horizon\""] = { "s", "a", { from = { at = "1" } } },
    ["bad option 'from' of worker: is the unknown 'earliest' (did you mean 'trim_horizon'?); known forms: "
      .. "\"trim_horizon\", \"latest\", a time, {timestamp=time}; known"] = { "s", "a", { from = "earliest" } },
    ["unknown option 'limit' of worker; a worker reads until it is stopped"] = { "s", "a", { limit = 5 } },
    ["unknown option 'on_shard_start' of worker; did you mean 'on_lease_taken'?"] = { "s", "a",
      { on_shard_start = 5 } },
    ["unknown option 'failoverTimeMillis' of worker; did you mean 'failover'?"] = { "s", "a",
      { failoverTimeMillis = 5 } },
    ["unknown option 'form' of worker; did you mean 'from'?"] = { "s", "a", { form = "latest" } },
    ["bad option 'dead_letter' of worker"] = { "s", "a", { dead_letter = "a b" } },
  } do
    local complaint = fresh.complaint(function() client:worker(unpack(arguments, 1, 3)) end)
    assert.is_truthy(complaint:find(message, 1, true), complaint)
  end
end)

describe("a worker that is killed", function()
  -- A worker in a process of its own, which prints what it processes.
  local function spawn(stream)
    local endpoint = type(KINESALITE) == "table" and KINESALITE.endpoint or KINESALITE
    local command = ("sh -c 'echo $$; exec \"$0\" \"$@\"' %s %s/worker.lua %s %s %s"):format(os.getenv "LUA", folder,
      endpoint, stream, folder)
    local child = fresh.spawn(command, { AWS_ACCESS_KEY_ID = "a", AWS_SECRET_ACCESS_KEY = "b" })
    child.pid = child:line()
    return child
  end

  it("loses nothing, and another takes its shards within two seconds", function()
    local stream = fresh.stream(client, 4)
    put(stream, 1, 100)
    local seen, count = {}, 0
    local function note(line)
      count = count + (seen[line] and 0 or 1)
      seen[line] = true
    end
    local first = spawn(stream)
    while count < 100 do
      note(first:line())
    end
    first:signal "KILL"
    first:wait()
    put(stream, 101, 150)
    local second = spawn(stream)
    while count < 150 do
      note(second:line())
    end
    second:signal "KILL"
    second:wait()
    for i = 1, 150 do
      assert.is_true(seen[tostring(i)])
    end
  end)
end)
