--- What the header User-Agent says of this library and of the application that uses it.
local version = require "kinesis.version"

local M = {}

--- What the SDKs let stand in an app id stays; anything else becomes '-'.
---@param app_id? string the setting `app_id`
---@return string
function M.of(app_id)
  local agent = ("kinesis-lua/%s (%s)"):format(version, rawget(_G, "jit") and jit.version or _VERSION)
  local app = app_id and app_id:gsub("[^%w!#$%%&'*+%-.^_`|~]", "-"):sub(1, 50)
  return app and ("%s app/%s"):format(agent, app) or agent
end

return M
