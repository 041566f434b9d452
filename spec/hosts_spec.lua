-- One table of scenarios, in every host: a plain script, kinesis.run, luv, and nginx in a request and in a timer.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local faults = require "support.faults"
local fresh = require "support.fresh"

local nginx = os.getenv "NGINX_OPENRESTY"
local direct, at

-- A child whose `together` and whose main are the host's. What the scenario gives is its last line.
local function script(prelude, main)
  return function(scenario)
    local source = [[
      local cjson, kinesis = require "cjson", require "kinesis"
      local at, name = cjson.decode(arg[1]), arg[2]
      local together = kinesis.run
      local function scenario()
        local answer = require("support.scenarios")[name](at, together)
        io.write(cjson.encode(answer), "\n")
      end
    ]] .. prelude .. "\n" .. main
    local output, status = fresh.lua(source, nil, cjson.encode(at), scenario):wait()
    assert.equal(0, status, output)
    return cjson.decode(output:match "([^\n]*)\n$")
  end
end

local LUV = [[
  local uv = require "luv"
  function together(...)
    local all, left = coroutine.running(), select("#", ...)
    for i = 1, select("#", ...) do
      local f = select(i, ...)
      coroutine.wrap(function()
        f()
        left = left - 1
        if left == 0 and coroutine.status(all) == "suspended" then
          coroutine.resume(all)
        end
      end)()
    end
    if left > 0 then coroutine.yield() end
  end
]]

local function in_nginx(where)
  return function(scenario)
    local client = fresh.client(nginx .. "/scenario", { max_attempts = 1, request_timeout = 20 })
    local answer, err = client:call("Ask", { at = at, scenario = scenario, where = where })
    client:close()
    assert.is_nil(answer and answer.err)
    return assert(answer, err).answer
  end
end

