-- What every store of leases does, whatever is behind it: kinesis.Store (kinesis.store.memory) says the same in words.
-- The worker speaks to all of them through kinesis.worker.leases.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local leasing = require "support.leasing"
local stores = require "support.stores"

before_each(leasing.begin)
after_each(leasing.finish)

local SEQUENCE = "49590338271490256608559692538361571095921575989136588898"

for name, make in pairs(stores) do
  describe("the contract of the " .. name .. " store:", function()
    local a, b

    before_each(function()
      local worker = make()
      a, b = worker "a", worker "b"
    end)

    it("what one worker creates, all list and get; what is not there is false", function()
      assert.same({}, (a:list()))
      assert.is_false((a:get "s1"))
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "TRIM_HORIZON", parents = { "p1", "p2" } }))
      assert.is_true(b:create("s2", { counter = 0, checkpoint = "5" }))
      local rows = a:list()
      assert.same({ counter = 0, checkpoint = "TRIM_HORIZON", parents = { "p1", "p2" } }, rows.s1)
      assert.same({ counter = 0, checkpoint = "5" }, rows.s2)
      assert.same(rows.s1, (b:get "s1"))
    end)

    it("what is there is not created again, and stays as it is", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
      assert.is_false((b:create("s1", { counter = 7, checkpoint = "6" })))
      assert.same({ counter = 0, checkpoint = "5" }, (b:get "s1"))
    end)

    it("what is not as expected is not deleted", function()
      assert.is_true(a:create("s1", { counter = 3, checkpoint = "5", owner = "x" }))
      assert.is_false((b:delete("s1", { counter = 2, owner = "x" })))
      assert.is_false((b:delete("s1", { counter = 3, owner = "y" })))
      assert.is_false((b:delete("s1", { counter = 3 })))
      assert.same({ counter = 3, checkpoint = "5", owner = "x" }, (a:get "s1"))
    end)

    it("what is deleted is gone, and may be created again", function()
      local row = { counter = 3, checkpoint = "5", owner = "x" }
      assert.is_false((a:delete("s1", row)))
      assert.is_true(a:create("s1", row))
      assert.is_true(b:delete("s1", row))
      assert.is_false((a:delete("s1", row)))
      assert.is_false((a:get "s1"))
      assert.is_true(b:create("s1", { counter = 0, checkpoint = "6" }))
      assert.same({ counter = 0, checkpoint = "6" }, (a:get "s1"))
    end)

    it("a row is updated when its counter and owner are those expected, else it stays as it is", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
      for _, expected in ipairs { { counter = 1 }, { counter = 0, owner = "a" } } do
        assert.is_false((b:update("s1", expected, { owner = "b", counter = 9 })))
      end
      assert.is_truthy(a:update("s1", { counter = 0 }, { owner = "a", counter = 1 }))
      for _, expected in ipairs { { counter = 0 }, { counter = 1 }, { counter = 0, owner = "a" },
        { counter = 1, owner = "b" }, { counter = 2, owner = "a" } } do
        local updated, row = b:update("s1", expected, { owner = "b", counter = 9 })
        assert.is_false(updated)
        assert.same({ counter = 1, checkpoint = "5", owner = "a" }, row)
      end
      assert.is_false((a:update("s2", { counter = 0 }, { owner = "a" })))
      assert.is_false((a:get "s2"))
    end)

    it("a change to false removes the field; fields that are not named stay, whatever they are", function()
      local strange = { deep = { 1, 2, { yes = true } }, text = "ä\t\"\\\n", number = 1.5 }
      assert.is_true(a:create("s1", { counter = 0, checkpoint = SEQUENCE, sub = 4, owner = "x", strange = strange }))
      assert.is_truthy(b:update("s1", { counter = 0, owner = "x" }, { owner = false, sub = false, wanted_by = false,
        counter = 1 }))
      assert.same({ counter = 1, checkpoint = SEQUENCE, strange = strange }, (a:get "s1"))
    end)

    it("keys and texts are any text; a counter may be large", function()
      local key = "us-east-1:clicks:shardId-000000000001 \"ü\""
      local large = 2 ^ 53 - 1
      assert.is_true(a:create(key, { counter = large - 1, checkpoint = 'a "quoted" \\ name\n', owner = "h-1-\"x\"" }))
      assert.is_truthy(b:update(key, { counter = large - 1, owner = "h-1-\"x\"" }, { counter = large }))
      local row = (a:list())[key]
      assert.is_true(row.counter == large)
      assert.equal('a "quoted" \\ name\n', row.checkpoint)
    end)

    it("what was listed is a copy", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5", parents = { "p" } }))
      local rows = a:list()
      rows.s1.checkpoint, rows.s1.parents[1], rows.s2 = "6", "q", {}
      assert.same({ s1 = { counter = 0, checkpoint = "5", parents = { "p" } } }, (a:list()))
    end)

    it("of several that change a row at the same time, one succeeds", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
      local won, made = 0, 0
      local function race(worker)
        return function()
          for i = 0, 9 do
            local created = worker:create("t" .. i, { counter = 0, checkpoint = "5" })
            local updated = worker:update("s1", { counter = i }, { counter = i + 1 })
            made, won = made + (created and 1 or 0), won + (updated and 1 or 0)
            fresh.eventually(function()
              return worker:get("s1").counter > i
            end)
          end
        end
      end
      kinesis.run(race(a), race(b))
      assert.same({ 10, 10 }, { won, made })
      assert.equal(10, a:get("s1").counter)
    end)
  end)
end
