-- A producer that is not closed: it is drained at exit or by the collector, and what is lost is reported.
local core = require "kinesis.core"
local faults = require "support.faults"
local fresh = require "support.fresh"

local closes = _VERSION == "Lua 5.4" -- a variable may be closed

-- The source of a script with a producer that runs `body`.
local function script(body, options)
  return ([[
local kinesis = require "kinesis"
local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1",
  credentials = { access_key_id = "a", secret_access_key = "s" } })
local producer = assert(client:producer(arg[2], %s))
%s
]]):format(options or "{}", body)
end

local FIVE = "for i = 1, 5 do assert(producer:put('record ' .. i, 'key')) end\n"

describe("a producer that is not closed", function()
  local direct

  setup(function()
    direct = fresh.client(fresh.services[2])
  end)

  teardown(function()
    direct:close()
  end)

  local function count_stored(stream)
    return #fresh.read(direct, stream)
  end

  for how, body in pairs {
    ["at the end of the script"] = FIVE,
    ["by os.exit"] = FIVE .. "os.exit(0)",
    ["by os.exit that closes the state"] = FIVE .. "os.exit(0, true)",
    ["by the collector"] = FIVE .. "producer = nil collectgarbage() collectgarbage() io.write 'collected'",
    ["by an error"] = FIVE .. "os.exit(pcall(error, 'x') and 1 or 0)",
  } do
    it("is drained " .. how, function()
      local stream = fresh.stream(direct, 1, "unclosed")
      local child = fresh.lua(script(body, "{ linger = 30 }"), nil, fresh.services[2].endpoint, stream)
      local output, status = child:wait()
      assert.equal(how == "by the collector" and "collected" or "", output)
      assert.equal(0, status)
      assert.equal(5, count_stored(stream))
    end)
  end

  local function not_delivered(stream, why)
    return ("kinesis: 5 records for %s were not delivered: %s; close producers, and look at receipts\n"):format(
      stream, why)
  end

  for how, ending in pairs {
    ["at the end of the script"] = "",
    ["by os.exit"] = "os.exit(0)",
    ["by os.exit that closes the state"] = "os.exit(0, true)",
    ["by the collector"] = "producer = nil collectgarbage() collectgarbage()",
  } do
    it("reports how many records are lost when that takes too long " .. how, function()
      local stream = fresh.stream(direct, 1, "unclosed")
      local scope = faults.open({ PutRecords = { { stall = 30, always = true } } }, { service = "kinesalite" })
      local began = core.now()
      local output, status = fresh.lua(script(FIVE .. ending, "{ exit_timeout = 0.3 }"), nil, scope.url, stream):wait()
      assert.is_true(core.now() - began < 10)
      assert.equal(not_delivered(stream, "no answer came in time"), output)
      assert.equal(0, status)
    end)
  end

  local function expect_failures_told(ending)
    local body = FIVE .. [[
      while producer:stats().untold_failures < 5 do
        client:call "ListStreams"
      end
    ]] .. ending
    local output, status = fresh.lua(script(body), nil, fresh.services[2].endpoint, "never-was"):wait()
    local why = "PutRecords: ResourceNotFoundException: Stream never-was under account 000000000000 not found"
    assert.equal(not_delivered("never-was", why), output:match "\n(.*)$") -- after the line about the cause
    assert.equal(0, status)
  end

  it("reports how many failed records were not looked at", function()
    expect_failures_told ""
    expect_failures_told "os.exit(0, true)"
  end)

  it("reports how many failed records were not looked at, by os.exit", function()
    expect_failures_told "os.exit(0)"
  end)

  if closes then
    it("reports records that are lost when its <close> variable is closed", function()
      local body = [[
        local closing <close> = producer
        assert(producer:put("lost", "key"))
      ]]
      local output = fresh.lua(script(body), nil, fresh.services[2].endpoint, "never-was"):wait()
      assert.matches("never-was", output, 1, true)
    end)
  end

  it("reports once a minute on stderr that a handler raised an error, and calls it for the others", function()
    local body = FIVE .. "print(producer:flush(), told) producer:close()"
    local options = [[{ on_failure = function(record)
      told = (told or 0) + 1
      if told % 2 == 1 then error("the handler's own " .. record.data, 0) end
    end }]]
    local output, status = fresh.lua(script(body, options), nil, fresh.services[2].endpoint, "never-was"):wait()
    assert.equal(0, status)
    assert.matches("true\t5\n", output, 1, true)
    local _, complaints = output:gsub("kinesis: on_failure raised: the handler's own record 1\n", "")
    assert.equal(1, complaints, output)
  end)

  it("may be dropped, with other producers, by a handler", function()
    local body = [[
      local function handler()
        producer, other = nil, nil
        collectgarbage() collectgarbage()
      end
      other = assert(client:producer("never-was", { on_failure = handler }))
      producer = assert(client:producer("never-was", { on_failure = handler }))
      assert(producer:put("x", "key"))
      assert(other:put("x", "key"))
      while producer:stats().open + other:stats().open > 0 do end -- both fail before the next answer is handled
      assert(client:call "ListStreams")
      assert(client:call "ListStreams")
      io.write "fine"
    ]]
    local output, status = fresh.lua(script(body), nil, fresh.services[2].endpoint, "never-was"):wait()
    assert.matches("fine", output)
    assert.equal(0, status)
  end)

  it("is delivered when it is dropped, and no other producer's records are sent before their time", function()
    local stream = fresh.stream(direct, 1, "dropped")
    local client = fresh.client(fresh.services[2])
    local others = {}
    for i = 1, 3 do
      others[i] = assert(client:producer(stream, { linger = 60, exit_timeout = 10 }))
      assert(others[i]:put("waits", "key"))
    end
    local dropped = assert(client:producer(stream, { linger = 60, exit_timeout = 10 }))
    assert(dropped:put("leaves", "key"))
    dropped = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal("leaves", fresh.read(direct, stream)[1].data)
    for i = 1, 3 do
      local stats = others[i]:stats()
      assert.same({ 1, 0, 0 }, { stats.open, stats.requests, stats.batches_flushed })
      assert(others[i]:close())
    end
    client:close()
  end)

  -- A script that sends more records than the bound allows receipts; for 10 s at most.
  local function send_many(stream, keep)
    local body = ([[
      local kept, taken = {}, 0
      for i = 1, 1000 do
        local receipt, err = producer:send("record " .. i, "key")
        if not receipt then
          print(err.code, err.message)
          break
        end
        %s
        taken = i
      end
      print(taken, producer:flush())
      if kept[1] then
        print((kept[1]:wait().shard_id), producer:put("room again", "key"))
      end
      print(producer:close())
    ]]):format(keep)
    local child = fresh.lua(script(body, "{ max_records = 100, aggregate = false }"), nil, fresh.services[2].endpoint,
      stream)
    return child:wait()
  end

  it("is Full, and does not wait for ever, when receipts fill it", function()
    local output = send_many(fresh.stream(direct, 1, "receipts"), "kept[i] = receipt")
    assert.matches("^Full\t[^\n]+\n100\ttrue\nshardId%-000000000000\ttrue\ntrue\n$", output)
  end)

  it("tells that receipts fill it", function()
    local output = send_many(fresh.stream(direct, 1, "receipts"), "kept[i] = receipt")
    assert.matches("^Full\t[^\n]*receipt", output)
  end)

  it("accepts more records than its bound when the receipts are dropped", function()
    local output = send_many(fresh.stream(direct, 1, "receipts"), "")
    assert.equal("1000\ttrue\ntrue\n", output)
  end)

  it("of the default client is drained, too", function()
    local stream = fresh.stream(direct, 1, "default")
    local source = [[
      local kinesis = require "kinesis"
      local producer = assert(kinesis.producer(arg[1], {
        on_failure = function(record, err) print("lost:", record.data, err) end,
      }))
      for _, line in ipairs { "anna bought", "otto sold", "anna paid" } do
        assert(producer:put(line, line:match "%S+"))
      end
      assert(producer:close())
    ]]
    local output, status = fresh.lua(source, { AWS_ENDPOINT_URL_KINESIS = fresh.services[2].endpoint,
      AWS_REGION = fresh.region, AWS_ACCESS_KEY_ID = "a", AWS_SECRET_ACCESS_KEY = "s" }, stream):wait()
    assert.equal("", output)
    assert.equal(0, status)
    assert.equal(3, count_stored(stream))
  end)

  it("is not used by a child after a fork", function()
    if os.getenv("BUILD_FLAVOUR"):find "^[at]san" then
      pending "a sanitizer's malloc, locked by a thread that the child does not have, stays locked there"
      return
    end
    local stream = fresh.stream(direct, 1, "forked")
    local body = [[
      local function first_line(path)
        local file = assert(io.open(path))
        local line = file:read "*l"
        file:close()
        return line
      end
      local function pid() return first_line("/proc/self/stat"):match "^%d+" end
      local parent = pid()
      local receipt = assert(producer:send("sent before", "key"))
      for i = 1, 4 do assert(producer:put("record " .. i, "key")) end
      if jit then
        local ffi = require "ffi"
        ffi.cdef "int fork(void);"
        ffi.C.fork()
      else
        local fork = assert(package.loadlib("libc.so.6", "fork"))
        fork() -- it is no lua_CFunction, but its results are not used
      end
      if pid() ~= parent then
        for _, verb in ipairs { "put", "send", "flush", "stats" } do
          local data = (verb == "put" or verb == "send") and "x" or nil
          local done, err = producer[verb](producer, data)
          io.write(verb, " ", tostring(done), " ", err.code, "\n")
        end
        local done, err = receipt:wait()
        io.write("wait ", tostring(done), " ", err.code, "\n")
        io.write("close ", tostring(producer:close()), "\n")
        io.stdout:flush()
        os.exit(0, arg[3] == "close the state")
      end
      for child in first_line("/proc/self/task/" .. parent .. "/children"):gmatch "%d+" do
        while not first_line("/proc/" .. child .. "/stat"):find "%) Z" do kinesis.sleep(0.01) end
      end
      io.write("parent ", tostring((receipt:wait().shard_id)), " ", tostring(producer:close()), "\n")
    ]]
    for _, ending in ipairs { "as it is", "close the state" } do
      local output, status = fresh.lua(script(body), { ASAN_OPTIONS = "detect_leaks=0:exitcode=99" },
        fresh.services[2].endpoint, stream, ending):wait()
      assert.equal("put nil Forked\nsend nil Forked\nflush nil Forked\nstats nil Forked\nwait nil Forked\nclose true\n"
        .. "parent shardId-000000000000 true\n", output)
      assert.equal(0, status)
    end
    assert.equal(10, count_stored(stream))
  end)

  it("loses no record when a signal handler closes it", function()
    if not pcall(require, "posix.signal") then
      pending "lua-posix is not there for this Lua"
    end
    local stream = fresh.stream(direct, 1, "signalled")
    local body = [[
local signal, taken = require "posix.signal", 0
signal.signal(signal.SIGTERM, function()
  local done, err = producer:close(10)
  print(taken, done, err)
  os.exit(0)
end)
io.write(require("posix.unistd").getpid(), "\n")
io.flush()
while true do
  if producer:put("record " .. taken + 1, "key") then
    taken = taken + 1
  end
  kinesis.sleep(0.0005)
end
]]
    local child = fresh.lua(script(body, "{ linger = 5, max_records = 500 }"), nil, fresh.services[2].endpoint, stream)
    local pid = child:line()
    fresh.eventually(function()
      return #direct:shards(stream) == 1 and next(fresh.read(direct, stream)) or nil
    end)
    os.execute("kill " .. pid)
    local output = child:wait()
    local taken, done = output:match "^(%d+)%s+(%S+)"
    assert.equal("true", done, output)
    assert.equal(tonumber(taken), count_stored(stream))
  end)

  if closes then
    it("that is a <close> variable loses no record by Ctrl-C", function()
      local stream = fresh.stream(direct, 1, "interrupted")
      local body = [[
        local taken = 0
        local count <close> = setmetatable({}, { __close = function() print(taken, producer:stats().stored) end })
        local closing <close> = producer
        io.write((io.open("/proc/self/stat"):read "*a"):match "^%d+", "\n")
        io.stdout:flush()
        while true do
          if producer:put("record " .. taken + 1, "key") then
            taken = taken + 1
          end
          kinesis.sleep(0.0005)
        end
      ]]
      local options = "{ linger = 5, max_records = 500 }"
      local child = fresh.lua(script(body, options), nil, fresh.services[2].endpoint, stream)
      local pid = child:line()
      fresh.eventually(function()
        return next(fresh.read(direct, stream))
      end)
      os.execute("kill -INT " .. pid)
      local output = child:wait()
      local taken, stored = output:match "(%d+)\t(%d+)\n"
      assert.is_truthy(taken, output)
      assert.matches("interrupted!", output, 1, true)
      assert.equal(taken, stored, output)
      assert.equal(tonumber(taken), count_stored(stream))
    end)
  end
end)
