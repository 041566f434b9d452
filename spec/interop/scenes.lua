-- make interop: workers of the Kinesis Client Library (KCL) and of this library on one table of leases.
--
--   lua5.4 scenes.lua SECONDS SCENE:KCL…    KCL: of scene.lua, KINDS; ends with status 1 when a scene fails
--
--   relay    one worker after the other reads a shard of aggregates, each from where the one before it has stopped
--   latest   an application that begins at the end of a stream, and whose first worker ends before any record
--   beside   both at the same time, for SECONDS: workers are killed and stopped, a shard is split, two are merged
--   member   among KCL 3 workers whose leader assigns leases: it is given some, one of its shards is split; all are
--            read elsewhere when it is stopped, and when it is killed
--   leader   such a worker when the leader dies, and another KCL 3 worker comes after it
--   alone    such a worker before there is a KCL 3, beside one, to which it hands leases over, and when that is dead
--   refused  this library keeps off the table of KCL 3 workers whose leader assigns leases, until that is over
--   figures  see figures.lua; KCL: several, with commas
local crowd = require "support.crowd"
local dynamodb = require "support.dynamodb"
local figures = require "interop.figures"
local interop = require "interop.scene"
local kinesis = require "kinesis"
local resharding = require "support.resharding"

local client, say = interop.client, interop.say

-- ---- relay ----

local LIMITS = { 137, 211, 64, 333, 1 } -- none is at the end of an aggregate

local scenes = {}

function scenes.relay(kcl)
  local scene = interop.open("relay", 1)
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
  scene:assert_order(1000)
  say("Migration3.0: %s", scene:version())
end

-- ---- latest ----

-- Whoever comes second reads what is put from then on: a KCL keeps no time of its start.
function scenes.latest(kcl)
  for _, kinds in ipairs { { "ours", kcl }, { kcl, "ours" } } do
    local scene, second = interop.open("latest", 1), nil
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
  local scene, going = interop.open("beside", 4), true
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

-- ---- member ----

-- Waits until a worker has a number of open leases by which `fits` is true, and no lease is being moved.
local function await_leases(scene, member, what, fits)
  local began = client.core:time()
  scene:await(what, function()
    for _, item in pairs(dynamodb.items(client, scene.stream)) do
      if item.checkpointOwner then
        return false
      end
    end
    return member.id and fits(scene:leases()[member.id] or 0)
  end)
  say("%s: after %.1f s", what, client.core:time() - began)
end

local function is_some(count)
  return count > 0
end

-- A function for await_leases: these workers have the leases of all shards that are open.
local function have_all(scene, ...)
  local members = { ... }
  return function()
    local open, sum = scene:leases(), 0
    for _, member in ipairs(members) do
      sum = sum + (open[member.id] or 0)
    end
    return sum == #resharding.open_shards(client, scene.stream)
  end
end

local function act_as_member(scene, kcl)
  local first = scene:start(kcl)
  await_leases(scene, first, first.name .. " has all leases", have_all(scene, first))
  local ours = scene:start("ours", { member = "1" })
  await_leases(scene, ours, ours.name .. " is given leases", is_some)
  local _, _, owners = scene:leases()
  for _, shard in ipairs(resharding.open_shards(client, scene.stream)) do
    if owners[shard.id] == ours.id then
      resharding.split(client, scene.stream, shard)
      say("%s, of %s, is split", shard.id, ours.name)
      break
    end
  end
  await_leases(scene, ours, "all shards are read", have_all(scene, first, ours))
  await_leases(scene, ours, ours.name .. " has leases", is_some)
  kinesis.sleep(15)
  local second = scene:start(kcl)
  scene:stop(ours)
  scene:end_of(ours)
  assert(not dynamodb.items(client, scene.stream)[ours.id], "its row of metrics is there still")
  await_leases(scene, ours, "the KCL has all leases of the stopped worker", have_all(scene, first, second))
  ours = scene:start("ours", { member = "1" })
  await_leases(scene, ours, ours.name .. " is given leases", is_some)
  kinesis.sleep(15)
  scene:kill(ours)
  await_leases(scene, ours, "the KCL has all leases of the killed worker", have_all(scene, first, second))
  return first, second
