--- The adapter of a plain script or a prompt: the process blocks. A signal ends the wait, so that Lua can handle it.
local core = require "kinesis.core"
local registry = require "kinesis.wait.registry"

local M = {}

local function wait_for(clients, cores, seconds)
  registry.add_attached(clients, cores)
  core.wait(cores, seconds)
  for _, client in ipairs(clients) do
    registry.drain(client)
  end
end

function M.ready(client, _, deadline)
  wait_for({ client }, { client.core }, deadline and math.max(0, deadline - core.now()))
end

function M.sleep(deadline)
  local left = deadline - core.now()
  while left > 0 do
    wait_for({}, {}, left)
    left = deadline - core.now()
  end
end

--- There are no other tasks.
function M.yield_to_others() end

function M.is_alone()
  return true
end

return M
