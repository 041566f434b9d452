--- Fixtures for specs: services, clients, streams, child processes.
local core = require "kinesis.core"
local kinesis = require "kinesis"
local assert = require "luassert"
local secrets = require "support.secrets"

local M = {}

--- The two services that specs are run against. `arns`: knows StreamARN; `children`: an ended shard names
--- its children.
M.services = {
  { name = "kinesis-local", endpoint = os.getenv "KINESIS_LOCAL", arns = true, children = true },
  { name = "kinesalite", endpoint = os.getenv "KINESALITE", arns = false, children = false },
}

M.region = "us-east-1"
M.keys = { access_key_id = "AKIDEXAMPLE", secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" }

--- Every byte value once, in order.
local bytes = {}
for i = 0, 255 do
  bytes[i + 1] = string.char(i)
end
M.bytes = table.concat(bytes)

--- Creates a client. `service`: one of M.services, or a URL; `more`: more options.
function M.client(service, more)
  local options = {
    region = M.region,
    credentials = M.keys,
    endpoint = type(service) == "table" and service.endpoint or service,
  }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  return assert(kinesis.client(options))
end

--- Runs a full collection. LuaJIT's compiled traces reference values, so they are flushed first.
function M.collect()
  local jit = rawget(_G, "jit")
  if jit then
    jit.flush()
  end
  collectgarbage()
  collectgarbage()
end

local counter = 0

--- A unique name.
function M.name(prefix)
  counter = counter + 1
  return ("%s-%.0f-%d"):format(prefix or "stream", core.now() * 1e6 % 1e12, counter)
end

--- Creates a folder with these files, by their paths in it, until the worker of the specs ends.
function M.folder(files)
  local folder = ("%s/%s"):format(os.getenv "RUN_DIR", M.name "folder")
  for path, text in pairs(files) do
    os.execute(("mkdir -p '%s/%s'"):format(folder, path:match "^(.*)/" or ""))
    local file = assert(io.open(folder .. "/" .. path, "wb"))
    file:write(text)
    file:close()
  end
  return folder
end

--- The keys of a table, sorted.
function M.sorted_keys(map)
  local keys = {}
  for key in pairs(map) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

--- Seconds after which a lease is taken whose worker in this process does not renew it: more where the collector holds
--- that up.
M.FAILOVER = os.getenv "SPEC_LESS" and 4 or 1

--- Calls `look` until it returns a true value, and returns that; fails after a minute.
function M.eventually(look)
  local deadline = core.now() + 60
  while true do
    local seen = look()
    if seen then
      return seen
    end
    assert(core.now() < deadline, "it did not come about in time")
    kinesis.sleep(0.01)
  end
end

--- Waits until the stream is ACTIVE, after its creation or a reshard; returns its summary.
function M.active(client, stream)
  return M.eventually(function()
    local answer = assert(client:call("DescribeStreamSummary", { StreamName = stream }))
    local summary = answer.StreamDescriptionSummary
    return summary.StreamStatus == "ACTIVE" and summary
  end)
end

--- Creates a stream of `shards` (1) shards, and waits until it is ACTIVE. Returns its name and its summary.
function M.stream(client, shards, prefix)
  local name = M.name(prefix)
  assert(client:call("CreateStream", { StreamName = name, ShardCount = shards or 1 }))
  return name, M.active(client, name)
end

--- Puts the numbers first … last as data, each with its own partition key.
function M.put_numbers(client, stream, first, last)
  local list = {}
  for i = first, last do
    list[#list + 1] = { data = tostring(i), partition_key = "key " .. i }
  end
  local _, failed = client:put_many(stream, list)
  assert.equal(0, failed)
end

--- The records of a stream, as a list; when the reader hangs, those before that.
function M.read(client, stream, more)
  local options, list = { stop_at_tip = true, poll_interval = 0.2, idle_timeout = 20 }, {}
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  for record in client:shards(stream):records(options) do
    list[#list + 1] = record
  end
  return list
end

--- Runs f, a function written on one line that makes no tail call, and expects it to raise a string at
--- that line. Returns the string without file and line.
function M.complaint(f)
  local good, err = pcall(f)
  assert.is_false(good, "nothing was raised")
  assert.equal("string", type(err))
  local here = debug.getinfo(f, "S")
  local place = ("%s:%d: "):format(here.short_src, here.linedefined)
  assert.equal(place, err:sub(1, #place), "raised elsewhere")
  return err:sub(#place + 1)
end

--- A process's children, as a set of pids.
function M.children(pid)
  local file = assert(io.open(("/proc/%s/task/%s/children"):format(pid, pid)))
  local pids = {}
  for child in file:read("*a"):gmatch "%d+" do
    pids[child] = true
  end
  file:close()
  return pids
end

-- ---- child processes ----

local function quote(word)
  return "'" .. tostring(word):gsub("'", [['\'']]) .. "'"
end

local Child = {}
Child.__index = Child

--- The child's whole output (stdout, then nothing else) and its exit status, when it has ended.
function Child:wait()
  if not self.output then
    local all = self.pipe:read "*a"
    self.pipe:close()
    self.output, self.status = secrets.heard(all):match "^(.*)status (%d+)\n$"
    if self.file then
      os.remove(self.file)
    end
  end
  return self.output, tonumber(self.status)
end

--- Reads the next line of the child's output.
function Child:line()
  return secrets.heard(self.pipe:read "*l")
end

--- Starts a shell command with `env` in its environment, in the background. Its output includes stderr.
function M.spawn(command, env)
  local words = {}
  for name, value in pairs(env or {}) do
    if (name:find "SECRET" or name:find "TOKEN") and not name:find "FILE$" then
      secrets.keep(value)
    end
    words[#words + 1] = ("export %s=%s;"):format(name, quote(value))
  end
  words[#words + 1] = ("( %s ) 2>&1 </dev/null; echo status $?"):format(command)
  local pipe = assert(io.popen(table.concat(words, " "), "r"))
  return setmetatable({ pipe = pipe }, Child)
end

--- Starts an interpreter like this one on a piece of source; `...` become its arguments.
function M.lua(source, env, ...)
  local file = os.tmpname()
  local out = assert(io.open(file, "w"))
  out:write(source)
  out:close()
  local words = { os.getenv "LUA", file }
  for i = 1, select("#", ...) do
    words[#words + 1] = quote((select(i, ...)))
  end
  local child = M.spawn(table.concat(words, " "), env)
  child.file = file
  return child
end

--- Sends a signal, "INT" or "TERM", to a child that `example` started.
function Child:signal(name)
  M.spawn(("kill -%s %s"):format(name, self.pid)):wait()
end

--- The environment of an example: the service and the stream.
function M.example_env(service, stream)
  return {
    AWS_ENDPOINT_URL_KINESIS = type(service) == "table" and service.endpoint or service, AWS_REGION = M.region,
    AWS_ACCESS_KEY_ID = M.keys.access_key_id, AWS_SECRET_ACCESS_KEY = M.keys.secret_access_key,
    KINESIS_STREAM = stream,
  }
end

--- Starts a script of examples/ with an interpreter like this one; its `pid` is known. It is killed after two
--- minutes.
function M.example(script, env, ...)
  local words = { ("timeout -s KILL 120 sh -c 'echo $$; exec \"$0\" \"$@\"' %s %s/examples/%s"):format(
    os.getenv "LUA", quote(os.getenv "ROOT"), script) }
  for _, word in ipairs { ... } do
    words[#words + 1] = quote(word)
  end
  local child = M.spawn(table.concat(words, " ") .. "; exit $?", env)
  child.pid = child:line()
  return child
end

local function start_script(interpreter, script, env, ...)
  local words = { interpreter, quote(os.getenv "ROOT" .. "/spec/support/" .. script) }
  for _, word in ipairs { ... } do
    words[#words + 1] = quote(word)
  end
  return M.spawn(table.concat(words, " "), env)
end

--- Starts a script of spec/support in Node, without Node's warnings.
function M.node(script, env, ...)
  return start_script("exec env NODE_NO_WARNINGS=1 node", script, env, ...)
end

--- Starts a script of spec/support in the Python that has botocore.
function M.python(script, env, ...)
  return start_script("exec " .. os.getenv "PYTHON", script, env, ...)
end

return M
