-- make interop: workers of the Kinesis Client Library (KCL) and of this library on one table of leases.
--
--   lua5.4 scenes.lua SECONDS SCENE:KCL…    KCL: kcl1, kcl2 or kcl3; ends with status 1 when a scene fails
--
--   relay    one worker after the other reads a shard of aggregates, each from where the one before it has stopped
--   latest   an application that begins at the end of a stream, and whose first worker ends before any record
--   beside   both at the same time, for SECONDS: workers are killed and stopped, a shard is split, two are merged
--   figures  two workers of each kind beside each other, for SECONDS: requests, time until a shard moves, memory
--   refused  a worker of this library keeps off the table of KCL 3 workers whose leader assigns leases
local crowd = require "support.crowd"
local dynamodb = require "support.dynamodb"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local resharding = require "support.resharding"

local MODES = { kcl3 = "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X" } -- the leases are not assigned by a leader
local EVERY = 10 -- seconds between two checkpoints of a shard
local FAILOVER = 10
local PATIENCE = 120 -- seconds for anything to come about
local out = os.getenv "OUT"
local ports = {}
for port in os.getenv("PORTS"):gmatch "%d+" do
  ports[#ports + 1] = port
end

local client = fresh.client(os.getenv "KINESIS_LOCAL")
local workers = {} -- those that were started and not ended, by name
local started_at

local function say(format, ...)
  print(("%7.1f  %s"):format(client.core:time() - started_at, format:format(...)))
end

local function await(what, look)
  local deadline = client.core:time() + PATIENCE
  while true do
    local seen = look()
    if seen then
      return seen
    elseif client.core:time() > deadline then
      error(("not in %d s: %s"):format(PATIENCE, what), 0)
    end
    kinesis.sleep(0.05)
  end
end

-- ---- a scene: a stream, a table, and what its workers say ----

local Scene = {}
Scene.__index = Scene

local function open_scene(name, shards)
  local stream = fresh.stream(client, shards, name)
  return setmetatable({ stream = stream, members = {}, seen = {}, count = 0, put = 0, repeats = 0, order = {},
    born = 0 }, Scene)
end

local function command_of(kind)
  if kind == "ours" then
    return "lua5.4 spec/interop/worker.lua"
  end
  return ("java -Xmx256m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '%s/%s/classes:"
    .. "%s/%s/lib/*' %s"):format(out, kind, out, kind, kind == "kcl1" and "Kcl1" or "Kcl")
end

--- Starts a worker. `more`: limit, of records; sync, KCL's milliseconds between two looks at the shards; port;
--- version, of the way in which KCL 3 shares leases; from, LATEST for the end of the stream.
function Scene:start(kind, more)
  more = more or {}
  self.born = self.born + 1
  local member = { kind = kind, name = ("%s-%d"):format(kind, self.born), read_to = 0, owns = {},
    reads = {}, at = client.core:time() }
  member.file = ("%s/run/%s-%s"):format(out, self.stream, member.name)
  assert(io.open(member.file, "w")):close()
  member.port = ports[more.port or 1]
  local settings = { NAME = member.name, STREAM = self.stream, APPLICATION = self.stream, EVERY = EVERY,
    FAILOVER = FAILOVER, LIMIT = more.limit or -1, SYNC = more.sync or 1000,
    VERSION = more.version or MODES[kind] or "", FROM = more.from or "TRIM_HORIZON",
    STOP = member.file .. ".stop", KINESIS = os.getenv "KINESIS_LOCAL",
    DYNAMODB = "http://127.0.0.1:" .. member.port, AWS_CBOR_DISABLE = "true" } -- SDK 1 reads no CBOR of kinesis-local
  local words = {}
  for name, value in pairs(settings) do
    words[#words + 1] = ("%s='%s'"):format(name, value)
  end
  os.execute(("env %s setsid nice %s >>'%s' 2>'%s.err' </dev/null &"):format(table.concat(words, " "),
    command_of(kind), member.file, member.file))
  workers[member.name] = member
  self.members[member.name] = member
  say("%s started", member.name)
  return member
end

local function take_record(self, member, at, shard, data)
  member.first_at = member.first_at or at
  self.order[#self.order + 1] = data
  if self.seen[data] then
    self.repeats = self.repeats + 1
  else
    self.count = self.count + 1
  end
  self.seen[data] = member.kind
  member.reads[shard] = (member.reads[shard] or 0) + 1
end

local function take_line(self, member, line)
  local at, kind, rest = line:match "^%S+ (%S+) (%S+) ?(.*)$"
  at = tonumber(at)
  if kind == "record" then
    take_record(self, member, at, rest:match "^(%S+) %S+ %S+ (.*)$")
  elseif kind == "begins" then
    member.id, member.pid = rest:match "^(%S+) (%d+)$"
  elseif kind == "over" then
    member.over = rest
    workers[member.name] = nil
    say("%s: over %s", member.name, rest)
  else
    if kind == "taken" then
      member.owns[rest:match "^%S+"] = at
    end
    say("%s: %s %s", member.name, kind, rest)
  end
end

--- Reads what the workers have said since the last time.
function Scene:read()
  for _, member in pairs(self.members) do
    local file = assert(io.open(member.file, "rb"))
    file:seek("set", member.read_to)
    local whole = file:read("*a"):match "^.*\n" or ""
    file:close()
    member.read_to = member.read_to + #whole
    for line in whole:gmatch "(.-)\n" do
      take_line(self, member, line)
    end
  end
end

function Scene:await(what, look)
  return await(what, function()
    self:read()
    return look()
  end)
end

function Scene:end_of(member)
  self:await(member.name .. " to end", function()
    return member.over
  end)
end

--- Stops a worker as its library does; returns when.
function Scene:stop(member)
  local at = client.core:time()
  say("%s is stopped", member.name)
  assert(io.open(member.file .. ".stop", "w")):close()
  return at
end

--- Kills a worker; returns when.
function Scene:kill(member)
  self:await(member.name .. " to begin", function()
    return member.pid
  end)
  os.execute("kill -9 " .. member.pid)
  member.over = true
  workers[member.name] = nil
  say("%s is killed", member.name)
  return client.core:time()
end

--- The unfinished leases of each worker, by its id, and of nobody (""); all leases; and who has which, by shard.
function Scene:leases()
  local open, all, owners = {}, {}, {}
  for key, item in pairs(dynamodb.items(client, self.stream)) do
    if (item.entityType and item.entityType.S or "LEASE") == "LEASE" and key:find "^shardId" then
      local owner = item.leaseOwner and item.leaseOwner.S or ""
      owners[key] = owner
      all[owner] = (all[owner] or 0) + 1
      if item.checkpoint.S ~= "SHARD_END" then
        open[owner] = (open[owner] or 0) + 1
      end
    end
  end
  return open, all, owners
end

-- Whether the counts of these workers differ by one at most, and nobody else has a lease.
local function are_even(counts, living)
  local least, most, others = math.huge, 0, {}
  for owner in pairs(counts) do
    others[owner] = true
  end
  for _, member in ipairs(living) do
    if not member.id then
      return false
    end
    local count = counts[member.id] or 0
    least, most = math.min(least, count), math.max(most, count)
    others[member.id] = nil
  end
  return most - least <= 1 and most > 0 and not next(others)
end

--- Waits until the workers share the leases, and all open shards are among these. A KCL counts finished leases, too.
function Scene:await_balance(...)
  local living, began = { ... }, client.core:time()
  local shards, open = resharding.open_shards(client, self.stream), nil
  self:await("leases of " .. self.stream .. " to be shared", function()
    local all, owners
    open, all, owners = self:leases()
    for _, shard in ipairs(shards) do
      if (owners[shard.id] or "") == "" then
        return false
      end
    end
    return are_even(open, living) or are_even(all, living) and not open[""]
  end)
  local words = {}
  for _, member in ipairs(living) do
    words[#words + 1] = ("%s %d"):format(member.kind, open[member.id] or 0)
  end
  say("shared after %.1f s: %s", client.core:time() - began, table.concat(words, ", "))
end

--- Puts the numbers that follow, as aggregates where the producer makes them.
function Scene:produce(producer, count)
  for _ = 1, count do
    self.put = self.put + 1
    assert(producer:put(tostring(self.put), "key " .. self.put))
  end
end

-- ---- relay ----

local LIMITS = { 137, 211, 64, 333, 1 } -- none is at the end of an aggregate

local scenes = {}

function scenes.relay(kcl)
  local scene = open_scene("relay", 1)
  crowd.put(client, scene.stream, 1, 1000, true)
  local kinds, expected = { kcl, "ours" }, 0
  for i, limit in ipairs(LIMITS) do
    local member = scene:start(kinds[2 - i % 2], { limit = limit })
    expected = expected + limit
    scene:end_of(member)
    assert(#scene.order == expected, ("%s has processed up to %d, not to %d"):format(member.name, #scene.order,
      expected))
  end
  local member = scene:start "ours"
  scene:await("the rest", function()
    return #scene.order >= 1000
  end)
  scene:stop(member)
  scene:end_of(member)
  for i = 1, 1000 do
    assert(scene.order[i] == tostring(i), ("record %d is %s"):format(i, tostring(scene.order[i])))
  end
  assert(#scene.order == 1000)
  say("1000 records, each once, in order")
end

-- ---- latest ----

-- Whoever comes second reads what is put from then on: a KCL keeps no time of its start.
function scenes.latest(kcl)
  for _, kinds in ipairs { { "ours", kcl }, { kcl, "ours" } } do
    local scene, second = open_scene("latest", 1), nil
    crowd.put(client, scene.stream, 1, 10)
    kinesis.sleep(2.1) -- the start is a time of whole seconds, less one
    for _, kind in ipairs(kinds) do
      second = scene:start(kind, { from = "LATEST" })
      scene:await(second.name .. " to read", function()
        return next(second.owns)
      end)
      if kind == kinds[1] then
        scene:stop(second)
        scene:end_of(second)
      end
    end
    kinesis.sleep(5)
    crowd.put(client, scene.stream, 11, 20)
    scene:await("ten records", function()
      return scene.count >= 10
    end)
    assert(scene.count == 10 and not scene.seen["10"] and scene.seen["20"], "these are others")
    scene:stop(second)
    scene:end_of(second)
  end
end

-- ---- beside ----

local function first_open(scene)
  return resharding.open_shards(client, scene.stream)[1]
end

local function merge_lowest(scene)
  local open = resharding.open_shards(client, scene.stream)
  table.sort(open, function(a, b)
    return resharding.is_less(a.starting_hash_key, b.starting_hash_key)
  end)
  resharding.merge(client, scene.stream, open[1].id, open[2].id)
end

local function change(scene, kcl, seconds)
  local deadline = client.core:time() + seconds
  local theirs = scene:start(kcl)
  scene:await_balance(theirs)
  local ours = scene:start "ours"
  scene:await_balance(theirs, ours)
  local round = 0
  repeat
    round = round + 1
    scene:kill(ours)
    scene:await_balance(theirs)
    ours = scene:start "ours"
    scene:await_balance(theirs, ours)
    say "a shard is split"
    resharding.split(client, scene.stream, first_open(scene))
    scene:await_balance(theirs, ours)
    scene:kill(theirs)
    scene:await_balance(ours)
    theirs = scene:start(kcl)
    scene:await_balance(theirs, ours)
    say "two shards are merged"
    merge_lowest(scene)
    scene:await_balance(theirs, ours)
    scene:stop(ours)
    scene:await_balance(theirs)
    ours = scene:start "ours"
    scene:await_balance(theirs, ours)
    scene:stop(theirs)
    scene:await_balance(ours)
    theirs = scene:start(kcl)
    scene:await_balance(theirs, ours)
  until client.core:time() > deadline
  return theirs, ours
end

function scenes.beside(kcl, seconds)
  local scene, going = open_scene("beside", 4), true
  local producer = assert(client:producer(scene.stream, { aggregate = true }))
  local problem
  kinesis.run(function()
    while going do
      scene:produce(producer, 3)
      kinesis.sleep(0.25)
    end
  end, function()
    local good, theirs, ours = pcall(change, scene, kcl, seconds)
    going = false
    if not good then
      problem = theirs
      return
    end
    assert(producer:close())
    good, problem = pcall(scene.await, scene, "all records", function()
      return scene.count >= scene.put
    end)
    if good then
      local open = scene:leases()
      problem = nil
      say("in the end: %d and %d leases", open[theirs.id] or 0, open[ours.id] or 0)
      scene:stop(theirs)
      scene:stop(ours)
    end
  end)
  say("%d records put, %d processed, %d more than once", scene.put, scene.count, scene.repeats)
  assert(not problem, problem)
end

-- ---- figures ----

-- The requests to DynamoDB by these ports in a span of time, by operation.
local function requests(from, to, ...)
  local wanted, count, by_name = {}, 0, {}
  for _, port in ipairs { ... } do
    wanted[port] = true
  end
  for line in io.lines(out .. "/requests.log") do
    local at, port, operation = line:match "^(%S+) (%S+) %S-%.(%S+)"
    at = tonumber(at)
    if at and at >= from and at < to and wanted[port] then
      count = count + 1
      by_name[operation] = (by_name[operation] or 0) + 1
    end
  end
  return count, by_name
end

local function memory(member)
  local text = io.open(("/proc/%s/status"):format(member.pid)):read "*a"
  return text:match "VmHWM:%s+(%d+)" / 1024
end

-- Seconds from a moment until this worker begins to read a shard.
local function moved(scene, member, since)
  return scene:await(member.name .. " to take over", function()
    for _, at in pairs(member.owns) do
      if at > since then
        return at - since
      end
    end
  end)
end

-- Seconds from the answer that says ACTIVE, or the request after which DynamoDB Local says it, to the first record.
local function first_record(scene, member)
  scene:await("a first record", function()
    return member.first_at
  end)
  local active
  for line in io.lines(out .. "/requests.log") do
    local at, port, operation = line:match "^(%S+) (%S+) %S-%.(%S+)"
    if port == member.port and tonumber(at) > member.at and not operation:find "Table$" then
      active = tonumber(at)
      break
    end
  end
  say("%s: the first record %.1f s after the first request to the ACTIVE table, %.1f s after the start", member.name,
    member.first_at - active, member.first_at - member.at)
end

local function pair_up(scene, kind, port)
  local a = scene:start(kind, { port = port, sync = 60000 })
  first_record(scene, a)
  local b = scene:start(kind, { port = port + 1, sync = 60000 })
  scene:await_balance(a, b)
  return a, b
end

local function measure_moves(scene, a, b, port)
  local at = scene:stop(b)
  say("%s: a stopped worker's shard is read elsewhere after %.1f s", a.kind, moved(scene, a, at))
  b = scene:start(a.kind, { port = port, sync = 60000 })
  scene:await_balance(a, b)
  at = scene:kill(b)
  say("%s: a killed worker's shard is read elsewhere after %.1f s", a.kind, moved(scene, a, at))
end

function scenes.figures(kcl, seconds)
  local producers, going, problem = {}, true, nil
  local ours, theirs = open_scene("figures-ours", 2), open_scene("figures-" .. kcl, 2)
  for i, scene in ipairs { ours, theirs } do
    producers[i] = assert(client:producer(scene.stream, { aggregate = false }))
  end
  local function act()
    local a, b = pair_up(ours, "ours", 1)
    local c, d = pair_up(theirs, kcl, 3)
    kinesis.sleep(15)
    local from = client.core:time()
    ours:read()
    theirs:read()
    say("counting for %d s", seconds)
    kinesis.sleep(seconds)
    for _, pair in ipairs { { a, b }, { c, d } } do
      local count, by_name = requests(from, from + seconds, pair[1].port, pair[2].port)
      local words = {}
      for _, name in ipairs(fresh.sorted_keys(by_name)) do
        words[#words + 1] = ("%s %.1f"):format(name, by_name[name] * 60 / seconds)
      end
      say("%s: %.1f requests a minute (%s); memory %.0f and %.0f MB", pair[1].kind, count * 60 / seconds,
        table.concat(words, ", "), memory(pair[1]), memory(pair[2]))
    end
    measure_moves(ours, a, b, 2)
    measure_moves(theirs, c, d, 4)
  end
  kinesis.run(function()
    while going do
      ours:produce(producers[1], 1)
      theirs:produce(producers[2], 1)
      kinesis.sleep(0.5)
    end
  end, function()
    local good, err = pcall(act)
    going, problem = false, not good and err or nil
  end)
  for _, producer in ipairs(producers) do
    producer:close()
  end
  assert(not problem, problem)
end

-- ---- refused ----

function scenes.refused(kcl)
  local scene = open_scene("refused", 1)
  local theirs = scene:start(kcl, { version = "CLIENT_VERSION_CONFIG_3X" })
  scene:await(kcl .. " to read", function()
    return next(theirs.owns)
  end)
  local ours = scene:start "ours"
  scene:end_of(ours)
  assert(ours.over:find "LeaseStore", "it was not refused")
end

-- ---- all ----

local failed = 0
for i = 2, #arg do
  local name, kcl = arg[i]:match "^(%a+):(kcl[123])$"
  if not scenes[name] then
    io.stderr:write(("interop: there is no scene %s\n"):format(arg[i]))
    os.exit(2)
  end
  started_at = client.core:time()
  print("-- " .. arg[i])
  local good, err = pcall(scenes[name], kcl, tonumber(arg[1]))
  for worker, member in pairs(workers) do
    os.execute(("kill -9 %s 2>/dev/null"):format(member.pid or ""))
    workers[worker] = nil
  end
  if not good then
    failed = failed + 1
    say("FAILED: %s", tostring(err))
  end
end
client:close()
os.exit(failed == 0)
