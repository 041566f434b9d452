-- Kept connections that die while they are idle: the attempt after the first failure opens a new connection.
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local COUNT = 8

local function start(mode, life)
  local service = fresh.python("dying.py", nil, COUNT, mode, life or 3600)
  service.pid = service:line()
  return service, "http://127.0.0.1:" .. service:line()
end

for _, mode in ipairs { "silent", "reset" } do
  describe("when all kept connections are dead (" .. mode .. ")", function()
    local service, url, client

    before_each(function()
      service, url = start(mode)
    end)

    after_each(function()
      client:close()
      service:signal "TERM"
      service:wait()
    end)

    -- A client with COUNT kept connections, which are dead.
    local function keep(options)
      local given = { request_timeout = 0.4 }
      for name, value in pairs(options or {}) do
        given[name] = value
      end
      client = fresh.client(url, given)
      local puts = {}
      for i = 1, COUNT do
        puts[i] = function()
          assert(client:put("stream", "data", "key"))
        end
      end
      kinesis.run((table.unpack or unpack)(puts))
    end

    -- How many requests came on dead connections, of an operation or of any.
    local function count_dead(operation)
      local asking, count = fresh.client(url), 0
      for _, each in ipairs(assert(asking:call("TellDead", {})).operations) do
        count = count + ((not operation or each == operation) and 1 or 0)
      end
      asking:close()
      return count
    end

    it("a call meets one of them, and later calls none", function()
      keep()
      for _ = 1, COUNT + 2 do
        assert(client:put("stream", "data", "key"))
      end
      assert.equal(1, count_dead())
    end)

    it("a call meets one of them, when its own deadline ends it", function()
      keep { request_timeout = 5, call_timeout = 0.3 }
      if mode == "silent" then
        assert.is_nil(client:put("stream", "data", "key"))
      end
      assert(client:put("stream", "data", "key"))
      assert.equal(1, count_dead())
    end)

    it("put_many meets one of them", function()
      keep()
      local results, failed = client:put_many("stream", { { data = "a" }, { data = "b" } })
      assert.equal(0, failed, tostring(results))
      assert.equal(1, count_dead())
    end)

    it("a producer meets one of them at each of its first requests", function()
      keep()
      local producer = client:producer("stream", { linger = 0, exit_timeout = 0 })
      for i = 1, 3 do
        assert(producer:put("data " .. i, "key"))
        assert(producer:flush(10))
      end
      producer:close()
      -- the map and the summary of the stream are asked for at once
      assert.is_true(count_dead "PutRecords" <= 1)
      assert.is_true(count_dead() <= 3)
    end)

    it("a reader meets one of them", function()
      keep()
      local reader = client:shards("stream"):records { stop_at_tip = true }
      assert.is_nil(reader:next())
      assert.equal(1, count_dead())
    end)

    it("a subscription meets one of them", function()
      keep()
      for _ in client:subscribe_to_shard { ConsumerARN = "arn:x", ShardId = "s",
        StartingPosition = { Type = "LATEST" } } do
        error "there are no events"
      end
      assert.equal(1, count_dead())
    end)
  end)
end

describe("when all kept connections are dead", function()
  it("a request for credentials meets one of them at most, and so do later calls", function()
    local source = [[
      local kinesis = require "kinesis"
      local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1" })
      local puts = {}
      for i = 1, 8 do puts[i] = function() assert(client:put("stream", "data", "key")) end end
      kinesis.run((table.unpack or unpack)(puts))
      kinesis.sleep(4.1) -- until the first credentials have expired
      local stored, err = client:put("stream", "data", "key")
      print(stored and "stored" or err)
    ]]
    local service, url = start("silent", 4)
    local output = fresh.lua(source, { AWS_CONTAINER_CREDENTIALS_FULL_URI = url .. "/credentials" }, url):wait()
    local asking = fresh.client(url)
    local dead = { GET = 0, PutRecord = 0 }
    for _, operation in ipairs(assert(asking:call("TellDead", {})).operations) do
      dead[operation] = dead[operation] + 1
    end
    asking:close()
    service:signal "TERM"
    service:wait()
    assert.equal("stored\n", output)
    -- the request for credentials comes first; on a loaded machine it has come before the connections were dead
    assert.is_true(dead.GET <= 1 and dead.PutRecord <= 1 - dead.GET, dead.GET .. " and " .. dead.PutRecord)
  end)
end)

it("a kept connection of HTTP/2 whose stream fails is not used again", function()
  local fine = { body = "" }
  local scope = faults.open({ SubscribeToShard = { fine, fine, { stall = 5 }, fine, fine } }, { tls = true })
  local client = scope:client { request_timeout = 1 }
  local function subscribe()
    for _ in client:subscribe_to_shard { ConsumerARN = "arn:x", ShardId = "s",
      StartingPosition = { Type = "LATEST" } } do
      error "there are no events"
    end
  end
  subscribe()
  subscribe()
  subscribe() -- its first attempt fails
  kinesis.sleep(2.1) -- no longer are all connections new ones
  subscribe()
  client:close()
  local on = {}
  for i, seen in ipairs(scope:seen "SubscribeToShard") do
    on[i] = seen.connection
  end
  assert.equal(5, #on)
  assert.same({ on[1], on[1] }, { on[2], on[3] })
  assert.are_not.equal(on[1], on[4])
  assert.are_not.equal(on[1], on[5])
end)

describe("a failure that is the service's", function()
  it("leaves the connection, and the next attempt uses it", function()
    local scope = faults.open { PutRecord = { { code = "InternalFailure", status = 500 }, {} } }
    local client = scope:client()
    client:call("ListStreams", {})
    client:put("stream", "data", "key")
    client:close()
    local seen = scope:seen()
    for i = 2, #seen do
      assert.equal(seen[1].connection, seen[i].connection)
    end
  end)
end)
