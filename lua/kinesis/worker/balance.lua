--- Which leases a worker takes: a pure function of what it has seen of the table. All workers decide for themselves, by
--- the same rules, and converge: each move makes the most loaded worker lighter, and leaves it no lighter than the one
--- that asks. By count, loads then differ by one lease at most.
local lineage = require "kinesis.worker.lineage"

local M = {}

local SLACK = 0.2 -- by throughput: a difference of loads below this part of the mean load moves nothing
local IDLE = 0.1 -- the part of a mean lease that one without records weighs

--- A lease as the worker sees it at a moment.
---@class kinesis.worker.seen
---@field key string
---@field owner? string absent: nobody has it
---@field wanted_by? string the worker that has asked the owner for it
---@field counter integer
---@field ready boolean its parents are finished, and it is not
---@field expired boolean nobody has it, or its owner has not renewed it for `failover`
---@field forgotten boolean for three times that long, or nobody has taken it for so long
---@field weight number 1, or its throughput

-- Who will have the lease when all requests are granted. An expired one has no owner who could grant one.
local function future_owner(lease)
  return not lease.expired and (lease.wanted_by or lease.owner) or nil
end

-- The load of each worker that owns a lease, or asks for one, and of this one.
local function loads_of(leases, me)
  local loads, total, count = { [me] = 0 }, 0, 1
  for _, lease in ipairs(leases) do
    if lease.ready then
      total = total + lease.weight
      local owner = future_owner(lease)
      if owner and not loads[owner] then
        loads[owner], count = 0, count + 1
      end
      if owner then
        loads[owner] = loads[owner] + lease.weight
      end
    end
  end
  return loads, total / count
end

local function shuffle(list, random)
  for i = #list, 2, -1 do
    local j = random(i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end

-- The leases that are free, in random order: workers that decide at the same time choose different ones. Forgotten ones
-- come first.
local function free_leases(leases, random)
  local forgotten, free = {}, {}
  for _, lease in ipairs(leases) do
    if lease.ready and lease.expired then
      local list = lease.forgotten and forgotten or free
      list[#list + 1] = lease
    end
  end
  return shuffle(forgotten, random), shuffle(free, random)
end

-- The leases of each other worker that nobody has asked for; and the least weight of one of them.
local function held_by_others(leases, me)
  local held, least = {}, math.huge
  for _, lease in ipairs(leases) do
    local owner = lease.owner
    if lease.ready and not lease.expired and owner ~= me and not lease.wanted_by then
      held[owner] = held[owner] or {}
      table.insert(held[owner], lease)
      least = math.min(least, lease.weight)
    end
  end
  return held, least
end

local function most_loaded(held, loads)
  local found
  for owner in pairs(held) do
    if not found or loads[owner] > loads[found] or loads[owner] == loads[found] and owner < found then
      found = owner
    end
  end
  return found
end

-- Takes the heaviest lease out of a list that is not heavier than `most`, a random one of several; nil: there is none.
local function take_heaviest(list, most, random)
  local best, count = nil, 0
  for i, lease in ipairs(list) do
    local is_heavier = not best or lease.weight > list[best].weight
    if lease.weight <= most and (is_heavier or lease.weight == list[best].weight) then
      count = is_heavier and 1 or count + 1
      best = (is_heavier or random(count) == 1) and i or best
    end
  end
  if best then
    list[best], list[#list] = list[#list], list[best]
    return table.remove(list)
  end
end

-- The next lease to ask for: of the worker with the most load, if that has no less than this one even afterwards.
-- Leases of a worker that has none to give are left out from then on: this worker's load only grows.
local function next_to_ask(held, loads, me, least, slack, random)
  local owner = most_loaded(held, loads)
  while owner and loads[owner] - loads[me] >= math.max(slack, 2 * least) do
    local lease = take_heaviest(held[owner], (loads[owner] - loads[me]) / 2, random)
    if lease then
      return lease, owner
    end
    held[owner] = nil
    owner = most_loaded(held, loads)
  end
end

-- The free leases that this worker takes: forgotten ones whatever its load.
local function choose_free(leases, options, loads, part, me, mine, random)
  local take, lists = {}, { free_leases(leases, random) }
  for i, list in ipairs(lists) do
    for _, lease in ipairs(list) do
      if (i == 1 or loads[me] < part) and mine + #take < options.max_leases then
        take[#take + 1] = lease
        loads[me] = loads[me] + lease.weight
      end
    end
  end
  return take, #lists[1] + #lists[2] > 0
end

--- What to do about the leases.
---@param leases kinesis.worker.seen[]
---@param me string this worker
---@param options { max_leases: integer, max_steal: integer, balance?: string }
---@param random fun(n: integer): integer as math.random
---@return kinesis.worker.seen[] take that are free or expired
---@return kinesis.worker.seen[] ask for them, as others have more than their part
function M.decide(leases, me, options, random)
  local loads, part = loads_of(leases, me)
  local mine, ask = 0, {}
  for _, lease in ipairs(leases) do
    mine = mine + (future_owner(lease) == me and 1 or 0)
  end
  local take, any_free = choose_free(leases, options, loads, part, me, mine, random)
  if any_free then
    return take, ask
  end
  local slack = options.balance == "throughput" and SLACK * part or 0
  local held, least = held_by_others(leases, me)
  while #ask < options.max_steal and mine + #ask < options.max_leases do
    local lease, owner = next_to_ask(held, loads, me, least, slack, random)
    if not lease then
      break
    end
    ask[#ask + 1] = lease
    loads[owner] = loads[owner] - lease.weight
    loads[me] = loads[me] + lease.weight
  end
  return take, ask
end

--- The weights of leases by their throughput, so that the mean is 1: one without a figure counts as the mean, and an
--- idle one as a tenth more than nothing, because it is polled, too.
---@param rows table<string, kinesis.LeaseRow>
---@return fun(row: kinesis.LeaseRow): number
function M.weights(rows)
  local sum, count = 0, 0
  for _, row in pairs(rows) do
    if row.throughput and not lineage.is_finished(row) then
      sum, count = sum + row.throughput, count + 1
    end
  end
  local mean = count > 0 and sum / count or 0
  return function(row)
    return mean == 0 and 1 or ((row.throughput or mean) / mean + IDLE) / (1 + IDLE)
  end
end

return M
