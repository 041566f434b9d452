-- Flavours: lua5.4 luajit
local options = require "kinesis.options"

-- As a public function does it, so that errors stand at the line of whoever calls this.
local function public(noun, given)
  local checked = options.check(noun, given, 2)
  return checked
end

local function refusal(noun, given)
  local ok, message = pcall(function()
    local _ = public(noun, given)
  end)
  assert.is_false(ok)
  return message
end

describe("options.check", function()
  it("applies defaults and does not change the caller's table", function()
    local given = { region = "us-east-1" }
    local checked = public("client", given)
    assert.same({
      region = "us-east-1", connect_timeout = 3, request_timeout = 20, max_connections = 24,
    }, checked)
    assert.same({ region = "us-east-1" }, given)
    assert.same({ parallel = 1 }, public("put_many"))
    assert.same({}, public("shards", {}))
    assert.same({ deaggregate = true, poll_interval = 1, window = 4194304 }, public("records"))
  end)

  it("keeps false apart from absent", function()
    assert.is_false(public("records", { batch = false }).batch)
    assert.is_nil(public("records", {}).batch)
  end)

  it("raises at the line of the public function's caller", function()
    local line
    local ok, message = pcall(function()
      line = debug.getinfo(1, "l").currentline + 1
      local _ = public("put_many", { parallel = 0 })
    end)
    assert.is_false(ok)
    assert.matches("options_spec.lua:" .. line .. ": bad option 'parallel' of put_many", message, 1, true)
  end)

  it("raises at the line of its own caller at level 1", function()
    local line
    local _, message = pcall(function()
      line = debug.getinfo(1, "l").currentline + 1
      local _ = options.check("put_many", { parallel = 0 }, 1)
    end)
    assert.matches("options_spec.lua:" .. line .. ":", message, 1, true)
  end)

  it("names the nearest option beside an unknown one", function()
    assert.matches("unknown option 'paralel' of put_many; did you mean 'parallel'?",
      refusal("put_many", { paralel = 2 }), 1, true)
    assert.matches("did you mean 'max_attempts'?", refusal("client", { max_attempt = 2 }), 1, true)
    assert.matches("did you mean 'region'?", refusal("client", { Region = "x" }), 1, true)
  end)

  it("lists the known options where none is near", function()
    local message = refusal("put_many", { colour = "red" })
    assert.matches("unknown option 'colour'", message, 1, true)
    assert.matches("known are parallel", message, 1, true)
    assert.matches("shards takes none", refusal("shards", { x = 1 }), 1, true)
    assert.matches("have names, got a number", refusal("put", { "key" }), 1, true)
  end)

  it("refuses options that are no table", function()
    assert.matches("options of put must be a table, got a string", refusal("put", "key"), 1, true)
    assert.matches("must be a table, got a boolean", refusal("put", false), 1, true)
  end)

  it("refuses a wrong type, naming both", function()
    assert.matches("'limit' of records: must be an integer, got a string", refusal("records", { limit = "5" }), 1, true)
    assert.matches("must be an integer, got 1.5", refusal("records", { limit = 1.5 }), 1, true)
    local refused = refusal("records", { from = true })
    assert.matches("must be a string or a number or a table, got a boolean", refused, 1, true)
  end)

  it("refuses what is out of bounds, naming the bound", function()
    assert.matches("must be an integer from 1 to 100, got 101", refusal("put_many", { parallel = 101 }), 1, true)
    assert.matches("must be a number above 0, got 0", refusal("records", { idle_timeout = 0 }), 1, true)
    assert.matches("must be a number of at least 0.001, got 0", refusal("client", { connect_timeout = 0 }), 1, true)
    assert.matches("from 1048576 to 1073741824, got 1", refusal("records", { window = 1 }), 1, true)
    assert.matches("from 0.2 to 300, got 301", refusal("records", { poll_interval = 301 }), 1, true)
  end)

  it("refuses numbers that are none", function()
    assert.matches("got NaN", refusal("client", { request_timeout = 0 / 0 }), 1, true)
    assert.matches("got infinity", refusal("client", { request_timeout = math.huge }), 1, true)
    assert.matches("got NaN", refusal("put_many", { parallel = 0 / 0 }), 1, true)
    assert.matches("got -infinity", refusal("records", { limit = -math.huge }), 1, true)
    refusal("records", { limit = 2 ^ 60 })
  end)

  it("turns whole floats into integers", function()
    local window = public("records", { window = 2 ^ 20 }).window
    assert.equal(1048576, window)
    if math.type then
      assert.equal("integer", math.type(window))
    end
  end)

  it("refuses empty strings and NULs where they make no sense", function()
    assert.matches("'region' of client: must not be empty", refusal("client", { region = "" }), 1, true)
    assert.matches("must not hold a NUL", refusal("client", { ca_bundle = "a\0b" }), 1, true)
  end)

  it("checks `from` among the options of records", function()
    assert.same({ after = "1", sub = 0 }, public("records", { from = { after = "1", sub = 0 } }).from)
    assert.matches("known forms", refusal("records", { from = "oldest" }), 1, true)
  end)
end)

