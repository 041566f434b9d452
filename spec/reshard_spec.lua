-- Many writers, one reader, and shards that are split and merged meanwhile: every record once, in order
-- for each key, parents before children.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local randoms = require "support.random"
local resharding = require "support.resharding"

local merge, open_shards, split = resharding.merge, resharding.open_shards, resharding.split

local LESS = os.getenv "SPEC_LESS" ~= nil -- the same with fewer records, and fewer times

-- A writer of its own process. A call holds at most one record of a key, as the records of one call may be
-- stored in any order. Halfway it waits until `closed` shards have ended.
local WRITER = [[
local kinesis = require "kinesis"
local endpoint, stream, writer, keys, calls, closed = arg[1], arg[2], arg[3], arg[4] + 0, arg[5] + 0, arg[6] + 0
local client = assert(kinesis.client {
  endpoint = endpoint, region = "us-east-1", credentials = { access_key_id = "a", secret_access_key = "s" },
})
local function ended()
  local count = 0
  for _, shard in ipairs(client:shards(stream)) do
    count = count + (shard.closed and 1 or 0)
  end
  return count
end
for call = 1, calls do
  if call == math.floor(calls / 2) + 1 then
    while ended() < closed do
      kinesis.sleep(0.05)
    end
  end
  local entries = {}
  for key = 1, keys do
    local name = ("writer %s key %d"):format(writer, key)
    entries[key] = { data = ("%s: %d"):format(name, call), partition_key = name }
  end
  local _, failed = client:put_many(stream, entries)
  assert(failed == 0, failed)
end
client:close()
print "written"
]]

-- writers: for each {keys, calls}
local function start_writers(service, stream, writers, closed)
  local children = {}
  for i, writer in ipairs(writers) do
    children[i] = fresh.lua(WRITER, nil, service.endpoint, stream, i, writer[1], writer[2], closed)
  end
  return children
end

local function expect_written(children)
  for _, child in ipairs(children) do
    local output, status = child:wait()
    assert.equal("written\n", output)
    assert.equal(0, status)
  end
end

-- Each key's records are there from 1 to `calls`, in this order.
local function expect_in_order(records, writers)
  local last = {}
  for _, record in ipairs(records) do
    local key, number = record.data:match "^(.*): (%d+)$"
    assert.equal(key, record.partition_key)
    assert.equal((last[key] or 0) + 1, tonumber(number), key)
    last[key] = tonumber(number)
  end
  for i, writer in ipairs(writers) do
    for key = 1, writer[1] do
      assert.equal(writer[2], last[("writer %d key %d"):format(i, key)])
    end
  end
end

local function expect_parents_first(shards, records)
  local first, last = {}, {}
  for i, record in ipairs(records) do
    first[record.shard_id] = first[record.shard_id] or i
    last[record.shard_id] = i
  end
  local by_id, checked = {}, 0
  for _, shard in ipairs(shards) do
    by_id[shard.id] = shard
  end
  local function check_behind(shard, ancestor)
    if first[shard.id] and last[ancestor.id] then
      assert.is_true(last[ancestor.id] < first[shard.id], ancestor.id .. " was read behind its child " .. shard.id)
      checked = checked + 1
    end
    for _, id in ipairs { ancestor.parent_id or false, ancestor.adjacent_parent_id or false } do
      if id then
        check_behind(shard, by_id[id])
      end
    end
  end
  for _, shard in ipairs(shards) do
    for _, id in ipairs { shard.parent_id or false, shard.adjacent_parent_id or false } do
      if id then
        check_behind(shard, by_id[id])
      end
    end
  end
  return checked
end

local function total(writers)
  local sum = 0
  for _, writer in ipairs(writers) do
    sum = sum + writer[1] * writer[2]
  end
  return sum
end

-- Splits the first shard, then merges its upper half with the second shard: a child with a child.
local function reshard(client, stream)
  local before = open_shards(client, stream)
  split(client, stream, before[1])
  local upper
  for _, shard in ipairs(open_shards(client, stream)) do
    if shard.parent_id == before[1].id and shard.starting_hash_key ~= before[1].starting_hash_key then
      upper = shard
    end
  end
  merge(client, stream, upper.id, before[2].id)
end

local function fill(client, stream, first, last)
  for call = first, last do
    local entries = {}
    for key = 1, 20 do
      local name = "writer 1 key " .. key
      entries[key] = { data = name .. ": " .. call, partition_key = name }
    end
    local _, failed = client:put_many(stream, entries)
    assert.equal(0, failed)
  end
