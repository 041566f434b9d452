-- Whatever is cut off by an error thrown into Lua, at any instruction, leaves a client that works, and nothing behind.
-- SPEC_FULL=1 breaks every call at every instruction.
-- Flavours: *lua5.4 *luajit
local core = require "kinesis.core"
local faults = require "support.faults"
local frames = require "support.frames"
local fresh = require "support.fresh"
local interrupt = require "support.interrupt"
local kinesis = require "kinesis"

local KEYS_ENV = { AWS_CONTAINER_CREDENTIALS_FULL_URI = os.getenv "NGINX_KEYS" .. "/agent/x",
  AWS_CONTAINER_AUTHORIZATION_TOKEN = "agent token" }
local STORED = { { body = '{"ShardId":"shardId-000000000000","SequenceNumber":"1"}', always = true } }

local scope, stream, direct

local function descriptors()
  fresh.collect()
  return tonumber((fresh.spawn('ls /proc/$PPID/fd | wc -l'):wait()))
end

-- As many connections as a client may keep come and go; what is left behind at each of a hundred places is more.
local function expect_no_leak(before)
  local now = descriptors()
  assert.is_true(now <= before + 24, ("%d descriptors, and %d before"):format(now, before))
end

-- A client whose credentials come from a container's agent: three calls of a provider's coroutine and one request.
local function fetching_client(more)
  local options = { endpoint = scope.url, region = "us-east-1" }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  return assert(kinesis.client(options))
end

