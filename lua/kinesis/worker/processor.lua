--- Reads one shard by its lease, in a coroutine: hands its records to the handler, and writes its checkpoints.
---
---   reading -- the lease is wanted, the worker stops -> ending: finishes the record in hand, checkpoints, releases
---   reading -- the lease is lost --------------------> ending: finishes the record in hand, writes nothing
---   reading -- the shard's end ----------------------> ending: makes the leases of the children, writes SHARD_END
local lineage = require "kinesis.worker.lineage"
local reader = require "kinesis.reader"
local trackers = require "kinesis.worker.tracker"
local wait = require "kinesis.wait"

local M = {}

--- What a handler raises to end the reading before its record.
M.DROPPED = {}

local RETRY_FIRST, RETRY_MOST = 0.1, 10 -- seconds between two attempts at a record
local LOOK_FOR_CHILDREN = 1 -- seconds
local LOOK_AT_LEASE = 0.1 -- seconds
local LEAST_WINDOW = 65536 -- bytes; the shards of the streams share the worker's window

---@class kinesis.worker.Processor
---@field key string of its lease
---@field ending? string why it ends: "handoff", "stop", "lost"
---@field to? string the worker that the lease is handed over to
local Processor = {}
Processor.__index = Processor

-- The position of a checkpoint, as the option `from`.
local function position_of(row)
  if row.checkpoint == "TRIM_HORIZON" then
    return "trim_horizon"
  elseif row.checkpoint == "LATEST" then
    return "latest"
  elseif row.checkpoint == "AT_TIMESTAMP" then
    return { timestamp = row.timestamp }
  end
  return { after = row.checkpoint, sub = row.sub }
end

-- ---- checkpoints ----

--- Writes the checkpoint behind the last processed record, if it is a new one.
---@return boolean|nil written false: the lease is lost
---@return any err
function Processor:checkpoint()
  local seq, sub = self.tracker.seq, self.tracker.sub
  self.checkpoint_due = nil
  if seq == self.written_seq and sub == self.written_sub then
    return true
  end
  local written, err = self.worker.leases:write(self.key, self:changes())
  if written then
    self.written_seq, self.written_sub = seq, sub
  elseif written == nil and self.worker.options.checkpoint == "auto" then
    self.checkpoint_due = self.worker.now() + math.max(1, self.worker.options.checkpoint_interval) -- again
  end
  return written and true, err
end

--- The checkpoint as changes of the row.
function Processor:changes()
  local seq, sub = self.tracker.seq, self.tracker.sub
  return seq and { checkpoint = seq, sub = sub or false, timestamp = false, owner_switches = 0 } or {}
end

-- The checkpoint may be written when checkpoint_interval has passed since the first record behind it.
local function note_progress(self)
  local worker = self.worker
  local is_new = self.tracker.seq ~= self.written_seq or self.tracker.sub ~= self.written_sub
  if is_new and worker.options.checkpoint == "auto" then
    self.checkpoint_due = self.checkpoint_due or worker.now() + worker.options.checkpoint_interval
  end
end

--- A record, or list, was acknowledged.
---@return boolean known
function Processor:ack(record)
  local known = self.tracker:done(record)
  note_progress(self)
  wait.wake(self.worker.client, self)
  return known
end

--- All records up to this one are processed; writes the checkpoint.
---@return boolean|nil written
---@return any err
function Processor:checkpoint_at(record)
  self.tracker:done_until(record)
  return self:checkpoint()
end

--- The row of its lease, to be made again after it was deleted.
---@return kinesis.LeaseRow
function Processor:row_again()
  local row = {}
  for name, value in pairs(self.row) do
    row[name] = value
  end
  if self.tracker.seq then
    row.checkpoint, row.sub, row.timestamp = self.tracker.seq, self.tracker.sub, nil
  end
  row.owner, row.wanted_by, row.counter = nil, nil, self.row.counter + 1
  return row
end

-- ---- records ----

