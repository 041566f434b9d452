-- Every Lua program in the README runs as it is printed, in an interpreter of its own, on streams made for it. The
-- block for nginx is run by seal_spec.
-- Flavours: lua5.4 luajit
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local function read_readme()
  local file = assert(io.open(os.getenv "ROOT" .. "/README.md"))
  local text = file:read "*a"
  file:close()
  return text
end

local readme = read_readme()

-- The program whose text contains `mark`.
local function program(mark)
  for block in readme:gmatch "```lua\n(.-)\n```" do
    if block:find(mark, 1, true) then
      return block
    end
  end
  error("the README has no program with " .. mark)
end

describe("the README", function()
  local client, folder, streams
  local endpoint = os.getenv "KINESIS_LOCAL"

  setup(function()
    client = fresh.client(endpoint)
    folder = os.tmpname()
    os.remove(folder)
    assert(os.execute("mkdir " .. folder))
  end)

  before_each(function()
    streams = { ["hello-kinesis"] = fresh.stream(client, 1, "readme"), clicks = fresh.stream(client, 2, "readme") }
  end)

  after_each(function()
    for _, stream in pairs(streams) do
      client:call("DeleteStream", { StreamName = stream })
    end
  end)

  teardown(function()
    client:close()
    os.execute("rm -r " .. folder)
  end)

  -- Runs a program of the README; returns what it printed.
  local function run(mark)
    local source = program(mark):gsub('"(%l[%l-]+)"', function(name)
      return streams[name] and ('"%s"'):format(streams[name])
    end)
    local file = assert(io.open(folder .. "/program.lua", "w"))
    file:write('local kinesis = require "kinesis"\n', (source:gsub('^local kinesis = require "kinesis"\n', "")), "\n")
    file:close()
    local env = fresh.example_env(endpoint)
    env.XDG_STATE_HOME = folder
    local child = fresh.spawn(("cd %s && %s program.lua"):format(folder, os.getenv "LUA"), env)
    local output, status = child:wait()
    assert.equal(0, status, output)
    return output
  end

  local function put(...)
    for _, data in ipairs { ... } do
      assert(client:put(streams.clicks, data))
    end
  end

  local function all_data()
    local list = {}
    for _, record in ipairs(fresh.read(client, streams.clicks)) do
      list[#list + 1] = record.data
    end
    table.sort(list)
    return list
  end

  it("has at most 200 lines", function()
    local _, lines = readme:gsub("\n", "")
    assert.is_true(lines <= 200, tostring(lines))
  end)

  it("begins with a program that puts and reads", function()
    assert.equal("test\tproducer1\tshardId-000000000000\n", run "hello-kinesis")
  end)

  it("puts one record, and a list", function()
    assert.matches("^shardId%-%d+\t%d+\n$", run "put_many")
    assert.same({ "a", "b", '{"page":"/"}' }, all_data())
  end)

  it("puts many records by a producer", function()
    assert.equal("", run "on_failure")
    local list = all_data()
    assert.equal(10000, #list)
    assert.equal("click 1", list[1])
  end)

  it("reads on from a saved position, and takes aggregates apart", function()
    local aggregate = kinesis.aggregate { { data = "x", partition_key = "k" }, { data = "y", partition_key = "k" } }
    put("plain", aggregate)
    local lines = {}
    for line in run("position.json"):gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    table.sort(lines)
    assert.same({ "plain", "x", "y" }, lines)
    put "later"
    assert.equal("later\n", run "position.json")
  end)

  it("shares a stream among processes, and goes on at the checkpoint", function()
    for i = 1, 2 do
      for _, data in ipairs { "record " .. i, "stop" } do
        assert(client:put(streams.clicks, data, "key"))
      end
      assert.matches(("^shardId%%-%%d+\trecord %d\nshardId%%-%%d+\tstop\n$"):format(i), run "kinesis.worker")
    end
  end)

  it("runs functions side by side", function()
    local output = run "kinesis.run"
    for i = 1, 3 do
      assert.matches(("tick %d\n"):format(i), output, 1, true)
    end
  end)

  it("puts and reads in a loop of luv", function()
    assert.matches("^%d+\n%d+\n%d+\n$", run "luv")
  end)

  it("has no other program", function()
    local _, count = readme:gsub("```lua\n", "")
    assert.equal(7, count)
  end)
end)
