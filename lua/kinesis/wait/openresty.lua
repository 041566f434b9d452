--- The adapter of OpenResty, and of nginx with its Lua module. A cosocket belongs to the request that made it; so for
--- each client one pump, in a timer of the worker, waits for the wake and posts the semaphore of each waiter.
--
-- A pump's states:
--   started  pumps[client] is set; its timer has not run; client.detached is true; replaced after `late`
--   running  `routine` is set; client.detached is nil
--   ended    pumps[client] is nil; client.detached is true
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local registry = require "kinesis.wait.registry"

local M = {}

local FOREVER = 86400 -- seconds; the longest wait: nginx counts milliseconds in 31 bits
local LOOK_EVERY = 1 -- seconds between two checks whether the worker is exiting
local CANNOT_WAIT = {
  init = true, init_worker = true, set = true, header_filter = true, body_filter = true, log = true,
  balancer = true, exit_worker = true,
}

local pumps = setmetatable({}, { __mode = "k" }) -- client -> its pump

--- Seconds; collecting a producer must not block the worker, which serves other requests.
M.exit_timeout = 0

--- A coroutine ends with the request or timer that made it; only the pump's own outlive the caller.
function M.has_coroutines(client)
  local pump = pumps[client]
  return pump ~= nil and pump.routine == coroutine.running()
end

-- ---- the pump ----

local function connect(client)
  local path, why = client.core:listen()
  if not path then
    return nil, tostring(why)
  end
  local socket = ngx.socket.tcp()
  local good, err = socket:connect("unix:" .. path)
  -- on the same thread, at once, so that no other process can connect to the path first
  if not client.core:accept() or not good then
    return nil, err or "the connection came from another process"
  end
  socket:settimeout(FOREVER * 1000) -- nginx logs every one that times out
  return socket
end

-- Whether the pump has no work left and may end. A pump keeps alive what its client's creator references, which with
-- lua_code_cache off is everything that a request has made.
local function may_go(client, pump)
  if registry.any(client) then
    return false
  elseif pump.leaving then
    return core.now() >= pump.leaving or not client:has_work()
  elseif pump.busy or not pump.idle or client.credentials:is_busy() then
    return false
  end
  return not client:has_work()
end

-- Runs a function of the user in a timer, as it may wait for answers that the pump brings. A light thread of the pump
-- would not be freed before the pump ends; a timer's is freed when the function returns.
local function spawn(f, argument)
  local good = ngx.timer.at(0, function()
    f(argument)
  end)
  if not good then
    ngx.thread.spawn(f, argument)
  end
end

-- Runs in a light thread of the pump. Watches for the worker's exit: a timer for that would count against nginx's limit
-- of timers.
local function watch_worker(client, pump)
  while true do
    local left = pump.leaving and pump.leaving - core.now() or 0
    -- the worker goes when its time is up, not at the next look; nginx counts milliseconds
    ngx.sleep(left > 0 and math.min(left + 0.002, LOOK_EVERY) or LOOK_EVERY)
    pump.idle, pump.busy = not pump.busy, false
    if ngx.worker.exiting() then
      local seconds = client:leave() -- each time: readers and producers may still be created
      pump.leaving = pump.leaving or core.now() + seconds
      if pump.idle then
        collectgarbage() -- frees the wake functions of requests that were killed
      end
    end
    client.core:poke()
  end
end

local function pump_until_idle(client, pump)
  if client.core:is_closed() then
    return true
  end
  local socket, err = connect(client)
  if not socket then
    return false, err
  end
  pump.watcher = ngx.thread.spawn(watch_worker, client, pump)
  while not client.core:is_closed() do
    client.core:clear()
    pump.busy = registry.drain(client, spawn) or pump.busy
    if may_go(client, pump) then
      break
    elseif client.core:arm() then
      socket:receiveany(64)
    end
  end
  socket:close()
  return true
end

-- Runs the pump; tries again after a second when it cannot get a socket.
local function keep_pumping(client, pump)
  if pumps[client] ~= pump then
    return
  end
  pump.routine, client.detached = coroutine.running(), nil
  repeat
    local fine, good, why = pcall(pump_until_idle, client, pump)
    if pump.watcher then
      ngx.thread.kill(pump.watcher)
      pump.watcher = nil
    end
    if not fine or not good then
      ngx.log(ngx.ERR, "kinesis: cannot wait for answers, trying again: ", tostring(fine and why or good))
      ngx.sleep(1)
    end
  until fine and good or client.core:is_closed() or ngx.worker.exiting()
  pumps[client], client.detached = nil, true
  client.credentials:drop_task()
  registry.wake_all(client)
end

-- nginx may drop the timer and only log that; a pump that has not begun in time is replaced.
local function start_pump(client)
  local pump = { late = core.now() + LOOK_EVERY }
  pumps[client], client.detached = pump, true
  local good, err = ngx.timer.at(0, function()
    keep_pumping(client, pump)
  end)
  if not good then
    pumps[client] = nil
    error("kinesis: nginx gave no timer: " .. tostring(err), 0)
  end
  return pump
end

--- Starts the pump unless there is one. Works in every phase of a worker.
function M.attach(client)
  if ngx.get_phase() == "init" then
    errors.raise_mistake("kinesis: in the init phase this is nginx's master, whose threads its workers do not have; "
      .. "make it in init_worker_by_lua, or where it is first used")
  end
  local pump = pumps[client]
  return pump and (pump.routine or core.now() < pump.late) and pump or start_pump(client)
end

function M.run_handler(_, f, argument)
  spawn(f, argument)
end

-- ---- waiting ----

-- A function of its own, so that it holds no upvalue on the stack of the waiting coroutine: when that coroutine is
-- killed, nginx reuses it for another request.
local function waker(semaphore)
  return function()
    semaphore:post(1)
  end
end

function M.ready(client, id, deadline)
  local phase = ngx.get_phase()
  if CANNOT_WAIT[phase] then
    errors.raise_mistake(("kinesis: this call waits for its answer, which nginx cannot do in the %s phase; "
      .. "make it in a timer (ngx.timer.at)"):format(phase))
  end
  local pump = M.attach(client)
  local semaphore = require("ngx.semaphore").new()
  local wake = waker(semaphore)
  registry.add(client, id, wake)
  local seconds = deadline and math.max(0, deadline - core.now()) or FOREVER
  local good, err = semaphore:wait(math.min(seconds, pump.routine and FOREVER or LOOK_EVERY))
  registry.remove(client, id, wake)
  if pump.leaving and not registry.any(client) then
    client.core:poke() -- may_go ran before this wait ended; let it run again
  end
  if not good and err ~= "timeout" then
    error("kinesis: nginx cannot wait here: " .. tostring(err), 0) -- otherwise the caller would loop without waiting
  end
end

function M.sleep(deadline)
  ngx.sleep(math.max(0, deadline - core.now()))
end

--- Sleeps until a later round of the event loop. Older nginx logs a warning for a sleep of 0.
function M.yield_to_others()
  if not CANNOT_WAIT[ngx.get_phase()] then
    ngx.sleep(0.001)
  end
end

return M
