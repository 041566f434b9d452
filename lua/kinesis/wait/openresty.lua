--- The adapter of OpenResty, and of nginx with its Lua module. A cosocket belongs to the request that made it; so for
--- each client one pump, in a timer of the worker, waits for the wake and posts the semaphore of each waiter.
---
--- nginx may refuse all of that: it drops timers beyond lua_max_running_timers, and timers and sockets beyond
--- worker_connections. A pump without a socket looks every 10 ms; a waiter whose pump is not started in time drains the
--- client itself; a function of the user whose timer is not started in time runs in a light thread of the pump.
--
-- A pump's states:
--   started  pumps[client] is set; its timer has not run; client.detached is true; replaced after START_TIME
--   standing a waiter drains in its place; `routine` is the waiter's coroutine; client.detached is true
--   running  `routine` is the timer's coroutine; client.detached is nil
--   ended    pumps[client] is nil; client.detached is true
-- `seen` is when it last did something. A host may end a coroutine without a word: a pump that was not seen for SILENCE
-- counts as ended.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local notice = require "kinesis.observe.notice"
local registry = require "kinesis.wait.registry"
local semaphores = require "ngx.semaphore"
local variables = require "kinesis.config.variables"

local M = {}

local FOREVER = 86400 -- seconds; the longest wait: nginx counts milliseconds in 31 bits
local LOOK_EVERY = 1 -- seconds between two checks whether the worker is exiting
local START_TIME = 0.1 -- seconds; nginx starts a timer of 0 in the next round of its loop
local SILENCE = 5 -- seconds
local WITHOUT_WAKE = 0.01 -- seconds between two looks
local WATCH_FOR = 60 -- seconds
local CANNOT_WAIT = {
  init = true, init_worker = true, set = true, header_filter = true, body_filter = true, log = true,
  balancer = true, exit_worker = true,
}

local dropped_at = -math.huge -- when this worker last was without a timer in time
local pumps = setmetatable({}, { __mode = "k" }) -- client -> its pump

--- Seconds; collecting a producer must not block the worker, which serves other requests.
M.exit_timeout = 0

--- A coroutine ends with the request or timer that made it; only the pump's own outlive the caller.
function M.has_coroutines(client)
  local pump = pumps[client]
  return pump ~= nil and pump.routine == coroutine.running()
end

-- ---- the pump ----

-- nginx's workers see TMPDIR only if an `env` line names it.
local function folders()
  return { variables.read(os.getenv, "TMPDIR") or "/tmp", "/tmp", "/dev/shm", ngx.config.prefix() }
end

local function listen(client)
  local problems = {}
  for i, folder in ipairs(folders()) do
    local path, why = client.core:listen(folder)
    if path then
      return path
    end
    problems[i] = tostring(why)
  end
  return nil, table.concat(problems, ", ")
end

local function connect(client)
  local path, why = listen(client)
  if not path then
    return nil, why
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

-- argument -> {begin=, at=}: functions of the user that were given to a timer which has not run yet
local unbegun = setmetatable({}, { __mode = "k" })

-- Whether the pump has no work left and may end. A pump keeps alive what its client's creator references, which with
-- lua_code_cache off is everything that a request has made.
local function may_go(client, pump)
  if registry.any(client) or next(unbegun) then
    return false
  elseif pump.leaving then
    return core.now() >= pump.leaving or not client:has_work()
  elseif pump.busy or not pump.idle or client.credentials:is_busy() then
    return false
  end
  return not client:has_work()
end

-- Runs a function of the user in a timer, as it may wait for answers that the pump brings. A light thread of the pump
-- would not be freed before the pump ends; a timer's is freed when the function returns. A second call for the same
-- argument before the function has begun changes nothing: the function does all that there is to do.
local function spawn(f, argument)
  if unbegun[argument] then
    return
  end
  local job = { at = core.now() }
  function job.begin()
    if unbegun[argument] == job then
      unbegun[argument] = nil
      f(argument)
    end
  end
  unbegun[argument] = job
  ngx.timer.at(0, job.begin)
end

