-- What all examples have in common: help, and no guess at an option that they do not know.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local fresh = require "support.fresh"

local EXAMPLES = { "consumer.lua", "luv.lua", "producer.lua", "stream.lua", "tail.lua", "worker.lua" }

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

describe("examples/worker.lua", function()
  local has_signals = pcall(require, "posix.signal")
  local client, stream, folder, children

  local function start()
    local command = ([[cd %s && timeout -s KILL 120 sh -c 'echo $$; exec "$0" "$@"' %s "$ROOT/examples/worker.lua"
      exit $?]]):format(folder, os.getenv "LUA")
    local env = fresh.example_env(fresh.services[2], stream)
    env.XDG_STATE_HOME = folder
    local child = fresh.spawn(command, env)
    child.pid = child:line()
    children[child] = true
    return child
  end

  local function finish(child, signal)
    child:signal(signal)
    children[child] = nil
    return child:wait()
  end

  -- The sums over all files of counts.
  local function counts()
    local records, words = 0, 0
    for _, shard in ipairs(client:shards(stream)) do
      local file = io.open(("%s/word-count-%s.json"):format(folder, shard.id))
      local counted = file and cjson.decode(file:read "*a") or { records = 0, words = {} }
      records, words = records + counted.records, words + (counted.words.word or 0)
      if file then
        file:close()
      end
    end
    return records, words
  end

  local function put(count)
    local list = {}
    for i = 1, count do
      list[i] = { data = "a word, and another word", partition_key = "key " .. i }
    end
    assert(client:put_many(stream, list))
  end

  local function await(count)
    fresh.eventually(function()
      return counts() >= count
    end)
  end

  before_each(function()
    client, children = fresh.client(fresh.services[2]), {}
    stream, folder = fresh.stream(client, 3, "words"), fresh.folder { empty = "" }
  end)

  after_each(function()
    for child in pairs(children) do
      finish(child, "KILL")
    end
    client:close()
  end)

  it("has exact counts after kills", function()
    local first, second = start(), start()
    put(100)
    await(100)
    finish(first, "KILL")
    put(50)
    local third = start()
    await(150)
    finish(second, "KILL")
    put(50)
    await(200)
    finish(third, "KILL")
    assert.same({ 200, 400 }, { counts() })
  end)

  it("stops on " .. (has_signals and "SIGTERM" or "SIGINT"), function()
    put(100)
    local child = start()
    await(100)
    local output, status = finish(child, has_signals and "TERM" or "INT")
    assert.equal(0, status, output)
    assert.matches("\nStopped.\n$", output)
    local _, count = output:gsub("reads it no longer %(stop%)", "")
    assert.equal(has_signals and 3 or 0, count)
    put(20)
    start()
    await(120)
    assert.same({ 120, 240 }, { counts() })
  end)
end)
