--- Real workers (Lua: worker, manager, processor, tracker, leases) and their machines in C, each on a stepped engine,
--- in the hands of a spec: nothing goes on unless the spec lets it. Stubs are the readers, the waiting, and the clock.
local cjson = require("cjson").new()
local core = require "kinesis.core"
local lists = require "kinesis.shards"
local readers = require "kinesis.reader"
local schema = require "kinesis.options"
local wait = require "kinesis.wait"
local workers = require "kinesis.worker"

local M = { now = 0 } -- seconds; core.now

local ROUNDS_MAX = 1000

-- ---- JSON between the stepped machine and Lua ----

local function decode(text)
  local row = text and cjson.decode(text)
  for name, value in pairs(row or {}) do
    row[name] = type(value) == "number" and math.floor(value) or value
  end
  return row
end

local Handle = {}
Handle.__index = Handle

function Handle:submit(op)
  if op.kind == "list" and self.lists_directly then
    self.on_question "list"
    table.insert(self.lists, { "done", op.number, "done", self.lists_directly(), "plain", "" })
    return true
  end
  local copy = {}
  for name, value in pairs(op) do
    copy[name] = name == "changes" and cjson.encode(value) or value
  end
  return self.machine:submit(copy)
end

function Handle:next()
  if self.lists[1] then
    return (table.unpack or unpack)(self.lists[1])
  end
  local event, a, b, c, d, e = self.machine:next()
  if event == "question" then
    return event, a, b, c and c:gsub('"', "") or false, d, decode(e) or false
  elseif event == "done" then
    return event, a, b, b == "failed" and { code = "LeaseStore", message = c } or b ~= "failed" and decode(c), d, e
  end
  return event, a, decode(b) or false
end

function Handle:pass()
  if self.lists[1] then
    table.remove(self.lists, 1)
  else
    self.machine:pass()
  end
end

function Handle:claim()
  if self.on_question then
    self.on_question(select(2, self:next()))
  end
  return self -- the machine keeps it until it is answered
end

function Handle:answer(_, outcome, value)
  self.machine:answer(outcome, type(value) == "table" and cjson.encode(value) or value or nil)
end

function Handle:id()
  return self
end

function Handle:close() -- luacheck: ignore 212
end

-- ---- stubs ----

local function ready(client, id, deadline)
  coroutine.yield { client = client, id = id, deadline = deadline }
end

local function sleep(seconds)
  local over = M.now + seconds
  while M.now < over do
    coroutine.yield { deadline = over }
  end
end

local STUBS = {
  { wait, "ready", ready },
  { wait, "sleep", sleep },
  { wait, "poll", function() end },
  { wait, "wake", function(client, id)
    client.woken[id] = true
  end },
  { wait, "can_spawn", function()
    return true
  end },
  { wait, "spawn", function(client, f)
    table.insert(client.tasks, { thread = coroutine.create(f), waits = {} })
  end },
  { wait, "run", function(_, f)
    f()
  end },
  { core, "now", function()
    return M.now
  end },
}

local saved

--- Puts the stubs in, until `restore`.
---@param shards table[] as kinesis.shards.list returns them
---@param open_reader function in the place of kinesis.reader.open
---@param random function in the place of math.random
function M.install(shards, open_reader, random)
  saved = {}
  local stubs = { { math, "random", random }, { readers, "open", open_reader }, { lists, "list", function()
    return shards
  end } }
  for _, list in ipairs { STUBS, stubs } do
    for _, stub in ipairs(list) do
      saved[#saved + 1] = { stub[1], stub[2], stub[1][stub[2]] }
      stub[1][stub[2]] = stub[3]
    end
  end
end

function M.restore()
  for _, stub in ipairs(saved) do
    stub[1][stub[2]] = stub[3]
  end
end

--- A reader whose records come from a function; it has read nothing so far that could be counted.
---@param next_record fun(): table
function M.reader(next_record)
  local reader, stopped = {}, false
  function reader.stop()
    stopped = true
  end
  reader.close = reader.stop
  function reader.position()
    return { shards = {} }
  end
  function reader.stats()
    return { shards = {} }
  end
  return setmetatable(reader, { __call = function()
    if not stopped then
      return next_record()
    end
  end })
end

-- ---- a worker ----

local SETTINGS = { region = "us-east-1" }

local checked = setmetatable({}, { __mode = "k" }) -- options -> the same with defaults

--- Starts a worker of the stream "stream". `one`: id, engine, store, options, handler; failover, machine_failover:
--- where the worker, or its machine, has another one than in the options; on_question(kind, key, owner, counter,
--- changes): called with each operation that the store is asked for; lists_directly: the machine is not asked for
--- lists, whose JSON would be most of the work. Returns `one`, whose `over` says that it has ended.
function M.start(one)
  one.tasks, one.woken = {}, {}
  local client = { woken = one.woken, tasks = one.tasks, workers = {}, settings = SETTINGS }
  client.core = {
    leases = function(_, options)
      one.machine = one.engine:leases { owner = options.worker,
        failover = one.machine_failover or options.failover }
      one.handle = setmetatable({ machine = one.machine, on_question = one.on_question, lists = {},
        lists_directly = one.lists_directly and one.store.list }, Handle)
      return one.handle
    end,
    is_closed = function()
      return false
    end,
    time = function()
      return 1700000000
    end,
  }
  local unique_name = core.unique_name
  core.unique_name = function()
    return one.id
  end
  local options = { store = one.store, failover = one.failover, on_error = function() end }
  checked[one.options] = checked[one.options] or schema.check("worker", one.options, 1)
  for name, value in pairs(checked[one.options]) do
    options[name] = options[name] or value
  end
  one.worker = assert(workers.open(client, { "stream" }, "counter", options))
  one.worker.leases.most_asked = 1
  core.unique_name = unique_name
  wait.spawn(client, function()
    one.worker:run(one.handler)
    one.over = true
  end)
  return one
end

local function is_due(one, waits)
  local arrived = waits.id == one.handle and one.worker.leases.asked == 0
    and (one.handle.lists[1] or one.machine:next() ~= nil)
  return arrived or one.woken[waits.id or one] or not next(waits) or waits.deadline and waits.deadline <= M.now
    or waits.id and (waits.id.done or waits.id.answered)
end

local function resume(task)
  local good, waits = coroutine.resume(task.thread)
  if not good then
    error(type(waits) == "table" and waits or debug.traceback(task.thread, waits), 0)
  end
  task.waits = waits
end

--- Lets a worker do all that it can do now.
function M.run(one)
  for _ = 1, ROUNDS_MAX do
    local progress = false
    one.engine:step()
    local due = {}
    for _, task in ipairs(one.tasks) do
      if is_due(one, task.waits) then
        due[#due + 1] = task
      end
    end
    for id in pairs(one.woken) do
      one.woken[id] = nil
    end
    for _, task in ipairs(due) do
      resume(task)
      progress = true
    end
    for i = #one.tasks, 1, -1 do
      if coroutine.status(one.tasks[i].thread) == "dead" then
        table.remove(one.tasks, i)
      end
    end
    if not progress then
      return
    end
  end
  error("the worker spins: it has something to do at every step", 0)
end

return M
