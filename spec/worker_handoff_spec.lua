-- Leases that pass between living workers: what a worker sees and decides, on a fake clock and the memory store; and
-- workers that stop, die or have too many in the middle of that.
local balance = require "kinesis.worker.balance"
local fresh = require "support.fresh"
local handoff = require "kinesis.worker.handoff"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
local observed = require "kinesis.worker.observed"
local sharing = require "support.sharing"

local KEY, OTHER = "r:s:1", "r:s:2"
local OPTIONS = { failover = 10, take_interval = 10, handoff_timeout = 30, max_leases = 1e6, max_steal = 1e6,
  balance = "count" }

describe("an ask", function()
  local now, store, worker

  before_each(function()
    now, store = 0, memory.new()
    worker = {
      id = "me", options = OPTIONS, by_prefix = { ["r:s:"] = {} }, rows = {}, seen = {}, vanished = {}, dead = {},
      processors = {}, changing = {}, absent = {}, leases = { list = store.list },
      now = function()
        return now
      end,
    }
  end)

  local function create(key, row)
    row.counter, row.checkpoint = 1, "TRIM_HORIZON"
    store.create(key, row)
  end

  -- Time passes, in which the owner renews the lease.
  local function pass(seconds)
    for _ = 1, seconds do
      now = now + 1
      for key, row in pairs(store.list()) do
        store.update(key, row, { counter = row.counter + 1 })
      end
      observed.refresh(worker)
    end
  end

  local function asker()
    for _, lease in ipairs(observed.view(worker)) do
      if lease.key == KEY then
        return lease.wanted_by
      end
    end
  end

  it("of a worker that has died is none after a while, and others ask then", function()
    create(KEY, { owner = "busy", wanted_by = "asker" })
    create(OTHER, { owner = "busy" })
    observed.refresh(worker)
    assert.equal("asker", asker())
    pass(59)
    assert.equal("asker", asker())
    pass(1)
    assert.is_nil(asker())
    local _, asks = balance.decide(observed.view(worker), "me", OPTIONS, math.random)
    assert.equal(1, #asks)
  end)

  it("of a worker that is known to be dead is none", function()
    create(KEY, { owner = "busy", wanted_by = "asker" })
    observed.refresh(worker)
    worker.dead.asker = true
    assert.is_nil(asker())
  end)

  it("is answered by the reader of the shard, or the one that is made later; that of a dead worker is removed",
    function()
      local written, ended
      worker.client, worker.tasks, worker.requests = {}, {}, {}
      worker.leases.core = { id = function() end }
      function worker.leases.write(_, ...)
        written = { ... }
      end
      handoff.answer(worker, KEY, "asker")
      assert.same({ [KEY] = "asker" }, worker.requests)
      worker.processors[KEY] = { finish = function(_, ...)
        ended = { ... }
      end }
      handoff.answer(worker, KEY, "asker")
      assert.same({ "handoff", "asker" }, ended)
      worker.dead.asker = true
      kinesis.run(function()
        handoff.answer(worker, KEY, "asker")
      end)
      assert.same({ KEY, { wanted_by = false } }, written)
    end)

  it("of an owner that cannot reach the store is granted after failover: until then that one may deliver", function()
    worker.options = setmetatable({ handoff_timeout = 1 }, { __index = OPTIONS })
    create(KEY, { owner = "cut off", wanted_by = "me" })
    observed.refresh(worker)
    now = 9
    observed.refresh(worker)
    assert.same({}, (handoff.due(worker)))
    now = 10
    assert.same({ KEY }, (handoff.due(worker)))
    now = 1
    pass(1) -- it has renewed the lease, and seen the request
    assert.same({ KEY }, (handoff.due(worker)))
  end)

  it("begins anew with another asker, and ends with a take when the owner does nothing", function()
    create(KEY, { owner = "busy", wanted_by = "asker" })
    observed.refresh(worker)
    pass(20)
    store.update(KEY, store.get(KEY), { wanted_by = "me" })
    pass(30)
    local take, refuse, asks = handoff.due(worker)
    assert.same({ {}, {}, true }, { take, refuse, asks })
    pass(1)
    take, refuse, asks = handoff.due(worker)
    assert.same({ { KEY }, {}, true }, { take, refuse, asks })
  end)

  it("is not renewed while it is being sent", function()
    create(KEY, { owner = "busy" })
    create(OTHER, { owner = "busy" })
    observed.refresh(worker)
    worker.changing[KEY] = "ask"
    local _, asks = balance.decide(observed.view(worker), "me", OPTIONS, math.random)
    assert.equal(0, #asks)
  end)

  it("is of no matter when the owner dies: its lease is taken within failover and one take_interval", function()
    local RENEWS, longest = 10 / 3, 0
    for dies = 0, 20, 0.7 do
      now, worker.rows, worker.seen = 0, {}, {}
      store.delete(KEY, store.get(KEY))
      create(KEY, { owner = "dead", wanted_by = "asker" })
      local renewed, free = 0, false
      while not free do
        while renewed + RENEWS <= math.min(now, dies) do
          renewed = renewed + RENEWS
          store.update(KEY, store.get(KEY), { counter = store.get(KEY).counter + 1 })
        end
        observed.refresh(worker)
        free = observed.view(worker)[1].expired
        if not free then
          now = math.min(now + 9.5, observed.next_expiry(worker)) -- looks differ a little
        end
      end
      longest = math.max(longest, now - dies)
    end
    assert.is_true(longest <= 20, longest)
  end)

  it("that is granted to a worker with max_leases is refused", function()
    worker.options = setmetatable({ max_leases = 1 }, { __index = OPTIONS })
    create(KEY, { owner = "me" })
    create(OTHER, { owner = "me" })
    worker.processors[OTHER] = {}
    observed.refresh(worker)
    local take, refuse = handoff.due(worker)
    assert.same({ {}, { KEY } }, { take, refuse })
    worker.processors[OTHER] = nil
    take, refuse = handoff.due(worker)
    assert.same({ 1, 1 }, { #take, #refuse })
  end)
end)

describe("two workers", function()
  local client, store

  before_each(function()
    client, store = fresh.client(fresh.services[2]), memory.new()
  end)

  after_each(function()
    client:close()
  end)

  local function open(stream, more)
    local options = sharing.options(more)
    options.store = store
    return assert(client:worker(stream, "counter", options))
  end

  it("pass leases on when the one that asks stops before it has them", function()
    local stream = fresh.stream(client, 2)
    local function unsettled()
      for _, row in pairs(store.list()) do
        if row.wanted_by then
          return row
        end
      end
    end
    local one, other = open(stream, { failover = 3 }), open(stream, { failover = 3 })
    for i = 1, 8 do
      assert(client:put(stream, tostring(i), "key " .. i))
    end
    local busy, good = true, nil
    kinesis.run(function()
      good = one:run(function()
        repeat -- so that it hands over later
          kinesis.sleep(0.02)
        until not busy
      end)
    end, function()
      fresh.eventually(function()
        return one:count() == 2
      end)
      other:run(function() end)
    end, function()
      fresh.eventually(unsettled)
      other:stop()
      fresh.eventually(function()
        return other.over
      end)
      assert.is_nil(unsettled())
      busy = false
      fresh.eventually(function()
        return one:count() == 2
      end)
      one:stop()
    end)
    assert.is_true(good)
  end)

  it("tell why a lease is lost", function()
    local stream = fresh.stream(client, 1)
    local key, reasons = sharing.key_of(stream, 0), {}
    local worker = open(stream, { on_lease_lost = function(_, reason)
      reasons[#reasons + 1] = reason
    end })
    sharing.run(worker, function()
      local function await_owner()
        return fresh.eventually(function()
          local row = store.get(key)
          return row and row.owner == worker.id and worker.processors[key] and row
        end)
      end
      assert.is_true(store.update(key, await_owner(), { wanted_by = "other" }))
      fresh.eventually(function()
        return reasons[1]
      end)
      local row = await_owner() -- the other one never was
      assert.is_true(store.update(key, row, { owner = "thief", counter = row.counter + 7 }))
      fresh.eventually(function()
        return reasons[2]
      end)
      await_owner()
    end)
    assert.same({ "handoff", "lost", "stop" }, reasons)
  end)
end)
