-- Times as users write them: seconds, ISO 8601 with a zone, or a time before now; as starts and ends of readers.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local fresh = require "support.fresh"
local options = require "kinesis.options"
local times = require "kinesis.util.times"

local NOW = 1795780800.25 -- 2026-11-27T12:00:00.250Z

local function shards_of(client)
  return client:shards((fresh.stream(client, 1)))
end

describe("a time", function()
  it("is seconds, ISO 8601 with a zone, or a time before now", function()
    for given, seconds in pairs {
      [0] = 0, [1795780800.125] = 1795780800.125, [253402300799] = 253402300799,
      ["2026-11-27T12:00:00Z"] = 1795780800,
      ["2026-11-27t12:00:00z"] = 1795780800,
      ["2026-11-27 12:00:00Z"] = 1795780800,
      ["2026-11-27T12:00:00.5Z"] = 1795780800.5,
      ["2026-11-27T12:00:00.123Z"] = 1795780800.123,
      ["2026-11-27T12:00:00.1239999Z"] = 1795780800.123,
      ["2026-11-27T13:30:00.007+01:30"] = 1795780800.007,
      ["2026-11-27T07:00:00-0500"] = 1795780800,
      ["2024-02-29T00:00:00Z"] = 1709164800,
      ["-0s"] = NOW, ["-90s"] = NOW - 90, ["-15m"] = NOW - 900, ["-1h"] = NOW - 3600, ["-2d"] = NOW - 172800,
    } do
      assert.is_nil(times.problem(given), tostring(given))
      assert.equal(seconds, times.seconds(given, NOW), tostring(given))
    end
  end)

  it("is refused when it is none, with the reason", function()
    for given, reason in pairs {
      ["2026-11-27T12:00:00"] = "has no time zone; add Z for UTC",
      ["2026-11-27 12:00:00.5"] = "has no time zone; add Z for UTC",
      ["2026-11-27T12:00Z"] = "known forms of a time",
      ["2026-11-27"] = "known forms of a time",
      ["2026-02-29T12:00:00Z"] = "known forms of a time",
      ["2026-04-31T12:00:00Z"] = "known forms of a time",
      ["2026-11-27T12:61:00Z"] = "known forms of a time",
      ["2026-11-27T12:00:61Z"] = "known forms of a time",
      ["2026-11-27T24:00:01Z"] = "known forms of a time",
      ["2026-11-27T12:00:00.Z"] = "known forms of a time",
      ["2026-11-27T12:00:00+25:00"] = "known forms of a time",
      ["90s"] = "known forms of a time", ["-90"] = "known forms of a time", ["-1w"] = "known forms of a time",
      ["-1.5h"] = "known forms of a time", ["now"] = "known forms of a time", [""] = "known forms of a time",
      ["1795780800"] = "known forms of a time",
      ["1969-12-31T23:59:59Z"] = "before 1970",
      ["-99999d"] = "before 1970", ["-99999999999999d"] = "before 1970",
      ["-213503982334602d"] = "known forms of a time", -- 2^64 seconds, and a little more
      [-1] = "before 1970", [1 / 0] = "no number of seconds",
      [1795780800000] = "seconds since 1970, not milliseconds",
    } do
      assert.matches(reason, times.problem(given) or "nothing", 1, true)
    end
    assert.matches("no number of seconds", times.problem(0 / 0), 1, true)
    assert.matches("a table", times.problem {}, 1, true)
    for _, given in ipairs { "2026-11-27", "90s" } do
      for _, form in ipairs { "2026-11-27T12:00:00Z", "-90s", "seconds since 1970" } do
        assert.matches(form, times.problem(given), 1, true)
      end
    end
  end)

  it("may stand wherever a position has one", function()
    local text = "2026-11-27T12:00:00Z"
    for _, time in ipairs { 1795780800, text, "-1h" } do
      for _, from in ipairs { time, { timestamp = time }, { shards = { a = time, b = { timestamp = time } } },
        { shards = {}, default = time } } do
        assert.is_true(options.from(from, 1))
      end
    end
    for given, reason in pairs { ["2026-11-27T12:00:00"] = "add Z for UTC", ["5 minutes ago"] = "-90s",
      [1795780800000] = "not milliseconds" } do
      for _, from in ipairs { given, { timestamp = given }, { shards = { a = given } },
        { shards = {}, default = given } } do
        local good, message = pcall(options.from, from, 1)
        assert.is_false(good)
        assert.matches(reason, message, 1, true)
        assert.matches('known forms: "trim_horizon"', message, 1, true)
        assert.equal(1, select(2, message:gsub("known forms of a time", "")), message)
      end
    end
  end)
end)

