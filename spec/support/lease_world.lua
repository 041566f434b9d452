--- Two workers, one lease, a store and a clock, all in the hands of a spec (stepped_workers.lua). Updates of the store
--- stay underway until the spec delivers them; the records of readers never end.
local balance = require "kinesis.worker.balance"
local memory = require "kinesis.store.memory"
local stepped = require "support.stepped_workers"
local stepping = require "support.stepping"
local wait = require "kinesis.wait"

local M = {}

M.FAILOVER = 3 -- seconds
local FIRST = 1000 -- sequence number before the first record

local world -- the one that exists now
local counts -- of what was done to the row in all worlds, by name

-- ---- the store ----

local function fail(format, ...)
  error({ violation = format:format(...) }, 0)
end

local function sequence(row)
  return row and tonumber(row.checkpoint) or FIRST
end

-- What an update is: the name under which it is counted.
local function name_of(op, before, result)
  local changes = op.changes
  if not result then
    return "refused"
  elseif changes.owner and op.expected.owner == op.id then
    return changes.owner == op.id and "taken again" or "handed over"
  elseif changes.owner then
    return before.owner and "stolen" or "taken"
  elseif changes.owner == false then
    return "released"
  elseif changes.wanted_by then
    return "asked for"
  end
  return changes.checkpoint and "checkpointed" or "renewed"
end

-- Applies an update that has reached the store, and checks what it does.
local function apply(op)
  local before = world.rows.get(op.key)
  local result = world.rows.update(op.key, op.expected, op.changes)
  local after = world.rows.get(op.key)
  local name = name_of(op, before, result)
  counts[name] = (counts[name] or 0) + 1
  if result and op.changes.checkpoint then
    if sequence(after) < sequence(before) then
      fail("the checkpoint went back from %s to %s", before.checkpoint, after.checkpoint)
    elseif before.owner ~= op.id then
      fail("%s wrote a checkpoint, but %s has the lease", op.id, tostring(before.owner))
    end
  end
  return result
end

-- The store of one worker: updates wait for the spec, everything else is done at once.
local function store_of(one)
  local store = {}
  for name, f in pairs(world.rows) do
    store[name] = f
  end
  function store.update(key, expected, changes)
    local op = { key = key, expected = expected, changes = changes, id = one.id }
    one.underway = op
    while not op.answered do
      coroutine.yield { id = op }
    end
    one.underway = nil
    return op.result, op.problem
  end
  return store
end

-- ---- stubs ----

local function open_reader(_, _, _, options)
  local at = options.from == "trim_horizon" and FIRST or tonumber(options.from.after)
  return stepped.reader(function()
    at = at + 1
    return { sequence_number = tostring(at), data = "" }
  end)
end

local SHARDS = { { id = "shard", starting_hash_key = "0", ending_hash_key = "1" } }

-- Chance would make each state a new one; looks are evenly spread.
local function no_chance(most)
  return most and 1 or 0
end

local decide = balance.decide

--- Puts the stubs in, until `restore`.
---@return table<string, integer> counts of what was done to rows from now on
function M.install()
  counts = {}
  stepped.install(SHARDS, open_reader, no_chance)
  -- with one lease no worker has too many: a worker asks for it when the spec wants that
  balance.decide = function(seen, me, ...)
    local lease = seen[1]
    if world.asks == me and lease and not lease.expired and lease.owner ~= me and not lease.wanted_by then
      world.asks = nil
      return {}, { lease }
    end
    return decide(seen, me, ...)
  end
  return counts
end

function M.restore()
  stepped.restore()
  balance.decide = decide
end

-- ---- a worker ----

local OPTIONS = { failover = M.FAILOVER, take_interval = 1, handoff_timeout = 1, stop_timeout = 1,
  checkpoint_interval = 0 }
local CARRYING = { failover = M.FAILOVER, take_interval = 1, handoff_timeout = 1, stop_timeout = 1,
  checkpoint_interval = M.FAILOVER / 3 }

-- The handler of its records, which is busy until the spec lets it return.
local function handle(one, record)
  local row = world.row()
  local key = next(world.rows.list())
  if not row or row.owner ~= one.id then
    fail("%s was handed record %s, but %s has the lease", one.id, record.sequence_number,
      row and tostring(row.owner) or "no row")
  elseif not one.worker.leases:is_valid(key) then
    fail("%s was handed record %s, but its lease was over", one.id, record.sequence_number)
  end
  local item = { record = record }
  one.in_hand, world.handed = item, world.handed + 1
  while not item.done do
    coroutine.yield { id = item }
  end
  one.in_hand = nil
