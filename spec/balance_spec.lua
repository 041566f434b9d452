-- Which leases workers take: decisions alone, on a fake clock and the memory store.
local balance = require "kinesis.worker.balance"
local memory = require "kinesis.store.memory"

local FAILOVER, CYCLE = 10, 10
local OPTIONS = { max_leases = 1e9, max_steal = 1e9 }

-- A generator of our own: the same everywhere.
local function random_of(seed)
  local state = seed
  return function(n)
    state = (state * 1103515245 + 12345) % 2147483648
    return math.floor(state / 65536) % n + 1
  end
end

-- Workers and their leases. Each worker renews what it has every third of FAILOVER, hands over what others have asked
-- for then, and takes once in each CYCLE, at a moment of its own.
local function new_world(seed, shards, options)
  local world = { options = options or OPTIONS, store = memory.new(), now = 0, workers = {}, random = random_of(seed),
    moved = 0, asked = 0, born = 0, keys = {} }
  for i = 1, shards do
    world.keys[i] = ("shard %04d"):format(i)
    world.store.create(world.keys[i], { counter = 0, checkpoint = "TRIM_HORIZON" })
  end
  world.rows = world.store.list() -- as they are now: a list for each look would be most of the work
  return world
end

local function add_worker(world, name)
  world.born = world.born + 1
  world.workers[name] = { name = name, leases = {}, renews = world.random(3), takes = world.now + world.random(CYCLE) }
end

local function one()
  return 1
end

local function look(world, worker)
  local list, rows = worker.leases, world.rows
  local weight_of = world.options.balance == "throughput" and balance.weights(rows) or one
  for i, key in ipairs(world.keys) do
    local row, lease = rows[key], list[i] or { key = key, ready = true }
    list[i] = lease
    if lease.counter ~= row.counter then
      lease.counter, lease.since = row.counter, world.now
    end
    local age = world.now - lease.since
    lease.owner, lease.wanted_by, lease.weight = row.owner, row.wanted_by, weight_of(row)
    lease.expired, lease.forgotten = row.owner == nil or age >= FAILOVER, row.owner ~= nil and age >= 3 * FAILOVER
  end
  return list
end

local function update(world, key, expected, changes)
  world.store.update(key, expected, changes)
  world.rows[key] = world.store.get(key)
end

local function take(world, worker)
  local takes, asks = balance.decide(look(world, worker), worker.name, world.options, world.random)
  for _, lease in ipairs(takes) do
    update(world, lease.key, lease, { owner = worker.name, counter = lease.counter + 1, wanted_by = false })
  end
  for _, lease in ipairs(asks) do
    world.asked = world.asked + 1
    update(world, lease.key, lease, { wanted_by = worker.name })
  end
end

local function renew(world, rows)
  for key, row in pairs(rows) do
    local changes = { counter = row.counter + 1 }
    if row.wanted_by then
      changes.owner, changes.wanted_by = row.wanted_by, false
      world.moved = world.moved + 1
    end
    update(world, key, row, changes)
  end
end

-- The rows of each worker.
local function rows_by_owner(rows)
  local by_owner = {}
  for key, row in pairs(rows) do
    if row.owner then
      by_owner[row.owner] = by_owner[row.owner] or {}
      by_owner[row.owner][key] = row
    end
  end
  return by_owner
end

local function sorted_names(world)
  local names = {}
  for name in pairs(world.workers) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function run(world, seconds)
  for _ = 1, seconds do
    world.now = world.now + 1
    local held, names = rows_by_owner(world.rows), sorted_names(world)
    for _, name in ipairs(names) do
      if world.now % 3 == world.workers[name].renews % 3 then
        renew(world, held[name] or {})
      end
    end
    for _, name in ipairs(names) do
      local worker = world.workers[name]
      if world.now >= worker.takes then
        worker.takes = worker.takes + CYCLE
        take(world, worker)
      end
    end
  end
end

