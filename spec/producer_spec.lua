-- The producer as its users see it: what goes in, what comes back, and that nothing is lost on the way.
local core = require "kinesis.core"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local LARGEST_HASH = "340282366920938463463374607431768211455"

local function data_of(records)
  local list = {}
  for i, record in ipairs(records) do
    list[i] = record.data
  end
  table.sort(list)
  return list
end

for _, service in ipairs(fresh.services) do
  describe("a producer for " .. service.name, function()
    local client, stream

    setup(function()
      client = fresh.client(service)
    end)

    teardown(function()
      client:close()
    end)

    before_each(function()
      stream = fresh.stream(client, 4, "produce")
    end)

    it("delivers what it took", function()
      local producer = assert(client:producer(stream, { aggregate = false }))
      local put = {}
      for i = 1, 300 do
        put[i] = ("record %03d"):format(i)
        assert.is_true(producer:put(put[i], "key" .. i))
      end
      assert.is_true(producer:flush())
      assert.same(put, data_of(fresh.read(client, stream)))
      local stats = producer:stats()
      assert.equal(300, stats.stored)
      assert.equal(300, stats.latency.count)
      assert.equal(0, stats.open)
      assert.equal(0, stats.held_records)
      assert.is_true(producer:close())
    end)

    it("leaves in time, though nobody calls", function()
      local producer = assert(client:producer(stream))
      assert(producer:put("alone", "key"))
      local reader = client:shards(stream):records { limit = 1, poll_interval = 0.2 }
      assert.equal("alone", reader().data)
      reader:close()
      producer:close()
    end)

    it("puts by the explicit hash key, and by random keys", function()
      local producer = assert(client:producer(stream, { linger = 0 }))
      local first = assert(assert(producer:send("low", "key", { explicit_hash_key = "0" })):wait())
      local last = assert(assert(producer:send("high", "key", { explicit_hash_key = LARGEST_HASH })):wait())
      assert.equal("shardId-000000000000", first.shard_id)
      assert.equal("shardId-000000000003", last.shard_id)
      assert(assert(producer:send "anywhere"):wait())
      producer:close()
      for _, record in ipairs(fresh.read(client, stream)) do
        assert.equal(record.data == "anywhere" and 24 or 3, #record.partition_key)
      end
    end)

    it("sends many of a shard as one", function()
      local producer = assert(client:producer(stream))
      for i = 1, 400 do
        assert(producer:put("record " .. i, "key" .. i))
      end
      assert.is_true(producer:close())
      local records = fresh.read(client, stream)
      assert.equal(4, #records)
      for _, record in ipairs(records) do
        assert.equal("\243\137\154\194", record.data:sub(1, 4))
        assert.equal("a", record.partition_key)
      end
      assert.equal(100, producer:stats().aggregation)
    end)

    it("refuses what the stream would, and delivers the rest", function()
      local producer = assert(client:producer(stream, { aggregate = false }))
      local early, err = producer:send(("x"):rep(1024 * 1024 + 1), "early")
      assert(producer:put("good", "key"))
      if early then -- the stream's limit was not known yet
        early, err = early:wait()
      end
      assert.is_nil(early)
      assert.equal("InvalidArgumentException", err.code)
      local taken, late = producer:put(("x"):rep(1024 * 1024), "late")
      assert.is_nil(taken)
      assert.equal("InvalidArgumentException", late.code)
      assert.matches("takes at most 1048576", late.message, 1, true)
      assert.is_true(producer:close())
      assert.same({ "good" }, data_of(fresh.read(client, stream)))
    end)
  end)
end

describe("a producer", function()
  local client, stream

  setup(function()
    client = fresh.client(fresh.services[2])
    stream = fresh.stream(client, 2, "produce")
  end)

  teardown(function()
    client:close()
  end)

  it("names what is wrong, at the caller's line", function()
    local producer = assert(client:producer(stream))
    assert.equal("put: data must be a string, got nil", fresh.complaint(function() local _ = producer:put() end))
    assert.equal("put: partition_key is empty; leave it out for a random one",
      fresh.complaint(function() local _ = producer:put("x", "") end))
    assert.matches("explicit_hash_key must be a decimal number",
      fresh.complaint(function() local _ = producer:send("x", "k", { explicit_hash_key = "-1" }) end))
    assert.matches("unknown option 'hash_key'",
      fresh.complaint(function() local _ = producer:put("x", "k", { hash_key = "1" }) end))
    assert.matches("bad option 'linger' of producer",
      fresh.complaint(function() local _ = client:producer(stream, { linger = -1 }) end))
    assert.matches("producer: stream is empty", fresh.complaint(function() local _ = client:producer "" end))
    assert.matches("timeout must be a number", fresh.complaint(function() local _ = producer:flush "soon" end))
    assert.equal(0, producer:stats().accepted)
    producer:close()
  end)

  it("gives each receipt its own answer, in coroutines side by side", function()
    local producer = assert(client:producer(stream))
    local numbers = {}
    local function send(name)
      return function()
        local receipt = assert(producer:send(name, name))
        local stored = assert(receipt:wait())
        assert.equal(stored, receipt:wait())
        assert.equal(1, #stored.attempts)
        numbers[name] = stored.sequence_number
      end
    end
    kinesis.run(send "one", send "two", send "three")
    assert.matches("^%d+$", numbers.one)
    assert.matches("^%d+$", numbers.two)
    assert.matches("^%d+$", numbers.three)
    producer:close()
  end)

  it("gives a receipt's place back when it is dropped", function()
    local producer = assert(client:producer(stream))
    for i = 1, 10 do
      assert(producer:send("dropped " .. i))
    end
    fresh.collect()
    assert.is_true(producer:flush())
    assert.equal(0, producer:stats().held_records)
    producer:close()
  end)

  it("is closed once, and takes nothing any more", function()
    local producer = assert(client:producer(stream))
    assert(producer:put("last", "key"))
    assert.is_true(producer:close())
    assert.is_true(producer:close())
    local taken, err = producer:put("late", "key")
    assert.is_nil(taken)
    assert.equal("Closed", err.code)
    assert.is_nil((producer:send("late", "key")))
    assert.is_true(producer:flush())
    assert.equal(1, producer:stats().stored)
    assert.matches("%(closed%)", tostring(producer))
  end)

  it("tells what became of its records when its client is closed first", function()
    local other = fresh.client(fresh.services[2])
    local producer = assert(other:producer(stream, { linger = 60 }))
    local receipt = assert(producer:send("with a receipt", "key"))
    assert(producer:put("without", "key"))
    other:close()
    assert.equal("Closed", select(2, receipt:wait()).code)
    local done, err, lost = producer:close()
    assert.is_nil(done)
    assert.equal("Closed", err.code)
    assert.equal("without", lost[1].data)
    assert.equal("key", lost[1].partition_key)
    assert.is_true(producer:close())
  end)
end)

describe("a producer whose stream is gone", function()
  local client

  setup(function()
    client = fresh.client(fresh.services[1])
  end)

  teardown(function()
    client:close()
  end)

  it("tells on_failure, with the record and its attempts", function()
    local lost = {}
    local producer = assert(client:producer("never-was", {
      on_failure = function(record, err)
        lost[#lost + 1] = { record, err }
      end,
    }))
    assert(producer:put("a", "key", { explicit_hash_key = "7" }))
    assert(producer:put("b", "key"))
    assert.is_true(producer:flush())
    assert.equal(2, #lost)
    assert.same({ data = "a", partition_key = "key", explicit_hash_key = "7" }, lost[1][1])
    assert.equal("ResourceNotFoundException", lost[1][2].code)
    assert.equal(1, #lost[1][2].attempts)
    assert.equal(0, producer:stats().held_records)
    producer:close()
  end)

  it("keeps failures for flush where there is no on_failure", function()
    local producer = assert(client:producer("never-was", { max_records = 3, when_full = "refuse" }))
    for i = 1, 3 do
      assert(producer:put("r" .. i, "key"))
    end
    fresh.eventually(function()
      kinesis.run(function()
        kinesis.sleep(0.01)
      end)
      return producer:stats().failed == 3
    end)
    local taken, full = producer:put("no room", "key")
    assert.is_nil(taken)
    assert.equal("Full", full.code)
    local done, err, left, failed = producer:flush()
    assert.is_nil(done)
    assert.equal("ResourceNotFoundException", err.code)
    assert.matches("3 records failed; the first: ", err.message, 1, true)
    assert.equal(0, left)
    assert.same({ "r1", "r2", "r3" }, data_of(failed))
    assert.equal("ResourceNotFoundException", failed[1].error.code)
    assert(producer:put("room again", "key"))
    producer.when_full = "wait"
    for i = 1, 2 do
      assert(producer:put("more " .. i, "key"))
    end
    local late, full_of_failures = producer:put("no room for ever", "key")
    assert.is_nil(late)
    assert.equal("Full", full_of_failures.code)
    assert.matches("3 of them failed and were not looked at", full_of_failures.message, 1, true)
    local closed, why, lost = producer:close()
    assert.is_nil(closed)
    assert.equal("ResourceNotFoundException", why.code)
    assert.equal("room again", lost[1].data)
  end)
end)

describe("a producer in trouble", function()
  local direct, stream

  setup(function()
    direct = fresh.client(fresh.services[2])
    stream = fresh.stream(direct, 2, "trouble")
  end)

  teardown(function()
    direct:close()
  end)

  local function open(rules, given, client_given)
    local scope = faults.open(rules, { service = "kinesalite" })
    local client = scope:client(client_given)
    return assert(client:producer(stream, given)), client, scope
  end

  it("hands back at once what it has no permission for", function()
    local denied = { code = "AccessDeniedException", status = 400, always = true }
    local producer, client, scope = open { PutRecords = { denied } }
    local stored, err = assert(producer:send("secret", "key")):wait()
    assert.is_nil(stored)
    assert.equal("AccessDeniedException", err.code)
    assert.equal(1, #err.attempts)
    assert.equal(1, #scope:seen "PutRecords")
    producer:close()
    client:close()
  end)

  it("tries again what passes, and keeps the attempts", function()
    local producer, client = open { PutRecords = { { code = "InternalFailure", status = 500 },
      { code = "ServiceUnavailable", status = 503 } } }
    local stored = assert(assert(producer:send("again", "key")):wait())
    assert.equal(3, #stored.attempts)
    assert.equal("InternalFailure", stored.attempts[1].code)
    assert.equal("ServiceUnavailable", stored.attempts[2].code)
    assert.is_nil(stored.attempts[3].code)
    assert.equal(2, producer:stats().possible_duplicates)
    producer:close()
    client:close()
  end)

  it("gives up after the time to live", function()
    local producer, client = open({ PutRecords = { { code = "InternalFailure", status = 500, always = true } } },
      { record_ttl = 0.3 })
    local stored, err = assert(producer:send("old", "key")):wait()
    assert.is_nil(stored)
    assert.equal("Expired", err.code)
    assert.is_true(#err.attempts >= 1)
    assert.matches("not stored within 0.3 s, in %d+ attempts?; the last attempt: InternalFailure", err.message)
    assert.equal(1, producer:stats().expired)
    producer:close()
    client:close()
  end)

  it("comes back from close in time, with what is not stored", function()
    local producer, client = open({ PutRecords = { { stall = 30, always = true } } })
    local receipt = assert(producer:send("waited for", "key"))
    assert(producer:put("not waited for", "key"))
    local began = core.now()
    local done, err, lost = producer:close(0.5)
    assert.is_true(core.now() - began < 3)
    assert.is_nil(done)
    assert.equal("Closed", err.code)
    assert.same({ "not waited for" }, data_of(lost))
    local _, why = receipt:wait()
    assert.equal("Closed", why.code)
    assert.matches("may have stored it", why.message, 1, true)
    client:close()
  end)

  it("says how many are left when a flush takes too long", function()
    local producer, client = open({ PutRecords = { { stall = 1 } } })
    assert(producer:put("slow", "key"))
    local done, err, left = producer:flush(0.1)
    assert.is_nil(done)
    assert.equal("Timeout", err.code)
    assert.equal(1, left)
    assert.is_true(producer:flush())
    producer:close()
    client:close()
  end)

  it("is Full at once in a host, and waits in a script", function()
    local producer, client = open({ PutRecords = { { stall = 1 } } },
      { max_records = 5, when_full = "refuse", linger = 0 })
    for i = 1, 5 do
      assert(producer:put("r" .. i, "key"))
    end
    local taken, err = producer:put("r6", "key")
    assert.is_nil(taken)
    assert.equal("Full", err.code)
    assert.matches("5 records %(%d+ bytes%) take all the room", err.message)
    producer:close()
    local patient = assert(client:producer(stream, { max_records = 5 }))
    for i = 1, 50 do
      assert(patient:put("p" .. i, "key"))
    end
    assert.is_true(patient:close())
    assert.equal(50, patient:stats().stored)
    client:close()
  end)
end)

-- ---- ends that nobody waited for ----

-- A script with a producer; `body` is what it does.
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

describe("a producer that nobody closes", function()
  local direct

  setup(function()
    direct = fresh.client(fresh.services[2])
  end)

  teardown(function()
    direct:close()
  end)

  local function count_stored(stream)
    local count = 0
    for _, record in ipairs(fresh.read(direct, stream)) do
      count = count + #(kinesis.deaggregate(record.data) or { record })
    end
    return count
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

  it("says how many records are lost when that takes too long", function()
    local stream = fresh.stream(direct, 1, "unclosed")
    local scope = faults.open({ PutRecords = { { stall = 30, always = true } } }, { service = "kinesalite" })
    local began = core.now()
    local output, status = fresh.lua(script(FIVE, "{ exit_timeout = 0.3 }"), nil, scope.url, stream):wait()
    assert.is_true(core.now() - began < 10)
    assert.equal(("kinesis: 5 records for %s were not delivered: the producer was not closed\n"):format(stream), output)
    assert.equal(0, status)
  end)

  it("is no business of a child after a fork", function()
    local stream = fresh.stream(direct, 1, "forked")
    local body = FIVE .. [[
local fork = arg[3] ~= "" and require("posix.unistd").fork
local pid = fork()
if pid == 0 then
  local done, err = producer:put("x", "key")
  io.write(tostring(done), " ", err.code, " ")
  done, err = producer:flush()
  io.write(tostring(done), " ", err.code, " ")
  io.write(tostring(producer:close()), "\n")
  os.exit(0, true)
end
require("posix.sys.wait").wait(pid)
io.write(tostring(producer:close()), "\n")
]]
    if not pcall(require, "posix.unistd") then
      pending "lua-posix is not there for this Lua"
    end
    local output, status = fresh.lua(script(body), { ASAN_OPTIONS = "detect_leaks=0" }, fresh.services[2].endpoint,
      stream, "fork"):wait()
    assert.equal("nil Forked nil Forked true\ntrue\n", output)
    assert.equal(0, status)
    assert.equal(5, count_stored(stream))
  end)

  it("loses nothing when a signal's handler closes it", function()
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
    end, 20)
    os.execute("kill " .. pid)
    local output = child:wait()
    local taken, done = output:match "^(%d+)%s+(%S+)"
    assert.equal("true", done, output)
    assert.equal(tonumber(taken), count_stored(stream))
  end)
end)
