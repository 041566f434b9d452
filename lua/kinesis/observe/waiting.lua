--- Why records of a producer still wait.
local M = {}

--- The reason, for the messages of waits that time out; nil when none is known.
---@param producer kinesis.Producer
---@return string|nil
function M.reason(producer)
  local err = producer.core:reason()
  if err and not err.operation then -- our own limit, no failure
    return ("%s: %s"):format(err.code, err.message)
  end
  err = err or producer.client.credentials.error
  return err and "the latest failure: " .. tostring(err)
end

return M
