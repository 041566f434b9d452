-- The functions that specs run inside nginx. A request is a POST of {stream=, endpoint=, …}; the path names the
-- function.
local cjson = require "cjson"
local context = require "kinesis.credentials.context"
local kinesis = require "kinesis"
local scenarios = require "support.scenarios"
local wait = require "kinesis.wait"

local M = {}

local clients = {} -- by endpoint, for the life of the worker

local function client_of(endpoint)
  if not clients[endpoint] then
    clients[endpoint] = assert(kinesis.client {
      endpoint = endpoint,
      region = "us-east-1",
      credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" },
      max_attempts = 1,
    })
  end
  return clients[endpoint]
end

local does = {}

-- {data=, partition_key=}: returns the result, and the worker
function does.put(client, asked)
  local result, err = client:put(asked.stream, asked.data, asked.partition_key)
  return { sequence_number = result and result.sequence_number, err = err and tostring(err), pid = ngx.worker.pid() }
end

local producers = {} -- by stream

local function note_failure(record, err)
  ngx.shared.notes:set("failure", record.data .. ": " .. err.code)
end

-- {data=, count=, max_bytes=}: puts `count` times through the worker's producer
function does.produce(client, asked)
  if not producers[asked.stream] then
    producers[asked.stream] = assert(client:producer(asked.stream, {
      max_bytes = asked.max_bytes, on_failure = note_failure,
    }))
  end
  local producer, taken, code = producers[asked.stream], 0, nil
  for i = 1, asked.count do
    local done, err = producer:put(asked.data, "key " .. i)
    taken, code = taken + (done and 1 or 0), err and err.code or code
  end
  local stats = producer:stats()
  return { taken = taken, code = code, held = stats.held_bytes, accepted = stats.accepted, stored = stats.stored }
end

