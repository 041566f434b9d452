--- The waiters and listeners of each client by handle id, and the drain that calls them.

local M = {}

-- client -> handle id -> set of functions, referenced weakly: when a host kills a coroutine that waits, its wake
-- function is collected with it. The adapter keeps alive the coroutines of hosts that kill none.
local waiting = setmetatable({}, { __mode = "k" })

local WEAK = { __mode = "k" }

--- Makes `wake` be called once, when something has arrived for the handle. It must not wait. The waiter references it.
function M.add(client, id, wake)
  local ids = waiting[client] or {}
  waiting[client] = ids
  ids[id] = ids[id] or setmetatable({}, WEAK)
  ids[id][wake] = true
end

--- Removes a waiter, woken or not.
function M.remove(client, id, wake)
  local wakes = waiting[client] and waiting[client][id]
  if wakes then
    wakes[wake] = nil
    if not next(wakes) then
      waiting[client][id] = nil
    end
  end
end

--- Wakes the waiters of this handle.
function M.wake(client, id)
  local ids = waiting[client]
  local wakes = ids and ids[id]
  if wakes then
    for wake in pairs(wakes) do
      wake()
    end
    ids[id] = nil
  end
end

--- Wakes all waiters of a client that was closed.
function M.wake_all(client)
  local ids = {}
  for id in pairs(waiting[client] or {}) do
    ids[#ids + 1] = id
  end
  for _, id in ipairs(ids) do
    M.wake(client, id)
  end
end

--- Whether this client has any waiter.
function M.any(client)
  for _, wakes in pairs(waiting[client] or {}) do
    if next(wakes) then
      return true
    end
  end
  return false
end

local attached = setmetatable({}, { __mode = "k" }) -- a set

--- In a plain script and in kinesis.run: every wait drains this client, too.
function M.attach(client)
  attached[client] = true
end

--- Adds the clients that are attached, and their cores, to those in the list.
function M.add_attached(clients, cores)
  local there = {}
  for _, client in ipairs(clients) do
    there[client] = true
  end
  for client in pairs(attached) do
    if not there[client] and not client.core:is_closed() then
      clients[#clients + 1] = client
      cores[#cores + 1] = client.core
    end
  end
end

-- Runs a function of the user in the drain's coroutine; a host whose drain must not wait passes another one.
local function call_here(f, argument)
  f(argument)
end

--- What the drains of a client need; the client owns it. What a drain has not dispatched when an error is thrown into
--- it stays here, and the next drain dispatches it.
function M.inbox()
  return {
    ready = {}, -- ids of handles that something has arrived for; and credentials_wanted, which the refresh takes
    events = nil, -- a list of the engine's events, when a listener of drains wants them
    listeners = setmetatable({}, { __mode = "v" }), -- by handle id
    handlers = {}, -- listener -> the function that its on_ready returned, until it has returned
    drain_listeners = {}, -- a list
  }
end

--- Makes `listener:on_ready()` be called whenever something has arrived for the handle; nil ends that. on_ready must
--- not wait; the drain runs the function that it returns, with the listener, after all answers are stored. The caller
--- holds the listener.
function M.listen(client, id, listener)
  client.inbox.listeners[id] = listener
end

--- Makes `listener:on_drain(call)` be called in each drain, in the order of registration.
function M.listen_to_drains(client, listener)
  table.insert(client.inbox.drain_listeners, listener)
end

-- Each step may be cut off by an error that is thrown into Lua, and is then done once more.
local function drain(client, call)
  local inbox = client.inbox
  local ready, handlers = inbox.ready, inbox.handlers
  client.core:drain(ready, inbox.events)
  if client.rearm then
    client:rearm() -- the host's loop sleeps on the wake, and this drain has taken what woke it
  end
  local count = #ready
  for i = 1, count do
    local id = ready[i]
    local listener = inbox.listeners[id]
    local run = listener and listener:on_ready()
    if run then
      handlers[listener] = run
    end
    M.wake(client, id)
  end
  for i = count, 1, -1 do
    ready[i] = nil
  end
  for _, listener in ipairs(inbox.drain_listeners) do
    listener:on_drain(call)
  end
  local listener, run = next(handlers)
  while listener do
    call(run, listener)
    handlers[listener] = nil
    listener, run = next(handlers)
  end
  return count > 0
end

--- Stores what has arrived with its handles and wakes their waiters and listeners; calls the listeners of drains;
--- then runs what the handles' listeners returned. In this order, a handler of the user may look at any answer.
---@param client kinesis.Client
---@param call? fun(f: function, argument: any) runs the user's functions
---@return boolean something whether anything had arrived
function M.drain(client, call)
  local good, result = pcall(drain, client, call or call_here)
  if not good then
    client.core:poke() -- the next wait ends at once, and its drain goes on
    error(result, 0)
  end
  return result
end

return M
