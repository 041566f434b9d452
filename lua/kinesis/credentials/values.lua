-- Checks of credentials from every source. Messages never quote a value, as it may be a secret.

local codec = require("kinesis.core").codec
local iso8601 = require "kinesis.util.iso8601"

local M = {}

-- These values are sent in HTTP headers, which cannot hold control characters such as the line end of a file.
local HEADER_MEMBERS = { "access_key_id", "secret_access_key", "session_token", "account_id" }

-- Names of the members in the answers of container and instance metadata services.
M.TEMPORARY = {
  access_key_id = "AccessKeyId",
  secret_access_key = "SecretAccessKey",
  session_token = "Token",
  account_id = "AccountId",
  expiration = "Expiration",
}

---Reads a JSON object.
---@param text string
---@return table|nil object
function M.object(text)
  local value = codec.json_decode(text)
  return type(value) == "table" and value or nil
end

---A member's value when it is text; nil when it is absent, null, empty or something else.
---@param object table
---@param name string
---@return string|nil
function M.text(object, name)
  local value = object[name]
  return type(value) == "string" and value ~= "" and value or nil
end

---A member's value when it is a number in range: a time, or a duration.
---@param object table
---@param name string
---@param most number
---@return number|nil from 0 to `most`
function M.number(object, name, most)
  local value = object[name]
  return type(value) == "number" and value >= 0 and value <= most and value or nil
end

---Reads the credentials of a JSON answer.
---@param object table
---@param names table<string, string> own names of the members → the answer's
---@return kinesis.FoundCredentials|nil found
---@return string|nil problem
function M.read(object, names)
  local found = {}
  for ours, theirs in pairs(names) do
    found[ours] = M.text(object, theirs)
  end
  for _, needed in ipairs { "access_key_id", "secret_access_key" } do
    if not found[needed] then
      return nil, ("has no `%s`"):format(names[needed])
    end
  end
  local token, expiration = object[names.session_token], names.expiration and object[names.expiration]
  -- what is there and cannot be read is not absent: it would make them eternal, or permanent
  if not found.session_token and token ~= nil and token ~= "" then
    return nil, ("has a `%s` that is no text"):format(names.session_token)
  elseif expiration ~= nil then
    found.expiration = found.expiration and iso8601.read(found.expiration)
    if not found.expiration then
      return nil, ("has an `%s` that is no ISO 8601 time"):format(names.expiration)
    end
  end
  return found
end

---Why credentials cannot be used; nil when they can.
---@param found kinesis.FoundCredentials
---@param now number seconds since 1970
---@return string|nil problem
function M.problem(found, now)
  for _, member in ipairs(HEADER_MEMBERS) do
    if found[member] and found[member]:find("%c") then
      return ("its %s holds a line break or another control character"):format(member)
    end
  end
  if found.expiration and found.expiration <= now then
    return ("it returned credentials that have expired: at %s, and here it is %s"):format(
      iso8601.write(found.expiration), iso8601.write(now))
  end
end

local function is_header_text(value)
  return type(value) == "string" and not value:find "%c"
end

local function provided_problem(provided)
  if type(provided) ~= "table" then
    return "the credentials provider returned no table"
  end
  for _, name in ipairs { "access_key_id", "secret_access_key" } do
    if not is_header_text(provided[name]) or provided[name] == "" then
      return ("the credentials provider returned no proper %s"):format(name)
    end
  end
  for _, name in ipairs { "session_token", "account_id" } do
    if provided[name] ~= nil and not is_header_text(provided[name]) then
      return ("the credentials provider returned no proper %s"):format(name)
    end
  end
  local expiration = provided.expiration
  if expiration ~= nil and (type(expiration) ~= "number" or expiration ~= expiration) then
    return "the credentials provider returned no proper expiration: seconds since 1970, or nil"
  elseif expiration and expiration < math.huge and iso8601.is_too_late(expiration) then
    return "the credentials provider returned an expiration beyond the year 9999: seconds since 1970, not milliseconds"
  end
end

---Copies the credentials that the option `credentials` or the provider chain returned. Raises what a metamethod of
---the provider's table raises.
---@param provided any
---@param why any the provider's second value
---@return kinesis.ProvidedCredentials|nil found
---@return string|nil problem
function M.provided(provided, why)
  if not provided then
    why = type(why) == "table" and why.message or why
    return nil, tostring(why ~= nil and why or "the credentials provider has none")
  end
  why = provided_problem(provided)
  if why then
    return nil, why
  end
  return {
    access_key_id = provided.access_key_id,
    secret_access_key = provided.secret_access_key,
    session_token = provided.session_token ~= "" and provided.session_token or nil, -- "" sends no header
    expiration = provided.expiration,
    account_id = provided.account_id,
  }
end

return M
