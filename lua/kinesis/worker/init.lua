--- A worker: shares the shards of a stream with the other workers of an application, on this machine or others, by
--- leases. Decides what to take (balance.lua) and which leases there have to be (lineage.lua); each shard that it has a
--- lease for is read by a processor, in a coroutine of its own.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local advice = require "kinesis.util.advice"
local balance = require "kinesis.worker.balance"
local folders = require "kinesis.store.file"
local leases = require "kinesis.worker.leases"
local lineage = require "kinesis.worker.lineage"
local notice = require "kinesis.observe.notice"
local pretty = require "kinesis.observe.pretty"
local processors = require "kinesis.worker.processor"
local shard_lists = require "kinesis.shards"
local start = require "kinesis.reader.start"
local wait = require "kinesis.wait"

local M = {}

local PROBE_EVERY = 1 -- seconds between two looks whether the owners of leases live
local LIST_EVERY = 60 -- seconds between two lists of the shards, when nothing asks for one
local FAILED_PAUSE = 1 -- seconds after the store has failed

--- A shard, as handlers get it.
---@class kinesis.WorkerShard
---@field stream string
---@field id string

--- A worker: reads the shards of a stream that it has leases for.
---@class kinesis.Worker
local Worker = {}

M.class = Worker

local check_self = advice.check_self

local meta = pretty.equip({ __index = Worker }, "kinesis.worker", function(worker)
  return ("kinesis.worker: %s of %s, %d shards"):format(worker.application, worker.stream, worker:count())
end)

--- The time by which the worker decides, in seconds.
function Worker.now()
  return core.now()
end

--- How many shards it reads now.
---@return integer
function Worker:count()
  local count = 0
  for _ in pairs(self.processors) do
    count = count + 1
  end
  return count
end

local function call_user(f, ...)
  if f then
    f(...)
  end
end

-- ---- what the table shows ----

-- Notes when each counter was last seen to change, and which owners are known to be dead.
local function observe(self, rows)
  local now, seen = self.now(), {}
  for key, row in pairs(rows) do
    local before = self.seen[key]
    local same = before and before.counter == row.counter and before.owner == row.owner
    seen[key] = { counter = row.counter, owner = row.owner, since = same and before.since or now,
      asked_at = before and before.asked_at }
  end
  self.seen, self.rows = seen, rows
end

local function is_expired(self, row, age)
  return row.owner == nil or row.owner == self.id or self.dead[row.owner] or age >= self.options.failover
end

-- The leases in the form of balance.decide.
local function view(self)
  local now, list = self.now(), {}
  for key, row in pairs(self.rows) do
    local age = now - self.seen[key].since
    local mine = self.processors[key] ~= nil
    list[#list + 1] = {
      key = key, owner = mine and self.id or row.owner, wanted_by = row.wanted_by, counter = row.counter,
      ready = mine or lineage.is_ready(row, self.rows), weight = 1,
      expired = not mine and is_expired(self, row, age),
      forgotten = not mine and row.owner ~= nil and age >= 3 * self.options.failover,
    }
  end
  table.sort(list, function(a, b)
    return a.key < b.key
  end)
  return list
end

-- ---- shards ----

--- Lists the shards of the stream.
---@return kinesis.Shard[] shards the last list, when there is none now
function Worker:list_shards()
  local list, err = shard_lists.list(self.client, self.stream)
  if list then
    self.shards, self.listed_at = list, self.now()
  else
    self:report(err, "the list of shards")
  end
  return self.shards
end

local function shard_of(self, key)
  for _, shard in ipairs(self.shards) do
    if shard.id == key then
      return shard
    end
  end
end

-- Makes the leases that are missing, and deletes those that are finished with. Returns whether it changed something.
local function keep_lineage(self)
  if self.now() < self.listed_at + LIST_EVERY then
    return false
  end
  self:list_shards()
  local changed = false
  for key, row in pairs(lineage.missing(self.shards, self.rows, self.initial)) do
    changed = self.leases:create(key, row) and true or changed
  end
  for _, key in ipairs(lineage.finished_with(self.shards, self.rows)) do
    changed = self.leases:delete(key) and true or changed
  end
  return changed
end

-- ---- taking ----

