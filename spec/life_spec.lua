-- Beginnings and ends: what is left behind by loops, clients, forks and exits. Nothing, it should be.
local core = require "kinesis.core"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local run = require "support.tasks"

local sanitized = os.getenv("BUILD_FLAVOUR"):find("^[at]san") ~= nil
local closes = _VERSION == "Lua 5.4" -- leaving a loop closes its reader; elsewhere the collector does

-- For children: a client of the endpoint in arg[1], what this process holds, and its own id.
local PRELUDE = [[
local kinesis = require "kinesis"
local lfs = require "lfs"
local keys = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" }
local function client_of(endpoint, more)
  local options = { endpoint = endpoint, region = "us-east-1", credentials = keys }
  for k, v in pairs(more or {}) do options[k] = v end
  return assert(kinesis.client(options))
end
local function count(folder)
  local n = 0
  for _ in lfs.dir(folder) do n = n + 1 end
  return n
end
local function read(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return text
end
local function status(field) return tonumber(read("/proc/self/status"):match(field .. ":%s*(%d+)")) end
local function threads() return count "/proc/self/task" end
local function descriptors() return count "/proc/self/fd" end
]]

local function run_child(source, env, ...)
  local output, status = fresh.lua(PRELUDE .. source, env, ...):wait()
  return output, status
end

-- Scopes of faults stand before kinesis-local; what needs none goes to kinesalite, which is faster.
local behind_faults, kinesalite = fresh.client(os.getenv "KINESIS_LOCAL"), fresh.client(os.getenv "KINESALITE")
local stream, stream_there

setup(function()
  stream = fresh.stream(behind_faults, 2)
  stream_there = fresh.stream(kinesalite, 2)
  assert(behind_faults:put_many(stream, { { data = "a" }, { data = "b" }, { data = "c" } }))
  local list = {}
  for i = 1, 100 do
    list[i] = { data = ("x"):rep(2000) }
  end
  local _, failed = kinesalite:put_many(stream_there, list)
  assert(failed == 0)
end)

teardown(function()
  behind_faults:call("DeleteStream", { StreamName = stream })
  kinesalite:call("DeleteStream", { StreamName = stream_there })
  behind_faults:close()
  kinesalite:close()
end)

describe("a hundred loops left by break", function()
  it("leave no thread, no descriptor and no memory behind", function()
    local output, status = run_child([[
      local client = client_of(arg[1])
      local shards = client:shards(arg[2])
      local function loops(n)
        for _ = 1, n do
          for _ in shards:records() do break end
          if _VERSION ~= "Lua 5.4" then collectgarbage() end
        end
        collectgarbage() collectgarbage()
        client:put(arg[2], "the engine has done what came before", "key")
      end
      loops(20)
      local before = { threads(), descriptors(), collectgarbage "count", status "VmRSS" }
      loops(100)
      print(threads() - before[1], descriptors() - before[2], collectgarbage "count" - before[3],
        status "VmRSS" - before[4])
    ]], nil, os.getenv "KINESALITE", stream_there)
    assert.equal(0, status, output)
    local more_threads, more_fds, more_lua, more_memory = output:match "^(%S+)\t(%S+)\t(%S+)\t(%S+)\n$"
    assert.truthy(more_memory, output)
    assert.equal(0, tonumber(more_threads), output)
    -- connections are kept: at most as many more as there were calls at once
    assert.is_true(tonumber(more_fds) <= 4, output)
    assert.is_true(tonumber(more_lua) < 64, output) -- KiB
    -- a loop fetches about 270 KB: all kept would be 27 MB. Sanitizers keep freed memory for a while
    assert.is_true(sanitized or tonumber(more_memory) < 8192, output)
  end)

  it("stop asking the service", function()
    local scope = faults.open()
    local client = scope:client()
    local shards = client:shards(stream)
    for _ = 1, 3 do
      for record in shards:records { poll_interval = 0.2 } do
        if record then
          break
        end
      end
    end
    if not closes then
      fresh.collect()
    end
    -- two answers to another call: whatever a reader had asked before is over, too
    assert(client:call("ListShards", { StreamName = stream }))
    local asked = #scope:seen "GetRecords"
    kinesis.sleep(0.5) -- there is nothing to watch: nothing must come
    assert(client:call("ListShards", { StreamName = stream }))
    assert.is_true(#scope:seen "GetRecords" - asked <= 2)
    client:close()
  end)
end)

describe("clients", function()
  it("closed or collected, leave no thread and no descriptor", function()
    local output, status = run_child([[
      local function clients(n)
        for i = 1, n do
          local client = client_of(arg[1])
          assert(client:put(arg[2], "data"))
          if i % 2 == 0 then client:close() client:close() end
        end
        collectgarbage() collectgarbage()
      end
      clients(4)
      local before = { threads(), descriptors() }
      clients(40)
      print(threads() - before[1], descriptors() - before[2])
    ]], nil, os.getenv "KINESALITE", stream_there)
    assert.equal(0, status, output)
    assert.equal("0\t0\n", output)
  end)

  it("closed, let go of their descriptors at once, whatever the collector has not seen yet", function()
    local output, status = run_child([[
      collectgarbage "stop"
      local before = descriptors()
      for _ = 1, 5 do
        local client = client_of(arg[1])
        assert(client:put(arg[2], "data"))
        assert(client:put_many(arg[2], { { data = "data" } }))
        assert(client:shards(arg[2]):records():next())
        client:close()
      end
      print(descriptors() - before)
    ]], nil, os.getenv "KINESALITE", stream_there)
    assert.equal(0, status, output)
    assert.equal("0\n", output)
  end)

  it("answer Closed once closed, everywhere", function()
    local client = fresh.client(os.getenv "KINESALITE")
    local shards = client:shards(stream_there)
    local reader = shards:records()
    reader:next()
    client:close()
    client:close()
    local result, err = client:put(stream_there, "data")
    assert.is_nil(result)
    assert.equal("Closed", err.code)
    local results, problem = client:put_many(stream_there, { { data = "a" } })
    assert.is_nil(results)
    assert.equal("Closed", problem.code)
    result, err = client:call("ListStreams")
    assert.is_nil(result)
    assert.equal("Closed", err.code)
    for _, f in ipairs {
      function() return client:shards(stream_there) end,
      function() return shards:records() end,
      function() while reader:next() do end error "an end, where there is none" end,
    } do
      local good, raised = pcall(f)
      assert.is_false(good)
      assert.equal("Closed", raised.code)
    end
    assert.matches("closed", tostring(client), 1, true)
    reader:close()
  end)

  it("closed while calls are under way, fail them with Closed", function()
    local scope = faults.open {
      PutRecord = { { stall = 30, always = true } },
      PutRecords = { { stall = 30, always = true } },
      GetRecords = { { stall = 30, always = true } },
    }
    local client = scope:client()
    local shards = client:shards(stream)
    local codes, began = {}, core.now()
    local function note(_, err)
      codes[#codes + 1] = err and err.code or "none"
    end
    run(function()
      note(client:put(stream, "data"))
    end, function()
      local results = client:put_many(stream, { { data = "a" } })
      note(nil, results[1])
    end, function()
      note(pcall(shards:records()))
    end, function()
      while #scope:seen() < 5 do -- ListShards, an iterator for each of two shards, and more
        kinesis.sleep(0.01)
      end
      client:close()
    end)
    table.sort(codes)
    assert.equal("Closed", codes[1])
    assert.equal("Closed", codes[#codes])
    assert.equal(3, #codes)
    assert.is_true(core.now() - began < 3)
  end)
end)

describe("a process", function()
  it("does not crash when it exits in the middle of TLS", function()
    local times = sanitized and 40 or 200
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write(PRELUDE, [[
      local n = tonumber(arg[3])
      local client = client_of(arg[1], { ca_bundle = os.getenv "CERTS" .. "/ca.pem" })
      local puts = {}
      for i = 1, 4 do
        puts[i] = function()
          while true do client:put(arg[2], "data") end
        end
      end
      puts[5] = function()
        kinesis.sleep((n % 50) / 2000) -- 0 … 25 ms: connecting, shaking hands, sending, receiving
        os.exit(7, n % 4 == 0)
      end
      kinesis.run((table.unpack or unpack)(puts))
    ]])
    file:close()
    local scope = faults.open({ PutRecord = { { code = "ValidationException", always = true } } }, { tls = true })
    local each = [[eval "$LUA $SCRIPT $URL stream $0"; echo exit $?]]
    local child = fresh.spawn(([[seq %d | xargs -P 4 -n 1 sh -c '%s' | sort | uniq -c]]):format(times, each),
      { SCRIPT = script, URL = scope.url })
    local output = child:wait()
    os.remove(script)
    assert.equal(times .. " exit 7", (output:gsub("^%s+", ""):gsub("%s+$", "")))
  end)
end)

describe("fork", function()
  -- the child leaves alone what was the parent's, which a leak checker sees as lost
  local NO_LEAK_CHECK = { ASAN_OPTIONS = "detect_leaks=0:exitcode=99" }
  -- Calls libc's fork as far as Lua can: on 5.4 as a C function whose results nobody wants.
  local FORK = PRELUDE .. [[
    local function pid() return read("/proc/self/stat"):match "^%d+" end
    local parent = pid()
    local function fork()
      io.stdout:flush()
      if jit then
        local ffi = require "ffi"
        ffi.cdef "int fork(void);"
        ffi.C.fork()
      else
        local raw = assert(package.loadlib("libc.so.6", "fork"))
        raw()
      end
      return pid() ~= parent
    end
    -- until every child has ended, so that its words come before ours
    local function await_children()
      for child in read("/proc/self/task/" .. parent .. "/children"):gmatch "%d+" do
        while not read("/proc/" .. child .. "/stat"):find "%) Z" do kinesis.sleep(0.01) end
      end
    end
    local function say(...) io.stdout:write(table.concat({ ... }, " "), "\n") io.stdout:flush() end
  ]]

  it("is told to the child, whose parent goes on, and the child can make its own client", function()
    if os.getenv("BUILD_FLAVOUR"):find "^tsan" then
      pending "TSan allows no new threads in the child"
      return
    end
    local output, status = fresh.lua(FORK .. [[
      kinesis.configure { endpoint = arg[1], region = "us-east-1", credentials = keys }
      local client = client_of(arg[1])
      local shards = client:shards(arg[2])
      local reader = shards:records()
      assert(reader:next() and client:put(arg[2], "before", "key") and kinesis.put(arg[2], "before", "key"))
      if fork() then
        local _, err = client:put(arg[2], "in the child", "key")
        say("put", err.code)
        local _, problem = client:put_many(arg[2], { { data = "in the child" } })
        say("put_many", problem.code)
        _, err = client:call "ListStreams"
        say("call", err.code)
        _, err = pcall(client.shards, client, arg[2])
        say("shards", err.code)
        _, err = pcall(shards.records, shards)
        say("records", err.code)
        _, err = reader:stats()
        say("stats", err.code, "lag", tostring(reader:lag()))
        _, err = pcall(function() while reader:next() do end end)
        say("reader", err.code)
        say("line", (tostring(err):gsub("\n", " ")))
        reader:close()
        client:close()
        reader, shards = nil, nil
        collectgarbage() collectgarbage()
        local own = client_of(arg[1])
        say("own", own:put(arg[2], "the child's", "key") and "stored")
        local result, why = kinesis.put(arg[2], "the child's", "key") -- as configured, or not at all
        say("default", result and "stored" or why.code)
        own:close()
        say "child over"
        os.exit(0, true)
      end
      for i = 1, 20 do assert(client:put(arg[2], "the parent's", "key")) end
      assert(reader:next())
      await_children()
      say "parent over"
    ]], NO_LEAK_CHECK, os.getenv "KINESALITE", stream_there):wait()
    assert.equal(0, status, output)
    for _, line in ipairs {
      "put Forked", "put_many Forked", "call Forked", "shards Forked", "records Forked", "reader Forked",
      "stats Forked lag nil", "own stored", "child over", "parent over",
    } do
      assert.matches(line .. "\n", output, 1, true)
    end
    assert.matches("line [^\n]*fork", output)
    assert.is_nil(output:find("Sanitizer", 1, true), output)
    local default = output:match "default (%w+)\n"
    assert.is_true(default == "stored" or default == "Forked", default)
  end)

  it("does not happen while the engine's thread holds a lock of OpenSSL", function()
    if sanitized then
      pending "a sanitizer does not let others be loaded before it"
    end
    local slow_locks, times = os.getenv "RUN_DIR" .. "/slow_locks.so", 12
    local command = ([[gcc -fPIC -shared -o %s "$ROOT/spec/support/slow_locks.c"]]):format(slow_locks)
    local output, status = fresh.spawn(command):wait()
    assert.equal(0, status, output)
    for i = 1, times do
      output, status = fresh.lua(FORK .. [[
        local client = client_of(arg[1])
        local producer = client:producer(arg[2], { linger = 0, exit_timeout = 0 })
        producer:put("data", "key")
        kinesis.sleep(arg[3] * 1e-4)
        if fork() then
          producer:put "data" -- a random key
          client_of(arg[1])
          say "child over"
          os.exit(0, true)
        end
        await_children()
        producer:close()
        say "parent over"
      ]], { LD_PRELOAD = slow_locks }, os.getenv "KINESALITE", stream_there, i):wait()
      assert.equal("child over\nparent over\n", output)
      assert.equal(0, status)
    end
  end)

  it("is told to every coroutine that waits in the child's run", function()
    local scope = faults.open { PutRecord = { { stall = 30, always = true } } }
    local output, status = fresh.lua(FORK .. [[
      local client, child = client_of(arg[1]), false
      kinesis.run(function()
        local _, err = client:put(arg[2], "data")
        say(child and "child's put" or "parent's put", err.code)
        if child then os.exit(0, true) end
      end, function()
        kinesis.sleep(0.2)
        child = fork()
        if not child then
          await_children()
          os.exit(0, true)
        end
      end)
    ]], NO_LEAK_CHECK, scope.url, stream):wait()
    assert.equal(0, status, output)
    assert.equal("child's put Forked\n", output)
  end)

  it("lets a child exit at once that never touches the library, and one in the middle of a call", function()
    local scope = faults.open { PutRecord = { { stall = 30, always = true } } }
    local began = core.now()
    local output, status = fresh.lua(FORK .. [[
      local client = client_of(arg[1])
      kinesis.run(function()
        local _, err = client:put(arg[2], "data")
        say(pid() == parent and "parent's" or "child's", "put", err.code)
      end, function()
        kinesis.sleep(0.2)
        if fork() then
          say "child over"
          os.exit(3, arg[3] == "close")
        end
        await_children()
        say "parent goes on"
        os.exit(0, true)
      end)
    ]], NO_LEAK_CHECK, scope.url, stream, "close"):wait()
    assert.equal(0, status, output)
    assert.matches("child over\n", output, 1, true)
    assert.matches("parent goes on\n", output, 1, true)
    assert.is_nil(output:find("child's put", 1, true))
    assert.is_nil(output:find("Sanitizer", 1, true), output)
    assert.is_true(core.now() - began < 3)
  end)
end)

it("a client that gets no descriptors says so", function()
  local script = os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write [[
    local kinesis, clients, err = require "kinesis", {}
    repeat
      clients[#clients + 1], err = kinesis.client { endpoint = "http://127.0.0.1:1", region = "us-east-1",
        credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } }
    until err
    print(err)
    os.exit(0)
  ]]
  file:close()
  local said = {}
  for most = 30, 36 do -- the last one is missing here or there
    local env = { SCRIPT = script, MOST = most }
    said[#said + 1] = fresh.spawn([[ulimit -n $MOST; eval "exec $LUA $SCRIPT"]], env):wait()
  end
  os.remove(script)
  said = table.concat(said)
  assert.matches("Connection: the client could not be created: the system allows no more open files", said, 1, true)
  assert.is_nil(said:find("OutOfMemory", 1, true))
end)
