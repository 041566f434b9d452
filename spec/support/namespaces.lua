--- Namespaces for a spec's child process (`unshare -rmn`). A container, a chroot, or a kernel setting may refuse them.
local fresh = require "support.fresh"

local M = {}

local refusal -- the message of the tools; false when they work; nil before the probe

-- A bind mount in new namespaces, as the specs make it.
local function probe()
  local output, status = fresh.spawn "exec unshare -rmn mount --bind /etc/ssl/certs /etc/ssl/certs":wait()
  return status ~= 0 and (output:match "^[^\n]+" or "status " .. tostring(status))
end

--- Ends the test by its `pending`, with the reason, where new namespaces are refused.
function M.need(pending)
  if refusal == nil then
    refusal = probe()
  end
  if refusal then
    pending("needs namespaces of its own: " .. refusal)
  end
end

return M
