-- Workers in the loop of luv, and beside other functions in kinesis.run.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local fresh = require "support.fresh"

local KINESALITE = fresh.services[2]
local direct, stream, folder

before_each(function()
  direct = fresh.client(KINESALITE)
  stream, folder = fresh.stream(direct, 2, "hosts"), fresh.folder { empty = "" }
  fresh.put_numbers(direct, stream, 1, 20)
end)

after_each(function()
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
end)

-- Starts a script in which `client` and `open(application, more)` are there.
local function start(source)
  return fresh.lua([[
    io.stdout:setvbuf "line"
    local cjson, kinesis = require "cjson", require "kinesis"
    local at = cjson.decode(arg[1])
    local client = kinesis.client {
      endpoint = at.endpoint, region = "us-east-1", credentials = { access_key_id = "A", secret_access_key = "s" },
    }
    local function open(application, more)
      local options = { path = at.folder, take_interval = 1, poll_interval = 0.2, checkpoint_interval = 0.2 }
      for name, value in pairs(more or {}) do
        options[name] = value
      end
      return assert(client:worker(at.stream, application or "counter", options))
    end
  ]] .. source, nil, cjson.encode { endpoint = KINESALITE.endpoint, stream = stream, folder = folder })
end

local function run(source)
  local output, status = start(source):wait()
  assert.equal(0, status, output)
  return output
end

-- The owners of the leases of an application, and the number of checkpoints that are sequence numbers.
local function leases(application)
  local file = assert(io.open(("%s/%s.json"):format(folder, application or "counter")))
  local owners, count = {}, 0
  for _, row in pairs(cjson.decode(file:read "*a").leases) do
    owners[#owners + 1] = row.owner
    count = count + (row.checkpoint:find "^%d" and 1 or 0)
  end
  file:close()
  return owners, count
end

describe("a worker in luv", function()
  it("runs in a coroutine while timers go on, waits in its handler, and stops in a handler of a signal", function()
    local child = start [[
      local uv = require "luv"
      local ticks, count = 0, 0
      local timer, signal = uv.new_timer(), uv.new_signal()
      timer:start(0, 10, function() ticks = ticks + 1 end)
      local worker = open()
      signal:start("sigterm", function() worker:stop() end)
      coroutine.wrap(function()
        local good, err = worker:run(function(record)
          assert(client:put(at.stream .. "-absent", "x") == nil)
          kinesis.sleep(0.01)
          count = count + 1
          if count == 20 then print(("%d"):format(uv.os_getpid())) end
        end)
        print(good, err, count, ticks > 10)
        timer:close() signal:close()
      end)()
      uv.run()
      print "over"
    ]]
    local pid = child:line()
    fresh.spawn("kill -TERM " .. pid):wait()
    local output, status = child:wait()
    assert.equal("true\tnil\t20\ttrue\nover\n", output)
    assert.equal(0, status)
    assert.same({ {}, 2 }, { leases() })
  end)

  it("is a loop over the records, too", function()
    local output = run [[
      local uv = require "luv"
      coroutine.wrap(function()
        local worker, count = open(), 0
        for record, shard in worker:records() do
          assert(record.shard_id == shard.id)
          count = count + 1
          if count == 20 then worker:stop() end
        end
        print(count)
      end)()
      uv.run()
      print "over"
    ]]
    assert.equal("20\nover\n", output)
    assert.same({ {}, 2 }, { leases() })
  end)

  it("keeps the loop no longer than it runs, with another worker beside it", function()
    local output = run [[
      local uv = require "luv"
      for _, application in ipairs { "a", "b" } do
        coroutine.wrap(function()
          local worker, count = open(application), 0
          assert(worker:run(function()
            count = count + 1
            if count == 20 then worker:stop() end
          end))
          print(count)
        end)()
      end
      uv.run()
      print "over"
    ]]
    assert.equal("20\n20\nover\n", output)
    assert.same({ {}, 2 }, { leases "a" })
    assert.same({ {}, 2 }, { leases "b" })
  end)

  it("ends with the error of its handler", function()
    local output = run [[
      local uv = require "luv"
      coroutine.wrap(function()
        print(open():run(function() error "no disk" end))
      end)()
      uv.run()
      print "over"
    ]]
    assert.matches("^nil\t[^\n]*no disk\nstack traceback:.*\nover\n$", output)
    assert.same({ {}, 0 }, { leases() })
  end)

  it("says in a callback that it needs a coroutine", function()
    local output = run [[
      local uv = require "luv"
      local timer = uv.new_timer()
      timer:start(0, 0, function()
        timer:close()
        print(pcall(function() return open():run(function() end) end))
      end)
      uv.run()
      print "over"
    ]]
    assert.matches("make it in a coroutine: coroutine.wrap", output, 1, true)
    assert.matches("over\n$", output)
  end)
end)

describe("a worker in kinesis.run", function()
  it("runs beside a producer and another worker, and its handler puts and sleeps", function()
    local output = run [[
      local seen, workers = { a = 0, b = 0 }, {}
      local function run(application)
        workers[application] = open(application)
        assert(workers[application]:run(function(record)
          kinesis.sleep(0.001)
          if application == "a" and #record.data < 3 and tonumber(record.data) <= 20 then
            assert(client:put(at.stream, "again " .. record.data))
          end
          seen[application] = seen[application] + 1
        end))
      end
      kinesis.run(function() run "a" end, function() run "b" end, function()
        local producer = assert(client:producer(at.stream))
        for i = 21, 40 do assert(producer:put(tostring(i))) kinesis.sleep(0.01) end
        assert(producer:close())
        while seen.a < 60 or seen.b < 60 do kinesis.sleep(0.01) end
        workers.a:stop() workers.b:stop()
      end)
      print(seen.a, seen.b)
    ]]
    assert.equal("60\t60\n", output)
    assert.same({ {}, 2 }, { leases "a" })
    assert.same({ {}, 2 }, { leases "b" })
  end)

  it("is stopped by another function while it waits", function()
    local output = run [[
      local worker, count = open(), 0
      kinesis.run(function()
        print(worker:run(function() count = count + 1 end))
      end, function()
        while count < 20 do kinesis.sleep(0.01) end
        worker:stop()
        print "stopped"
      end)
    ]]
    assert.equal("stopped\ntrue\n", output)
    assert.same({ {}, 2 }, { leases() })
  end)

  it("waits in its handler without kinesis.run, too", function()
    local output = run [[
      local worker, count = open(), 0
      print(worker:run(function()
        kinesis.sleep(0.001)
        assert(client:put(at.stream .. "-absent", "x") == nil)
        count = count + 1
        if count == 20 then worker:stop() end
      end))
    ]]
    assert.equal("true\n", output)
    assert.same({ {}, 2 }, { leases() })
  end)
end)
