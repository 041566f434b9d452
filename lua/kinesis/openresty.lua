--- For nginx with its Lua module: one client per nginx worker, one producer per stream, workers that process streams,
--- and a page of their counters. The rest of the library works in nginx without this module: calls wait without
--- blocking nginx, and an nginx worker that exits ends its readers and workers, and delivers the records of its
--- producers.
local codec = require("kinesis.core").codec
local client = require "kinesis.client"
local errors = require "kinesis.errors"
local notice = require "kinesis.observe.notice"
local schema = require "kinesis.options"
local producer = require "kinesis.producer"
local workers = require "kinesis.worker"
local metrics = require "kinesis.observe.prometheus"

---@class kinesis.openresty
local M = {}

local PUBLISH_EVERY = 1 -- seconds
local EXPIRE_AFTER = 10 -- seconds until the counters of a worker that ended are dropped
local RESTART_AFTER = 10 -- seconds

-- The state of this worker process; nginx's master loads the module before it forks.
local configured = {} -- the options of setup
local is_set_up = false
local own_client, producers = nil, {}
local running = {} -- application -> its worker, while that runs

--- A worker that `setup` runs.
---@class kinesis.SetupWorker
---@field streams string|string[] names or ARNs
---@field application string the leases belong to it
---@field handler fun(record: kinesis.Record, shard: kinesis.WorkerShard) may wait, for cosockets too
---@field options? kinesis.WorkerOptions
---@field restart_after? number seconds after which a worker that an error has ended is opened again; default 10

-- `level` is where a wrong option is raised: 1 is the caller of open_client or open_producer.
local function open_client(level)
  if not own_client or own_client.core:is_closed() then
    local made, err = client.open(configured.client, level + 1)
    own_client, producers = made or errors.raise(err), {}
    if err then -- credentials may arrive later; until then records fail with the same message
      notice.print_rarely("openresty " .. err.code, "%s", tostring(err))
    end
  end
  return own_client
end

local function open_producer(stream, level)
  local home = open_client(level + 1)
  if not producers[stream] or producers[stream].closed then
    local made, err = producer.new(home, stream, (configured.producers or {})[stream], level + 1)
    producers[stream] = made or errors.raise(err)
  end
  return producers[stream]
end

--- Returns this worker's client, created on first use with the options of `setup`.
---
--- Raises a string when it cannot be created.
---@return kinesis.Client client
function M.client()
  local made = open_client(2)
  return made
end

--- Returns this worker's producer for a stream, created on first use with the options of `setup`. Its `put` never
--- waits: it works in every phase, also in `log_by_lua` and the filters, and returns `Full` when the producer is full.
---
--- Raises a string when it cannot be created.
---@param stream string name or ARN
---@return kinesis.Producer producer
function M.producer(stream)
  local made = open_producer(stream, 2)
  return made
end

-- ---- workers ----

-- Runs a worker until it is stopped. Returns nil and why, when an error has ended it.
local function run_worker(of)
  local opened, err = open_client(2):worker(of.streams, of.application, of.options)
  if not opened then
    return nil, err
  end
  running[of.application] = opened
  return opened:run(of.handler)
end

-- In a timer.
local function keep_running(premature, of)
  if premature then
    return
  end
  local good, stopped, err = pcall(run_worker, of)
  running[of.application] = nil
  if good and stopped then
    return
  end
  local seconds = of.restart_after or RESTART_AFTER
  local again = ngx.timer.at(seconds, keep_running, of) -- nil: nginx exits
  ngx.log(ngx.ERR, ("kinesis: the worker %s has ended%s: %s"):format(of.application,
    again and (", and begins again in %g s"):format(seconds) or "", tostring(not good and stopped or err)))
end

--- Returns the worker of an application that `setup` runs in this nginx worker, for `checkpoint`, `ack` and `stats`.
---@param application string
---@return kinesis.Worker|nil worker nil: it does not run now
function M.worker(application)
  return running[application]
end

local function check_workers(list)
  local seen = {}
  for i, of in ipairs(list) do
    if type(of) ~= "table" or type(of.handler) ~= "function" then
      error(("setup: workers[%d] must be a table {streams=, application=, handler=, options=}"):format(i), 3)
    end
    workers.check("", of.streams, of.application, of.options, 3) -- the client, with its region, is opened later
    if seen[of.application] then
      error(("setup: two workers have the application '%s'; one worker takes a list of streams"):format(of.application),
        3)
    end
    if of.restart_after and not (type(of.restart_after) == "number" and of.restart_after >= 0) then
      error(("setup: restart_after of workers[%d] must be a number of seconds"):format(i), 3)
    end
    seen[of.application] = true
  end
end

-- ---- counters ----

-- Makes a source for kinesis.prometheus from the counters that a worker stored in the dictionary.
local function source_of(text)
  local source = codec.json_decode(text)
  local counters = source.counters
  function source.stats()
    return counters
  end
  return source
end

local function deposit(dict, name, source)
  local counters = source:stats()
  if counters then
    local worker = tostring(ngx.worker.id())
    local text = codec.json_encode { stream = source.stream, url = source.url, application = counters.application,
      worker = worker, counters = counters }
    dict:set(worker .. " " .. name, text, EXPIRE_AFTER)
  end
end

local function publish()
  local dict = ngx.shared[configured.metrics]
  if own_client then
    deposit(dict, "client", own_client)
  end
  for stream, made in pairs(producers) do
    deposit(dict, stream, made)
  end
  for application, made in pairs(running) do
    deposit(dict, "worker " .. application, made)
  end
end

--- Sends the counters of all workers as the response, in the text format of Prometheus, each with the label `worker`.
--- For `content_by_lua`. Needs the option `metrics` of `setup`.
---
--- Raises a string when `setup` had no `metrics`.
function M.metrics()
  local dict = configured.metrics and ngx.shared[configured.metrics]
  if not dict then
    errors.raise_mistake "metrics needs setup { metrics = 'NAME' } in init_worker_by_lua, and lua_shared_dict NAME 1m"
  end
  publish()
  local sources = {}
  local names = dict:get_keys(0)
  table.sort(names)
  for _, name in ipairs(names) do
    local text = name:find "^%d+ " and dict:get(name)
    sources[#sources + 1] = text and source_of(text) or nil
  end
  ngx.header.content_type = "text/plain; version=0.0.4"
  ngx.print(metrics.prometheus((table.unpack or unpack)(sources)))
end

-- ---- setup ----

--- Prepares a worker. Call it once, in `init_worker_by_lua`. Creates the client and the producers in `producers`, so
--- that nginx logs wrong options when it starts, not at the first request.
---
--- Raises a string that names the wrong option.
---@param options? kinesis.SetupOptions
function M.setup(options)
  local checked = schema.check("setup", options, 2)
  if checked.metrics and not ngx.shared[checked.metrics] then
    error(("setup: metrics must be the name of a lua_shared_dict, and there is no '%s'"):format(checked.metrics), 2)
  end
  schema.check("client", checked.client, 2)
  for _, wanted in pairs(checked.producers or {}) do
    schema.check("producer", wanted, 2)
  end
  check_workers(checked.workers or {})
  if is_set_up or own_client then
    error("setup: this worker has its client already; call setup once, in init_worker_by_lua, before all others", 2)
  end
  configured, is_set_up = checked, true
  open_client(2)
  for stream in pairs(configured.producers or {}) do
    open_producer(stream, 2)
  end
  for _, of in ipairs(checked.workers or {}) do
    ngx.timer.at(0, keep_running, of)
  end
  if checked.metrics then
    ngx.timer.every(PUBLISH_EVERY, publish)
  end
end

return M
