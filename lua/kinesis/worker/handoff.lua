--- Leases that pass from one living worker to another. The one that has too few asks, by the field `wanted_by`; the
--- owner sees that when it renews the lease, ends its reading, and makes the asker the owner. One that does not do so
--- within `handoff_timeout` loses the lease.
---
---   asked for -- the owner releases it to this worker -----------> taken
---   asked for -- handoff_timeout has passed ---------------------> taken
---   asked for -- another has it, or it was asked for anew -------> (not asked for)
---   handed over -- this worker stops, or has max_leases ---------> released
local lineage = require "kinesis.worker.lineage"
local next_counter = require "kinesis.store.row".next_counter
local observed = require "kinesis.worker.observed"
local tasks = require "kinesis.worker.tasks"

local M = {}

--- Asks the owner of a lease for it.
---@param worker kinesis.Worker
---@param key string
function M.ask(worker, key)
  local row = worker.rows[key]
  tasks.change(worker, key, "ask", function()
    worker.leases:update(key, row, { wanted_by = worker.id })
  end)
end

-- Whether the owner of a lease has had the time to hand it over. One that has renewed it since has seen the request,
-- and delivers nothing; another one may deliver until its lease expires.
local function is_late_with(worker, seen)
  local passed = worker.now() - seen.wanted_since
  return passed >= worker.options.handoff_timeout and (seen.since > seen.wanted_since
    or passed >= worker.options.failover)
end

--- The leases to take because they were handed over, or asked for long enough, and those to release because they were
--- handed over to a worker that has max_leases; and whether this worker asks for leases.
---@param worker kinesis.Worker
---@return string[] take keys
---@return string[] refuse keys
---@return boolean asks
function M.due(worker)
  local take, refuse, asks = {}, {}, false
  local left = worker.options.max_leases
  for key in pairs(worker.rows) do
    left = left - (observed.is_mine(worker, key) and 1 or 0)
  end
  for key, row in pairs(worker.rows) do
    local is_mine = observed.is_mine(worker, key) or worker.vanished[key] ~= nil
    if not is_mine and row.owner == worker.id and not lineage.is_finished(row) then
      table.insert(left > 0 and take or refuse, key)
      left = left - 1
    elseif not is_mine and row.wanted_by == worker.id then
      local is_late = is_late_with(worker, worker.seen[key])
      take[#take + 1] = is_late and left > 0 and key or nil
      left, asks = left - (is_late and 1 or 0), true
    end
  end
  return take, refuse, asks
end

--- Another worker asks for a lease of this one. The lease is not valid until it is handed over, or the request is
--- removed.
---@param worker kinesis.Worker
---@param key string
---@param asker string
function M.answer(worker, key, asker)
  local processor = worker.processors[key]
  if worker.dead[asker] then
    tasks.start(worker, "answer " .. key, function()
      worker.leases:write(key, { wanted_by = false })
    end)
  elseif processor then
    processor:finish("handoff", asker)
  else
    worker.requests[key] = asker -- its shard is not read yet
  end
end

--- Releases a lease that was handed over to this worker.
---@param worker kinesis.Worker
---@param key string
function M.refuse(worker, key)
  local row = worker.rows[key]
  worker.leases:update(key, row, { owner = false, wanted_by = false, counter = next_counter(row.counter) })
end

-- Whether the table has this worker as the owner of a lease that it does not read.
local function is_left(worker, key, row)
  return row.owner == worker.id and not worker.processors[key] and not lineage.is_finished(row)
end

--- The worker is stopped: takes back what it has asked for, and releases what was handed over to it, or assigned.
---@param worker kinesis.Worker
function M.withdraw(worker)
  local keys = {}
  for key, row in pairs(worker.rows) do
    local is_asked_for = row.wanted_by == worker.id and not worker.leases.is_led
    keys[#keys + 1] = (is_left(worker, key, row) or is_asked_for) and key or nil
  end
  tasks.each(worker, "withdraw", keys, function(key)
    if is_left(worker, key, worker.rows[key]) then
      M.refuse(worker, key)
    else
      worker.leases:update(key, worker.rows[key], { wanted_by = false })
    end
  end)
end

return M
