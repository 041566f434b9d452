-- What a new shard map leaves as it was, and which answers make none.
local producing = require "support.producing"
local stepping = require "support.stepping"

local open, settle_map, requests = producing.open, producing.settle_map, producing.requests
local put, results, entries_of = producing.put, producing.results, producing.entries_of

after_each(producing.close_all)

local REFUSED = stepping.error "AccessDeniedException"

-- Without a map, which the service will not tell.
local function unpredicted(options, description)
  local engine, producer = open(options)
  settle_map(engine, REFUSED, description)
  return engine, producer
end

local function store(engine, producer, data)
  put(producer, data)
  for _, request in ipairs(requests(engine)) do
    if request.operation == "PutRecords" then
      stepping.land(engine, request, results(request))
    end
  end
end

describe("where the map is refused", function()
  it("counts only rise, however often it is asked for again", function()
    local engine, producer = unpredicted { linger = 0 }
    for i = 1, 3 do
      store(engine, producer, "r" .. i)
      engine:advance(31)
      store(engine, producer, "again " .. i)
      settle_map(engine, REFUSED)
      assert.equal(i + 1, producer:stats().map_refreshes)
      assert.same({ [""] = 2 * i }, producer:stats().shards)
    end
  end)

  it("what throttling has taught is not forgotten by asking again", function()
    local engine, producer = unpredicted { linger = 0 }
    store(engine, producer, "a")
    engine:advance(31)
    for i = 1, 200 do
      put(producer, "b" .. i)
    end
    local request
    for _, one in ipairs(requests(engine)) do
      request = one.operation == "PutRecords" and one or request
    end
    assert.equal(200, #entries_of(request))
    stepping.land(engine, request, results(request, function(_, i)
      return i > 10 and "ProvisionedThroughputExceededException" or nil
    end))
    settle_map(engine, REFUSED)
    local sent = 0
    stepping.serve(engine, 0.1, function(one)
      sent = sent + #entries_of(one)
      return results(one)
    end)
    assert.is_true(sent < 100, ("%d records at once"):format(sent))
  end)

  it("what is under way counts as before", function()
    local engine, producer = unpredicted { linger = 0, ordered = true }
    store(engine, producer, "a")
    engine:advance(31)
    put(producer, "b")
    local list, under_way = requests(engine), nil
    for _, request in ipairs(list) do
      if request.operation == "PutRecords" then
        under_way = request
      else
        engine:answer(request, request.operation == "ListShards" and REFUSED or producing.summary())
      end
    end
    put(producer, "c")
    assert.same({ under_way.id }, { requests(engine)[1].id })
    stepping.land(engine, under_way, results(under_way))
    local request = producing.only(engine)
    assert.same({ "c" }, producing.users_of(request))
  end)
end)
