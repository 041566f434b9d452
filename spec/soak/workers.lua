-- make soak: three workers, in processes of their own, that are killed, stopped and started at random, while shards are
-- split and merged. Is every record processed, are records processed again only behind the checkpoint of a killed
-- worker, does no shard stay unread, and do the workers stay small?
--
--   spec/soak/workers.sh [SECONDS] [SEED]    ends with status 1 if not
local core = require "kinesis.core"
local crowds = require "support.crowd"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local randoms = require "support.random"
local resharding = require "support.resharding"

local seconds, seed = tonumber(arg[1] or 3600), tonumber(arg[2] or os.time())
local SHARDS, MEMBERS, RATE = 8, 3, 100 -- records a second
local CHANGE_EVERY, RESHARD_EVERY, REPORT_EVERY = 20, 90, 60 -- seconds
local UNREAD = 20 -- seconds: failover and a take cycle
local SMALL = 25 -- MB

local random = randoms.new(seed)
local client = fresh.client(fresh.services[2])
local stream = fresh.stream(client, SHARDS)
local crowd = crowds.new(fresh.services[2], stream, { poll_interval = 0.5 }, {})
local unmoved, longest, largest, put = {}, 0, 0, 0
local kills, stops, splits, merges = 0, 0, 0, 0

-- The memory of the living workers.
local function look_at_memory()
  for _, member in ipairs(crowd.members) do
    local file = member.pid and io.open(("/proc/%s/status"):format(member.pid))
    local peak = file and file:read("*a"):match "VmHWM:%s+(%d+)"
    largest = math.max(largest, (tonumber(peak) or 0) / 1024)
    if file then
      file:close()
    end
  end
end

-- One worker comes, or goes.
local function change()
  local member = crowd.members[random(#crowd.members)]
  if #crowd.members < MEMBERS or random(4) == 1 and #crowd.members == MEMBERS then
    crowd:start()
  elseif random(3) == 1 then
    stops = stops + 1
    table.insert(unmoved, crowd:stop(member))
  else
    kills = kills + 1
    table.insert(unmoved, crowd:kill(member))
  end
end

local function reshard()
  local open = resharding.open_shards(client, stream)
  if #open <= SHARDS then
    splits = splits + 1
    resharding.split(client, stream, open[random(#open)])
  else
    merges = merges + 1
    local i = random(#open - 1)
    table.sort(open, function(a, b)
      return resharding.is_less(a.starting_hash_key, b.starting_hash_key)
    end)
    resharding.merge(client, stream, open[i].id, open[i + 1].id)
  end
end

local function look_at_moves()
  for i = #unmoved, 1, -1 do
    local death = unmoved[i]
    if crowd:has_moved(death) then
      longest = math.max(longest, death.unread)
      table.remove(unmoved, i)
    else
      longest = math.max(longest, core.now() - death.at)
    end
  end
end

local function report(since)
  print(("%5.0f s: %d records, %d processed, %d again; %d takes, unread for at most %.1f s; %.1f MB; %d kills, "
    .. "%d stops, "
    .. "%d splits, %d merges, %d workers, %d troubles, %d problems"):format(core.now() - since, put, crowd.distinct,
    crowd.repeats, crowd:count "taken", longest, largest, kills, stops, splits, merges, #crowd.members,
    crowd:count "trouble", #crowd:problems()))
  io.stdout:flush()
end

-- Calls a function again and again, with pauses of about so many seconds.
local function every(pause, f)
  local due = core.now() + pause
  return function()
    if core.now() >= due then
      f()
      due = core.now() + pause * (0.5 + random(1000) / 1000)
    end
  end
end

local function soak()
  local started = core.now()
  local reports = started + REPORT_EVERY
  local parts = { every(CHANGE_EVERY, change), every(RESHARD_EVERY, reshard) }
  for _ = 1, MEMBERS do
    crowd:start()
  end
  while core.now() < started + seconds do
    local count = math.floor((core.now() - started) * RATE) - put
    if count > 0 then
      crowds.put(client, stream, put + 1, put + count, put % 2 == 0)
      put = put + count
    end
    for _, part in ipairs(parts) do
      part()
    end
    crowd:read()
    look_at_moves()
    look_at_memory()
    if core.now() >= reports then
      reports = reports + REPORT_EVERY
      report(started)
    end
    kinesis.sleep(0.2)
  end
  if #crowd.members == 0 then
    crowd:start()
  end
  crowd:await_records(put, 300)
  look_at_moves()
  crowd:stop_all()
  report(started)
end

print(("three workers that come and go for %d s; seed %d"):format(seconds, seed))
local good, err = xpcall(soak, debug.traceback)
crowd:abandon()
local problems = crowd:problems()
for i = 1, math.min(20, #problems) do
  print("  " .. problems[i])
end
local failures = {}
local function check(is_good, what)
  failures[#failures + 1] = not is_good and what or nil
end
check(good, tostring(err))
check(crowd.distinct == put, ("%d records were lost"):format(put - crowd.distinct))
check(#problems == 0, #problems .. " records were processed again without a reason")
check(longest <= UNREAD, ("a shard was unread for %.1f s"):format(longest))
check(largest <= SMALL, ("a worker has had %.1f MB"):format(largest))
for _, failure in ipairs(failures) do
  print("FAILED: " .. failure)
end
client:close()
os.exit(#failures == 0 and 0 or 1)
