--- OpenResty, and nginx with its Lua module. A cosocket belongs to the request that made it, so one pump
--- a client, in a timer of the worker, waits on the wake and posts a semaphore for each waiter.
local core = require "kinesis.core"
local waiters = require "kinesis.wait.waiters"

local M = {}

local FOREVER = 86400 -- seconds; no wait is longer: nginx counts them in milliseconds of 31 bits
local NEVER = 30 * 86400 -- seconds of a timer that only matters when the worker has to leave
local CANNOT_WAIT = {
  init = true, init_worker = true, set = true, header_filter = true, body_filter = true, log = true,
  balancer = true,
}

local pumps = setmetatable({}, { __mode = "k" }) -- client -> its pump

local function connect(client)
  local path = client.core:listen()
  if not path then
    return nil, "no socket to listen on"
  end
  local socket = ngx.socket.tcp()
  local good, err = socket:connect("unix:" .. path)
  -- on the same thread, right away: nobody else finds the path
  if not client.core:accept() or not good then
    return nil, err or "the connection came from another process"
  end
  socket:settimeout(FOREVER * 1000)
  return socket
end

local function pump_until_idle(client, pump)
  local socket, err = connect(client)
  if not socket then
    ngx.log(ngx.ERR, "kinesis: cannot wait for answers: ", err)
    return
  end
  while not client.core:is_closed() and not (pump.leaving and pump.waiting == 0) do
    if client.core:arm() then
      socket:receiveany(64)
    end
    client.core:clear()
    waiters.drain(client)
  end
  socket:close()
end

-- A worker that is told to leave would wait for ever for its pumps: this timer runs early then. One a
-- worker, as nginx counts those that are pending.
local watching = false

local function leave(premature)
  watching = false
  for client, pump in pairs(premature and pumps or {}) do
    pump.leaving = true
    client.core:poke()
  end
end

local function start_pump(client)
  local pump = { waiting = 0, leaving = ngx.worker.exiting() }
  pumps[client] = pump
  local good, err = ngx.timer.at(0, function()
    local fine, why = pcall(pump_until_idle, client, pump)
    if not fine then
      ngx.log(ngx.ERR, "kinesis: the pump stopped: ", tostring(why))
    end
    pumps[client] = nil
  end)
  if not good then
    pumps[client] = nil
    error("kinesis: nginx gave no timer: " .. tostring(err), 0)
  end
  watching = watching or ngx.timer.at(NEVER, leave)
  return pump
end

function M.ready(client, id, deadline)
  local phase = ngx.get_phase()
  if CANNOT_WAIT[phase] then
    error(("kinesis: this call waits for its answer, which nginx cannot do in the %s phase; "
      .. "make it in a timer (ngx.timer.at)"):format(phase), 0)
  end
  local pump = pumps[client] or start_pump(client)
  local semaphore = require("ngx.semaphore").new()
  local function wake()
    semaphore:post(1)
  end
  waiters.add(client, id, wake)
  local seconds = deadline and math.max(0, deadline - core.now()) or FOREVER
  pump.waiting = pump.waiting + 1
  local good, err = semaphore:wait(math.min(seconds, FOREVER))
  pump.waiting = pump.waiting - 1
  waiters.remove(id, wake)
  if pump.leaving and pump.waiting == 0 then
    client.core:poke() -- it looked before we were woken
  end
  if not good and err ~= "timeout" then
    error("kinesis: nginx cannot wait here: " .. tostring(err), 0) -- or the caller would spin
  end
end

function M.sleep(deadline)
  ngx.sleep(math.max(0, deadline - core.now()))
end

return M
