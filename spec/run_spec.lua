-- kinesis.run: concurrent readers, producers and consumers in one script; and credentials that a function
-- provides while they run.
local fresh = require "support.fresh"
local core = require "kinesis.core"
local kinesis = require "kinesis"

local service = fresh.services[1]
local unpack = table.unpack or unpack

describe("kinesis.run", function()
  local client

  setup(function()
    client = fresh.client(service)
  end)

  teardown(function()
    client:close()
  end)

  it("waits for as many clients as there are", function()
    local tasks, answered = {}, 0
    for i = 1, 70 do
      tasks[i] = function()
        local own = fresh.client(service, { max_connections = 1 })
        assert(own:call "ListStreams")
        answered = answered + 1
        own:close()
      end
    end
    kinesis.run(unpack(tasks))
    assert.equal(70, answered)
  end)

  it("runs functions until all have returned, each in a coroutine of its own", function()
    local order, routines = {}, {}
    local main = coroutine.running()
    local function task(name, seconds)
      return function()
        routines[coroutine.running()] = true
        order[#order + 1] = name .. " begins"
        kinesis.sleep(seconds)
        order[#order + 1] = name .. " ends"
      end
    end
    local started = core.now()
    kinesis.run(task("a", 0.3), task("b", 0.1), task("c", 0.2))
    local took = core.now() - started
    assert.same({ "a begins", "b begins", "c begins", "b ends", "c ends", "a ends" }, order)
    assert.is_true(took >= 0.3 and took < 0.55, took)
    local count = 0
    for routine in pairs(routines) do
      assert.is_true(routine ~= main)
      count = count + 1
    end
    assert.equal(3, count)
    kinesis.run()
  end)

  it("hands out no more than `limit` to coroutines that share a reader", function()
    local stream = fresh.stream(client, 1, "shared")
    local reader, got, ended = client:shards(stream):records { limit = 3, idle_timeout = 10 }, 0, 0
    local function take()
      for _ in reader do
        got = got + 1
        kinesis.sleep(0) -- the other one's turn
      end
      ended = ended + 1
    end
    kinesis.run(take, take, function()
      local _, failed = client:put_many(stream, { { data = "1" }, { data = "2" }, { data = "3" }, { data = "4" } })
      assert.equal(0, failed)
    end)
    assert.equal(3, got)
    assert.equal(2, ended)
  end)

  it("that an error ends holds on to no client of those that waited", function()
    local held = setmetatable({}, { __mode = "k" })
    local function fail_while_waiting()
      local own = fresh.client(service)
      held[own] = true
      kinesis.run(function()
        for _ in own:shards(fresh.stream(own, 1, "abandoned")):records() do end
      end, function()
        kinesis.sleep(0.1)
        error "enough"
      end)
    end
    assert.has_error(fail_while_waiting)
    fresh.collect()
    assert.is_nil(next(held))
  end)

  it("reads every shard in a coroutine of its own", function()
    local stream = fresh.stream(client, 4, "run")
    local entries = {}
    for i = 1, 100 do
      entries[i] = { data = tostring(i), partition_key = "key " .. i }
    end
    local _, failed = client:put_many(stream, entries)
    assert.equal(0, failed)
    local tasks, seen, switches, last = {}, {}, 0, nil
    for i, shard in ipairs(client:shards(stream)) do
      tasks[i] = function()
        for record in shard:records { stop_at_tip = true } do
          assert.equal(shard.id, record.shard_id)
          seen[#seen + 1] = tonumber(record.data)
          switches = switches + (last ~= shard.id and 1 or 0)
          last = shard.id
        end
      end
    end
    kinesis.run(unpack(tasks))
    table.sort(seen)
    assert.equal(100, #seen)
    for i = 1, 100 do
      assert.equal(i, seen[i])
    end
    assert.is_true(switches >= 4)
  end)

  it("puts and reads at once in one script", function()
    local stream = fresh.stream(client, 2, "both")
    local shards = client:shards(stream)
    local events, produced = {}, 0
    kinesis.run(function()
      for record in shards:records { poll_interval = 0.2, idle_timeout = 20, limit = 6 } do
        events[#events + 1] = "got " .. record.data
      end
    end, function()
      for i = 1, 6 do
        assert(client:put(stream, tostring(i), "key"))
        produced = produced + 1
        events[#events + 1] = "put " .. i
        -- the producer goes on only when the consumer has this one: they take turns, or nothing ends
        fresh.eventually(function()
          return events[#events] == "got " .. i
        end)
      end
    end)
    assert.equal(6, produced)
    local expected = {}
    for i = 1, 6 do
      expected[#expected + 1] = "put " .. i
      expected[#expected + 1] = "got " .. i
    end
    assert.same(expected, events)
  end)

  it("sends the calls of several coroutines side by side, on several clients", function()
    local other = fresh.client(fresh.services[2])
    local one, two = fresh.stream(client, 1, "one"), fresh.stream(other, 1, "two")
    local flying, most, stored = 0, 0, 0
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = function()
        flying = flying + 1
        most = math.max(most, flying)
        local user, stream = client, one
        if i % 2 == 0 then
          user, stream = other, two
        end
        assert(user:put(stream, "x", "k"))
        flying = flying - 1
        stored = stored + 1
      end
    end
    kinesis.run(unpack(tasks))
    assert.equal(20, stored)
    assert.equal(20, most)
    assert.equal(10, #fresh.read(client, one))
    assert.equal(10, #fresh.read(other, two))
    other:close()
  end)

  it("is ended by an error, with the task's traceback", function()
    local good, err = pcall(kinesis.run, function()
      kinesis.sleep(30)
    end, function()
      kinesis.sleep(0.01)
      error "the task's own complaint"
    end)
    assert.is_false(good)
    assert.matches("run_spec.lua:%d+: the task's own complaint", err)
    assert.matches("traceback", err, 1, true)
    local object = {}
    good, err = pcall(kinesis.run, function()
      error(object)
    end)
    assert.is_false(good)
    assert.equal(object, err)
    -- and what comes after is not disturbed
    local ran = false
    kinesis.run(function()
      kinesis.sleep(0)
      ran = true
    end)
    assert.is_true(ran)
  end)

  it("raises the error object of a reader in a task", function()
    local good, err = pcall(kinesis.run, function()
      client:shards(fresh.name "absent")
    end)
    assert.is_false(good)
    assert.equal("ResourceNotFoundException", err.code)
  end)

  it("lets the coroutines that a task makes for itself block, and work", function()
    local stream = fresh.stream(client, 1, "nested")
    local lines = {}
    kinesis.run(function()
      local generator = coroutine.wrap(function()
        for i = 1, 3 do
          local result = assert(client:put(stream, tostring(i), "k"))
          kinesis.sleep(0.01)
          coroutine.yield(result.sequence_number)
        end
      end)
      for sequence_number in generator do
        lines[#lines + 1] = sequence_number
      end
      local reader = coroutine.wrap(function()
        for record in client:shards(stream):records { stop_at_tip = true } do
          coroutine.yield(record)
        end
      end)
      local i = 0
      for record in reader do
        i = i + 1
        assert.equal(tostring(i), record.data)
        assert.equal(lines[i], record.sequence_number)
      end
      assert.equal(3, i)
    end)
    assert.equal(3, #lines)
  end)

  it("may be called inside a run", function()
    local order = {}
    kinesis.run(function()
      kinesis.run(function()
        kinesis.sleep(0.02)
        order[#order + 1] = "inner"
      end)
      order[#order + 1] = "outer"
    end)
    assert.same({ "inner", "outer" }, order)
  end)

  it("wakes a reader that another task stops", function()
    local shards = client:shards((fresh.stream(client, 1, "stop")))
    local reader = shards:records()
    local got, ended = "nothing yet", false
    kinesis.run(function()
      got = reader()
      ended = true
    end, function()
      kinesis.sleep(0.05)
      assert.is_false(ended)
      reader:stop()
    end)
    assert.is_nil(got)
    assert.is_true(ended)
  end)

  it("yields nothing of its own into a coroutine of the user's", function()
    local stream = fresh.stream(client, 1, "plain")
    local routine = coroutine.create(function()
      return client:put(stream, "x", "k")
    end)
    local good, result = coroutine.resume(routine)
    assert.is_true(good)
    assert.matches("^%d+$", result.sequence_number)
    assert.equal("dead", coroutine.status(routine))
  end)
end)

describe("a credentials provider", function()
  local function provided(provider)
    return fresh.client(service, { credentials = provider })
  end

  it("is called when credentials are first needed, and not again while they are valid", function()
    local asked = 0
    local client = provided(function()
      asked = asked + 1
      return { access_key_id = "AKID", secret_access_key = "secret", expiration = os.time() + 7200 }
    end)
    assert.equal(0, asked)
    for _ = 1, 5 do
      assert(client:call("ListStreams"))
    end
    assert.equal(1, asked)
    client:close()
  end)

  it("is called again 15 minutes before the expiration, once a quarter of the lifetime is over", function()
    local asked = 0
    local client = provided(function()
      asked = asked + 1
      return {
        access_key_id = "AKID" .. asked,
        secret_access_key = "secret",
        expiration = os.time() + (asked == 1 and 4 or 7200),
      }
    end)
    assert(client:call "ListStreams")
    fresh.eventually(function()
      assert(client:call "ListStreams")
      return asked == 2
    end)
    for _ = 1, 5 do
      assert(client:call "ListStreams")
    end
    assert.equal(2, asked)
    client:close()
  end)

  it("that once failed in an odd way is asked again by the next call", function()
    for _, fail in ipairs { function()
      return nil, { message = {} }
    end, function()
      error(setmetatable({}, { __tostring = error }))
    end } do
      local asked = 0
      local client = provided(function()
        asked = asked + 1
        if asked == 1 then
          return fail()
        end
        return fresh.keys
      end)
      local answer, err = client:call "ListStreams"
      assert.is_nil(answer)
      assert.equal("NoCredentials", err.code)
      assert(client:call "ListStreams")
      client:close()
    end
  end)

  it("that gives an empty session token gives none", function()
    local scope = require("support.faults").open()
    local client = scope:client { credentials = function()
      return { access_key_id = "AKID", secret_access_key = "secret", session_token = "" }
    end }
    assert(client:call "ListStreams")
    assert.is_nil(scope:seen("ListStreams")[1].authorization:find "security%-token")
    client:close()
  end)

  it("that fails makes NoCredentials errors that say why, and nothing else", function()
    for why, provider in pairs {
      ["the vault is sealed"] = function()
        return nil, "the vault is sealed"
      end,
      ["a table's message"] = function()
        return nil, { message = "a table's message" }
      end,
      ["something broke"] = function()
        error "something broke"
      end,
      ["returned no table"] = function()
        return "AKID"
      end,
      ["secret_access_key"] = function()
        return { access_key_id = "AKID" }
      end,
      ["access_key_id"] = function()
        return { access_key_id = "AK\nID", secret_access_key = "secret" }
      end,
      ["has none"] = function() end,
      ["session_token"] = function()
        return { access_key_id = "AKID", secret_access_key = "secret", session_token = "a\r\nx-evil: 1" }
      end,
      ["no proper session_token"] = function()
        return { access_key_id = "AKID", secret_access_key = "secret", session_token = 7 }
      end,
      ["expiration"] = function()
        return { access_key_id = "AKID", secret_access_key = "secret", expiration = "soon" }
      end,
      ["no proper expiration"] = function()
        return { access_key_id = "AKID", secret_access_key = "secret", expiration = 0 / 0 }
      end,
      ["account_id"] = function()
        return { access_key_id = "AKID", secret_access_key = "secret", account_id = 123456789012 }
      end,
      ["cannot be printed"] = function()
        error(setmetatable({}, { __tostring = function()
          error {}
        end }))
      end,
      ["true"] = function()
        return nil, { message = true }
      end,
      ["no member today"] = function()
        return setmetatable({}, {
          __index = function()
            error "no member today"
          end,
        })
      end,
    } do
      local client = provided(provider)
      local stream = fresh.name "absent"
      local answer, err = client:put(stream, "x")
      assert.is_nil(answer)
      assert.equal("NoCredentials", err.code)
      assert.matches(why, tostring(err), 1, true)
      assert.is_nil(tostring(err):find "\n")
      local good, raised = pcall(client.shards, client, stream)
      assert.is_false(good)
      assert.equal("NoCredentials", raised.code)
      client:close()
    end
  end)

  it("cannot use the client that waits for its credentials", function()
    local client
    client = provided(function()
      return nil, tostring(select(2, client:call "ListStreams"))
    end)
    local answer, err = client:call "ListStreams"
    assert.is_nil(answer)
    assert.equal("NoCredentials", err.code)
    assert.matches("needs a client of its own", err.message, 1, true)
    client:close()
  end)

  it("that fails is asked again by the next call", function()
    local sealed = true
    local client = provided(function()
      if sealed then
        return nil, "the vault is sealed"
      end
      return fresh.keys
    end)
    local _, err = client:call "ListStreams"
    assert.equal("NoCredentials", err.code)
    sealed = false
    fresh.eventually(function()
      return client:call "ListStreams"
    end)
    client:close()
  end)

  it("may itself wait, in kinesis.run, while another client works", function()
    local helper = fresh.client(service)
    local client = provided(function()
      assert(helper:call "ListStreams")
      return fresh.keys
    end)
    local done = 0
    kinesis.run(function()
      assert(client:call "ListStreams")
      done = done + 1
    end, function()
      assert(helper:call "ListStreams")
      done = done + 1
    end)
    assert.equal(2, done)
    client:close()
    helper:close()
  end)
end)
