-- What a new shard map keeps of the former one, and which answers make no map.
-- Flavours: *lua5.4
local producing = require "support.producing"
local stepping = require "support.stepping"

local open, settle_map, requests = producing.open, producing.settle_map, producing.requests
local put, results, entries_of = producing.put, producing.results, producing.entries_of

after_each(producing.close_all)

local REFUSED = stepping.error "AccessDeniedException"

-- A producer without a map: the service refuses to list the shards.
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

describe("when the service refuses the map", function()
  it("counts only grow, however often it is requested again", function()
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

  it("the limiter keeps its state when the map is requested again", function()
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

  it("entries in flight count as before", function()
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

describe("an installed map", function()
  -- The map is requested again, as a record was stored in an unknown shard.
  local function doubted(options, description)
    local engine, producer = producing.ready(options, description)
    put(producer, ("x"):rep(2 * 1048576), 1)
    local request = producing.only(engine)
    stepping.land(engine, request, results(request, function()
      return { shard = "nobody-knows" }
    end))
    engine:advance(2)
    return engine, producer
  end

  local LARGE = producing.summary ',"MaxRecordSizeInKiB":10240'
  local OPTIONS = { linger = 0, max_bytes = 64 * 1048576 }

  local function put_large(engine, producer)
    put(producer, ("y"):rep(2 * 1048576), 2)
    engine:step()
    assert.same({}, producer:collect())
    local count = 0
    for id in pairs(producer:stats().shards) do
      assert.matches("^shard%-%d$", id)
      count = count + 1
    end
    assert.equal(4, count)
  end

  it("keeps the largest record size when an answer is malformed", function()
    local engine, producer = doubted(OPTIONS, LARGE)
    settle_map(engine, nil, { body = "<html>" })
    put_large(engine, producer)
    assert.equal(1, producer:stats().map_refreshes)
  end)

  for _, code in ipairs { "ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException" } do
    it("is kept when the credentials are refused: " .. code, function()
      local engine, producer = doubted(OPTIONS, LARGE)
      settle_map(engine, stepping.error(code), stepping.error(code))
      put_large(engine, producer)
      assert.equal(1, producer:stats().map_refreshes)
    end)
  end

  it("is kept when there are no credentials", function()
    local engine, producer = open(OPTIONS, { keyless = true })
    engine:credentials("AKID", "secret", "token", stepping.NEW_YEAR + 100)
    settle_map(engine, nil, LARGE)
    put(producer, "a")
    local request = producing.only(engine)
    stepping.land(engine, request, results(request, function()
      return { shard = "nobody-knows" }
    end))
    engine:advance(200)
    engine:step()
    engine:credentials_failed "none today"
    engine:step()
    put_large(engine, producer)
  end)

  it("is kept when a page token has expired, and requested again from the first page", function()
    local engine, producer = doubted(OPTIONS, LARGE)
    settle_map(engine, producing.shard_list({ producing.FOUR[1] }, "more"), LARGE)
    stepping.land(engine, producing.only(engine), stepping.error "ExpiredNextTokenException")
    put_large(engine, producer)
    engine:advance(2)
    local asked = {}
    for _, request in ipairs(requests(engine)) do
      asked[request.operation] = request.body
    end
    assert.matches("StreamName", asked.ListShards, 1, true)
  end)

  it("is dropped when the service refuses to list the shards", function()
    local engine, producer = doubted(OPTIONS, LARGE)
    settle_map(engine, REFUSED, REFUSED)
    assert.equal(2, producer:stats().map_refreshes)
    assert.equal(0, producer:stats().shards[""])
  end)
end)

describe("a list of shards that is not whole", function()
  local shard, ENDS, QUARTERS, FOUR = producing.shard, producing.ENDS, producing.QUARTERS, producing.FOUR

  -- Puts three records in each quarter; returns how many entries are sent for the records of each.
  local function entries_of_quarters(engine, producer)
    for quarter = 1, 4 do
      for i = 1, 3 do
        put(producer, quarter .. " " .. i, quarter)
      end
    end
    local counts = { 0, 0, 0, 0 }
    local request = producing.only(engine)
    for _, entry in ipairs(entries_of(request)) do
      local quarter = producing.quarter_of(producing.hash_of(entry))
      counts[quarter] = counts[quarter] + 1
    end
    stepping.land(engine, request, results(request))
    return counts
  end

  local function listed(...)
    local engine, producer = open { linger = 0.1 }
    settle_map(engine, producing.shard_list { ... })
    engine:advance(0.01)
    return engine, producer
  end

  local LEFT, RIGHT = shard("left", "0", ENDS[2]), shard("right", QUARTERS[3], ENDS[4])

  it("with parents beside their children: their records are sent alone, the others are aggregated", function()
    local engine, producer = listed(LEFT, FOUR[1], FOUR[2], FOUR[3], FOUR[4])
    producer:flush()
    assert.same({ 3, 3, 1, 1 }, entries_of_quarters(engine, producer))
  end)

  it("with two splits side by side: all records are sent alone, and to their shards", function()
    local engine, producer = listed(LEFT, FOUR[2], RIGHT, FOUR[1], FOUR[4], FOUR[3])
    producer:flush()
    assert.same({ 3, 3, 3, 3 }, entries_of_quarters(engine, producer))
    local shards = producer:stats().shards
    assert.same({ 3, 3, 0 }, { shards["shard-1"], shards["shard-4"], shards.left })
  end)

  it("with one of two children: the records of the parent, and of the shard behind the gap, are sent alone", function()
    local engine, producer = listed(LEFT, FOUR[1], FOUR[3], FOUR[4])
    producer:flush()
    assert.same({ 3, 3, 3, 1 }, entries_of_quarters(engine, producer))
  end)

  for what, list in pairs {
    ["at the beginning"] = { FOUR[2], FOUR[3], FOUR[4] }, ["in the middle"] = { FOUR[1], FOUR[3], FOUR[4] },
    ["at the end"] = { FOUR[1], FOUR[2], FOUR[3] },
  } do
    it(("with a gap %s: nothing is aggregated across it"):format(what), function()
      local engine, producer = listed((table.unpack or unpack)(list))
      producer:flush()
      local counts = entries_of_quarters(engine, producer)
      local alone = 0
      for _, count in ipairs(counts) do
        alone = alone + (count == 3 and 1 or 0)
      end
      assert.equal(2, alone)
    end)
  end

  it("without an open shard, as of a stream that is being made: it is asked for again", function()
    local engine, producer = listed()
    local asked = 0
    stepping.serve(engine, 5, function(request)
      if request.operation ~= "ListShards" then
        return producing.summary()
      end
      asked = asked + 1
      return producing.shard_list(asked == 1 and {} or FOUR)
    end)
    assert.equal(2, asked)
    producer:flush()
    assert.same({ 1, 1, 1, 1 }, entries_of_quarters(engine, producer))
  end)

  it("with page tokens in a circle: it is given up, and asked for again later", function()
    local engine, producer = open { linger = 0 }
    local pages = 0
    stepping.serve(engine, 0.5, function(request)
      if request.operation == "DescribeStreamSummary" then
        return producing.summary()
      end
      pages = pages + 1
      return producing.shard_list({ FOUR[pages % 4 + 1] }, "token-" .. pages % 3)
    end)
    assert.equal(4, pages)
    assert.equal(0, producer:stats().map_refreshes)
    engine:advance(1)
    settle_map(engine)
    assert.equal(1, producer:stats().map_refreshes)
  end)

  it("with a new page token for ever: it is given up after 50 pages without a new shard", function()
    local engine, producer = open { linger = 0 }
    local pages = 0
    stepping.serve(engine, 0.5, function(request)
      if request.operation == "DescribeStreamSummary" then
        return producing.summary()
      end
      pages = pages + 1
      assert.is_true(pages <= 100)
      return producing.shard_list({ FOUR[pages % 4 + 1] }, "token-" .. pages)
    end)
    assert.equal(4 + 50, pages)
    assert.equal(0, producer:stats().map_refreshes)
    producing.put(producer, "a")
    engine:advance(1)
    settle_map(engine)
    assert.equal(1, producer:stats().map_refreshes)
  end)

  it("with shards that are named on two pages: they are its shards once", function()
    local engine, producer = open { linger = 0.1 }
    local pages = 0
    stepping.serve(engine, 0.5, function(request)
      if request.operation == "DescribeStreamSummary" then
        return producing.summary()
      end
      pages = pages + 1
      return producing.shard_list(FOUR, pages < 60 and pages % 2 == 1 and "token-" .. pages or nil)
    end)
    assert.equal(2, pages)
    assert.equal(1, producer:stats().map_refreshes)
    assert.is_nil(engine:step())
    producer:flush()
    assert.same({ 1, 1, 1, 1 }, entries_of_quarters(engine, producer))
  end)

  it("is asked for again after 1, 2, 4 … 30 seconds, until it is whole", function()
    local engine, producer = listed(LEFT, FOUR[1], FOUR[2], FOUR[3], FOUR[4])
    local times, began = {}, engine:now()
    stepping.serve(engine, 100, function(request)
      if request.operation == "DescribeStreamSummary" then
        return producing.summary()
      end
      times[#times + 1] = math.floor(engine:now() - began + 0.5)
      return producing.shard_list { LEFT, FOUR[1], FOUR[2], FOUR[3], FOUR[4] }
    end)
    assert.same({ 1, 3, 7, 15, 31, 61, 91 }, times)
    stepping.serve(engine, 100, function(request)
      return request.operation == "ListShards" and producing.shard_list(FOUR) or producing.summary()
    end)
    assert.equal(9, producer:stats().map_refreshes)
    producer:flush()
    assert.same({ 1, 1, 1, 1 }, entries_of_quarters(engine, producer))
    assert.is_nil(engine:step())
  end)
end)
