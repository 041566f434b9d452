-- The machine of a worker's leases on a stepped engine, with a store in Lua.
-- Flavours: *lua5.4
local stepping = require "support.stepping"

local FAILOVER = 3

after_each(stepping.close_all)

-- Answers the question of the machine: the update is done, and the row is then as given.
local function answer(engine, leases, row)
  engine:step()
  assert.equal("question", (leases:next()))
  leases:answer("done", row)
  engine:step()
end

-- A lease that was taken; `renew` lets its next renewal be answered.
local function take(engine)
  local leases = engine:leases { owner = "a", failover = FAILOVER }
  local _, validity = leases:submit { number = 1, use = "take", kind = "update", key = "s", counter = 1,
    changes = '{"owner":"a","counter":2}' }
  local counter = 2
  answer(engine, leases, '{"owner":"a","counter":2}')
  assert.equal("done", (leases:next()))
  leases:pass()
  return leases, validity, function(more)
    engine:advance(FAILOVER / 3)
    counter = counter + 1
    answer(engine, leases, ('{"owner":"a","counter":%d%s}'):format(counter, more or ""))
  end
end

it("a lease that another worker asks for is not valid any more: that one may take it soon", function()
  local leases, validity, renew = take(stepping.engine {})
  assert.is_true(validity:holds())
  renew()
  assert.is_true(validity:holds())
  renew ',"wanted_by":"b"'
  assert.is_false(validity:holds())
  local event, key = leases:next()
  assert.same({ "wanted", "s" }, { event, key })
  leases:pass()
  renew ',"wanted_by":"b"'
  assert.is_false(validity:holds())
  assert.is_nil((leases:next()))
  renew()
  assert.is_true(validity:holds())
end)

it("a lease that null asks for is valid: a JSON library may write that for a field that is absent", function()
  local leases, validity, renew = take(stepping.engine {})
  renew ',"wanted_by":null'
  assert.is_true(validity:holds())
  assert.is_nil((leases:next()))
end)

it("a lease is valid from the sending of its last renewal", function()
  local engine = stepping.engine {}
  local _, validity, renew = take(engine)
  renew()
  assert.is_true(validity:holds(0.89 * FAILOVER))
  assert.is_false(validity:holds(0.91 * FAILOVER))
  engine:advance(FAILOVER / 3)
  engine:step() -- it is sent, and answered later
  engine:advance(1)
  assert.is_false(validity:holds(0.9 * FAILOVER - 2 + 0.1))
end)
