-- make soak: many records each way, many clients and readers, through one process. Does it stay as small as it was?
--
--   lua5.4 spec/soak/soak.lua [RECORDS]    ends with status 1 if a phase was not flat
--
-- After each hundredth of a phase the process looks at itself in /proc. Flat is a phase whose last tenth has no more
-- resident memory than its second one, give or take a tenth or 1 MiB (the first tenth is warm-up), and which leaves
-- as many descriptors and threads as it found.
local core = require "kinesis.core"
local kinesis = require "kinesis"

local records = math.tointeger(tonumber(arg[1] or 1000000))
local LIST, TIMES, FEW = 500, 2000, 10 -- records a list; clients, and readers; records a reader
local SIZE = 100 -- bytes of data
local SECONDS = 60 -- of a service that hangs
local ALLOWED = 1024 -- KiB

if not records or records < 20 * LIST then
  io.stderr:write(("soak: RECORDS must be a number from %d on, or a tenth of a phase is nothing\n"):format(20 * LIST))
  os.exit(2)
end

-- ---- what the process is like ----

local function number_in(path, pattern)
  for line in io.lines(path) do
    local value = line:match(pattern)
    if value then
      return tonumber(value)
    end
  end
  error(path .. " does not say " .. pattern, 0)
end

-- Asked one by one: to list a folder another program would be needed, and a pipe to it, which counts itself.
local function count_descriptors()
  local count = 0
  for fd = 0, number_in("/proc/self/status", "^FDSize:%s+(%d+)") - 1 do
    local file = io.open("/proc/self/fdinfo/" .. fd)
    if file then
      file:close()
      count = count + 1
    end
  end
  return count
end

-- Memory in KiB, by smaps_rollup, as statm may be some hundred behind.
local function look()
  return {
    memory = number_in("/proc/self/smaps_rollup", "^Rss:%s+(%d+) kB"),
    descriptors = count_descriptors(),
    threads = number_in("/proc/self/status", "^Threads:%s+(%d+)"),
  }
end

-- A thread that was joined is counted for a moment longer, so this looks again, for a second.
local function look_at_end(start)
  local seen
  for _ = 1, 100 do
    seen = look()
    if seen.descriptors == start.descriptors and seen.threads == start.threads then
      break
    end
    kinesis.sleep(0.01)
  end
  return seen
end

-- ---- the phases: each says `done(n)` after every n ----

local options = {
  region = "us-east-1",
  credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" },
}

local function entry(i)
  return ("d%099d"):format(i), ("k%015d"):format(i)
end

-- The default client has no `close`: it goes when another has replaced it, and it is collected.
local function put(done)
  for i = 1, records do
    local data, partition_key = entry(i)
    local result = assert(kinesis.put("soak", data, partition_key))
    assert(result.sequence_number)
    done(1)
  end
  assert(kinesis.configure(options))
  collectgarbage()
end

