--- What a worker sees of the table of leases: the rows of its streams, when each was seen to change, and which workers
--- are dead. Other workers are judged by the time of this one alone.
---
---   there -- it is not in the list any more, and was finished ---------------------> forgotten
---   there -- it is not in the list any more, and was not finished -----------------> vanished: still in `rows`
---   vanished -- it is in the list again --------------------------------------------> there
---   vanished -- its owner had the time to make it again, and has not ---------------> made again
---   vanished -- every child is past its beginning, or the service lacks the shard --> forgotten
local balance = require "kinesis.worker.balance"
local lineage = require "kinesis.worker.lineage"
local shards = require "kinesis.worker.shards"
local wait = require "kinesis.wait"

local M = {}

local FORGOTTEN_AFTER = 3 -- times `failover`
local ABSENT_FOR = 30 -- seconds; a shard that lists lack for so long is trimmed

--- A lease, as it was seen.
---@class kinesis.worker.Sight
---@field counter integer
---@field owner? string
---@field since number when counter or owner was seen to change
---@field wanted_by? string
---@field wanted_since? number when that was seen to change
---@field free_since? number since when a worker could have taken it

-- The rows of a worker's streams; nil and the error. One list at a time: an older answer must not follow a newer one.
local function list(worker)
  while worker.listing_rows do
    wait.ready(worker.client, worker.listing_rows, worker.now() + 1)
  end
  local token = {}
  worker.listing_rows = token
  local good, all, err = pcall(worker.leases.list, worker.leases)
  worker.listing_rows = nil
  wait.wake(worker.client, token)
  if not good then
    error(all, 0)
  elseif not all then
    return nil, err
  end
  local rows = {}
  for key, row in pairs(all) do
    rows[key] = shards.of_key(worker, key) and row or nil
  end
  return rows
end

local function sight_of(row, before, now)
  local same = before and before.counter == row.counter and before.owner == row.owner
  local same_asker = before and before.wanted_by == row.wanted_by
  return { counter = row.counter, owner = row.owner, since = same and before.since or now, wanted_by = row.wanted_by,
    wanted_since = same_asker and before.wanted_since or row.wanted_by and now or nil,
    free_since = before and before.free_since }
end

-- Whether this change of a row is one to look at: a lease is free or finished, or was handed over to this worker.
local function is_news(worker, key, row, before)
  return not before or row.checkpoint == lineage.SHARD_END and before.checkpoint ~= row.checkpoint
    or row.owner == nil and before.owner ~= nil or row.owner == worker.id and not worker.processors[key]
end

--- Lists the table, and notes what has changed.
---@param worker kinesis.Worker
---@return boolean|nil news there is something to look at; nil: the store has failed
---@return any err
function M.refresh(worker)
  local rows, err = list(worker)
  if not rows then
    return nil, err
  end
  local now, seen, vanished, news = worker.now(), {}, {}, false
  for key, row in pairs(rows) do
    seen[key] = sight_of(row, worker.seen[key], now)
    news = news or is_news(worker, key, row, worker.rows[key])
  end
  for key, row in pairs(worker.rows) do
    if not rows[key] and not lineage.is_finished(row) then
      news = news or not worker.vanished[key]
      rows[key], seen[key], vanished[key] = row, worker.seen[key], worker.vanished[key] or now
    end
  end
  worker.rows, worker.seen, worker.vanished = rows, seen, vanished
  for key in pairs(worker.absent) do
    worker.absent[key] = rows[key] and worker.absent[key]
  end
  return news
end

--- Forgets a row that is not in the table.
---@param worker kinesis.Worker
---@param key string
function M.forget(worker, key)
  worker.rows[key], worker.seen[key], worker.vanished[key] = nil, nil, nil
end

local function age(worker, key)
  return worker.now() - worker.seen[key].since
end

-- Whether a lease has no owner that renews it. This worker's id without a processor: the outcome of a take was unknown.
local function is_expired(worker, key, row)
  return row.owner == nil or row.owner == worker.id or worker.dead[row.owner] ~= nil
    or age(worker, key) >= worker.options.failover
end

--- When the next lease expires if its owner does not renew it, or the next vanished row is made again.
---@param worker kinesis.Worker
---@return number at
function M.next_expiry(worker)
  local first, now = math.huge, worker.now()
  for key, row in pairs(worker.rows) do
    local at = (worker.vanished[key] or worker.seen[key].since) + worker.options.failover
    if row.owner and row.owner ~= worker.id and not lineage.is_finished(row) and at > now then
      first = math.min(first, at)
    end
  end
  return first
end

