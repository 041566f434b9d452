--- A worker: shares the shards of a stream with the other workers of an application, on this machine or others, by
--- leases. manager.lua decides which it takes; each shard that it has a lease for is read by a processor
--- (processor.lua), in a coroutine of its own.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local advice = require "kinesis.util.advice"
local folders = require "kinesis.store.file"
local leases = require "kinesis.worker.leases"
local manager = require "kinesis.worker.manager"
local pretty = require "kinesis.observe.pretty"
local processors = require "kinesis.worker.processor"
local schema = require "kinesis.options"
local shards = require "kinesis.worker.shards"
local start = require "kinesis.reader.start"
local wait = require "kinesis.wait"

local M = {}

--- A shard, as handlers get it.
---@class kinesis.WorkerShard
---@field stream string
---@field id string

--- A worker: reads the shards of a stream that it has leases for.
---@class kinesis.Worker
local Worker = {}

-- What the manager and the processors call.
local Internal = {}

setmetatable(Worker, { __index = Internal })

M.class = Worker

local check_self = advice.check_self

local meta = pretty.equip({ __index = Worker }, "kinesis.worker", function(worker)
  return ("kinesis.worker: %s of %s, %d shards"):format(worker.application, table.concat(worker.streams, ", "),
    worker:count())
end)

--- The time by which the worker decides, in seconds.
function Internal.now()
  return core.now()
end

--- How many shards it reads now.
---@return integer
function Internal:count()
  local count = 0
  for _ in pairs(self.processors) do
    count = count + 1
  end
  return count
end

