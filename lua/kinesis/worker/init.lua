--- A worker: shares the shards of a stream with the other workers of an application, on this machine or others, by
--- leases. manager.lua decides which it takes; each shard that it has a lease for is read by a processor
--- (processor.lua), in a coroutine of its own.
---
---   made -- run, records -------------------------> running: the manager and the processors are coroutines
---   running -- stop; an error; the host exits ----> stopping: the manager waits for the processors (ending.lua)
---   stopping -- all have ended, or stop_timeout --> over: the leases are closed, nothing is written any more
---   running -- its loop is collected -------------> over
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local advice = require "kinesis.util.advice"
local beginning = require "kinesis.worker.beginning"
local counters = require "kinesis.worker.counters"
local delivery = require "kinesis.worker.delivery"
local dynamodb = require "kinesis.store.dynamodb"
local ending = require "kinesis.worker.ending"
local failures = require "kinesis.worker.failures"
local fields = require "kinesis.fields"
local folders = require "kinesis.store.file"
local leases = require "kinesis.worker.leases"
local loops = require "kinesis.worker.loop"
local manager = require "kinesis.worker.manager"
local positions = require "kinesis.worker.positions"
local pretty = require "kinesis.observe.pretty"
local schema = require "kinesis.options"
local shards = require "kinesis.worker.shards"
local start = require "kinesis.reader.start"
local wait = require "kinesis.wait"

local M = {}

--- A shard, as handlers get it.
---@class kinesis.WorkerShard
---@field stream string its name or ARN, as it was given
---@field id string of the shard

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

--- Calls a function of the user's, if there is one; its error ends the worker.
---@return boolean good
function Internal:call_hook(name, ...)
  local hook = self.options[name]
  if hook then
    local good, err = xpcall(hook, failures.traceback, ...)
    if not good then
      self:fail(err)
    end
    return good
  end
  return true
end

-- ---- for processors ----

function Internal:list_shards()
  return shards.list(self)
end

function Internal:poll()
  manager.poll(self)
end

function Internal:report(err, what, kind)
  manager.report(self, err, what, kind)
end

--- Called by a processor when its shard is finished ("end"), or its lease is given up.
function Internal:on_processor_end(processor, reason, err)
  if self.processors[processor.key] ~= processor then
    return -- abandoned
  end
  self.processors[processor.key] = nil
  counters.note_end(self, reason)
  if err then
    self:fail(err)
  end
  if reason == "end" then
    self.synced_at = -math.huge -- its children are ready, and its parents may be finished with
  end
  self.look_at = self.now()
  wait.wake(self.client, self.leases.core:id())
  if reason ~= "end" then
    self.hooks = self.hooks + 1
    self:call_hook("on_lease_lost", processor.shard, reason)
    self.hooks = self.hooks - 1
    wait.wake(self.client, self.leases.core:id())
  end
end

--- The first error is what `run` returns.
function Internal:set_error(err)
  self.err = self.err or err
end

--- A handler or hook has failed: the worker ends with this error.
function Internal:fail(err)
  self:set_error(err)
  self:stop()
end

function Internal:abandon()
  ending.abandon(self)
end

function Internal:drop()
  ending.drop(self)
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
  if self.handler then
    error(verb .. ": the worker runs already, or has ended; make another one", 3)
  end
  wait.check(self.client) -- before anything is begun
end

local function manage(self)
  beginning.run(self)
  manager.run(self)
  ending.drain(self)
  ending.withdraw(self)
end

-- Runs until the worker is stopped; stores an error that the worker itself has made. What the manager waits for, such
-- as a store, is not awaited for longer than stop_timeout either.
local function run(self)
  local drop = wait.spawn(self.client, function()
    local good, problem = pcall(manage, self)
    self.problem, self.managed = not good and problem or nil, true
    wait.wake(self.client, self.leases.core:id())
  end)
  local _, last = ending.deadline(self)
  while not self.managed and (self.begun or not self.stopping) and self.now() < (last or math.huge) do
    wait.ready(self.client, self.leases.core:id(), last)
    _, last = ending.deadline(self)
  end
  if not self.managed and self.begun then
    self:set_error(errors.new("Timeout", "the store, or a call, was still awaited after stop_timeout"))
  end
  if drop then
    drop()
  end
  ending.abandon(self)
  wait.wake(self.client, self)
end

--- Reads shards until the worker is stopped, each in a coroutine of its own that calls the handler with one record
--- after the other. A record is processed when the handler has returned (with `ack`, when it is acknowledged);
--- checkpoints are written behind processed records.
---
--- It returns when the worker was stopped and all is released, at the latest `stop_timeout` after that (and two seconds
--- for a store that does not answer): then handlers that still wait are abandoned. Where they go on later, as in nginx
--- and luv, their records count as not processed.
---@param handler fun(record: kinesis.Record, shard: kinesis.WorkerShard) with `batch`, a list or columns; with
--- `values`, the values, and behind them the shard
---@return true|nil stopped nil: it was ended by an error
---@return any err of the handler, with its traceback and record, of the leases, or of the service: a stream that is
--- not there at the start; `Timeout`
function Worker:run(handler)
  check_self(self, "worker:run")
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

