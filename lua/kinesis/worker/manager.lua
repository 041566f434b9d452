--- What a worker does by itself: looks at the table of leases, takes and gives up leases, follows the lineage of the
--- shards, and writes checkpoints that are due. The worker's own coroutine only handles events and starts what is due:
--- each look, list and change of a lease is a task beside it (tasks.lua), so that none waits for another.
local errors = require "kinesis.errors"
local balance = require "kinesis.worker.balance"
local fleet = require "kinesis.worker.fleet"
local handoff = require "kinesis.worker.handoff"
local lineage = require "kinesis.worker.lineage"
local notice = require "kinesis.observe.notice"
local observed = require "kinesis.worker.observed"
local rates = require "kinesis.worker.rates"
local processors = require "kinesis.worker.processor"
local shard_sync = require "kinesis.worker.shard_sync"
local shards = require "kinesis.worker.shards"
local tasks = require "kinesis.worker.tasks"
local wait = require "kinesis.wait"

local M = {}

local PROBE_EVERY = 1 -- seconds between two looks whether the owners of leases live
local FAILED_FIRST, FAILED_MOST = 1, 10 -- seconds after the store has failed once, and often
local LOOK_AGAIN = 1 -- seconds after a lease that could not be taken
local LOOK_FOR_HANDOVER = 1 -- seconds between two looks while leases are asked for
local SPREAD = 0.1 -- the part of take_interval by which looks differ
local LONGEST_SLEEP = 60 -- seconds

-- ---- taking ----

-- The shard of a lease; lists the shards again when the last list does not have it. `gone`: the service has trimmed it.
local function find_item(self, key)
  local gone = false
  if not shards.find(self, key) then
    shards.list(self)
    gone = shards.is_listed(self, key) and observed.note_listed(self, key)
  end
  return shards.find(self, key), gone
end

local function begin(self, key, row)
  local item, gone = find_item(self, key)
  if not self.leases.validity[key] then
    return -- lost meanwhile
  elseif self.stopping then
    self.leases:release(key, {})
    return
  elseif not item then
    self.leases:release(key, gone and { checkpoint = lineage.SHARD_END, sub = false, timestamp = false } or {})
    return
  end
  local processor = processors.new(self, row, item)
  self.processors[key] = processor
  if self.requests[key] then
    handoff.answer(self, key, self.requests[key])
  end
  self:call_hook("on_lease_taken", processor.shard) -- which may wait
  if self.processors[key] ~= processor then
    return
  end
  processor.drop = wait.spawn(self.client, function()
    processor:run()
  end)
end

local function take(self, key)
  local row = self.rows[key]
  tasks.change(self, key, "take", function()
    self.requests[key] = nil
    if self.leases:take(key, row) then
      begin(self, key, row)
    else -- another worker was faster, or the store has failed: the next look shows what is free then
      self.look_at = math.min(self.look_at, self.now() + LOOK_AGAIN)
    end
  end)
end

-- ---- looks ----

-- What the leader of KCL 3 workers wants.
local function follow(self)
  local takes, changes, awaits = fleet.assigned(self)
  for _, key in ipairs(takes) do
    take(self, key)
  end
  for key, change in pairs(changes) do
    local row = self.rows[key]
    tasks.change(self, key, "assigned", function()
      self.leases:update(key, row, change)
    end)
  end
  self.asks = true
  self.look_at = math.min(self.look_at, self.now() + (awaits and LOOK_FOR_HANDOVER or self.options.failover))
end

-- What is to be done by the table as it was seen.
local function decide(self)
  self.leases.is_led = fleet.is_led(self)
  if self.leases.is_led then
    follow(self)
    return
  end
  local takes, refusals, asks = handoff.due(self)
  for _, key in ipairs(takes) do
    take(self, key)
  end
  for _, key in ipairs(refusals) do
    tasks.change(self, key, "refuse", function()
      handoff.refuse(self, key)
    end)
  end
  local free, wanted = balance.decide(observed.view(self), self.id, self.options, math.random)
  for _, lease in ipairs(free) do
    take(self, lease.key)
  end
  for _, lease in ipairs(wanted) do
    if not self.rows[lease.key].kcl then
      asks = true
      handoff.ask(self, lease.key)
    elseif fleet.may_steal(self) then
      asks = true
      take(self, lease.key) -- the KCL cannot be asked
    end
  end
  self.asks = asks
  if self.asks then
    self.look_at = math.min(self.look_at, self.now() + LOOK_FOR_HANDOVER)
  end
