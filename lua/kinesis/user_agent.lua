--- The User-Agent header: the library, the Lua version and the application.
local version = require "kinesis.version"

local M = {}

--- Characters of the app id that the SDKs do not allow become '-'.
---@param app_id? string the setting `app_id`
---@return string
function M.of(app_id)
  local agent = ("kinesis-lua/%s (%s)"):format(version, rawget(_G, "jit") and jit.version or _VERSION)
  local app = app_id and app_id:gsub("[^A-Za-z0-9!#$%%&'*+%-.^_`|~]", "-"):sub(1, 50)
  return app and ("%s app/%s"):format(agent, app) or agent
end

return M
