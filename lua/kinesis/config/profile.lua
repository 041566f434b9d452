-- Loads one named profile from the two shared AWS files.

local ini = require "kinesis.config.ini"
local variables = require "kinesis.config.variables"

local M = {}

-- errno values, the same on all supported systems
local ENOENT, ENOTDIR = 2, 20

local function place_of(env, variable, default)
  local path = variables.read(env, variable) or default
  local home = variables.read(env, "HOME")
  if home and path:find("^~/") then
    path = home .. path:sub(2)
  end
  return path
end

---@return table|nil sections an empty table when there is no such file
---@return string|nil problem "no such file", or the message of a failure
local function read_sections(path)
  local file, reason, errno = io.open(path, "rb")
  if not file then
    if errno == ENOENT or errno == ENOTDIR then
      return {}, "no such file"
    end
    return nil, "cannot read " .. reason
  end
  local text, read_reason = file:read("*a")
  file:close()
  if not text then
    -- opening a directory succeeds; reading it fails
    return nil, ("cannot read %s: %s"):format(path, tostring(read_reason))
  end
  return ini.parse(text, path)
end

local function config_section(sections, name)
  local section = sections["profile " .. name]
  if not section and name == "default" then
    return sections["default"]
  end
  return section
end

local function merge(profile, section, path)
  for key, value in pairs(section or {}) do
    profile.keys[key] = value
    profile.origin[key] = path
  end
  profile.found = profile.found or section ~= nil
end

local function describe(path, note)
  return note and ("%s (%s)"):format(path, note) or path
end

---@class kinesis.profile
---@field name string
---@field keys table<string, string|table<string, string>> keys in lower case
---@field found boolean whether any file has the profile
---@field places string[] the files that were read, for messages
---@field origin table<string, string> the file of each key
---@field services table<string, table<string, string>>|nil the `[services …]` section that the key `services` names

---Loads a profile. A missing file is an empty one; when both files have a key, that of the credentials file wins.
---@param name string|nil default "default"
---@param env (fun(name: string): string|nil)|nil default os.getenv
---@return kinesis.profile|nil profile
---@return string|nil message of a file that is malformed or cannot be read
function M.load(name, env)
  name, env = name or "default", env or os.getenv
  local config_path = place_of(env, "AWS_CONFIG_FILE", "~/.aws/config")
  local credentials_path = place_of(env, "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
  local config, config_note = read_sections(config_path)
  if not config then
    return nil, config_note
  end
  local credentials, credentials_note = read_sections(credentials_path)
  if not credentials then
    return nil, credentials_note
  end

  local profile = {
    name = name,
    keys = {},
    found = false,
    places = { describe(config_path, config_note), describe(credentials_path, credentials_note) },
    origin = {},
  }
  merge(profile, config_section(config, name), config_path)
  merge(profile, credentials[name], credentials_path)
  if type(profile.keys.services) == "string" then
    profile.services = config["services " .. profile.keys.services]
  end
  return profile
end

---A key's value when it is text; nil when it is absent, empty or a nested block.
---@param profile kinesis.profile
---@param key string
---@return string|nil
function M.text(profile, key)
  local value = profile.keys[key]
  return type(value) == "string" and value ~= "" and value or nil
end

return M