local function begin(self, key, row)
  local shard = shard_of(self, key) or (self:list_shards() and shard_of(self, key))
  if not shard then -- the service does not have it any more
    self.leases:release(key, { checkpoint = lineage.SHARD_END, sub = false })
    return
  end
  local processor = processors.new(self, key, row, shard)
  self.processors[key] = processor
  call_user(self.options.on_lease_taken, processor.shard)
  wait.spawn(self.client, function()
    processor:run()
  end)
end

local function take(self, key)
  local row = self.rows[key]
  if self.leases:take(key, row) then
    begin(self, key, row)
  end
end

-- Asks the owner for a lease; takes it when the owner has had the time to hand it over.
local function ask(self, key)
  local row, seen = self.rows[key], self.seen[key]
  if row.wanted_by ~= self.id then
    self.leases:update(key, row, { wanted_by = self.id })
    seen.asked_at = self.now()
  end
end

local function take_what_was_asked_for(self)
  for key, row in pairs(self.rows) do
    local seen, mine = self.seen[key], self.processors[key]
    if row.owner == self.id and not mine and not lineage.is_finished(row) then
      take(self, key) -- it was handed over
    elseif row.wanted_by == self.id and row.owner ~= self.id then
      seen.asked_at = seen.asked_at or self.now()
      if self.now() >= seen.asked_at + self.options.handoff_timeout then
        take(self, key)
      end
    end
  end
end

-- One look at the table. Returns nil and the error when the store has failed.
local function look(self)
  local rows, err = self.leases:list()
  if not rows then
    return nil, err
  end
  observe(self, rows)
  if keep_lineage(self) then
    rows, err = self.leases:list()
    if not rows then
      return nil, err
    end
    observe(self, rows)
  end
  take_what_was_asked_for(self)
  local takes, asks = balance.decide(view(self), self.id, self.options, math.random)
  for _, lease in ipairs(takes) do
    take(self, lease.key)
  end
  for _, lease in ipairs(asks) do
    ask(self, lease.key)
  end
  return true
end

-- Whether an owner has died since the last look, or a lease was handed over to this worker.
local function has_news(self)
  local news = false
  local owners = {}
  local rows = self.leases:list()
  for key, row in pairs(rows or {}) do
    local before = self.rows[key]
    news = news or not before or before.checkpoint ~= row.checkpoint and row.checkpoint == lineage.SHARD_END
      or row.owner == nil and before.owner ~= nil or row.owner == self.id and not self.processors[key]
    owners[row.owner or self.id] = true
  end
  for owner in pairs(owners) do
    if not self.dead[owner] and owner ~= self.id and not self.leases:is_alive(owner) then
      self.dead[owner] = true
      news = true
    end
  end
  return news
end

-- ---- events ----

--- Handles what has become of held leases.
function Worker:poll()
  for _, event in ipairs(self.leases:poll()) do
    local kind, key, value = event[1], event[2], event[3]
    local processor = self.processors[key]
    if kind == "lost" then
      if value == false and processor then
        self.leases:create(key, processor:row_again())
      end
      if processor then
        processor:finish "lost"
      end
    elseif kind == "wanted" and processor and value then
      processor:finish("handoff", value.wanted_by)
    elseif kind == "trouble" then
      self:report(value, key)
    end
  end
end

--- Prints a failure that is retried, or gives it to on_error.
function Worker:report(err, what)
  if self.options.on_error then
    self.options.on_error(err, what, 1)
  else
    notice.print_rarely(("worker %s %s"):format(self.application, tostring(err.code)), "worker %s: %s: %s",
      self.application, what, tostring(err))
  end
end

--- Called by a processor when its shard is read to its end, or its lease is given up.
function Worker:on_processor_end(processor, reason, err)
  self.processors[processor.key] = nil
  if reason == "end" then
    self.listed_at = -math.huge -- its children are ready, and its parents may be finished with
    call_user(self.options.on_shard_end, processor.shard)
  else
    call_user(self.options.on_lease_lost, processor.shard, reason)
  end
  if err then
    self:fail(err)
  end
  self.look_at = self.now()
  wait.wake(self.client, self.leases.core:id())
end

local function finish_all(self)
  for _, processor in pairs(self.processors) do
    if not processor.ending then
      processor:finish "stop"
    end
  end
end

--- A handler has failed: the worker ends with this error.
function Worker:fail(err)
  self.err = self.err or err
  self:stop()
end

-- ---- running ----

local function next_due(self)
  local due = self.look_at
  if self.probes and self.probe_at < due then
    due = self.probe_at
  end
  for _, processor in pairs(self.processors) do
    if processor.checkpoint_due and processor.checkpoint_due < due then
      due = processor.checkpoint_due
    end
  end
  return due