-- The fewest and the most leases of a living worker, and how many leases have none.
local function spread(world)
  local counts, free = {}, 0
  for name in pairs(world.workers) do
    counts[name] = 0
  end
  for _, row in pairs(world.store.list()) do
    if counts[row.owner] then
      counts[row.owner] = counts[row.owner] + 1
    else
      free = free + 1
    end
  end
  local least, most = math.huge, 0
  for _, count in pairs(counts) do
    least, most = math.min(least, count), math.max(most, count)
  end
  return least, most, free
end

describe("balance", function()
  for _, case in ipairs { { 1, 10 }, { 2, 10 }, { 3, 10 }, { 4, 10 }, { 7, 5 }, { 8, 32 } } do
    it(("gives %d workers their parts of %d leases"):format(case[1], case[2]), function()
      local world = new_world(case[1], case[2])
      for i = 1, case[1] do
        add_worker(world, "worker " .. i)
      end
      run(world, 4 * CYCLE)
      local least, most, free = spread(world)
      assert.equal(0, free)
      assert.is_true(most - least <= 1, most .. " and " .. least)
      local moved = world.moved
      run(world, 3 * CYCLE)
      assert.equal(moved, world.moved, "a balanced fleet is at rest")
    end)
  end

  it("moves only a newcomer's part", function()
    local world = new_world(9, 100)
    for i = 1, 4 do
      add_worker(world, "worker " .. i)
    end
    run(world, 4 * CYCLE)
    local moved = world.moved
    add_worker(world, "newcomer")
    run(world, 3 * CYCLE)
    assert.same({ 20, 20, 0 }, { spread(world) })
    assert.equal(20, world.moved - moved)
  end)

  it("gives the leases of the dead to the others", function()
    local world = new_world(11, 100)
    for i = 1, 5 do
      add_worker(world, "worker " .. i)
    end
    run(world, 4 * CYCLE)
    world.workers["worker 2"] = nil
    run(world, FAILOVER + CYCLE + 1)
    local _, _, free = spread(world)
    assert.equal(0, free)
  end)

  it("asks for no more than max_steal, and holds no more than max_leases", function()
    local leases = {}
    for i = 1, 10 do
      leases[i] = { key = "l" .. i, owner = "other", counter = 1, ready = true, expired = false, weight = 1 }
    end
    local _, asks = balance.decide(leases, "me", { max_leases = 10, max_steal = 2 }, random_of(1))
    assert.equal(2, #asks)
    _, asks = balance.decide(leases, "me", { max_leases = 3, max_steal = 100 }, random_of(1))
    assert.equal(3, #asks)
    for i = 1, 10 do
      leases[i].owner, leases[i].expired = nil, true
    end
    local takes = balance.decide(leases, "me", { max_leases = 3, max_steal = 100 }, random_of(1))
    assert.equal(3, #takes)
  end)

  it("by throughput asks for what makes the most loaded worker lighter", function()
    local leases = {
      { key = "hot", owner = "a", weight = 900 }, { key = "a1", owner = "a", weight = 50 },
      { key = "a2", owner = "a", weight = 50 }, { key = "b1", owner = "b", weight = 10 },
    }
    for _, lease in ipairs(leases) do
      lease.counter, lease.ready, lease.expired = 1, true, false
    end
    local _, asks = balance.decide(leases, "b", OPTIONS, random_of(3))
    local keys = {}
    for i, lease in ipairs(asks) do
      keys[i] = lease.key
    end
    table.sort(keys)
    assert.same({ "a1", "a2" }, keys, "to move the hot one would only turn the imbalance around")
  end)

  it("weighs leases by throughput: those without a figure as the mean, and idle ones a little", function()
    local rows = { a = { throughput = 300 }, b = { throughput = 100 }, c = {}, d = { throughput = 0 },
      e = { throughput = 1e9, checkpoint = "SHARD_END" } }
    local weight_of = balance.weights(rows)
    assert.is_true(math.abs(weight_of(rows.c) - 1) < 1e-9)
    assert.is_true(weight_of(rows.a) > 2 and weight_of(rows.d) > 0 and weight_of(rows.d) < 0.2)
    assert.equal(1, balance.weights { f = { throughput = 0 } } { throughput = 0 })
    assert.equal(1, balance.weights { g = {} } {})
  end)

  -- The loads of the workers by throughput, and the lightest lease of each.
  local function loads_of(world)
    local loads, lightest, sum, count = {}, {}, 0, 0
    local rows = world.store.list()
    local weight_of = balance.weights(rows)
    for name in pairs(world.workers) do
      loads[name], count = 0, count + 1
    end
    for _, row in pairs(rows) do
      local weight = weight_of(row)
      loads[row.owner], sum = loads[row.owner] + weight, sum + weight
      lightest[row.owner] = math.min(lightest[row.owner] or math.huge, weight)
    end
    return loads, lightest, sum / count
  end

  for _, case in ipairs { { 2, 6 }, { 8, 100 }, { 16, 64 } } do
    it(("balances %d leases of unequal throughput between %d workers, then rests"):format(case[2], case[1]), function()
      local world = new_world(case[2], case[2], { max_leases = 1e9, max_steal = 1e9, balance = "throughput" })
      local function set(noise)
        for i, key in ipairs(world.keys) do
          local row = world.store.get(key)
          local throughput = 1e6 / i * (1 + noise * (world.random(2001) - 1001) / 1000)
          update(world, key, row, { throughput = throughput })
        end
      end
      set(0)
      for i = 1, case[1] do
        add_worker(world, ("worker %03d"):format(i))
      end
      run(world, 5 * CYCLE)
      local loads, lightest, mean = loads_of(world)
      local first, last
      for name in pairs(loads) do
        first = first and loads[first] >= loads[name] and first or name
        last = last and loads[last] <= loads[name] and last or name
      end
      assert.is_true(loads[first] - loads[last] < math.max(0.2 * mean, 2 * lightest[first]) + 1e-9,
        ("%s to %s"):format(loads[last], loads[first]))
      assert.is_true(world.moved <= 3 * case[2], world.moved .. " moved")
      local moved = world.moved
      run(world, 3 * CYCLE)
      assert.equal(moved, world.moved, "a balanced fleet is at rest")
      for _ = 1, 10 do
        set(0.05)
        run(world, CYCLE)
      end
      assert.is_true(world.moved - moved <= 2, "small changes move " .. world.moved - moved)
    end)
  end

  it("balances 1,000 leases between 100 workers that begin together within three cycles", function()
    local world = new_world(100, 1000)
    for i = 1, 100 do
      add_worker(world, ("worker %03d"):format(i))
    end
    run(world, 3 * CYCLE)
    local least, most, free = spread(world)
    assert.equal(0, free)
    assert.is_true(most - least <= 1, ("%d to %d; %d moved, %d asked"):format(least, most, world.moved, world.asked))
    -- each finds the others with their parts and takes its own from them: 1,000 (1/2 + 1/3 + … + 1/100)
    assert.is_true(world.moved <= 4190, world.moved .. " moved")
  end)

  it("keeps most leases read while a tenth of 100 workers dies and comes in each cycle", function()
    local world = new_world(5, 1000)
    for i = 1, 100 do
      add_worker(world, ("worker %03d"):format(i))
    end
    run(world, 3 * CYCLE)
    for _ = 1, 3 do
      local names = sorted_names(world)
      for _ = 1, 10 do
        world.workers[table.remove(names, world.random(#names))] = nil
        add_worker(world, ("late %03d"):format(world.born))
      end
      local moved = world.moved
      run(world, CYCLE)
      assert.is_true(world.moved - moved <= 400, world.moved - moved .. " moved in a cycle")
    end
    run(world, FAILOVER + 3 * CYCLE)
    local least, most, free = spread(world)
    assert.equal(0, free)
    assert.is_true(most - least <= 1, ("%d to %d"):format(least, most))
  end)
end)