local function put_many(done)
  local client = assert(kinesis.client(options))
  for first = 1, records, LIST do
    local list = {}
    for i = first, math.min(first + LIST - 1, records) do
      local data, partition_key = entry(i)
      list[#list + 1] = { data = data, partition_key = partition_key }
    end
    local results, failed = client:put_many("soak", list)
    assert(results and failed == 0 and #results == #list, failed)
    done(#list)
  end
  client:close()
end

-- Many shards, as one is asked five times a second only; small pages, as what is read ahead would hide what leaks.
local function read(done)
  local client = assert(kinesis.client(options))
  for record in client:shards("page-100x" .. SIZE .. "-60"):records { limit = records, poll_interval = 0.2 } do
    assert(#record.data == SIZE)
    done(1)
  end
  client:close()
end

local function make_clients(done)
  for i = 1, TIMES do
    local client = assert(kinesis.client(options))
    assert(client:put("soak", entry(i)))
    client:close()
    done(1)
  end
end

local function open_readers(done)
  local client = assert(kinesis.client(options))
  for _ = 1, TIMES do
    local reader = client:shards("page-100x" .. SIZE .. "-4"):records()
    for _ = 1, FEW do
      assert(#reader().data == SIZE)
    end
    reader:close()
    done(1)
  end
  client:close()
end

local stub_pid

local function produce(done)
  local client = assert(kinesis.client(options))
  local producer = assert(client:producer("keys-4", { rate_limit = 1000 }))
  for i = 1, records do
    assert(producer:put(entry(i)))
    done(1)
  end
  assert(producer:close())
  assert(producer:stats().stored == records)
  client:close()
end

local function make_producers(done)
  local client = assert(kinesis.client(options))
  for i = 1, TIMES do
    local producer = assert(client:producer("keys-4", { linger = 0 }))
    assert(assert(producer:send(entry(i))):wait())
    assert(producer:close())
    done(1)
  end
  client:close()
end

-- The service stands still for a minute: what comes in meanwhile fills the bound, and no more; then all is stored.
local function bear_a_hang(done)
  local client = assert(kinesis.client { region = options.region, credentials = options.credentials,
    endpoint = options.endpoint, request_timeout = 2 })
  local producer = assert(client:producer("keys-4", { rate_limit = 1000, when_full = "refuse" }))
  assert(producer:put "first")
  assert(producer:flush())
  os.execute("kill -STOP " .. stub_pid)
  local began, taken, full = core.now(), 0, 0
  for second = 1, SECONDS do
    while core.now() < began + second do
      local data, key = entry(taken)
      if producer:put(data, key) then
        taken = taken + 1
      else
        full = full + 1
        kinesis.sleep(0.01)
      end
    end
    done(1)
  end
  local held = producer:stats().held_bytes
  os.execute("kill -CONT " .. stub_pid)
  assert(producer:close(60))
  assert(producer:stats().stored == taken + 1, "not everything was stored")
  assert(full > SECONDS and held <= 16 * 1024 * 1024, "the bound was not reached, or passed")
  client:close()
end

local PHASES = {
  { name = "put", run = put, total = records, records = records },
  { name = "put_many", run = put_many, total = records, records = records },
  { name = "read", run = read, total = records, records = records },
  { name = "produce", run = produce, total = records, records = records },
  { name = "producers", run = make_producers, total = TIMES, records = TIMES },
  { name = "hang", run = bear_a_hang, total = SECONDS, records = 0 },
  { name = "clients", run = make_clients, total = TIMES, records = TIMES },
  { name = "readers", run = open_readers, total = TIMES, records = TIMES * FEW },
}

-- ---- the verdict ----

-- Of the samples taken in that part of the phase, the end of it included.
local function mean_memory(samples, from, to)
  local sum, count = 0, 0
  for _, sample in ipairs(samples) do
    if sample.at > from and sample.at <= to then
      sum, count = sum + sample.memory, count + 1
    end
  end
  return sum / count
end

local function most(samples, what)
  local value = 0
  for _, sample in ipairs(samples) do
    value = math.max(value, sample[what])
  end
  return value
end

local function verdict(warm, last, start, finish)
  local faults = {}
  if last - warm > math.max(warm / 10, ALLOWED) then
    faults[1] = ("memory %+.1f MiB"):format((last - warm) / 1024)
  end
  for _, what in ipairs { "descriptors", "threads" } do
    if finish[what] ~= start[what] then
      faults[#faults + 1] = ("%s %+d"):format(what, finish[what] - start[what])
    end
  end
  return #faults == 0, #faults == 0 and "flat" or "NOT FLAT: " .. table.concat(faults, ", ")
end

local function run(phase)
  local samples, made, hundredths = {}, 0, 0
  local start, began = look(), core.now()
  phase.run(function(count)
    made = made + count
    if made * 100 // phase.total > hundredths then
      hundredths = made * 100 // phase.total
      local sample = look()
      sample.at = made / phase.total
      samples[#samples + 1] = sample
    end
  end)
  assert(made == phase.total, phase.name .. " did not do all that it was to do")
  local seconds, finish = core.now() - began, look_at_end(start)
  local function counts(what)
    return ("%d/%d/%d"):format(start[what], most(samples, what), finish[what])
  end
  local warm, last = mean_memory(samples, 0.1, 0.2), mean_memory(samples, 0.9, 1)
  local flat, words = verdict(warm, last, start, finish)
  print(("%-9s %9d %8.1f %9.1f %9.1f %9.1f  %-12s %-9s %s"):format(phase.name, phase.records, seconds, warm / 1024,
    last / 1024, most(samples, "memory") / 1024, counts "descriptors", counts "threads", words))
  io.stdout:flush()
  return flat
end

local port, _, stub, pid = require("bench.stub").start()
stub_pid = pid
options.endpoint = "http://127.0.0.1:" .. port
assert(kinesis.configure(options))

print "RSS in MiB, means of the second and of the last tenth; descriptors and threads at start, at most, at end"
print(("%-9s %9s %8s %9s %9s %9s  %-12s %-9s"):format("phase", "records", "seconds", "RSS warm", "RSS end", "RSS peak",
  "descriptors", "threads"))
local all_flat = true
for _, phase in ipairs(PHASES) do
  all_flat = run(phase) and all_flat
end
stub:close()
os.exit(all_flat and 0 or 1)
