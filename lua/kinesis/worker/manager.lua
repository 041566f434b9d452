--- What a worker does by itself: looks at the table of leases, takes and gives up leases, follows the lineage of the
--- shards, and writes checkpoints that are due. Everything runs in one coroutine, the worker's own.
local errors = require "kinesis.errors"
local balance = require "kinesis.worker.balance"
local lineage = require "kinesis.worker.lineage"
local notice = require "kinesis.observe.notice"
local processors = require "kinesis.worker.processor"
local shards = require "kinesis.worker.shards"
local wait = require "kinesis.wait"

local M = {}

local PROBE_EVERY = 1 -- seconds between two looks whether the owners of leases live
local LIST_EVERY = 60 -- seconds between two lists of the shards, when nothing asks for one
local FAILED_PAUSE = 1 -- seconds after the store has failed
local ABSENT_FOR = 30 -- seconds; a shard that lists lack for so long is trimmed

-- ---- what the table shows ----

-- The rows of this worker's streams; nil and the error when the store has failed.
local function list_rows(self)
  local all, err = self.leases:list()
  if not all then
    return nil, err
  end
  local rows = {}
  for key, row in pairs(all) do
    if shards.of_key(self, key) then
      rows[key] = row
    end
  end
  return rows
end

-- Notes when each counter was last seen to change.
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

-- ---- lineage ----

-- Makes a lease that is missing, after those of its parents: a parent without one would count as finished. Returns
-- whether it is there; nil and the error when the store has failed.
local function make(self, missing, key)
  local row = missing[key]
  missing[key] = nil
  for _, parent in ipairs(row.parents or {}) do
    if missing[parent] then
      local made, err = make(self, missing, parent)
      if made == nil then
        return nil, err
      end
    end
  end
  return self.leases:create(key, row)
end

-- The leases that are missing. Each stream has a beginning of its own: it may have been added to the application later.
local function missing_leases(self)
  local missing = {}
  for _, source in ipairs(self.sources) do
    local items, rows = {}, {}
    for _, item in ipairs(self.shards) do
      items[#items + 1] = item.source == source and item or nil
    end
    for key, row in pairs(self.rows) do
      rows[key] = shards.of_key(self, key) == source and row or nil
    end
    for key, row in pairs(lineage.missing(items, rows, self.initial)) do
      missing[key] = row
    end
  end
  return missing
end

-- Makes the leases that are missing, and deletes those that are finished with. Returns whether it changed something;
-- nil and the error when the store has failed.
local function keep_lineage(self)
  if self.now() < self.listed_at + LIST_EVERY then
    return false
  end
  local _, complete = shards.list(self)
  local missing, changed = missing_leases(self), false
  while next(missing) do
    local made, err = make(self, missing, (next(missing)))
    if made == nil then
      self.listed_at = -math.huge -- the next look makes the others
      return nil, err
    end
    changed = true
  end
  for _, key in ipairs(complete and lineage.finished_with(self.shards, self.rows) or {}) do
    changed = self.leases:delete(key) and true or changed
  end
  return changed
end

-- ---- taking ----

-- The shard of a lease; lists the shards again when the last list does not have it. `gone`: the service has trimmed it.
-- One list is no proof: it may have failed, or lack a new shard.
local function find_item(self, key)
  local item, complete = shards.find(self, key), false
  if not item then
    complete = select(2, shards.list(self))
    item = shards.find(self, key)
  end
  local since = complete and not item and (self.absent[key] or self.now()) or nil
  self.absent[key] = since
  return item, since ~= nil and self.now() >= since + ABSENT_FOR
end

local function begin(self, key, row)
  local item, gone = find_item(self, key)
  if not item then
    self.leases:release(key, gone and { checkpoint = lineage.SHARD_END, sub = false, timestamp = false } or {})
    return
  end
  local processor = processors.new(self, row, item)
  self.processors[key] = processor
  self:call_hook("on_lease_taken", processor.shard)
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
  local rows, err = list_rows(self)
  if not rows then
    return nil, err
  end
  observe(self, rows)
  local changed, problem = keep_lineage(self)
  if changed == nil then
    return nil, problem
  elseif changed then
    rows, err = list_rows(self)
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
  local rows = list_rows(self)
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
---@param self kinesis.Worker
function M.poll(self)
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
      M.report(self, value, key)
    end
  end
end

--- Prints a failure that is retried, or gives it to on_error.
---@param self kinesis.Worker
function M.report(self, err, what)
  if self.options.on_error then
    self.options.on_error(err, what, 1)
  else
    notice.print_rarely(("worker %s %s"):format(self.application, tostring(err.code)), "worker %s: %s: %s",
      self.application, what, tostring(err))
  end
end

-- ---- running ----

--- Ends all processors after their records in hand. Called again: wakes those that have missed it.
---@param self kinesis.Worker
function M.finish_all(self)
  for _, processor in pairs(self.processors) do
    processor:finish(processor.ending or "stop", processor.to)
  end
end

--- Ends all processors, which write nothing any more.
---@param self kinesis.Worker
function M.abandon(self)
  for _, processor in pairs(self.processors) do
    processor:finish "lost"
  end
end

-- When the manager is to write the checkpoint of a processor; nil: not now. A busy one does that itself.
local function checkpoint_due(processor)
  return not processor.busy and not processor.ending and processor.checkpoint_due or nil
end

local function next_due(self)
  local due = self.look_at
  if self.probes and self.probe_at < due then
    due = self.probe_at
  end
  for _, processor in pairs(self.processors) do
    due = math.min(due, checkpoint_due(processor) or due)
  end
  return due
end

-- Writes the checkpoints of shards without new records.
local function write_checkpoints(self)
  local due = {}
  for _, processor in pairs(self.processors) do
    local at = checkpoint_due(processor)
    if at and at <= self.now() then
      due[#due + 1] = processor
    end
  end
  for _, processor in ipairs(due) do
    processor:checkpoint()
  end
end

local function step(self)
  M.poll(self)
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
      M.report(self, err, "the leases")
      self.look_at = self.now() + FAILED_PAUSE
    end
  end
end

-- The worker was stopped: waits for the processors. Those that are still busy after stop_timeout lose their leases, so
-- that other workers go on.
local function drain(self)
  local deadline = self.now() + self.options.stop_timeout
  while next(self.processors) and not self.client.core:is_closed() do
    M.finish_all(self)
    M.poll(self)
    if self.now() >= deadline then
      self.err = self.err or errors.new("Timeout", ("handlers were still busy %g s after stop"):format(
        self.options.stop_timeout))
      for key, processor in pairs(self.processors) do
        processor:finish "lost"
        self.leases:release(key, processor:changes())
      end
      return
    end
    if next(self.processors) then
      wait.ready(self.client, self.leases.core:id(), math.min(deadline, self.now() + 1))
    end
  end
end

--- Runs a worker until it is stopped and drained.
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
  drain(self)
  M.abandon(self)
end

return M
