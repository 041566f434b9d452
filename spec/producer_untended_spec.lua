-- A producer without attention: a script that only puts, dropped receipts, handlers that wait, any order of ends.
local core = require "kinesis.core"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local sanitized = os.getenv("BUILD_FLAVOUR"):find("^[at]san") ~= nil
local HANGS = { stall = 30, always = true }

local direct, stream

setup(function()
  direct = fresh.client(fresh.services[2])
  stream = fresh.stream(direct, 1, "untended")
end)

teardown(function()
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
end)

-- A child's script with `client_of(endpoint, options)`; its arguments are an endpoint and the stream.
local function script(body, endpoint)
  return fresh.lua([[
    local kinesis, core = require "kinesis", require "kinesis.core"
    local function client_of(endpoint, more)
      local options = { endpoint = endpoint, region = "us-east-1", max_attempts = 1,
        credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } }
      for name, value in pairs(more or {}) do options[name] = value end
      return assert(kinesis.client(options))
    end
    local endpoint, stream = arg[1], arg[2]
  ]] .. body, nil, endpoint or fresh.services[2].endpoint, stream):wait()
end

describe("keys of a provider", function()
  local function client_with_provider()
    return fresh.client(fresh.services[2], { credentials = function()
      return fresh.keys
    end })
  end

  it("are fetched for a script that only puts", function()
    local client = client_with_provider()
    local producer = assert(client:producer(stream, { linger = 0 }))
    fresh.eventually(function()
      assert(producer:put("x", "key"))
      return producer:stats().stored > 0
    end)
    producer:close()
    client:close()
  end)

  for name, run in pairs { ["a script"] = function(f) f() end, ["kinesis.run"] = kinesis.run } do
    it("are fetched for " .. name .. " that puts once and sleeps", function()
      local client = client_with_provider()
      local producer = assert(client:producer(stream))
      run(function()
        assert(producer:put("x", "key"))
        fresh.eventually(function()
          return producer:stats().stored > 0
        end)
      end)
      producer:close()
      client:close()
    end)
  end
end)

