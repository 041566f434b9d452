--- Waiting. One descriptor tells that a client has answers; how to wait for it is all that differs
--- between hosts, and lives in the adapters beside this file: blocking, run, openresty, luv.
---
--- A adapter has `ready(client, id, deadline)`: come back when something has arrived for that handle, when
--- the deadline (seconds of core.now) has passed, or early; `sleep(deadline)`; and `yield_to_others()`: let others have
--- their turn. A host, which has a loop of its own, has two more: `attach(client)`: drain it also while nobody waits;
--- `run_handler(client, f, argument)`: run the user's f where it may wait. One that holds the descriptor has
--- `forget(client)`: it is about to be closed.
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

-- Where luv is loaded its loop will run, and coroutines let it; what is in none, before the loop or behind it, is a
-- plain script.
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

function M.ready(client, id, deadline)
  return adapter_of(client).ready(client, id, deadline)
end

--- Whether the caller may be kept waiting as a matter of course: in a plain script and in kinesis.run, but in no
--- host, whose handlers have better things to do.
function M.may_block(client)
  return adapter_of(client).attach == nil
end

--- Whether the caller can be kept waiting where it stands: not inside a function that C calls, such as string.gsub's,
--- where waiting means to yield.
function M.can_wait(client)
  return adapter_of(client) == blocking or coroutine.isyieldable()
end

--- For how many seconds a producer that nobody closed keeps its collector, or its process's end, waiting.
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

--- Lets others have their turn.
function M.yield_to_others(client)
  return adapter_of(client).yield_to_others()
end

--- From now on things arrive for this client also while nobody waits.
function M.attach(client)
  local adapter = adapter_of(client)
  if adapter == blocking and package.loaded.luv and client.event_loop == nil then
    adapter = require "kinesis.wait.luv" -- the loop is still to run
  end
  if adapter.attach then
    adapter.attach(client)
  else
    registry.attach(client)
  end
end

--- A producer of this client has taken a record. Where no loop will see to what has arrived, that is done now; a host
--- that had ceased to look, as there was nothing to come, begins again.
function M.poll(client)
  local adapter = adapter_of(client)
  if not adapter.attach then
    registry.drain(client)
  elseif client.detached then
    pcall(adapter.attach, client) -- the record is taken all the same; the next one tries again
  end
end

--- Before it is closed: its descriptor goes.
function M.forget(client)
  for _, name in pairs(ADAPTERS) do
    local adapter = package.loaded["kinesis.wait." .. name]
    if adapter and adapter.forget then
      adapter.forget(client)
    end
  end
end

--- Runs a function of the user's, which may wait.
function M.run_handler(client, f, argument)
  local run_handler = adapter_of(client).run_handler
  if run_handler then
    return run_handler(client, f, argument)
  end
  f(argument)
end

--- Whoever waits for this handle, or for any of this client, looks again.
M.wake, M.wake_all = registry.wake, registry.wake_all
M.inbox, M.listen, M.listen_to_drains = registry.inbox, registry.listen, registry.listen_to_drains

return M
