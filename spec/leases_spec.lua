-- The machine that renews leases, and stores of the user's.
local core = require "kinesis.core"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local leasing = require "support.leasing"
local memory = require "kinesis.store.memory"
local stores = require "support.stores"

local open = leasing.open

before_each(leasing.begin)
after_each(leasing.finish)

for name, make in pairs(stores) do
  describe("leases in the " .. name .. " store", function()
    local a, b

    before_each(function()
      local worker = make()
      a, b = worker "a", worker "b"
    end)

    it("lets one of many take a lease", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
      local row = a:get "s1"
      local won = 0
      kinesis.run(function()
        local taken = a:take("s1", row)
        won = won + (taken and 1 or 0)
      end, function()
        local taken = b:take("s1", row)
        won = won + (taken and 1 or 0)
      end)
      assert.equal(1, won)
    end)

    it("renews what is held, and tells of its loss", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
      assert.is_true(a:take("s1", a:get "s1"))
      fresh.eventually(function()
        a:poll()
        return b:get("s1").counter >= 4
      end)
      local row = b:get "s1"
      assert.equal("a", row.owner)
      fresh.eventually(function() -- its owner may renew in between
        row = b:get "s1"
        return b:take("s1", row)
      end)
      local event = fresh.eventually(function()
        return a:poll()[1]
      end)
      assert.equal("lost", event[1])
      assert.equal("s1", event[2])
      assert.equal("b", event[3].owner)
      assert.is_false((a:write("s1", { checkpoint = "9" })))
      assert.equal("5", b:get("s1").checkpoint)
    end)

    it("writes checkpoints between renewals, and releases", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
      assert.is_true(a:take("s1", a:get "s1"))
      for i = 1, 20 do
        assert.is_truthy(a:write("s1", { checkpoint = tostring(i), sub = i % 2 == 0 and i or false }))
      end
      assert.equal("20", b:get("s1").checkpoint)
      assert.equal(20, b:get("s1").sub)
      assert.is_truthy(a:release("s1", { checkpoint = "21", sub = false }))
      local row = b:get "s1"
      assert.is_nil(row.owner)
      assert.equal("21", row.checkpoint)
      assert.is_nil(row.sub)
      assert.is_false((a:write("s1", { checkpoint = "22" })))
      assert.same({}, a:poll())
    end)

    -- a holds a row with these fields, too, and b asks for it: what a is told.
    local function event_of_wish(row)
      row.counter, row.checkpoint = 0, "5"
      assert.is_true(a:create("s1", row))
      assert.is_true(a:take("s1", a:get "s1"))
      fresh.eventually(function()
        local seen = b:get "s1"
        a:poll()
        return b:update("s1", seen, { wanted_by = "b" })
      end)
      return fresh.eventually(function()
        return a:poll()[1]
      end)
    end

    it("tells the owner once who wants a lease, and hands it over", function()
      local event = event_of_wish {}
      assert.equal("wanted", event[1])
      assert.equal("b", event[3].wanted_by)
      assert.is_truthy(a:release("s1", { checkpoint = "6" }, "b"))
      local row = b:get "s1"
      assert.same({ "b", "6" }, { row.owner, row.checkpoint })
      assert.is_nil(row.wanted_by)
      assert.is_nil(row.kcl)
    end)

    it("tells of a row whose fields have names that JSON escapes", function()
      local odd = 'my "field" \\ \n'
      local event = event_of_wish { [odd] = 1 }
      assert.same({ "wanted", "s1", "b", 1 }, { event[1], event[2], event[3] and event[3].wanted_by,
        event[3] and event[3][odd] })
    end)

    it("counts to 2^53, and then from 0", function()
      assert.is_true(a:create("s1", { counter = 2 ^ 53 - 1, checkpoint = "5" }))
      assert.is_true(a:take("s1", a:get "s1"))
      local seen = { b:get("s1").counter }
      assert.is_true(seen[1] == 2 ^ 53)
      for i = 1, 3 do
        assert.is_truthy(a:write("s1", { checkpoint = tostring(i) }))
        seen[i] = b:get("s1").counter
      end
      assert.same({ 0, 1, 2 }, seen)
      assert.is_truthy(a:release("s1", {}))
      local row = b:get "s1"
      row.counter = 2 ^ 53
      assert.is_true(b:delete("s1", b:get "s1") and b:create("s1", row) and b:take("s1", row))
      assert.equal(0, a:get("s1").counter)
    end)

    it("answers more than 2^32 operations", function()
      a.number = 2 ^ 32 - 2
      for _ = 1, 4 do
        a.deadline = core.now() + 2
        assert.same({}, (a:list()))
      end
    end)

    it("tells of a row that was deleted", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
      assert.is_true(a:take("s1", a:get "s1"))
      assert.is_true(b:delete("s1", b:get "s1"))
      local event = fresh.eventually(function()
        return a:poll()[1]
      end)
      assert.same({ "lost", "s1", false }, event)
    end)
  end)