describe("the option credentials", function()
  local function keys(id, secret, token)
    return { credentials = { access_key_id = id, secret_access_key = secret, session_token = token } }
  end

  it("may be a table or a function", function()
    public("client", keys("AKID", "very-secret"))
    public("client", keys("AKID", "very-secret", "token"))
    public("client", { credentials = function() end })
  end)

  it("is refused when malformed, without being shown", function()
    local cases = {
      ["string as its secret_access_key, got nothing"] = keys("AKID"),
      ["string as its access_key_id, got number"] = keys(5, "very-secret"),
      ["empty access_key_id"] = keys("", "very-secret"),
      ["empty session_token"] = keys("AKID", "very-secret", ""),
      ["NUL in its secret_access_key"] = keys("AKID", "very-secret\n"),
      ["NUL in its access_key_id"] = keys("AK\0ID", "very-secret"),
      ["string as its account_id, got number"] = { credentials = { access_key_id = "AKID",
        secret_access_key = "very-secret", account_id = 123456789012 } },
      ["unknown member 'secret'"] = { credentials = { access_key_id = "AKID", secret = "very-secret" } },
      ["a table or a function, got a string"] = { credentials = "very-secret" },
    }
    for expected, given in pairs(cases) do
      local message = refusal("client", given)
      assert.matches(expected, message, 1, true)
      assert.is_nil(message:find("very-secret", 1, true))
    end
  end)
end)

describe("options.from", function()
  it("accepts every form of a position", function()
    for _, value in ipairs {
      "trim_horizon", "latest", { timestamp = 0 }, { timestamp = 1.5 }, { at = "0" }, { after = "1" .. ("0"):rep(128) },
      { after = "12", sub = 3 }, { shards = {} },
      { shards = { ["shardId-1"] = "shard_end", ["shardId-2"] = { after = "5" } }, default = "latest" },
    } do
      assert.is_true(options.from(value, 1))
    end
  end)

  it("refuses everything else and lists the forms", function()
    for _, value in ipairs {
      "shard_end", "LATEST", "", -5, true, {}, { timestamp = -1 }, { timestamp = "5" },
      { timestamp = 0 / 0 }, { timestamp = math.huge }, { timestamp = 1e300 },
      { at = 5 }, { at = "05" }, { at = "" }, { at = "-1" }, { at = "1x" },
      { at = "1" .. ("0"):rep(129) }, { at = "1", sub = 1 }, { at = "1", after = "1" }, { after = "1", sub = -1 },
      { after = "1", sub = 1.5 }, { after = "1", sub = "1" }, { sub = 1 }, { timestamp = 1, at = "1" },
      { shards = "x" }, { shards = { "latest" } },
      { shards = { [("s"):rep(129)] = "latest" } }, { shards = { a = "oldest" } }, { shards = { a = { shards = {} } } },
      { shards = {}, default = "shard_end" }, { shards = {}, at = "1" }, { default = "latest" },
    } do
      local ok, message = pcall(options.from, value, 1)
      assert.is_false(ok)
      assert.matches("known forms: \"trim_horizon\"", message, 1, true)
    end
    assert.is_false((pcall(options.from, nil, 1)))
  end)

  it("raises at the caller's line", function()
    local line
    local _, message = pcall(function()
      line = debug.getinfo(1, "l").currentline + 1
      local _ = options.from("oldest", 1)
    end)
    assert.matches("options_spec.lua:" .. line .. ": bad `from`: it is the unknown 'oldest'", message, 1, true)
  end)
end)

describe("options.describe", function()
  it("returns each option in order, as copies", function()
    local list = options.describe("client")
    assert.equal("region", list[1].name)
    for _, noun in ipairs { "client", "put", "put_many", "producer", "produce", "shards", "records" } do
      for _, option in ipairs(options.describe(noun)) do
        assert.matches("%.$", option.doc)
      end
    end
    list[1].name = "changed"
    assert.equal("region", options.describe("client")[1].name)
  end)

  it("gives defaults that pass their own check", function()
    for _, noun in ipairs { "client", "put", "put_many", "producer", "produce", "shards", "records" } do
      local checked = public(noun)
      assert.same(checked, public(noun, checked))
    end
  end)
end)
