--- A worker among those of a Kinesis Client Library (KCL) 3, of which one is the leader and assigns the leases. As in
--- the KCL, what the row Migration3.0 of the table says holds for all workers:
---
---   there is none, or 2X: the leases are shared (balance.lua). No row that is no lease is written, which would end a
---     KCL 2
---   UPGRADE_FROM_2X: they are shared; each worker writes a row of metrics, and when all do the KCL changes it to 3X
---   3X, 3X_WITH_ROLLBACK: the leader assigns leases to workers that write a row of metrics
---   3X and the leader has not renewed its lock for LEADERLESS: they are shared, until there is a leader again; nothing
---     is taken from a KCL worker
---
--- A lease that is moved has this worker as `wanted_by` until its owner hands it over; then, and when it had no owner,
--- this worker owns it, and takes it.
local errors = require "kinesis.errors"
local lineage = require "kinesis.worker.lineage"
local next_counter = require "kinesis.store.row".next_counter
local observed = require "kinesis.worker.observed"
local wait = require "kinesis.wait"

local M = {}

local REPORT_EVERY = 15 -- seconds between two rows of metrics; after 60 s without one a worker gets no leases
local TRY_AGAIN = 5 -- seconds after a failure
local LEADERLESS = 180 -- seconds: the lock of a leader lasts for 120 s, and is renewed every 30 s

-- Whether a leader assigns the leases, if there is one.
local function has_leader(version)
  return version ~= nil and version:find "_3X" ~= nil
end

local function writes_metrics(version)
  return has_leader(version) or version == "CLIENT_VERSION_UPGRADE_FROM_2X"
end

--- Whether a leader assigns the leases now.
---@param worker kinesis.Worker
---@return boolean
function M.is_led(worker)
  local fleet = worker.table and worker.table.kcl3 and worker.table
  if not fleet or not has_leader(fleet.version) then
    return false
  end
  local lock = worker.leader_lock
  return not lock or lock.seen_at < lock.since + LEADERLESS
end

--- Whether a lease may be taken from a KCL worker that renews it: never where a leader is to assign the leases.
---@param worker kinesis.Worker
---@return boolean
function M.may_steal(worker)
  return not worker.table or not has_leader(worker.table.version)
end

-- Notes since when the lock of the leader was seen as it is. By the time of this worker, as for leases; as long as the
-- store cannot be asked, no time passes.
local function watch_leader(worker)
  local mark, err = worker.table:leader_mark()
  local lock = worker.leader_lock
  if mark == nil then
    return err
  elseif not lock or lock.mark ~= mark then
    worker.leader_lock = { mark = mark, since = worker.now(), seen_at = worker.now() }
  else
    lock.seen_at = worker.now()
  end
end

-- A failure that no waiting will mend ends the worker.
local function note_failure(worker, err, what)
  if worker.leases:is_fatal(err) then
    worker:fail(err)
  else
    worker:report(err, what)
  end
end

local function report_leaderless(worker)
  local err = errors.new("LeaseStore", ("no KCL 3 worker has renewed the lock of the leader in the table %s for %d s: "
    .. "until one does, the workers of this library share the leases by themselves"):format(worker.table.name,
    LEADERLESS))
  err.retryable = true
  worker:report(err, "leases that a KCL 3 is to assign")
end

local function run(worker)
  local fleet, err = worker.table, nil
  if writes_metrics(fleet.version) then
    err = fleet:write_metrics(worker.id)
  end
  if not M.is_led(worker) then
    err = fleet:read_version() or err
  end
  if has_leader(fleet.version) then
    err = watch_leader(worker) or err
  end
  return err
end

--- When `run` is due.
---@param worker kinesis.Worker
---@return number
function M.due_at(worker)
  return worker.table and worker.table.kcl3 and (worker.fleet_at or 0) or math.huge
end

--- Writes the row of metrics of this worker, and looks who assigns the leases.
---@param worker kinesis.Worker
function M.run(worker)
  local before, was_led = worker.table.version, M.is_led(worker)
  worker.fleet_at = worker.now() + REPORT_EVERY
  local err = run(worker)
  local is_led = M.is_led(worker)
  if err then
    worker.fleet_at = worker.now() + TRY_AGAIN
    note_failure(worker, err, "the metrics of this worker for the leader, which are written again")
  end
  if was_led and not is_led and worker.table.version == before then
    report_leaderless(worker)
  end
  if was_led ~= is_led then
    worker.look_at = worker.now()
  end
  if worker.table.version ~= before then
    worker.fleet_at = worker.now() -- it has to know of this worker
  end
end

--- What to do with the leases that the leader has assigned to this worker.
---@param worker kinesis.Worker
---@return string[] take keys
---@return table<string, table> change key -> changes: leases whose parents are not finished are renewed; those that
--- were moved away before they were taken are handed over
---@return boolean awaits others are to hand leases over to this worker
function M.assigned(worker)
  local take, change, awaits = {}, {}, false
  for _, lease in ipairs(observed.view(worker)) do
    local key, row = lease.key, worker.rows[lease.key]
    local is_new = not observed.is_mine(worker, key) and not worker.vanished[key] and not lineage.is_finished(row)
    if is_new and row.owner == worker.id then
      local counter = next_counter(row.counter)
      if row.wanted_by and row.wanted_by ~= worker.id then
        change[key] = { owner = row.wanted_by, wanted_by = false, kcl = true, counter = counter }
      elseif lease.ready then
        take[#take + 1] = key
      else
        change[key] = { counter = counter }
      end
    end
    awaits = awaits or is_new and row.wanted_by == worker.id
  end
  return take, change, awaits
end

--- The worker has ended, or is stopped: removes its row of metrics, so that nothing is assigned to it any more.
---@param worker kinesis.Worker
function M.leave(worker)
  while worker.tasks.fleet and not worker.over do -- it may be writing the row
    wait.ready(worker.client, worker.leases.core:id(), worker.now() + 1)
  end
  local fleet = worker.table
  local err = fleet and fleet.kcl3 and writes_metrics(fleet.version) and fleet:remove_metrics(worker.id)
  if err then
    note_failure(worker, err, ("the row of metrics %s, which stays: for a minute, leases may be assigned to it")
      :format(worker.id))
  end
end

return M
