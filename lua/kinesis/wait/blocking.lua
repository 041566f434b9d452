--- A plain script or a prompt: the whole process waits. A signal ends the wait, so that the VM sees it.
local core = require "kinesis.core"
local waiters = require "kinesis.wait.waiters"

local M = {}

local nobody = {}

function M.ready(client, _, deadline)
  local seconds = deadline and math.max(0, deadline - core.now())
  if core.wait(client.cores, seconds) then
    waiters.drain(client)
  end
end

function M.sleep(deadline)
  local left = deadline - core.now()
  while left > 0 do
    core.wait(nobody, left)
    left = deadline - core.now()
  end
end

--- There are no others.
function M.breathe() end

return M
