-- Every order in which two workers and their store can do what they do to one lease: real workers and machines, on a
-- fake clock, over the memory store. After each step: at most one worker may deliver records, the checkpoint has not
-- gone back, it was written by the owner of the lease, and each record was handed to the owner. From each state: when
-- everything goes on as it should, a worker is handed a record.
-- Flavours: *lua5.4 *luajit
local lease_world = require "support.lease_world"
local memory = require "kinesis.store.memory"

local DEPTH = os.getenv "SPEC_FULL" and 4 or 2
local GOES_ON_WITHIN = 4 * lease_world.FAILOVER + 8 -- seconds

-- Where the enumeration begins.
local BEGINNINGS = {
  ["a new application"] = {},
  ["a worker that has processed a record"] = { "A ok", "B ok", "A record" },
  ["a checkpoint whose answer is slow"] = { "A ok", "B ok", "A record", "A apply" },
  ["a renewal that is underway"] = { "A ok", "B ok", "A record", "A ok", "time" },
  ["a lease that was asked for"] = { "A ok", "B ok", "B ask", "B ok", "time" },
  ["an owner that does not hear of that"] = { "A ok", "B ok", "A record", "A ok", "time", "A ok", "B ask", "B ok",
    "time" },
  ["a lease that is handed over"] = { "A ok", "B ok", "B ask", "B ok", "time", "A ok", "A record" },
  ["an owner that has slept for too long"] = { "A ok", "B ok", "A record", "long A sleeps" },
  ["an owner that was killed"] = { "A ok", "B ok", "A record", "A ok", "A kill", "time" },
}

-- The same where the next renewal carries a checkpoint.
local CARRYING = {
  ["a checkpoint that waits for a renewal"] = { "A ok", "B ok", "A record" },
  ["a renewal that carries a checkpoint"] = { "A ok", "B ok", "A record", "time" },
  ["a lease that is asked for while a checkpoint waits"] = { "A ok", "B ok", "A record", "B ask", "B ok" },
}

-- What has to have been done to the row by then.
local DONE = { "taken", "taken again", "stolen", "renewed", "checkpointed", "asked for", "handed over", "released",
  "refused" }

local counts

setup(function()
  counts = lease_world.install()
end)

teardown(function()
  lease_world.restore()
  lease_world.close()
end)

local function path_of(node)
  local path = {}
  while node.action do
    table.insert(path, 1, node.action)
    node = node.before
  end
  return path
end

-- Does all that has led to a state again, in a new world.
local function replay(node, faults_of)
  lease_world.new(faults_of and faults_of())
  for _, action in ipairs(path_of(node)) do
    lease_world.act(action)
  end
end

-- Does all that leads to a state, and lets everything go on. Returns what may happen in the state; nil: it was seen.
local function visit(node, seen, faults_of)
  replay(node, faults_of)
  local state = lease_world.state()
  if seen[state] then
    return nil
  end
  seen[state] = true
  local actions = lease_world.actions()
  if not lease_world.goes_on(GOES_ON_WITHIN) then
    error({ violation = "nobody takes the lease any more" }, 0)
  end
  return actions
end

-- Tries everything that can happen, up to `depth` steps behind `first`, the actions before. Returns how many different
-- states there are, and how many steps were tried; nil and the first violation.
local function enumerate(first, depth, faults_of)
  local node = { depth = 0 }
  for _, action in ipairs(first) do
    node = { before = node, action = action, depth = 0 }
  end
  local nodes, seen, states, at = { node }, {}, 0, 1
  while nodes[at] do
    node = nodes[at]
    local good, actions = pcall(visit, node, seen, faults_of)
    if not good then
      local problem = type(actions) == "table" and actions.violation or tostring(actions)
      return nil, table.concat(path_of(node), "; ") .. ": " .. problem
    end
    states = states + (actions and 1 or 0)
    for _, action in ipairs(node.depth < depth and actions or {}) do
      nodes[#nodes + 1] = { before = node, action = action, depth = node.depth + 1 }
    end
    nodes[at], at = false, at + 1
  end
  return states, at - 1
end

describe("no order breaks a rule, beginning with", function()
  local function expect_none(name, first, faults_of)
    it(name, function()
      local states, steps = enumerate(first, DEPTH, faults_of)
      assert.is_truthy(states, steps)
      print(("    %d steps from %s: %d states in %d tries"):format(DEPTH, name, states, steps))
      assert.is_true(states > 50, states .. " states")
    end)
  end

  for name, first in pairs(BEGINNINGS) do
    expect_none(name, first)
  end
  for name, first in pairs(CARRYING) do
    expect_none(name, first, function()
      return { carrying = true }
    end)
  end

  it("and everything was done to the row", function()
    for _, name in ipairs(DONE) do
      assert.is_true((counts[name] or 0) > 0, name)
    end
  end)
end)

-- What the rules are there to find.
local FAULTS = {
  ["a store that ignores what an update expects"] = { "may deliver records", { "A ok" }, function()
    local rows = memory.new()
    local update = rows.update
    function rows.update(key, _, changes)
      return update(key, rows.get(key) or {}, changes)
    end
    return { rows = rows }
  end },
  ["a store that loses checkpoints"] = { "went back", { "A ok", "A record", "A ok", "A record" }, function()
    local rows = memory.new()
    local update, written = rows.update, 0
    function rows.update(key, expected, changes)
      if changes.checkpoint then
        written = written + 1
        changes.checkpoint = written == 2 and "1000" or changes.checkpoint
      end
      return update(key, expected, changes)
    end
    return { rows = rows }
  end },
  ["leases that are valid for too long"] = { "may deliver records",
    { "A ok", "B ok", "A record", "A ok", "long" }, function()
    return { machine_failover = 3 * lease_world.FAILOVER }
  end },
  ["leases that never expire"] = { "nobody takes the lease", { "A ok", "A record" }, function()
    return { failover = math.huge, machine_failover = lease_world.FAILOVER }
  end },
}

describe("the rules find", function()
  for name, fault in pairs(FAULTS) do
    it(name, function()
      local states, problem = enumerate(fault[2], DEPTH, fault[3])
      assert.is_nil(states)
      assert.matches(fault[1], problem)
    end)
  end
end)
