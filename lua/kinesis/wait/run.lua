--- kinesis.run: the event loop of a plain script. Waits yield only in coroutines that kinesis.run started; in any
--- other coroutine, also in one that a task created, a wait blocks the process.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local registry = require "kinesis.wait.registry"

local M = {}

-- coroutine -> its loop, which M.run holds: what was cut off by an error must not keep its tasks alive
local tasks = setmetatable({}, { __mode = "kv" })

-- A loop: `runnable` is a queue of tasks, from `first` to `last`; `asleep` maps each waiting task to its wait; `timed`
-- has those of them that have a deadline, `clients` how many of them wait for each client: a wait of one of many tasks
-- looks at few. A task that an error kept from leaving `asleep` is in both; it then wakes once more, early; a client
-- that an error kept from leaving `clients` stays there until it is closed.

function M.inside()
  local task = coroutine.running()
  return task and tasks[task]
end

-- A task does not wait any more.
local function leave_sleep(loop, task)
  local wait = loop.asleep[task]
  loop.asleep[task], loop.timed[task] = nil, nil
  local client = wait and wait.client
  if client then
    local others = (loop.clients[client] or 1) - 1
    loop.clients[client] = others > 0 and others or nil
  end
end

local function make_runnable(loop, task)
  if not loop.asleep[task] then
    return
  end
  loop.runnable[loop.last + 1] = task
  loop.last = loop.last + 1
  leave_sleep(loop, task)
end

-- `by_others`: only another task can end this wait.
local function sleep_until(client, id, deadline, by_others)
  local task = coroutine.running()
  errors.check_yieldable()
  local loop = tasks[task]
  local wait = { client = client, id = id, deadline = deadline, by_others = by_others }
  if client then
    loop.clients[client] = (loop.clients[client] or 0) + 1
  end
  loop.asleep[task], loop.timed[task] = wait, deadline and wait
  if not client then
    coroutine.yield()
    return
  end
  function wait.wake()
    if loop.asleep[task] == wait then
      make_runnable(loop, task)
    end
  end
  registry.add(client, id, wait.wake)
  coroutine.yield()
  registry.remove(client, id, wait.wake)
end

M.check = errors.check_yieldable

function M.ready(client, id, deadline, by_others)
  return sleep_until(client, id, deadline, by_others)
end

-- Whether all tasks that wait can be woken by another task only.
local function only_wait_for_others(loop)
  for _, wait in pairs(loop.asleep) do
    if not wait.by_others then
      return false
    end
  end
  return true
end

--- Whether no other task can do anything before the running one does.
function M.is_alone()
  local loop = tasks[coroutine.running()]
  return loop.first > loop.last and only_wait_for_others(loop)
end

function M.sleep(deadline)
  repeat
    sleep_until(nil, nil, deadline)
  until core.now() >= deadline
end

--- Puts the running task at the end of the queue.
function M.yield_to_others()
  return sleep_until(nil, nil, 0)
end

