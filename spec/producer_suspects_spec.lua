-- A request that was refused for its content: the bad record is found by bisection, whatever else waits.
-- Flavours: *lua5.4
local cjson = require "cjson"
local producing = require "support.producing"
local stepping = require "support.stepping"

local ready, put, users_of, results = producing.ready, producing.put, producing.users_of, producing.results

after_each(producing.close_all)

local function wrong_in(request)
  for _, data in ipairs(users_of(request)) do
    if data:match "^wrong" then
      return true
    end
  end
end

-- Serves until all records are complete; each time that a bad one is sent again, others are put that could be sent with
-- it. Returns the number of records in each refused request.
local function search(options, quarter)
  local engine, producer = ready(options)
  for i = 1, 8 do
    put(producer, i == 5 and "wrong" or "right " .. i, quarter or i % 4 + 1)
  end
  local sizes, fresh = {}, 0
  stepping.serve(engine, 60, function(request)
    for _ = 1, fresh < 400 and 40 or 0 do
      fresh = fresh + 1
      put(producer, "fresh " .. fresh, quarter or fresh % 4 + 1)
    end
    if wrong_in(request) then
      sizes[#sizes + 1] = #users_of(request)
      return stepping.error "ValidationException"
    end
    return results(request)
  end)
  assert.equal(0, producer:stats().open)
  assert.equal("wrong", producer:collect()[1].data)
  assert.equal(1, producer:stats().failed)
  return sizes
end

describe("a record of a refused request", function()
  local function assert_halves(sizes)
    assert.equal(1, sizes[#sizes])
    for i = 2, #sizes do
      assert.is_true(sizes[i] <= sizes[i - 1] / 2, table.concat(sizes, " "))
    end
  end

  it("is sent with ever fewer others, though more records wait", function()
    assert_halves(search { linger = 0, aggregate = 1 })
  end)

  it("is sent with ever fewer others in an aggregate, too", function()
    assert_halves(search({ linger = 0 }, 1))
  end)

  -- Four records were refused together, so that at most two may share a request; before they are sent again, others are
  -- put. Returns the most records that were in a request with one of them.
  local function most_company(options, others)
    options.linger, options.parallel = 0, 1
    local engine, producer = ready(options)
    for i = 1, 4 do
      put(producer, "suspect " .. i, i == 1 and 1 or 2)
    end
    local request = producing.only(engine)
    others(producer)
    stepping.land(engine, request, stepping.error "ValidationException")
    local most = 0
    stepping.serve(engine, 10, function(one)
      local list = users_of(one)
      for _, data in ipairs(list) do
        most = data:match "^suspect" and math.max(most, #list) or most
      end
      return results(one)
    end)
    assert.equal(0, producer:stats().open)
    return most
  end

  it("limits the whole request, also where it is not the first record", function()
    assert.equal(2, most_company({ aggregate = 1 }, function(producer)
      put(producer, "first", 3)
      for i = 1, 50 do
        put(producer, "fresh " .. i, 1)
      end
    end))
  end)

  it("limits the aggregate that it is in", function()
    assert.equal(2, most_company({}, function(producer)
      for i = 1, 50 do
        put(producer, "fresh " .. i, 1)
      end
    end))
  end)
end)

describe("an aggregate that is refused for its content, beside HTTP 200", function()
  it("is sent in halves, until the bad record is alone; an entry that is refused for other reasons fails", function()
    for code, failed in pairs { InvalidArgumentException = 1, KMSDisabledException = 8 } do
      local engine, producer = ready { linger = 0.1 }
      for i = 1, 8 do
        put(producer, i == 5 and "wrong" or "right " .. i, 1)
      end
      stepping.serve(engine, 10, function(request)
        return results(request, function(entry)
          return wrong_in { body = cjson.encode { Records = { entry } } } and code or nil
        end)
      end)
      local stats = producer:stats()
      assert.same({ 8 - failed, failed, 0 }, { stats.stored, stats.failed, stats.open })
    end
  end)
end)
