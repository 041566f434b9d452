-- In nginx with its Lua module: nothing blocks, everything arrives, and workers come and go.
-- Flavours: *lua5.4
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local support = require "support.nginx"

local server, master = os.getenv "NGINX_OPENRESTY", os.getenv "NGINX_OPENRESTY_PID"
local kinesis_local = os.getenv "KINESIS_LOCAL"
local direct, stream

-- The library's own client serves as the one that asks nginx: any POST of JSON is a call to it.
local function visitor(path, base)
  return fresh.client((base or server) .. path, { max_attempts = 1, request_timeout = 20 })
end

local function ask(path, params, base)
  local client = visitor(path, base)
  local answer, err = client:call("Ask", params)
  client:close()
  return assert(answer, err)
end

local function workers()
  return fresh.children(master)
end

setup(function()
  direct = fresh.client(kinesis_local)
end)

before_each(function()
  stream = fresh.stream(direct, 1)
end)

after_each(function()
  direct:call("DeleteStream", { StreamName = stream })
end)

teardown(function()
  direct:close()
end)

local function expect_stored(count)
  local stored = {}
  for _, record in ipairs(fresh.read(direct, stream)) do
    assert.is_nil(stored[record.data], "twice: " .. record.data)
    stored[record.data] = true
  end
  for i = 1, count do
    assert.is_true(stored["record " .. i], "missing: record " .. i)
  end
end

