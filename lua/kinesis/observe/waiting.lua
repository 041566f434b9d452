--- Why records of a producer still wait.
local M = {}

--- The reason: the newest failure, if nothing was stored since, or the producer's own limit; nil when none is known.
---@param producer kinesis.Producer
---@return kinesis.Error|nil
function M.reason(producer)
  return producer.core:reason() or producer.client.credentials:reason()
end

--- The reason as a part of a message.
---@param producer kinesis.Producer
---@return string|nil
function M.text(producer)
  local err = M.reason(producer)
  if err and err.code == "rate_limit" then
    return ("%s: %s"):format(err.code, err.message)
  end
  return err and "the latest failure: " .. tostring(err)
end

return M