local function keys()
  return { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret", expiration = os.time() + 3600 }
end

local getenv = os.getenv

setup(function()
  os.getenv = function(name) -- luacheck: ignore
    return KEYS_ENV[name] or getenv(name)
  end
  scope = faults.open {
    PutRecord = STORED, ListShards = { { body = '{"Shards":[{"ShardId":"shardId-0"}]}', always = true } },
    GetShardIterator = { { body = '{"ShardIterator":"i"}', always = true } },
    GetRecords = { { body = '{"Records":[{"Data":"","PartitionKey":"k","SequenceNumber":"1"},{"Data":"",'
      .. '"PartitionKey":"k","SequenceNumber":"2"}],"NextShardIterator":"i","MillisBehindLatest":0}', always = true } },
    SubscribeToShard = { { body = "", always = true } },
  }
  direct = fresh.client(os.getenv "KINESALITE", { event_loop = "none" })
  stream = fresh.stream(direct, 1, "interrupted")
end)

teardown(function()
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
  os.getenv = getenv -- luacheck: ignore
end)

-- Breaks `call(object)` everywhere, each time expects `works(object)` to be over in time. `make`: a new object for each
-- place, or one for all (`kept`).
local function break_everywhere(kind)
  local function made()
    return kind.make()
  end
  local object = made()
  local total = interrupt.count(function() kind.call(object) end)
  kind.close(object)
  local before = descriptors()
  object = kind.kept and made()
  for n in interrupt.places(total + 3, kind.most) do
    local one = object or made()
    interrupt.at(n, function() kind.call(one) end)
    local good, err = pcall(interrupt.within, 5, function() kind.works(one) end)
    assert(good, ("broken at instruction %d of %d: %s"):format(n, total, tostring(err)))
    if not object then
      kind.close(one)
    end
  end
  if object then
    kind.close(object)
  end
  expect_no_leak(before)
end

local function close(client)
  client:close()
end

local function put(client)
  assert(client:put(stream, "data", "key"))
end

local function client_here(more)
  local options = { event_loop = "none" }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  return function()
    return fresh.client(os.getenv "KINESALITE", options)
  end
end

describe("a call that an error cuts off leaves a client that works:", function()
  it("put, while credentials are being fetched", function()
    break_everywhere { make = fetching_client, call = put, works = put, close = close, most = 150 }
  end)

  it("put, while a function gives credentials", function()
    break_everywhere { call = put, works = put, close = close, most = 100, make = function()
      return fetching_client { credentials = keys }
    end }
  end)

  it("the creation of a client", function()
    break_everywhere { make = function() return {} end, call = function(made)
      made[1] = fetching_client()
      made[1]:close()
    end, works = function()
      local client = fetching_client()
      put(client)
      client:close()
    end, close = function(made)
      made[1] = nil
    end, most = 60 }
  end)

  for name, call in pairs {
    put = put,
    put_many = function(client)
      assert.equal(0, select(2, client:put_many(stream, { { data = "a" }, { data = "b" } })))
    end,
    describe_stream = function(client)
      assert(client:describe_stream { StreamName = stream })
    end,
    pages = function(client)
      for page in client:pages("ListShards", { StreamName = stream }) do
        assert.equal(1, #page.Shards)
      end
    end,
    wait_until = function(client)
      assert(client:wait_until("stream_exists", { StreamName = stream }))
    end,
    ["kinesis.run"] = function(client)
      kinesis.run(function() put(client) end, function() put(client) end)
    end,
    sleep = function()
      kinesis.sleep(0.001)
    end,
  } do
    it(name, function()
      break_everywhere { make = client_here { on_response = function() end }, call = call, works = call, close = close,
        kept = true, most = 60 }
    end)
  end
end)

-- Whether the user has what a call returns: the error came at its last instruction, or later.
local function is_returned(traceback)
  local file, line = traceback:match "\n%s*([^\n:]*/lua/kinesis/[^\n:]*):(%d+): "
  if not file then
    return true
  end
  local at = 0
  for text in io.lines(file) do
    at = at + 1
    if at == tonumber(line) then
      return text:find "^%s*return" ~= nil
    end
  end
end

describe("an object whose call an error cuts off still works:", function()
  local function with_producer(more)
    return function()
      local client = client_here()()
      return assert(client:producer(stream, more))
    end
  end

  local function close_producer(producer)
    assert(producer:close())
    producer.client:close()
  end

  for name, call in pairs {
    put = function(producer)
      assert(producer:put("data", "key"))
    end,
    flush = function(producer)
      assert(producer:put("data", "key"))
      assert(producer:flush())
    end,
    send = function(producer)
      assert(assert(producer:send("data", "key")):wait())
    end,
  } do
    it("a producer in " .. name, function()
      break_everywhere { make = with_producer { linger = 0 }, call = call, kept = true, close = close_producer,
        most = 100,
        works = function(producer)
          call(producer)
          assert(producer:flush())
          assert.equal(0, producer:stats().open)
        end }
    end)
  end

  it("a producer in close", function()
    break_everywhere { make = with_producer { linger = 0 }, call = close_producer, works = close_producer,
      close = close_producer, most = 40 }
  end)

  it("a receipt in wait", function()
    local function wait(made)
      assert(made.receipt:wait())
    end
    break_everywhere { make = function()
      local producer = with_producer { linger = 0 }()
      return { producer = producer, receipt = assert(producer:send("data", "key")) }
    end, call = wait, works = wait, close = function(made)
      close_producer(made.producer)
    end, most = 100 }
  end)

  it("a producer whose on_failure is being called", function()
    local told = 0
    local function fail(producer)
      assert(producer:put("x", "key"))
      assert(producer:flush())
    end
    break_everywhere { make = function()
      return assert(client_here()():producer("absent", { linger = 0, on_failure = function() told = told + 1 end }))
    end, call = fail, works = function(producer)
      told = 0
      fail(producer)
      assert.is_true(told > 0)
    end, close = close_producer, kept = true, most = 30 }
  end)

  for name, take in pairs {
    flush = function(producer) return select(4, producer:flush()) end,
    close = function(producer) return select(3, producer:close()) end,
  } do
    it("a producer whose " .. name .. " returns what has failed", function()
      local function make()
        return assert(client_here()():producer("absent", { linger = 0 }))
      end
      local total = interrupt.count(function()
        local producer = make()
        assert(producer:put("x", "key"))
        take(producer)
        producer.client:close()
      end)
      for n in interrupt.places(total, 100) do
        local producer, where, taken = make(), nil, nil
        assert(producer:put("x", "key"))
        interrupt.at(n, function() taken = take(producer) end, false, function(traceback) where = traceback end)
        if not taken and not is_returned(where) then
          taken = take(producer)
          assert(taken and taken[1].data == "x", where)
        end
        producer:close()
        producer.client:close()
      end
    end)
  end

  local ASKED = { ConsumerARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1",
      ShardId = "shardId-000000000000", StartingPosition = { Type = "LATEST" } }

  it("a subscription whose end is being told", function()
    local function drain(made)
      for _ in made.events do
        error "there are no events"
      end
    end
    break_everywhere { make = function()
      local client = fresh.client(scope.url, { event_loop = "none" })
      return { client = client, events = assert(client:subscribe_to_shard(ASKED)) }
    end, call = drain, works = drain, close = function(made)
      made.client:close()
    end, most = 60 }
  end)

  it("a subscription whose events are being returned", function()
    local events = {}
    for i = 1, 4 do
      events[i] = frames.event(('{"Records":[],"ContinuationSequenceNumber":"%d","MillisBehindLatest":0}'):format(i))
    end
    local four = faults.open { SubscribeToShard = { {
      base64 = core.codec.base64_encode(table.concat(frames.encode(events))), always = true } } }
    local client = fresh.client(four.url, { event_loop = "none" })
    local function drain(made)
      for event in made.events do
        made.seen[#made.seen + 1] = event.ContinuationSequenceNumber
      end
    end
    local function make()
      return { events = client:subscribe_to_shard(ASKED), seen = {} }
    end
    local total = interrupt.count(function() drain(make()) end)
    for n in interrupt.places(total, 150) do
      local made, where = make(), nil
      interrupt.at(n, function() drain(made) end, false, function(traceback) where = traceback end)
      interrupt.within(5, function() drain(made) end)
      if not where or not is_returned(where) then
        assert.equal("1 2 3 4", table.concat(made.seen, " "), where)
      end
    end
    client:close()
  end)

  it("a reader", function()
    break_everywhere { make = function()
      return fresh.client(scope.url, { event_loop = "none" })
    end, close = close, most = 100, kept = true, call = function(client)
      for _ in client:shards(stream):records { limit = 2 } do
        assert(true)
      end
    end, works = function(client)
      assert.equal("string", type(client:shards(stream):records({ limit = 1 }):next().data))
    end }
  end)
end)

describe("a reader whose `next` an error cuts off", function()
  local RECORD = '{"Data":"YQ==","PartitionKey":"k","SequenceNumber":"%d"}'
  local four, shards, client

  setup(function()
    local records = {}
    for i = 1, 4 do
      records[i] = RECORD:format(i)
    end
    four = faults.open {
      ListShards = { { body = '{"Shards":[{"ShardId":"shardId-0"}]}', always = true } },
      GetShardIterator = { { body = '{"ShardIterator":"i"}', always = true } },
      GetRecords = { { body = ('{"Records":[%s],"ChildShards":[{"ShardId":"shardId-1","ParentShards":["shardId-0"]}]}')
        :format(table.concat(records, ",")), always = true } },
    }
    client = fresh.client(four.url, { event_loop = "none" })
    shards = client:shards("s")
  end)

  teardown(function()
    client:close()
  end)

  local function add_list(seen, list)
    for _, sequence_number in ipairs(list) do
      seen[#seen + 1] = sequence_number
    end
  end

  for name, kind in pairs {
    tables = { add = function(seen, record) seen[#seen + 1] = record.sequence_number end },
    values = { options = { values = { "sequence_number", "data" } }, add = function(seen, sequence_number)
      seen[#seen + 1] = sequence_number
    end },
    lists = { options = { batch = true }, add = function(seen, list)
      for _, record in ipairs(list) do
        add_list(seen, { record.sequence_number })
      end
    end },
    columns = { options = { batch = "columns" }, add = function(seen, list) add_list(seen, list.sequence_number) end },
  } do
    it("returns what it has not returned, and ends: " .. name, function()
      local function make()
        local made = { seen = {}, started = 0, ended = 0 }
        local options = { on_shard_start = function() made.started = made.started + 1 end,
          on_shard_end = function() made.ended = made.ended + 1 end }
        for option, value in pairs(kind.options or {}) do
          options[option] = value
        end
        made.reader = shards[1]:records(options)
        return made
      end
      local function read(made)
        local got = made.reader:next()
        while got ~= nil do
          kind.add(made.seen, got)
          got = made.reader:next()
        end
      end
      local total = interrupt.count(function() read(make()) end)
      for n in interrupt.places(total, 150) do
        local made, where = make(), nil
        interrupt.at(n, function() read(made) end, false, function(traceback) where = traceback end)
        local good, err = pcall(interrupt.within, 5, function() read(made) end)
        assert(good, ("broken at instruction %d: %s\n%s"):format(n, tostring(err), tostring(where)))
        assert.equal("shard_end", made.reader:position().shards["shardId-0"])
        assert.is_true(made.started <= 1 and made.ended <= 1, where) -- none: it was cut off before the call
        assert.is_true(made.started + made.ended >= 1, where)
        if not where or not is_returned(where) then
          assert.equal("1 2 3 4", table.concat(made.seen, " "), where)
        end
      end
    end)

    it("returns each record once, also when a signal handler asks it at each instruction: " .. name, function()
      local seen, reader = {}, shards[1]:records(kind.options)
      local asked = 0
      debug.sethook(function()
        asked = math.max(asked, reader:stats().records)
        local place = reader:position().shards["shardId-0"]
        assert(place == "shard_end" or place == "trim_horizon" or tonumber(place.after) >= #seen)
        assert(reader:lag() or asked == 0)
      end, "", 1)
      local good, err = pcall(function()
        for got, more in function() return reader:next() end do
          kind.add(seen, got, more)
        end
      end)
      debug.sethook()
      assert(good, err)
      assert.equal("1 2 3 4", table.concat(seen, " "))
      assert.equal(4, asked)
    end)
  end
end)

describe("a coroutine of luv that an error cuts off", function()
  local uv = require "luv"

  -- Runs f in a coroutine, and the loop until nothing is left in it.
  local function in_loop(f)
    local over, late = false, false
    local guard = uv.new_timer()
    guard:start(5000, 0, function()
      late = true
      uv.stop()
    end)
    guard:unref()
    local task = coroutine.create(function()
      f()
      over = true
    end)
    assert(coroutine.resume(task))
    uv.run()
    guard:close()
    uv.run "nowait"
    assert.is_false(late, "something keeps the loop")
    assert.is_true(over)
  end

  -- Breaks `call` at many places; expects it to work after that, and nothing to be left in the loop.
  local function break_in_loop(call, works)
    local total
    in_loop(function()
      total = interrupt.count(call, true)
    end)
    local before = descriptors()
    for n in interrupt.places(total, 100) do
      in_loop(function()
        interrupt.at(n, call, true)
        works()
      end)
      local left = 0
      fresh.collect()
      uv.run "nowait"
      uv.walk(function(handle)
        left = left + (handle:is_active() and handle:has_ref() and 1 or 0)
      end)
      assert.equal(0, left, "broken at " .. n)
    end
    expect_no_leak(before)
  end

  it("keeps neither the loop nor the others", function()
    local client = fresh.client(scope.url)
    break_in_loop(function()
      kinesis.sleep(0.001)
      put(client)
    end, function()
      put(client)
    end)
    client:close()
  end)

  it("leaves a client whose producers and readers work", function()
    local client = fresh.client(scope.url)
    local function read()
      for _ in client:shards(stream):records { limit = 2 } do
        assert(true)
      end
    end
    break_in_loop(read, read)
    client:close()
    client = fresh.client(os.getenv "KINESALITE")
    local function produce()
      local producer = assert(client:producer(stream, { linger = 0 }))
      assert(producer:put("data", "key"))
      assert(producer:flush())
      assert(producer:close())
    end
    break_in_loop(produce, produce)
    client:close()
  end)
end)

describe("kinesis.run", function()
  it("resumes the tasks whose wake was cut off inside another", function()
    local client = client_here()()
    local function call()
      local woken = 0
      kinesis.run(function()
        pcall(put, client)
        pcall(put, client)
      end, function()
        put(client)
        woken = woken + 1
      end)
      assert.equal(1, woken)
    end
    local total = interrupt.count(call)
    for n in interrupt.places(total, 100) do
      local began = core.now()
      interrupt.at(n, call)
      assert.is_true(core.now() - began < 5, "broken at " .. n)
      interrupt.within(5, call)
    end
    client:close()
  end)
end)