end

local function start(name, engine)
  world.born = world.born + 1
  local one = { name = name, id = name .. world.born, engine = engine, lost = 0,
    options = world.carrying and CARRYING or OPTIONS, failover = world.failover,
    machine_failover = world.machine_failover }
  one.store = store_of(one)
  function one.handler(record)
    handle(one, record)
  end
  return stepped.start(one)
end

-- ---- the world ----

local engines

--- Makes a new world. `faults`: what is wrong in it: rows, its store, by default the memory store; failover of the
--- workers; machine_failover, that of their machines. `carrying`: renewals carry the checkpoints.
function M.new(faults)
  faults = faults or {}
  engines = engines or { A = stepping.engine {}, B = stepping.engine {} }
  for _, one in pairs(world and world.workers or {}) do
    one.machine:remove()
    one.engine:step()
  end
  stepped.now = 1e6
  world = { rows = faults.rows or memory.new(), born = 0, handed = 0, workers = {},
    failover = faults.failover, machine_failover = faults.machine_failover, carrying = faults.carrying }
  function world.row()
    return select(2, next(world.rows.list()))
  end
  for _, name in ipairs { "A", "B" } do
    world.workers[name] = start(name, engines[name])
    stepped.run(world.workers[name])
  end
  return world
end

--- Closes the engines.
function M.close()
  world, engines = nil, nil
  stepping.close_all()
end

local function answer(one, result, problem)
  local op = one.underway
  op.answered, op.result, op.problem = true, result, problem
  one.lost = result == nil and one.lost + 1 or 0
  stepped.run(one)
end

local function pass(seconds, paused)
  for _ = 1, seconds do
    stepped.now = stepped.now + 1
    for _, name in ipairs { "A", "B" } do
      local one = world.workers[name]
      one.engine:advance(1)
      if name ~= paused then
        stepped.run(one)
      end
    end
  end
end

local LONG = M.FAILOVER + 1

-- What may happen to one worker: whether it can happen now, and what it does.
local EVENTS = {
  { "ok", function(one) -- its update reaches the store, and the answer comes back
    return one.underway
  end, function(one)
    local op = one.underway
    if not op.applied then
      op.outcome = apply(op)
    end
    answer(one, op.outcome)
  end },
  { "apply", function(one) -- the update reaches the store; its answer is slow
    return one.underway and not one.underway.applied
  end, function(one)
    one.underway.outcome, one.underway.applied = apply(one.underway), true
  end },
  { "lost", function(one) -- it does, but the answer is lost
    return one.underway and one.lost < 2
  end, function(one)
    if not one.underway.applied then
      apply(one.underway)
    end
    answer(one, nil, "timeout")
  end },
  { "late", function(one) -- it is given up, and may reach the store later
    return one.underway and not one.underway.applied and not one.air and one.lost < 2
  end, function(one)
    one.air = one.underway
    answer(one, nil, "timeout")
  end },
  { "air", function(one)
    return one.air
  end, function(one)
    local op = one.air
    one.air = nil
    apply(op)
  end },
  { "record", function(one)
    return one.in_hand
  end, function(one)
    one.in_hand.done = true
    stepped.run(one)
  end },
  { "ask", function(one)
    local row = world.row()
    return row and row.owner and row.owner ~= one.id and not world.asks and not row.wanted_by
  end, function(one)
    world.asks, one.worker.look_at = one.id, stepped.now
    wait.wake(one.worker.client, one.handle)
    stepped.run(one)
  end },
  { "stop", function(one)
    return not one.worker.stopping
  end, function(one)
    one.worker:stop()
    wait.wake(one.worker.client, one.handle)
    stepped.run(one)
  end },
  { "kill", function(one)
    return next(one.worker.processors) or one.over
  end, function(one)
    local air = one.air or one.underway
    one.machine:remove()
    one.engine:step()
    world.workers[one.name] = start(one.name, one.engine)
    world.workers[one.name].air = air and not air.applied and air or nil
    stepped.run(world.workers[one.name])
  end },
}

local by_name = {}
for _, event in ipairs(EVENTS) do
  by_name[event[1]] = event
end

-- Time passes for both, or for all but a worker that is paused.
local TIMES = { { "time" }, { "long" }, { "time A sleeps", "A" }, { "time B sleeps", "B" }, { "long A sleeps", "A" },
  { "long B sleeps", "B" } }
local times = {}
for _, each in ipairs(TIMES) do
  times[each[1]] = each
end

