--- Reads one shard by its lease, in a coroutine: hands its records to the handler, and writes its checkpoints.
---
---   reading -- the lease is wanted, the worker stops -> ending: finishes the record in hand, with `ack` those in
---                                                       flight; checkpoints, releases
---   reading -- the lease is lost --------------------> ending: finishes the record in hand, writes nothing
---   reading -- the shard's end ----------------------> waits for acks, or for checkpoints by hand; on_shard_end; makes
---                                                       the leases of the children, writes SHARD_END
---   reading -- a failure that will pass -------------> reading, behind the last record (recovery.lua)
local children = require "kinesis.worker.children"
local core = require "kinesis.core"
local counters = require "kinesis.worker.counters"
local deliveries = require "kinesis.worker.delivery"
local failures = require "kinesis.worker.failures"
local lineage = require "kinesis.worker.lineage"
local loops = require "kinesis.worker.loop"
local notice = require "kinesis.observe.notice"
local pretty = require "kinesis.observe.pretty"
local rates = require "kinesis.worker.rates"
local reader = require "kinesis.reader"
local recovery = require "kinesis.worker.recovery"
local trackers = require "kinesis.worker.tracker"
local wait = require "kinesis.wait"

local M = {}

local RETRY_FIRST, RETRY_MOST = 0.1, 10 -- seconds between two attempts
local LOOK_FOR_CHILDREN = 1 -- seconds
local LOOK_AT_LEASE, LOOK_AT_LEASE_MOST = 0.1, 1 -- seconds, for the first time and later
local ACKS_OF_HANDOFF = 0.8 -- the part of handoff_timeout for which records in flight are waited for

local traceback = failures.traceback
local shard_meta = pretty.meta "kinesis.worker_shard"

---@class kinesis.worker.Processor
---@field key string of its lease
---@field ending? string why it ends: "handoff", "stop", "lost"
---@field to? string the worker that the lease is handed over to
---@field release_error? any why the lease could not be released yet
---@field record? any the one in hand, with checkpoints that are written by themselves
local Processor = {}
Processor.__index = Processor

-- The position of a checkpoint, as the option `from`. The KCL does not store the time of its start: it is taken from
-- the option.
local function position_of(row, initial)
  if row.checkpoint == "TRIM_HORIZON" then
    return row.timestamp and { timestamp = row.timestamp } or "trim_horizon"
  elseif row.checkpoint == "LATEST" then
    return row.timestamp and { timestamp = row.timestamp } or "latest"
  elseif row.checkpoint == "AT_TIMESTAMP" then
    local time = row.timestamp or initial.timestamp
    return time and { timestamp = time } or "trim_horizon"
  end
  return { after = row.checkpoint, sub = row.sub }
end

-- ---- checkpoints ----

local function is_written(self)
  return self.tracker.seq == self.written_seq and self.tracker.sub == self.written_sub
end

--- Writes the checkpoint behind the last processed record, if it is a new one.
---@param carried? boolean with the next renewal of the lease
---@return boolean|nil written false: the lease is lost
---@return any err
function Processor:checkpoint(carried)
  local seq, sub = self.tracker.seq, self.tracker.sub
  self.checkpoint_due = nil
  if self.ending == "lost" then
    return false
  elseif is_written(self) then
    return true
  end
  local written, err = self.worker.leases:write(self.key, self:changes(), carried)
  if written then
    self.written_seq, self.written_sub = seq, sub
    return true
  elseif written == false then
    return false
  elseif self.worker.options.checkpoint == "auto" then
    self.checkpoint_due = self.worker.now() + math.max(1, self.worker.options.checkpoint_interval) -- again
    self.worker:report(err, ("the checkpoint of %s, which is written again"):format(self.id))
  end
  return nil, err
end

-- The checkpoint as changes of the row, if it is a new one.
local function checkpoint_of(self)
  local seq, sub = self.tracker.seq, self.tracker.sub
  return is_written(self) and {} or { checkpoint = seq, sub = sub or false, timestamp = false, owner_switches = 0 }
end

--- The same, and the throughput.
function Processor:changes()
  return rates.add(self, checkpoint_of(self))
end