end

-- The seconds to wait after the store has failed.
local function pause_of(self)
  self.failures = self.failures + 1
  return math.min(FAILED_MOST, FAILED_FIRST * 2 ^ math.min(self.failures - 1, 10))
end

local function report_store(self, err)
  if not self.over then
    M.report(self, err, "looking at the leases, which is tried again")
  end
end

-- Ends what reads by leases that the table shows as another's: the event of their loss may have had no memory.
local function end_lost(self)
  for key, processor in pairs(self.processors) do
    local row = self.rows[key]
    if row and row.owner ~= self.id and not self.vanished[key] and not processor.ending
      and not self.leases:is_valid(key) then
      processor:finish "lost"
    end
  end
end

-- A request whose asker has died is removed; doing that may have failed before.
local function answer_dead(self)
  for key, processor in pairs(self.processors) do
    local asker = self.rows[key] and self.rows[key].wanted_by
    if asker and self.dead[asker] and not processor.ending then
      handoff.answer(self, key, asker)
    end
  end
end

-- Whether a checkpoint, which takes the throughput along, is being written, or will be before the next look.
local function writes_soon(self, processor)
  return self.tasks[processor] ~= nil or (processor.checkpoint_due or math.huge) <= self.look_at
end

-- The others balance by what this worker reads.
local function write_throughput(self)
  local is_shared = self.options.balance == "throughput" or self.leases.is_led
  for key, processor in pairs(is_shared and self.processors or {}) do
    if not processor.ending and not writes_soon(self, processor) and rates.news(processor) then
      tasks.start(self, "throughput of " .. key, function()
        self.leases:write(key, rates.add(processor, {}), true)
      end)
    end
  end
end

-- Workers that begin together do not go on together. The next look comes within take_interval; or when a lease
-- expires.
local function look(self)
  self.look_at = self.now() + self.options.take_interval * (1 - SPREAD * math.random())
  local news, err = observed.refresh(self)
  if news == nil then
    self.look_at = self.now() + pause_of(self)
    report_store(self, err)
    return
  end
  self.failures = 0
  end_lost(self)
  answer_dead(self)
  if next(self.vanished) then
    shard_sync.run_within(self, 1)
  end
  write_throughput(self)
  decide(self)
  self.look_at = math.min(self.look_at, observed.next_expiry(self))
end

local function synchronize(self)
  local changed, err = shard_sync.run(self)
  if changed == nil then
    shard_sync.run_within(self, pause_of(self))
    report_store(self, err)
  elseif changed then
    self.look_at = self.now()
  end
end

-- Looks for workers that have died, and for leases that were released, finished or handed over to this worker.
local function probe(self)
  self.probe_at = self.now() + PROBE_EVERY
  local news = observed.refresh(self)
  if observed.probe(self) or news then
    self.look_at = self.now()
  end
end

-- ---- events ----

-- The row of a held lease was deleted: it is made again as this worker knows it. What fails here is done by shard_sync.
local function restore(self, key, processor)
  local row = processor:row_again()
  self.rows[key] = self.rows[key] and row
  tasks.start(self, "restore " .. key, function()
    self.leases:create(key, row)
  end)
end

-- Reports a failure; a function of the user may wait.
local function report_aside(self, err, what)
  if not self.options.on_error then
    M.report(self, err, what)
    return
  end
  self.hooks = self.hooks + 1
  tasks.start(self, {}, function()
    M.report(self, err, what)
    self.hooks = self.hooks - 1
  end)
end

