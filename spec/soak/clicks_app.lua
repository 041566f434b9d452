-- What make load does in nginx. Each worker names the clicks it accepts by its pid and a number, so that whoever has
-- read the stream can say which is missing.
local cjson = require "cjson"
local host = require "kinesis.openresty"
local kinesis = require "kinesis"

local M = {}

local STREAM, MOST = "clicks", 2000 -- accepted a second, of all workers
local shared = ngx.shared.clicks
local OPTIONS = {
  endpoint = "http://" .. require "clicks_endpoint", region = "us-east-1",
  credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" },
}

local accepted, read = 0, 0

-- Counts what comes, in this worker, until it is told to leave; the next one in its place begins anew.
local function consume()
  for records in host.client():shards(STREAM):records { from = "latest", batch = true } do
    for _, record in ipairs(records) do
      read = read + #(kinesis.deaggregate(record.data) or { record })
    end
    shared:set("read " .. ngx.worker.pid(), read)
  end
  shared:incr("ended", 1, 0)
end

function M.start()
  host.setup { client = OPTIONS, producers = { [STREAM] = {} }, metrics = "kinesis" }
  ngx.timer.at(0, consume)
end

-- `idle`: the same without the put, to compare with.
function M.accept(idle)
  if shared:incr("second " .. math.floor(ngx.now()), 1, 0, 5) > MOST then
    return ngx.exit(429)
  end
  local name = ("%d:%d"):format(ngx.worker.pid(), accepted + 1)
  local taken = idle or host.producer(STREAM):put(name, name)
  if not taken then
    return ngx.exit(503)
  elseif idle then
    return ngx.exit(202)
  end
  accepted = accepted + 1
  shared:set("accepted " .. ngx.worker.pid(), accepted)
  ngx.status = 202
  ngx.say("{}")
end

function M.tell()
  local told = { accepted = {}, read = {}, ended = shared:get "ended" or 0 }
  for _, key in ipairs(shared:get_keys(0)) do
    local what, pid = key:match "^(%a+) (%d+)$"
    if told[what] then
      told[what][pid] = shared:get(key)
    end
  end
  ngx.say(cjson.encode(told))
end

-- With the code cache off: a client for one request.
function M.once()
  local client = assert(kinesis.client(OPTIONS))
  local result, err = client:put("once", "data", "key")
  client:close()
  ngx.status = result and 200 or 500
  ngx.say(err and tostring(err) or "{}")
end

return M
