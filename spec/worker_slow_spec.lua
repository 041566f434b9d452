-- Stores, lists and hooks that are slow: one of them holds up only what needs it.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
local shard_lists = require "kinesis.shards"
local sharing = require "support.sharing"

local key_of, run = sharing.key_of, sharing.run
local client, store, list_shards

before_each(function()
  client, store, list_shards = fresh.client(fresh.services[2]), memory.new(), shard_lists.list
end)

after_each(function()
  shard_lists.list = list_shards
  client:close()
end)

local function open(streams, more)
  local options = sharing.options(more)
  options.store = more and more.store or store
  return assert(client:worker(streams, "counter", options))
end

local function await_owner(key, test)
  fresh.eventually(function()
    local row = store.get(key)
    return row and test(row.owner)
  end)
end

describe("a worker", function()
  it("takes leases side by side", function()
    local underway, most = 0, 0
    local slow = sharing.slow(store, 0)
    function slow.update(key, expected, changes)
      underway = underway + 1
      most = math.max(most, underway)
      kinesis.sleep(0.02)
      underway = underway - 1
      return store.update(key, expected, changes)
    end
    local shards = {}
    for i = 1, 64 do
      shards[i] = { id = ("shardId-%012d"):format(i) }
    end
    shard_lists.list = function()
      return shards
    end
    local worker = open("absent", { store = slow, on_error = function() end, failover = 10 })
    run(worker, function()
      fresh.eventually(function()
        return most >= 16
      end)
    end)
    assert.is_true(most <= 64, tostring(most))
  end)

  it("hands leases over, and renews others, while a take has no answer", function()
    local stream = fresh.stream(client, 5)
    local hangs, hung = true, nil
    store.create(key_of(stream, 4), { counter = 0, checkpoint = "TRIM_HORIZON", owner = "dead" })
    local slow = sharing.slow(store, 0)
    function slow.update(key, expected, changes)
      if key == key_of(stream, 4) and hangs and not hung then
        hung = key
        repeat
          kinesis.sleep(0.05)
        until not hangs
      end
      return store.update(key, expected, changes)
    end
    local one, other = open(stream, { store = slow }), open(stream)
    local function is_of(worker)
      return function(owner)
        return owner == worker.id
      end
    end
    kinesis.run(function()
      assert(one:run(function() end))
    end, function()
      fresh.eventually(function()
        return hung
      end)
      assert(other:run(function() end))
    end, function()
      for i = 0, 3 do
        await_owner(key_of(stream, i), is_of(one))
      end
      fresh.eventually(function()
        return other:count() >= 2
      end)
      assert.is_true(one:count() >= 2)
      local counter = store.get(next(one.processors)).counter
      fresh.eventually(function()
        return store.get(next(one.processors)).counter > counter
      end)
      hangs = false
      other:stop()
      one:stop()
    end)
  end)

  it("looks again soon when a lease could not be taken, because another worker was faster", function()
    local stream, refused = fresh.stream(client, 1), 0
    fresh.put_numbers(client, stream, 1, 3)
    local racing = sharing.slow(store, 0)
    function racing.update(key, expected, changes)
      if changes.owner and refused < 2 then
        refused = refused + 1
        return false
      end
      return store.update(key, expected, changes)
    end
    assert.equal(3, #run(open(stream, { store = racing, take_interval = 60, failover = 60 }), sharing.awaits(3)))
    assert.equal(2, refused)
  end)

  it("takes other leases while a hook waits", function()
    local stream, taken = fresh.stream(client, 3), 0
    local worker
    worker = open(stream, { on_lease_taken = function()
      taken = taken + 1
      fresh.eventually(function()
        return taken == 3
      end)
    end })
    run(worker, function()
      fresh.eventually(function()
        return taken == 3
      end)
    end)
    assert.is_nil(worker.err)
  end)

  for _, what in ipairs { "hangs", "fails" } do
    it("takes the leases of the dead while the list of shards " .. what, function()
      local stream = fresh.stream(client, 2)
      for i = 0, 1 do
        store.create(key_of(stream, i), { counter = 0, checkpoint = "TRIM_HORIZON", owner = i == 1 and "dead" or nil })
      end
      local lists, ended = 0, false
      shard_lists.list = function(...)
        lists = lists + 1
        if lists == 2 and what == "hangs" then
          repeat
            kinesis.sleep(0.05)
          until ended
        elseif lists >= 2 then
          return nil, setmetatable({ code = "ServiceUnavailable" }, { __tostring = function() return "no" end })
        end
        return list_shards(...)
      end
      local worker = open(stream, { on_error = function() end })
      run(worker, function()
        fresh.eventually(function()
          return worker:count() == 1
        end)
        worker.synced_at = -math.huge
        fresh.eventually(function()
          return worker:count() == 2 and lists >= 2
        end)
        ended = true
      end)
    end)
  end
end)
