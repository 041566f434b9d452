--- Where the file of leases is.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local variables = require "kinesis.config.variables"

local M = {}

--- The folder of the files of leases, which may not be there yet.
---@param path? string the option `path`
---@return string|nil folder
---@return kinesis.Error? err there is no folder by default
function M.of(path)
  local state = variables.read(os.getenv, "XDG_STATE_HOME")
  local home = variables.read(os.getenv, "HOME") or core.home()
  if path then
    return path
  elseif state and state:sub(1, 1) == "/" then
    return state .. "/kinesis"
  elseif home then
    return home .. "/.local/state/kinesis"
  end
  return nil, errors.new("BadConfig", "there is no folder for the leases: HOME and XDG_STATE_HOME are unset; set the "
    .. "option `path`")
end

return M