-- In a coroutine that drains: runs what nginx has given no timer in time.
local function begin_late_jobs()
  local late
  for _, job in pairs(unbegun) do
    if core.now() >= job.at + START_TIME then
      late = late or {}
      late[#late + 1] = job.begin
    end
  end
  for _, begin in ipairs(late or {}) do
    ngx.thread.spawn(begin)
  end
end

-- Once in LOOK_EVERY: watches for the worker's exit, for which a timer would count against nginx's limit of timers.
local function look(client, pump)
  pump.looked = core.now()
  pump.idle, pump.busy = not pump.busy, false
  if ngx.worker.exiting() then
    local seconds = client:leave() -- each time: readers and producers may still be created
    pump.leaving = pump.leaving or core.now() + seconds
    if pump.idle then
      collectgarbage() -- frees the wake functions of requests that were killed
    end
  end
end

-- Runs in a light thread of the pump, which waits for the wake meanwhile.
local function watch_worker(client, pump)
  while true do
    local left = pump.leaving and pump.leaving - core.now() or 0
    -- the worker goes when its time is up, not at the next look; nginx counts milliseconds
    ngx.sleep(left > 0 and math.min(left + 0.002, LOOK_EVERY) or LOOK_EVERY)
    look(client, pump)
    client.core:poke()
  end
end

local function turn(client, pump)
  pump.seen = core.now()
  client.core:clear()
  pump.busy = registry.drain(client, spawn) or pump.busy
  begin_late_jobs()
end

-- The pump's socket; nil when there is none, which is tried again at each look.
local function socket_of(client, pump)
  if not pump.socket and pump.tried ~= pump.looked then
    local why
    pump.tried = pump.looked
    pump.socket, why = connect(client)
    if not pump.socket then
      notice.print_rarely("nginx wake", "nginx cannot be woken for answers, so a timer looks for them every %d ms; %s",
        WITHOUT_WAKE * 1000, why)
    end
  end
  return pump.socket
end

local function pump_until_idle(client, pump)
  pump.watcher = ngx.thread.spawn(watch_worker, client, pump)
  while pumps[client] == pump and not client.core:is_closed() do
    turn(client, pump)
    if may_go(client, pump) then
      return
    end
    local socket = socket_of(client, pump)
    if client.core:arm() then
      local _, err
      if socket then
        _, err = socket:receiveany(64)
      else
        ngx.sleep(WITHOUT_WAKE)
      end
      if err and err ~= "timeout" then
        pump.socket = nil
      end
    end
  end
end

-- Whoever drained the client does so no more.
local function end_pump(client, pump)
  if pumps[client] == pump then
    pumps[client], client.detached = nil, true
    client.credentials:drop_task()
    registry.wake_all(client)
  end
end

local function begin_draining(client, pump)
  pump.routine = coroutine.running()
  client.credentials:drop_task() -- that of the coroutine that drained before
end

-- In the timer. Runs the pump; tries again after a second when it fails.
local function keep_pumping(client, pump)
  if pumps[client] ~= pump then
    return
  end
  begin_draining(client, pump)
  client.detached = nil
  local good, err
  repeat
    good, err = pcall(pump_until_idle, client, pump)
    if pump.watcher then
      ngx.thread.kill(pump.watcher)
    end
    if pump.socket then
      pump.socket:close()
    end
    pump.watcher, pump.socket, pump.tried = nil, nil, nil
    if not good then
      ngx.log(ngx.ERR, "kinesis: cannot wait for answers, trying again: ", tostring(err))
      ngx.sleep(1)
    end
  until good or client.core:is_closed() or ngx.worker.exiting()
  end_pump(client, pump)
end

-- The client's pump; nil when there is none, or when it has not done in time what it should.
local function live_pump(client)
  local pump = pumps[client]
  return pump and core.now() < pump.seen + (pump.routine and SILENCE or START_TIME) and pump or nil
end

-- nginx may give no timer, or drop it and only log that.
local function start_pump(client)
  local now, before = core.now(), pumps[client]
  local pump = { seen = now, looked = now }
  pumps[client], client.detached = pump, true
  local good = ngx.timer.at(0, function()
    keep_pumping(client, pump)
  end)
  if not good or before and not before.routine then
    dropped_at = now
  end
  pump.is_late = now < dropped_at + LOOK_EVERY
  return pump
end

--- Starts the pump unless there is one. Works in every phase of a worker.
function M.attach(client)
  if ngx.get_phase() == "init" then
    errors.raise_mistake("kinesis: in the init phase this is nginx's master, whose threads its workers do not have; "
      .. "make it in init_worker_by_lua, or where it is first used")
  end
  return live_pump(client) or start_pump(client)
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

local function check_phase(what)
  local phase = ngx.get_phase()
  if CANNOT_WAIT[phase] then
    errors.raise_mistake(("kinesis: this call %s, which nginx cannot do in the %s phase; "
      .. "make it in a timer (ngx.timer.at)"):format(what, phase))
  end
  errors.check_yieldable()
end

-- A waiter drains the client until something has arrived for it, or the timer has started after all.
local function stand_in(client, pump, is_woken, deadline)
  local me = coroutine.running()
  begin_draining(client, pump)
  repeat
    ngx.sleep(WITHOUT_WAKE)
    if core.now() >= pump.looked + LOOK_EVERY then
      look(client, pump)
    end
    turn(client, pump)
  until is_woken() or pump.routine ~= me or client.core:is_closed() or deadline and core.now() >= deadline
  if pump.routine == me then
    end_pump(client, pump) -- wakes the other waiters: the next one stands in
  end
end

function M.check()
  check_phase "waits for its answer"
end

function M.ready(client, id, deadline)
  M.check()
  local pump = M.attach(client)
  local semaphore = semaphores.new()
  local wake = waker(semaphore)
  registry.add(client, id, wake)
  local good, err
  if pump.is_late and not pump.routine then
    stand_in(client, pump, function()
      return semaphore:count() > 0
    end, deadline)
    good = true
  else
    local seconds = deadline and math.max(0, deadline - core.now()) or FOREVER
    good, err = semaphore:wait(math.min(seconds, pump.routine and SILENCE or START_TIME))
  end
  registry.remove(client, id, wake)
  if pump.leaving and not registry.any(client) then
    client.core:poke() -- may_go ran before this wait ended; let it run again
  end
  if not good and err ~= "timeout" then
    error("kinesis: nginx cannot wait here: " .. tostring(err), 0) -- otherwise the caller would loop without waiting
  end
end

function M.sleep(deadline)
  check_phase "sleeps"
  ngx.sleep(math.max(0, deadline - core.now()))
end

--- Sleeps until a later round of the event loop. Older nginx logs a warning for a sleep of 0.
function M.yield_to_others()
  if not CANNOT_WAIT[ngx.get_phase()] then
    ngx.sleep(0.001)
  end
end

-- ---- light threads ----

-- nginx frees a light thread that nothing waits for only when its parent ends, and its context only with the request.
-- So the threads of a run are used again: each waits for the next function until the run ends. All have one parent,
-- the hirer, as only the parent can kill a thread.
-- coroutine of a run, and of each of its threads -> {over=, jobs= functions without a thread, semaphore= of the hirer,
-- all=, idle=}: lists of {thread=, semaphore=, f= what it runs}
local crews = setmetatable({}, { __mode = "k" })

local function serve(crew, member)
  crews[coroutine.running()] = crew
  while member.f do
    member.f()
    member.f = nil
    table.insert(crew.idle, member)
    while not member.f and not crew.over do
      member.semaphore:wait(FOREVER)
    end
  end
end

-- In a light thread: starts the others. At the end of the run it lets them end; an nginx worker that exits does not
-- wait for those that are busy.
local function hire(crew)
  while not crew.over do
    crew.semaphore:wait(FOREVER)
    while crew.jobs[1] do
      local member = { f = table.remove(crew.jobs, 1), semaphore = semaphores.new() }
      table.insert(crew.all, member)
      member.thread = ngx.thread.spawn(serve, crew, member)
    end
  end
  for _, member in ipairs(crew.all) do
    if member.f and ngx.worker.exiting() then
      ngx.thread.kill(member.thread)
    else
      member.semaphore:post(1)
    end
  end
end

--- Runs a function in a light thread of the caller's request or timer.
function M.spawn(_, f)
  local crew = crews[coroutine.running()]
  local member = crew and table.remove(crew.idle)
  if member then
    member.f = f
    member.semaphore:post(1)
  elseif crew then
    table.insert(crew.jobs, f)
    crew.semaphore:post(1)
  else
    ngx.thread.spawn(f)
  end
end

-- A timer that is pending when the nginx worker begins to exit is called at once. It ends with the run, also with one
-- that nginx has killed.
local function watch_exit(client, crew)
  local watched = setmetatable({ client = client, crew = crew }, { __mode = "v" })
  local function on_time(premature)
    local of, running = watched.client, watched.crew and not watched.crew.over
    if premature and running and pumps[of] then
      look(of, pumps[of])
      of.core:poke()
    elseif running then
      ngx.timer.at(WATCH_FOR, on_time)
    end
  end
  ngx.timer.at(WATCH_FOR, on_time)
end

--- Calls a function that may spawn others.
function M.enter(client, f)
  local me, crew = coroutine.running(), { jobs = {}, all = {}, idle = {}, semaphore = semaphores.new() }
  crews[me] = crew
  ngx.thread.spawn(hire, crew)
  watch_exit(client, crew)
  local good, err = pcall(f)
  crews[me], crew.over = nil, true
  crew.semaphore:post(1)
  if not good then
    error(err, 0)
  end
end

return M
