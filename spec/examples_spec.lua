-- What all examples have in common: help, and no guess at an option that they do not know.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local fresh = require "support.fresh"

local EXAMPLES = { "consumer.lua", "luv.lua", "producer.lua", "stream.lua", "tail.lua" }

-- What a script says on stdout, what it says on stderr, and its exit status.
local function run(script, env, arguments)
  local words = ('%s "$ROOT/examples/%s" %s'):format(os.getenv "LUA", script, arguments)
  local output, status = fresh.spawn(words .. " 2>/dev/null", env):wait()
  return output, fresh.spawn(words .. " 2>&1 >/dev/null", env):wait(), status
end

describe("the examples", function()
  for _, script in ipairs(EXAMPLES) do
    it("show on request how they are used: " .. script, function()
      for _, option in ipairs { "--help", "-h" } do
        local output, errors, status = run(script, nil, option)
        assert.matches("^usage", output)
        assert.matches("  *lua5.4 " .. script:gsub("%.", "%%."), output)
        assert.equal("", errors)
        assert.equal(0, status)
      end
    end)

    it("refuse an option that they do not know: " .. script, function()
      for _, arguments in ipairs { "--hepl", "-x", "one two three four five" } do
        local output, errors, status = run(script, nil, arguments)
        assert.equal("", output)
        assert.matches("^usage", errors)
        assert.equal(2, status)
      end
    end)
  end

  it("refuse one behind other words, too", function()
    for script, arguments in pairs {
      ["stream.lua"] = { "create --shards", "create 2 --mode" }, ["tail.lua"] = { "log --key", "--from-strat log" },
      ["producer.lua"] = { "a 1 0 -b" }, ["consumer.lua"] = { "--position", "--position a b", "--from 1 --last 2" },
    } do
      for _, words in ipairs(arguments) do
        local output, errors, status = run(script, nil, words)
        assert.equal("", output)
        assert.matches("^usage", errors)
        assert.equal(2, status)
      end
    end
  end)
end)

describe("examples/producer.lua", function()
  local client, stream

  local function put(...)
    local child = fresh.example("producer.lua", fresh.example_env(fresh.services[2], stream), ...)
    local output, status = child:wait()
    assert.equal(0, status, output)
    return output
  end

  setup(function()
    client = fresh.client(fresh.services[2])
  end)

  teardown(function()
    client:close()
  end)

  before_each(function()
    stream = fresh.stream(client, 1, "example")
  end)

  it("sends messages that begin with a hyphen", function()
    put("--", "-5 degrees")
    put("weather", "1", "0", "--", "--help")
    put("--", "--")
    put "-"
    local messages = {}
    for i, record in ipairs(fresh.read(client, stream)) do
      messages[i] = cjson.decode(record.data).Message
    end
    assert.same({ "-5 degrees", "--help", "--", "-" }, messages)
  end)

  it("gives no Id twice, in whatever run", function()
    for _ = 1, 3 do
      assert.matches("^%d+%-%d+%-%d+T%d+:%d+:%d+Z  Sequence Number: %d+, Shard: shardId%-0+\n", put("a", "2", "0", "x"))
    end
    local seen = {}
    for _, record in ipairs(fresh.read(client, stream)) do
      local random = cjson.decode(record.data).Id:match "^a%-(%x+)%-[12]$"
      assert.is_nil(seen[random], random)
      seen[random] = true
    end
  end)
end)