--- What may happen next.
---@return string[]
function M.actions()
  local list = {}
  for _, name in ipairs { "A", "B" } do
    local one = world.workers[name]
    for _, event in ipairs(EVENTS) do
      if event[2](one) then
        list[#list + 1] = name .. " " .. event[1]
      end
    end
  end
  for _, each in ipairs(TIMES) do
    list[#list + 1] = each[1]
  end
  return list
end

-- At most one worker may deliver records at a time.
local function check()
  local first
  for _, name in ipairs { "A", "B" } do
    local one = world.workers[name]
    for key, processor in pairs(one.worker.processors) do
      if not processor.ending and one.worker.leases:is_valid(key) then
        if first then
          fail("both %s and %s may deliver records", first, one.id)
        end
        first = one.id
      end
    end
  end
end

--- Lets one thing happen; raises {violation=} when that breaks a rule.
---@param action string of `actions`
function M.act(action)
  local time = times[action]
  if time then
    pass(action:find "long" and LONG or 1, time[2])
  else
    local name, event = action:match "^(%u) (%l+)$"
    by_name[event][3](world.workers[name])
  end
  check()
end

--- Lets everything go on as it should; returns whether one of the workers is handed a record within `seconds`.
function M.goes_on(seconds)
  local before = world.handed
  for _, one in pairs(world.workers) do
    one.air = nil
  end
  for _ = 1, seconds do
    for _ = 1, 20 do
      local busy = false
      for _, name in ipairs { "A", "B" } do
        local one = world.workers[name]
        local event = one.over and "kill" or one.underway and "ok" or one.in_hand and "record"
        if event and world.handed == before then
          by_name[event][3](one)
          busy = true
        end
      end
      if not busy then
        break
      end
    end
    if world.handed > before then
      return true
    end
    pass(1)
  end
  return false
end

-- ---- states ----

local function relative(value)
  return value and ("%.2f"):format(value - stepped.now) or ""
end

local function describe_row(row, base)
  return row and ("%s,%d,%s,%s"):format(tostring(row.owner), row.counter - base.counter,
    sequence(row) - sequence(base), tostring(row.wanted_by)) or "none"
end

local function describe_op(op, base)
  return op and ("%s,%d,%s,%s,%s,%s,%s"):format(tostring(op.expected.owner), op.expected.counter - base.counter,
    tostring(op.changes.owner), tostring(op.changes.wanted_by), op.changes.checkpoint
      and sequence(op.changes) - sequence(base), tostring(op.applied), tostring(op.outcome)) or ""
end

-- Adds the lines at which a coroutine stands.
local function place_of(thread, parts)
  local level = 0
  local info = debug.getinfo(thread, level, "l")
  while info do
    parts[#parts + 1] = info.currentline
    level = level + 1
    info = debug.getinfo(thread, level, "l")
  end
end

local function describe_worker(one, base)
  local worker = one.worker
  local parts = { relative(worker.look_at), tostring(worker.stopping), tostring(one.over), one.lost,
    describe_op(one.underway, base), describe_op(one.air, base),
    one.in_hand and sequence { checkpoint = one.in_hand.record.sequence_number } - sequence(base) or "",
    tostring((one.engine:step())) }
  for key, processor in pairs(worker.processors) do
    parts[#parts + 1] = ("%s,%s,%s,%s,%s"):format(tostring(processor.ending), tostring(processor.to),
      relative(processor.checkpoint_due), tostring(worker.leases:is_valid(key)),
      processor.tracker.seq and processor.tracker.seq - sequence(base) or "")
  end
  for key, validity in pairs(worker.leases.validity) do
    for seconds = 0, LONG do
      parts[#parts + 1] = validity:holds(seconds) and "1" or "0"
    end
    local seen = worker.seen[key]
    parts[#parts + 1] = key
    parts[#parts + 1] = seen and ("%d,%s,%s,%s"):format(seen.counter - base.counter, tostring(seen.owner),
      relative(seen.since), relative(seen.asked_at)) or ""
    parts[#parts + 1] = describe_row(worker.rows[key], base)
  end
  for _, task in ipairs(one.tasks) do
    place_of(task.thread, parts)
    parts[#parts + 1] = relative(task.waits.deadline)
  end
  return table.concat(parts, ";")
end

--- What the future depends on, as a string: counters and positions relative to those of the row, times to now.
function M.state()
  local base = world.row() or { counter = 0 }
  return table.concat({ describe_row(base, base), tostring(world.asks), describe_worker(world.workers.A, base),
    describe_worker(world.workers.B, base) }, "|")
end

return M
