-- The chain of places that credentials are looked for in. A provider is a module with a `name` and
--   fetch(context) -> keys                 what it found
--                  -> nil, "absent", why   nothing here; the next is asked
--                  -> nil, "broken", why   something here that cannot be used; nobody else is asked, because going on
--                                          with another identity than was meant is worse than stopping
-- and, where its name alone says too little, describe(context) -> string. `why` never holds a secret.

local container = require "kinesis.credentials.providers.container"
local environment = require "kinesis.credentials.providers.environment"
local imds = require "kinesis.credentials.providers.imds"
local values = require "kinesis.credentials.values"
local profile = require "kinesis.credentials.providers.profile"
local web_identity = require "kinesis.credentials.providers.web_identity"

local M = {}

---What a provider may touch, and nothing else. `request` and `run` wait, in the way of their host.
---@class kinesis.credentials.context
---@field options table the client's options
---@field profile kinesis.profile
---@field region string|nil the client's
---@field memory table what providers remember between refreshes; lives as long as the client
---@field env fun(name: string): string|nil
---@field load_profile fun(name: string): kinesis.profile|nil, string|nil profile, or nil and a message
---@field time fun(): number seconds since 1970
---@field read_file fun(path: string): string|nil, string|nil text, or nil and why
---@field replace_file nil|fun(path: string, text: string): true|nil, string|nil at once or not at all, mode 0600
---@field request fun(request: kinesis.credentials.request): {status: integer, body: string}|nil, kinesis.Error|nil
---@field run fun(argv: string[], timeout: number): {status: integer, output: string, errors: string}|nil, string|nil
---@field endpoint fun(service: "sts"|"sso"|"sso_oidc"): string|nil the configured URL

---@class kinesis.FoundKeys : kinesis.ProvidedCredentials
---@field account_id string|nil
---@field origin string name of the provider

-- A profile given in code is a choice; who happens to be in the environment does not overrule it.
local function chain(options)
  if options.profile then
    return { profile, container, imds }, "environment: not asked, since the option `profile` is given"
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

---Finds credentials. Reads environment and files anew at every call; the profile is as it was loaded.
---@param context kinesis.credentials.context
---@return kinesis.FoundKeys|nil keys
---@return {code: string, message: string}|nil err
function M.find(context)
  local providers, note = chain(context.options)
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
  local advice = stopped and "mend what is broken, or give the option `credentials`"
    or "set both variables, put keys into the profile, or give the option `credentials`"
  return nil, { code = "NoCredentials", message = ("no credentials: %s; %s"):format(
    table.concat(report, "; "), advice) }
end

return M
