--- Which leases there have to be: a pure function of the shards of a stream and of the leases of an application. A
--- shard is read after its parents; its lease is made before theirs are finished, and theirs are deleted when it has
--- been read from.
local next_counter = require "kinesis.store.row".next_counter

local M = {}

M.SHARD_END = "SHARD_END"

local BEGINNINGS = { TRIM_HORIZON = true, LATEST = true, AT_TIMESTAMP = true }

--- A row of the table of leases, as stores keep it.
---@class kinesis.LeaseRow
---@field owner? string the worker that has it; absent: nobody
---@field counter integer grows with every write of the owner
---@field checkpoint string a sequence number, "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP" or "SHARD_END"
---@field sub? integer index of the last processed record in the aggregate of that sequence number; absent: all of it
---@field timestamp? number where reading begins, in seconds since 1970, with "AT_TIMESTAMP", "LATEST" or
--- "TRIM_HORIZON"; the KCL does not store it
---@field parents? string[] keys of the leases of the parents
---@field children? string[] keys, once it is finished
---@field starting_hash_key? string
---@field ending_hash_key? string
---@field owner_switches? integer since the last checkpoint
---@field kcl? boolean its owner is no worker of this library, but of the Kinesis Client Library
---@field wanted_by? string a worker that has asked the owner for it
---@field since? integer when the owner took it, in seconds since 1970
---@field throughput? number bytes per second that its shard delivers

function M.is_finished(row)
  return row.checkpoint == M.SHARD_END
end

--- Whether a shard may be read: its parents are finished, or have no lease any more.
---@param row kinesis.LeaseRow
---@param rows table<string, kinesis.LeaseRow>
---@return boolean
function M.is_ready(row, rows)
  if M.is_finished(row) then
    return false
  end
  for _, parent in ipairs(row.parents or {}) do
    if rows[parent] and not M.is_finished(rows[parent]) then
      return false
    end
  end
  return true
end

-- A function that notes shards and their ancestors, and the set of those. A list instead of recursion: lineages may be
-- long.
local function collector(shards)
  local by_id, covered = {}, {}
  for _, shard in ipairs(shards) do
    by_id[shard.id] = shard
  end
  return function(id)
    local left = { id }
    while left[1] do
      id = table.remove(left)
      if not covered[id] then
        covered[id] = true
        local shard = by_id[id] or {}
        left[#left + 1] = shard.parent_id
        left[#left + 1] = shard.adjacent_parent_id
      end
    end
  end, covered
end

-- Shard ids -> true, for those that have a lease, and for the ancestors of those: a parent without one was finished.
local function covered_shards(shards, rows)
  local cover, covered = collector(shards)
  for key, row in pairs(rows) do
    cover(key)
    for _, parent in ipairs(row.parents or {}) do
      cover(parent)
    end
  end
  return covered
end

--- The row of a shard that has none.
---@param shard kinesis.Shard
---@param initial table checkpoint and timestamp
---@return kinesis.LeaseRow
function M.row_of(shard, initial)
  local parents = { shard.parent_id, shard.parent_id and shard.adjacent_parent_id }
  return {
    counter = 0, owner_switches = 0, checkpoint = initial.checkpoint, timestamp = initial.timestamp,
    parents = #parents > 0 and parents or nil,
    starting_hash_key = shard.starting_hash_key, ending_hash_key = shard.ending_hash_key,
  }
end

--- A row that is made again after it was deleted: without an owner, and with another counter than before.
---@param row kinesis.LeaseRow as it was last seen
---@param seq? string a newer checkpoint
---@param sub? integer
---@return kinesis.LeaseRow
function M.row_again(row, seq, sub)
  local again = {}
  for name, value in pairs(row) do
    again[name] = value
  end
  if seq then
    again.checkpoint, again.sub, again.timestamp = seq, sub, nil
  end
  again.owner, again.wanted_by, again.since, again.counter = nil, nil, nil, next_counter(row.counter)
  return again
end

-- Where the missing leases begin. Another worker may be making those of a new application, or may have died while it
-- did: as long as one of them is still at the time of the application's start, the others begin at that time, too. All
-- records of a shard that is younger are behind it.
local function beginning_of(rows, initial)
  if next(rows) == nil then
    return initial
  end
  local first
  for _, row in pairs(rows) do
    local begins = BEGINNINGS[row.checkpoint] and row.timestamp
    if begins and (not first or begins < first.timestamp) then
      first = row
    end
  end
  return first or { checkpoint = "TRIM_HORIZON" }
end

-- Where the missing lease of a shard begins. A KCL that takes one at LATEST begins at the end of the shard: the child
-- of a shard that has a lease is younger than the application as a rule, and loses nothing at TRIM_HORIZON. Workers of
-- this library begin at the time.
local function beginning_in(shard, rows, from)
  local parent = rows[shard.parent_id or false] or rows[shard.adjacent_parent_id or false]
  if parent and from.checkpoint == "LATEST" then
    return { checkpoint = "TRIM_HORIZON", timestamp = from.timestamp }
  end
  return from
end

--- The leases that are missing, by key. `initial` holds for all shards of an application without leases; shards that
--- are found later are read from their beginning.
---@param shards kinesis.Shard[]
---@param rows table<string, kinesis.LeaseRow>
---@param initial table checkpoint and timestamp
---@return table<string, kinesis.LeaseRow>
function M.missing(shards, rows, initial)
  local from = beginning_of(rows, initial)
  local covered, missing = covered_shards(shards, rows), {}
  for _, shard in ipairs(shards) do
    if not covered[shard.id] then
      missing[shard.id] = M.row_of(shard, beginning_in(shard, rows, from))
    end
  end
  return missing
end

-- Whether records of a shard may have been read, so that its parents are behind.
local function has_begun(row)
  return not BEGINNINGS[row.checkpoint]
end

-- Keys of parents -> the keys of their children that have a lease.
local function children_of(rows)
  local children = {}
  for key, row in pairs(rows) do
    for _, parent in ipairs(row.parents or {}) do
      children[parent] = children[parent] or {}
      table.insert(children[parent], key)
    end
  end
  return children
end

--- The shards that were finished, because one that descends from them was read from: its own lease may be finished and
--- deleted already, but then it has descendants that were read from.
---@param shards kinesis.Shard[]
---@param rows table<string, kinesis.LeaseRow>
---@return table<string, boolean> keys a set
function M.superseded(shards, rows)
  local cover, covered = collector(shards)
  for _, row in pairs(rows) do
    for _, parent in ipairs(has_begun(row) and row.parents or {}) do
      cover(parent)
    end
  end
  return covered
end

--- The keys of the finished leases that are not needed any more: all children are past their beginning, or there are no
--- children left because the service has trimmed the shard.
---@param shards kinesis.Shard[]
---@param rows table<string, kinesis.LeaseRow>
---@return string[] keys in order
function M.finished_with(shards, rows)
  local listed, children, keys = {}, children_of(rows), {}
  for _, shard in ipairs(shards) do
    listed[shard.id] = true
  end
  for key, row in pairs(rows) do
    local done = M.is_finished(row) and (children[key] ~= nil or not listed[key])
    for _, child in ipairs(children[key] or {}) do
      done = done and has_begun(rows[child])
    end
    for _, child in ipairs(row.children or {}) do
      done = done and (rows[child] ~= nil or not listed[child])
    end
    if done then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  return keys
end

return M
