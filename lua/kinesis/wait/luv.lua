--- luv: libuv's loop. A coroutine that waits lets the loop run; a poll handle a client resumes it. The handle
--- keeps the loop alive for as long as somebody waits.
local core = require "kinesis.core"
local uv = require "luv"
local waiters = require "kinesis.wait.waiters"

local M = {}

-- client -> {handle=, waiting= set of wake functions, which holds the coroutines}
local pumps = setmetatable({}, { __mode = "k" })

local function current(what)
  local task, is_main = coroutine.running()
  if not task or is_main then
    error(("kinesis: this call %s, which a callback of luv cannot do; make it in a coroutine: "
      .. "coroutine.wrap(function() … end)()"):format(what), 0)
  end
  return task
end

-- What a coroutine raises has nobody to go to but the loop, which prints strings only; after the others' turn.
local function resume_all(tasks)
  local problem
  for _, task in ipairs(tasks) do
    local good, err = coroutine.resume(task)
    problem = problem or not good and debug.traceback(task, tostring(err)) or nil
  end
  if problem then
    error(problem, 0)
  end
end

local function resume(task)
  resume_all { task }
end

-- In a coroutine of its own.
function M.tell(_, f, argument)
  resume(coroutine.create(function()
    f(argument)
  end))
end

local function tell(f, argument)
  return M.tell(nil, f, argument)
end

local function close(client)
  local pump = pumps[client]
  pumps[client] = nil
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
  waiters.drain(client, tell)
  pump.draining = false
  sleep_until_posted(client)
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
  sleep_until_posted(client)
  return pump
end

function M.watch(client)
  rest(client, pumps[client] or start_pump(client))
end

-- Resumes the task at the deadline, unless something else does so before.
local function start_timer(deadline, wake)
  local timer = uv.new_timer()
  timer:start(math.max(0, math.ceil((deadline - core.now()) * 1000)), 0, wake)
  return timer
end

function M.ready(client, id, deadline)
  local task = current "waits for its answer"
  if client.core:is_closed() then
    return
  end
  local pump = pumps[client] or start_pump(client)
  pump.handle:ref()
  local function wake()
    if not pump.waiting[wake] then
      return
    end
    pump.waiting[wake] = nil
    pump.due[#pump.due + 1] = task
    if not pump.draining and #pump.due == 1 then
      call_soon(function()
        resume_due(pump)
      end)
    end
  end
  pump.waiting[wake] = true
  waiters.add(client, id, wake)
  local timer = deadline and start_timer(deadline, function()
    if pump.waiting[wake] then
      pump.waiting[wake] = nil
      resume(task)
    end
  end)
  coroutine.yield()
  waiters.remove(client, id, wake)
  if timer then
    timer:close()
  end
  rest(client, pump)
end

function M.sleep(deadline)
  local task = current "sleeps"
  local timer
  timer = start_timer(deadline, function()
    timer:close()
    resume(task)
  end)
  coroutine.yield()
end

--- The loop's next round.
function M.breathe()
  return M.sleep(0)
end

return M
