-- Readers with `last`: the newest records of all shards.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local last = require "kinesis.reader.last"

local HALF = "170141183460469231731687303715884105728"

local function split(client, stream, id, key)
  assert(client:call("SplitShard", { StreamName = stream, ShardToSplit = id, NewStartingHashKey = key }))
  fresh.active(client, stream)
end

-- The times of arrival of the newest `count` of these records, sorted.
local function newest_of(records, count)
  table.sort(records, function(a, b)
    return a.arrival_timestamp > b.arrival_timestamp
  end)
  local times = {}
  for i = 1, count do
    times[i] = records[i].arrival_timestamp
  end
  table.sort(times)
  return times
end

local function read_last(client, stream, count, more)
  local options = { last = count, stop_at_tip = true, poll_interval = 0.2, idle_timeout = 20 }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  local records, times = {}, {}
  for record in client:shards(stream):records(options) do
    records[#records + 1], times[#times + 1] = record, record.arrival_timestamp
  end
  table.sort(times)
  return records, times
end

describe("a search in a shard with a million records", function()
  local client, child, pid

  setup(function()
    child = fresh.python "canned.py"
    local port
    port, pid = child:line():match "^(%d+) (%d+)$"
    client = fresh.client("http://127.0.0.1:" .. port)
  end)

  teardown(function()
    client:close()
    fresh.spawn("kill " .. pid):wait()
    child:wait()
  end)

  -- The start positions, and the calls for the shard that needed most.
  local function find(stream, count)
    local shards = client:shards(stream)
    local position = last.find(client, stream, shards, count, true)
    return position.shards, assert(client:call("TellCalls", { StreamName = stream })), shards
  end

  for stream, most in pairs { empty = 8, steady = 4, second = 6, burst = 10, few = 8, flood = 20 } do
    it(("takes %d calls at most: %s"):format(most, stream), function()
      local places, calls, shards = find(stream, 10)
      assert.is_true(calls.most <= most, calls.most .. " calls")
      local place = places[shards[1].id]
      local begins = { empty = "trim_horizon", few = { at = "1" }, burst = { at = "1000191" },
        flood = { at = "999991" } }
      if begins[stream] then
        assert.same(begins[stream], place)
      else
        assert.is_true(tonumber(place.at) > 999990, place.at)
      end
    end)
  end

  it("finds more than a page of records, too", function()
    for stream, begin in pairs { burst = "990201", flood = "990001" } do
      local places, _, shards = find(stream, 10000)
      assert.same({ at = begin }, places[shards[1].id])
    end
  end)

  it("holds few answers of 10 MB at once", function()
    if os.getenv("BUILD_FLAVOUR"):find "san" then
      pending "a sanitizer keeps what is freed"
    end
    local script = fresh.lua([[
      local kinesis, last = require "kinesis", require "kinesis.reader.last"
      local client = kinesis.client { endpoint = arg[1], region = "us-east-1",
        credentials = { access_key_id = "A", secret_access_key = "s" } }
      last.find(client, "large", client:shards "large", 10, true)
      print(io.open("/proc/self/status"):read("a"):match "VmHWM:%s*(%d+)")
    ]], nil, client.url, "large")
    local peak = tonumber((script:wait()))
    assert.is_true(peak < 160 * 1024, peak .. " KiB") -- 24 of them take 340 MB
  end)

  it("searches a thousand shards side by side, and those that come later not further back than needed", function()
    local places, calls, shards = find("thousand", 10)
    assert.equal(1000, #shards)
    assert.is_true(calls.all < 2500, calls.all .. " calls")
    assert.equal("2000", places[shards[2].id].at) -- the one that ended a second ago
    local count = 0
    for _, place in pairs(places) do
      count = count + (place.at and 1 or 0)
    end
    assert.equal(10, count)
    assert.is_number(places[shards[1000].id].timestamp)
  end)
end)

for _, service in ipairs(fresh.services) do
  describe("records{last=} of " .. service.name, function()
    local client

    setup(function()
      client = fresh.client(service)
    end)

    teardown(function()
      client:close()
    end)

    it("begins before the newest of all shards, also after a reshard, and goes on", function()
      local stream = fresh.stream(client, 3)
      local many = service.name == "kinesalite" and 5000 or 120
      fresh.put_numbers(client, stream, 1, many / 2)
      split(client, stream, "shardId-000000000001", HALF)
      fresh.put_numbers(client, stream, many / 2 + 1, many)
      local records, times = read_last(client, stream, 10)
      assert.equal(10, #records)
      assert.same(newest_of(fresh.read(client, stream), 10), times)

      local reader = client:shards(stream):records { last = 10, poll_interval = 0.2, idle_timeout = 20 }
      local position = cjson.decode(cjson.encode(reader:position()))
      for _ = 1, 10 do
        reader()
      end
      fresh.put_numbers(client, stream, many + 1, many + 20)
      local seen = {}
      for _ = 1, 20 do
        seen[tonumber(reader().data)] = true
      end
      for i = many + 1, many + 20 do
        assert.is_true(seen[i], i)
      end
      reader:close()
      assert.equal(30, #fresh.read(client, stream, { from = position }))
    end)

    it("goes back to closed shards where the open ones have too few, and to the beginning", function()
      local stream = fresh.stream(client, 1)
      fresh.put_numbers(client, stream, 1, 30)
      split(client, stream, "shardId-000000000000", HALF)
      fresh.put_numbers(client, stream, 31, 40)
      local all = fresh.read(client, stream)
      local records, times = read_last(client, stream, 25)
      assert.equal(25, #records)
      assert.same(newest_of(all, 25), times)
      for i, record in ipairs(records) do -- the parent's are returned first
        assert.equal(i <= 15, record.shard_id == "shardId-000000000000")
      end
      assert.equal(40, #read_last(client, stream, 40))
      assert.equal(40, #read_last(client, stream, 1000))
      local shard = client:shards(stream)[1]
      local count = 0
      for record in shard:records { last = 7 } do
        count = count + 1
        assert.equal("shardId-000000000000", record.shard_id)
      end
      assert.equal(7, count)
    end)

    it("counts the records of aggregates, and begins inside one", function()
      local stream = fresh.stream(client, 1)
      local number = 0
      for _ = 1, 3 do
        local list = {}
        for i = 1, 10 do
          number = number + 1
          list[i] = { data = tostring(number), partition_key = "k" }
        end
        assert(client:put(stream, kinesis.aggregate(list), "k"))
      end
      for _, count in ipairs { 10, 11, 31 } do
        local records = read_last(client, stream, count)
        assert.equal(math.min(count, 30), #records)
        for i, record in ipairs(records) do
          assert.equal(tostring(30 - #records + i), record.data)
        end
      end
      assert.equal(2, #read_last(client, stream, 2, { deaggregate = false }))
    end)
  end)
end

describe("records{last=}", function()
  local client = fresh.client(fresh.services[1])

  teardown(function()
    client:close()
  end)

  it("misses nothing that comes into a shard that had none", function()
    local stream = fresh.stream(client, 2)
    local reader = client:shards(stream):records { last = 5, poll_interval = 0.2, idle_timeout = 20 }
    fresh.put_numbers(client, stream, 1, 20)
    for _ = 1, 20 do
      assert.is_truthy(reader())
    end
    reader:close()
  end)

  it("waits in the way of kinesis.run", function()
    local stream = fresh.stream(client, 4)
    fresh.put_numbers(client, stream, 1, 20)
    local turns, over = 0, false
    kinesis.run(function()
      assert.equal(3, #(read_last(client, stream, 3)))
      over = true
    end, function()
      while not over do
        turns = turns + 1
        kinesis.sleep(0.001)
      end
    end)
    assert.is_true(turns > 3)
  end)

  it("waits for a shard that is throttled, and begins anew where an iterator has expired", function()
    local throttled = { code = "ProvisionedThroughputExceededException", status = 400 }
    local scope = faults.open { GetRecords = { {}, throttled, { code = "ExpiredIteratorException", status = 400 } } }
    local patient = scope:client { max_attempts = 1 }
    local stream = fresh.stream(patient, 2)
    fresh.put_numbers(patient, stream, 1, 20)
    assert.equal(20, #(read_last(patient, stream, 20)))
    patient:close()
  end)

  it("raises the error of the service", function()
    local stream = fresh.stream(client, 1)
    local shards = client:shards(stream)
    assert(client:call("DeleteStream", { StreamName = stream }))
    assert(client:wait_until("stream_not_exists", { StreamName = stream }, { interval = 0.1 }))
    local good, err = pcall(shards.records, shards, { last = 1 })
    assert.is_false(good)
    assert.equal("ResourceNotFoundException", err.code)
  end)

  it("is refused beside `from` and `until_timestamp`, and out of its bounds", function()
    local shards = client:shards((fresh.stream(client, 1)))
    local refused = fresh.complaint(function() shards:records { last = 1, from = "latest" } end)
    assert.matches("`last` and `from` exclude each other", refused, 1, true)
    refused = fresh.complaint(function() shards[1]:records { last = 1, until_timestamp = "-1h" } end)
    assert.matches("`last` and `until_timestamp` exclude each other", refused, 1, true)
    for _, wrong in ipairs { 0, 10001, 1.5 } do
      assert.is_false((pcall(shards.records, shards, { last = wrong })))
    end
  end)
end)
