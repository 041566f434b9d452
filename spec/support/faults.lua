-- The client of the scripted-fault server.
--
--   local scope = faults.open { PutRecord = { { code = "InternalFailure", status = 500 }, {}, { stall = 5 } } }
--   local client = scope:client()      -- of the service behind it; scope.url is the endpoint
--   #scope:seen "PutRecord"            -- the requests: operation, at, date, authorization, connection, …
--
-- One rule for each call, in order; {} and calls after the last rule are forwarded. A rule with `always = true` applies
-- to all later calls. The fields of a rule are described in nginx/faults_server.lua.
local fresh = require "support.fresh"

local M = {}

local Scope = {}
Scope.__index = Scope

--- Calls an operation of the server itself, and returns the answer. `server`: another one than that of faults.conf.
function M.control(name, operation, params, server)
  local client = fresh.client(("%s/control/%s"):format(server or os.getenv "NGINX_FAULTS", name), { max_attempts = 1 })
  local answer, err = client:call(operation, params)
  client:close()
  return assert(answer, err)
end

--- Creates a scope for one test. `options`: `tls`, its url is https://localhost (the specs' own CA); `service`, the
--- service behind it: "kinesis-local" (the default), "kinesalite" or "canned" (spec/support/canned.lua); `server`: the
--- URL of the server with that service, where it is not that of faults.conf.
function M.open(rules, options)
  options = options or {}
  local name = fresh.name(options.service or "kinesis-local")
  local server = options.server or os.getenv(options.tls and "NGINX_FAULTS_TLS" or "NGINX_FAULTS")
  local scope = setmetatable({ name = name, tls = options.tls, server = options.server,
    url = ("%s/scope/%s"):format(server, name) }, Scope)
  scope:set(rules or {})
  return scope
end

--- Adds rules for an operation that has none yet, counted from its first call.
function Scope:set(rules)
  M.control(self.name, "SetRules", rules, self.server)
end

--- From now on all calls of these operations have these rules, one for each; ["*"]: of all others. Without `rules`:
--- calls have those of `set` again.
function Scope:switch(rules)
  M.control(self.name, "Switch", { rules = rules }, self.server)
end

--- Opens the gate for waiting and for later calls.
function Scope:open_gate()
  M.control(self.name, "OpenGate", {}, self.server)
end

--- The requests that arrived, of all operations or of one; oldest first.
function Scope:seen(operation)
  return M.control(self.name, "TellSeen", { operation = operation }, self.server).seen
end

--- Creates a client that calls through this scope. Options as for kinesis.client.
function Scope:client(options)
  local given = {}
  if self.tls then
    given.ca_bundle = os.getenv "CERTS" .. "/ca.pem"
  end
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return fresh.client(self.url, given)
end

return M
