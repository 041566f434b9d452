-- A position is saved anywhere, as JSON, and a new reader goes on from it: nothing is lost, nothing comes twice.
-- Flavours: *lua5.4 *luajit
local canned = require "support.canned"
local cjson = require "cjson"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local randoms = require "support.random"

local unpack = table.unpack or unpack

local LESS = os.getenv "SPEC_LESS" ~= nil

local function is_at_end(check)
  return (check:is_complete())
end

-- Reads a few records with a new reader; returns the position behind them, as a program that has stored it has it.
local function read_on(shards, check, random, from)
  local take, chosen = unpack(canned.ways[random(#canned.ways)])
  local options, most, left_open = { from = from, poll_interval = 0.2, idle_timeout = 20 }, random(10), random(2) == 1
  for name, value in pairs(chosen) do
    options[name] = value
  end
  if random(4) > 1 then
    options.limit = most
  end
  local reader, got = shards:records(options), 0
  while got < most and not is_at_end(check) do
    local count = take(check, reader)
    if not count then
      assert(got == most or options.limit == most, "the reader has ended early")
      break
    end
    got = got + count
  end
  local position = left_open and reader:position()
  reader:close()
  position = position or reader:position()
  return cjson.decode(cjson.encode(position))
end

-- One pass over the stream, with a new reader after every few records. Returns how many readers there were.
local function pass(stream, client, seed)
  local shards, check, random = client:shards(stream.name), stream:check(), randoms.new(seed)
  local readers, position = 0, nil
  repeat
    position = read_on(shards, check, random, position)
    readers = readers + 1
  until is_at_end(check)
  -- the last position is behind everything
  for _ in shards:records { from = position, stop_at_tip = true, poll_interval = 0.2 } do
    error "something comes twice"
  end
  return readers
end

describe("a position at any point", function()
  for what, options in pairs {
    ["of a stream"] = { page = 4 },
    ["of a stream that says nothing that it may leave out"] = { page = 9, nulls = true, bogus_end = true },
  } do
    it(what .. " is gone on from by new readers, five hundred times", function()
      local stream = canned.stream(2026, LESS and 200 or 2000, options.page, options)
      local client = stream.client()
      local points, passes, tasks, failures = 0, 0, {}, {}
      local function read_again()
        passes = passes + 1
        local seed = randoms.seed(passes)
        local good, result = pcall(pass, stream, client, seed)
        points = points + (good and result or 0)
        failures[#failures + 1] = not good and ("seed %d: %s"):format(seed, tostring(result)) or nil
      end
      for i = 1, 6 do
        tasks[i] = function()
          while points < (LESS and 20 or 500) and #failures == 0 do
            read_again()
          end
        end
      end
      kinesis.run(unpack(tasks))
      client:close()
      assert.same({}, failures)
    end)
  end
end)

-- Reads some records behind a position, prints what they are, and the position in the end.
local RESUMED = [[
local cjson, kinesis = require "cjson", require "kinesis"
local endpoint, stream, most = arg[1], arg[2], tonumber(arg[3])
local client = kinesis.client { endpoint = endpoint, region = "us-east-1",
  credentials = { access_key_id = "a", secret_access_key = "b" } }
local reader = client:shards(stream):records { from = arg[4] ~= "-" and cjson.decode(arg[4]) or nil, limit = most,
  stop_at_tip = most == nil, poll_interval = 0.2, idle_timeout = 20 }
for record in reader do
  print(record.partition_key, record.data)
end
print(cjson.encode(reader:position()))
]]

describe("a position in a file", function()
  local HALF, PROCESSES, FEW, KEYS = 300, 20, 30, 12 -- of the records; a process reads a few

  it("is gone on from by twenty processes, one after the other, across a split", function()
    local service = fresh.services[2]
    local client = fresh.client(service)
    local stream = fresh.stream(client, 2, "file")
    local numbers, lasts, inside, position = {}, {}, 0, nil
    local function produce(first, last)
      local producer = assert(client:producer(stream, { order = "shard" }))
      for i = first, last do
        local key = "key " .. i % KEYS
        numbers[key] = (numbers[key] or 0) + 1
        assert(producer:put(("%d %s"):format(numbers[key], ("x"):rep(i % 50)), key))
      end
      assert.is_true(producer:close())
    end
    local function read(most)
      local child = fresh.lua(RESUMED, nil, service.endpoint, stream, most or "-", position or "-")
      local output, status = child:wait()
      assert.equal(0, status, output)
      for key, number in output:gmatch "(key %d+)\t(%d+) x*\n" do
        assert.equal((lasts[key] or 0) + 1, tonumber(number), key)
        lasts[key] = tonumber(number)
      end
      position = output:match "{.*}"
      inside = inside + (position:find('"sub"', 1, true) and 1 or 0)
    end
    produce(1, HALF)
    for i = 1, PROCESSES - 1 do
      if i == PROCESSES / 2 then
        assert(client:call("SplitShard", { StreamName = stream, ShardToSplit = "shardId-000000000000",
          NewStartingHashKey = "4611686018427387904" }))
        fresh.active(client, stream)
        produce(HALF + 1, 2 * HALF)
      end
      read(FEW - i % 3)
    end
    read()
    for key, number in pairs(numbers) do
      assert.equal(number, lasts[key], key)
    end
    assert.is_true(inside > PROCESSES / 2, inside .. " positions were inside an aggregate")
    client:close()
  end)
end)