-- The checkpoint is written at the latest when checkpoint_interval has passed since the first record behind it.
local function note_progress(self)
  if not self.checkpoint_due and self.is_auto and not is_written(self) then
    self.checkpoint_due = self.worker.now() + self.worker.options.checkpoint_interval
  end
end

--- Whether it still reads its shard by its lease.
---@return boolean
function Processor:holds()
  return self.ending ~= "lost" and not self.over and not self.worker.over
end

--- A record, or list, was acknowledged.
---@param entry table of its tracker
function Processor:ack(entry)
  self.tracker:done(entry)
  note_progress(self)
  wait.wake(self.worker.client, self)
end

--- All records up to this position are processed; writes the checkpoint.
---@param seq string
---@param sub? integer
---@return boolean|nil written false: the lease was lost, or this processor has not handed that record out
---@return any err
function Processor:checkpoint_at(seq, sub)
  if not self:holds() or not self.tracker:done_until(seq, sub) then
    return false
  end
  wait.wake(self.worker.client, self)
  return self:checkpoint()
end

--- The row of its lease, to be made again after it was deleted.
---@return kinesis.LeaseRow
function Processor:row_again()
  return lineage.row_again(self.row, self.tracker.seq, self.tracker.sub)
end

-- ---- records ----

-- The seconds to wait after so many attempts.
local function pause_of(attempts)
  return math.min(RETRY_MOST, RETRY_FIRST * 2 ^ math.min(attempts - 1, 10))
end

--- Sleeps for longer after each attempt, unless the reading ends. False: it does.
---@param attempts integer
---@return boolean
function Processor:rest(attempts)
  local deadline = self.worker.now() + pause_of(attempts)
  while self.worker.now() < deadline and not self.ending do
    wait.ready(self.worker.client, self, deadline)
  end
  return not self.ending
end

--- Whether a record may be handed over now. A lease that could not be renewed in time may be renewed yet. False: the
--- reading ends.
---@return boolean
function Processor:await_validity()
  local worker = self.worker
  if worker.stopping and not self.ending then
    self:finish "stop"
  end
  local pause = LOOK_AT_LEASE
  while not self.ending and not self.validity:holds() do
    wait.ready(worker.client, self, worker.now() + pause)
    pause = math.min(LOOK_AT_LEASE_MOST, 2 * pause)
    worker:poll()
  end
  return not self.ending
end

-- The handler has raised this error for a record, or values: decides, and repeats it. Returns whether it is processed,
-- and whether it was skipped.
local function retry(self, err, ...)
  local attempts, good = 1, false
  while not good do
    if err == loops.DROPPED then
      return false
    end
    local record = self.delivery.record_of(self, ...)
    local decision, problem = failures.decide(self, record, err, attempts)
    if decision == "skip" then
      local skipped = failures.put_dead_letter(self, record, err)
      if skipped then
        failures.count(self, record)
      end
      return skipped, true
    elseif decision ~= "retry" then
      self.worker:fail(failures.with_record(self, problem))
      return false
    elseif not self:rest(attempts) or not self:await_validity() then
      return false
    end
    attempts = attempts + 1
    good, err = xpcall(self.handler, failures.traceback, ...)
  end
  return true
end

-- With `ack`: waits while too many records are in flight, or all of them before the shard's end.
local function await_acks(self, most)
  while self.tracker:pending() > most and not self.ending do
    wait.ready(self.worker.client, self)
  end
end

-- With `ack`: waits for those in flight, as long as the ending lets it.
local function await_last_acks(self)
  local deadline = self.ending == "handoff"
    and self.worker.now() + ACKS_OF_HANDOFF * self.worker.options.handoff_timeout or math.huge
  while self.tracker:pending() > 0 and self:holds() and self.worker.now() < deadline do
    wait.ready(self.worker.client, self, deadline < math.huge and deadline or nil)
  end
end

-- With `ack`, and with checkpoints by hand: notes what has become of a record.
local function note_end(self, entry, processed, skipped)
  if entry and not processed then
    self.tracker:withdraw(entry)
  elseif entry and skipped then
    self.tracker:done(entry)
  elseif processed and not skipped then
    self.tracker:note_due()
  end
end

