--- Waiting for answers: picks the adapter of the host (blocking, run, openresty or luv) and calls it.
---
--- A client has one file descriptor, which is readable while answers are ready; adapters differ in how they wait for
--- it. An adapter has `ready(client, id, deadline)`: returns when something has arrived for that handle, when the
--- deadline (seconds of core.now) has passed, or early; with `by_others`, only another caller can end the wait;
--- `sleep(deadline)`; and `yield_to_others()`: lets other tasks
--- run. An adapter that cannot wait everywhere has `check()`: raises where `ready` would. The adapter of a host with an
--- event loop also has `attach(client)`: drains the client even while no call waits; and
--- `run_handler(client, f, argument)`: runs the user's f where it may wait. An adapter that registers the descriptor
--- has `forget(client)`: the client is about to be closed. `spawn(client, f)` runs f in a coroutine of its own; an
--- adapter that must prepare the caller for that has `enter(client, f)`: calls f, which spawns.
local blocking = require "kinesis.wait.blocking"
local core = require "kinesis.core"
local run = require "kinesis.wait.run"
local registry = require "kinesis.wait.registry"

local M = {}

local ADAPTERS = { none = "blocking", luv = "luv", openresty = "openresty" } -- by the option `event_loop`

local function in_nginx()
  local ngx = rawget(_G, "ngx")
  return ngx and ngx.timer
end

if in_nginx() then
  require "kinesis.wait.openresty" -- now: a worker without a free descriptor can load nothing
end

-- Whether to wait in luv's loop: luv is loaded, and the caller is a coroutine or the loop is running. In the main
-- coroutine before or after the loop, a call waits as in a plain script.
local function in_luv()
  local uv = package.loaded.luv
  local task, is_main = coroutine.running()
  return uv and (task and not is_main or uv.loop_mode() ~= nil)
end

local function adapter_of(client)
  if run.inside() then
    return run
  elseif client and client.event_loop then
    return require("kinesis.wait." .. ADAPTERS[client.event_loop])
  elseif in_nginx() then
    return require "kinesis.wait.openresty"
  elseif in_luv() then
    return require "kinesis.wait.luv"
  end
  return blocking
end

--- Raises where the caller could not wait.
function M.check(client)
  local check = adapter_of(client).check
  if check then
    check()
  end
end

function M.ready(client, id, deadline, by_others)
  return adapter_of(client).ready(client, id, deadline, by_others)
end

--- Whether nothing but the caller runs here: a wait for what another one does would have no end.
function M.is_alone(client)
  local is_alone = adapter_of(client).is_alone
  return is_alone ~= nil and is_alone()
end

--- Whether calls block the caller by default: in a plain script and in kinesis.run, but not in a host, whose handlers
--- have other work to do.
function M.may_block(client)
  return adapter_of(client).attach == nil
end

--- Whether the caller can wait at all: where waiting means to yield, not inside a function that C calls, such as
--- string.gsub's.
function M.can_wait(client)
  return adapter_of(client) == blocking or core.is_yieldable()
end

--- Seconds for which the collection of a producer that was not closed, or the exit of its process, waits for delivery.
function M.exit_timeout(client)
  return adapter_of(client).exit_timeout or 5
end

--- Whether a coroutine that is made here can be resumed by later drains.
function M.has_coroutines(client)
  local has = adapter_of(client).has_coroutines
  return not has or has(client)
end

--- Sleeps in the host's way.
function M.sleep(seconds, client)
  return adapter_of(client).sleep(core.now() + seconds)
end

--- Lets other tasks of the host run.
function M.yield_to_others(client)
  return adapter_of(client).yield_to_others()
end

--- Drains this client from now on even while no call waits.
function M.attach(client)
  local adapter = adapter_of(client)
  if adapter == blocking and package.loaded.luv and client.event_loop == nil then
    adapter = require "kinesis.wait.luv" -- the loop has not started yet
  end
  if adapter.attach then
    adapter.attach(client)
  else
    registry.attach(client)
  end
end

--- Called after a producer of this client has taken a record. Where no event loop drains the client, drains it now;
--- attaches it again to a host that had stopped draining it because nothing was in flight.
function M.poll(client)
  local adapter = adapter_of(client)
  if not adapter.attach then
    registry.drain(client)
  elseif client.detached then
    pcall(adapter.attach, client) -- the record is taken anyway; the next one tries again
  end
end

--- Called before the client closes its descriptor.
function M.forget(client)
  for _, name in pairs(ADAPTERS) do
    local adapter = package.loaded["kinesis.wait." .. name]
    if adapter and adapter.forget then
      adapter.forget(client)
    end
  end
end

--- Runs a function of the user, which may wait.
function M.run_handler(client, f, argument)
  local run_handler = adapter_of(client).run_handler
  if run_handler then
    return run_handler(client, f, argument)
  end
  f(argument)
end

--- Runs a function in a coroutine of its own, which ends before the caller's run, request or loop does. It must not
--- raise.
---@return fun()|nil drop makes that it is not resumed any more; nil: this host cannot
function M.spawn(client, f)
  return adapter_of(client).spawn(client, f)
end

--- Whether `spawn` can be called here.
function M.can_spawn(client)
  return adapter_of(client).spawn ~= nil
end

--- Runs a function where others can be spawned; returns when it has returned. In a plain script the others are then
--- dropped.
function M.run(client, f)
  local adapter = adapter_of(client)
  if adapter == blocking then
    return run.run_one(f)
  elseif adapter.enter then
    return adapter.enter(client, f)
  end
  return f()
end

--- Runs a function beside an iterator of the caller. The function returned lets it run until is_done(), which becomes
--- true by a wake of `id`.
---@return fun(is_done: fun(): boolean) drive
---@return boolean alone it runs inside `drive` only
function M.beside(client, id, f)
  if adapter_of(client) == blocking then
    return run.beside(f), true
  end
  M.spawn(client, function()
    M.run(client, f)
  end)
  return function(is_done)
    while not is_done() do
      M.ready(client, id)
    end
  end, false
end

--- Wake the waiters of one handle, or of all handles of a client.
M.wake, M.wake_all = registry.wake, registry.wake_all
M.inbox, M.listen, M.listen_to_drains = registry.inbox, registry.listen, registry.listen_to_drains

return M
