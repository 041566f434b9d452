-- The stores of leases by their one contract, and the machine that renews leases.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local leases = require "kinesis.worker.leases"
local memory = require "kinesis.store.memory"

local FAILOVER = 1.5

local client, folder, opened

local function open(options)
  options.failover = options.failover or FAILOVER
  local made = assert(leases.open(client, options))
  opened[#opened + 1] = made
  return made
end

-- In a new folder, which is not there yet.
local function in_file(worker)
  return open { worker = worker, folder = folder, application = "counter" }
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

before_each(function()
  client = fresh.client("http://127.0.0.1:1")
  folder = fresh.folder {} .. "/state/kinesis"
  opened = {}
end)

after_each(function()
  for _, each in ipairs(opened) do
    each:close()
  end
  client:close()
end)

local STORES = {
  memory = function()
    local store = memory.new()
    return function(worker)
      return open { worker = worker, store = store }
    end
  end,
  file = function()
    return in_file
  end,
}

for name, make in pairs(STORES) do
  describe("the " .. name .. " store", function()
    local a, b

    before_each(function()
      local worker = make()
      a, b = worker "a", worker "b"
    end)

    it("lists, gets, creates and deletes", function()
      assert.same({}, a:list())
      assert.is_false((a:get "s1"))
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "TRIM_HORIZON", parents = { "p1", "p2" } }))
      assert.is_false((b:create("s1", { counter = 7 })))
      assert.is_true(b:create("s2", { counter = 0, checkpoint = 'a "quoted" \\ name\n' }))
      local rows = a:list()
      assert.same({ counter = 0, checkpoint = "TRIM_HORIZON", parents = { "p1", "p2" } }, rows.s1)
      assert.equal('a "quoted" \\ name\n', rows.s2.checkpoint)
      assert.same(rows.s1, (b:get "s1"))
      assert.is_true(b:delete "s1")
      assert.is_false((a:delete "s1"))
      assert.is_false((a:get "s1"))
    end)

    it("updates a row that is as expected", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5", strange = { deep = { 1, 2 } } }))
      assert.is_truthy(a:update("s1", { counter = 0 }, { owner = "a", counter = 1 }))
      local others = { { counter = 0 }, { counter = 1 }, { counter = 0, owner = "a" }, { counter = 1, owner = "b" } }
      for _, expected in ipairs(others) do
        assert.is_false((b:update("s1", expected, { owner = "b" })))
      end
      assert.is_truthy(b:update("s1", { counter = 1, owner = "a" }, { owner = false, counter = 2, checkpoint = "6" }))
      assert.same({ counter = 2, checkpoint = "6", strange = { deep = { 1, 2 } } }, (a:get "s1"))
      assert.is_false((a:update("s2", { counter = 0 }, { owner = "a" })))
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

    it("tells the owner once who wants a lease, and hands it over", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
      assert.is_true(a:take("s1", a:get "s1"))
      fresh.eventually(function()
        local row = b:get "s1"
        a:poll()
        return b:update("s1", row, { wanted_by = "b" })
      end)
      local event = fresh.eventually(function()
        return a:poll()[1]
      end)
      assert.equal("wanted", event[1])
      assert.equal("b", event[3].wanted_by)
      assert.is_truthy(a:release("s1", { checkpoint = "6" }, "b"))
      local row = b:get "s1"
      assert.same({ "b", "6" }, { row.owner, row.checkpoint })
      assert.is_nil(row.wanted_by)
    end)

    it("tells of a row that was deleted", function()
      assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
      assert.is_true(a:take("s1", a:get "s1"))
      assert.is_true(b:delete "s1")
      local event = fresh.eventually(function()
        return a:poll()[1]
      end)
      assert.same({ "lost", "s1", false }, event)
    end)
  end)
end

describe("the file store", function()
  it("keeps leases while the user's code is busy", function()
    local a, b = in_file "a", in_file "b"
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    assert.is_true(a:take("s1", a:get "s1"))
    local path = folder .. "/counter.json"
    local counter = 0
    fresh.eventually(function() -- reads the file itself: nothing drains the client
      counter = tonumber(read(path):match '"counter":(%d+)')
      return counter >= 5
    end)
    assert.is_true(b:get("s1").counter >= 5)
  end)

  it("knows the living from the dead", function()
    local a = in_file "a"
    assert.is_true(a:is_alive "a")
    assert.is_false(a:is_alive "b")
    local b = in_file "b"
    assert.is_true(a:is_alive "b")
    b:close()
    fresh.eventually(function()
      return not a:is_alive "b"
    end)
    assert.is_false(a:is_alive "../counter.json")
  end)

  it("gives its leases up when it is closed, or left to the collector", function()
    local a, b = in_file "a", in_file "b"
    for i = 1, 3 do
      assert.is_true(a:create("s" .. i, { counter = 0, checkpoint = "5" }))
      assert.is_true(a:take("s" .. i, a:get("s" .. i)))
    end
    a:close()
    fresh.eventually(function()
      local rows = b:list()
      return not (rows.s1.owner or rows.s2.owner or rows.s3.owner)
    end)
    assert.is_true(b:get("s1").counter >= 2)
  end)

  it("refuses what is no table of its version, and leaves it as it is", function()
    local path = folder .. "/counter.json"
    local a = in_file "a"
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    local good = read(path)
    for text, message in pairs {
      [good:sub(1, -4)] = "only a part",
      [""] = "only a part",
      ["hello"] = "no table of leases",
      [good:gsub('"version":1', '"version":2', 1)] = "later version",
    } do
      write(path, text)
      local rows, err = a:list()
      assert.is_nil(rows)
      assert.equal("LeaseStore", err.code)
      assert.matches(message, err.message)
      assert.is_nil((a:create("s2", { counter = 0 })))
      assert.equal(text, read(path))
    end
    write(path, good)
    assert.equal("5", a:get("s1").checkpoint)
  end)

  it("sees a new file that has the inode of an older one", function()
    local path = folder .. "/counter.json"
    local a = in_file "a"
    assert.is_true(a:create("s1", { counter = 0, checkpoint = "5" }))
    local text = read(path):gsub('"5"', '"6"')
    for i = 1, 10 do -- ext4 gives the inode of the replaced file to the next one
      write(path .. ".other", i % 2 == 0 and text or text:gsub('"6"', '"7"'))
      os.execute(("touch -r '%s' '%s.other' && mv '%s.other' '%s'"):format(path, path, path, path))
      if i % 2 == 0 then
        assert.equal("6", a:get("s1").checkpoint)
      end
    end
    a:list()
    for i = 1, 10 do
      write(path .. ".other", text:gsub('"6"', ('"%d"'):format(i % 10)))
      os.execute(("touch -r '%s' '%s.other' && mv '%s.other' '%s'"):format(path, path, path, path))
      if i % 2 == 0 then
        assert.equal(tostring(i % 10), a:get("s1").checkpoint)
      end
    end
  end)

  it("says why it cannot be used", function()
    local options = { worker = "a", folder = "/proc/here", application = "counter", failover = 1 }
    local handle, err = leases.open(client, options)
    assert.is_nil(handle)
    assert.matches("^/proc/here: .*set the option `path`", err.message)
  end)
end)

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
    client.core:drain({}, nil) -- a renewal has arrived
    client:close()
    assert.same({}, a:poll())
  end)
end)