end

-- Writes the checkpoints of shards without new records.
local function write_checkpoints(self)
  local due = {}
  for _, processor in pairs(self.processors) do
    if processor.checkpoint_due and processor.checkpoint_due <= self.now() and not processor.busy
      and not processor.ending then
      due[#due + 1] = processor
    end
  end
  for _, processor in ipairs(due) do
    processor:checkpoint()
  end
end

local function step(self)
  self:poll()
  write_checkpoints(self)
  if self.probes and self.now() >= self.probe_at then
    self.probe_at = self.now() + PROBE_EVERY
    if has_news(self) then
      self.look_at = self.now()
    end
  end
  if self.now() >= self.look_at then
    self.look_at = self.now() + self.options.take_interval
    local good, err = look(self)
    if not good then
      self:report(err, "the leases")
      self.look_at = self.now() + FAILED_PAUSE
    end
  end
end

-- The worker was stopped: waits for the processors. Those that are still busy after stop_timeout lose their leases, so
-- that other workers go on.
local function drain(self)
  local deadline = self.now() + self.options.stop_timeout
  while next(self.processors) do
    finish_all(self)
    self:poll()
    if self.now() >= deadline then
      self.err = self.err or errors.new("Timeout", ("handlers were still busy %g s after stop"):format(
        self.options.stop_timeout))
      for key, processor in pairs(self.processors) do
        processor:finish "lost"
        self.leases:release(key, {})
      end
      return
    end
    if next(self.processors) then
      wait.ready(self.client, self.leases.core:id(), math.min(deadline, self.now() + 1))
    end
  end
end

local function manage(self)
  while not self.stopping do
    step(self)
    if not self.stopping then
      wait.ready(self.client, self.leases.core:id(), next_due(self))
    end
  end
  drain(self)
end

local function check_unused(self, verb)
  check_self(self, "worker:" .. verb)
  if self.handler then
    error(verb .. ": the worker runs already, or has ended; make another one", 3)
  end
end

-- Runs until the worker is stopped. Stores an error that the worker itself has made.
local function run(self)
  local good, problem = pcall(manage, self)
  self.problem = not good and problem or nil
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
  if self.over and (self.problem or self.err) then
    errors.raise(self.problem or self.err)
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
---@return fun(): kinesis.Record|nil, kinesis.WorkerShard|nil
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
  finish_all(self)
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
---@return kinesis.Error? err
function Worker:checkpoint(record)
  local processor = processor_of(self, record, "checkpoint")
  if self.processors[processor.key] ~= processor then
    return false
  end
  return processor:checkpoint_at(record)
end

-- ---- statistics ----

--- The counters of this worker and of the shards that it reads, in the shape of reader:stats(); and who holds what.
---@return kinesis.WorkerStats
function Worker:stats()
  check_self(self, "worker:stats")
  local stats = { stream = self.stream, application = self.application, worker = self.id, records = 0, bytes = 0,
    misplaced = 0, trimmed = 0, shards = {}, leases = {} }
  for key, processor in pairs(self.processors) do
    local of = processor.reader and processor.reader:stats()
    if of then
      stats.lag = math.max(stats.lag or 0, of.lag or 0)
      for _, name in ipairs { "records", "bytes", "misplaced", "trimmed" } do
        stats[name] = stats[name] + of[name]
      end
      stats.shards[processor.id] = of.shards[processor.id]
    end
    stats.leases[key] = { worker = self.id, since = self.now() - processor.since }
  end
  for key, row in pairs(self.rows) do
    if row.owner and not stats.leases[key] then
      stats.leases[key] = { worker = row.owner }
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

--- Opens a worker. Its leases are opened; nothing is read before `run`.
---@param client kinesis.Client
---@param stream string
---@param application string
---@param options table checked
---@return kinesis.Worker|nil worker
---@return kinesis.Error? err
function M.open(client, stream, application, options)
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
  return setmetatable({
    client = client, core = opened.core, stream = stream, application = application, options = options, id = id,
    leases = opened,
    initial = initial_of(options.from, client.core:time()), processors = {}, seen = {}, rows = {}, dead = {},
    owners = setmetatable({}, { __mode = "k" }), -- record -> its processor
    shards = {}, listed_at = -math.huge, look_at = 0, probes = options.store == "file", probe_at = 0, stopping = false,
  }, meta)
end

return M
