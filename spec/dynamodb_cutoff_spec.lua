-- Workers that are cut off from DynamoDB: one of two, while the other is not, and all of them. Records flow all the
-- time; what each worker does, and what the table has, is noted with the time of one monotonic clock.
local core = require "kinesis.core"
local dynamodb = require "support.dynamodb"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local FAILOVER = 1.5 -- seconds
local SERVICE = fresh.services[1]

-- How a worker is cut off, by operation.
local FAULTS = {
  ["whose connections are closed"] = { ["*"] = { reset = "before" } },
  ["whose answers are lost"] = { ["*"] = { reset = "after" } },
  ["whose requests hang"] = { ["*"] = { hang = true } },
  ["that gets HTTP 500"] = { ["*"] = { code = "InternalServerError", status = 500 } },
  ["that is throttled"] = { UpdateItem = { code = "ProvisionedThroughputExceededException" },
    Scan = { code = "ThrottlingException" }, ["*"] = { code = "RequestLimitExceeded" } },
}

local client, application, stream, scene

-- ---- a scene ----

local function note(worker, kind, shard, more)
  scene.log[#scene.log + 1] = { at = core.now(), worker = worker, kind = kind, shard = shard, more = more }
end

-- A worker with a client of its own, `name` in the log, behind a scope of faults. `kinesis_scope`: another one, before
-- Kinesis.
local function open(name, kinesis_scope)
  local scope = faults.open({}, { service = "dynalite", server = os.getenv "NGINX_LEASES" })
  local options = { store = { dynamodb = { endpoint = scope.url } }, failover = FAILOVER, take_interval = 0.5,
    checkpoint_interval = 0.2, poll_interval = 0.2, stop_timeout = 5,
    on_lease_taken = function(shard)
      note(name, "taken", shard.id)
    end, on_lease_lost = function(shard, reason)
      note(name, "lost", shard.id, reason)
    end, on_error = function(err, what)
      note(name, "error", what, err)
    end }
  local own = fresh.client(kinesis_scope and kinesis_scope.url or SERVICE, { max_connections = 4 })
  local member = { name = name, scope = scope, client = own, worker = assert(own:worker(stream, application, options)) }
  scene.members[#scene.members + 1] = member
  return member
end

local function feed()
  while not scene.over do
    scene.put = scene.put + 1
    assert(client:put(stream, tostring(scene.put), "key " .. scene.put))
    kinesis.sleep(0.03)
  end
end

-- Notes each change of the table, which was made after `after` and before `at`.
local function watch()
  local own, last, started = fresh.client(SERVICE), {}, core.now()
  while not scene.over do
    local after = started
    started = core.now()
    for key, item in pairs(dynamodb.items(own, application)) do
      local row = { owner = item.leaseOwner and item.leaseOwner.S, counter = item.leaseCounter.N,
        seq = item.checkpoint.S, sub = tonumber(item.checkpointSubSequenceNumber.N) }
      local before = last[key]
      if not before or before.counter ~= row.counter or before.owner ~= row.owner then
        row.after, row.at = after, core.now()
        scene.rows[key] = scene.rows[key] or {}
        table.insert(scene.rows[key], row)
        last[key] = row
      end
    end
    kinesis.sleep(0.03)
  end
  own:close()
end

local function run(member)
  return function()
    member.good, member.err = member.worker:run(function(record, shard)
      note(member.name, "record", shard.id, record.data)
      scene.seen[record.data] = true
    end)
    member.over = true
  end
end

-- Plays a scene beside its workers, and ends them when all that was put is processed.
local function play(act)
  local functions = { feed, watch, function()
    act()
    local last = scene.put
    fresh.eventually(function()
      for i = 1, last do
        if not scene.seen[tostring(i)] then
          return false
        end
      end
      return true
    end)
    for _, member in ipairs(scene.members) do
      member.worker:stop()
    end
    fresh.eventually(function()
      for _, member in ipairs(scene.members) do
        if not member.over then
          return false
        end
      end
      return true
    end)
    scene.over = true
  end }
  for _, member in ipairs(scene.members) do
    functions[#functions + 1] = run(member)
  end
  kinesis.run((table.unpack or unpack)(functions))
  for _, member in ipairs(scene.members) do
    assert.is_true(member.good, tostring(member.err))
  end
end

-- ---- what must hold in all of them ----

local function is_behind(a, b)
  local a_seq, b_seq = a.seq:find "^%d" and a.seq or "", b.seq:find "^%d" and b.seq or ""
  if #a_seq ~= #b_seq or a_seq ~= b_seq then
    return #a_seq < #b_seq or #a_seq == #b_seq and a_seq < b_seq
  end
  return a.sub < b.sub
end

local function check_checkpoints()
  for key, rows in pairs(scene.rows) do
    for i = 2, #rows do
      assert.is_false(is_behind(rows[i], rows[i - 1]), "the checkpoint went back in " .. key)
    end
  end
end

-- Nobody delivers records of a shard that another has taken since, or later than `failover` after its last write.
local function check_owners()
  local owners = {}
  for _, event in ipairs(scene.log) do
    if event.kind == "taken" then
      owners[event.shard] = event.worker
    elseif event.kind == "record" then
      assert.equal(owners[event.shard], event.worker, "delivers without the lease")
      local written = 0
      for _, row in ipairs(scene.rows[event.shard]) do
        local may_be = row.after <= event.at and row.owner == scene.ids[event.worker]
        written = may_be and math.min(row.at, event.at) or written
      end
      assert.is_true(event.at - written <= FAILOVER, "delivers after its lease could be taken")
    end
  end
end

local function check()
  for _, member in ipairs(scene.members) do
    scene.ids[member.name] = member.worker.id
  end
  check_checkpoints()
  check_owners()
end

-- ---- what is waited for ----

local function has(member, count)
  return function()
    return member.worker:count() == count
  end
end

-- The events of a kind, of one worker, since the time.
local function events(name, kind, since)
  local found = {}
  for _, event in ipairs(scene.log) do
    if event.worker == name and event.kind == kind and event.at >= (since or 0) then
      found[#found + 1] = event
    end
  end
  return found
end

local function delivers(member)
  local since = core.now()
  return function()
    return events(member.name, "record", since)[1]
  end
end

before_each(function()
  client, application = fresh.client(SERVICE), fresh.name "counter"
  stream = fresh.stream(client, 4)
  scene = { log = {}, rows = {}, seen = {}, members = {}, ids = {}, put = 0 }
end)

after_each(function()
  for _, member in ipairs(scene.members) do
    member.client:close()
  end
  client:close()
end)

describe("a worker", function()
  for name, rules in pairs(FAULTS) do
    it(name .. " stops before another takes its leases, loses nothing, and comes back", function()
      local a, b = open "a", open "b"
      play(function()
        fresh.eventually(has(a, 2))
        fresh.eventually(has(b, 2))
        fresh.eventually(delivers(a))
        local cut_at = core.now()
        a.scope:switch(rules)
        fresh.eventually(has(b, 4))
        local told = events("a", "error", cut_at)
        assert.is_true(#told > 0)
        for _, event in ipairs(told) do
          assert.is_true(event.more.retryable)
        end
        fresh.eventually(delivers(b))
        local back_at = core.now()
        a.scope:switch()
        fresh.eventually(function()
          return a.worker:count() == 2 and b.worker:count() == 2 and #events("a", "taken", back_at) > 0
        end)
        fresh.eventually(delivers(a))
        assert.same({}, events("b", "error"))
      end)
      check()
    end)
  end
end)

describe("workers that are all cut off from DynamoDB", function()
  for _, name in ipairs { "whose requests hang", "that is throttled" } do
    it("keep their leases for a while, stop in time, and go on: each one " .. name, function()
      local a, b = open "a", open "b"
      local function switch(to)
        a.scope:switch(to)
        b.scope:switch(to)
      end
      play(function()
        fresh.eventually(has(a, 2))
        fresh.eventually(has(b, 2))
        local since = core.now()
        switch(FAULTS[name])
        kinesis.sleep(FAILOVER / 3)
        switch()
        kinesis.sleep(FAILOVER)
        for _, member in ipairs(scene.members) do
          assert.same({}, events(member.name, "lost", since))
        end
        switch(FAULTS[name])
        kinesis.sleep(FAILOVER)
        since = core.now()
        kinesis.sleep(FAILOVER / 2)
        for _, member in ipairs(scene.members) do
          assert.same({}, events(member.name, "record", since))
        end
        switch()
        fresh.eventually(delivers(a))
        fresh.eventually(delivers(b))
      end)
      check()
    end)
  end
end)

it("a worker whose calls of Kinesis hang or are throttled keeps its leases", function()
  local scope = faults.open()
  local a = open("a", scope)
  play(function()
    fresh.eventually(has(a, 4))
    for _, name in ipairs { "whose requests hang", "that is throttled" } do
      fresh.eventually(delivers(a))
      scope:switch(FAULTS[name])
      kinesis.sleep(1.2 * FAILOVER)
      scope:switch()
      fresh.eventually(delivers(a))
    end
    assert.same({}, events("a", "lost"))
    for _, event in ipairs(events("a", "error")) do
      assert.is_true(event.more.retryable)
      assert.are_not.equal("UpdateItem", event.more.operation)
    end
  end)
  check()
end)

it("a worker that is stopped while it waits for its table ends at once: it holds nothing", function()
  local a = open "a"
  a.scope:switch(FAULTS["whose requests hang"])
  kinesis.run(run(a), function()
    fresh.eventually(function()
      return #a.scope:seen "DescribeTable" > 0
    end)
    a.worker:stop()
    local stopped_at = core.now()
    fresh.eventually(function()
      return a.over
    end)
    assert.is_true(core.now() - stopped_at < 4) -- stop_timeout is longer
  end)
  assert.is_true(a.good, tostring(a.err))
end)

local SOURCE = [[
  local kinesis = require "kinesis"
  local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1" })
  local worker = assert(client:worker(arg[2], arg[3], { store = { dynamodb = { endpoint = arg[4] } },
    failover = 1.5, take_interval = 0.5, checkpoint_interval = 0.2, poll_interval = 0.2 }))
  io.stdout:setvbuf "line"
  assert(worker:run(function(record)
    print("record " .. record.data)
    if record.data == "last" then
      worker:stop()
    end
  end))
]]

it("what fails again and again is told on stderr once a minute, each cause", function()
  local scope = faults.open({}, { service = "dynalite", server = os.getenv "NGINX_LEASES" })
  local child = fresh.lua(SOURCE, { AWS_ACCESS_KEY_ID = fresh.keys.access_key_id,
    AWS_SECRET_ACCESS_KEY = fresh.keys.secret_access_key }, SERVICE.endpoint, stream, application, scope.url)
  local lines = {}
  local function read_until(text)
    repeat
      lines[#lines + 1] = assert(child:line(), table.concat(lines, "\n"))
    until lines[#lines]:find(text, 1, true)
  end
  assert(client:put(stream, "first", "key"))
  read_until "record first"
  for name, code in pairs { ["that is throttled"] = "ProvisionedThroughputExceededException",
    ["that gets HTTP 500"] = "InternalServerError" } do
    scope:switch(FAULTS[name])
    read_until(code)
    kinesis.sleep(FAILOVER)
  end
  scope:switch()
  assert(client:put(stream, "last", "key"))
  read_until "record last"
  local output, status = child:wait()
  assert.equal(0, status, output)
  output = table.concat(lines, "\n") .. output
  for _, code in ipairs { "ProvisionedThroughputExceededException", "InternalServerError" } do
    assert.equal(1, select(2, output:gsub("kinesis: [^\n]*" .. code, "")), output)
  end
end)
