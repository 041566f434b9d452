--- Who waits for which handle, in every host but the blocking one; and the drain that tells them.
local M = {}

local waiting = {} -- handle id -> function

--- `wake` is called once, when something has arrived for the handle. It must not wait. Returns what
--- `remove` takes.
function M.add(id, wake)
  local other = waiting[id]
  local both = other and function()
    other()
    wake()
  end or wake
  waiting[id] = both
  return both
end

--- For who stops waiting before it was woken.
function M.remove(id, wake)
  if waiting[id] == wake then
    waiting[id] = nil
  end
end

function M.wake(id)
  local wake = waiting[id]
  if wake then
    waiting[id] = nil
    wake()
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
