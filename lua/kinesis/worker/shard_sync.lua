--- Keeps the table of leases in step with the shards of the streams: makes the leases that are missing, makes those
--- again that were deleted before they were finished, and deletes those that are finished with.
local lineage = require "kinesis.worker.lineage"
local observed = require "kinesis.worker.observed"
local shards = require "kinesis.worker.shards"
local tasks = require "kinesis.worker.tasks"

local M = {}

local LIST_EVERY = 60 -- seconds between two lists of the shards, when nothing asks for one
local LOOK_FOR_ABSENT = 5 -- seconds, while the list lacks shards of unfinished leases

--- When the next `run` is due.
---@param worker kinesis.Worker
---@return number
function M.due_at(worker)
  return worker.synced_at + LIST_EVERY
end

--- Makes the next `run` due within so many seconds.
---@param worker kinesis.Worker
---@param seconds number
function M.run_within(worker, seconds)
  worker.synced_at = math.min(worker.synced_at, worker.now() + seconds - LIST_EVERY)
end

-- The leases that are missing. Each stream has a beginning of its own: it may have been added to the application later.
local function missing_leases(worker)
  local missing = {}
  for _, source in ipairs(worker.sources) do
    local items, rows = {}, {}
    for _, item in ipairs(worker.shards) do
      items[#items + 1] = item.source == source and item or nil
    end
    for key, row in pairs(worker.rows) do
      rows[key] = shards.of_key(worker, key) == source and row or nil
    end
    for key, row in pairs(lineage.missing(items, rows, worker.initial)) do
      missing[key] = row
    end
  end
  return missing
end

-- The keys of those in `missing` whose parents are not missing: a child that has a lease while a parent has none would
-- count the parent as finished.
local function next_generation(missing)
  local generation, others = {}, {}
  for key, row in pairs(missing) do
    local is_first = true
    for _, parent in ipairs(row.parents or {}) do
      is_first = is_first and not missing[parent]
    end
    table.insert(is_first and generation or others, key)
  end
  return generation[1] and generation or others -- no order in a list that is a circle
end

-- Makes leases, those of parents before those of their children. Returns whether there were any; nil and the error: the
-- store has failed.
local function make(worker, missing)
  local failed, any, err = false, next(missing) ~= nil, nil
  while next(missing) and not failed do
    local generation = next_generation(missing)
    tasks.each(worker, "create", generation, function(key)
      local made, problem = worker.leases:create(key, missing[key])
      if made == nil then
        failed, err = true, problem
      end
    end)
    for _, key in ipairs(generation) do
      missing[key] = nil
      worker.vanished[key] = nil
    end
  end
  if failed then
    return nil, err
  end
  return any
end

-- Makes those rows again that have vanished and are still needed. Returns as `make`.
local function restore(worker)
  local lost = observed.lost_rows(worker)
  local superseded = lineage.superseded(worker.shards, worker.rows)
  for key in pairs(lost) do
    if superseded[key] or shards.is_listed(worker, key) and not worker.items[key] then
      observed.forget(worker, key)
      lost[key] = nil
    elseif not worker.items[key] then
      lost[key] = nil -- not listed, which is not proven
    end
  end
  return make(worker, lost)
end

-- Those that wait for a parent's row that has vanished are made later.
local function without_orphans(worker, missing)
  for key, row in pairs(missing) do
    for _, parent in ipairs(row.parents or {}) do
      if worker.vanished[parent] then
        missing[key] = nil
      end
    end
  end
  return missing
end

-- The rows of the streams that could be listed now.
local function listed_rows(worker)
  local rows = {}
  for key, row in pairs(worker.rows) do
    rows[key] = shards.is_listed(worker, key) and row or nil
  end
  return rows
end

-- Notes the leases whose shards the lists do not have.
local function note_absent(worker)
  for key, row in pairs(listed_rows(worker)) do
    observed.note_listed(worker, key)
    if worker.absent[key] and not lineage.is_finished(row) then
      M.run_within(worker, LOOK_FOR_ABSENT)
    end
  end
end

--- Lists the shards and the table, and changes the table. Returns whether it has; nil and the error when the store has
--- failed.
---@param worker kinesis.Worker
---@return boolean|nil changed
---@return any err
function M.run(worker)
  worker.synced_at = worker.now()
  shards.list(worker) -- first: what has changed meanwhile is in the table then
  local good, err = observed.refresh(worker)
  if good == nil then
    return nil, err
  end
  note_absent(worker)
  local restored, made
  restored, err = restore(worker)
  if restored ~= nil then
    made, err = make(worker, without_orphans(worker, missing_leases(worker)))
  end
  if made == nil then
    return nil, err
  end
  local rows = listed_rows(worker)
  local over = lineage.finished_with(worker.shards, rows)
  tasks.each(worker, "delete", over, function(key)
    worker.leases:delete(key, rows[key])
  end)
  return restored or made or over[1] ~= nil
end

return M