for _, service in ipairs(fresh.services) do
  describe("a reader of " .. service.name, function()
    local client

    setup(function()
      client = fresh.client(service)
    end)

    teardown(function()
      client:close()
    end)

    it("begins at a time in each form, which position() keeps", function()
      local stream = fresh.stream(client, 1)
      fresh.put_numbers(client, stream, 1, 3)
      local records = fresh.read(client, stream)
      local second = records[2].arrival_timestamp
      local millis = ("%.3f"):format(second):match "%.(%d+)$"
      local text = os.date("!%Y-%m-%dT%H:%M:%S.", math.floor(second)) .. millis .. "Z"
      for _, from in ipairs { second, { timestamp = second }, text, { timestamp = text } } do
        local reader = client:shards(stream):records { from = from, stop_at_tip = true }
        local place = reader:position().shards[records[1].shard_id]
        assert.is_true(math.abs(place.timestamp - second) < 1e-5, tostring(place.timestamp))
        assert.is_true(reader().arrival_timestamp >= second)
        reader:close()
      end
    end)

    it("fixes a time before now when it is opened", function()
      local shards = shards_of(client)
      local reader = shards:records { from = "-1h" }
      local kept = cjson.decode(cjson.encode(reader:position()))
      reader:close()
      local place = kept.shards[shards[1].id]
      assert.is_true(math.abs(place.timestamp - (os.time() - 3600)) < 5, tostring(place.timestamp))
      client:put(kept.stream, "x", "k")
      assert.equal("x", shards:records { from = kept }().data)
    end)
  end)
end

describe("records()", function()
  it("refuses what is no time at the caller's line, and says what is one", function()
    local client = fresh.client(fresh.services[2])
    local shards = shards_of(client)
    local refused = fresh.complaint(function() shards:records { from = "2026-11-27T12:00:00" } end)
    assert.matches("has no time zone; add Z for UTC", refused, 1, true)
    refused = fresh.complaint(function() shards:records { from = "yesterday" } end)
    assert.matches('"-90s"', refused, 1, true)
    refused = fresh.complaint(function() shards:records { from = "2026-11-27" } end)
    assert.equal(1, select(2, refused:gsub('"%-90s"', "")))
    refused = fresh.complaint(function() shards:records { from = os.time() * 1000 } end)
    assert.matches("seconds since 1970, not milliseconds", refused, 1, true)
    client:close()
  end)
end)

describe("examples/consumer.lua", function()
  it("starts at a time", function()
    local client = fresh.client(fresh.services[2])
    local stream = fresh.stream(client, 1)
    fresh.put_numbers(client, stream, 1, 1)
    local first = fresh.read(client, stream)[1].arrival_timestamp
    fresh.eventually(function()
      return os.time() > first + 1
    end)
    fresh.put_numbers(client, stream, 2, 2)
    local child = fresh.example("consumer.lua", fresh.example_env(fresh.services[2], stream), "--from",
      ("%.3f"):format(first + 0.01))
    assert.matches("^Reading shardId", child:line())
    assert.matches("^Record: 2,", child:line())
    child:signal "INT"
    child:wait()
    for option, value in pairs { from = "-1h", last = "2" } do
      child = fresh.example("consumer.lua", fresh.example_env(fresh.services[2], stream), "--" .. option, value)
      child:line()
      assert.matches("^Record: 1,", child:line())
      child:signal "INT"
      child:wait()
    end
    client:close()
  end)
end)
