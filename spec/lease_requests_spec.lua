-- How many requests a fleet of workers sends to its store, and what they would cost in DynamoDB: real workers and
-- machines, on a fake clock, over the memory store. An operation of the store is one request of DynamoDB, and a list is
-- a Scan, a page for each MiB. Each shard has a record a second.
-- Flavours: *lua5.4
local memory = require "kinesis.store.memory"
local stepped = require "support.stepped_workers"
local stepping = require "support.stepping"
local wait = require "kinesis.wait"

local FULL = os.getenv "SPEC_FULL" ~= nil
local STEP = 0.25 -- seconds
local MINUTE = 60

local ROW = 400 -- bytes of a row, with the names of its attributes
local PAGE = 2 ^ 20

-- What DynamoDB costs on demand in us-east-1, since November 2024: US dollars for a million units. A write of up to
-- 1 KB is a unit; an eventually consistent read is half a unit for each 4 KB.
local WRITE_UNIT, READ_UNIT = 0.625e-6, 0.125e-6
local MINUTES_A_MONTH = 30 * 24 * 60

local options, world

local function shard_list(count)
  local list = {}
  for i = 1, count do
    list[i] = { id = ("shardId-%012d"):format(i - 1), starting_hash_key = tostring(i), ending_hash_key = tostring(i) }
  end
  return list
end

-- Its rate always changes by more than a tenth.
local function open_reader(_, _, list, opened)
  local at, rate = type(opened.from) == "table" and tonumber(opened.from.after) or 0, 1
  local reader = stepped.reader(function()
    wait.sleep(1)
    at = at + 1
    return { sequence_number = ("%.0f"):format(at), data = "" }
  end)
  function reader.stats()
    rate = rate < 1e6 and 2 * rate or 1
    return { shards = { [list[1].id] = { bytes_per_second = rate, calls = 0, throttled = 0, renewals = 0,
      failures = 0 } } }
  end
  return reader
end

-- A request in words.
local function name_of(kind, changes)
  if kind ~= "update" then
    return kind == "list" and "scan" or kind
  elseif changes.owner ~= nil then
    return changes.owner and "take" or "release"
  elseif changes.checkpoint then
    return "checkpoint"
  end
  return changes.wanted_by ~= nil and "ask" or "renewal"
end

local function count(kind, _, _, _, changes)
  local name = name_of(kind, changes)
  world.counts[name] = (world.counts[name] or 0) + 1
end

-- Notes when each record of a shard was processed.
local function note(record, shard)
  local times = world.processed[shard.id] or {}
  world.processed[shard.id], times[tonumber(record.sequence_number)] = times, stepped.now
end

-- The longest time for which a processed record is not behind the checkpoint of its shard.
local function oldest()
  local most = 0
  for key, row in pairs(world.store.list()) do
    local times = world.processed[key:match "[^:]+$"] or {}
    local at = times[(tonumber(row.checkpoint) or 0) + 1]
    most = at and math.max(most, stepped.now - at) or most
  end
  return most
end

-- Starts so many workers in the course of a second.
local function start(workers, shards)
  stepped.now = 1e6
  world = { counts = {}, fleet = {}, shards = shards, store = memory.new(), processed = {}, oldest = 0 }
  stepped.install(shard_list(shards), open_reader, math.random)
  for i = 1, workers do
    local one = { id = ("worker %03d"):format(i), engine = stepping.engine {}, store = world.store, options = options,
      on_question = count, lists_directly = true, handler = note }
    world.fleet[i] = one
  end
end

-- Lets time pass; returns the requests meanwhile, by their kinds.
local function pass(seconds)
  world.counts = {}
  for _ = 1, seconds / STEP do
    stepped.now = stepped.now + STEP
    for i, one in ipairs(world.fleet) do
      if one.worker then
        one.engine:advance(STEP)
        stepped.run(one)
      elseif stepped.now >= 1e6 + i / #world.fleet then
        stepped.start(one)
        stepped.run(one)
      end
    end
    world.oldest = math.max(world.oldest, oldest())
  end
  return world.counts
end

