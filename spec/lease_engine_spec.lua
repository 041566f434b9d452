-- The machine of a worker's leases on a stepped engine, with a store in Lua.
-- Flavours: *lua5.4
local fresh = require "support.fresh"
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

it("changes of a large table in a file are written together: four times a second, not for each of them", function()
  local engine = stepping.engine {}
  local leases = engine:leases { owner = "a", folder = fresh.folder {} .. "/leases" }
  local function create(number, size)
    leases:submit { number = number, kind = "create", key = "s" .. number,
      changes = ('{"counter":0,"checkpoint":"%s"}'):format(("5"):rep(size)) }
  end
  local function done()
    local numbers = {}
    engine:step()
    for _, number, outcome in leases.next, leases do
      assert.equal("done", outcome)
      numbers[#numbers + 1] = number
      leases:pass()
    end
    return numbers
  end
  create(1, 10)
  assert.same({ 1 }, done())
  create(2, 300000)
  assert.same({ 2 }, done()) -- it was small
  create(3, 1)
  assert.same({}, done())
  create(4, 1)
  engine:advance(0.24)
  assert.same({}, done())
  engine:advance(0.02)
  assert.same({ 3, 4 }, done())
  create(5, 1)
  leases:submit { number = 6, kind = "get", key = "s4" }
  assert.same({ 6 }, done())
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

describe("a write that the next renewal carries", function()
  local engine, leases

  before_each(function()
    engine = stepping.engine {}
    leases = take(engine)
  end)

  local function submit(number, use, changes)
    leases:submit { number = number, use = use, kind = "update", key = "s", changes = changes }
    engine:step()
  end

  -- Answers what the store is asked to change, and returns that.
  local function changed(counter)
    local _, _, _, _, _, changes = leases:next()
    leases:answer("done", ('{"owner":"a","counter":%d}'):format(counter))
    engine:step()
    return changes
  end

  local function expect_done(number)
    local _, found, outcome = leases:next()
    assert.same({ number, "done" }, { found, outcome })
    leases:pass()
  end

  it("needs no request of its own", function()
    submit(2, "carry", '{"checkpoint":"5"}')
    assert.is_nil((leases:next()))
    engine:advance(FAILOVER / 3)
    engine:step()
    assert.equal('{"checkpoint":"5","counter":3}', changed(3))
    expect_done(2)
    assert.is_nil((leases:next()))
    engine:advance(0.9 * FAILOVER / 3)
    engine:step()
    assert.is_nil((leases:next())) -- it was the renewal
    engine:advance(0.1 * FAILOVER / 3)
    engine:step()
    assert.equal('{"counter":4}', changed(4))
  end)

  it("is not sent behind a renewal that was underway", function()
    engine:advance(FAILOVER / 3)
    engine:step()
    submit(2, "carry", '{"checkpoint":"5"}')
    assert.equal('{"counter":3}', changed(3))
    assert.is_nil((leases:next()))
    engine:advance(FAILOVER / 3)
    engine:step()
    assert.equal('{"checkpoint":"5","counter":4}', changed(4))
    expect_done(2)
  end)

  it("is sent before those that are sent at once, such as a release", function()
    submit(2, "carry", '{"checkpoint":"5"}')
    submit(3, "write", '{"checkpoint":"6"}')
    assert.equal('{"checkpoint":"5","counter":3}', changed(3))
    expect_done(2)
    assert.equal('{"checkpoint":"6","counter":4}', changed(4))
    expect_done(3)
    submit(4, "carry", '{"checkpoint":"7"}')
    submit(5, "release", '{"owner":false}')
    assert.equal('{"checkpoint":"7","counter":5}', changed(5))
    expect_done(4)
    assert.equal('{"owner":false,"counter":6}', changed(6))
    expect_done(5)
  end)

  it("is not sent behind the renewal that carries another one", function()
    submit(2, "carry", '{"throughput":5}')
    submit(3, "carry", '{"checkpoint":"5"}')
    engine:advance(FAILOVER / 3)
    engine:step()
    assert.equal('{"throughput":5,"counter":3}', changed(3))
    expect_done(2)
    submit(4, "carry", '{"checkpoint":"6"}')
    assert.equal('{"checkpoint":"5","counter":4}', changed(4))
    expect_done(3)
    assert.is_nil((leases:next())) -- it came behind the renewal
  end)

  it("is refused with the lease, and fails with the renewal", function()
    submit(2, "carry", '{"checkpoint":"5"}')
    engine:advance(FAILOVER / 3)
    engine:step()
    assert.equal("question", (leases:next()))
    leases:answer("failed", "no connection")
    engine:step()
    local _, number, outcome, message = leases:next()
    assert.same({ 2, "failed", "no connection" }, { number, outcome, message })
    leases:pass()
    engine:advance(FAILOVER / 3)
    engine:step()
    submit(3, "carry", '{"checkpoint":"5"}')
    assert.equal("question", (leases:next()))
    leases:answer("refused", '{"owner":"b","counter":9}')
    engine:step()
    assert.equal("lost", (leases:next()))
    leases:pass()
    _, number, outcome = leases:next()
    assert.same({ 3, "refused" }, { number, outcome })
  end)
end)
