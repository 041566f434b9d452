--- The adapter of luv (libuv's loop). A coroutine that waits yields to the loop; one poll handle for each client
--- resumes it. The handle keeps the loop alive while a coroutine waits.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local uv = require "luv"
local registry = require "kinesis.wait.registry"

local M = {}

local FOREVER = 86400 -- seconds; the longest wait: the caller then checks again

-- client -> {handle=, waiting= set of wake functions, which reference the coroutines, due= list of waits to end}
local pumps = setmetatable({}, { __mode = "k" })

local function current(what)
  local task, is_main = coroutine.running()
  if not task or is_main then
    errors.raise_mistake(("kinesis: this call %s, which a callback of luv cannot do; make it in a coroutine: "
      .. "coroutine.wrap(function() … end)()"):format(what))
  end
  return task
end

local function finish(wait)
  wait.over = true
  wait.clean()
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

-- The wait is over whatever resumed it; a later wake has no effect.
local function yield(wait)
  coroutine.yield()
  finish(wait)
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
  pumps[client], client.rearm = nil, nil
  if pump then
    pump.handle:close()
  end
end

M.forget = close

-- When no coroutine waits: the handle stays, without keeping the loop alive, while there are producers, which need
-- drains; else it is closed.
local function rest(client, pump)
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

local function resume_due(pump)
  local due = pump.due
  pump.due = {}
  resume_all(due)
end

-- In a callback of the loop. Coroutines are resumed only after all answers are stored, since they may make any call.
local function on_readable(client, pump)
  client.core:clear()
  pump.draining = true
  registry.drain(client, start_coroutine)
  pump.draining = false
  resume_due(pump)
  if pumps[client] == pump then
    rest(client, pump)
  end
end

-- Runs f in the loop's next round.
local function call_soon(f)
  local timer = uv.new_timer()
  timer:start(0, 0, function()
    timer:close()
    f()
  end)
end

local function start_pump(client)
  local pump = { handle = assert(uv.new_poll(client.core:fd())), waiting = {}, due = {} }
  pumps[client] = pump
  pump.handle:start("r", function()
    on_readable(client, pump)
  end)
  client.rearm = sleep_until_posted
  client:rearm()
  return pump
end

function M.attach(client)
  rest(client, pumps[client] or start_pump(client))
end

local function start_timer(deadline, f)
  local timer = uv.new_timer()
  timer:start(math.ceil(math.max(0, math.min(deadline - core.now(), FOREVER)) * 1000), 0, f)
  return timer
end

function M.ready(client, id, deadline)
  local wait = { task = current "waits for its answer" }
  if client.core:is_closed() then
    return
  end
  local pump = pumps[client] or start_pump(client)
  pump.handle:ref()
  local function wake()
    pump.due[#pump.due + 1] = wait
    if not pump.draining and #pump.due == 1 then
      call_soon(function()
        resume_due(pump)
      end)
    end
  end
  pump.waiting[wake] = true
  registry.add(client, id, wake)
  local timer = deadline and start_timer(deadline, function()
    resume(wait)
  end)
  function wait.clean()
    registry.remove(client, id, wake)
    pump.waiting[wake] = nil
    if timer then
      timer:close()
    end
    rest(client, pump)
  end
  yield(wait)
end

function M.sleep(deadline)
  local wait = { task = current "sleeps" }
  local timer = start_timer(deadline, function()
    resume(wait)
  end)
  function wait.clean()
    timer:close()
  end
  yield(wait)
end

--- Sleeps until the loop's next round.
function M.yield_to_others()
  return M.sleep(0)
end

return M
