-- examples/tail.lua: what is written to a log arrives, through rotations, once.
-- Flavours: *lua5.4 *luajit
local fresh = require "support.fresh"

local service = fresh.services[2]
local client, folder

local function shell(command)
  assert(os.execute(command), command)
end

local function append(name, text)
  local file = assert(io.open(folder .. "/" .. name, "a"))
  file:write(text)
  file:close()
end

local function lines_of(stream)
  local list = {}
  for _, record in ipairs(fresh.read(client, stream)) do
    list[#list + 1] = record.data
  end
  return list
end

-- Until the stream holds just these lines.
local function expect(stream, lines)
  local found
  fresh.eventually(function()
    found = lines_of(stream)
    return #found >= #lines
  end)
  assert.same(lines, found)
end

local function start(stream, ...)
  local words = { ... }
  words[#words + 1] = folder .. "/log"
  words[#words + 1] = stream
  return fresh.example("tail.lua", fresh.example_env(service), (table.unpack or unpack)(words))
end

-- Until the process has gone back to the beginning of the log.
local function at_its_beginning(pid)
  fresh.eventually(function()
    local pipe = io.popen(([[for fd in /proc/%d/fd/*; do
      [ "$(readlink $fd)" = %s/log ] && cat /proc/%d/fdinfo/${fd##*/}; done]]):format(pid, folder, pid))
    local text = pipe:read "*a"
    pipe:close()
    return text:find "pos:%s*0\n"
  end)
end

setup(function()
  client = fresh.client(service)
end)

teardown(function()
  client:close()
end)

before_each(function()
  folder = os.tmpname()
  os.remove(folder)
  shell("mkdir " .. folder)
end)

after_each(function()
  shell("rm -r " .. folder)
end)

describe("the tail example", function()
  it("follows a file through both kinds of rotation, line by line", function()
    local stream = fresh.stream(client, 1, "tail")
    append("log", "before\n")
    local child = start(stream, "--from-start")
    expect(stream, { "before" })
    append("log", "one\ntw")
    expect(stream, { "before", "one" })
    append("log", "o\n")
    expect(stream, { "before", "one", "two" })
    append("log", "last of the old\n")
    shell(("mv %s/log %s/log.1"):format(folder, folder))
    append("log", "first of the new\n")
    expect(stream, { "before", "one", "two", "last of the old", "first of the new" })
    shell(("cp %s/log %s/log.2; : > %s/log"):format(folder, folder, folder))
    -- one that has grown beyond its old end before anybody looks cannot be told from one that only grew
    at_its_beginning(child.pid)
    append("log", "x\n")
    expect(stream, { "before", "one", "two", "last of the old", "first of the new", "x" })
    child:signal "INT"
    child:wait()
  end)

  it("reads a file once, and takes keys from its lines", function()
    local stream = fresh.stream(client, 1, "tail")
    append("log", ("user7 bought\n%s\nuser9 sold"):format(("x"):rep(1024 * 1024)))
    local child = start(stream, "--once", "--key", "user%d")
    local output, status = child:wait()
    assert.matches("a line of 1048576 bytes was skipped", output, 1, true)
    assert.matches("tail: 2 lines, 2 stored, 0 failed\n", output, 1, true)
    assert.equal(0, status)
    assert.same({ "user7 bought", "user9 sold" }, lines_of(stream))
  end)

  it("delivers what it has read when it is told to end", function()
    if not pcall(require, "posix.signal") then
      pending "lua-posix is not there for this Lua"
    end
    local stream = fresh.stream(client, 1, "tail")
    append("log", "")
    local child = start(stream, "--from-start")
    append("log", "one\n")
    expect(stream, { "one" })
    for i = 1, 5000 do
      append("log", i .. "\n")
    end
    child:signal "TERM"
    local output, status = child:wait()
    local read, stored = output:match "tail: (%d+) lines, (%d+) stored, 0 failed"
    assert.equal(read, stored, output)
    assert.equal(0, status)
    assert.equal(tonumber(read), #lines_of(stream))
  end)
end)