-- The fewest and the most leases of a worker.
local function spread()
  local least, most = math.huge, 0
  for _, one in ipairs(world.fleet) do
    local held = one.worker:count()
    least, most = math.min(least, held), math.max(most, held)
  end
  return least, most
end

-- Dollars a month.
local function cost_of(counts)
  local size = world.shards * ROW
  local pages = math.ceil(size / PAGE)
  local reads = (counts.scan or 0) * math.max(pages, size / 4096) * 0.5 + (counts.get or 0)
  local writes = 0
  for name, number in pairs(counts) do
    writes = writes + (name ~= "scan" and name ~= "get" and number or 0)
  end
  return writes * WRITE_UNIT * MINUTES_A_MONTH, reads * READ_UNIT * MINUTES_A_MONTH
end

local function describe_counts(counts)
  local words = {}
  for name, number in pairs(counts) do
    words[#words + 1] = ("%s %d"):format(name, number)
  end
  table.sort(words)
  return table.concat(words, ", ")
end

local function report(counts)
  local writes, reads = cost_of(counts)
  local format = "    %d workers, %d shards, a minute: %s; a month, on demand in us-east-1: writes $%.2f, reads $%.2f "
    .. "(a row has %d bytes; a million units cost $%.3f and $%.3f)"
  print(format:format(#world.fleet, world.shards, describe_counts(counts), writes, reads, ROW, WRITE_UNIT * 1e6,
    READ_UNIT * 1e6))
end

before_each(function()
  options = { failover = 10, take_interval = 10, checkpoint_interval = 10 } -- the defaults
end)

after_each(function()
  stepped.restore()
  stepping.close_all()
end)

describe("the requests of", function()
  for _, case in ipairs { { 2, 2 }, FULL and { 100, 1000 } or { 10, 100 } } do
    local workers, shards = case[1], case[2]
    it(("%d workers with %d shards are few, and most are renewals"):format(workers, shards), function()
      start(workers, shards)
      local begun = pass(4 * options.take_interval)
      print("    in the first 40 s: " .. describe_counts(begun))
      local counts = pass(MINUTE)
      report(counts)
      local least, most = spread()
      assert.is_true(most - least <= 1, ("%d to %d"):format(least, most))
      local written = (counts.renewal or 0) + (counts.checkpoint or 0)
      assert.is_true(written <= 19 * shards, written .. " writes")
      assert.is_true(counts.scan <= 8 * workers, counts.scan .. " scans")
      assert.is_true(world.oldest <= options.checkpoint_interval + STEP, world.oldest .. " s without a checkpoint")
      for _, name in ipairs { "take", "ask", "release", "get", "create", "delete" } do
        assert.is_nil(counts[name], name)
      end
    end)
  end
end)

describe("the requests of workers that balance by throughput", function()
  it("are no more than of others, and no checkpoint is late", function()
    options.balance = "throughput"
    start(1, 4)
    pass(4 * options.take_interval)
    local counts = pass(10 * MINUTE)
    local written = (counts.renewal or 0) + (counts.checkpoint or 0)
    print("    " .. describe_counts(counts))
    assert.is_true(written <= 10 * 19 * 4, written .. " writes")
    assert.is_true(world.oldest <= options.checkpoint_interval + STEP, world.oldest .. " s without a checkpoint")
  end)
end)

-- stepped.run raises an error when a worker has something to do again and again at the same time.
describe("a worker rests", function()
  it("while a slow store writes a checkpoint, and the next one is due", function()
    options = { failover = 30, take_interval = 30, checkpoint_interval = 20 }
    start(1, 1)
    local update = world.store.update
    function world.store.update(...)
      wait.sleep(15)
      return update(...)
    end
    local counts = pass(2 * MINUTE)
    assert.is_true(counts.checkpoint >= 3, counts.checkpoint .. " checkpoints")
  end)

  for _, interval in ipairs { 0, 3, 4, 6, 7, 60 } do
    it(("between checkpoints of every %d s, none of which is late"):format(interval), function()
      options.checkpoint_interval = interval
      start(1, 4)
      pass(2 * MINUTE)
      assert.is_true(world.oldest <= interval + 2 * STEP, world.oldest .. " s without a checkpoint")
    end)
  end
end)
