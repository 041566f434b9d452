-- The chain of places that credentials are looked for in. A provider is a module with a `name` and
--   fetch(context) -> keys                 what it found
--                  -> nil, "absent", why   nothing here; the next is asked
--                  -> nil, "broken", why   something here that cannot be used; nobody else is asked, because going on
--                                          with another identity than was meant is worse than stopping
-- and, where its name alone says too little, describe(context) -> string. `why` never holds a secret.

local environment = require "kinesis.credentials.environment"
local profile = require "kinesis.credentials.profile"

local M = {}

---@class kinesis.credentials.context
---@field options table the client's options
---@field profile kinesis.profile
---@field env fun(name: string): string|nil

---@class kinesis.FoundKeys : kinesis.ProvidedKeys
---@field account_id string|nil
---@field origin string name of the provider

-- A profile given in code is a choice; keys which happen to be in the environment do not overrule it.
local function chain(options)
  if options.profile then
    return { profile }, "environment: not asked, since the option `profile` is given"
  end
  return { environment, profile }
end

-- Such bytes cannot stand in a header. They come from a file that was pasted or read with its line ends.
local function malformed_member(keys)
  for _, member in ipairs { "access_key_id", "secret_access_key", "session_token", "account_id" } do
    if keys[member] and keys[member]:find("%c") then
      return member
    end
  end
end

local function ask(provider, context)
  local keys, state, why = provider.fetch(context)
  local bad = keys and malformed_member(keys)
  if bad then
    return nil, "broken", ("its %s holds a line break or another control character"):format(bad)
  end
  return keys, state, why
end

---Finds credentials. Reads the environment anew at every call; the profile is as it was loaded.
---@param options table the client's options: profile
---@param loaded kinesis.profile
---@param env (fun(name: string): string|nil)|nil default os.getenv
---@return kinesis.FoundKeys|nil keys
---@return {code: string, message: string}|nil err
function M.find(options, loaded, env)
  local context = { options = options, profile = loaded, env = env or os.getenv }
  local providers, note = chain(options)
  local report = { note }
  local stopped = false
  for _, provider in ipairs(providers) do
    local place = provider.describe and provider.describe(context) or provider.name
    if stopped then
      report[#report + 1] = place .. ": not asked"
    else
      local keys, state, why = ask(provider, context)
      if keys then
        keys.origin = provider.name
        return keys
      end
      report[#report + 1] = ("%s: %s: %s"):format(place, state, why)
      stopped = state == "broken"
    end
  end
  return nil, { code = "NoCredentials", message = ("no credentials: %s; set both variables, put keys into the "
    .. "profile, or give the option `credentials`"):format(table.concat(report, "; ")) }
end

return M
