-- Credentials from the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

local iso8601 = require "kinesis.util.iso8601"
local variable = require("kinesis.config.variables").read

local M = { name = "environment" }

---@param context kinesis.credentials.context
---@return kinesis.FoundCredentials|nil found
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch(context)
  local id = variable(context.env, "AWS_ACCESS_KEY_ID")
  local secret = variable(context.env, "AWS_SECRET_ACCESS_KEY")
  if not id and not secret then
    return nil, "absent", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are unset"
  end
  if not id or not secret then
    return nil, "broken", ("%s is set, but %s is not"):format(
      id and "AWS_ACCESS_KEY_ID" or "AWS_SECRET_ACCESS_KEY", id and "AWS_SECRET_ACCESS_KEY" or "AWS_ACCESS_KEY_ID")
  end
  local expiration
  local expires = variable(context.env, "AWS_CREDENTIAL_EXPIRATION")
  if expires then
    expiration = iso8601.read(expires)
    if not expiration then
      return nil, "broken", "AWS_CREDENTIAL_EXPIRATION is no ISO 8601 time, such as 2026-01-31T12:00:00Z"
    end
  end
  return {
    access_key_id = id,
    secret_access_key = secret,
    session_token = variable(context.env, "AWS_SESSION_TOKEN"),
    account_id = variable(context.env, "AWS_ACCOUNT_ID"),
    expiration = expiration,
  }
end

return M
