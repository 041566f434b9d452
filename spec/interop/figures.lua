--- What two workers of each library cost and how soon they fail over, beside each other: on two shards, with a
--- checkpoint every 10 s. What this library must keep is checked; the table is the one of the manual.
local dynamodb = require "support.dynamodb"
local fresh = require "support.fresh"
local interop = require "interop.scene"
local kinesis = require "kinesis"

local M = {}

local TAKE = 10 -- seconds between two looks of this library's workers (take_interval)
local SYNC = 60000 -- milliseconds, the KCL's own setting
local SETTLE = 15 -- seconds until the requests are counted
local SLACK = 1 -- seconds that a busy machine may take longer than a time at most
local ROUNDS = { ours = 3 } -- how often workers are stopped and killed (1); the longest time counts

local ROWS = {
  { name = "requests", title = "DynamoDB requests a minute", most = 80 },
  { name = "stopped", title = "s until a stopped worker's shard is read elsewhere", most = TAKE, slack = SLACK },
  { name = "killed", title = "s until a killed worker's shard is read elsewhere", most = interop.FAILOVER + TAKE },
  { name = "first", title = "s from the table being ACTIVE to a first record", most = 2 },
  { name = "memory", title = "MB of memory, the larger worker", most = 25 },
}

local TITLES = { ours = "kinesis", kcl1 = "KCL 1.15.3", kcl2 = "KCL 2.7.2", kcl3 = "KCL 3.5.1, 2X",
  kcl3p = "KCL 3.5.1, 2X phase 1", kcl3x = "KCL 3.5.1" }

local client, say = interop.client, interop.say

-- The first requests of each kind take DynamoDB Local up to a second.
local function warm_up()
  local name = fresh.name "warm-up"
  dynamodb.create(client, name, { { leaseKey = { S = "a" } } })
  for _ = 1, 50 do
    assert(dynamodb.call(client, "UpdateItem", { TableName = name, Key = { leaseKey = { S = "a" } },
      UpdateExpression = "SET #0 = :0", ExpressionAttributeNames = { ["#0"] = "leaseCounter", ["#1"] = "leaseOwner" },
      ConditionExpression = "attribute_not_exists(#1)", ExpressionAttributeValues = { [":0"] = { N = "1" } } }))
    dynamodb.items(client, name)
  end
end

-- The first record is timed from the moment at which DynamoDB says that the table is ACTIVE.
local function start_first(pair)
  local scene, active = pair.scene, nil
  pair.a = scene:start(pair.kind, { sync = SYNC })
  interop.await("the table of " .. pair.kind, function()
    local about = dynamodb.call(client, "DescribeTable", { TableName = scene.stream })
    active = client.core:time()
    return about and about.Table.TableStatus == "ACTIVE"
  end)
  scene:await("a first record of " .. pair.kind, function()
    return pair.a.first_at
  end)
  pair.first = pair.a.first_at - active
  say("%s: the first record %.1f s after the table was ACTIVE, %.1f s after the start", pair.kind, pair.first,
    pair.a.first_at - pair.a.at)
end

local function start_second(pair)
  pair.b = pair.scene:start(pair.kind, { sync = SYNC })
  pair.scene:await_balance(pair.a, pair.b)
end

local function memory(member)
  local text = io.open(("/proc/%s/status"):format(member.pid)):read "*a"
  return text:match "VmHWM:%s+(%d+)" / 1024
end