--- Iterates over the records of all shards in one loop, with the shard of each. A record is processed when the next one
--- is asked for; leaving the loop by `break`, `return` or an error does not process the last one. The loop ends when
--- the worker is stopped.
---
--- A loop that is left ends the worker: on Lua 5.4 at once, with its last checkpoints; on LuaJIT, and with the
--- coroutine that it is in, at the next garbage collection. Call `stop` and let the loop end where that is too late.
---
--- Raises the error that ends the worker.
---@return fun(): kinesis.Record?, kinesis.WorkerShard? records gives a record (a list, columns, or values), and the
--- shard of it
function Worker:records()
  check_self(self, "worker:records")
  check_unused(self, "records")
  self.handler = true
  return loops.start(self, function()
    run(self)
  end)
end

--- Ends the worker: handlers finish the record in hand, with `ack` those in flight; checkpoints are written, and leases
--- released. `run` then returns. A signal handler may call it, at any instruction.
---@return true
function Worker:stop()
  check_self(self, "worker:stop")
  self.stopped_at = self.stopped_at or self.now()
  self.stopping = true
  self.leases:poke()
  return true
end

-- ---- what the user does with records ----

-- The processor that has handed this very value out, and its position; nil: none.
local function find_handed_out(self, record)
  local mark = type(record) == "table" and self.marks[record]
  if mark then
    return mark.processor, mark.seq, mark.sub, mark
  end
  for _, processor in pairs(type(record) == "table" and self.processors or {}) do
    if processor.record == record then
      return processor, processor.tracker.last_seq, processor.tracker.last_sub
    end
  end
end

-- The processor of the shard that is named, nil when this worker does not read it, and the position that is named. A
-- tail call of `find`: mistakes are raised at the line of the caller of `ack` or `checkpoint`.
local function find_named(self, record, shard, call)
  local seq, sub = positions.named(record)
  local id = type(shard) == "table" and shard.id
  if not seq then
    error(("%s: names no record; with a shard it is a record, a table with its sequence_number (and "
      .. "sub_sequence_number), or the sequence number as a string"):format(call), 3)
  elseif type(id) ~= "string" or shard.stream == nil and #self.streams > 1 then
    error(("%s: the shard must be a table with its `id`, and `stream` where the worker reads several"):format(call), 3)
  end
  for _, source in ipairs(self.sources) do
    if shard.stream == nil or shard.stream == source.stream or shard.stream == source.name then
      return self.processors[source.prefix .. id], seq, sub
    end
  end
  error(("%s: this worker does not read the stream '%s'; name it as it was given to the worker"):format(call,
    tostring(shard.stream)), 3)
end

local function find(self, record, shard, call)
  local processor, seq, sub, mark = find_handed_out(self, record)
  if not processor and shard ~= nil then
    return find_named(self, record, shard, call)
  elseif not processor then
    error(("%s: takes a record, or a list, that this worker has handed out; name another one with its shard, as "
      .. "worker:%s(record, shard)"):format(call, call), 3)
  end
  return processor, seq, sub, mark
end

-- Whether a processor, and its reading, is the present one of its shard.
local function is_present(self, processor, mark)
  return processor ~= nil and self.processors[processor.key] == processor and processor:holds()
    and (not mark or mark.tracker == processor.tracker)
end

--- With the option `ack`: a record, or a list of records, is processed. The checkpoint moves behind the last one before
--- which all are. Doing it twice changes nothing.
---
--- Raises at the caller's line when the option is not set, or the value names no record.
---@param record kinesis.Record|kinesis.Record[]|kinesis.Columns|table|string as the handler got it; with `shard` also
--- any table with its sequence_number and sub_sequence_number, such as one that was decoded from JSON, or the number;
--- a list is named by its last record
---@param shard? kinesis.WorkerShard as the handler got it, or a table with its `id` and `stream`
---@return boolean held false: the lease of its shard was lost, or the worker has ended; the record will be processed
--- again elsewhere
function Worker:ack(record, shard)
  check_self(self, "worker:ack")
  if not self.options.ack then
    error("ack: this worker was made without the option `ack`: a record is processed when its handler has returned", 2)
  end
  local processor, seq, sub, mark = find(self, record, shard, "ack")
  if not is_present(self, processor, mark) then
    return false
  end
  local entry = mark and mark.entry or processor.tracker:find(seq, sub or 0)
  if entry then
    processor:ack(entry)
  end
  return entry ~= nil or processor.tracker:has(seq, sub)
