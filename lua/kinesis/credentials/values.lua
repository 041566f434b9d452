-- What is asked of keys, wherever they come from. No message quotes what it is about: it may be a key.

local cjson = require("cjson").new()
local iso8601 = require "kinesis.util.iso8601"

local M = {}

-- Such bytes cannot stand in a header. They come from a file that was pasted or read with its line ends.
local HEADER_MEMBERS = { "access_key_id", "secret_access_key", "session_token", "account_id" }

-- How the services inside a container or an instance name what they give.
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
  local good, value = pcall(cjson.decode, text)
  return good and type(value) == "table" and value or nil
end

---A member's value when it is text; nil when it is absent, null, empty or something else.
---@param object table
---@param name string
---@return string|nil
function M.text(object, name)
  local value = object[name]
  return type(value) == "string" and value ~= "" and value or nil
end

---A member's value when it is a number of some sense: a time, or a span of it.
---@param object table
---@param name string
---@param most number
---@return number|nil from 0 to `most`
function M.number(object, name, most)
  local value = object[name]
  return type(value) == "number" and value >= 0 and value <= most and value or nil
end

---Takes the keys out of an answer.
---@param object table
---@param names table<string, string> our names of the members → the answer's
---@return kinesis.FoundKeys|nil keys
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
  if found.expiration then
    found.expiration = iso8601.read(found.expiration)
    if not found.expiration then
      return nil, ("has an `%s` that is no ISO 8601 time"):format(names.expiration)
    end
  end
  return found
end

---Why keys cannot be used; nil when they can.
---@param found kinesis.FoundKeys
---@param now number seconds since 1970
---@return string|nil problem
function M.problem(found, now)
  for _, member in ipairs(HEADER_MEMBERS) do
    if found[member] and found[member]:find("%c") then
      return ("its %s holds a line break or another control character"):format(member)
    end
  end
  if found.expiration and found.expiration <= now then
    return ("it returned keys that have already expired: at %s, and here it is %s"):format(
      iso8601.write(found.expiration), iso8601.write(now))
  end
end

return M