-- The requests of two workers in a span of time.
local function count_requests(pair, from, seconds)
  local count, by_name = 0, {}
  for at, name, service, operation in interop.requests(from) do
    if at < from + seconds and service == "DynamoDB" and (name == pair.a.name or name == pair.b.name) then
      count = count + 1
      by_name[operation] = (by_name[operation] or 0) + 1
    end
  end
  local words = {}
  for _, name in ipairs(fresh.sorted_keys(by_name)) do
    words[#words + 1] = ("%s %.1f"):format(name, by_name[name] * 60 / seconds)
  end
  pair.requests = count * 60 / seconds
  pair.memory = math.max(memory(pair.a), memory(pair.b))
  say("%s: %.1f requests a minute (%s); %.0f MB", pair.kind, pair.requests, table.concat(words, ", "), pair.memory)
end

-- Ends a worker; returns the seconds until the other one has begun to read each of its shards.
local function time_move(pair, leaver, other, how)
  local scene, shards = pair.scene, {}
  local _, _, owners = scene:leases()
  for shard, owner in pairs(owners) do
    shards[#shards + 1] = owner == leaver.id and shard or nil
  end
  assert(shards[1], "a worker without a shard")
  local at, moved = scene[how](scene, leaver), 0
  for _, shard in ipairs(shards) do
    scene:await(other.name .. " to read " .. shard, function()
      return (other.owns[shard] or 0) > at
    end)
    moved = math.max(moved, other.owns[shard] - at)
  end
  say("%s: read elsewhere after %.1f s (%s)", pair.kind, moved, how)
  return moved
end

-- The second worker is stopped, the first one, which leads where there is a leader, is killed.
local function move(pair)
  pair.stopped, pair.killed = 0, 0
  for round = 1, ROUNDS[pair.kind] or 1 do
    if round > 1 then
      start_second(pair)
    end
    pair.stopped = math.max(pair.stopped, time_move(pair, pair.b, pair.a, "stop"))
    start_second(pair)
    pair.killed = math.max(pair.killed, time_move(pair, pair.a, pair.b, "kill"))
    pair.a = pair.b
  end
end

-- Runs functions at the same time, while records are put; raises the first error.
local function with_traffic(pairs_of, functions)
  local going, problem, tasks = #functions, nil, {}
  for i, run in ipairs(functions) do
    tasks[i] = function()
      local good, err = pcall(run)
      going = going - 1
      problem = problem or not good and err or nil
    end
  end
  tasks[#tasks + 1] = function()
    while going > 0 do
      for _, pair in ipairs(pairs_of) do
        pair.scene:produce(pair.producer, 1)
      end
      kinesis.sleep(0.5)
    end
  end
  kinesis.run(table.unpack(tasks))
  assert(not problem, problem)
end

local function print_table(pairs_of)
  local line = ("%-52s"):format ""
  for _, pair in ipairs(pairs_of) do
    line = line .. ("%22s"):format(TITLES[pair.kind])
  end
  print("\n" .. line .. ("%8s"):format "at most")
  local broken = {}
  for _, row in ipairs(ROWS) do
    line = ("%-52s"):format(row.title)
    for _, pair in ipairs(pairs_of) do
      line = line .. ("%22.1f"):format(pair[row.name])
      if pair.kind == "ours" and pair[row.name] > row.most + (row.slack or 0) then
        broken[#broken + 1] = ("%s: %.1f"):format(row.title, pair[row.name])
      end
    end
    print(line .. ("%8d"):format(row.most))
  end
  print ""
  assert(not broken[1], "more than at most: " .. table.concat(broken, "; "))
end

local function measure(pairs_of, seconds)
  for _, pair in ipairs(pairs_of) do
    start_first(pair)
    start_second(pair)
  end
  kinesis.sleep(SETTLE)
  local from = client.core:time()
  say("counting for %d s", seconds)
  kinesis.sleep(seconds)
  for _, pair in ipairs(pairs_of) do
    pair.scene:read()
    count_requests(pair, from, seconds)
  end
end

--- Runs it beside these libraries (names with commas), and counts requests for so many seconds.
function M.run(kcls, seconds)
  local pairs_of, moves = {}, {}
  warm_up()
  for kind in ("ours," .. kcls):gmatch "%w+" do
    local scene = interop.open("figures-" .. kind, 2)
    local pair = { kind = kind, scene = scene, producer = assert(client:producer(scene.stream, { aggregate = false })) }
    pairs_of[#pairs_of + 1] = pair
    moves[#moves + 1] = function()
      move(pair)
    end
  end
  with_traffic(pairs_of, { function()
    measure(pairs_of, seconds)
  end })
  with_traffic(pairs_of, moves)
  for _, pair in ipairs(pairs_of) do
    pair.producer:close()
  end
  print_table(pairs_of)
end

return M
