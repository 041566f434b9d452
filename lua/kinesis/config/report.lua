--- Reports the settings of a client and where each came from.
local schema = require "kinesis.options"
local pretty = require "kinesis.observe.pretty"

local M = {}

--- A setting and where it came from.
---@class kinesis.Setting
---@field value any nil when it is not set; of credentials: the end of the access key id, the expiration, the account
---@field origin string such as "the option `region`", "AWS_REGION", 'region of profile "x" (…)', "default", "rules"

local meta = pretty.meta "kinesis.config.report"

-- The last four characters of an access key id, enough to tell one from another.
local function masked(id)
  return ("*"):rep(math.max(0, #id - 4)) .. id:sub(-4)
end

local function credentials_of(client)
  local identity, origin = client.credentials.identity, client.credentials.origin
  if not identity then
    return { origin = origin or "not requested yet" }
  end
  return {
    value = {
      access_key_id = masked(identity.access_key_id),
      expiration = identity.expiration,
      account_id = identity.account_id,
    },
    origin = origin,
  }
end

local RESOLVED = {
  region = true, endpoint = true, ca_bundle = true, use_fips = true, use_dualstack = true,
  account_id_endpoint_mode = true, max_attempts = true, app_id = true,
}

---@param client kinesis.Client
---@return table<string, kinesis.Setting>
function M.of(client)
  local found, list = client.settings, {}
  for _, option in ipairs(schema.describe "client") do
    local name = option.name
    if RESOLVED[name] then
      list[name] = { value = found[name], origin = found.origins[name] or "not set" }
    elseif name ~= "credentials" and name ~= "profile" then
      local value = client.options[name]
      list[name] = {
        value = value,
        origin = value == nil and "not set" or value == option.default and "default"
          or ("the option `%s`"):format(name),
      }
    end
  end
  list.profile = { value = found.profile.name, origin = found.origins.profile }
  list.files = { value = found.profile.places, origin = found.origins.profile }
  list.credentials = credentials_of(client)
  return pretty.mark(list, meta)
end

return M
