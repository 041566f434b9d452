-- Rows of the table of leases that are deleted by hand.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
local sharing = require "support.sharing"

local awaits, key_of, run = sharing.awaits, sharing.key_of, sharing.run
local client, store

before_each(function()
  client, store = fresh.client(fresh.services[2]), memory.new()
end)

after_each(function()
  client:close()
end)

local function open(streams, more)
  local options = sharing.options(more)
  options.store = not options.path and store or nil
  return assert(client:worker(streams, "counter", options))
end

local function put(stream, ...)
  for _, data in ipairs { ... } do
    assert(client:put(stream, data, "key"))
  end
end

local function split(stream)
  assert(client:split_shard { StreamName = stream, ShardToSplit = client:shards(stream)[1].id,
    NewStartingHashKey = "170141183460469231731687303715884105728" })
  fresh.active(client, stream)
end

local function await_row(key, test)
  return fresh.eventually(function()
    local row = store.get(key)
    return row and (not test or test(row)) and row
  end)
end

-- The rows of a worker that has processed all of the stream, and was stopped.
local function process(stream, count)
  run(open(stream), awaits(count))
  return store.list()
end

describe("a row that is deleted by hand", function()
  it("is made again when nobody owns it", function()
    local stream = fresh.stream(client, 2)
    local key = key_of(stream, 1)
    store.create(key_of(stream, 0), { counter = 4, checkpoint = "TRIM_HORIZON", note = "kept" })
    store.create(key, { counter = 7, checkpoint = "TRIM_HORIZON", note = "kept" })
    local took = {}
    local worker = open(stream, { max_leases = 1, on_lease_taken = function(shard)
      took[#took + 1] = shard.id
    end })
    run(worker, function()
      fresh.eventually(function()
        return took[1] and worker.rows[key]
      end)
      key = key_of(stream, took[1] == "shardId-000000000000" and 1 or 0)
      local before = store.get(key)
      assert.is_true(store.delete(key, store.get(key)))
      before.counter = before.counter + 1
      assert.same(before, await_row(key))
    end)
  end)

  it("goes on at its checkpoint when it was owned by a worker that lives", function()
    local stream = fresh.stream(client, 1)
    local key = key_of(stream, 0)
    put(stream, "1", "2")
    local got = run({ open(stream), open(stream) }, function(got)
      awaits(2)(got)
      await_row(key, function(row)
        return row.checkpoint ~= "TRIM_HORIZON"
      end)
      assert.is_true(store.delete(key, store.get(key)))
      put(stream, "3")
      awaits(3)(got)
    end)
    assert.same({ "1", "2", "3" }, { got[1], got[2], got[3] })
  end)

  it("is a parent's: children wait for it, and are read after it", function()
    local stream = fresh.stream(client, 1)
    put(stream, "1", "2")
    split(stream)
    put(stream, "3")
    local parent, taken = key_of(stream, 0), {}
    for key, row in pairs(process(stream, 3)) do
      store.delete(key, store.get(key))
      if key ~= parent then
        row.owner, row.checkpoint = nil, "TRIM_HORIZON"
        store.create(key, row)
      end
    end
    local row = { counter = 0, checkpoint = "TRIM_HORIZON", owner = "other" }
    store.create(parent, row)
    local worker = open(stream, { on_lease_taken = function(shard)
      taken[#taken + 1] = shard.id
    end })
    run(worker, function(got)
      fresh.eventually(function()
        return worker.rows[parent]
      end)
      store.delete(parent, store.get(parent))
      awaits(3)(got)
    end)
    assert.equal("shardId-000000000000", taken[1])
  end)

  it("stays deleted when it was finished; and rows that all children are past are deleted", function()
    local stream = fresh.stream(client, 1)
    put(stream, "1")
    split(stream)
    local other = "170141183460469231731687303715884105728" -- of the second child
    local rows = { key_of(stream, 1), key_of(stream, 2) }
    local worker = open(stream)
    run(worker, function(got)
      awaits(1)(got)
      await_row(key_of(stream, 0), function(row)
        return row.checkpoint == "SHARD_END"
      end)
      local children = store.get(key_of(stream, 0)).children
      assert.same(rows, children)
      assert(client:put(stream, "2", "key", { explicit_hash_key = "0" }))
      await_row(rows[1], function(row)
        return row.checkpoint ~= "TRIM_HORIZON"
      end)
      worker.synced_at = -math.huge
      kinesis.sleep(0.7)
      assert.is_truthy(store.get(key_of(stream, 0)), "the second child is at its beginning")
      assert(client:put(stream, "3", "key", { explicit_hash_key = other }))
      await_row(rows[2], function(row)
        return row.checkpoint ~= "TRIM_HORIZON"
      end)
      worker.synced_at = -math.huge
      fresh.eventually(function()
        return not store.get(key_of(stream, 0))
      end)
      worker.synced_at = -math.huge
      kinesis.sleep(0.7)
    end)
    assert.same(rows, fresh.sorted_keys(store.list()))
  end)
end)

describe("a table that is emptied", function()
  it("is filled again by those that work with it, at their checkpoints", function()
    local stream = fresh.stream(client, 2)
    for i = 1, 6 do
      assert(client:put(stream, tostring(i), "key " .. i))
    end
    local before
    local got = run({ open(stream), open(stream) }, function(got)
      awaits(6)(got)
      kinesis.sleep(0.5)
      before = store.list()
      for key in pairs(before) do
        store.delete(key, store.get(key))
      end
      for key, row in pairs(before) do
        local again = await_row(key)
        assert.equal(row.checkpoint, again.checkpoint)
        await_row(key, function(found)
          return found.owner
        end)
      end
      put(stream, "7")
      awaits(7)(got)
    end)
    assert.equal(7, #got)
  end)

  it("is filled again after its file was removed, not begun anew", function()
    local stream, folder = fresh.stream(client, 1), fresh.folder {}
    put(stream, "1", "2")
    local got = run(open(stream, { path = folder }), function(got)
      awaits(2)(got)
      local path = folder .. "/counter.json"
      fresh.eventually(function()
        local file = io.open(path)
        local text = file and file:read "*a" or ""
        return file and file:close() and text:find '"checkpoint":"4'
      end)
      assert(os.remove(path))
      fresh.eventually(function()
        local file = io.open(path)
        return file and file:close()
      end)
      put(stream, "3")
      awaits(3)(got)
    end)
    assert.same({ "1", "2", "3" }, { got[1], got[2], got[3] })
  end)
end)