describe("kinesis.put in nginx", function()
  it("waits for fetched credentials, and for those of a program, as for any answer", function()
    local scope = faults.open()
    local answer = ask("/fetch_keys", {
      endpoint = scope.url, stream = stream, data = "record 1", keys = os.getenv "NGINX_FAULTS" .. "/echo?delay=0.1",
    })
    assert.is_string(answer.sequence_number, answer.err)
    assert.matches("Credential=GET/", scope:seen("PutRecord")[1].authorization)
    expect_stored(1)
  end)

  for name, pumped in pairs { ["the one that waits for answers"] = false, ["the one that asks for keys"] = true } do
    it("gets its answer though nginx had no timer left for " .. name, function()
      local answer = ask("/crowded", { endpoint = kinesis_local, stream = stream, data = "record 1", pumped = pumped })
      assert.is_string(answer.sequence_number, answer.err)
      assert.equal(0, answer.early)
      assert.equal(1, answer.told)
    end)
  end

  it("may need credentials to find its endpoint", function()
    assert.same({ access_key_id = "GET" }, ask("/await_keys", { keys = os.getenv "NGINX_FAULTS" .. "/echo?delay=0.1" }))
  end)

  it("has credentials after the request that started the refresh has ended", function()
    local answering, asked = workers(), {
      endpoint = kinesis_local, stream = stream, keys = os.getenv "NGINX_FAULTS" .. "/echo?delay=0.3",
    }
    for i = 1, 8 do
      asked.name, asked.data = stream .. i, nil
      if i % 2 == 0 then
        ask("/last", asked)
      end
      asked.data = "record " .. i
      assert.is_true(ask("/last", asked).taken)
    end
    fresh.eventually(function()
      for _ = 1, 20 do
        ask("/timers", {}) -- memory of requests that have ended is used again
      end
      return #fresh.read(direct, stream) == 8
    end)
    expect_stored(8)
    assert.same(answering, workers())
  end)

  it("lets a constant location answer while all its 20 parallel requests wait for the service", function()
    local constant, putter = visitor "/constant", visitor "/put"
    local answer_of_put = '{"ShardId":"shardId-000000000000","SequenceNumber":"1"}'
    local scope = faults.open { PutRecord = { { gate = true, body = answer_of_put, always = true } } }
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = function()
        local answer = assert(putter:call("Ask", { endpoint = scope.url, stream = stream, data = "x" }))
        assert.equal("1", answer.sequence_number, answer.err)
      end
    end
    tasks[21] = function()
      fresh.eventually(function()
        return #scope:seen "PutRecord" == 20
      end)
      for _ = 1, 20 do -- a worker that waited for a put would not answer
        assert(constant:call("Ask", {}))
      end
      scope:open_gate()
    end
    kinesis.run((table.unpack or unpack)(tasks))
    putter:close()
    constant:close()
  end)

  it("from 20 parallel requests stores everything", function()
    local tasks, putter = {}, visitor "/put"
    for i = 1, 20 do
      tasks[i] = function()
        local answer = assert(putter:call("Ask", {
          endpoint = kinesis_local, stream = stream, data = "record " .. i, partition_key = "key " .. i,
        }))
        assert.is_nil(answer.err)
      end
    end
    kinesis.run((table.unpack or unpack)(tasks))
    putter:close()
    expect_stored(20)
  end)

  it("gives a failure as nil and the error", function()
    local answer = ask("/put", { endpoint = kinesis_local, stream = "no-such-stream", data = "x" })
    assert.is_nil(answer.sequence_number)
    assert.matches("PutRecord: ResourceNotFoundException", answer.err, 1, true)
  end)

  it("in the log phase raises an error that says what to do, and sends nothing", function()
    local scope = faults.open {}
    ask("/log", { endpoint = scope.url, stream = stream, data = "x" })
    local note = fresh.eventually(function()
      return ask("/notes", {}).note
    end)
    assert.matches("^false ", note)
    assert.matches("log phase", note, 1, true)
    assert.matches("ngx.timer.at", note, 1, true)
    assert.equal(0, #scope:seen "PutRecord")
  end)

  it("gets Closed when its client is closed while it waits", function()
    local scope = faults.open { PutRecord = { { stall = 30, always = true } } }
    local client = fresh.client(server .. "/close", { max_attempts = 1, request_timeout = 5 })
    local answer, err = client:call("Ask", { endpoint = scope.url, stream = stream, data = "x", seconds = 0.2 })
    client:close()
    assert.truthy(answer, tostring(err))
    assert.matches("Closed", answer.err, 1, true)
  end)
end)

describe("a producer in nginx whose service hangs", function()
  it("holds no more than its bound, says Full to handlers that answer at once, and delivers all in the end", function()
    local BOUND = 200000
    local scope = faults.open({ PutRecords = { { gate = true, always = true } } }, { service = "kinesalite" })
    local direct_there = fresh.client(os.getenv "KINESALITE")
    local there = fresh.stream(direct_there, 2, "hanging")
    local constant, taken, full = visitor "/constant", 0, 0
    local asked = { endpoint = scope.url, stream = there, data = ("x"):rep(1000), count = 20, max_bytes = BOUND }
    repeat -- a worker that waited for room would not answer
      assert(constant:call("Ask", {}))
      local answer = ask("/produce", asked)
      taken = taken + answer.taken
      full = full + (answer.code == "Full" and 1 or 0)
      assert.is_true(answer.held <= BOUND, answer.held)
    until full == 20
    assert.is_true(taken > 50, taken)
    scope:open_gate()
    asked.count = 0
    fresh.eventually(function()
      local answer = ask("/produce", asked)
      assert.equal(taken, answer.accepted)
      return answer.stored == taken
    end)
    asked.count = 20
    assert.equal(20, ask("/produce", asked).taken)
    constant:close()
    direct_there:call("DeleteStream", { StreamName = there })
    direct_there:close()
  end)
end)

describe("a reader in nginx", function()
  it("reads in a request, up to its limit, while others are answered", function()
    for i = 1, 5 do
      assert(direct:put(stream, "record " .. i, "key"))
    end
    local constant, reader = visitor "/constant", visitor "/read"
    local scope, answer = faults.open { GetRecords = { { gate = true } } }, nil
    kinesis.run(function()
      answer = assert(reader:call("Ask", { endpoint = scope.url, stream = stream, limit = 5 }))
    end, function()
      fresh.eventually(function()
        return #scope:seen "GetRecords" == 1
      end)
      for _ = 1, 20 do
        assert(constant:call("Ask", {}))
      end
      scope:open_gate()
    end)
    reader:close()
    constant:close()
    assert.same({ "record 1", "record 2", "record 3", "record 4", "record 5" }, answer.data)
  end)
end)

-- Reloads nginx. Returns the pids of the old workers.
local function reload()
  local old = workers()
  fresh.spawn("kill -HUP " .. master):wait()
  return old
end

local function await_leaving(old)
  support.await_leaving(master, old)
end

describe("a reload", function()
  it("in the middle of puts loses none, leaves no old worker, and later puts work", function()
    local old = workers()
    assert.truthy(next(old))
    local scope = faults.open { PutRecord = { { delay = 0.2, always = true } } }
    local putter = visitor "/put"
    local tasks, failed = {}, {}
    for i = 1, 10 do
      tasks[i] = function()
        local answer, err = putter:call("Ask", { endpoint = scope.url, stream = stream, data = "record " .. i })
        if not answer or answer.err then
          failed[#failed + 1] = tostring(err or answer.err)
        end
      end
    end
    tasks[11] = function()
      while #scope:seen "PutRecord" < 10 do
        kinesis.sleep(0.01)
      end
      reload()
    end
    kinesis.run((table.unpack or unpack)(tasks))
    putter:close()
    assert.same({}, failed)
    expect_stored(10)
    await_leaving(old)
    local answer = ask("/put", { endpoint = kinesis_local, stream = stream, data = "afterwards" })
    assert.truthy(answer.sequence_number, answer.err)
    assert.is_true(workers()[tostring(answer.pid)])
    assert.is_nil(old[tostring(answer.pid)])
  end)

  it("ends a reader that still waits for its first iterators", function()
    local scope = faults.open { GetShardIterator = { { stall = 15, always = true } } }
    ask("/tail", { endpoint = scope.url, stream = stream })
    fresh.eventually(function()
      return #scope:seen "GetShardIterator" == 1
    end)
    await_leaving(reload())
  end)

  it("ends readers that are opened only then", function()
    local scope = faults.open { ListShards = { { delay = 1.5 }, { delay = 3 } } }
    for i = 1, 2 do
      ask("/tail", { endpoint = scope.url, stream = stream })
      fresh.eventually(function()
        return #scope:seen "ListShards" == i
      end)
    end
    await_leaving(reload())
  end)
end)

describe("a worker", function()
  it("is left no timer by clients that came and went", function()
    local scope = faults.open { PutRecord = {
      { body = '{"ShardId":"shardId-0","SequenceNumber":"1"}', always = true },
    } }
    local most = {}
    for _ = 1, 60 do
      local answer = ask("/once", { endpoint = scope.url, stream = stream, data = "x" })
      assert.equal("1", answer.sequence_number)
      local timers = ask("/timers", {})
      most[timers.pid] = math.max(most[timers.pid] or 0, timers.pending)
    end
    for _, pending in pairs(most) do
      assert.is_true(pending < 10, pending)
    end
  end)
end)

describe("a hook", function()
  it("leaves nothing behind at its exit", function()
    local scope = faults.open { PutRecord = {
      { body = '{"ShardId":"shardId-0","SequenceNumber":"1"}', always = true },
    } }
    local asked = { endpoint = scope.url, stream = stream, count = 300 }
    ask("/hooked", asked)
    local before = ask("/hooked", asked).bytes
    local grown = ask("/hooked", asked).bytes - before
    assert.is_true(grown < 100 * asked.count, grown)
  end)
end)

describe("an idle producer", function()
  it("keeps no timer running, and still reports the outcome of a record of the log phase", function()
    for _, path in ipairs { "/produce", "/produce_in_log" } do
      ask(path, { endpoint = kinesis_local, stream = "no-such-stream", data = path, count = 1 })
      fresh.eventually(function()
        return ask("/notes", {}).failure == path .. ": ResourceNotFoundException"
      end)
      fresh.eventually(function()
        return ask("/timers", {}).running == 0
      end)
    end
  end)
end)

describe("lua_code_cache off", function()
  it("is left nothing by requests that made a producer each, once their records are stored", function()
    local base = ("http://127.0.0.1:%d"):format(ask("/ports", {}).uncached)
    local function threads()
      return fresh.spawn(("ls /proc/%s/task | wc -l"):format((next(workers())))):wait()
    end
    local before, asked = threads(), { endpoint = kinesis_local, stream = stream, count = 1 }
    for i = 1, 20 do
      asked.data = "record " .. i
      assert.equal(1, ask("/produce", asked, base).taken)
    end
    fresh.eventually(function()
      return threads() == before
    end)
    expect_stored(20)
  end)

  for path, wording in pairs { ["/once"] = "closed", ["/put"] = "left behind" } do
    it("survives some hundred requests, each with a fresh client that is " .. wording, function()
      local base = ("http://127.0.0.1:%d"):format(ask("/ports", {}).uncached)
      local answering = workers()
      local client = visitor(path, base)
      local scope = faults.open { PutRecord = {
        { body = '{"ShardId":"shardId-0","SequenceNumber":"1"}', always = true },
      } }
      local tasks, good = {}, 0
      for i = 1, 4 do
        tasks[i] = function()
          for _ = 1, 40 do
            local answer = assert(client:call("Ask", { endpoint = scope.url, stream = stream, data = "x" }))
            good = good + (answer.sequence_number == "1" and 1 or 0)
          end
        end
      end
      kinesis.run((table.unpack or unpack)(tasks))
      client:close()
      assert.equal(160, good)
      assert.same(answering, workers()) -- none has died
    end)
  end
end)
