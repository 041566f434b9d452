-- Workers whose store, hooks, streams or client fail.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
local readers = require "kinesis.reader"
local shard_lists = require "kinesis.shards"
local wait = require "kinesis.wait"
local working = require "support.working"

local client, list_shards

before_each(function()
  client, list_shards = fresh.client(working.service), shard_lists.list
end)

after_each(function()
  shard_lists.list = list_shards
  client:close()
end)

local run_beside = working.run_beside

local function open(streams, more)
  return working.open(client, streams, more)
end

local function ignore() end

it("a shard that a stale list does not have is not taken for a finished one", function()
  local store, calls = memory.new(), 0
  store.create("us-east-1:s:shardId-1", { counter = 0, checkpoint = "TRIM_HORIZON" })
  shard_lists.list = function()
    calls = calls + 1
    if calls == 1 then
      return {}
    end
    return nil, setmetatable({ code = "ServiceUnavailable" }, { __tostring = function() return "unavailable" end })
  end
  local worker = open("s", { store = store, on_error = ignore })
  run_beside(worker, ignore, function()
    kinesis.sleep(1.2)
    worker:stop()
  end)
  assert.is_true(calls > 1)
  assert.equal("TRIM_HORIZON", store.get("us-east-1:s:shardId-1").checkpoint)
end)

it("the rows of a stream are kept in order while another stream cannot be listed", function()
  local store = memory.new()
  store.create("us-east-1:s:shardId-1", { counter = 0, checkpoint = "SHARD_END" })
  store.create("us-east-1:t:shardId-1", { counter = 0, checkpoint = "SHARD_END" })
  shard_lists.list = function(_, stream)
    if stream == "s" then
      return {}
    end
    return nil, setmetatable({ code = "ServiceUnavailable", retryable = true }, { __tostring = function()
      return "unavailable"
    end })
  end
  local worker = open({ "s", "t" }, { store = store, on_error = ignore })
  run_beside(worker, ignore, function()
    fresh.eventually(function()
      return store.get("us-east-1:s:shardId-1") == false
    end)
    worker:stop()
  end)
  assert.is_table(store.get("us-east-1:t:shardId-1"))
end)

