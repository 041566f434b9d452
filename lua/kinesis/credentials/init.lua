-- The provider chain: the order in which credential providers are called. A provider is a module with a `name` and
--   fetch(context) -> credentials
--                  -> nil, "absent", why   it is not configured; the next provider is called
--                  -> nil, "broken", why   its configuration cannot be used; the chain stops, because credentials of
--                                          another identity than the configured one would be worse than an error
-- and optionally describe(context) -> string, a longer name for messages. `why` never holds a secret.

local container = require "kinesis.credentials.providers.container"
local environment = require "kinesis.credentials.providers.environment"
local imds = require "kinesis.credentials.providers.imds"
local values = require "kinesis.credentials.values"
local profile = require "kinesis.credentials.providers.profile"
local web_identity = require "kinesis.credentials.providers.web_identity"

local M = {}

---All that a provider may use. `request` and `run` wait: they yield in the coroutine of the refresh.
---@class kinesis.credentials.context
---@field options table the client's options
---@field profile kinesis.profile
---@field region string|nil the client's
---@field memory table the state of providers between refreshes; lives as long as the client
---@field env fun(name: string): string|nil
---@field load_profile fun(name: string): kinesis.profile|nil, string|nil profile, or nil and a message
---@field time fun(): number seconds since 1970, by the service's clock where it is known
---@field read_file fun(path: string): string|nil, string|nil text, or nil and why
---@field replace_file nil|fun(path: string, text: string): true|nil, string|nil atomically, mode 0600
---@field request fun(request: kinesis.credentials.request): {status: integer, body: string}|nil, kinesis.Error|nil
---@field run fun(argv: string[], timeout: number): {status: integer, output: string, errors: string}|nil, string|nil
---@field endpoint fun(service: "sts"|"sso"|"sso_oidc"): string|nil, string|nil, string|nil the configured URL, its
---origin, and why it cannot be read

---@class kinesis.FoundCredentials : kinesis.ProvidedCredentials
---@field account_id string|nil
---@field origin string name of the provider

-- A profile that the user names precedes what the platform gives, such as a pod's web identity. The option `profile`
-- precedes the environment, too.
local function chain(context)
  if context.options.profile then
    return { profile, container, imds }, "environment: not asked, since the option `profile` is set"
  elseif context.profile.is_named then
    return { environment, profile, web_identity, container, imds }
  end
  return { environment, web_identity, profile, container, imds }
end

local function ask(provider, context)
  local found, state, why = provider.fetch(context)
  local problem = found and values.problem(found, context.time())
  if problem then
    return nil, "broken", problem
  end
  return found, state, why
end

---Finds credentials. Each call reads the environment and the files again, but not the profile.
---@param context kinesis.credentials.context
---@return kinesis.FoundCredentials|nil found
---@return {code: string, message: string}|nil err
function M.find(context)
  local providers, note = chain(context)
  local report = { note }
  local stopped = false
  for _, provider in ipairs(providers) do
    local place = provider.describe and provider.describe(context) or provider.name
    if stopped then
      report[#report + 1] = place .. ": not asked"
    else
      local found, state, why = ask(provider, context)
      if found then
        found.origin = provider.name
        return found
      end
      report[#report + 1] = ("%s: %s: %s"):format(place, state, why)
      stopped = state == "broken"
    end
  end
  local advice = stopped and "fix what is broken, or set the option `credentials`"
    or "set both variables, put credentials into the profile, or set the option `credentials`"
  return nil, { code = "NoCredentials", message = ("no credentials: %s; %s"):format(
    table.concat(report, "; "), advice) }
end

return M