end

-- DynamoDB Local fails writes while the KCL's index is made, by an error of its own: the leases outlast that.
local function act_alone(scene, kcl)
  local ours = scene:start("ours", { member = "1" })
  await_leases(scene, ours, ours.name .. " has all leases", have_all(scene, ours))
  local theirs = scene:start(kcl)
  await_leases(scene, theirs, theirs.name .. " is given leases", is_some)
  scene:await(theirs.name .. " to read", function()
    return next(theirs.owns)
  end)
  kinesis.sleep(15)
  scene:kill(theirs)
  await_leases(scene, ours, ours.name .. " has all leases again", have_all(scene, ours))
  return ours
end

-- Runs `act`, which returns the workers that are left, beside a producer; nothing is lost.
local function run_led(name, shards, act, kcl)
  local scene, going = interop.open(name, shards), true
  local producer = assert(client:producer(scene.stream, { aggregate = true }))
  local problem
  kinesis.run(function()
    while going do -- the leader moves leases by their throughput
      scene:produce(producer, 30)
      kinesis.sleep(0.25)
    end
  end, function()
    local good, first, second = pcall(act, scene, kcl)
    going = false
    assert(producer:close())
    if not good then
      problem = first
      return
    end
    good, problem = pcall(scene.await, scene, "all records", function()
      return scene.count >= scene.put
    end)
    problem = not good and problem or nil
    scene:stop(first)
    if second then
      scene:stop(second)
    end
  end)
  local counts = { ours = 0, [kcl] = 0 }
  for _, kind in pairs(scene.seen) do
    counts[kind] = counts[kind] + 1
  end
  say("%d records put, %d processed (last by ours %d, by the KCL %d), %d more than once", scene.put, scene.count,
    counts.ours, counts[kcl], scene.repeats)
  assert(not problem, problem)
end

function scenes.member(kcl)
  run_led("member", 6, act_as_member, kcl)
end

local function act_without_leader(scene, kcl)
  local first, ours = scene:start(kcl), scene:start("ours", { member = "1" })
  await_leases(scene, first, first.name .. " is given leases", is_some)
  await_leases(scene, ours, ours.name .. " is given leases", is_some)
  local second = scene:start(kcl)
  kinesis.sleep(30)
  scene:kill(first)
  await_leases(scene, ours, "all leases of the dead leader are read", have_all(scene, ours, second))
  return second, ours
end

function scenes.leader(kcl)
  run_led("leader", 4, act_without_leader, kcl)
end

function scenes.alone(kcl)
  run_led("alone", 4, act_alone, kcl)
end

-- ---- refused ----

-- The manual's way back from a KCL 3 whose leader assigns leases: without the row that says so.
function scenes.refused(kcl)
  local scene = interop.open("refused", 1)
  crowd.put(client, scene.stream, 1, 500, true)
  for _, kind in ipairs { "ours", kcl } do
    scene:end_of(scene:start(kind, { limit = 137 }))
  end
  local refused = scene:start "ours"
  scene:end_of(refused)
  assert(refused.over:find "LeaseStore", "it was not refused")
  say("Migration3.0: %s", scene:version())
  assert(dynamodb.call(client, "DeleteItem", { TableName = scene.stream, Key = { leaseKey = { S = "Migration3.0" } } }))
  scene:start "ours"
  scene:await("the rest", function()
    return #scene.order >= 500
  end)
  scene:assert_order(500)
end

-- ---- all ----

function scenes.figures(kcls, seconds)
  figures.run(kcls, seconds)
end

local failed = 0
for i = 2, #arg do
  local name, kcl = arg[i]:match "^(%a+):([%w,]+)$"
  if not scenes[name] then
    io.stderr:write(("interop: there is no scene %s\n"):format(arg[i]))
    os.exit(2)
  end
  print("-- " .. arg[i])
  local good, err = pcall(scenes[name], kcl, tonumber(arg[1]))
  interop.kill_all()
  if not good then
    failed = failed + 1
    say("FAILED: %s", tostring(err))
  end
end
interop.print_actions()
client:close()
os.exit(failed == 0)
