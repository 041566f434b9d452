-- make soak: one process that reads 1,000 shards for a long time. Is each of them asked within the service's limits,
-- does the process stay small, and does a record cost as little as with one shard?
--
--   lua5.4 spec/soak/shards.lua [SECONDS]    ends with status 1 if it does not
--
-- The stub's shards are always behind, and throttle as the service does: five calls and 2 MB a second. CPU is of the
-- whole process. The processor's caches and the loop that waits are warm when a phase begins to count.
local core = require "kinesis.core"
local kinesis = require "kinesis"

local seconds = tonumber(arg[1] or 600)
local SHARDS, CONNECTIONS, BYTES = 1000, 24, 100
local WINDOW, SMALL = 4, 20 -- MiB; what the process may have beside the window and the bodies in flight
local DEARER = 1.25 -- than one shard's

-- Pages of 1,000 records keep the processor busy; of those of 10, each shard can be asked five times a second. `part`
-- is that of the seconds; `as`: the phase with one shard.
local PHASES = {
  { name = "one shard", shards = 1, records = 1000, part = 0.1 },
  { name = "many shards", shards = SHARDS, records = 1000, part = 0.4, as = 1 },
  { name = "one, small", shards = 1, records = 10, part = 0.1 },
  { name = "many, small", shards = SHARDS, records = 10, part = 0.4, as = 3 },
}

local function memory()
  for line in io.lines "/proc/self/smaps_rollup" do
    local kib = line:match "^Rss:%s+(%d+) kB"
    if kib then
      return kib / 1024
    end
  end
end

local port, _, stub = require("bench.stub").start(0, "taskset -c 1")
local client = assert(kinesis.client { endpoint = "http://127.0.0.1:" .. port, region = "us-east-1",
  credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" }, max_connections = CONNECTIONS })

-- Reads for that long; returns the number of records, the CPU of each in µs, and the most memory in MiB.
local function read(reader, duration)
  local over, look_at, most, count = core.now() + duration, 0, 0, 0
  local cpu = os.clock()
  for record in reader do
    assert(#record.data == BYTES)
    count = count + 1
    if count % 100 == 0 then
      local now = core.now()
      if now > look_at then
        most, look_at = math.max(most, memory()), now + 1
      end
      if now > over then
        break
      end
    end
  end
  return count, (os.clock() - cpu) / count * 1e6, most
end

local costs, good = {}, true
local bodies = 0 -- MiB in flight: of the largest pages so far, as what is freed may stay resident

local function run(number, phase)
  local stream = ("paced-%dx%d-%d"):format(phase.records, BYTES, phase.shards)
  local failures = 0
  local reader = client:shards(stream):records { window = WINDOW * 1024 * 1024, on_error = function()
    failures = failures + 1
  end }
  read(reader, 1)
  assert(client:call("TellCalls", {}))
  local began = core.now()
  local count, cost, most = read(reader, seconds * phase.part)
  local took, calls = core.now() - began, assert(client:call("TellCalls", {}))
  reader:close()
  costs[number] = cost
  bodies = math.max(bodies, CONNECTIONS * phase.records * (BYTES * 4 / 3 + 220) / 1024 / 1024)
  local bound = SMALL + WINDOW + bodies
  local faults = {}
  local function check(right, fault, ...)
    faults[#faults + 1] = not right and fault:format(...) or nil
  end
  check(calls.Throttled == 0 and calls.Most <= 5 * took + 6, "ASKED TOO OFTEN: %d throttled", calls.Throttled)
  check(calls.Shards == phase.shards, "%d SHARDS WERE NEVER ASKED", phase.shards - calls.Shards)
  check(failures == 0, "%d FAILURES", failures)
  check(most <= bound, "TOO LARGE, ABOVE %.1f MiB", bound)
  local base = costs[phase.as]
  check(not base or cost <= base * DEARER, "TOO DEAR: %.2f", base and cost / base or 0)
  print(("%-12s %7d %8d %10d %9.3f %10d %6.2f-%.2f %9.1f  %s"):format(phase.name, phase.shards, phase.records, count,
    cost, calls.Calls, calls.Least / took, calls.Most / took, most,
    #faults == 0 and "good" or table.concat(faults, ", ")))
  io.stdout:flush()
  good = good and #faults == 0
end

print(("%-12s %7s %8s %10s %9s %10s %11s %9s"):format("phase", "shards", "a page", "records", "µs CPU", "calls",
  "a shard, s", "RSS MiB"))
for number, phase in ipairs(PHASES) do
  run(number, phase)
end
client:close()
stub:close()
os.exit(good and 0 or 1)