local function traceback(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

--- Calls a function of the user's, if there is one; its error ends the worker.
function Internal:call_hook(name, ...)
  local hook = self.options[name]
  if hook then
    local good, err = xpcall(hook, traceback, ...)
    if not good then
      self:fail(err)
    end
  end
end

-- ---- for processors ----

function Internal:list_shards()
  return shards.list(self)
end

function Internal:poll()
  manager.poll(self)
end

function Internal:report(err, what)
  manager.report(self, err, what)
end

--- Called by a processor when its shard is read to its end, or its lease is given up.
function Internal:on_processor_end(processor, reason, err)
  self.processors[processor.key] = nil
  if reason == "end" then
    self.synced_at = -math.huge -- its children are ready, and its parents may be finished with
    self:call_hook("on_shard_end", processor.shard)
  else
    self:call_hook("on_lease_lost", processor.shard, reason)
  end
  if err then
    self:fail(err)
  end
  self.look_at = self.now()
  wait.wake(self.client, self.leases.core:id())
end

--- A handler or hook has failed: the worker ends with this error.
function Internal:fail(err)
  self.err = self.err or err
  self:stop()
end

function Internal:is_running()
  return self.handler ~= nil and not self.over
end

--- Its host exits: stops the worker. Returns the seconds that this may take.
function Internal:begin_exit()
  self:stop()
  return self:is_running() and self.options.stop_timeout or 0
end

-- ---- running ----

local function check_unused(self, verb)
  check_self(self, "worker:" .. verb)
  if self.handler then
    error(verb .. ": the worker runs already, or has ended; make another one", 3)
  end
end

-- Runs until the worker is stopped. Stores an error that the worker itself has made.
local function run(self)
  local good, problem = pcall(manager.run, self)
  if not good then
    self.problem = problem
    manager.abandon(self)
  end
  self.stopping, self.over = true, true
  self.leases:close()
  wait.wake(self.client, self)
end

--- Reads shards until the worker is stopped, each in a coroutine of its own that calls the handler with one record
--- after the other. A record is processed when the handler has returned; checkpoints are written behind processed
--- records.
---@param handler fun(record: kinesis.Record, shard: kinesis.WorkerShard)
---@return true|nil stopped nil: it was ended by an error
---@return any err of the handler, with its traceback, or of the leases
function Worker:run(handler)
  check_unused(self, "run")
  if type(handler) ~= "function" then
    error(("run: the handler must be a function, got %s"):format(type(handler)), 2)
  end
  self.handler = handler
  wait.run(self.client, function()
    run(self)
  end)
  if self.problem then
    error(self.problem, 0)
  elseif self.err then
    return nil, self.err
  end
  return true
end

-- The handler of `records`: offers a record to the loop, and returns when the loop asks for the next one.
local function offer(self, record, shard)
  local item = { record = record, shard = shard }
  self.offers[#self.offers + 1] = item
  wait.wake(self.client, self)
  while not item.done do
    if self.stopping and item ~= self.current then
      error(processors.DROPPED, 0)
    end
    wait.ready(self.client, item)
  end
  if item.dropped then
    error(processors.DROPPED, 0)
  end
end

local function end_item(self, dropped)
  local item = self.current
  if item then
    item.done, item.dropped, self.current = true, dropped, nil
    wait.wake(self.client, item)
  end
end

local function wake_offers(self)
  for _, item in ipairs(self.offers) do
    wait.wake(self.client, item)
  end
end

-- Lets the worker end: the record that the loop has not finished is not processed.
local function leave(self)
  end_item(self, true)
  self:stop()
  wake_offers(self)
  self.drive(function()
    return self.over
  end)
end

local function next_record(self)
  if self.over then
    return nil
  end
  end_item(self, false)
  self.drive(function()
    return self.over or self.offers[1] ~= nil and not self.stopping
  end)
  local err = self.problem or self.err
  if self.over and type(err) == "table" and err.code then
    errors.raise(err)
  elseif self.over and err then
    error(err, 0)
  elseif self.over then
    return nil
  end
  self.current = table.remove(self.offers, 1)
  return self.current.record, self.current.shard
end

--- Iterates over the records of all shards in one loop, with the shard of each. A record is processed when the next one
--- is asked for; leaving the loop by `break`, `return` or an error does not process the last one. The loop ends when
--- the worker is stopped.
---
--- Raises the error that ends the worker.
---@return fun(): kinesis.Record|nil records gives a record, and the shard of it
function Worker:records()
  check_unused(self, "records")
  self.offers = {}
  self.handler = function(record, shard)
    offer(self, record, shard)
  end
  self.drive = wait.beside(self.client, self, function()
    run(self)
  end)
  local closing = setmetatable({}, { __close = function()
    if not self.over then
      leave(self)
    end
  end })
  return function()
    return next_record(self)
  end, nil, nil, closing
end

--- Ends the worker: handlers finish the record in hand, checkpoints are written, and leases are released. `run` then
--- returns.
---@return true
function Worker:stop()
  check_self(self, "worker:stop")
  self.stopping = true
  manager.finish_all(self)
  if self.offers then
    wake_offers(self)
  end
  wait.wake(self.client, self.leases.core:id())
  return true
end

-- ---- what the user does with records ----

local function processor_of(self, record, call)
  check_self(self, "worker:" .. call)
  local processor = type(record) == "table" and self.owners[record]
  if not processor then
    error(("%s: takes a record, or a list, that this worker has handed out"):format(call), 3)
  end
  return processor
end

--- With the option `ack`: a record, or a list of records, is processed. The checkpoint moves behind the last one before
--- which all are.
---@param record kinesis.Record|kinesis.Record[]|kinesis.Columns as the handler got it
---@return boolean held false: the lease of its shard was lost; the record will be processed again elsewhere
function Worker:ack(record)
  local processor = processor_of(self, record, "ack")
  processor:ack(record)
  return self.processors[processor.key] == processor and processor.ending ~= "lost"
end

--- Writes a checkpoint behind a record, or a list: it and all before it of its shard are processed.
---@param record kinesis.Record|kinesis.Record[]|kinesis.Columns as the handler got it
---@return boolean|nil written false: the lease of its shard was lost
---@return kinesis.Error err
function Worker:checkpoint(record)
  local processor = processor_of(self, record, "checkpoint")
  if self.processors[processor.key] ~= processor then
    return false
  end
  return processor:checkpoint_at(record)
end

-- ---- statistics ----

--- The counters of this worker and of the shards that it reads, in the shape of reader:stats(); and who holds what.
---@return kinesis.WorkerStats stats
function Worker:stats()
  check_self(self, "worker:stats")
  local stats = { streams = self.streams, application = self.application, worker = self.id, records = 0, bytes = 0,
    misplaced = 0, trimmed = 0, shards = {}, leases = {} }
  for key, processor in pairs(self.processors) do
    local of = processor.reader and processor.reader:stats()
    if of then
      stats.lag = math.max(stats.lag or 0, of.lag or 0)
      for _, name in ipairs { "records", "bytes", "misplaced", "trimmed" } do
        stats[name] = stats[name] + of[name]
      end
      stats.shards[shards.label(self, key)] = of.shards[processor.id]
    end
    stats.leases[shards.label(self, key)] = { worker = self.id, since = self.now() - processor.since }
  end
  for key, row in pairs(self.rows) do
    local label = shards.label(self, key)
    if row.owner and not stats.leases[label] then
      stats.leases[label] = { worker = row.owner }
    end
  end
  return stats
end

-- ---- creation ----

-- What a new application begins with: "latest" is this moment, so that a crash before the first checkpoint loses
-- nothing.
local function initial_of(from, now)
  if from == "trim_horizon" then
    return { checkpoint = "TRIM_HORIZON" }
  elseif from == "latest" then
    return { checkpoint = "AT_TIMESTAMP", timestamp = now - 1 }
  end
  return { checkpoint = "AT_TIMESTAMP", timestamp = start.fix(from, now).timestamp }
end

-- A list of the streams; raises what is wrong with them.
local function streams_of(streams, region, level)
  local list = type(streams) == "table" and streams or { streams }
  if type(streams) == "table" and #list == 0 then
    error("worker: the list of streams is empty", level + 1)
  end
  for i = 1, math.max(1, #list) do
    local problem = core.check_stream(list[i])
    if problem then
      error("worker: " .. problem, level + 1)
    end
  end
  local sources, twice = shards.sources(list, region)
  if not sources then
    error(("worker: the stream '%s' is named twice"):format(twice), level + 1)
  end
  return list
end

--- Checks the arguments of `worker`; raises what is wrong.
---@param region string of the client
---@param level integer where it is raised: 1 is the caller of this function
---@return string[] streams
---@return kinesis.WorkerOptions checked
function M.check(region, streams, application, options, level)
  local list = streams_of(streams, region, level + 1)
  if type(application) ~= "string" or not application:find "^[%w_-][%w_.-]*$" or #application > 100 then
    error("worker: application must be a name of at most 100 letters, digits, '_', '.' and '-'", level + 1)
  end
  local checked = schema.check("worker", options, level + 1)
  local problem = type(checked.dead_letter) == "string" and core.check_stream(checked.dead_letter)
  if problem then
    error("bad option 'dead_letter' of worker: " .. problem, level + 1)
  end
  return list, checked
end

--- Opens a worker. Its leases are opened; nothing is read before `run`.
---@param client kinesis.Client
---@param streams string[]
---@param application string
---@param options table checked
---@return kinesis.Worker|nil worker
---@return kinesis.Error err
function M.open(client, streams, application, options)
  local id = core.unique_name()
  local given = { worker = id, failover = options.failover, application = application }
  if options.store == "file" then
    local folder, why = folders.of(options.path)
    if not folder then
      return nil, why
    end
    given.folder = folder
  else
    given.store = options.store
  end
  local opened, err = leases.open(client, given)
  if not opened then
    return nil, err
  end
  local sources, by_prefix = shards.sources(streams, client.settings.region)
  local worker = setmetatable({
    client = client, core = opened.core, streams = streams, sources = sources, by_prefix = by_prefix,
    application = application, options = options, id = id, leases = opened,
    initial = initial_of(options.from, client.core:time()), processors = {}, seen = {}, rows = {}, dead = {},
    vanished = {}, -- of worker/observed.lua, with `seen`, `rows` and `dead`
    tasks = {}, queue = { first = 1, last = 0 }, changing = {}, -- of worker/tasks.lua
    absent = {}, -- key of a lease -> since when complete lists do not have its shard
    owners = setmetatable({}, { __mode = "k" }), -- record -> its processor
    shards = {}, items = {}, -- of worker/shards.lua
    synced_at = -math.huge, look_at = 0, failures = 0, probes = options.store == "file", probe_at = 0, stopping = false,
  }, meta)
  client.workers[worker] = true
  if client.leaving then
    worker:stop()
  end
  return worker
end

return M