end

-- keys and calls of each writer: 600 and 5,000 records
local SMALL, LARGE = { { 20, 10 }, { 20, 10 }, { 20, 10 } }, { { 100, 17 }, { 100, 17 }, { 100, 16 } }

describe("thousands of records over 8 shards from 3 processes", function()
  local service = fresh.services[2]
  local writers = LESS and SMALL or LARGE
  local client

  setup(function()
    client = fresh.client(service)
  end)

  teardown(function()
    client:close()
  end)

  it("are read once, in order for each key, while the writers run", function()
    local stream = fresh.stream(client, 8, "writers")
    local children = start_writers(service, stream, writers, 0)
    local reader = client:shards(stream):records { limit = total(writers), idle_timeout = 20, poll_interval = 0.2 }
    local records = {}
    for record in reader do
      records[#records + 1] = record
    end
    expect_written(children)
    assert.equal(total(writers), #records)
    expect_in_order(records, writers)
    assert.same({}, fresh.read(client, stream, { from = reader:position() }))
  end)
end)

for _, service in ipairs(fresh.services) do
  describe("a split and a merge on " .. service.name, function()
    -- kinesis-local becomes slower with every record that it stores
    local writers = (service.children or LESS) and SMALL or LARGE
    local client

    setup(function()
      client = fresh.client(service)
    end)

    teardown(function()
      client:close()
    end)

    it("in the middle lose no record, and keep the order of each key", function()
      local stream = fresh.stream(client, service.children and 3 or 8, "reshard")
      local known = client:shards(stream)
      local children = start_writers(service, stream, writers, 3)
      local limit = total(writers)
      local reader = known:records { limit = limit, idle_timeout = 20, poll_interval = 0.2 }
      local records = {}
      for record in reader do
        records[#records + 1] = record
        if #records == math.floor(limit / 4) then
          reshard(client, stream)
        end
      end
      expect_written(children)
      assert.equal(limit, #records)
      expect_in_order(records, writers)
      local shards = client:shards(stream)
      assert.equal(#known + 3, #shards)
      assert.is_true(expect_parents_first(shards, records) >= 3)
      assert.same({}, fresh.read(client, stream, { from = reader:position() }))
    end)

    it("are seen in the list of shards", function()
      local stream = fresh.stream(client, 2, "list")
      reshard(client, stream)
      local shards, by_id = client:shards(stream), {}
      assert.equal(5, #shards)
      for _, shard in ipairs(shards) do
        by_id[shard.id] = shard
      end
      local closed, merged = 0, nil
      for _, shard in ipairs(shards) do
        closed = closed + (shard.closed and 1 or 0)
        merged = shard.adjacent_parent_id and shard or merged
      end
      assert.equal(3, closed)
      assert.is_false(merged.closed)
      assert.is_true(by_id[merged.parent_id].closed)
      assert.is_true(by_id[merged.adjacent_parent_id].closed)
    end)

    it("are crossed by position(), from a fresh list of shards and from an old one", function()
      local stream = fresh.stream(client, 2, "position")
      local old = client:shards(stream)
      local one_writer = { { 20, 6 } }
      fill(client, stream, 1, 3)
      reshard(client, stream)
      fill(client, stream, 4, 6)
      for _, stop in ipairs(LESS and { 0, 61 } or { 0, 1, 45, 60, 61, 120 }) do
        for _, list in ipairs { old, client:shards(stream) } do
          local reader = list:records { stop_at_tip = true, poll_interval = 0.2, idle_timeout = 10 }
          local records = {}
          while #records < stop do
            records[#records + 1] = assert(reader())
          end
          local position = reader:position()
          reader:close()
          for _, record in ipairs(fresh.read(client, stream, { from = position, idle_timeout = 10 })) do
            records[#records + 1] = record
          end
          assert.equal(120, #records, ("%d were read before"):format(stop))
          expect_in_order(records, one_writer)
          assert.is_true(expect_parents_first(client:shards(stream), records) >= 3)
        end
      end
    end)

    it("are followed by a reader that began at the tip: children from their beginning", function()
      -- several times, as much depends on which of two parents ends first, and when
      for _ = 1, (service.children or LESS) and 1 or 5 do
        local stream = fresh.stream(client, 2, "latest")
        fill(client, stream, 1, 2)
        local reader = client:shards(stream):records {
          from = "latest", limit = 80, idle_timeout = 20, poll_interval = 0.2,
        }
        fill(client, stream, 3, 4)
        reshard(client, stream)
        fill(client, stream, 5, 6)
        local seen = {}
        for record in reader do
          assert.is_nil(seen[record.data])
          seen[record.data] = true
        end
        for key = 1, 20 do
          for call = 3, 6 do
            assert.is_true(seen[("writer 1 key %d: %d"):format(key, call)])
          end
        end
      end
    end)

    it("end the reader of a single shard", function()
      local stream = fresh.stream(client, 2, "single")
      local shard = client:shards(stream)[1]
      fill(client, stream, 1, 2)
      local reader = shard:records { idle_timeout = 20, poll_interval = 0.2 }
      assert.is_truthy(reader())
      reshard(client, stream)
      fill(client, stream, 3, 4)
      local count = 1
      for record in reader do
        assert.equal(shard.id, record.shard_id)
        count = count + 1
      end
      assert.is_true(count > 1 and count < 40)
      assert.same({ [shard.id] = "shard_end" }, reader:position().shards)
    end)
  end)
end

-- ---- random sequences ----

-- Splits a shard at a random place, or merges two neighbours.
local function reshard_at_random(client, stream, random)
  local open = open_shards(client, stream)
  table.sort(open, function(a, b)
    return ("%39s"):format(a.starting_hash_key) < ("%39s"):format(b.starting_hash_key)
  end)
  local at = random(#open)
  if #open < 2 or #open < 6 and random(2) == 1 then
    local shard = open[at]
    local half = random(2) == 1 and shard
      or { starting_hash_key = shard.starting_hash_key, ending_hash_key = resharding.middle(shard) }
    assert(client:call("SplitShard", { StreamName = stream, ShardToSplit = shard.id,
      NewStartingHashKey = resharding.middle(half) }))
    fresh.active(client, stream)
  else
    at = math.min(at, #open - 1)
    merge(client, stream, open[at].id, open[at + 1].id)
  end
end

-- Writes, reshards and reads a stream side by side: three tasks for kinesis.run. finish() checks what was read.
local function sequence(client, seed, changes)
  local random = randoms.new(seed)
  local stream = fresh.stream(client, random(3), "random")
  local reader = client:shards(stream):records { poll_interval = 0.2, idle_timeout = 60 }
  local keys, calls, changed, records = 20, 0, false, {}
  local function write()
    repeat
      calls = calls + 1
      local last, entries = changed, {}
      for key = 1, keys do
        local name = "writer 1 key " .. key
        entries[key] = { data = ("%s: %d"):format(name, calls), partition_key = name }
      end
      local _, failed = client:put_many(stream, entries)
      assert(failed == 0, "a record was not stored")
      kinesis.sleep(0.05)
    until last -- a call began behind the last change
    fresh.eventually(function()
      return #records >= calls * keys
    end)
    reader:stop()
  end
  local function change()
    for _ = 1, changes do
      kinesis.sleep(random(100) / 1000)
      reshard_at_random(client, stream, random)
    end
    changed = true
  end
  local function read()
    for record in reader do
      records[#records + 1] = record
    end
  end
  local function finish()
    assert.equal(calls * keys, #records)
    expect_in_order(records, { { keys, calls } })
    assert.is_true(expect_parents_first(client:shards(stream), records) > 0)
    assert.same({}, fresh.read(client, stream, { from = reader:position() }))
  end
  local function with_seed(part)
    return function()
      local good, err = pcall(part)
      assert(good, ("seed %d: %s"):format(seed, tostring(err)))
    end
  end
  return { with_seed(write), with_seed(change), with_seed(read) }, with_seed(finish)
end

for _, service in ipairs(fresh.services) do
  describe("splits and merges at random on " .. service.name, function()
    it("lose no record, and keep the order of keys and of parents and children", function()
      local client = fresh.client(service)
      local count = os.getenv "SPEC_FULL" and 10 or (service.children or LESS) and 1 or 2
      local tasks, finishes = {}, {}
      for i = 1, count do
        local three, finish = sequence(client, randoms.seed(i), os.getenv "SPEC_FULL" and 12 or 5)
        for _, task in ipairs(three) do
          tasks[#tasks + 1] = task
        end
        finishes[i] = finish
      end
      kinesis.run((table.unpack or unpack)(tasks))
      for _, finish in ipairs(finishes) do
        finish()
      end
      client:close()
    end)
  end)
end
