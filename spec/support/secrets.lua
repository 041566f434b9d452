-- Records the secrets of all clients of the suite, and all texts: errors, raised values, the output of children.
-- worker.sh searches the texts, the output of the specs and all logs for the secrets.
local core = require "kinesis.core"

local M = {}

local LEAST = 12 -- bytes: shorter ones, such as "secret", are words that any message may hold

local secrets, said = {}, assert(io.open(os.getenv "REPORT" .. "/said", "w"))
local secrets_file = assert(io.open(os.getenv "REPORT" .. "/secrets", "w"))

--- Remembers a secret that the texts must not hold.
function M.keep(secret)
  if type(secret) == "string" and #secret >= LEAST and not secret:find "\n" and not secrets[secret] then
    secrets[secret] = true
    secrets_file:write(secret, "\n")
    secrets_file:flush()
  end
end

function M.heard(text)
  if type(text) == "string" then
    said:write(text, "\n")
    said:flush()
  end
  return text
end

--- Starts recording in this process.
function M.watch()
  local client = debug.getregistry()["kinesis.client"]
  local set_credentials = client.set_credentials
  function client.set_credentials(self, id, secret, token, ...)
    M.keep(secret)
    M.keep(token)
    return set_credentials(self, id, secret, token, ...)
  end
  local show = core.error_meta.__tostring
  core.error_meta.__tostring = function(err)
    return M.heard(show(err))
  end
  local try = pcall
  local function listen(good, ...)
    if not good then
      M.heard((...))
    end
    return good, ...
  end
  _G.pcall = function(f, ...)
    return listen(try(f, ...))
  end
end

return M
