-- At the prompt: Ctrl-C gives it back, and what is typed there prints well.
-- Flavours: *lua5.4 *luajit
local core = require "kinesis.core"
local fresh = require "support.fresh"

local direct, stream

setup(function()
  direct = fresh.client(os.getenv "KINESIS_LOCAL")
  stream = fresh.stream(direct, 1)
end)

teardown(function()
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
end)

-- Types a dialogue (see spec/support/prompt.py; STREAM stands for the stream's name) at this interpreter.
-- Returns what the screen showed.
local function talk(dialogue)
  local file = os.tmpname()
  local out = assert(io.open(file, "w"))
  out:write((dialogue:gsub("STREAM", stream):gsub("\n +", "\n"):gsub("^%s+", "")))
  out:close()
  local child = fresh.spawn(('"$PYTHON" "$ROOT/spec/support/prompt.py" "$LUA -i" <%s'):format(file), {
    AWS_ENDPOINT_URL_KINESIS = os.getenv "KINESIS_LOCAL",
    AWS_REGION = fresh.region,
    AWS_ACCESS_KEY_ID = fresh.keys.access_key_id,
    AWS_SECRET_ACCESS_KEY = fresh.keys.secret_access_key,
  })
  local screen, status = child:wait()
  os.remove(file)
  assert.equal(0, status, screen)
  return screen
end

describe("Ctrl-C", function()
  it("in a silent records() gives the prompt back, and the next records() works", function()
    talk [[
      see >
      type kinesis = require "kinesis"
      see >
      type r = kinesis.put("STREAM", "one", "key"); print("stored: " .. #r.sequence_number)
      see stored: 56
      see >
      type for r in kinesis.shards("STREAM"):records() do print("got " .. r.data) end
      see got one
      key C
      see interrupted!
      see >
      type for r in kinesis.shards("STREAM"):records { limit = 1 } do print("again " .. r.data) end
      see again one
      see >
      type print("now"); for r in kinesis.shards("STREAM"):records { from = "latest" } do print("never") end
      see now
      key C
      see interrupted!
      see >
      type print(kinesis.put("STREAM", "two", "key").shard_id)
      see shardId-000000000000
      see >
      end
    ]]
  end)

  it("in kinesis.sleep and kinesis.run gives the prompt back", function()
    talk [[
      see >
      type kinesis = require "kinesis"; print("loaded")
      see loaded
      see >
      type print("asleep"); kinesis.sleep(3600)
      see asleep
      key C
      see interrupted!
      see >
      type kinesis.run(function() for r in kinesis.shards("STREAM"):records() do print("got " .. r.data) end end)
      see got one
      key C
      see interrupted!
      see >
      type print(kinesis.put("STREAM", "three", "key").shard_id)
      see shardId-000000000000
      see >
      end
    ]]
  end)
end)

describe("a signal that comes just before a wait", function()
  it("is seen all the same, as no wait keeps the VM for long", function()
    local began = core.now()
    assert.is_false(core.wait({}, 3600))
    assert.is_true(core.now() - began < 60)
  end)
end)

describe("a prompt shows", function()
  -- Lua 5.4 prints what an expression gives; LuaJIT wants to be asked.
  local show = _VERSION == "Lua 5.4" and "type %s" or "type print(%s)"

  it("results, records, shards and errors as what they are", function()
    local steps = { [[
      see >
      type kinesis = require "kinesis"; print("loaded")
      see loaded]] }
    local function add(expression, ...)
      steps[#steps + 1] = show:format(expression)
      for _, text in ipairs { ... } do
        steps[#steps + 1] = "see " .. text
      end
      steps[#steps + 1] = "see >"
    end
    add([[kinesis.put("STREAM", "a\0b", "key")]], "{ ", "sequence_number = \"49", "shard_id = \"shardId-")
    add([[kinesis.put_many("STREAM", { { data = "x" }, { data = "y" } })]], "2 results, 0 failed", "0")
    add([[kinesis.shards("STREAM")]], "shardId-000000000000", "}")
    add([[kinesis.shards("STREAM"):records { limit = 1 }()]], "{ ", "data = \"", "partition_key = \"key\"")
    add([[kinesis.shards("STREAM"):records()]], "kinesis.reader: STREAM, 1 shards")
    add([[kinesis.put("no-such-stream", "x")]], "nil", "PutRecord: ResourceNotFoundException: ")
    add([[kinesis.shards("no-such-stream")]], "ListShards: ResourceNotFoundException: ")
    add([[kinesis.put("STREAM")]], "put: ", "data")
    add([[kinesis.client()]], "kinesis.client: http://127.0.0.1:")
    add([[kinesis.client():stats()]], "{ attempts = 0, ", "throttled = 0 }")
    add([[kinesis.shards("STREAM"):records():position()]], "shards = {", "trim_horizon")
    add([[kinesis.describe_stream { StreamName = "STREAM" }]], "Shards = {", "StartingHashKey = \"0\"")
    add([[kinesis.producer("STREAM"):stats()]], "{", "latency = {", "shards = {")
    add([[kinesis.help()]], "put_many", "Puts any number of records")
    steps[#steps + 1] = "type help = kinesis.help()\nsee >"
    add([[help]], "put_many", "Puts any number of records")
    add([[help "put"]], "kinesis.put(stream, data")
    add([[kinesis.records("STREAM")]], "stdin:1: there is no 'records'; did you mean kinesis.shards(stream):records()?")
    steps[#steps + 1] = "end"
    local screen = talk(table.concat(steps, "\n"))
    assert.is_nil(screen:find("table: 0x", 1, true), screen)
    assert.is_nil(screen:find("userdata: 0x", 1, true), screen)
    assert.is_nil(screen:find(fresh.keys.secret_access_key, 1, true))
  end)
end)
