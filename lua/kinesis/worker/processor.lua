--- Reads one shard by its lease, in a coroutine: hands its records to the handler, and writes its checkpoints.
---
---   reading -- the lease is wanted, the worker stops -> ending: finishes the record in hand, checkpoints, releases
---   reading -- the lease is lost --------------------> ending: finishes the record in hand, writes nothing
---   reading -- the shard's end ----------------------> ending: makes the leases of the children, writes SHARD_END
local lineage = require "kinesis.worker.lineage"
local reader = require "kinesis.reader"
local wait = require "kinesis.wait"

local M = {}

local RETRY_FIRST, RETRY_MOST = 0.1, 10 -- seconds between two attempts at a record
local LOOK_FOR_CHILDREN = 1 -- seconds
local LOOK_AT_LEASE = 0.1 -- seconds

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
  local seq, sub = self.seq, self.sub
  self.checkpoint_due = nil
  if seq == self.written_seq and sub == self.written_sub then
    return true
  end
  local written, err = self.worker.leases:write(self.key, self:changes())
  if written then
    self.written_seq, self.written_sub = seq, sub
  end
  return written and true, err
end

-- The checkpoint as changes of the row.
function Processor:changes()
  return { checkpoint = self.seq, sub = self.sub, timestamp = false, owner_switches = 0 }
end

--- The row of its lease, to be made again: somebody has deleted it.
---@return kinesis.LeaseRow
function Processor:row_again()
  local row = {}
  for name, value in pairs(self.row) do
    row[name] = value
  end
  if self.seq then
    row.checkpoint, row.sub, row.timestamp = self.seq, self.sub, nil
  end
  row.owner, row.wanted_by, row.counter = nil, nil, self.row.counter + 1
  return row
end

local function note_processed(self, record)
  self.seq, self.sub = record.sequence_number, record.sub_sequence_number or 0
  local interval = self.worker.options.checkpoint_interval
  self.checkpoint_due = self.checkpoint_due or self.worker.now() + interval
  if self.worker.now() >= self.checkpoint_due then
    self:checkpoint() -- a failure is the lease's: the machine tells
  end
end

-- ---- records ----

local function traceback(err)
  return type(err) == "string" and debug.traceback(err, 2) or err
end

local function decide(self, record, err, attempts)
  local wanted = self.worker.options.on_record_error
  return type(wanted) == "function" and wanted(record, err, attempts) or wanted
end

-- Hands a record to the handler until it is processed. False: the reading ends, and the record is not processed.
local function process(self, record)
  local attempts = 0
  while true do
    attempts = attempts + 1
    local good, err = xpcall(self.worker.handler, traceback, record, self.shard)
    if good then
      return true
    end
    local decision = decide(self, record, err, attempts)
    if decision == "skip" then
      return true
    elseif decision ~= "retry" then
      self.worker:fail(err)
      return false
    end
    local pause = math.min(RETRY_MOST, RETRY_FIRST * 2 ^ math.min(attempts - 1, 10))
    local deadline = self.worker.now() + pause
    while self.worker.now() < deadline and not self.ending do
      wait.sleep(math.min(0.1, pause), self.worker.client)
    end
    if self.ending then
      return false
    end
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
  for record in self.reader do
    if not await_validity(self) then
      return false
    end
    self.busy = true
    local processed = process(self, record)
    self.busy = false
    if not processed then
      return false
    end
    note_processed(self, record)
    if self.ending then
      return false
    end
  end
  return not self.ending and self.reader:position().shards[self.id] == "shard_end"
end

-- ---- ends ----

-- The keys of the children, whose leases exist then.
local function make_children(self)
  while not self.ending do
    local keys = {}
    for _, shard in ipairs(self.worker:list_shards(self.stream)) do
      if shard.parent_id == self.id or shard.adjacent_parent_id == self.id then
        local made = self.worker.leases:create(shard.id, lineage.row_of(shard, { checkpoint = "TRIM_HORIZON" }))
        keys[#keys + 1] = made ~= nil and shard.id or nil
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
    local changes = self.seq and self:changes() or {}
    self.worker.leases:release(self.key, changes, self.to)
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
end

--- Reads the shard until its end, or until `finish`; then calls `worker:on_processor_end`. In a coroutine of its own.
function Processor:run()
  local good, reason = pcall(run, self)
  if self.reader then
    self.reader:close()
  end
  if not good then
    self.worker.leases:release(self.key, self.seq and self:changes() or {})
  end
  self.worker:on_processor_end(self, good and reason or "error", not good and reason or nil)
end

--- Makes a processor of a lease that was taken.
---@param worker kinesis.Worker
---@param key string
---@param row kinesis.LeaseRow
---@param shard kinesis.Shard as it was listed
---@return kinesis.worker.Processor
function M.new(worker, key, row, shard)
  local options = {}
  for name, value in pairs(worker.options) do
    options[name] = value
  end
  options.from, options.on_shard_end = position_of(row), nil
  return setmetatable({
    worker = worker, key = key, id = shard.id, stream = worker.stream, listed = shard, row = row,
    shard = { stream = worker.stream, id = shard.id }, reader_options = options, since = worker.now(),
  }, Processor)
end

return M