it("the lease of a child is not made before those of its parents", function()
  local store = memory.new()
  local create, made = store.create, {}
  store.create = function(key, row)
    made[#made + 1] = key
    if key == "us-east-1:s:shardId-1" and #made < 4 then
      return nil, "throttled"
    end
    return create(key, row)
  end
  shard_lists.list = function()
    return { { id = "shardId-1", closed = true }, { id = "shardId-2", parent_id = "shardId-1" },
      { id = "shardId-3", parent_id = "shardId-1" } }
  end
  local worker = open("s", { store = store, on_error = ignore, max_leases = 1 })
  run_beside(worker, ignore, function()
    kinesis.sleep(0.3)
    assert.same({}, store.list())
    worker:stop()
  end)
  assert.equal("us-east-1:s:shardId-1", made[1])
end)

it("an error in a hook ends the worker", function()
  for _, hook in ipairs { "on_lease_taken", "on_lease_lost" } do
    local stream = fresh.stream(client, 2)
    local calls, worker = 0, nil
    worker = open(stream, { [hook] = function()
      calls = calls + 1
      if calls == 2 then
        error "no"
      end
    end })
    local good, err = run_beside(worker, ignore, function()
      fresh.eventually(function()
        return calls == 2 or worker:count() == 2
      end)
      worker:stop()
    end)
    assert.is_nil(good)
    assert.matches("no", tostring(err))
  end
end)

it("an error in a hook is raised by the loop over the records", function()
  local stream = fresh.stream(client, 1)
  local worker = open(stream, { on_lease_taken = function() error "no" end })
  assert.error_matches(function()
    for _ in worker:records() do
      worker:stop()
    end
  end, "no\nstack traceback")
end)

it("a worker ends when its host exits", function()
  local stream, taken, reasons = fresh.stream(client, 2), 0, {}
  local worker = open(stream, { on_lease_taken = function()
    taken = taken + 1
  end, on_lease_lost = function(_, reason)
    reasons[#reasons + 1] = reason
  end })
  assert.is_true((run_beside(worker, ignore, function()
    fresh.eventually(function()
      return worker:count() == 2
    end)
    client:leave()
  end)))
  assert.equal(2, taken)
  assert.same({ "stop", "stop" }, reasons)
  assert.is_true(open(stream):run(ignore))
end)

it("a reader that a host's exit has stopped before its worker knows it ends as one that was stopped", function()
  local stream, reasons = fresh.stream(client, 1), {}
  assert(client:put(stream, "1", "key"))
  local worker = open(stream, { on_lease_lost = function(_, reason)
    reasons[#reasons + 1] = reason
  end })
  assert.is_true(worker:run(function()
    worker.stopped_at, worker.stopping = worker.now(), true -- as `stop`, whose message has not arrived
    local _, processor = next(worker.processors)
    processor.reader:stop()
  end))
  assert.same({ "stop" }, reasons)
end)

it("a worker ends when its client is closed", function()
  shard_lists.list = function()
    return {}
  end
  local worker = open("s", { on_error = ignore })
  local good, err = run_beside(worker, ignore, function()
    kinesis.sleep(0.3)
    client:close()
  end)
  assert.is_nil(good)
  assert.equal("Closed", err.code)
end)

local function put(stream, first, last)
  for i = first, last do
    assert(client:put(stream, tostring(i), "key"))
  end
end

it("a dead letter that could not be stored is tried again", function()
  local stream = fresh.stream(client, 1)
  put(stream, 1, 2)
  local letters = {}
  local worker
  worker = open(stream, { on_record_error = "skip", on_error = ignore, dead_letter = function(record)
    letters[#letters + 1] = record.data
    if #letters == 1 then
      return nil, "no disk"
    end
  end })
  run_beside(worker, function(record)
    if record.data == "1" then
      error "no"
    end
    worker:stop()
  end, ignore)
  assert.same({ "1", "1" }, letters)
end)

for _, batch in ipairs { true, "columns" } do
  it("dead letters of lists: " .. tostring(batch), function()
    local stream, dead = fresh.stream(client, 1), fresh.stream(client, 1)
    put(stream, 1, 3)
    local worker
    worker = open(stream, { on_record_error = "skip", dead_letter = dead, batch = batch, fields = { "data" } })
    local good, err = run_beside(worker, function() error "no" end, function()
      fresh.eventually(function()
        return #fresh.read(client, dead) == 3
      end)
      worker:stop()
    end)
    assert.is_true(good, tostring(err))
  end)
end

for name, more in pairs {
  ["fields without a sequence number"] = { fields = { "data" } },
  ["aggregates that stay whole"] = { deaggregate = false },
} do
  it("goes on behind its checkpoint: " .. name, function()
    local stream, folder = fresh.stream(client, 1), fresh.folder {}
    put(stream, 1, 4)
    local got = {}
    for _, count in ipairs { 2, 4 } do
      local options = { path = folder }
      for key, value in pairs(more) do
        options[key] = value
      end
      local worker
      worker = open(stream, options)
      assert(run_beside(worker, function(record)
        got[#got + 1] = record.data
        if #got == count then
          worker:stop()
        end
      end, ignore))
    end
    assert.same({ "1", "2", "3", "4" }, got)
  end)
end

it("a handler that is busy after stop_timeout loses its lease, with the checkpoint before its record", function()
  local stream, store = fresh.stream(client, 1), memory.new()
  put(stream, 1, 3)
  local worker, done
  worker = open(stream, { store = store, stop_timeout = 0.3, checkpoint_interval = 60 })
  run_beside(worker, function(record)
    if record.data == "3" then
      worker:stop()
      kinesis.sleep(1)
    end
    done = record.data ~= "3" and record.sequence_number or done
  end, ignore)
  local _, row = next(store.list())
  assert.equal(done, row.checkpoint)
end)

it("a loop that an error cuts off ends at once, and what it had is processed again", function()
  local stream, folder = fresh.stream(client, 2), fresh.folder {}
  put(stream, 1, 3)
  local interrupts, here = false, coroutine.running()
  wait.listen_to_drains(client, { on_drain = function()
    if interrupts and coroutine.running() == here then
      interrupts = false
      error "interrupted"
    end
  end })
  local iterate, _, _, closing = open(stream, { path = folder, stop_timeout = 30 }):records()
  assert.equal("1", iterate().data)
  assert.equal("2", iterate().data)
  assert.equal("3", iterate().data)
  interrupts = true
  assert.error_matches(iterate, "interrupted")
  local started = core.now()
  getmetatable(closing).__close()
  assert.is_true(core.now() - started < 5)
end)

it("a passing failure of a shard does not end the worker", function()
  local stream, open_reader, failures = fresh.stream(client, 1), readers.open, 0
  put(stream, 1, 1)
  readers.open = function(...)
    failures = failures + 1
    if failures < 3 then
      errors.raise { code = "ServiceUnavailable", message = "unavailable", retryable = true }
    end
    return open_reader(...)
  end
  finally(function()
    readers.open = open_reader
  end)
  local worker, got
  worker = open(stream, { on_error = ignore })
  assert.is_true((run_beside(worker, function(record)
    got = record.data
    worker:stop()
  end, ignore)))
  assert.equal("1", got)
end)
