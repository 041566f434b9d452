--- For nginx with its Lua module: one client per worker, one producer per stream, and a page of their counters.
--- The rest of the library works in nginx without this module: calls wait without blocking the worker, and a worker
--- that exits ends its readers and delivers the records of its producers.
local codec = require("kinesis.core").codec
local client = require "kinesis.client"
local errors = require "kinesis.errors"
local notice = require "kinesis.observe.notice"
local schema = require "kinesis.options"
local producer = require "kinesis.producer"
local metrics = require "kinesis.observe.prometheus"

---@class kinesis.openresty
local M = {}

local PUBLISH_EVERY = 1 -- seconds
local EXPIRE_AFTER = 10 -- seconds until the counters of a worker that ended are dropped

-- The state of this worker process; nginx's master loads the module before it forks.
local configured = {} -- the options of setup
local is_set_up = false
local own_client, producers = nil, {}

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
    local text = codec.json_encode { stream = source.stream, url = source.url, worker = worker, counters = counters }
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
  if is_set_up or own_client then
    error("setup: this worker has its client already; call setup once, in init_worker_by_lua, before all others", 2)
  end
  configured, is_set_up = checked, true
  open_client(2)
  for stream in pairs(configured.producers or {}) do
    open_producer(stream, 2)
  end
  if checked.metrics then
    ngx.timer.every(PUBLISH_EVERY, publish)
  end
end

return M
