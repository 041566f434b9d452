--- Who waits for which handle, in every host but the blocking one; and the drain that tells them.
local M = {}

local waiting = {} -- handle id -> function
local clients = {} -- handle id -> the client it is of

--- `wake` is called once, when something has arrived for the handle. It must not wait. Returns what
--- `remove` takes.
function M.add(client, id, wake)
  local other = waiting[id]
  local both = other and function()
    other()
    wake()
  end or wake
  waiting[id], clients[id] = both, client
  return both
end

--- For who stops waiting before it was woken.
function M.remove(id, wake)
  if waiting[id] == wake then
    waiting[id], clients[id] = nil, nil
  end
end

function M.wake(id)
  local wake = waiting[id]
  if wake then
    waiting[id], clients[id] = nil, nil
    wake()
  end
end

--- Everybody who waits for something of this client looks again: it was closed.
function M.wake_all(client)
  local ids = {}
  for id, its in pairs(clients) do
    ids[#ids + 1] = its == client and id or nil
  end
  for _, id in ipairs(ids) do
    M.wake(id)
  end
end

--- Stores what has arrived with its handles; then tells who waits; then asks for keys, if the engine
--- wants them. In this order: a handler that runs may look at any answer.
function M.drain(client)
  local ready = client.arrived
  local count, keys_wanted = client.core:drain(ready)
  for i = 1, count do
    local id = ready[i]
    ready[i] = nil
    M.wake(id)
  end
  if keys_wanted then
    client:refresh_keys()
  end
end

return M