local function traceback(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

local function decide(self, record, err, attempts)
  local wanted = self.worker.options.on_record_error
  return type(wanted) == "function" and wanted(record, err, attempts) or wanted
end

-- Sleeps, unless the reading ends. False: it does.
local function rest(self, attempts)
  local deadline = self.worker.now() + math.min(RETRY_MOST, RETRY_FIRST * 2 ^ math.min(attempts - 1, 10))
  while self.worker.now() < deadline and not self.ending do
    wait.ready(self.worker.client, self, deadline)
  end
  return not self.ending
end

-- The records of what a handler gets.
local function records_in(record)
  if record.n then -- columns
    local list = {}
    for i = 1, record.n do
      list[i] = { data = record.data[i], partition_key = record.partition_key[i] or nil }
    end
    return list
  end
  return record[1] and record or { record }
end

-- Returns a function that stores the dead letters: true, or false and why they are not all stored.
local function undertaker(self, record, err)
  local to = self.worker.options.dead_letter
  if type(to) == "function" then
    return function()
      local good, result, problem = pcall(to, record, err)
      local stored = good and result ~= false and (result ~= nil or problem == nil)
      return stored, problem or result or "it was not stored"
    end
  end
  local left, first = records_in(record), 1
  return function()
    while left[first] do
      local put, problem = self.worker.client:put(to, left[first].data, left[first].partition_key)
      if not put then
        return false, problem
      end
      first = first + 1
    end
    return true
  end
end

-- Gives a skipped record to the dead letters, however often that takes. False: the reading ends before.
local function bury(self, record, err)
  if not self.worker.options.dead_letter then
    return true
  end
  local store, attempts = undertaker(self, record, err), 0
  repeat
    attempts = attempts + 1
    local good, problem = store()
    if good then
      return true
    end
    self.worker:report(problem, "a dead letter of " .. self.id)
  until not rest(self, attempts)
  return false
end

-- Hands a record to the handler until that returns. False: the reading ends, and the record is not processed.
local function process(self, record)
  local attempts = 0
  repeat
    attempts = attempts + 1
    local good, err = xpcall(self.worker.handler, traceback, record, self.shard)
    if good then
      return true
    elseif err == M.DROPPED then
      return false
    end
    local decision = decide(self, record, err, attempts)
    if decision == "skip" then
      local buried = bury(self, record, err)
      return buried, true
    elseif decision ~= "retry" then
      self.worker:fail(err)
      return false
    end
  until not rest(self, attempts)
  return false
end

-- The position of a record, or of the last one of a list. Aggregates that stay whole have no index inside.
local function position_in(record, whole)
  if record[1] then -- a list
    return position_in(record[#record], whole)
  elseif record.n then -- columns
    return record.sequence_number[record.n], not whole and (record.sub_sequence_number[record.n] or 0) or nil
  end
  return record.sequence_number, not whole and (record.sub_sequence_number or 0) or nil
end

-- With `ack`: waits while too many records are in flight, or all of them before the shard's end.
local function await_acks(self, most)
  while self.tracker:pending() > most and not self.ending do
    wait.ready(self.worker.client, self)
  end
end

-- A lease that could not be renewed in time may be renewed yet. False: the reading ends.
local function await_validity(self)
  while self.ending ~= "lost" and not self.worker.leases:is_valid(self.key) do
    wait.sleep(LOOK_AT_LEASE, self.worker.client)
    self.worker:poll()
  end
  return not self.ending
end

local function read(self)
  local options, tracker = self.worker.options, self.tracker
  for record in self.reader do
    if not await_validity(self) then
      return false
    end
    tracker:add(record, position_in(record, options.deaggregate == false))
    self.worker.owners[record] = self
    self.busy = true
    local processed, skipped = process(self, record)
    self.busy = false
    if not processed then
      return false
    end
    if skipped or not options.ack and options.checkpoint == "auto" then
      tracker:done(record)
    end
    note_progress(self)
    if self.checkpoint_due and self.worker.now() >= self.checkpoint_due then
      self:checkpoint() -- a failure is the lease's: the machine tells
    end
    if options.ack then
      await_acks(self, options.max_in_flight - 1)
    end
    if self.ending then
      return false
    end
  end
  if options.ack then
    await_acks(self, 0)
  end
  return not self.ending and self.reader:position().shards[self.id] == "shard_end"
end

-- ---- ends ----

-- The keys of the children, whose leases exist then.
local function make_children(self)
  while not self.ending do
    local keys = {}
    for _, item in ipairs(self.worker:list_shards()) do
      if item.parent_id == self.key or item.adjacent_parent_id == self.key then
        local made = self.worker.leases:create(item.id, lineage.row_of(item, { checkpoint = "TRIM_HORIZON" }))
        keys[#keys + 1] = made ~= nil and item.id or nil
      end
    end
    if #keys > 0 then
      table.sort(keys)
      return keys
    end
    wait.sleep(LOOK_FOR_CHILDREN, self.worker.client)
  end
end

local function finish(self)
  local children = make_children(self)
  if not children then
    return false
  end
  local changes = { checkpoint = lineage.SHARD_END, sub = false, timestamp = false, children = children,
    owner_switches = 0 }
  return self.worker.leases:release(self.key, changes) and true
end

local function run(self)
  self.reader = reader.open(self.worker.client, self.stream, { self.listed }, self.reader_options, false)
  if self.ending then
    self.reader:stop()
  end
  if read(self) and finish(self) then
    return "end"
  elseif self.ending ~= "lost" then
    self.worker.leases:release(self.key, self:changes(), self.to)
  end
  return self.ending or "error"
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
  wait.wake(self.worker.client, self)
end

--- Reads the shard until its end, or until `finish`; then calls `worker:on_processor_end`. In a coroutine of its own.
function Processor:run()
  local good, reason = pcall(run, self)
  if self.reader then
    self.reader:close()
  end
  if not good then
    self.worker.leases:release(self.key, self:changes())
  end
  local passes = not good and type(reason) == "table" and reason.retryable
  if passes then -- the lease is free: this worker, or another one, begins again
    self.worker:report(reason, self.id)
  end
  self.worker:on_processor_end(self, good and reason or "error", not good and not passes and reason or nil)
end

-- The fields that the reader returns: those that the user wants, and those that checkpoints and dead letters need.
local function fields_of(options)
  local fields, has = {}, {}
  for _, list in ipairs { options.fields, { "sequence_number", "sub_sequence_number" },
    type(options.dead_letter) == "string" and { "data", "partition_key" } or {} } do
    for _, name in ipairs(list) do
      fields[#fields + 1] = not has[name] and name or nil
      has[name] = true
    end
  end
  return fields
end

--- Makes a processor of a lease that was taken.
---@param worker kinesis.Worker
---@param row kinesis.LeaseRow
---@param item table of manager.list_shards
---@return kinesis.worker.Processor
function M.new(worker, row, item)
  local options = {}
  for name, value in pairs(worker.options) do
    options[name] = value
  end
  options.from, options.on_shard_end = position_of(row), nil
  options.fields = options.fields and fields_of(options)
  options.window = math.max(LEAST_WINDOW, math.floor(worker.options.window / #worker.shards))
  return setmetatable({
    worker = worker, key = item.id, id = item.shard.id, stream = item.stream, listed = item.shard, row = row,
    shard = { stream = item.stream, id = item.shard.id }, reader_options = options, since = worker.now(),
    tracker = trackers.new(),
  }, Processor)
end

return M
