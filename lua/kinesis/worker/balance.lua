--- Which leases a worker takes: a pure function of what it has seen of the table. All workers decide for themselves, by
--- the same rules, and converge: their loads differ by one lease at most.
local M = {}

--- A lease as the worker sees it at a moment.
---@class kinesis.worker.seen
---@field key string
---@field owner? string absent: nobody has it
---@field wanted_by? string the worker that has asked the owner for it
---@field counter integer
---@field ready boolean its parents are finished, and it is not
---@field expired boolean nobody has it, or its owner has not renewed it for `failover`
---@field forgotten boolean for three times that long
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

-- The leases of each other worker, in random order, that nobody has asked for.
local function held_by_others(leases, me, random)
  local held = {}
  for _, lease in ipairs(leases) do
    local owner = lease.owner
    if lease.ready and not lease.expired and owner ~= me and not lease.wanted_by then
      held[owner] = held[owner] or {}
      table.insert(held[owner], lease)
    end
  end
  for _, list in pairs(held) do
    shuffle(list, random)
  end
  return held
end

local function most_loaded(held, loads)
  local found
  for owner, list in pairs(held) do
    if #list > 0 and (not found or loads[owner] > loads[found] or loads[owner] == loads[found] and owner < found) then
      found = owner
    end
  end
  return found
end

-- The next lease to ask for: of the worker with the most load, if that has more than this worker even afterwards.
local function next_to_ask(held, loads, me)
  local owner = most_loaded(held, loads)
  while owner do
    local list = held[owner]
    local lease = table.remove(list)
    if loads[owner] - loads[me] >= 2 * lease.weight then
      return lease, owner
    end
    owner = most_loaded(held, loads)
  end
end

--- What to do about the leases.
---@param leases kinesis.worker.seen[]
---@param me string this worker
---@param options { max_leases: integer, max_steal: integer }
---@param random fun(n: integer): integer as math.random
---@return kinesis.worker.seen[] take that are free or expired
---@return kinesis.worker.seen[] ask for them, as others have more than their part
function M.decide(leases, me, options, random)
  local loads, part = loads_of(leases, me)
  local mine = 0
  for _, lease in ipairs(leases) do
    mine = mine + (future_owner(lease) == me and 1 or 0)
  end
  local take, ask = {}, {}
  local forgotten, free = free_leases(leases, random)
  local any_free = #forgotten + #free > 0
  for _, lease in ipairs(forgotten) do
    if mine + #take < options.max_leases then
      take[#take + 1] = lease
      loads[me] = loads[me] + lease.weight
    end
  end
  for _, lease in ipairs(free) do
    if loads[me] < part and mine + #take < options.max_leases then
      take[#take + 1] = lease
      loads[me] = loads[me] + lease.weight
    end
  end
  if any_free then
    return take, ask
  end
  local held = held_by_others(leases, me, random)
  while #ask < options.max_steal and mine + #ask < options.max_leases do
    local lease, owner = next_to_ask(held, loads, me)
    if not lease then
      break
    end
    ask[#ask + 1] = lease
    loads[owner] = loads[owner] - lease.weight
    loads[me] = loads[me] + lease.weight
  end
  return take, ask
end

return M
