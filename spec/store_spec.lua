-- What every store of leases does, whatever is behind it: kinesis.Store (kinesis.store.memory) says the same in words.
-- The worker speaks to all of them through kinesis.worker.leases.
local cjson = require "cjson"
local dynamodb = require "support.dynamodb"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local leasing = require "support.leasing"
local memory = require "kinesis.store.memory"

before_each(leasing.begin)
after_each(leasing.finish)

local function over(store)
  return function(worker)
    return leasing.open { worker = worker, store = store }
  end
end

-- A table of functions over a dictionary of strings, as ngx.shared is one.
local function of_strings()
  local texts, store = {}, {}
  function store.get(key)
    return texts[key] and cjson.decode(texts[key]) or false
  end
  function store.list()
    local rows = {}
    for key in pairs(texts) do
      rows[key] = store.get(key)
    end
    return rows
  end
  function store.create(key, row)
    local is_new = texts[key] == nil
    texts[key] = texts[key] or cjson.encode(row)
    return is_new
  end
  function store.update(key, expected, changes)
    local row = store.get(key)
    if not row or row.counter ~= expected.counter or row.owner ~= expected.owner then
      return false
    end
    for name, value in pairs(changes) do
      row[name] = value or nil
    end
    texts[key] = cjson.encode(row)
    return true
  end
  function store.delete(key)
    local was = texts[key] ~= nil
    texts[key] = nil
    return was
  end
  return store
end

-- Its functions wait before they do something, as those of a database do.
local function that_waits()
  local store = memory.new()
  for name, f in pairs(store) do
    store[name] = function(...)
      kinesis.sleep(0.001)
      return f(...)
    end
  end
  return store
end

-- In a table of DynamoDB, whose keys are of one stream, and whose rows are complete for the Kinesis Client Library.
local function in_dynamodb()
  local opened = dynamodb.ready(dynamodb.open(leasing.client, fresh.name "counter", { "clicks" }))
  local prefix = dynamodb.source("clicks").prefix
  local function inner(key)
    return key:sub(1, #prefix) == prefix and key or prefix .. key
  end
  local function bare(key)
    return key:find '"' and key or key:sub(#prefix + 1)
  end
  local function shown(row)
    if type(row) == "table" then
      row.owner_switches = row.owner_switches ~= 0 and row.owner_switches or nil
      for i, parent in ipairs(row.parents or {}) do
        row.parents[i] = bare(parent)
      end
    end
    return row
  end
  return function(worker)
    local held, store = dynamodb.leases(leasing.client, opened, worker), {}
    for _, name in ipairs { "get", "create", "update", "delete" } do
      store[name] = function(_, key, ...)
        local result, more = held[name](held, inner(key), ...)
        return shown(result), more
      end
    end
    function store.list()
      local rows = {}
      for key, row in pairs(assert(held:list())) do
        rows[bare(key)] = shown(row)
      end
      return rows
    end
    return store
  end
end

local STORES = { -- name -> function() -> function(worker) -> the leases of a worker in a new store
  memory = function() return over(memory.new()) end,
  file = function() return leasing.in_file end,
  dynamodb = in_dynamodb,
  ["table of functions"] = function() return over(of_strings()) end,
  ["table of functions that wait"] = function() return over(that_waits()) end,
}

local SEQUENCE = "49590338271490256608559692538361571095921575989136588898"

for name, make in pairs(STORES) do
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

    it("what is deleted is gone, and may be created again", function()
      assert.is_false((a:delete "s1"))
      assert.is_true(a:create("s1", { counter = 3, checkpoint = "5", owner = "x" }))
      assert.is_true(b:delete "s1")
      assert.is_false((a:delete "s1"))
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
        assert.is_false((b:update("s1", expected, { owner = "b", counter = 9 })))
      end
      assert.same({ counter = 1, checkpoint = "5", owner = "a" }, (b:get "s1"))
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
      local large = 99999999999999 -- cjson writes 14 digits
      assert.is_true(a:create(key, { counter = large - 1, checkpoint = 'a "quoted" \\ name\n', owner = "h-1-\"x\"" }))
      assert.is_truthy(b:update(key, { counter = large - 1, owner = "h-1-\"x\"" }, { counter = large }))
      local row = (a:list())[key]
      assert.equal(large, row.counter)
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