local hosts = {
  { name = "a plain script", ask = script("", "scenario()") },
  { name = "kinesis.run", ask = script("", "kinesis.run(scenario)") },
  { name = "luv", ask = script(LUV, "coroutine.wrap(scenario)() uv.run()") },
  { name = "luv, from a callback", ask = script(LUV, "uv.new_timer():start(0, 0, coroutine.wrap(scenario)) uv.run()") },
}
-- nginx runs the LuaJIT build whatever the flavour: once is enough
if os.getenv("BUILD_FLAVOUR"):find "lua5.4$" then
  hosts[#hosts + 1] = { name = "a request of nginx", ask = in_nginx "request" }
  hosts[#hosts + 1] = { name = "a timer of nginx", ask = in_nginx "timer" }
end

local scenarios = {
  put = function(answer)
    assert.same({ stored = "shardId-000000000000", refused = "ResourceNotFoundException" }, answer)
  end,
  read = function(answer)
    assert.same({ data = { "record 1", "record 2", "record 3" } }, answer)
  end,
  many_wait = function(answer)
    assert.same({ count = 10, same = true }, answer)
  end,
  timeout = function(answer)
    assert.same({
      put = "Timeout", receipt = "Timeout", flush = "Timeout", left = 1, close = "Closed", quick = true,
    }, answer)
  end,
  pause = function(answer)
    assert.same({ order = { "record 1", "moved", "resumed", "record 1", "record 2" } }, answer)
  end,
  cancel = function(answer)
    assert.same({ ended = true }, answer)
  end,
  close_in_flight = function(answer)
    assert.same({ put = "Closed", flush = "Closed" }, answer)
  end,
  produce = function(answer)
    assert.same({ flushed = true, stored = 200, told = { "one ResourceNotFoundException" }, handled = 1 }, answer)
  end,
  sleep = function(answer)
    assert.same({ order = { "early", "late" }, aside = true }, answer)
  end,
}

setup(function()
  direct = fresh.client(os.getenv "KINESIS_LOCAL")
  local stall = { { stall = 30, always = true } }
  local scope = faults.open { PutRecord = stall, PutRecords = stall }
  at = { endpoint = os.getenv "KINESIS_LOCAL", stalled = scope.url }
end)

before_each(function()
  at.stream = fresh.stream(direct, 1, "hosts")
end)

after_each(function()
  direct:call("DeleteStream", { StreamName = at.stream })
end)

teardown(function()
  direct:close()
end)

for _, host in ipairs(hosts) do
  describe(host.name, function()
    for name, expect in pairs(scenarios) do
      it("does as every host: " .. name, function()
        expect(host.ask(name))
      end)
    end
  end)
end

describe("a coroutine of luv that is closed while it waits", function()
  if not coroutine.close then
    return -- Lua 5.4 alone can
  end

  it("keeps neither the loop nor the others", function()
    local output, status = fresh.lua([[
      local cjson, kinesis, uv = require "cjson", require "kinesis", require "luv"
      local at = cjson.decode(arg[1])
      local client = kinesis.client {
        endpoint = at.stalled, region = "us-east-1", request_timeout = 0.5, max_attempts = 1,
        credentials = { access_key_id = "A", secret_access_key = "s" },
      }
      local function close_while(f)
        local task = coroutine.create(f)
        coroutine.resume(task)
        coroutine.close(task)
      end
      close_while(function() client:put(at.stream, "x") end)
      close_while(function() kinesis.sleep(0.1) end)
      coroutine.wrap(function() print(select(2, client:put(at.stream, "x")).code) end)()
      uv.run()
      print "over"
    ]], nil, cjson.encode(at)):wait()
    assert.equal("Timeout\nover\n", output)
    assert.equal(0, status)
  end)
end)

describe("luv", function()
  -- Runs the source in a child; `client` is there.
  local function in_luv(source, env)
    local output, status = fresh.lua([[
      local cjson, kinesis, uv = require "cjson", require "kinesis", require "luv"
      local at = cjson.decode(arg[1])
      local client = kinesis.client {
        endpoint = at.endpoint, region = "us-east-1", credentials = { access_key_id = "A", secret_access_key = "s" },
      }
    ]] .. source, env, cjson.encode(at)):wait()
    assert.equal(0, status, output)
    return output
  end

  it("that cannot watch the descriptor looks for answers", function()
    local output = in_luv([[
      local other = assert(uv.new_poll(client.core:fd())) -- luv watches a descriptor once
      other:start("r", function() end)
      other:unref()
      coroutine.wrap(function()
        assert(client:put(at.stream, "x"))
        assert(client:put(at.stream, "x"))
        print "stored"
      end)()
      uv.run()
      other:close()
      uv.run()
    ]], { ASAN_OPTIONS = "detect_leaks=0:intercept_tls_get_addr=0" }) -- luv leaks the handle that it could not make
    assert.matches("^kinesis: luv cannot watch for answers %([^\n]*%); looking every 10 ms instead\nstored\n$", output)
  end)

  for when, run in pairs { ["never runs"] = "", ["has run"] = "uv.run()" } do
    it("exits in order when its loop " .. when .. " before the client is closed", function()
      local output = in_luv([[
        local kept = setmetatable({ client }, { __mode = "v" })
        local function use(client) -- in a frame of its own, which is gone when garbage is collected
          local producer = client:producer(at.stream, { linger = 0 })
          assert(producer:put("x"))
          assert(producer:flush())
          coroutine.wrap(function() kinesis.sleep(0) end)()
          ]] .. run .. [[
          assert(producer:close())
          client:close()
        end
        use(client)
        client = nil
        if rawget(_G, "jit") then jit.flush() end
        for _ = 1, 3 do
          (function(...) return ... end)(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) -- over what its frame has left
          collectgarbage()
        end
        print(#kept)
      ]])
      assert.equal("0\n", output)
    end)
  end

  it("watches the descriptor of a client that was closed for the next one", function()
    local output = in_luv [[
      local watched = client.core:fd()
      for i = 1, 3 do
        assert(client:producer(at.stream):close())
        client:close()
        client = kinesis.client { endpoint = at.endpoint, region = "us-east-1",
          credentials = { access_key_id = "A", secret_access_key = "s" } }
      end
      print(client.core:fd() == watched)
      local producer = client:producer(at.stream)
      uv.new_timer():start(5000, 0, uv.stop)
      coroutine.wrap(function()
        assert(client:put(at.stream, "x"))
        assert(client:put(at.stream, "x"))
        assert(producer:close())
        print "stored"
        uv.stop()
      end)()
      uv.run()
    ]]
    assert.equal("true\nstored\n", output)
  end)

  it("sends nothing in a callback, which cannot wait for the answer", function()
    local before = #fresh.read(direct, at.stream)
    local output = in_luv [[
      local timer = uv.new_timer()
      timer:start(0, 0, function()
        print((pcall(client.put, client, at.stream, "x")))
        print((pcall(client.put_many, client, at.stream, { { data = "x" } })))
        timer:close()
      end)
      uv.run()
    ]]
    assert.equal("false\nfalse\n", output)
    assert.equal(before, #fresh.read(direct, at.stream))
  end)

  it("gets advice in a function that C calls, and nothing keeps its loop", function()
    local output = in_luv [[
      coroutine.wrap(function()
        print(select(2, pcall(string.gsub, "x", "x", function() client:put(at.stream, "x") end)))
        print(select(2, pcall(string.gsub, "x", "x", function() kinesis.sleep(0) end)))
      end)()
      uv.run()
    ]]
    local _, count = output:gsub("kinesis: this call waits, which cannot be done in a function that C calls", "")
    assert.equal(2, count, output)
  end)
end)

describe("the example for luv", function()
  it("prints what it puts, and ends on SIGINT, in order", function()
    local child = fresh.spawn(([[exec sh -c "echo \$\$; exec %s \"$ROOT/examples/luv.lua\" %s"]]):format(
      os.getenv "LUA", at.stream), {
      AWS_REGION = fresh.region, AWS_ENDPOINT_URL_KINESIS = at.endpoint,
      AWS_ACCESS_KEY_ID = fresh.keys.access_key_id, AWS_SECRET_ACCESS_KEY = fresh.keys.secret_access_key,
    })
    local pid = child:line()
    -- the reader may begin behind the first tick, and leaves none out from there
    local first
    for i = 0, 2 do
      local line = child:line()
      local tick = line:match "^Record: tick (%d+), Partition Key: clock, Shard: shardId%-0+$"
      first = first or tonumber(tick)
      assert.equal(first + i, tonumber(tick), line)
    end
    fresh.spawn("kill -INT " .. pid):wait()
    local output, status = child:wait()
    assert.equal(0, status, output)
  end)
end)
