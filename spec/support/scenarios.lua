-- Scenarios that must behave the same in every host; they run inside it. A scenario gets `at` {endpoint=, stream=,
-- stalled= an endpoint where PutRecord and PutRecords get no answer} and `together(f, g, …)`, which runs functions
-- concurrently in the way of the host and returns when all have ended. It returns a table for JSON, which
-- hosts_spec.lua checks.
local core = require "kinesis.core"
local kinesis = require "kinesis"

local M = {}

local function client_of(endpoint, given)
  local options = {
    endpoint = endpoint,
    region = "us-east-1",
    credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" },
    max_attempts = 1,
  }
  for name, value in pairs(given or {}) do
    options[name] = value
  end
  return assert(kinesis.client(options))
end

function M.put(at)
  local client = client_of(at.endpoint)
  local result, err = client:put(at.stream, "data", "key")
  local _, refused = client:put("no-such-stream", "data", "key")
  client:close()
  return { stored = result and result.shard_id, err = err and tostring(err), refused = refused.code }
end

function M.read(at)
  local client = client_of(at.endpoint)
  for i = 1, 3 do
    assert(client:put(at.stream, "record " .. i, "key"))
  end
  local list = {}
  for record in client:shards(at.stream):records { limit = 3, idle_timeout = 10 } do
    list[#list + 1] = record.data
  end
  client:close()
  return { data = list }
end

-- Different answers of one client, and one answer with two waiters.
function M.many_wait(at, together)
  local client = client_of(at.endpoint)
  local producer = assert(client:producer(at.stream, { linger = 0.05 }))
  local receipt = assert(producer:send("for two", "key"))
  local stored, seen = {}, {}
  local tasks = {}
  for i = 1, 10 do
    tasks[i] = function()
      local result = assert(client:put(at.stream, "record " .. i, "key"))
      stored[#stored + 1] = result.sequence_number
    end
  end
  for i = 1, 2 do
    tasks[10 + i] = function()
      seen[i] = assert(receipt:wait()).sequence_number
    end
  end
  together((table.unpack or unpack)(tasks))
  local different = {}
  for _, number in ipairs(stored) do
    different[number] = true
  end
  local count = 0
  for _ in pairs(different) do
    count = count + 1
  end
  producer:close()
  client:close()
  return { count = count, same = seen[1] ~= nil and seen[1] == seen[2] }
end

function M.timeout(at)
  local client = client_of(at.stalled, { request_timeout = 0.2 })
  local began = core.now()
  local _, err = client:put(at.stream, "data", "key")
  local producer = assert(client:producer(at.stream))
  local receipt = assert(producer:send("data", "key"))
  local _, later = receipt:wait(0.1)
  local _, unflushed, left = producer:flush(0.1)
  assert(producer:close(0.1))
  local _, lost = receipt:wait()
  client:close()
  return {
    put = err.code, receipt = later.code, flush = unflushed.code, left = left, close = lost.code,
    quick = core.now() - began < 3,
  }
end

-- A reader that is paused waits; another coroutine moves it, and resumes it.
function M.pause(at, together)
  local client = client_of(at.endpoint)
  for i = 1, 3 do
    assert(client:put(at.stream, "record " .. i, "key"))
  end
  local reader = client:shards(at.stream):records { idle_timeout = 10 }
  local order = { reader().data }
  reader:pause()
  together(function()
    for _ = 1, 2 do
      local record = reader()
      order[#order + 1] = record.data
    end
  end, function()
    kinesis.sleep(0.3)
    order[#order + 1] = "moved"
    reader:seek "trim_horizon"
    kinesis.sleep(0.3)
    order[#order + 1] = "resumed"
    reader:resume()
  end)
  client:close()
  return { order = order }
end

-- A reader that waits for records is stopped by another coroutine.
function M.cancel(at, together)
  local client = client_of(at.endpoint)
  local reader = client:shards(at.stream):records { from = "latest" }
  local ended = false
  together(function()
    ended = reader:next() == nil
  end, function()
    kinesis.sleep(0.1)
    reader:stop()
  end)
  client:close()
  return { ended = ended }
end

function M.close_in_flight(at, together)
  local client = client_of(at.stalled)
  local producer = assert(client:producer(at.stream, { linger = 0 }))
  assert(producer:put("produced", "key"))
  local codes = {}
  together(function()
    codes.put = select(2, client:put(at.stream, "data", "key")).code
  end, function()
    codes.flush = select(2, producer:flush()).code
  end, function()
    kinesis.sleep(0.3)
    client:close()
  end)
  return codes
end

-- on_failure itself waits for an answer.
function M.produce(at)
  local client = client_of(at.endpoint)
  local told, handled = {}, 0
  local producer = assert(client:producer(at.stream))
  local lost = assert(client:producer("no-such-stream", { linger = 0, on_failure = function(record, err)
    told[#told + 1] = record.data .. " " .. err.code
    assert(client:put(at.stream, "instead of " .. record.data, "key"))
    handled = handled + 1
  end }))
  for i = 1, 200 do
    assert(producer:put("record " .. i, "key " .. i))
  end
  assert(lost:put("one", "key"))
  local flushed = producer:flush(10)
  lost:flush(10)
  local deadline = core.now() + 5
  while handled < 1 and core.now() < deadline do -- in a host, handlers run concurrently
    kinesis.sleep(0.01)
  end
  local stats = producer:stats()
  lost:close()
  producer:close()
  client:close()
  return { flushed = flushed, stored = stats.stored, told = told, handled = handled }
end

function M.sleep(_, together)
  local began, order = core.now(), {}
  together(function()
    kinesis.sleep(0.2)
    order[#order + 1] = "late"
  end, function()
    kinesis.sleep(0.1)
    order[#order + 1] = "early"
  end)
  return { order = order, aside = core.now() - began < 0.29 }
end

return M
