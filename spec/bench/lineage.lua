-- What it costs to open and read many closed shards and their open children: CPU of this process, which should grow as
-- their number. lua5.4 spec/bench/lineage.lua [closed shards…]
local kinesis = require "kinesis"

local path = os.tmpname()
local server = assert(io.popen("exec node spec/bench/lineage.mjs > " .. path, "w"))
local port
repeat
  os.execute "sleep 0.05"
  port = io.lines(path)()
until port
os.remove(path)

local client = assert(kinesis.client {
  region = "us-east-1", endpoint = "http://127.0.0.1:" .. port,
  credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" },
})

local function run(closed)
  local clock, wall = os.clock(), os.time()
  local shards = client:shards("lineage-" .. closed)
  assert(#shards == 2 * closed)
  local listed, records = os.clock(), 0
  for _ in shards:records { stop_at_tip = true } do
    records = records + 1
  end
  assert(records == 2 * closed, records)
  print(("%6d closed and as many open: %6.2f s of CPU, of which %.2f s list them; %d s"):format(closed,
    os.clock() - clock, listed - clock, os.time() - wall))
end

for _, closed in ipairs(#arg > 0 and arg or { 500, 1000, 2000, 4000, 10000 }) do
  run(tonumber(closed))
end
client:close()
server:close()