--- The worker that has a lease and renews it; nil: none does.
---@param worker kinesis.Worker
---@param key string
---@return string|nil owner
function M.owner(worker, key)
  local row = worker.rows[key]
  if worker.processors[key] then
    return worker.id
  end
  return not worker.vanished[key] and not is_expired(worker, key, row) and row.owner or nil
end

-- The worker that asks for a lease. One that has died, or has not stolen the lease in time, does not ask any more.
local function asker_of(worker, key, row)
  local options = worker.options
  local patience = options.handoff_timeout + options.failover + 2 * options.take_interval
  local is_stale = row.wanted_by and (worker.dead[row.wanted_by]
    or worker.now() - worker.seen[key].wanted_since >= patience)
  if worker.changing[key] == "ask" then
    return worker.id
  end
  return not is_stale and row.wanted_by or nil
end

--- Whether a lease is this worker's, or is being taken.
---@param worker kinesis.Worker
---@param key string
---@return boolean
function M.is_mine(worker, key)
  return worker.processors[key] ~= nil or worker.changing[key] == "take"
end

--- Notes whether a current list of the shards has the shard of a lease. One list is no proof that it is trimmed: it
--- may be older than the shard.
---@param worker kinesis.Worker
---@param key string
---@return boolean gone it was missing for long enough
function M.note_listed(worker, key)
  local since = not worker.items[key] and (worker.absent[key] or worker.now()) or nil
  worker.absent[key] = since
  return since ~= nil and worker.now() >= since + ABSENT_FOR
end

-- Whether there is no use in taking a lease now: nothing is known of its shard.
local function is_absent(worker, key)
  local since = worker.absent[key]
  return since ~= nil and worker.now() < since + ABSENT_FOR
end

local function may_read(worker, key, row)
  return not worker.vanished[key] and not is_absent(worker, key) and lineage.is_ready(row, worker.rows)
end

local function one()
  return 1
end

-- Whether nobody has renewed a lease, or taken it, for long: KCL workers, which count finished leases, too, may have
-- their part of all, and this worker its part of the others.
local function is_forgotten(worker, key, row, is_free)
  local sight, patience = worker.seen[key], FORGOTTEN_AFTER * worker.options.failover
  sight.free_since = is_free and (sight.free_since or worker.now()) or nil
  return is_free and (row.owner ~= nil and age(worker, key) or worker.now() - sight.free_since) >= patience
end

--- The leases in the form of balance.decide.
---@param worker kinesis.Worker
---@return kinesis.worker.seen[]
function M.view(worker)
  local leases = {}
  local weight_of = worker.options.balance == "throughput" and balance.weights(worker.rows) or one
  for key, row in pairs(worker.rows) do
    local mine = M.is_mine(worker, key)
    local ready, expired = mine or may_read(worker, key, row), not mine and is_expired(worker, key, row)
    leases[#leases + 1] = {
      key = key, owner = mine and worker.id or row.owner, wanted_by = asker_of(worker, key, row),
      counter = row.counter, ready = ready, weight = weight_of(row), expired = expired,
      forgotten = is_forgotten(worker, key, row, ready and expired),
    }
  end
  return leases
end

-- ---- rows that have vanished ----

local function row_again(worker, key)
  local processor = worker.processors[key]
  return processor and processor:row_again() or lineage.row_again(worker.rows[key])
end

--- The vanished rows that are to be made again, by key. The owner of a lease comes first: it knows the checkpoint best.
---@param worker kinesis.Worker
---@return table<string, kinesis.LeaseRow>
function M.lost_rows(worker)
  local lost = {}
  for key, since in pairs(worker.vanished) do
    local row = worker.rows[key]
    local is_held = worker.processors[key] or not is_expired(worker, key, row)
    if not is_held or worker.now() >= since + worker.options.failover then
      lost[key] = row_again(worker, key)
    end
  end
  return lost
end

--- Notes which of the workers in the table are dead. Returns whether one has died.
---@param worker kinesis.Worker
---@return boolean
function M.probe(worker)
  local names = {}
  for _, row in pairs(worker.rows) do
    names[row.owner or worker.id], names[row.wanted_by or worker.id] = true, true
  end
  for name in pairs(worker.dead) do
    worker.dead[name] = names[name] -- it is not in the table any more
  end
  local asked = {}
  for name in pairs(names) do
    asked[#asked + 1] = name ~= worker.id and not worker.dead[name] and name or nil
  end
  local dead = worker.leases:probe(asked)
  for _, name in ipairs(dead) do
    worker.dead[name] = true
  end
  return dead[1] ~= nil
end

return M
