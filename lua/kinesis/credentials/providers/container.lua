-- Credentials of a container's role: ECS, EKS Pod Identity, Greengrass and compatible services.
-- https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html

local values = require "kinesis.credentials.values"
local send = require "kinesis.credentials.send"
local token_file = require "kinesis.credentials.providers.token_file"
local variable = require("kinesis.config.variables").read
local urls = require "kinesis.endpoint.urls"

local M = { name = "container" }

local RELATIVE, FULL = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"
local TOKEN, TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"

local AGENT = "http://169.254.170.2"
local TIMEOUT = 2

-- Hosts, besides the loopback network, to which plain http is allowed.
local NEAR = {
  localhost = true,
  ["[::1]"] = true,
  ["169.254.170.2"] = true,
  ["169.254.170.23"] = true, -- EKS Pod Identity
  ["[fd00:ec2::23]"] = true,
}

local function is_path(text)
  return not text:find("[^!-~]") and not text:find("#", 1, true)
end

local function check_full(url)
  local origin, rest = url:match("^(%a[%w+.-]*://[^/?#]*)(.*)$")
  if not origin then
    return nil, FULL .. " is no URL: it must begin with http:// or https://"
  end
  local parts, problem = urls.parse(origin)
  if not parts then
    return nil, ("%s is no URL: %s"):format(FULL, problem)
  end
  if not is_path(rest) then
    return nil, FULL .. " is no URL: its path holds characters that cannot stand there"
  end
  if parts.scheme == "http" and not NEAR[parts.host] and not parts.host:find("^127%.%d+%.%d+%.%d+$") then
    return nil, ("%s names the host %s, to which http is not allowed: only https is, or http to this machine, "
      .. "169.254.170.2, 169.254.170.23 or [fd00:ec2::23]"):format(FULL, parts.host)
  end
  return url
end

---@return string|nil url
---@return "absent"|"broken"|nil state
---@return string|nil why
local function find_url(context)
  local relative = variable(context.env, RELATIVE)
  if relative then
    -- anything but a path could change the host
    if not relative:find("^/") or not is_path(relative) then
      return nil, "broken", RELATIVE .. " is no path that begins with '/'"
    end
    return AGENT .. relative
  end
  local full = variable(context.env, FULL)
  if not full then
    return nil, "absent", ("%s and %s are unset"):format(RELATIVE, FULL)
  end
  local url, problem = check_full(full)
  if not url then
    return nil, "broken", problem
  end
  return url
end

---@return string|false|nil token false when there is none
---@return string|nil problem
local function find_token(context)
  local path = variable(context.env, TOKEN_FILE)
  if path then
    return token_file.read(context, path)
  end
  local token = variable(context.env, TOKEN)
  if token and token:find("%c") then
    return nil, TOKEN .. " holds a line break or another control character"
  end
  return token or false
end

---@param context kinesis.credentials.context
---@return kinesis.FoundCredentials|nil found
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch(context)
  local url, state, why = find_url(context)
  if not url then
    return nil, state, why
  end
  local token, problem = find_token(context)
  if token == nil then
    return nil, "broken", problem
  end
  local service = url:match("^%a+://[^/?#]*")
  local answer
  answer, why = send.send(context, {
    method = "GET",
    url = url,
    headers = { accept = "application/json", authorization = token or nil },
    timeout = TIMEOUT,
    connect_timeout = TIMEOUT,
  })
  if not answer then
    return nil, "broken", ("%s returned no credentials: %s"):format(service, why)
  end
  if answer.status ~= 200 then
    return nil, "broken", ("%s refused (HTTP %d); does the task or pod have a role, and is its token right?"):format(
      service, answer.status)
  end
  local object = values.object(answer.body)
  if not object then
    return nil, "broken", ("the answer of %s is no JSON object"):format(service)
  end
  local found
  found, problem = values.read(object, values.TEMPORARY)
  if not found then
    return nil, "broken", ("the answer of %s %s"):format(service, problem)
  end
  return found
end

return M