describe("on_failure", function()
  it("is not called inside itself when it waits, and is told of all", function()
    local client = fresh.client(fresh.services[2])
    local depth, deepest, calls = 0, 0, 0
    local producer = assert(client:producer("never-was", {
      aggregate = false, batch_records = 1, linger = 0, on_failure = function(record)
        calls, depth = calls + 1, depth + 1
        deepest = math.max(deepest, depth)
        assert(client:put(stream, record.data, "key"))
        depth = depth - 1
      end,
    }))
    for i = 1, 300 do
      assert(producer:put("record " .. i, "key"))
    end
    assert(producer:flush())
    assert(producer:close())
    client:close()
    assert.equal(1, deepest)
    assert.equal(300, calls)
  end)

  it("is told of the others when the run that it waited in was ended under it", function()
    local client, told = fresh.client(fresh.services[2]), {}
    local producer = assert(client:producer("never-was", { aggregate = false, on_failure = function(record)
      told[#told + 1] = record.data
      if #told == 1 then
        kinesis.sleep(30)
      end
    end }))
    for i = 1, 3 do
      assert(producer:put("record " .. i, "key"))
    end
    while producer:stats().failed < 3 do -- they are not reported yet
    end
    assert.is_false((pcall(kinesis.run, function()
      producer:flush()
    end, function()
      while #told == 0 do
        kinesis.sleep(0.01)
      end
      error "stop"
    end)))
    assert(producer:close())
    table.sort(told)
    assert.same({ "record 1", "record 2", "record 3" }, told)
    client:close()
  end)

  it("is told of a failed record whose receipt was dropped without a look", function()
    local client, told = fresh.client(fresh.services[2]), {}
    local producer = assert(client:producer("never-was", { on_failure = function(record)
      told[#told + 1] = record.data
    end }))
    local receipt = assert(producer:send("failed, then dropped", "key"))
    assert(producer:flush())
    assert.same({}, told)
    assert.is_truthy(receipt)
    receipt = nil -- luacheck: ignore
    fresh.collect()
    assert(producer:close())
    assert.same({ "failed, then dropped" }, told)
    client:close()
  end)
end)

describe("close", function()
  it("by two coroutines lets neither go before all is settled", function()
    local scope = faults.open({ PutRecords = { { gate = true } } }, { service = "kinesalite" })
    local client = scope:client()
    local producer = assert(client:producer(stream, { linger = 0 }))
    assert(producer:put("x", "key"))
    local open = {}
    local function close()
      assert(producer:close())
      open[#open + 1] = producer:stats().open
    end
    kinesis.run(close, close, function()
      while #scope:seen "PutRecords" == 0 do
        kinesis.sleep(0.01)
      end
      assert.same({}, open)
      scope:open_gate()
    end)
    assert.same({ 0, 0 }, open)
    client:close()
  end)

  it("again, after the first one was cut short by an error of another task, hands back what is lost", function()
    local client = faults.open({ PutRecords = { HANGS }, ListShards = { HANGS } }, { service = "kinesalite" }):client()
    local producer = assert(client:producer(stream, { linger = 0 }))
    assert(producer:put("x", "key"))
    assert.is_false((pcall(kinesis.run, function()
      producer:close()
    end, function()
      kinesis.sleep(0.05)
      error "stop"
    end)))
    local done, err, lost = producer:close(0.1)
    assert.is_nil(done)
    assert.equal("Closed", err.code)
    assert.equal("x", lost[1].data)
    client:close()
  end)

  it("of the client first frees what its producers held", function()
    if sanitized then
      pending "a sanitizer keeps what was freed for a while"
      return
    end
    local output = script [[
      local data = ("x"):rep(200000)
      local function memory()
        local file = assert(io.open "/proc/self/status")
        local text = file:read "*a"
        file:close()
        return tonumber(text:match "VmRSS:%s*(%d+)") / 1024
      end
      local function once(closes)
        local client = client_of "http://127.0.0.1:9"
        local producer = assert(client:producer("s", { linger = 60, exit_timeout = 0 }))
        for i = 1, 20 do assert(producer:put(data, "key")) end
        client:close()
        if closes then assert(#select(3, producer:close()) == 20) end
      end
      local function rounds(count)
        for i = 1, count do once(i % 2 == 0) collectgarbage() collectgarbage() end
      end
      rounds(10)
      local before = memory()
      rounds(30)
      print("grown by", memory() - before)
    ]]
    assert.is_true(tonumber(output:match "grown by%s+(%S+)") < 20, output) -- they held 120 MB
  end)
end)

describe("the end of a process", function()
  it("takes exit_timeout once, however many producers there are", function()
    local began = core.now()
    local output, status = script([[
      local client, all = client_of(endpoint), {}
      for i = 1, 5 do
        all[i] = assert(client:producer("s" .. i, { exit_timeout = 0.5 }))
        assert(all[i]:put("x", "key"))
      end
      os.exit(0)
    ]], "http://127.0.0.1:9")
    assert.equal(0, status)
    assert.equal(5, select(2, output:gsub("1 record for s%d was not delivered", "")))
    assert.is_true(core.now() - began < 2.4, output)
  end)
end)

describe("in luv, a producer", function()
  local GUARD = [[
    local uv = require "luv"
    uv.new_timer():start(10000, 0, function() print "never told" os.exit(1, false) end)
  ]]

  it("answers coroutines after the main chunk has waited", function()
    assert.equal("stored\ttrue\n", (script(GUARD .. [[
      local client = client_of(endpoint)
      local producer = assert(client:producer(stream))
      assert(producer:put("before the loop", "key"))
      assert(producer:flush())
      coroutine.wrap(function()
        print("stored", assert(assert(producer:send("in the loop", "key")):wait()).shard_id ~= nil)
        os.exit(0, false)
      end)()
      uv.run()
    ]])))
  end)

  it("tells on_failure after the main chunk has made a call", function()
    assert.equal("told of\tx\n", (script(GUARD .. [[
      local client = client_of(endpoint)
      local producer = assert(client:producer("never-was", { on_failure = function(record)
        print("told of", record.data)
        os.exit(0, false)
      end }))
      assert(client:call "ListStreams")
      uv.new_timer():start(50, 0, function() assert(producer:put("x", "key")) end)
      uv.run()
    ]])))
  end)

  it("is flushed without end by math.huge, and closed after a close that could not wait", function()
    assert.equal("true\nfalse\ntrue\t0\n", (script(GUARD .. [[
      local client = client_of(endpoint)
      local producer = assert(client:producer(stream))
      coroutine.wrap(function()
        assert(producer:put("x", "key"))
        print(producer:flush(math.huge))
        assert(producer:put("y", "key"))
        uv.new_timer():start(0, 0, function()
          print((pcall(producer.close, producer)))
          coroutine.wrap(function()
            print(producer:close(), producer:stats().open)
            os.exit(0, false)
          end)()
        end)
      end)()
      uv.run()
    ]])))
  end)
end)

describe("a fork in the middle of", function()
  for verb, said in pairs { flush = "nil Forked\n", close = "true nil\n" } do
    it(verb .. " is told to the child's coroutine", function()
      if sanitized then
        pending "a sanitizer's malloc, locked by a thread that the child does not have, stays locked there"
        return
      end
      local scope = faults.open({ PutRecords = { HANGS } }, { service = "kinesalite" })
      local output = script([[
        local client = client_of(endpoint)
        local producer = assert(client:producer(stream, { linger = 0, exit_timeout = 0 }))
        assert(producer:put("x", "key"))
        local function pid()
          local file = io.open "/proc/self/stat"
          local line = file:read "*l"
          file:close()
          return line:match "^%d+"
        end
        local parent = pid()
        kinesis.run(function()
          kinesis.sleep(0.1)
          if jit then
            local ffi = require "ffi"
            ffi.cdef "int fork(void);"
            ffi.C.fork()
          else
            assert(package.loadlib("libc.so.6", "fork"))()
          end
          if pid() == parent then os.execute "sleep 0.3" os.exit(0, false) end
        end, function()
          local done, err = producer.]] .. verb .. [[(producer, 30)
          if pid() ~= parent then
            print(tostring(done) .. " " .. tostring(err and err.code))
            os.exit(0, false)
          end
        end)
      ]], scope.url)
      assert.equal(said, output:gsub("kinesis: [^\n]*\n", ""))
    end)
  end
end)
