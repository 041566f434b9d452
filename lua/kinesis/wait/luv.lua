--- The adapter of luv (libuv's loop). A coroutine that waits yields to the loop; one poll handle for each client
--- resumes it. The handle keeps the loop alive while a coroutine waits.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local uv = require "luv"
local notice = require "kinesis.observe.notice"
local registry = require "kinesis.wait.registry"

local M = {}

local FOREVER = 86400 -- seconds; the longest wait: the caller then checks again
local LOOK_EVERY = 10 -- milliseconds, where luv cannot watch the client's descriptor

-- client -> {handle=, fd= what it watches, client= it again while the handle is open, waiting= set of wake functions,
-- which reference the coroutines, due= list of waits to end}
local pumps = setmetatable({}, { __mode = "k" })
local unclosed = {} -- a set of timers, which are stopped
local stopped_handles = {} -- descriptor -> a stopped poll handle
local rest -- function

local function current(what)
  local task, is_main = coroutine.running()
  if not task or is_main then
    errors.raise_mistake(("kinesis: this call %s, which a callback of luv cannot do; make it in a coroutine: "
      .. "coroutine.wrap(function() … end)()"):format(what))
  end
  errors.check_yieldable()
  return task
end

-- A process that exits while a handle is closing crashes in luv 1.44, and only the loop ends the closing. So outside
-- the loop handles are only stopped. A timer is closed when the loop runs again. A poll handle stays for the next
-- client with the same descriptor: closing it later would also end the watching of that by another handle.
local function close_handle(handle, fd)
  if handle:is_closing() then
    return
  elseif uv.loop_mode() then
    handle:close()
    return
  end
  handle:stop()
  handle:unref()
  if fd then
    stopped_handles[fd] = handle
  else
    unclosed[handle] = true
  end
end

-- In a callback of the loop.
local function close_stopped()
  for handle in pairs(unclosed) do
    close_handle(handle)
    unclosed[handle] = nil
  end
end

-- A wait: {task=, over=}, and of M.ready {client=, id=, pump=, wake=, timer=}, as far as it got. Idempotent.
local function finish(wait)
  wait.over = true
  if wait.timer then
    close_handle(wait.timer)
  end
  if wait.wake then
    registry.remove(wait.client, wait.id, wait.wake)
    wait.pump.waiting[wait.wake] = nil
    rest(wait.client, wait.pump)
  end
end

-- Resumes all, then raises the first error with its traceback as a string, since luv's loop prints only strings. A
-- coroutine that was closed while it waited cannot clean up, so its wait is finished here.
local function resume_all(waits)
  local problem
  for _, wait in ipairs(waits) do
    local good, err = true, nil
    if not wait.over and coroutine.status(wait.task) == "suspended" then
      good, err = coroutine.resume(wait.task)
    elseif not wait.over then
      finish(wait)
    end
    problem = problem or not good and debug.traceback(wait.task, tostring(err)) or nil
  end
  if problem then
    error(problem, 0)
  end
end

local function resume(wait)
  resume_all { wait }
end

-- Runs `start`, then yields. The wait is over whatever resumed it, or which error was thrown; a later wake has
-- no effect.
local function yield(wait, start, ...)
  local function go_on(...)
    start(wait, ...)
    coroutine.yield()
    finish(wait)
  end
  local good, err = pcall(go_on, ...)
  if not good then
    finish(wait)
    error(err, 0)
  end
end

-- Runs it in a new coroutine.
local function start_coroutine(f, argument)
  resume { task = coroutine.create(function()
    f(argument)
  end) }
end

function M.run_handler(_, f, argument)
  start_coroutine(f, argument)
end

local function close(client)
  local pump = pumps[client]
  if pump and pump.handle then
    pump.client = nil -- what is stopped must not keep it alive
    close_handle(pump.handle, pump.fd)
  end
  pumps[client], client.rearm = nil, nil
end

M.forget = close

-- When no coroutine waits: the handle stays, without keeping the loop alive, while there are producers, which need
-- drains; else it is closed.
function rest(client, pump)
  if next(pump.waiting) then
    return
  elseif next(client.producers) then
    pump.handle:unref()
  elseif pumps[client] == pump then
    close(client)
  end
end

local function sleep_until_posted(client)
  if not client.core:arm() then
    client.core:poke() -- messages are queued already: the loop drains them in its next round
  end
end

-- Runs f in the loop's next round.
local function call_soon(f, argument)
  local timer = uv.new_timer()
  timer:start(0, 0, function()
    timer:close()
    f(argument)
  end)
end

local function resume_due(pump)
  local due = pump.due
  pump.due = {}
  local good, err = pcall(resume_all, due)
  if not good then
    for _, wait in ipairs(due) do -- those that an error kept from being resumed
      pump.due[#pump.due + 1] = wait
    end
    call_soon(resume_due, pump)
    error(err, 0)
  end
end

-- In a callback of the loop. Coroutines are resumed only after all answers are stored, since they may make any call.
local function on_readable(client, pump)
  close_stopped()
  client.core:clear()
  pump.draining = true
  local good, err = pcall(registry.drain, client, start_coroutine)
  pump.draining = false
  if not good then
    error(err, 0) -- the drain has poked the client: this function is called again
  end
  resume_due(pump)
  if pumps[client] == pump then
    rest(client, pump)
  end
end

-- A poll handle; where luv cannot watch the client's descriptor, a timer that looks often.
local function new_handle(client, pump)
  local fd = client.core:fd()
  local handle, why = stopped_handles[fd], nil
  if not handle or handle:is_closing() then
    handle, why = uv.new_poll(fd)
  end
  pump.has_timer, pump.fd = not handle, handle and fd
  if not handle then
    notice.print_rarely("luv poll", "luv cannot watch for answers (%s); looking every %d ms instead", tostring(why),
      LOOK_EVERY)
    handle = assert(uv.new_timer())
  end
  return handle
end

-- The client's pump, created and started when there is none, or as far as an error has kept it from that.
local function pump_of(client)
  local pump = pumps[client] or { waiting = {}, due = {} }
  pumps[client] = pump
  local handle = pump.handle
  if not handle or handle:is_closing() or unclosed[handle] or pump.fd and stopped_handles[pump.fd] == handle then
    pump.handle = new_handle(client, pump)
    pump.handle:ref()
    stopped_handles[pump.fd or -1] = nil
  end
  if not pump.handle:is_active() or not client.rearm or not pump.client then
    pump.client = client
    local function look()
      if pump.client then
        on_readable(pump.client, pump)
      end
    end
    if pump.has_timer then
      pump.handle:start(0, LOOK_EVERY, look)
    else
      pump.handle:start("r", look)
    end
    client.rearm = sleep_until_posted
    client:rearm()
  end
  return pump
end

function M.attach(client)
  rest(client, pump_of(client))
end

local function start_timer(wait, deadline)
  wait.timer = uv.new_timer()
  wait.timer:start(math.ceil(math.max(0, math.min(deadline - core.now(), FOREVER)) * 1000), 0, function()
    resume(wait)
  end)
end

local function start_waiting(wait, deadline)
  local pump = pump_of(wait.client)
  wait.pump = pump
  pump.handle:ref()
  function wait.wake()
    pump.due[#pump.due + 1] = wait
    if not pump.draining and #pump.due == 1 then
      call_soon(resume_due, pump)
    end
  end
  pump.waiting[wait.wake] = true
  registry.add(wait.client, wait.id, wait.wake)
  if deadline then
    start_timer(wait, deadline)
  end
end

function M.check()
  current "waits for its answer"
end

function M.ready(client, id, deadline)
  local task = current "waits for its answer"
  if not client.core:is_closed() then
    yield({ task = task, client = client, id = id }, start_waiting, deadline)
  else
    yield({ task = task }, start_timer, 0) -- what the caller waits for may be up to another coroutine
  end
end

function M.sleep(deadline)
  yield({ task = current "sleeps" }, start_timer, deadline)
end

--- Sleeps until the loop's next round.
function M.yield_to_others()
  return M.sleep(0)
end

--- Runs a function in a coroutine of the loop.
function M.spawn(_, f)
  coroutine.wrap(f)()
end

return M
