-- The window of a worker, which its shards share.
local core = require "kinesis.core"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local readers = require "kinesis.reader"
local schema = require "kinesis.options"
local working = require "support.working"

local SHARDS, KB = 16, 1000
local WINDOW = 2 * 1024 * 1024 -- an even part of it is 128 KiB

describe("the window of a worker", function()
  local client, stream, ids

  before_each(function()
    client = fresh.client(working.service)
    stream = fresh.stream(client, SHARDS)
    ids = {}
    for i, shard in ipairs(assert(client:shards(stream))) do
      ids[i] = shard.id
    end
  end)

  after_each(function()
    client:close()
  end)

  -- Puts so many records of 10 kB into one shard.
  local function fill(shard, count)
    local hash_key = client:shards(stream)[shard].starting_hash_key
    local records = {}
    for i = 1, count do
      records[i] = { data = i .. (" "):rep(10 * KB), partition_key = "key", explicit_hash_key = hash_key }
    end
    for first = 1, count, 100 do
      local part = { (table.unpack or unpack)(records, first, math.min(count, first + 99)) }
      local _, failed = client:put_many(stream, part)
      assert.equal(0, failed)
    end
  end

  it("is for the one shard that has records", function()
    fill(5, 300) -- 3 MB
    local worker, count = working.open(client, stream, { window = WINDOW }), 0
    local shards
    assert(worker:run(function()
      count = count + 1
      if count == 300 then
        shards = worker:stats().shards
        worker:stop()
      end
    end))
    -- even parts take 33 calls or more: five a second
    assert.is_true(shards[ids[5]].calls <= 20, shards[ids[5]].calls .. " calls")
  end)

  it("is not held by a shard whose handler does not return", function()
    fill(1, 200)
    for i = 2, SHARDS do
      fill(i, 20)
    end
    local worker, others, released = working.open(client, stream, { window = WINDOW }), 0, false
    local held, good = 0, nil
    kinesis.run(function()
      good = worker:run(function(_, shard)
        if shard.id == ids[1] then
          held = held + 1
          while not released do
            kinesis.sleep(0.05)
          end
        else
          others = others + 1
        end
      end)
    end, function()
      fresh.eventually(function()
        return others == 20 * (SHARDS - 1)
      end, 20)
      assert.equal(1, held)
      worker:stop()
      released = true
    end)
    assert.is_true(good)
  end)

  it("lives as long as its handle and its readers", function()
    local function open(pool)
      local options = schema.check("records", {}, 1)
      options.window_pool = pool
      return readers.open(client, stream, client:shards(stream), options, false)
    end
    local pool = core.window_pool(WINDOW)
    local first = open(pool)
    pool:close()
    pool:close()
    fill(1, 20)
    for _ = 1, 10 do
      assert(first())
    end
    first:close() -- with pages that were not taken
    local handles = { core.window_pool(WINDOW) }
    local second, third = open(handles[1]), open(handles[1])
    handles[1] = nil
    collectgarbage()
    assert(second())
    second:close()
    for _ = 1, 20 do
      assert(third())
    end
    third:close()
    assert.is_false(pcall(open, client.core))
  end)
end)