end

describe("a store of the user's", function()
  it("that raises or returns nothing fails the operation", function()
    local store = memory.new()
    local a = open { worker = "a", store = store }
    store.list = function()
      error "no connection"
    end
    local rows, err = a:list()
    assert.is_nil(rows)
    assert.matches("no connection", err.message)
    store.list = function() end
    rows, err = a:list()
    assert.is_nil(rows)
    assert.matches("returned nothing", err.message)
  end)

  it("that returns what no function of a store returns fails the operation", function()
    local store = memory.new()
    local a = open { worker = "a", store = store }
    for name, wrong in pairs { list = { true, 5, "rows", false }, get = { true, 5, "row" } } do
      for _, value in ipairs(wrong) do
        store[name] = function()
          return value
        end
        local result, err = a[name](a, "s1")
        assert.is_nil(result)
        assert.equal(("store.%s returned a %s"):format(name, type(value)), err.message)
        assert.is_true(err.retryable)
      end
    end
  end)

  it("that says that it will fail again ends the worker", function()
    local store = memory.new()
    local a = open { worker = "a", store = store }
    store.list = function()
      return nil, setmetatable({ retryable = false }, { __tostring = function() return "no such database" end })
    end
    local rows, err = a:list()
    assert.is_nil(rows)
    assert.matches("no such database", err.message)
    assert.is_false(err.retryable)
    local event = a:poll()[1]
    assert.same({ "fatal", err }, { event[1], event[3] })
  end)

  it("and rows that are not in order: they are left out, which is told once a minute, and the others go on", function()
    local cycle = { counter = 0, checkpoint = "5" }
    cycle.self = cycle
    local bad = {
      ["no `counter`"] = { checkpoint = "5" }, ["no `checkpoint`"] = { counter = 1 },
      ["`counter` is not an integer"] = { counter = "1", checkpoint = "5" },
      ["`counter` is not an integer from 0 to 2^53"] = { counter = 2 ^ 60, checkpoint = "5" },
      ["`checkpoint` is not a string"] = { counter = 0, checkpoint = 5 },
      ["`owner` is not a string"] = { counter = 0, checkpoint = "5", owner = 7 },
      ["`sub` is not"] = { counter = 0, checkpoint = "5", sub = "1" },
      ["`parents` is not a list of strings"] = { counter = 0, checkpoint = "5", parents = "p" },
      ["holds a function"] = { counter = 0, checkpoint = "5", more = print },
      ["holds a number that is infinite or none"] = { counter = 0, checkpoint = "5", more = { 0 / 0 } },
      ["holds tables that hold themselves"] = cycle,
      ["neither an object nor a list"] = { counter = 0, checkpoint = "5", more = { 1, x = 2 } },
      ["a key that is no string"] = { counter = 0, checkpoint = "5", [1] = 2 },
      ["not a table of fields"] = "row",
    }
    for problem, row in pairs(bad) do
      local store = memory.new()
      local a = open { worker = "a", store = store }
      assert.is_true(a:create("good", { counter = 0, checkpoint = "5" }))
      local list = store.list
      store.list = function()
        local rows = list()
        rows.bad, rows[5] = row, { counter = 0, checkpoint = "5" }
        return rows
      end
      store.get = function(key)
        return key == "bad" and row or list()[key] or false
      end
      for turn = 1, 2 do
        local rows = a:list()
        assert.same({ counter = 0, checkpoint = "5" }, rows.good)
        assert.same({ "bad" }, rows.bad.parents) -- it is never taken, and its children wait
        local events = {}
        for _, event in ipairs(a:poll()) do
          assert.equal("trouble", event[1])
          events[event[2]] = event[3].message
        end
        if turn == 1 then
          assert.is_truthy(events.bad:find(problem, 1, true), events.bad)
          assert.matches("key is no string", events["5"])
        else
          assert.same({}, events)
        end
      end
      local got, err = a:get "bad"
      assert.is_nil(got)
      local said = row == "row" and "store.get returned a string" or problem
      assert.is_truthy(err.message:find(said, 1, true), err.message)
      assert.is_truthy(a:take("good", (a:get "good")))
      assert.is_truthy(a:write("good", { checkpoint = "6" }))
    end
  end)

  it("with the nulls of cjson in its rows: those fields are absent", function()
    local null = require "cjson".null
    local store = memory.new()
    local a = open { worker = "a", store = store }
    store.list = function()
      return { s1 = { counter = 0, checkpoint = "5", owner = null, sub = null, more = null } }
    end
    assert.same({ s1 = { counter = 0, checkpoint = "5" } }, (a:list()))
    assert.same({}, a:poll())
  end)

  it("that fails for a while loses no lease, and that is told", function()
    local store = memory.new()
    local a = open { worker = "a", store = store }
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    assert.is_true(a:take("s1", a:get "s1"))
    local update = store.update
    store.update = function()
      return nil, "throttled"
    end
    local event = fresh.eventually(function()
      return a:poll()[1]
    end)
    assert.equal("trouble", event[1])
    assert.matches("throttled", event[3].message)
    store.update = update
    local counter = store.get("s1").counter
    fresh.eventually(function()
      a:poll()
      return store.get("s1").counter > counter
    end)
    assert.is_truthy(a:write("s1", { checkpoint = "6" }))
  end)

  it("that refuses an update, and cannot say then what the row is: that is no loss", function()
    local store = memory.new()
    local a = open { worker = "a", store = store }
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    assert.is_true(a:take("s1", a:get "s1"))
    local update, get, lost = store.update, store.get, nil
    store.update = function(...)
      update(...)
      store.update = update
      store.get = function()
        store.get = get
        return nil, "throttled"
      end
      return nil, "no answer" -- but it was done, and the next one is refused
    end
    assert.is_nil((a:write("s1", { checkpoint = "6" })))
    fresh.eventually(function()
      lost = a:poll()[1] or lost
      return lost or store.get == get
    end)
    assert.is_nil(lost)
    assert.is_truthy(a:write("s1", { checkpoint = "7" }))
  end)

  it("that fails a release ends the holding", function()
    local store = memory.new()
    local a = open { worker = "a", store = store }
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    assert.is_true(a:take("s1", a:get "s1"))
    local update = store.update
    store.update = function()
      return nil, "throttled"
    end
    assert.is_nil((a:release("s1", { checkpoint = "6" })))
    store.update = update
    assert.is_true(a:take("s1", a:get "s1"))
  end)

  it("that waits is asked one question at a time", function()
    local store = memory.new()
    local a = open { worker = "a", store = store }
    local create, calls = store.create, {}
    store.create = function(key, row)
      calls[#calls + 1] = key
      kinesis.sleep(0.05)
      return create(key, row)
    end
    local made = {}
    kinesis.run(function()
      made[1] = a:create("s1", { counter = 0 })
    end, function()
      made[2] = a:create("s2", { counter = 0 })
    end)
    assert.same({ true, true }, made)
    table.sort(calls)
    assert.same({ "s1", "s2" }, calls)
  end)

  it("is not asked after its client was closed", function()
    local a = open { worker = "a", store = memory.new(), failover = 1 }
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    assert.is_true(a:take("s1", a:get "s1"))
    os.execute "sleep 0.6"
    leasing.client.core:drain({}, nil) -- a renewal has arrived
    leasing.client:close()
    assert.same({}, a:poll())
  end)
end)
