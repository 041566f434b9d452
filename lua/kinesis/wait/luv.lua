--- luv: libuv's loop. A coroutine that waits lets the loop run; a poll handle a client resumes it. The handle
--- keeps the loop alive for as long as somebody waits.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local uv = require "luv"
local registry = require "kinesis.wait.registry"

local M = {}

local FOREVER = 86400 -- seconds; no wait is longer: what waits looks again then

-- client -> {handle=, waiting= set of wake functions, which holds the coroutines, due= waits to be ended}
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

-- What a coroutine raises has nobody to go to but the loop, which prints strings only; after the others' turn. One that
-- was closed while it waited can clean up no more.
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

-- Whatever resumed it, the wait is over then: somebody else's word comes too late.
local function yield(wait)
  coroutine.yield()
  finish(wait)
end

-- In a coroutine of its own.
function M.run_handler(_, f, argument)
  resume { task = coroutine.create(function()
    f(argument)
  end) }
end

local function tell(f, argument)
  return M.run_handler(nil, f, argument)
end

local function close(client)
  local pump = pumps[client]
  pumps[client], client.rearm = nil, nil
  if pump then
    pump.handle:close()
  end
end

M.forget = close

-- While nobody waits the handle is no reason for the loop to go on; a producer, though, has something to be told.
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
    client.core:poke() -- there is something already: the loop sees it in its next round
  end
end

local function resume_due(pump)
  local due = pump.due
  pump.due = {}
  resume_all(due)
end

-- In a callback of the loop. Nobody is resumed before everything is stored: they may do as they like.
local function on_readable(client, pump)
  client.core:clear()
  pump.draining = true
  registry.drain(client, tell)
  pump.draining = false
  resume_due(pump)
  if pumps[client] == pump then
    rest(client, pump)
  end
end

-- Soon, in the loop's next round.
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

--- The loop's next round.
function M.yield_to_others()
  return M.sleep(0)
end

return M
