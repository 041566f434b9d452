--- Who waits for which handle, in every host but the blocking one; and the drain that tells them.
local hooks = require "kinesis.hooks"

local M = {}

local waiting = {} -- handle id -> list of functions, and the client it is of

--- `wake` is called once, when something has arrived for the handle. It must not wait.
function M.add(client, id, wake)
  local wakes = waiting[id] or { client = client }
  wakes[#wakes + 1] = wake
  waiting[id] = wakes
end

--- For who stops waiting, woken or not.
function M.remove(id, wake)
  local wakes = waiting[id] or {}
  for i, other in ipairs(wakes) do
    if other == wake then
      table.remove(wakes, i)
      break
    end
  end
  if #wakes == 0 then
    waiting[id] = nil
  end
end

function M.wake(id)
  local wakes = waiting[id] or {}
  waiting[id] = nil
  for _, wake in ipairs(wakes) do
    wake()
  end
end

--- Everybody who waits for something of this client looks again: it was closed.
function M.wake_all(client)
  local ids = {}
  for id, wakes in pairs(waiting) do
    ids[#ids + 1] = wakes.client == client and id or nil
  end
  for _, id in ipairs(ids) do
    M.wake(id)
  end
end

--- Stores what has arrived with its handles; then tells who waits, the provider of keys among them; then asks
--- for keys, if the engine wants them; then the hooks, and the producers' handlers. In this order: a handler that
--- runs may look at any answer.
function M.drain(client)
  local ready = client.arrived
  local count, keys_wanted = client.core:drain(ready, client.events)
  local producers -- a list of pairs: seldom more than one
  for i = 1, count do
    local id = ready[i]
    ready[i] = nil
    if id == client.errand_id then
      client:keys_go_on()
    end
    M.wake(id)
    producers = client.producers[id] and { id, producers } or producers
  end
  if keys_wanted then
    client:refresh_keys()
  end
  if client.hooks then
    hooks.tell(client)
  end
  while producers do
    local producer = client.producers[producers[1]]
    producers = producers[2]
    if producer then -- a handler may have dropped it
      producer:collect()
    end
  end
end

return M