-- {limit=}: returns that many records from the beginning
function does.read(client, asked)
  local list = {}
  for record in client:shards(asked.stream):records { limit = asked.limit, idle_timeout = 10 } do
    list[#list + 1] = record.data
  end
  return { data = list }
end

-- a timer that reads until the worker exits
function does.tail(client, asked)
  assert(ngx.timer.at(0, function()
    assert(nil == client:shards(asked.stream):records({ from = "latest" }):next())
  end))
  return {}
end

-- a client for this request, which closes it
function does.once(client, asked)
  local answer = does.put(client, asked)
  client:close()
  clients[asked.endpoint] = nil
  return answer
end

-- A client whose provider fetches credentials from the URL `asked.keys` and from a program.
local function fetching_client(asked)
  local client = assert(kinesis.client {
    endpoint = asked.endpoint, region = "us-east-1", credentials = function() end,
  })
  local own_context = context.of(client, {}, {})
  client.credentials.is_chain, client.credentials.provider = true, function()
    local fetched = assert(own_context.request { method = "GET", url = asked.keys, timeout = 5 })
    local ended = assert(own_context.run({ "echo", "secret" }, 5))
    return { access_key_id = cjson.decode(fetched.body).method, secret_access_key = ended.output:gsub("\n", "") }
  end
  return client
end

-- {keys=}: a put by a client for this request
function does.fetch_keys(_, asked)
  local client = fetching_client(asked)
  local answer = does.put(client, asked)
  client:close()
  return answer
end

-- {keys=}: waits for credentials only, as a call that needs the account for its endpoint
function does.await_keys(_, asked)
  local client = fetching_client(asked)
  local found, err = client.credentials:await()
  client:close()
  return { access_key_id = found and found.access_key_id, err = err and tostring(err) }
end

local lasting = {} -- producers by name

-- {keys=, name=, data=}: a producer, created with its client by the first request of that name
function does.last(_, asked)
  if not lasting[asked.name] then
    local client = fetching_client(asked)
    client.credentials:start()
    lasting[asked.name] = assert(client:producer(asked.stream))
  end
  return { taken = asked.data and lasting[asked.name]:put(asked.data, "key") }
end

local hooked = { told = 0 }

-- {count=}: puts `count` times by a client with a hook; returns the size of the memory after all hook calls
function does.hooked(_, asked)
  hooked.client = hooked.client or assert(kinesis.client {
    endpoint = asked.endpoint, region = "us-east-1", credentials = { access_key_id = "A", secret_access_key = "s" },
    on_response = function()
      hooked.told = hooked.told + 1
    end,
  })
  local first = hooked.told
  for _ = 1, asked.count do
    assert(hooked.client:put(asked.stream, "x", "key"))
  end
  while hooked.told < first + asked.count do
    ngx.sleep(0)
  end
  collectgarbage()
  collectgarbage()
  return { bytes = collectgarbage "count" * 1024 }
end

local MOST_TIMERS = 256 -- that run at once; nginx drops more

-- {pumped=}: a put by a client with a credentials function, while nginx runs no further timer; with or without a pump
function does.crowded(_, asked)
  local over, told = false, 0
  local client = assert(kinesis.client {
    endpoint = asked.endpoint, region = "us-east-1", credentials = function()
      told = told + 1
      return { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" }
    end,
  })
  if asked.pumped then
    local before = ngx.timer.running_count()
    wait.attach(client)
    while ngx.timer.running_count() == before do
      ngx.sleep(0)
    end
  end
  local function linger()
    while not over do
      ngx.sleep(0.01)
    end
  end
  while ngx.timer.running_count() < MOST_TIMERS do
    assert(ngx.timer.at(0, linger))
    ngx.sleep(0)
  end
  local answer
  local thread = ngx.thread.spawn(function()
    answer = does.put(client, asked)
  end)
  for _ = 1, 20 do -- rounds of the event loop
    ngx.sleep(0)
  end
  local early = told
  over = true
  assert(ngx.thread.wait(thread))
  client:close()
  return { sequence_number = answer.sequence_number, err = answer.err, early = early, told = told }
end

-- the numbers of pending and of running timers of this worker
function does.timers()
  return { pending = ngx.timer.pending_count(), running = ngx.timer.running_count(), pid = ngx.worker.pid() }
end

-- {seconds=}: closes a client during a put
function does.close(client, asked)
  ngx.timer.at(asked.seconds, function()
    client:close()
    clients[asked.endpoint] = nil
  end)
  return does.put(client, asked)
end

-- the notes of the log phase, and the last argument of on_failure
function does.notes()
  return { note = ngx.shared.notes:get "log", failure = ngx.shared.notes:get "failure" }
end

-- {at=, scenario=, where="request" or "timer"}: returns the result of a scenario, see spec/support/scenarios.lua
local function together(...)
  local threads = {}
  for i = 1, select("#", ...) do
    threads[i] = ngx.thread.spawn((select(i, ...)))
  end
  for _, thread in ipairs(threads) do
    assert(ngx.thread.wait(thread))
  end
end

function does.scenario(_, asked)
  local done, answer, err = require("ngx.semaphore").new()
  local function play()
    local good, value = pcall(scenarios[asked.scenario], asked.at, together)
    answer, err = good and value or nil, not good and tostring(value) or nil
    done:post(1)
  end
  if asked.where == "timer" then
    assert(ngx.timer.at(0, play))
  else
    play()
  end
  done:wait(20)
  return { answer = answer, err = err }
end

-- Runs the named function with the body, which has been read.
function M.act(name)
  local asked = cjson.decode(ngx.req.get_body_data() or "{}")
  return does[name](asked.endpoint and client_of(asked.endpoint), asked)
end

function M.serve()
  ngx.req.read_body()
  local answer = M.act(ngx.var.uri:sub(2))
  ngx.header.content_type = "application/json"
  ngx.print(cjson.encode(answer))
end

function M.log()
  local asked = cjson.decode(ngx.req.get_body_data() or "{}")
  local good, err = pcall(does.put, client_of(asked.endpoint), asked)
  ngx.shared.notes:set("log", tostring(good) .. " " .. tostring(err))
end

return M
