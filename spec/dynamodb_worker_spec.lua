-- Workers whose leases are in DynamoDB (dynalite), beside each other and beside the Kinesis Client Library (KCL), whose
-- requests are imitated as they were recorded.
local core = require "kinesis.core"
local dynamodb = require "support.dynamodb"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local working = require "support.working"

local numbers, sorted, unpack = working.numbers, working.sorted, table.unpack or unpack
local KINESALITE = fresh.services[2]

local client, application

before_each(function()
  client, application = fresh.client(KINESALITE), fresh.name "counter"
end)

after_each(function()
  client:close()
end)

local function open(streams, more)
  return dynamodb.open_worker(client, streams, application, more)
end

local function put(stream, first, last)
  working.spread(client, stream, first, last)
end

local function process(streams, count, more)
  return working.process_numbers(open(streams, more), count)
end

local function items()
  return dynamodb.items(client, application)
end

-- Makes the leases of a stream, the first `held` of them a KCL's; with more attributes.
local function create_rows(stream, held, more)
  local rows = {}
  for i, shard in ipairs(client:shards(stream)) do
    rows[i] = { leaseKey = { S = shard.id }, leaseOwner = i <= held and { S = "kcl" } or nil,
      leaseCounter = { N = "3" }, ownerSwitchesSinceCheckpoint = { N = "0" }, checkpoint = { S = "TRIM_HORIZON" },
      checkpointSubSequenceNumber = { N = "0" }, startingHashKey = { S = shard.starting_hash_key },
      endingHashKey = { S = shard.ending_hash_key } }
    for name, value in pairs(more or {}) do
      rows[i][name] = value
    end
  end
  dynamodb.create(client, application, rows)
end

-- A renewal of a KCL, or a steal.
local function write_as_kcl(key, item, owner)
  return dynamodb.call(client, "UpdateItem", { TableName = application, Key = { leaseKey = { S = key } },
    AttributeUpdates = { leaseCounter = { Action = "PUT", Value = { N = ("%d"):format(item.leaseCounter.N + 1) } },
      leaseOwner = owner and { Action = "PUT", Value = { S = owner } } or nil },
    Expected = { leaseCounter = { Value = item.leaseCounter } } })
end

local function renew_as_kcl()
  for key, item in pairs(items()) do
    if item.leaseOwner and item.leaseOwner.S == "kcl" then
      write_as_kcl(key, item)
    end
  end
end