-- A record, or list, at this position goes through its handler. Returns whether it is processed.
local function take(self, seq, sub, ...)
  local tracker = self.tracker
  if (self.ending or self.worker.stopping or not self.validity:holds()) and not self:await_validity() then
    return false
  end
  local entry = tracker:add(seq, sub)
  self.delivery.mark(self, entry, seq, sub, ...)
  local processed, skipped = xpcall(self.handler, traceback, ...)
  if not processed then
    processed, skipped = retry(self, skipped, ...)
  else
    skipped = false
  end
  self.record = nil
  if self.is_done_on_return then
    if processed then
      tracker.seq, tracker.sub = seq, sub
    end
  else
    note_end(self, entry, processed, skipped)
  end
  if not processed then
    return false
  end
  note_progress(self)
  if self.checkpoint_due and core.now() >= self.checkpoint_due then
    self:checkpoint()
  end
  if entry then
    await_acks(self, self.worker.options.max_in_flight - 1)
  end
  return true
end

-- Handles what the reader has returned: a record, a list, or values. Returns whether it reads on.
local function handle(self, ...)
  if (...) == nil then
    return false
  end
  return self.delivery.arrange(take, self, ...) and not self.ending
end

-- Returns whether the shard was read to its end.
local function read(self)
  while handle(self, self.reader()) do
  end
  if self.tracker.in_flight then
    await_acks(self, 0)
  end
  return not self.ending and self.reader:position().shards[self.id] == "shard_end"
end

-- ---- ends ----

-- All records of the shard were handed over. With checkpoints by hand, one has to cover the last of them; a function
-- that is called at the end can do that, or has done what it is for.
local function await_checkpoint(self)
  local options = self.worker.options
  if options.checkpoint ~= "manual" or options.on_shard_end then
    return
  end
  if not self.tracker:is_covered() then
    notice.print_rarely("worker end " .. self.worker.application, "worker %s: %s is read to its end; its children are "
      .. "read after worker:checkpoint was called with its last record, or use on_shard_end", self.worker.application,
      self.id)
  end
  while not self.tracker:is_covered() and not self.ending do
    wait.ready(self.worker.client, self)
  end
end

-- Whether no waiting mends that the store has failed. That there is no table has to be seen twice: the manager looks.
local function is_final(self, err)
  local store = self.worker.table
  if store and err.code == "ResourceNotFoundException" then
    return store.was_deleted
  end
  return self.worker.leases:is_fatal(err)
end

-- Releases the lease. Where the store fails, it is tried again until another worker has the lease, or this one is over;
-- not where waiting mends nothing.
local function release(self, changes, to)
  local leases, attempts = self.worker.leases, 0
  local released, err = leases:release(self.key, changes, to)
  while released == nil and self:holds() and not is_final(self, err) do
    attempts, self.release_error = attempts + 1, err
    self.worker:report(err, ("the release of %s, which is tried again"):format(self.id))
    local deadline = self.worker.now() + pause_of(attempts)
    while self.worker.now() < deadline and self:holds() do
      wait.ready(self.worker.client, self, deadline)
    end
    if self:holds() then
      released, err = leases:release_again(self.key, changes)
    end
  end
  if released == false then
    self.ending = "lost"
  end
  return released
end

-- Returns whether the shard is finished; otherwise its lease is given up.
local function finish(self)
  await_checkpoint(self)
  if self.ending or not self.worker:call_hook("on_shard_end", self.shard) then
    return false
  end
  local made = children.make(self)
  while not made and not self.ending do
    wait.sleep(LOOK_FOR_CHILDREN, self.worker.client)
    made = children.make(self)
  end
  if not made or self.ending == "lost" then
    return false
  end
  local changes = { checkpoint = lineage.SHARD_END, sub = false, timestamp = false, children = made,
    owner_switches = 0 }
  return release(self, changes) and true
end

-- ---- reading ----

local function begin(self)
  self.reader = reader.open(self.worker.client, self.stream, { self.listed }, self.reader_options, false)
  if self.ending then
    self.reader:stop()
  end
  return read(self)
end

