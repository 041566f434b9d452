-- Loads one named profile from the two shared AWS files.

local core = require "kinesis.core"
local ini = require "kinesis.config.ini"
local variables = require "kinesis.config.variables"

local M = {}

-- errno values, the same on all supported systems
local ENOENT, ENOTDIR = 2, 20

---Replaces a `~` at the start of a path by the home folder: HOME, or else that of the user's entry in passwd.
---@param path string
---@param env fun(name: string): string|nil
---@return string
function M.expand(path, env)
  local home = path:find "^~/" and (variables.read(env, "HOME") or core.home())
  return home and home .. path:sub(2) or path
end

---@class kinesis.shared_file
---@field path string
---@field is_named boolean whether a variable names it, so that it is not the default file
---@field sections table<string, table<string, string|table<string, string>>> empty when it could not be read
---@field problems table<string, string> by section
---@field note string|nil for messages: what is the matter with the file as a whole

-- Reads the whole file. A folder can be opened; reading it fails.
---@return string|nil text
---@return string|nil reason
---@return integer|nil errno
local function read_text(path)
  local file, reason, errno = io.open(path, "rb")
  if not file then
    return nil, reason:sub(#path + 3), errno -- "path: reason"
  end
  local text
  text, reason = file:read "*a"
  file:close()
  return text, reason
end

---@return kinesis.shared_file|nil file
---@return string|nil message a file that a variable names cannot be read
local function read_file(env, variable, default)
  local named = variables.read(env, variable)
  local path = M.expand(named or default, env)
  local file = { path = path, is_named = named ~= nil, sections = {}, problems = {} }
  local text, reason, errno = read_text(path)
  if text then
    file.sections, file.problems = ini.parse(text, path)
    file.note = file.problems[""]
  elseif errno == ENOENT or errno == ENOTDIR then
    file.note = "no such file"
  elseif named then
    return nil, ("cannot read %s: %s"):format(path, tostring(reason))
  else
    file.note = "cannot be read: " .. tostring(reason)
  end
  return file
end

local function describe(file)
  return file.note and ("%s (%s)"):format(file.path, file.note) or file.path
end

-- Adds a section to the profile. One with a line that cannot be read counts as found, but none of its keys is used.
local function merge(profile, file, name)
  local section, problem = file.sections[name], file.problems[name]
  profile.found = profile.found or section ~= nil
  profile.problem = profile.problem or problem
  profile.is_named = profile.is_named or problem ~= nil and file.is_named
  for key, value in pairs(not problem and section or {}) do
    profile.keys[key] = value
  end
end

-- The section of the config file that a key of the profile names, such as [services x].
local function linked(profile, config, kind, key)
  local name = M.text(profile, key)
  if not name then
    return nil
  end
  local header = kind .. " " .. name
  local problem = config.problems[header]
  if problem then
    problem = ("[%s], which cannot be read: %s"):format(header, problem)
  elseif not config.sections[header] then
    problem = ("[%s], which is not in %s"):format(header, describe(config))
  end
  return { name = name, keys = not problem and config.sections[header] or nil, problem = problem }
end

---@class kinesis.profile.linked
---@field name string
---@field keys table<string, string|table<string, string>>|nil
---@field problem string|nil why there are no keys; begins with the section

---@class kinesis.profile
---@field name string
---@field keys table<string, string|table<string, string>> keys in lower case
---@field found boolean whether any file has the profile
---@field is_named boolean whether the user asked for it: by its name, or by the name of its malformed file
---@field problem string|nil what is malformed in it
---@field places string[] the files that were read, for messages
---@field services kinesis.profile.linked|nil the section `[services …]` that the key `services` names
---@field sso_session kinesis.profile.linked|nil the section `[sso-session …]` that the key `sso_session` names

---Loads a profile. A default file that is missing or cannot be read is an empty one. When both files have a key, that
---of the credentials file wins. The config file alone has the sections that a profile names.
---@param name string|nil default "default"
---@param env (fun(name: string): string|nil)|nil default os.getenv
---@return kinesis.profile|nil profile
---@return string|nil message of a named file that cannot be read, or of a malformed profile that is named or in a named
---file
function M.load(name, env)
  env = env or os.getenv
  local config, credentials, message
  config, message = read_file(env, "AWS_CONFIG_FILE", "~/.aws/config")
  if not config then
    return nil, message
  end
  credentials, message = read_file(env, "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
  if not credentials then
    return nil, message
  end
  local profile = {
    name = name or "default",
    keys = {},
    found = false,
    is_named = name ~= nil,
    places = { describe(config), describe(credentials) },
  }
  local section = "profile " .. profile.name
  local has_section = config.sections[section] or config.problems[section]
  merge(profile, config, not has_section and profile.name == "default" and "default" or section)
  merge(profile, credentials, profile.name)
  if profile.problem and profile.is_named then
    return nil, profile.problem
  end
  profile.services = linked(profile, config, "services", "services")
  profile.sso_session = linked(profile, config, "sso-session", "sso_session")
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