describe("a worker with leases in DynamoDB", function()
  it("makes the table, and goes on where the one before it stopped, inside an aggregate, too", function()
    local stream = fresh.stream(client, 2)
    put(stream, 1, 60)
    local got = process(stream, 25)
    for _, item in pairs(items()) do
      assert.is_nil(item.leaseOwner)
      assert.is_nil(item.heldBy)
    end
    for _, each in ipairs(process(stream, 35)) do
      got[#got + 1] = each
    end
    assert.same(numbers(1, 60), sorted(got))
  end)

  it("reads the children of a shard after it, and leaves the rows of a KCL", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 10)
    local shard = client:shards(stream)[1]
    assert(client:split_shard { StreamName = stream, ShardToSplit = shard.id,
      NewStartingHashKey = "170141183460469231731687303715884105728" })
    fresh.active(client, stream)
    put(stream, 11, 30)
    local at_end
    local got = process(stream, 30, { on_shard_end = function()
      at_end = items()
    end })
    assert.same(numbers(1, 10), { unpack(got, 1, 10) })
    assert.same(numbers(1, 30), sorted(got))
    for key, item in pairs(items()) do -- of all attributes that kill a KCL when they miss
      for _, name in ipairs { "leaseCounter", "ownerSwitchesSinceCheckpoint", "checkpointSubSequenceNumber" } do
        assert.is_string(item[name].N, key .. " " .. name)
      end
      for _, name in ipairs { "checkpoint", "startingHashKey", "endingHashKey" } do
        assert.is_string(item[name].S, key .. " " .. name)
      end
    end
    local children = 0
    for key, item in pairs(at_end) do
      if key ~= shard.id then
        children = children + 1
        assert.same({ SS = { shard.id } }, item.parentShardId)
        assert.equal("TRIM_HORIZON", item.checkpoint.S)
      end
    end
    assert.equal(2, children)
  end)

  it("goes on where a KCL stopped inside an aggregate, and lets it go on", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 20)
    local shard, sequence_number, subs = client:shards(stream)[1], nil, {}
    for _, record in ipairs(fresh.read(client, stream)) do
      sequence_number = sequence_number or record.sequence_number
      subs[#subs + 1] = record.sub_sequence_number
    end
    assert.equal(19, subs[#subs])
    dynamodb.create(client, application, { { leaseKey = { S = shard.id }, leaseCounter = { N = "7" },
      ownerSwitchesSinceCheckpoint = { N = "0" }, checkpoint = { S = sequence_number },
      checkpointSubSequenceNumber = { N = "4" }, startingHashKey = { S = shard.starting_hash_key },
      endingHashKey = { S = shard.ending_hash_key } } })
    assert.same(numbers(6, 12), process(stream, 7))
    local item = items()[shard.id]
    assert.same({ sequence_number, "11" }, { item.checkpoint.S, item.checkpointSubSequenceNumber.N })
  end)

  it("shares several streams by the KCL's keys", function()
    local one, two = fresh.stream(client, 1), fresh.stream(client, 1)
    put(one, 1, 10)
    put(two, 11, 20)
    assert.same(numbers(1, 20), sorted(process({ one, two }, 20)))
    local summary = fresh.active(client, one)
    local name = ("%s:%s:%.0f"):format(summary.StreamARN:match ":(%d+):stream", one,
      math.floor(summary.StreamCreationTimestamp))
    local item = items()[name .. ":shardId-000000000000"]
    assert.same({ { S = name }, { S = "shardId-000000000000" } }, { item.streamName, item.shardId })
  end)

  it("takes leases from a live KCL until both have as many, and tells one that is lost to it", function()
    local stream, busy = fresh.stream(client, 4), true
    put(stream, 1, 40)
    local mine, lost = {}, {}
    create_rows(stream, 4)
    local worker = open(stream, { max_leases = 2, on_lease_taken = function(shard)
      mine[shard.id] = true
    end, on_lease_lost = function(shard, reason)
      mine[shard.id], lost[#lost + 1] = nil, reason
    end })
    local function count()
      local sum = 0
      for _ in pairs(mine) do
        sum = sum + 1
      end
      return sum
    end
    kinesis.run(function()
      assert(worker:run(function() end))
    end, function()
      while busy do
        renew_as_kcl()
        kinesis.sleep(0.2)
      end
    end, function()
      fresh.eventually(function()
        return count() == 2
      end)
      kinesis.sleep(1.5) -- nothing more is taken while the KCL renews
      assert.equal(2, count())
      local key = next(mine)
      fresh.eventually(function()
        return write_as_kcl(key, items()[key], "kcl")
      end)
      fresh.eventually(function()
        return lost[1]
      end)
      assert.equal("lost", lost[1])
      worker:stop()
      busy = false
    end)
  end)

  it("takes no notice of what a worker before a KCL has left in its row", function()
    local stream, busy = fresh.stream(client, 2), true
    create_rows(stream, 2, { heldBy = { S = "before" }, ownedSince = { N = "17" }, wantedBy = { S = "another" } })
    local worker = open(stream)
    kinesis.run(function()
      assert(worker:run(function() end))
    end, function()
      while busy do
        renew_as_kcl()
        kinesis.sleep(0.2)
      end
    end, function()
      local stats = fresh.eventually(function()
        local now = worker:stats()
        return now.known == 2 and now
      end)
      for _, lease in pairs(stats.leases) do
        assert.is_nil(lease.worker == "kcl" and lease.since or nil)
      end
      fresh.eventually(function() -- long before handoff_timeout
        return worker:count() == 1
      end)
      worker:stop()
      busy = false
    end)
  end)

  -- A KCL counts finished leases, too: it may have its part of all, and this worker its part of those that are open.
  it("takes a lease that nobody takes, though it has its part", function()
    local stream = fresh.stream(client, 4)
    create_rows(stream, 1)
    local worker = open(stream, { failover = 1 })
    kinesis.run(function()
      assert(worker:run(function() end))
    end, function()
      while not worker.over do
        renew_as_kcl()
        kinesis.sleep(0.2)
      end
    end, function()
      local good, err = pcall(fresh.eventually, function()
        return worker:count() == 3
      end)
      worker:stop()
      assert(good, err)
    end)
    assert.equal("kcl", items()["shardId-000000000000"].leaseOwner.S)
  end)

  it("ends with the reason when the table is somebody else's", function()
    local stream = fresh.stream(client, 1)
    dynamodb.create(client, application, {}, "id")
    local worker = open(stream)
    local good, err = worker:run(function() end)
    assert.is_nil(good)
    assert.matches("is no table of leases", tostring(err), 1, true)
  end)

  it("reports a table that is being made for long, and may be stopped meanwhile", function()
    local stream, skipped, told = fresh.stream(client, 1), 0, {}
    local scope = faults.open({ DescribeTable = { { always = true,
      body = '{"Table":{"TableStatus":"CREATING","KeySchema":[],"AttributeDefinitions":[]}}' } } },
      { service = "dynalite", server = os.getenv "NGINX_LEASES" })
    local worker = open(stream, { store = { dynamodb = { endpoint = scope.url } }, on_error = function(err)
      told[#told + 1] = err
    end })
    worker.now = function()
      return core.now() + skipped
    end
    kinesis.run(function()
      assert(worker:run(function() end))
    end, function()
      fresh.eventually(function()
        return #scope:seen "DescribeTable" >= 2
      end)
      assert.is_nil(told[1])
      skipped = 61
      fresh.eventually(function()
        return told[1]
      end)
      worker:stop()
    end)
    assert.equal(1, #told)
    assert.same({ "LeaseStore", true }, { told[1].code, told[1].retryable })
    assert.matches(("the table %s at %s is CREATING still after 6%%d s"):format(
      application:gsub("%p", "%%%0"), (scope.url:gsub("%p", "%%%0"))), told[1].message)
  end)

  it("asks less and less often for a table that cannot be reached", function()
    local stream, times = fresh.stream(client, 1), {}
    local worker = open(stream, { store = { dynamodb = { endpoint = "http://127.0.0.1:1" } }, on_error = function()
      times[#times + 1] = core.now()
    end })
    kinesis.run(function()
      assert(worker:run(function() end))
    end, function()
      fresh.eventually(function()
        return times[3]
      end)
      worker:stop()
    end)
    assert.is_true(times[3] - times[2] >= 1)
  end)

  it("ends when the table has leases of another stream, whose shards have the same keys", function()
    local one, two = fresh.stream(client, 1), fresh.stream(client, 1)
    put(one, 1, 3)
    process(one, 3)
    for _, streams in ipairs { two, { one, two } } do
      local good, err = open(streams):run(function() end)
      assert.is_nil(good)
      assert.equal("LeaseStore", err.code)
      assert.matches("take another name", err.message, 1, true)
    end
  end)

  it("reports failures of Kinesis that no retry mends, such as those of dead letters", function()
    local stream, told = fresh.stream(client, 1), nil
    put(stream, 1, 1)
    local worker
    worker = open(stream, { on_record_error = "skip", dead_letter = "absent", on_error = function(err, what)
      if type(err) == "table" and err.code == "ResourceNotFoundException" then
        told = what
        worker:stop()
      end
    end })
    kinesis.run(function()
      worker:run(function()
        error("no", 0)
      end)
    end, function()
      fresh.eventually(function()
        return told
      end)
    end)
    assert.matches("^the dead letter of a record of shardId", told)
  end)

  it("goes on when DynamoDB, which cannot be reached, is back", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 5)
    local scope = faults.open({ DescribeTable = { { stall = 1 }, { code = "InternalServerError", status = 500 },
      { reset = "before" } }, Scan = { { code = "InternalServerError", status = 500 }, { reset = "before" },
      { code = "ThrottlingException" }, { status = 503, body = "no" }, { stall = 1 } } },
      { service = "dynalite", server = os.getenv "NGINX_LEASES" })
    local told = 0
    assert.same(numbers(1, 5), process(stream, 5, { store = { dynamodb = { endpoint = scope.url } },
      on_error = function(err)
        assert.is_true(err.retryable)
        told = told + 1
      end }))
    assert.is_true(told > 0)
  end)

  it("begins at its own time where a KCL has not stored it", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 5)
    kinesis.sleep(1.1)
    local now = client.core:time()
    kinesis.sleep(1.1)
    put(stream, 6, 9)
    local shard = client:shards(stream)[1]
    dynamodb.create(client, application, { { leaseKey = { S = shard.id }, leaseCounter = { N = "7" },
      ownerSwitchesSinceCheckpoint = { N = "0" }, checkpoint = { S = "AT_TIMESTAMP" },
      checkpointSubSequenceNumber = { N = "0" }, startingHashKey = { S = shard.starting_hash_key },
      endingHashKey = { S = shard.ending_hash_key } } })
    assert.same(numbers(6, 9), process(stream, 4, { from = now }))
  end)

  -- A KCL that finds AT_TIMESTAMP and has no time in its configuration never begins the shard.
  it("stores the latest records as a KCL does, and still the time", function()
    local stream = fresh.stream(client, 1)
    put(stream, 1, 3)
    kinesis.sleep(2.1) -- the start is a time of whole seconds, less one
    local worker = open(stream, { from = "latest" })
    kinesis.run(function()
      worker:run(function() end)
    end, function()
      fresh.eventually(function()
        return worker:count() == 1
      end)
      worker:stop()
    end)
    local _, item = next(items())
    assert.equal("LATEST", item.checkpoint.S)
    put(stream, 4, 6)
    assert.same(numbers(4, 6), process(stream, 3))
  end)
end)

-- Prints its pid, and becomes the command.
local SHELL = "sh -c 'echo $$; exec \"$0\" \"$@\"'"

local SOURCE = [[
  local kinesis = require "kinesis"
  local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1" })
  local worker = assert(client:worker(arg[2], arg[3], { store = { dynamodb = { endpoint = arg[4] } }, failover = 2,
    take_interval = 1, checkpoint_interval = 0.2, poll_interval = 0.2 }))
  local out = assert(io.open(arg[5], "a"))
  out:setvbuf "line"
  assert(worker:run(function(record) out:write(record.data, "\n") end))
]]

describe("the leases of a worker that is not stopped", function()
  -- Takes both leases of a stream, says so, and goes on with the code.
  local function run(stream, endpoint, code)
    return fresh.lua(([[
      io.stdout:setvbuf "line"
      local kinesis = require "kinesis"
      local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1" })
      local worker = assert(client:worker(arg[2], arg[3], { store = { dynamodb = { endpoint = arg[4] } },
        failover = 60, take_interval = 1, poll_interval = 0.2, checkpoint_interval = 60, exit_timeout = 1 }))
      local function run()
        for _ in worker:records() do
          if worker:count() == 2 then
            print((io.open "/proc/self/stat":read "*n"))
            %s
          end
        end
      end
      run()
    ]]):format(code), { AWS_ACCESS_KEY_ID = fresh.keys.access_key_id,
      AWS_SECRET_ACCESS_KEY = fresh.keys.secret_access_key }, KINESALITE.endpoint, stream, application,
      endpoint or dynamodb.endpoint)
  end

  local function count_owned()
    local count = 0
    for _, item in pairs(items()) do
      count = count + (item.leaseOwner and 1 or 0)
    end
    return count
  end

  it("are released at the end of the client and of the process", function()
    local stream = fresh.stream(client, 2)
    put(stream, 1, 40)
    for _, code in ipairs { "os.exit(0)", "client:close() os.exit(0)", "kinesis.sleep(60)" } do
      local child = run(stream, nil, code)
      local pid = child:line()
      if code:find "sleep" then
        fresh.spawn("kill -INT " .. pid):wait()
      end
      child:wait()
      assert.equal(0, count_owned(), code)
    end
  end)

  it("are not awaited for longer than exit_timeout when DynamoDB hangs", function()
    local stream = fresh.stream(client, 2)
    put(stream, 1, 40)
    local scope = faults.open({ UpdateItem = { {}, {}, { stall = 20, always = true } } },
      { service = "dynalite", server = os.getenv "NGINX_LEASES" })
    local child = run(stream, scope.url, "os.exit(0)")
    child:line()
    local began = core.now()
    child:wait()
    assert.is_true(core.now() - began < 3)
    assert.equal(2, count_owned())
  end)
end)

describe("two workers with leases in DynamoDB", function()
  local children

  before_each(function()
    children = {}
  end)

  after_each(function()
    for _, child in ipairs(children) do
      child:signal "KILL"
      child:wait()
    end
  end)

  it("lose nothing when one of them is killed", function()
    local stream = fresh.stream(client, 4)
    local folder = fresh.folder { ["worker.lua"] = SOURCE }
    local env = { AWS_ACCESS_KEY_ID = fresh.keys.access_key_id, AWS_SECRET_ACCESS_KEY = fresh.keys.secret_access_key }
    local function start(name)
      local child = fresh.spawn((SHELL .. " %s %s/worker.lua %s %s %s %s %s/%s"):format(os.getenv "LUA", folder,
        KINESALITE.endpoint, stream, application, dynamodb.endpoint, folder, name), env)
      child.pid = child:line()
      children[#children + 1] = child
      return child
    end
    local function read()
      local seen, count = {}, 0
      for _, name in ipairs { "a", "b" } do
        local file = io.open(folder .. "/" .. name)
        for line in file and file:lines() or function() end do
          count = count + (seen[line] and 0 or 1)
          seen[line] = true
        end
        if file then
          file:close()
        end
      end
      return seen, count
    end
    local a = start "a"
    start "b"
    local function owners()
      local found, got = {}, 0
      for _, item in pairs(items()) do
        local owner = item.leaseOwner and item.leaseOwner.S
        if owner then
          found[owner] = (found[owner] or 0) + 1
        end
      end
      for _, each in pairs(found) do
        got = got + (each == 2 and 1 or 0)
      end
      return got
    end
    fresh.eventually(function()
      return owners() == 2
    end)
    put(stream, 1, 200)
    fresh.eventually(function()
      return select(2, read()) >= 20
    end)
    a:signal "KILL"
    put(stream, 201, 300)
    fresh.eventually(function()
      return select(2, read()) == 300
    end)
  end)
end)

