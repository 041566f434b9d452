-- make bench: this module and its peers against one stub service, in turn, round by round.
--
--   lua5.4 spec/bench/bench.lua [ROUNDS [WORKLOAD…]]
--
-- The client runs on processor 0, the stub on processor 1. Printed are medians: CPU is user and system time of
-- the whole process after a warm-up, a record; the ratios are to aws-sdk-js and to the floor in the same rounds. The
-- floor is libcurl and our wire rooms in plain C: what the machine of the day makes of the same work.
local rounds = tonumber(arg[1]) or 5

-- calls, warm-up and calls in flight; put_many's lists are of one call, or of as many as are in flight (`wide`). A
-- reader asks 60 shards, as one answers five times a second only. `peer`: what the others do; `alone`: only the floor
-- does. What is packed are aggregates, which SDKs do not take apart.
local WORKLOADS = {
  { name = "put", shape = "1x100", calls = 6000, warm_up = 600, in_flight = 1 },
  { name = "put_many", shape = "500x100", calls = 800, warm_up = 100, in_flight = 8 },
  { name = "put_many", shape = "500x100", calls = 800, warm_up = 100, in_flight = 8, wide = true },
  { name = "put_many", shape = "500x1024", calls = 300, warm_up = 50, in_flight = 8 },
  { name = "put_many", shape = "500x1024", calls = 300, warm_up = 50, in_flight = 8, wide = true },
  { name = "produce", shape = "500x100", calls = 800, warm_up = 100, in_flight = 8, shards = 4, peer = "put_many" },
  { name = "aggregate", shape = "500x100", calls = 800, warm_up = 100, in_flight = 8, shards = 4, peer = "put_many" },
  { name = "aggregate", shape = "500x100", calls = 800, warm_up = 100, in_flight = 8, shards = 1000,
    peer = "put_many" },
  { name = "produce", shape = "500x100", calls = 800, warm_up = 100, in_flight = 8, shards = 1000,
    peer = "put_many" },
  { name = "read", shape = "1000x100", calls = 300, warm_up = 60, in_flight = 8 },
  { name = "read", shape = "500x1024", calls = 300, warm_up = 60, in_flight = 8 },
}
for _, shape in ipairs { "1000x100", "500x1024" } do
  for _, name in ipairs { "fields", "values", "batch", "columns", "packed", "packed_values" } do
    WORKLOADS[#WORKLOADS + 1] = { name = name, shape = shape, calls = 300, warm_up = 60, in_flight = 8,
      peer = name:find "^packed" and "packed" or "read", alone = true }
  end
end
local CLIENTS = {
  { name = "aws-sdk-js", command = "node --no-warnings spec/bench/js.mjs" },
  { name = "aws-sdk-go-v2", command = "build/bench/go" },
  { name = "libcurl", command = "build/bench/floor" },
  { name = "kinesis", command = "lua5.4 spec/bench/ours.lua", ours = true },
}
local FLOOR = "libcurl"

local function exists(path)
  local file = io.open(path)
  return file and file:close()
end

local function wanted(workload)
  for i = 2, #arg do
    if (workload.name .. " " .. workload.shape):find(arg[i], 1, true) then
      return true
    end
  end
  return #arg < 2
end

-- One line of JSON, of numbers only.
local function read_row(line)
  local row = {}
  for name, value in (line or ""):gmatch '"([%w_]+)":([%d.eE+-]+)' do
    row[name] = tonumber(value)
  end
  return row.records and row
end

local function median(rows, what)
  local values = {}
  for i, row in ipairs(rows) do
    values[i] = what(row)
  end
  table.sort(values)
  local middle = #values // 2
  return #values % 2 == 1 and values[middle + 1] or (values[middle] + values[middle + 1]) / 2,
    values[1], values[#values]
end

local function cpu(row)
  return row.cpu / row.records * 1e6
end

local function measure(client, workload, endpoint)
  local narrow = client.ours and workload.name == "put_many" and not workload.wide
  local command = ("taskset -c 0 timeout 300 %s %s %s %s %d %d %d %s"):format(
    client.command, client.ours and workload.name or workload.peer or workload.name, workload.shape, endpoint,
    workload.calls, workload.warm_up, narrow and 1 or workload.in_flight, client.ours and workload.shards or "")
  local pipe = assert(io.popen(command))
  local row = read_row(pipe:read "l")
  pipe:close()
  return row or error(client.name .. " failed at " .. workload.name, 0)
end

-- The clients that do a workload.
local function clients_of(workload)
  local list = {}
  for _, client in ipairs(CLIENTS) do
    list[#list + 1] = (not workload.alone or client.ours or client.name == FLOOR) and client or nil
  end
  return list
end

-- `rows`: by client.
local function report(workload, kind, rows)
  local base, floor = nil, nil
  for client, list in pairs(rows) do
    base = client == CLIENTS[1] and median(list, cpu) or base
    floor = client.name == FLOOR and median(list, cpu) or floor
  end
  local name = workload.name .. (workload.shards and "/" .. workload.shards or workload.wide and " wide" or "")
  for _, client in ipairs(clients_of(workload)) do
    local list = rows[client]
    local middle, least, most = median(list, cpu)
    print(("%-14s %-9s %-6s %-14s %9.3f  %-17s %6s %6s %9.0f %7.0f %7.0f %7.0f"):format(
      name, workload.shape, kind, client.name, middle, ("(%.3f-%.3f)"):format(least, most),
      base and ("%.3f"):format(middle / base) or "", ("%.2f"):format(middle / floor), 1e6 / middle,
      median(list, function(row) return row.memory end), median(list, function(row) return row.p50 end),
      median(list, function(row) return row.p99 end)))
  end
end

local function run(workload, kind, endpoint)
  local rows = {}
  for round = 1, rounds do
    for _, client in ipairs(clients_of(workload)) do
      rows[client] = rows[client] or {}
      rows[client][round] = measure(client, workload, endpoint)
    end
  end
  report(workload, kind, rows)
end

if not exists "build/bench/go" then
  table.remove(CLIENTS, 2)
end
local plain, tls, stub = require("bench.stub").start(0, "taskset -c 1")
print(("%-14s %-9s %-6s %-14s %9s  %-17s %6s %6s %9s %7s %7s %7s"):format("workload", "shape", "", "client", "µs CPU",
  "(min-max)", "ratio", "floor", "rec/CPU-s", "MB", "p50 µs", "p99 µs"))
for _, workload in ipairs(WORKLOADS) do
  if wanted(workload) then
    run(workload, "plain", "http://127.0.0.1:" .. plain)
    run(workload, "TLS", "https://127.0.0.1:" .. tls)
  end
end
stub:close()
