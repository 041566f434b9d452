-- How fast a shard is written: guessed limits, and debts of bytes.
-- Flavours: *lua5.4
local producing = require "support.producing"
local stepping = require "support.stepping"

local open, ready, settle_map = producing.open, producing.ready, producing.settle_map
local put, results, entries_of = producing.put, producing.results, producing.entries_of

after_each(producing.close_all)

local REFUSED = stepping.error "AccessDeniedException"
local THROTTLED = "ProvisionedThroughputExceededException"

-- Runs for some seconds, with a record every `every` seconds, if given; verdict(entry) is that of results(). Returns
-- the number of records that were sent.
local function run(engine, producer, seconds, every, verdict)
  local sent = 0
  for _ = 1, every and seconds / every or 1 do
    if every then
      put(producer, "x")
    end
    stepping.serve(engine, every or seconds, function(request)
      if request.operation == "PutRecords" then
        sent = sent + #entries_of(request)
        return results(request, verdict)
      end
      return REFUSED
    end)
  end
  return sent
end

local function throttle()
  return THROTTLED
end

local function unpredicted()
  local engine, producer = open { linger = 0, aggregate = 1 }
  settle_map(engine, REFUSED)
  return engine, producer
end

describe("a limit that was guessed", function()
  it("is guessed again when the service throttles after an idle time", function()
    local engine, producer = unpredicted()
    run(engine, producer, 10, 0.02)
    put(producer, "x")
    run(engine, producer, 0.01, nil, throttle)
    run(engine, producer, 300, 1)
    for i = 1, 2000 do
      put(producer, "y" .. i)
    end
    run(engine, producer, 1, nil, throttle) -- at least once, for all of them
    local sent = run(engine, producer, 10, nil, throttle)
    assert.is_true(sent < 200, ("%d records in 10 s"):format(sent))
  end)

  it("grows when the service no longer throttles", function()
    local engine, producer = unpredicted()
    run(engine, producer, 10, 0.05)
    put(producer, "x")
    run(engine, producer, 0.01, nil, throttle)
    for i = 1, 3000 do
      put(producer, "y" .. i)
    end
    run(engine, producer, 60)
    assert.equal(0, producer:stats().open)
  end)
end)

it("a debt of bytes is paid at the current rate, not at the rate when it was made", function()
  local engine, producer = ready({ linger = 0, aggregate = 1, max_bytes = 64 * 1048576 },
    producing.summary ',"MaxRecordSizeInKiB":10240')
  engine:randoms(0)
  local throttled = 0
  put(producer, "small")
  while throttled < 10 do -- to a share of 0.03
    stepping.serve(engine, 0.001, function(request)
      throttled = throttled + 1
      return results(request, throttled < 10 and throttle or nil)
    end)
  end
  put(producer, ("x"):rep(10 * 1048576 - 3))
  run(engine, producer, 1)
  assert.equal(0, producer:stats().open)
  put(producer, "behind it")
  run(engine, producer, 16)
  assert.equal(0, producer:stats().open)
end)
