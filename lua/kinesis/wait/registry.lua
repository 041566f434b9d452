--- Who waits for which handle, in every host but the blocking one; and the drain that tells them.
local core = require "kinesis.core"
local hooks = require "kinesis.observe.hooks"

local M = {}

local KEYS_AGAIN = 1 -- second

-- client -> handle id -> set of functions. It holds none of them: a coroutine that its host killed is forgotten
-- with what it waited by, and whoever may be killed by nobody is held by the host's adapter.
local waiting = setmetatable({}, { __mode = "k" })

local WEAK = { __mode = "k" }

--- `wake` is called once, when something has arrived for the handle. It must not wait. Whoever waits holds it.
function M.add(client, id, wake)
  local ids = waiting[client] or {}
  waiting[client] = ids
  ids[id] = ids[id] or setmetatable({}, WEAK)
  ids[id][wake] = true
end

--- For who stops waiting, woken or not.
function M.remove(client, id, wake)
  local wakes = waiting[client] and waiting[client][id]
  if wakes then
    wakes[wake] = nil
    if not next(wakes) then
      waiting[client][id] = nil
    end
  end
end

--- Whoever waits for this handle looks again.
function M.wake(client, id)
  local ids = waiting[client]
  local wakes = ids and ids[id]
  if wakes then
    ids[id] = nil
    for wake in pairs(wakes) do
      wake()
    end
  end
end

--- Everybody who waits for something of this client looks again: it was closed.
function M.wake_all(client)
  local ids = {}
  for id in pairs(waiting[client] or {}) do
    ids[#ids + 1] = id
  end
  for _, id in ipairs(ids) do
    M.wake(client, id)
  end
end

--- Whether somebody waits for something of this client.
function M.any(client)
  for _, wakes in pairs(waiting[client] or {}) do
    if next(wakes) then
      return true
    end
  end
  return false
end

local attached = setmetatable({}, { __mode = "k" }) -- a set

--- In a plain script and in kinesis.run: whoever waits for anything drains this client, too.
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

-- The user's functions run where they stand; a host whose drain must not wait runs them elsewhere.
local function call_here(f, argument)
  f(argument)
end

--- Stores what has arrived with its handles; then tells who waits, the provider of keys among them; then asks
--- for keys, if the engine wants them; then the hooks, and the producers' handlers. In this order: a handler that
--- runs may look at any answer.
---@param client kinesis.Client
---@param call? fun(f: function, argument: any) runs the user's functions
---@return boolean something whether anything had arrived
function M.drain(client, call)
  local ready = client.arrived
  call = call or call_here
  local count, keys_wanted = client.core:drain(ready, client.events)
  if client.rearm then
    client:rearm() -- a host's loop sleeps on it, whoever drains here
  end
  local producers -- a list of pairs: seldom more than one
  for i = 1, count do
    local id = ready[i]
    ready[i] = nil
    if id == client.provider_wait_id then
      client:keys_go_on()
    end
    M.wake(client, id)
    producers = client.producers[id] and { id, producers } or producers
  end
  if keys_wanted or client.keys_due and client.keys_due <= core.now() then
    client.keys_due = core.now() + KEYS_AGAIN -- until they are asked for: nginx may drop what is to do that
    if client.chain then
      client:refresh_keys() -- a coroutine of the drain's: it goes on in the drains that come
    else
      call(client.refresh_keys, client)
    end
  end
  if client.hooks and client.events[1] then
    call(hooks.tell, client)
  end
  while producers do
    local producer = client.producers[producers[1]]
    producers = producers[2]
    if producer and producer:collect() then -- a handler may have dropped it
      call(producer.tell_failures, producer)
    end
  end
  return count > 0
end

return M
