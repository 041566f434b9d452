--- For nginx with its Lua module: one client and one producer a stream for each worker, and their counters as a page.
--- Everything else works there as everywhere: calls wait in nginx's way, and a worker that is told to leave ends its
--- readers and delivers what its producers hold.
local cjson = require("cjson").new()
local client = require "kinesis.client"
local errors = require "kinesis.errors"
local notice = require "kinesis.observe.notice"
local schema = require "kinesis.options"
local producer = require "kinesis.producer"
local metrics = require "kinesis.observe.prometheus"

---@class kinesis.openresty
local M = {}

local PUBLISH_EVERY = 1 -- seconds
local FORGET_AFTER = 10 -- seconds without a word of a worker

-- This worker's. A fork of nginx's master has them anew.
local configured = {} -- the options of setup
local is_set_up = false
local own_client, producers = nil, {}

-- `level`: where a wrong option is raised, 1 is the caller of these two.
local function open_client(level)
  if not own_client or own_client.core:is_closed() then
    local made, err = client.open(configured.client, level + 1)
    own_client, producers = made or errors.raise(err), {}
    if err then -- it may be there later; what is put until then fails with the same words
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

--- This worker's client, made when it is first asked for.
---
--- Raises a string when it cannot be made.
---@return kinesis.Client client
function M.client()
  local made = open_client(2)
  return made
end

--- This worker's producer for a stream, made when it is first asked for. Its `put` never waits: it works in every
--- phase, `log_by_lua` and the filters included, and says `Full` when there is no room.
---
--- Raises a string when it cannot be made.
---@param stream string name or ARN
---@return kinesis.Producer producer
function M.producer(stream)
  local made = open_producer(stream, 2)
  return made
end

-- ---- counters ----

-- As a source of the page: what another worker has left in the dictionary.
local function source_of(text)
  local source = cjson.decode(text)
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
    local text = cjson.encode { stream = source.stream, url = source.url, worker = worker, counters = counters }
    dict:set(worker .. " " .. name, text, FORGET_AFTER)
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

--- The counters of all workers in the text format of Prometheus, each with the label `worker`: the content of a
--- location. It wants `metrics` of `setup`.
---
--- Raises a string when there is no such `lua_shared_dict`.
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

-- ---- the beginning ----

--- Prepares a worker, once; for `init_worker_by_lua`. Makes its client and the named producers, so that what is wrong
--- shows when nginx starts.
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