end

--- Writes a checkpoint behind a record, or a list: it and all before it of its shard are processed. A checkpoint never
--- moves backwards: one that is behind the record already stays.
---
--- Raises at the caller's line when the value names no record.
---@param record kinesis.Record|kinesis.Record[]|kinesis.Columns|table|string as for `ack`
---@param shard? kinesis.WorkerShard as for `ack`
---@return boolean|nil written false: the lease of its shard was lost, or the worker has ended; the record will be
--- processed again elsewhere. nil: the store has failed; the lease is still held, and a later call writes it
---@return kinesis.Error err
function Worker:checkpoint(record, shard)
  check_self(self, "worker:checkpoint")
  local processor, seq, sub, mark = find(self, record, shard, "checkpoint")
  if not is_present(self, processor, mark) then
    return false
  end
  local written, err = processor:checkpoint_at(seq, sub)
  if written == nil then
    return nil, errors.new(err.code, ("the checkpoint of %s was not written: %s; the lease is still held: call "
      .. "worker:checkpoint again, with this record or a later one"):format(processor.id, err.message), "checkpoint")
  end
  return written
end

-- ---- statistics ----

--- The counters of this worker and of the shards that it reads, in the shape of reader:stats(); and who has which
--- lease since when, as this worker has last seen it. Totals do not fall when a shard moves away.
---@return kinesis.WorkerStats stats
function Worker:stats()
  check_self(self, "worker:stats")
  return counters.stats(self)
end

advice.add_methods(Worker, "worker:", {
  start = "RUN(handler)", process = "RUN(handler)", each = "RUN(handler)", next = "RECORDS()", read = "RECORDS()",
  commit = "CHECKPOINT(record)", save = "CHECKPOINT(record)", close = "STOP()", shutdown = "STOP()",
  shut_down = "STOP()", acknowledge = "ACK(record)",
}, Internal)

-- ---- creation ----

-- What a new application begins with: "latest" is this moment, so that a crash before the first checkpoint loses
-- nothing. The KCL knows only the word: it never begins a shard at AT_TIMESTAMP without a time of its own.
local function initial_of(from, now)
  if from == "trim_horizon" then
    return { checkpoint = "TRIM_HORIZON" }
  elseif from == "latest" then
    return { checkpoint = "LATEST", timestamp = now - 1 }
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
    error(("worker: application must be a name of at most 100 letters, digits, '_', '.' and '-', the first one no "
      .. "'.', got %s"):format(type(application) == "string" and "'" .. application .. "'" or type(application)),
      level + 1)
  end
  local checked = schema.check("worker", options, level + 1)
  local problem = type(checked.dead_letter) == "string" and core.check_stream(checked.dead_letter)
  if problem then
    error("bad option 'dead_letter' of worker: " .. problem, level + 1)
  end
  problem = fields.check_together(checked, "worker") or delivery.check(checked)
    or dynamodb.check(application, checked.store)
  if problem then
    error(problem, level + 1)
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
  local given = { worker = id, failover = options.failover, exit_timeout = options.exit_timeout,
    application = application }
  local sources, by_prefix = shards.sources(streams, client.settings.region)
  local remote
  if options.store == "dynamodb" or options.store.dynamodb then
    local why
    remote, why = dynamodb.open(client, sources, application, options.store)
    if not remote then
      return nil, why
    end
    for name, value in pairs(remote:members()) do
      given[name] = value
    end
  elseif options.store == "file" then
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
  local worker = setmetatable({
    table = remote,
    client = client, core = opened.core, streams = streams, sources = sources, by_prefix = by_prefix,
    application = application, options = options, id = id, leases = opened,
    initial = initial_of(options.from, client.core:time()), processors = {}, seen = {}, rows = {}, dead = {},
    hooks = 0, -- calls of the user's functions that have not returned, and that are no part of a reading
    requests = {}, -- of worker/handoff.lua: key of a lease whose shard is not read yet -> who asks for it
    counts = counters.new(), vanished = {}, -- of worker/observed.lua, with `seen`, `rows` and `dead`
    tasks = {}, queue = { first = 1, last = 0 }, changing = {}, -- of worker/tasks.lua
    absent = {}, -- key of a lease -> since when complete lists do not have its shard
    -- record, or list -> its processor and position, where the user may name it later
    marks = setmetatable({}, { __mode = "k" }),
    shards = {}, items = {}, -- of worker/shards.lua
    window_pool = core.window_pool(options.window), -- its readers share it
    synced_at = -math.huge, look_at = 0, failures = 0, probes = options.store == "file", probe_at = 0, stopping = false,
  }, meta)
  client.workers[worker] = true
  if client.leaving then
    worker:stop()
  end
  return worker
end

return M
