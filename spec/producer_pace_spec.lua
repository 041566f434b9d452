-- A producer whose machine falls behind makes callers wait that can; one whose service is slow does not.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local producing = require "support.producing"

local ready, requests, results, QUARTERS = producing.ready, producing.requests, producing.results, producing.QUARTERS

-- Puts `count` records and returns the last result.
local function put_many(producer, count, data)
  local answer
  for i = 1, count do
    answer = producer:put(data or "record " .. i, "key", QUARTERS[1])
  end
  return answer
end

describe("a producer in the engine", function()
  after_each(producing.close_all)

  it("is behind when more than four requests' worth of records wait for it", function()
    local _, producer = ready { batch_records = 10 }
    assert.equal("taken", put_many(producer, 40))
    assert.equal("behind", put_many(producer, 1))
    assert.is_true(producer:is_behind())
  end)

  it("is behind when more than four requests' worth of bytes wait for it", function()
    local _, producer = ready { batch_bytes = 1000 }
    assert.equal("taken", put_many(producer, 4, ("x"):rep(900)))
    assert.equal("behind", put_many(producer, 1, ("x"):rep(900)))
  end)

  it("tells Lua when it has caught up", function()
    local engine, producer = ready { batch_records = 10, aggregate = 1 }
    put_many(producer, 41)
    assert.is_true(producer:is_behind())
    engine:messages()
    engine:step()
    assert.equal(1, #engine:messages())
    assert.is_false(producer:is_behind())
    assert.equal("taken", put_many(producer, 1))
  end)

  it("sends no signal when Lua does not wait", function()
    local engine, producer = ready { batch_records = 10, aggregate = 1 }
    put_many(producer, 41)
    engine:messages()
    engine:step()
    assert.equal(0, #engine:messages())
  end)

  it("is not behind while the service is: all requests are in flight, and more records are ready", function()
    local engine, producer = ready { batch_records = 10, parallel = 2, linger = 0 }
    while #requests(engine) < 2 do
      put_many(producer, 10)
    end
    local waits = 0
    for _ = 1, 200 do
      waits = waits + (put_many(producer, 10) == "behind" and 1 or 0)
      engine:step()
    end
    assert.equal(0, waits)
    assert.equal(2, #requests(engine))
    for _, request in ipairs(requests(engine)) do
      engine:answer(request, results(request))
    end
  end)

  it("is not behind when it has ended", function()
    local engine, producer = ready { batch_records = 10 }
    put_many(producer, 41)
    producer:remove()
    engine:step()
    assert.is_false(producer:is_behind())
    assert.equal("closed", put_many(producer, 1))
  end)
end)

describe("a script that puts faster than its producer can send", function()
  local client, stream

  before_each(function()
    client = fresh.client(fresh.services[2])
    stream = fresh.stream(client, 1)
  end)

  after_each(function()
    client:close()
  end)

  -- How often the script waited during these puts.
  local function waits_of(given, puts)
    given.batch_records, given.linger = 1, 0
    local producer = assert(client:producer(stream, given))
    local core, waits = producer.core, 0
    producer.core = setmetatable({}, { __index = function(_, verb)
      waits = waits + (verb == "is_behind" and 1 or 0)
      return function(_, ...)
        return core[verb](core, ...)
      end
    end })
    for i = 1, puts do
      assert(producer:put("record " .. i))
    end
    assert(producer:close())
    assert.equal(puts, producer:stats().stored)
    return waits
  end

  it("waits now and then until it has caught up, and loses nothing", function()
    assert.is_true(waits_of({}, 300) > 0)
  end)

  it("goes on when the signal had come before it began to wait", function()
    local producer = assert(client:producer(stream, { batch_records = 1, linger = 0 }))
    assert(producer:send "first")
    repeat until producer:stats().open == 0
    client.core:drain {} -- as when a handler of another producer puts, in the middle of a drain
    for i = 1, 100 do
      assert(producer:put("record " .. i))
    end
    assert(producer:close())
  end)

  it("does not wait in a function that C calls, where it cannot yield", function()
    local producer = assert(client:producer(stream, { batch_records = 1, linger = 0 }))
    local refused
    kinesis.run(function()
      string.gsub(("x"):rep(100), ".", function(x)
        assert(producer:put(x))
      end)
      refused = select(2, pcall(string.gsub, "x", "x", function()
        kinesis.sleep(0.001)
      end))
      assert(producer:flush())
    end)
    assert.matches("string.gsub", refused, 1, true)
    assert.equal(100, producer:stats().stored)
    assert(producer:close())
  end)

  it("does not wait with the option when_full set to refuse", function()
    assert.equal(0, waits_of({ when_full = "refuse" }, 300))
  end)
end)