-- Each of them sees whether it is the last one.
local function wake_all(loop)
  local all = {}
  for task in pairs(loop.asleep) do
    all[#all + 1] = task
  end
  for _, task in ipairs(all) do
    make_runnable(loop, task)
  end
end

local function next_deadline(loop)
  local first
  for _, wait in pairs(loop.timed) do
    if not first or wait.deadline < first then
      first = wait.deadline
    end
  end
  return first
end

local function wake_expired(loop)
  local now, expired = core.now(), {}
  for task, wait in pairs(loop.timed) do
    if wait.deadline <= now then
      expired[#expired + 1] = task
    end
  end
  for _, task in ipairs(expired) do
    make_runnable(loop, task)
  end
end

local function wait_for_any(loop)
  local cores, clients = {}, {}
  for client in pairs(loop.clients) do
    clients[#clients + 1] = client
    cores[#cores + 1] = client.core
  end
  registry.add_attached(clients, cores)
  local deadline = next_deadline(loop)
  core.wait(cores, deadline and math.max(0, deadline - core.now()))
  for _, client in ipairs(clients) do
    registry.drain(client)
    if client.core:is_closed() then -- by a fork, too, which no message reports
      registry.wake_all(client)
      loop.clients[client] = nil
    end
  end
  wake_expired(loop)
end

-- Drops the waiting tasks: they are never resumed, and must not keep their clients alive.
local function abandon(loop)
  for _, wait in pairs(loop.asleep) do
    if wait.client then
      registry.remove(wait.client, wait.id, wait.wake)
    end
  end
end

-- Adds a task to a loop.
local function add_task(loop, f)
  local task = coroutine.create(f)
  tasks[task] = loop
  loop.last = loop.last + 1
  loop.runnable[loop.last] = task
  return task
end

--- Runs a function in a coroutine of its own, in the run of the caller. The function returned drops it: it is not
--- resumed any more.
---@return fun() drop
function M.spawn(_, f)
  local loop = tasks[coroutine.running()]
  local task = add_task(loop, f)
  return function()
    local wait = loop.asleep[task]
    tasks[task] = nil
    leave_sleep(loop, task)
    if wait and wait.client then
      registry.remove(wait.client, wait.id, wait.wake)
    end
  end
end

-- Raises a task's error with the task's traceback.
local function resume(task)
  local good, err = coroutine.resume(task)
  if not good then
    error(type(err) == "string" and debug.traceback(task, err) or err, 0)
  end
end

local function new_loop()
  return { runnable = {}, first = 1, last = 0, asleep = {}, timed = {}, clients = {} }
end

-- Runs the tasks of a loop until all have returned, or is_done() after a round.
local function run_tasks(loop, is_done)
  while not is_done() do
    -- only tasks that were runnable when this round began; the others run in the next one
    for i = loop.first, loop.last do
      local task = loop.runnable[i]
      loop.runnable[i] = nil
      loop.first = i + 1
      leave_sleep(loop, task)
      if coroutine.status(task) ~= "dead" and tasks[task] == loop then
        resume(task)
      end
      if coroutine.status(task) == "dead" then
        leave_sleep(loop, task)
      end
    end
    if loop.first > loop.last and not next(loop.asleep) then
      return
    end
    local idle = loop.first > loop.last and not is_done()
    if idle and only_wait_for_others(loop) then
      wake_all(loop)
    elseif idle then
      wait_for_any(loop)
    end
  end
end

-- An error ends the whole run.
local function drive(loop, is_done)
  local good, err = pcall(run_tasks, loop, is_done)
  if not good then
    abandon(loop)
    error(err, 0)
  end
end

--- Prepares to run a function beside an iterator that is called outside of any run. The function returned runs it, and
--- what it spawns, until is_done(). What an error cuts off, such as that of Ctrl-C, goes on with the next call.
---@param f fun()
---@return fun(is_done: fun(): boolean) drive
function M.beside(f)
  local loop = new_loop()
  add_task(loop, f)
  return function(is_done)
    run_tasks(loop, is_done)
  end
end

--- Runs a function and what it spawns, until the function has returned; what it has spawned is then dropped.
---@param f fun()
function M.run_one(f)
  local loop = new_loop()
  local task = add_task(loop, f)
  drive(loop, function()
    return coroutine.status(task) == "dead"
  end)
  abandon(loop)
end

local function never()
  return false
end

--- Runs functions concurrently, each in a coroutine, until all have returned: for example a producer and a consumer. It
--- may be called inside another run; the other functions of the outer run then wait until the inner run ends.
---
--- Raises the first error that a function raises, which ends the run; raises at the caller's line a message that names
--- an argument that is not a function.
---@param ... fun()
function M.run(...)
  for i = 1, select("#", ...) do
    local f = select(i, ...)
    if type(f) ~= "function" then
      error(("run: argument %d must be a function, got %s"):format(i, type(f)), 2)
    end
  end
  local loop = new_loop()
  for i = 1, select("#", ...) do
    add_task(loop, (select(i, ...)))
  end
  drive(loop, never)
end

return M
