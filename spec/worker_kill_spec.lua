-- Workers in processes of their own that are killed and stopped while they read: no record is lost, those that are
-- processed again are behind the last checkpoint of a killed one, and no shard stays unread.
local crowds = require "support.crowd"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local FULL = os.getenv "SPEC_FULL" ~= nil
local WORKERS, SHARDS, RECORDS = FULL and 8 or 4, FULL and 32 or 8, FULL and 20000 or 4000
local KILLS = FULL and 12 or 4
local KILL_EVERY = FULL and 5 or 0 -- seconds
local PAUSE = 0.004 -- seconds that a record takes
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

-- Lets workers be killed, one after the other, and the last one be stopped, while records are put; returns the longest
-- time that a shard was unread.
local function kill_some(stream)
  local longest, part = 0, math.floor(RECORDS / (KILLS + 1))
  for i = 1, KILLS do
    crowds.put(client, stream, (i - 1) * part + 1, i * part, i % 2 == 0)
    kinesis.sleep(KILL_EVERY)
    local member = crowd.members[i % #crowd.members + 1]
    crowd:await_lease(member)
    local death = i < KILLS and crowd:kill(member) or crowd:stop(member)
    crowd:start()
    longest = math.max(longest, crowd:await_moved(death))
  end
  crowds.put(client, stream, KILLS * part + 1, RECORDS)
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
  assert.same({}, (crowd:problems()))
  report("%d records, %d again; %d leases taken, a shard was unread for at most %.2f s, the first record after %.2f s",
    RECORDS, crowd.repeats, crowd:count "taken", longest, crowd:first_record())
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
    { failover = 1, take_interval = 1, checkpoint_interval = 0.5, poll_interval = 0.2 })
  assert.is_true(longest < 2 + SLACK, longest)
end)
