-- Reads a setting from the environment, or else from the profile.

local ascii = require "kinesis.util.ascii"
local profiles = require "kinesis.config.profile"
local variables = require "kinesis.config.variables"

local M = {}

---@param context kinesis.credentials.context
---@param variable string name of an environment variable
---@param key string|nil the profile's key for the same
---@return string|nil value
---@return string|nil origin the name under which it was found, for messages
function M.value(context, variable, key)
  local value = variables.read(context.env, variable)
  if value then
    return value, variable
  end
  value = key and profiles.text(context.profile, key)
  return value, value and ('`%s` of profile "%s"'):format(key, context.profile.name)
end

---Whether a switch is on: only the word "true" turns it on, as in AWS's own clients.
---@param context kinesis.credentials.context
---@param variable string
---@param key string|nil
---@return boolean
function M.is_on(context, variable, key)
  local value = M.value(context, variable, key)
  return value ~= nil and ascii.lower(value) == "true"
end

return M