-- The store has failed with what no waiting mends. That there is no table has to be seen twice.
local function end_by(self, err)
  if not self.table or err.code ~= "ResourceNotFoundException" then
    self:fail(err)
    return
  end
  tasks.start(self, "confirm", function()
    if self.table:is_gone() then
      self:fail(err)
    else
      err.retryable = true
      M.report(self, err, "the table of leases")
    end
  end)
end

--- Handles what has become of held leases. It does not wait.
---@param self kinesis.Worker
function M.poll(self)
  for _, event in ipairs(self.leases:poll()) do
    local kind, key, value = event[1], event[2], event[3]
    local processor = self.processors[key]
    if kind == "lost" and processor then
      if value == false then
        restore(self, key, processor)
      end
      processor:finish "lost"
    elseif kind == "wanted" and value then
      handoff.answer(self, key, value.wanted_by)
    elseif kind == "trouble" then
      report_aside(self, value, key)
    elseif kind == "fatal" then
      end_by(self, value)
    end
  end
end

--- Prints a failure that is retried, or gives it to on_error.
---@param self kinesis.Worker
---@param err any
---@param what string what has failed
---@param kind? string of the failure, printed at most once a minute; by default its code
function M.report(self, err, what, kind)
  if self.leases:is_fatal(err) then
    return -- `poll` ends the worker, whose `run` returns it
  end
  if self.options.on_error then
    self:call_hook("on_error", err, what, 1)
  else
    notice.print_rarely(("worker %s %s"):format(self.application, kind or tostring(err.code)), "worker %s: %s: %s",
      self.application, what, tostring(err))
  end
end

-- ---- running ----

-- Whether renewals carry checkpoints: one waits for less than the time of a renewal, and then there is the same time
-- for the next one.
local function carries(self)
  return self.options.checkpoint_interval >= 2 * self.leases.interval
end

-- When the manager is to write the checkpoint of a processor, whose handler may be busy with a later record: so early
-- that a renewal carries it in time; nil: not now.
local function checkpoint_due(self, processor)
  local is_idle = not processor.ending and not self.tasks[processor]
  local due = is_idle and processor.checkpoint_due or nil
  return due and (carries(self) and due - self.leases.interval or due)
end

-- What is done again and again, in tasks that run once at a time: name, function, and when it is due.
local JOBS = {
  { name = "look", run = look, due = function(self)
    return self.look_at
  end },
  { name = "fleet", run = fleet.run, due = fleet.due_at },
  { name = "sync", run = synchronize, due = shard_sync.due_at },
  { name = "probe", run = probe, due = function(self)
    return self.probes and self.probe_at or math.huge
  end },
}

local function next_due(self)
  local due = self.now() + LONGEST_SLEEP
  for _, job in ipairs(JOBS) do
    due = self.tasks[job.name] and due or math.min(due, job.due(self))
  end
  for _, processor in pairs(self.processors) do
    due = math.min(due, checkpoint_due(self, processor) or due)
  end
  return due
end

-- Writes the checkpoints that are due; those that came too late for a renewal the processors write.
local function write_checkpoints(self)
  for _, processor in pairs(self.processors) do
    if (checkpoint_due(self, processor) or math.huge) <= self.now() then
      tasks.start(self, processor, function()
        if processor.checkpoint_due and not processor.ending then -- it may have written it meanwhile
          processor:checkpoint(carries(self))
        end
      end)
    end
  end
end

local function step(self)
  M.poll(self)
  write_checkpoints(self)
  for _, job in ipairs(JOBS) do
    if self.now() >= job.due(self) then
      tasks.start(self, job.name, function()
        job.run(self)
      end)
    end
  end
end

--- Runs a worker until it is stopped.
---@param self kinesis.Worker
function M.run(self)
  while not self.stopping do
    step(self)
    if self.client.core:is_closed() then
      self:fail(errors.new("Closed", "the client was closed"))
    elseif not self.stopping and not self.leases:has_events() then
      wait.ready(self.client, self.leases.core:id(), next_due(self))
    end
  end
end

return M
