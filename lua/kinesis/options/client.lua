-- The options of a client.

local types = require "kinesis.util.types"

--- Credentials for signing requests.
---@class kinesis.Credentials
---@field access_key_id string
---@field secret_access_key string never shown in messages
---@field session_token? string only temporary credentials have one
---@field account_id? string the account of the credentials: calls go to its own host

--- Credentials that a function provides.
---@class kinesis.ProvidedCredentials : kinesis.Credentials
---@field expiration? number seconds since 1970; absent: they do not expire

--- Called when credentials are first needed, again 15 minutes before they expire, and when the service refuses them.
--- When it returns nil, `why` is the message of the error `NoCredentials` of the waiting calls. Producers and readers
--- wait instead; for them it is called every 30 seconds.
---@alias kinesis.Provider fun(): credentials: kinesis.ProvidedCredentials|nil, why: string|nil

-- The members of a table of credentials.
local MEMBERS = { "access_key_id", "secret_access_key", "session_token", "account_id" }
local IS_NEEDED = { access_key_id = true, secret_access_key = true, session_token = false, account_id = false }

-- Messages never quote values: a secret may be under a wrong name.
local function check_credentials(value)
  if type(value) == "function" then
    return nil
  end
  for member in pairs(value) do
    if IS_NEEDED[member] == nil then
      return ("has the unknown member '%s'; known are %s"):format(tostring(member), table.concat(MEMBERS, ", "))
    end
  end
  for _, member in ipairs(MEMBERS) do
    local text = value[member]
    if text ~= nil or IS_NEEDED[member] then
      if type(text) ~= "string" then
        return ("must have a string as its %s, got %s"):format(member, types.name(text))
      elseif text == "" then
        return ("must not have an empty %s"):format(member)
      elseif text:find("[\r\n]") or text:find("\0", 1, true) then
        return ("must not have a line break or NUL in its %s"):format(member)
      end
    end
  end
end

local MODES = { preferred = true, disabled = true, required = true }

local function check_mode(value)
  return not MODES[value] and "must be 'preferred', 'disabled' or 'required'" or nil
end

local function check_event_loop(value)
  return value ~= "none" and value ~= "luv" and value ~= "openresty" and "must be 'none', 'luv' or 'openresty'" or nil
end

---@type kinesis.option[]
return {
  { name = "region", type = "string", filled = true, doc = "AWS region, such as us-east-1." },
  { name = "endpoint", type = "string", filled = true, doc = "URL to call instead of the region's endpoint." },
  { name = "profile", type = "string", filled = true, doc = "Profile of the shared AWS files to use." },
  { name = "ca_bundle", type = "string", filled = true,
    doc = "Path of a PEM file with the authorities to trust instead of the system's." },
  { name = "credentials", type = { "table", "function" }, check = check_credentials,
    shape = "kinesis.Credentials|kinesis.Provider",
    doc = "Credentials as {access_key_id=, secret_access_key=, session_token=}, or a function that returns them." },
  { name = "connect_timeout", type = "number", default = 3, min = 0.001,
    doc = "Longest time to set up a connection, in seconds." },
  { name = "request_timeout", type = "number", default = 20, min = 0.001,
    doc = "Longest time for one attempt of a call, in seconds." },
  { name = "call_timeout", type = "number", min = 0.001,
    doc = "Longest time for a call with all its attempts, in seconds; no limit by default." },
  { name = "max_attempts", type = "integer", min = 1, max = 100,
    doc = "Most attempts of a call, the first one included; by default AWS_MAX_ATTEMPTS, the profile, or 3." },
  { name = "max_connections", type = "integer", default = 24, min = 1, max = 1000,
    doc = "Most open connections; each carries one request at a time. Requests for leases in DynamoDB have as many "
      .. "of their own." },
  { name = "use_fips", type = "boolean",
    doc = "Whether to call endpoints that comply with FIPS 140; by default not." },
  { name = "use_dualstack", type = "boolean",
    doc = "Whether to call endpoints that have IPv4 and IPv6; by default not." },
  { name = "account_id_endpoint_mode", type = "string", check = check_mode,
    shape = '"preferred"|"disabled"|"required"',
    doc = "Whether calls go to the endpoint of the account. 'preferred' (the default): when the account is known; "
      .. "'required': a call fails when it is not known; 'disabled': never." },
  { name = "app_id", type = "string", filled = true, doc = "Name of the application, for the user agent." },
  { name = "event_loop", type = "string", check = check_event_loop, shape = '"none"|"luv"|"openresty"',
    doc = "How calls wait; detected by default. 'openresty': in nginx; 'luv': in the loop of luv, when luv is loaded "
      .. "and a coroutine waits; 'none': the call blocks the process." },
  { name = "on_request", type = "function", shape = "fun(event: kinesis.Event)",
    doc = "Called for each request that was sent; in a script, during a call of the library." },
  { name = "on_response", type = "function", shape = "fun(event: kinesis.Event)",
    doc = "Called for each answer and for each failed attempt; when: see on_request." },
  { name = "on_retry", type = "function", shape = "fun(event: kinesis.Event)",
    doc = "Called when a call will be retried; when: see on_request." },

}