-- Reads until the shard's end, or until it has to end, however often reading fails. Raises what is permanent.
local function read_with_retries(self)
  local attempts = 0
  repeat
    local newest = self.tracker.last_seq
    local good, result = pcall(begin, self)
    if good then
      return result
    end
    local failed, place = self.reader and self.reader.failure or result, self.reader_options.from
    if self.reader then
      counters.close_reader(self)
      place = self.reader:position().shards[self.id]
    end
    self.reader, attempts = nil, self.tracker.last_seq == newest and attempts + 1 or 1
    if not self.ending or type(failed) ~= "table" then
      self.reader_options.from = recovery.place_after(self, failed, place, attempts) or error(result, 0)
    end
  until not self:rest(attempts)
  return false
end

local function run(self)
  if read_with_retries(self) and finish(self) then
    return "end"
  elseif not self.ending and self.worker.stopping then
    self.ending = "stop" -- a host that exits stops readers, too
  end
  if self.tracker.in_flight and self.ending ~= "lost" then
    await_last_acks(self)
  end
  if self:holds() then
    release(self, self:changes(), self.to)
  end
  return self.ending or "error"
end

--- Its stream is another one of that name: nothing is processed of it.
function Processor:begin_anew()
  self.tracker = trackers.new(self.worker.options.ack)
  self.written_seq, self.written_sub = nil, nil
end

--- Ends the reading after the record in hand.
---@param reason string
---@param to? string
function Processor:finish(reason, to)
  if self.ending ~= "lost" then
    self.ending, self.to = reason, to
  end
  if self.reader then
    self.reader:stop()
  end
  if self.item then
    wait.wake(self.worker.client, self.item)
  end
  wait.wake(self.worker.client, self)
end

--- Its handler, or a call that it waits for, is not awaited any more: gives the lease up, with the checkpoint as it is.
--- Nothing waits, and no coroutine is resumed.
function Processor:abandon()
  local was_held = self:holds()
  self.ending = "lost"
  if was_held then
    self.worker.leases:release_later(self.key, self:changes())
  end
  counters.close_reader(self)
  if self.drop then
    self.drop()
  end
end

--- The same in a finalizer, see ending.lua.
function Processor:let_go()
  if self:holds() then
    self.worker.leases:release_later(self.key, checkpoint_of(self))
  end
  self.ending = "lost"
  if self.reader then
    self.reader.core:close(self.reader.left)
  end
end

--- Reads the shard until its end, or until `finish`; then calls `worker:on_processor_end`. In a coroutine of its own.
function Processor:run()
  local good, reason = pcall(run, self)
  counters.close_reader(self)
  if not good and self:holds() then
    self.worker.leases:release(self.key, self:changes())
  end
  self.over = true
  self.worker:on_processor_end(self, good and reason or "error", not good and reason or nil)
end

--- Makes a processor of a lease that was taken.
---@param worker kinesis.Worker
---@param row kinesis.LeaseRow
---@param item table of manager.list_shards
---@return kinesis.worker.Processor
function M.new(worker, row, item)
  local options, delivery = {}, deliveries.of(worker.options)
  for name, value in pairs(worker.options) do
    options[name] = value
  end
  options.from, options.on_shard_end = position_of(row, worker.initial), nil
  options.on_error = options.on_error and function(...)
    worker:call_hook("on_error", ...)
  end
  options.fields, options.values, options.window_pool = delivery.fields, delivery.values, worker.window_pool
  local seq = type(options.from) == "table" and options.from.after or nil -- of its checkpoint
  local self = setmetatable({
    worker = worker, key = item.id, id = item.shard.id, stream = item.stream, source = item.source,
    listed = item.shard, row = row,
    shard = pretty.mark({ stream = item.stream, id = item.shard.id }, shard_meta), reader_options = options,
    since = worker.now(),
    tracker = trackers.new(worker.options.ack, seq, seq and row.sub), written_seq = seq, written_sub = seq and row.sub,
    delivery = delivery, validity = worker.leases.validity[item.id],
    is_auto = worker.options.checkpoint == "auto",
    is_done_on_return = worker.options.checkpoint == "auto" and not worker.options.ack,
  }, Processor)
  self.handler = worker.loop and loops.handler(worker, self) or worker.handler
  return self
end

return M
