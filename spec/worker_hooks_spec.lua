-- Hooks of a worker that raise or wait, and failures that have to be told.
local errors = require "kinesis.errors"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local working = require "support.working"

local client, stream, store

local ignore = working.ignore

before_each(function()
  client, stream, store = working.begin()
end)

after_each(function()
  client:close()
end)

local function open(more)
  return working.open_on(store, client, stream, more)
end


local function split()
  assert(client:split_shard { StreamName = stream, ShardToSplit = client:shards(stream)[1].id,
    NewStartingHashKey = "170141183460469231731687303715884105728" })
  fresh.active(client, stream)
end

it("a loop raises what has ended its worker while its body waited", function()
  working.put(client, stream, 1, 2)
  local worker, err = open(), nil
  kinesis.run(function()
    err = select(2, pcall(function()
      for _ in worker:records() do
        client:close()
        fresh.eventually(function()
          return worker.over
        end)
      end
    end))
  end)
  assert.equal("Closed", err and err.code)
end)

it("a record whose dead letter fails is not passed over when on_error raises", function()
  working.put(client, stream, 1, 2)
  local raised = errors.new("Mine", "on_error raises")
  raised.retryable = true
  local letters, calls, got = 0, 0, {}
  local worker
  worker = open { on_record_error = "skip", dead_letter = function()
    letters = letters + 1
    return nil, "no"
  end, on_error = function()
    calls = calls + 1
    if calls == 1 then
      error(raised, 0)
    end
  end }
  local good, err = worker:run(function(record)
    got[#got + 1] = record.data
    if record.data == "2" then
      worker:stop()
    else
      error "no"
    end
  end)
  assert.equal("1", table.concat(got, " "))
  assert.is_nil(good)
  assert.equal(raised, err)
end)

it("a store that fails at the end is told, and has the last checkpoint when it is back", function()
  working.put(client, stream, 1, 3)
  local told, tell = working.listener()
  local update, failed = store.update, 0
  local worker
  store.update = function(key, expected, changes)
    if worker.stopping and failed < 3 then
      failed = failed + 1
      return nil, "the disk is full"
    end
    return update(key, expected, changes)
  end
  worker = open { on_error = tell, checkpoint_interval = 60 }
  local _, good = working.process(worker, 3)
  local row = working.row(store)
  assert.is_true(good)
  assert.matches("the disk is full", told[1])
  assert.is_nil(row.owner)
  assert.matches("^%d+$", row.checkpoint)
end)

it("a store that fails until stop_timeout is the error that the worker ends with", function()
  working.put(client, stream, 1, 1)
  local update = store.update
  local worker
  store.update = function(key, expected, changes)
    if worker.stopping then
      return nil, "the disk is full"
    end
    return update(key, expected, changes)
  end
  worker = open { on_error = ignore, stop_timeout = 0.5 }
  local _, good, err = working.process(worker, 1)
  assert.is_nil(good)
  assert.equal("Timeout", err.code)
  assert.matches("the leases of 1 shards could not be released: .*the disk is full", err.message)
end)

it("on_shard_end is called once when the store fails at the end of a shard, which is told", function()
  working.put(client, stream, 1, 2)
  split()
  local told, tell = working.listener()
  local update, failed, ends = store.update, 0, 0
  local worker
  store.update = function(key, expected, changes)
    if changes.checkpoint == "SHARD_END" and failed < 2 then
      failed = failed + 1
      return nil, "the disk is full"
    end
    return update(key, expected, changes)
  end
  worker = open { on_error = tell, on_shard_end = function()
    ends = ends + 1
  end }
  local good = working.run_beside(worker, ignore, function()
    fresh.eventually(function()
      return worker:count() == 2
    end)
    worker:stop()
  end)
  assert.is_true(good)
  assert.equal(1, ends)
  assert.matches("the disk is full", told[1])
end)

it("a parent ends when both children have their leases; what fails is told", function()
  working.put(client, stream, 1, 2)
  split()
  local told, tell = working.listener()
  local create, failed = store.create, 0
  local worker
  local parent = client:shards(stream)[1].id
  store.create = function(key, row)
    if not key:find(parent, 1, true) and failed < 3 then
      failed = failed + 1
      return nil, "the disk is full"
    end
    return create(key, row)
  end
  local missing = false
  local update = store.update
  store.update = function(key, expected, changes)
    if changes.checkpoint == "SHARD_END" then
      local count = 0
      for _ in pairs(store.list()) do
        count = count + 1
      end
      missing = count < 3
    end
    return update(key, expected, changes)
  end
  worker = open { on_error = tell }
  working.run_beside(worker, ignore, function()
    fresh.eventually(function()
      return worker:count() == 2
    end)
    worker:stop()
  end)
  assert.is_false(missing)
  assert.matches("the disk is full", told[1])
end)

it("on_error may wait, and holds up nothing else", function()
  store.create(("us-east-1:%s:broken"):format(stream), { counter = "one" })
  working.put(client, stream, 1, 1)
  local got, in_time = 0, nil
  local worker
  worker = open { on_error = function()
    in_time = fresh.eventually(function()
      return got == 1
    end)
  end }
  assert.is_true((worker:run(function()
    got = got + 1
    worker:stop()
  end)))
  assert.is_true(in_time)
end)

it("on_lease_lost may wait, also at the end", function()
  working.put(client, stream, 1, 1)
  local ended = false
  local worker
  worker = open { on_lease_lost = function()
    kinesis.sleep(1.3)
    ended = true
  end }
  local _, good = working.process(worker, 1)
  assert.is_true(good)
  assert.is_true(ended)
end)

it("a lease that cannot be taken is told", function()
  working.put(client, stream, 1, 1)
  local told, tell = working.listener()
  local update, failed = store.update, 0
  store.update = function(key, expected, changes)
    if failed < 2 then
      failed = failed + 1
      return nil, "the disk is full"
    end
    return update(key, expected, changes)
  end
  assert.equal("1", working.data((working.process(open { on_error = tell }, 1))))
  assert.equal(2, #told)
  assert.matches("the disk is full", told[1])
end)

it("the lag is not known before the first answer", function()
  local worker = open()
  local lag
  worker.processors["us-east-1:s:shardId-1"] = { id = "shardId-1", reader = {
    stats = function()
      return { lag = lag, records = 0, bytes = 0, misplaced = 0, trimmed = 0, shards = {} }
    end,
  } }
  assert.is_nil(worker:stats().lag)
  lag = 5
  assert.equal(5, worker:stats().lag)
  worker.processors = {}
end)

it("the removal of a dead worker's request is tried again when it has failed", function()
  local held, update, failed = nil, store.update, 0
  store.update = function(key, expected, changes)
    if changes.wanted_by == false and held and failed < 2 then
      failed = failed + 1
      return nil, "the disk is full"
    end
    return update(key, expected, changes)
  end
  local got = 0
  local worker
  worker = open { on_error = ignore, on_lease_taken = function()
    held = true
  end }
  working.run_beside(worker, function()
    got = got + 1
  end, function()
    fresh.eventually(function()
      return worker:count() == 1
    end)
    local key, row = next(store.list())
    worker.dead.gone = true
    update(key, row, { wanted_by = "gone" })
    fresh.eventually(function()
      return failed == 2
    end)
    working.put(client, stream, 1, 1)
    fresh.eventually(function()
      return got == 1
    end)
    worker:stop()
  end)
  assert.equal(1, got)
end)
