-- Workers in processes of their own that are killed and stopped while they read: no record is lost, those that are
-- processed again are behind the last checkpoint of a killed one, and no shard stays unread.
-- Flavours: lua5.4 luajit asan-lua5.4
local crowds = require "support.crowd"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local FULL = os.getenv "SPEC_FULL" ~= nil
local WORKERS, SHARDS, RECORDS = FULL and 8 or 4, FULL and 32 or 8, FULL and 20000 or 4000
local KILLS = FULL and 12 or 4
local KILL_EVERY = FULL and 5 or 0 -- seconds
local PAUSE = 0.004 -- seconds that a record takes
local FAILOVER = 3 -- seconds, of leases whose owner cannot be seen to be dead; on a busy machine, the living need them
local SLACK = 3 -- seconds; this machine may be busy

local client, crowd
local KINESALITE = fresh.services[2]

before_each(function()
  client = fresh.client(KINESALITE)
end)

after_each(function()
  if crowd then
    crowd:abandon()
  end
  crowd = nil
  client:close()
end)

local function report(format, ...)
  print("    " .. format:format(...))
end

-- Lets workers be killed, one after the other, and the last one be stopped, each while it processes records. Returns
-- the longest time that a shard was unread.
local function kill_some(stream)
  local longest, part = 0, math.floor(RECORDS / (KILLS + 1))
  crowds.put(client, stream, 1, RECORDS - KILLS * part)
  for i = KILLS, 1, -1 do
    kinesis.sleep(KILL_EVERY)
    local member = crowd.members[i % #crowd.members + 1]
    crowd:await_lease(member)
    local before = crowd.processed[member.name] or 0
    crowds.put(client, stream, RECORDS - i * part + 1, RECORDS - (i - 1) * part, i % 2 == 0)
    crowd:await_more_of(member, before)
    local death = i > 1 and crowd:kill(member) or crowd:stop(member)
    crowd:start()
    longest = math.max(longest, crowd:await_moved(death))
  end
  crowd:await_records(RECORDS)
  return longest
end

local function run(more, options)
  local stream = fresh.stream(client, SHARDS)
  crowd = crowds.new(KINESALITE, stream, options, more)
  for _ = 1, WORKERS do
    crowd:start()
  end
  local longest = kill_some(stream)
  crowd:stop_all()
  assert.equal(RECORDS, crowd.distinct)
  local problems, lost = crowd:problems()
  assert.same({}, problems)
  report("%d records, %d again, %d of them by lost leases; %d leases taken, a shard was unread for at most %.2f s, the "
    .. "first record after %.2f s", RECORDS, crowd.repeats, lost, crowd:count "taken", longest, crowd:first_record())
  return longest
end

it("workers that share a file", function()
  -- their locks tell of their death, long before their leases expire
  local longest = run({ pause = PAUSE },
    { failover = 10, take_interval = 1, checkpoint_interval = 0.5, poll_interval = 0.2 })
  assert.is_true(longest < 2 + SLACK, longest)
  assert.is_true(crowd:first_record() < 2 + SLACK)
end)

it("workers that share a store of the user's", function()
  local longest = run({ pause = PAUSE, shared = true },
    { failover = FAILOVER, take_interval = 1, checkpoint_interval = 0.5, poll_interval = 0.2 })
  assert.is_true(longest < FAILOVER + 1 + SLACK, longest)
end)

it("workers that share a table in DynamoDB", function()
  local longest = run({ pause = PAUSE, dynamodb = true },
    { failover = FAILOVER, take_interval = 1, checkpoint_interval = 0.5, poll_interval = 0.2 })
  assert.is_true(longest < FAILOVER + 1 + SLACK, longest)
  assert.is_true(crowd:first_record() < 2 + SLACK)
end)
