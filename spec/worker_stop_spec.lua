-- Workers that are stopped: by a signal handler, in time, with records in flight; and loops that are left.
local core = require "kinesis.core"
local fresh = require "support.fresh"
local interrupt = require "support.interrupt"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
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

-- The data of what is left for the next worker.
local function rest_of(count, more)
  return working.data((working.process(open(more), count)))
end

-- Whether nobody has the lease.
local function is_released()
  local row = working.row(store)
  return row ~= nil and row.owner == nil
end

describe("stop", function()
  it("waits for the records in flight", function()
    working.put(client, stream, 1, 4)
    local worker
    local held = {}
    worker = open { ack = true, stop_timeout = 10 }
    local good, err = working.run_beside(worker, function(record)
      held[#held + 1] = record
    end, function()
      fresh.eventually(function()
        return #held == 4
      end)
      worker:stop()
      kinesis.sleep(0.2)
      for i = 4, 1, -1 do
        assert.is_true(worker:ack(held[i]))
      end
    end)
    assert.is_true(good, tostring(err))
    working.put(client, stream, 5, 5)
    assert.equal("5", rest_of(1))
  end)

  it("leaves a record unprocessed that is retried", function()
    working.put(client, stream, 1, 2)
    local worker
    worker = open { on_record_error = "retry" }
    local good = working.run_beside(worker, function(record)
      if record.data == "2" then
        worker:stop()
        error "no"
      end
    end, ignore)
    assert.is_true(good)
    assert.equal("2", rest_of(1))
  end)

  local function is_timeout(good, err)
    return good == nil and err.code == "Timeout" and tostring(err):find "of 1 shards were still busy" ~= nil
  end

  -- A handler that waits for longer than stop_timeout; what it can still do then.
  local function stuck(worker, results)
    return function(record, shard)
      worker:stop()
      kinesis.sleep(1.2, client)
      results.checkpoint = { worker:checkpoint(record, shard), (worker:checkpoint(record)) }
    end
  end

  it("returns after stop_timeout while a handler waits, in a plain script", function()
    working.put(client, stream, 1, 1)
    local worker = open { stop_timeout = 0.2 }
    local started = core.now()
    assert.is_true(is_timeout(worker:run(stuck(worker, {}))))
    assert.is_true(core.now() - started < 1.1)
    assert.is_true(is_released())
    assert.equal("1", rest_of(1))
  end)

  it("returns after stop_timeout while a handler waits, in a run, which does not wait for it either", function()
    working.put(client, stream, 1, 1)
    local worker, results = open { stop_timeout = 0.2 }, {}
    local started = core.now()
    kinesis.run(function()
      assert.is_true(is_timeout(worker:run(stuck(worker, results))))
    end)
    assert.is_true(core.now() - started < 1.1)
    assert.same({}, results)
  end)

  it("returns after stop_timeout while a handler waits, in luv; what the handler does then comes too late", function()
    local uv = require "luv"
    working.put(client, stream, 1, 1)
    local worker, results = open { stop_timeout = 0.2, checkpoint = "manual" }, {}
    local took, good, err
    coroutine.wrap(function()
      local started = core.now()
      good, err = worker:run(stuck(worker, results))
      took = core.now() - started
    end)()
    uv.run()
    assert.is_true(is_timeout(good, err))
    assert.is_true(took < 1.1)
    assert.same({ false, false }, results.checkpoint)
    assert.equal("TRIM_HORIZON", working.row(store).checkpoint)
  end)

  it("ends when its client is closed in luv, whatever its coroutines wait for", function()
    local uv = require "luv"
    working.put(client, stream, 1, 3)
    local worker, timer = open { ack = true, max_in_flight = 1 }, uv.new_timer()
    local good, err
    coroutine.wrap(function()
      good, err = worker:run(function()
        timer:start(1, 0, function()
          timer:close()
          client:close()
        end)
      end)
    end)()
    uv.run()
    assert.is_nil(good)
    assert.equal("Closed", err.code)
  end)

  it("lets no record be acknowledged as new any more", function()
    working.put(client, stream, 1, 2)
    local worker
    local held, given = {}, {}
    worker = open { ack = true, stop_timeout = 0.2 }
    local good, err = working.run_beside(worker, function(record, shard)
      held[#held + 1], given[#given + 1] = record, shard
      if #held == 2 then
        worker:stop()
      end
    end, ignore)
    assert.is_nil(good)
    assert.matches("records of 1 shards were still not acknowledged", tostring(err))
    assert.is_false(worker:ack(held[1]))
    assert.is_false(worker:ack(held[1].sequence_number, given[1]))
    assert.equal("1 2", rest_of(2))
  end)

  it("does not wait for a store that does not answer", function()
    local asked
    function store.list()
      asked = true
      kinesis.sleep(30)
    end
    local worker = open { stop_timeout = 0.1 }
    local good, err
    kinesis.run(function()
      good, err = worker:run(ignore)
    end, function()
      fresh.eventually(function()
        return asked
      end)
      worker:stop()
      fresh.eventually(function()
        return good ~= nil
      end)
    end)
    assert.is_true(good, tostring(err)) -- it has nothing
  end)

  for _, kind in ipairs { "run", "records" } do
    it("may be called at any instruction, as by a signal handler: " .. kind, function()
      working.put(client, stream, 1, 4)
      local worker, got, last

      local function note(record)
        got[#got + 1], last = record.data, record.sequence_number
        if #got == 4 then
          worker:stop()
        end
      end

      local function go()
        if kind == "run" then
          local good, err = worker:run(note)
          assert(good, tostring(err))
        else
          for record in worker:records() do
            note(record)
          end
        end
      end

      local function make()
        store = memory.new()
        worker, got, last = open(), {}, "TRIM_HORIZON"
      end

      make()
      local total = interrupt.count(go)
      local stopped = {}
      for n in interrupt.places(total, 100) do
        make()
        local left = n
        debug.sethook(function()
          left = left - 1
          if left == 0 then
            worker:stop()
          end
        end, "", 1)
        local good, err = pcall(go)
        debug.sethook()
        assert(good, ("stopped at instruction %d: %s"):format(n, tostring(err)))
        assert.equal(("1 2 3 4"):sub(1, math.max(0, 2 * #got - 1)), table.concat(got, " "))
        local row = working.row(store)
        assert.equal(last, row and row.checkpoint or "TRIM_HORIZON", "stopped at instruction " .. n)
        assert.is_nil(row and row.owner)
        stopped[#got] = true
      end
      assert.is_true(stopped[0] and stopped[4])
    end)
  end
end)

describe("a loop over the records", function()
  -- On LuaJIT the worker ends at the next collection.
  local function expect_released()
    if not rawget(_G, "jit") then
      assert.is_true(is_released())
    end
    fresh.eventually(function()
      fresh.collect()
      return is_released()
    end)
  end

  -- A loop that leaves in some way at the second record.
  local WAYS = {
    ["break"] = function(worker)
      for record in worker:records() do
        if record.data == "2" then
          break
        end
      end
    end,
    ["return"] = function(worker)
      for record in worker:records() do
        if record.data == "2" then
          return
        end
      end
    end,
    ["an error"] = function(worker)
      pcall(function()
        for record in worker:records() do
          if record.data == "2" then
            error "no"
          end
        end
      end)
    end,
  }

  for way, leave in pairs(WAYS) do
    it("ends the worker when it is left by " .. way .. ", with the record in hand unprocessed", function()
      working.put(client, stream, 1, 3)
      store = nil
      local folder = fresh.folder {}
      local worker = open { path = folder }
      leave(worker)
      fresh.eventually(function()
        fresh.collect()
        return worker.over
      end)
      local other = open { path = folder }
      local started = core.now()
      assert.equal("2 3", working.data((working.process(other, 2))))
      assert.is_true(core.now() - started < 0.9, "its lease was not released")
    end)

    it("ends the worker when it is left by " .. way .. ", in a run", function()
      working.put(client, stream, 1, 3)
      local worker = open()
      kinesis.run(function()
        leave(worker)
        expect_released()
      end)
      assert.equal("2 3", rest_of(2))
    end)
  end

  it("ends the worker when the coroutine that it is in is dropped", function()
    client:close()
    client = fresh.client(working.service, { event_loop = "none" })
    working.put(client, stream, 1, 3)
    store = nil
    local folder = fresh.folder {}
    local worker = open { path = folder }
    local step = coroutine.wrap(function()
      for record in worker:records() do
        coroutine.yield(record.data)
      end
    end)
    assert.equal("1", step())
    assert.equal("2", step())
    step = nil -- luacheck: ignore 311
    fresh.eventually(function()
      fresh.collect()
      return worker.over
    end)
    assert.equal("2 3", working.data((working.process(open { path = folder }, 2))))
  end)

  it("does not deliver what it has not taken of a shard whose lease is lost", function()
    stream = fresh.stream(client, 2)
    fresh.put_numbers(client, stream, 1, 20)
    local worker = open()
    -- The processor of another shard, when its first record waits for the loop.
    local function find_offered(shard)
      for _, processor in pairs(worker.processors) do
        if processor.id ~= shard.id and processor.item then
          return processor
        end
      end
    end
    kinesis.run(function()
      local count, first = 0, nil
      for _, shard in worker:records() do
        count = count + 1
        if not first then
          first = shard
          local other = fresh.eventually(function()
            return find_offered(shard)
          end)
          local row = store.get(other.key)
          assert(store.update(other.key, row, { owner = "another", counter = row.counter + 1 }))
          fresh.eventually(function()
            return other.over
          end)
        end
        assert.equal(first.id, shard.id)
        if count == 3 then
          worker:stop()
        end
      end
    end)
  end)

  it("does not deliver a record while its lease is not valid, and delivers it when it is again", function()
    working.put(client, stream, 1, 2)
    local update, broken = store.update, false
    store.update = function(...)
      if broken then
        return nil, "no disk"
      end
      return update(...)
    end
    local worker = open { on_error = ignore }
    kinesis.run(function()
      local got = {}
      for record in worker:records() do
        got[#got + 1] = record.data
        if #got == 1 then
          broken = true
          kinesis.sleep(1.2 * fresh.FAILOVER) -- longer than its lease is valid
        else
          assert.is_false(broken)
          worker:stop()
        end
      end
      assert.same({ "1", "2" }, got)
    end, function()
      fresh.eventually(function()
        return broken
      end)
      kinesis.sleep(2 * fresh.FAILOVER)
      broken = false
    end)
  end)
end)
