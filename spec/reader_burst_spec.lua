-- The answers of many quiet shards, all at once and larger than the window: memory stays bounded however slow the
-- consumer is, other calls go through, and nothing is lost.
local fresh = require "support.fresh"

local sanitized = os.getenv("BUILD_FLAVOUR"):find("^[at]san") ~= nil or os.getenv("LUA"):find "valgrind" ~= nil

-- Reads records of each shard, in order. After the first one it waits until the answers of all shards are on
-- their way, and does what arg[2] says: "put"; "wait" longer than the time of a request; "reset" the connections;
-- "close" the client.
local CHILD = [=[
local core, kinesis = require "kinesis.core", require "kinesis"
local url, what, shards, records = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local function client(options)
  options.endpoint, options.region, options.ca_bundle = url, "us-east-1", os.getenv "CERTS" .. "/ca.pem"
  options.credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" }
  return assert(kinesis.client(options))
end
local reading, asking = client { request_timeout = what == "wait" and 3 or 20, call_timeout = 20 }, client {}
local function peak()
  for line in io.lines "/proc/self/status" do
    if line:find "^VmHWM" then return tonumber(line:match "%d+") / 1024 end
  end
end
local function wait_for_burst()
  while asking:call("TellState", {}).begun < shards do kinesis.sleep(0.005) end
end
local acts = {
  wait = function() kinesis.sleep(3.2) end,
  put = function()
    for _ = 1, 10 do assert(reading:put("stream", "data", "key")) end
  end,
  reset = function() assert(asking:call("Reset", {})) end,
  close = function()
    local began = core.now()
    reading:close()
    print(core.now() - began < 1 and "closed" or "closed late")
    os.exit(0, true)
  end,
}
local before, count, errors, last = peak(), 0, 0, {}
for record in reading:shards("stream"):records {
  window = 1024 * 1024 * arg[5], poll_interval = 0.2, limit = tonumber(arg[6]),
  on_error = function() errors = errors + 1 end,
} do
  count = count + 1
  local expected = ("%d"):format((last[record.shard_id] or 0) + 1)
  assert(record.sequence_number == expected and tonumber(record.data:sub(-9)) == tonumber(expected), "lost or repeated")
  last[record.shard_id] = tonumber(expected)
  if count == 1 then
    wait_for_burst()
    acts[what]()
  end
end
print(("%d records, %d errors"):format(count, errors))
local asked = {}
for _, shard in ipairs(asking:call("TellState", {}).asked) do asked[shard] = (asked[shard] or 0) + 1 end
local once = 0
for _, times in pairs(asked) do once = once + (times == 1 and 1 or 0) end
print(("%d shards asked once"):format(once))
print(("%.1f MiB more"):format(peak() - before))
]=]

local service, url

local function start(...)
  local how = select(4, ...)
  service = fresh.python("bursting.py", nil, ...)
  service.pid = service:line()
  url = (how == "tls" and "https://localhost:" or "http://127.0.0.1:") .. service:line()
end

-- The lines that the child prints.
local function read(what, shards, records, window, limit)
  limit = limit or shards * records
  local output, status = fresh.lua(CHILD, nil, url, what, shards, records, window or 1, limit):wait()
  assert.equal(0, status, output)
  local lines = {}
  for line in output:gmatch "[^\n]+" do
    lines[#lines + 1] = line
  end
  return lines
end

describe("a reader of shards that answer all at once", function()
  after_each(function()
    service:signal "TERM"
    service:wait()
  end)

  it("holds its window and one page, and lets puts through", function()
    start(24, 10, 1024 * 1024)
    -- one page is read, 18 are paused: the other connections are kept for puts, and five shards are asked again later
    local lines = read("put", 24, 10, 4, 190)
    assert.equal("190 records, 0 errors", lines[1])
    -- 4 MiB and a page of 14 MiB; buffers of 24 connections, and what Lua has not collected. 24 pages were 340 MiB.
    assert.is_true(sanitized or tonumber(lines[3]:match "^[%d.]+") < 4 + 14 + 22, lines[3])
  end)

  for how, what in pairs { chunked = "put", tls = "wait" } do
    it(("asks each once, however long its answer is paused (%s)"):format(how), function()
      start(6, 3, 1024 * 1024, how)
      local lines = read(what, 6, 3)
      assert.equal("18 records, 0 errors", lines[1])
      assert.equal("6 shards asked once", lines[2])
    end)
  end

  it("asks again when the service has reset the connections that were paused", function()
    start(8, 3, 1024 * 1024)
    local lines = read("reset", 8, 3)
    assert.matches("^24 records", lines[1]) -- an answer may have been reset before its first bytes were read
    assert.not_equal("8 shards asked once", lines[2])
  end)

  it("is closed at once", function()
    start(8, 3, 1024 * 1024)
    assert.same({ "closed" }, read("close", 8, 3))
  end)
end)
