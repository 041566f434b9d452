-- Credentials of an EC2 instance's role, from its metadata service: version 2, or else version 1.
-- https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html

local ascii = require "kinesis.util.ascii"
local codec = require("kinesis.core").codec
local values = require "kinesis.credentials.values"
local send = require "kinesis.credentials.send"
local setting = require "kinesis.credentials.setting"
local urls = require "kinesis.endpoint.urls"

local M = { name = "instance metadata" }

local ADDRESSES = { ipv4 = "http://169.254.169.254", ipv6 = "http://[fd00:ec2::254]" }
-- The extended path has the account, too. Where it is not there (HTTP 404), the old one is.
local EXTENDED_ROLES = "/latest/meta-data/iam/security-credentials-extended/"
local OLD_ROLES = "/latest/meta-data/iam/security-credentials/"
local TOKEN_LIFE = 21600

-- Outside EC2 no host has that address, so one attempt without an answer is enough.
local TIMEOUT, UNANSWERED, ATTEMPTS = 1, 1, 3

-- ---- settings ----

---@return string|nil url
---@return string|nil problem
local function find_url(context)
  local url, origin = setting.value(context, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "ec2_metadata_service_endpoint")
  if url then
    local parts, problem = urls.parse(url)
    if not parts then
      return nil, ("%s is no URL: %s"):format(origin, problem)
    end
    return ("%s://%s%s"):format(parts.scheme, urls.authority(parts), parts.path)
  end
  local mode
  mode, origin = setting.value(
    context, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ec2_metadata_service_endpoint_mode")
  local address = ADDRESSES[ascii.lower(mode or "ipv4")]
  if not address then
    return nil, ("%s is '%s', which is neither IPv4 nor IPv6"):format(origin, send.line(mode))
  end
  return address
end

local function find_number(context, variable, key, default)
  local text, origin = setting.value(context, variable, key)
  local number = text and codec.json_decode(text) -- tonumber depends on the locale
  if text and (type(number) ~= "number" or number < 1 or number > 3600) then
    return nil, origin .. " is no number from 1 to 3600"
  end
  return number or default, text ~= nil
end

---@return {url: string, timeout: number, limits: kinesis.credentials.limits}|nil service
---@return string|nil problem
local function find_service(context)
  local url, problem = find_url(context)
  if not url then
    return nil, problem
  end
  local timeout, attempts, is_configured
  timeout, problem = find_number(context, "AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout", TIMEOUT)
  if not timeout then
    return nil, problem
  end
  attempts, is_configured =
    find_number(context, "AWS_METADATA_SERVICE_NUM_ATTEMPTS", "metadata_service_num_attempts", ATTEMPTS)
  if not attempts then
    return nil, is_configured
  end
  local limits = { attempts = attempts, unanswered = is_configured and attempts or UNANSWERED }
  return { url = url, timeout = timeout, limits = limits }
end

-- ---- requests ----

-- The results of a request without an answer: nil, state, why, and whether the failure is transient.
local function unanswered(service, why, code)
  if code == "answered" then
    return nil, "broken", ("%s fails: %s"):format(service.url, why), true
  end
  return nil, "absent", ("%s does not answer (%s); outside EC2 it does not exist"):format(service.url, why), true
end

local function ask(context, service, method, path, headers)
  return send.send(context, {
    method = method,
    url = service.url .. path,
    headers = headers,
    timeout = service.timeout,
    connect_timeout = service.timeout,
  }, service.limits)
end

local NO_TOKENS = { [403] = true, [404] = true, [405] = true }

-- Version 1 has no tokens. The answer with a token may also be lost when the container is one network hop too far away.
---@return string|false|nil token false: send requests without a token, as in version 1
---@return "absent"|"broken"|nil state
---@return string|nil why
---@return boolean|nil is_transient
local function fetch_token(context, service)
  local answer, why, code = ask(context, service, "PUT", "/latest/api/token", {
    ["x-aws-ec2-metadata-token-ttl-seconds"] = tostring(TOKEN_LIFE),
  })
  if answer and answer.status == 200 then
    local token = answer.body:gsub("%s+$", "")
    if token == "" or token:find("[^!-~]") then
      return nil, "broken", service.url .. " returned no proper token", true
    end
    return token
  end
  if answer and not NO_TOKENS[answer.status] then
    return nil, "broken", ("%s refused to return a token (HTTP %d)"):format(service.url, answer.status)
  end
  if not answer and code ~= "Timeout" then
    return unanswered(service, why, code)
  end
  if not setting.is_on(context, "AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled") then
    return false
  elseif answer then
    return nil, "broken", ("%s returns no token (HTTP %d), and its version 1 is disabled by "
      .. "AWS_EC2_METADATA_V1_DISABLED or `ec2_metadata_v1_disabled`"):format(service.url, answer.status)
  end
  return unanswered(service, why, code)
end

-- Reads a document with the cached token; with a new token when the service rejects the cached one.
---@return {status: integer, body: string}|nil answer
---@return "absent"|"broken"|nil state
---@return string|nil why
---@return boolean|nil is_transient
local function read(context, service, memory, path)
  for _ = 1, 2 do
    if memory.token and context.time() >= memory.token_expires then
      memory.token = nil
    end
    local token, state, why, is_transient = memory.token
    if not token then
      token, state, why, is_transient = fetch_token(context, service)
      if token == nil then
        return nil, state, why, is_transient
      end
      memory.token, memory.token_expires = token or nil, context.time() + TOKEN_LIFE - 60
    end
    local answer, code
    answer, why, code = ask(context, service, "GET", path, { ["x-aws-ec2-metadata-token"] = token or nil })
    if not answer then
      return unanswered(service, why, code)
    elseif answer.status ~= 401 or not token then
      return answer
    end
    memory.token = nil
  end
  return nil, "broken", service.url .. " refuses its own tokens (HTTP 401)"
end

local NO_ROLE = "the instance has no role"

local function rejection(service, answer)
  if answer.status == 404 then
    return nil, "absent", NO_ROLE
  elseif answer.status == 401 then
    return nil, "broken", service.url .. " needs a token (HTTP 401), but its answer with one is lost; in a container "
      .. "the instance's `HttpPutResponseHopLimit` must be 2 or more"
  end
  return nil, "broken", ("%s refused (HTTP %d)"):format(service.url, answer.status)
end

-- Reads the document of the instance's role, under one of the paths.
---@return {status: integer, body: string}|nil answer
---@return string role without an answer, the state: "absent" or "broken"
---@return string|nil why
---@return boolean|nil is_transient
local function read_role(context, service, memory, path)
  local answer, state, why, is_transient = read(context, service, memory, path)
  local role
  if answer and answer.status == 200 then
    role = answer.body:match("^%s*([%w+=,.@_-]+)%s*$")
    if not role then
      return nil, "broken", ("what %s names is no role"):format(service.url), true
    end
    answer, state, why, is_transient = read(context, service, memory, path .. role)
  end
  if not answer then
    return nil, state, why, is_transient
  elseif answer.status ~= 200 then
    return rejection(service, answer)
  end
  return answer, role
end

---@return kinesis.FoundCredentials|nil found
---@return "absent"|"broken"|nil state
---@return string|nil why
---@return boolean|nil is_transient
local function read_credentials(context, service, memory)
  local answer, role, why, is_transient
  if not memory.is_old then
    answer, role, why, is_transient = read_role(context, service, memory, EXTENDED_ROLES)
  end
  if memory.is_old or why == NO_ROLE then
    answer, role, why, is_transient = read_role(context, service, memory, OLD_ROLES)
    memory.is_old = answer ~= nil or memory.is_old
  end
  if not answer then
    return nil, role, why, is_transient
  end
  local object = values.object(answer.body)
  if not object then
    return nil, "broken", ("the answer of %s is no JSON object"):format(service.url), true
  end
  local code = values.text(object, "Code")
  if code and code ~= "Success" and code:find("^%w+$") and #code <= 100 then
    return nil, "broken", ("%s has no credentials of the role %s: %s"):format(service.url, role, code), true
  end
  local found, problem = values.read(object, values.TEMPORARY)
  if not found then
    return nil, "broken", ("the answer of %s %s"):format(service.url, problem), true
  end
  return found
end

-- ---- static stability ----

-- While the metadata service has no new credentials, AWS accepts expired ones. The engine refreshes 15 minutes before
-- the expiration; so it refreshes again in 5 to 15 minutes, at a random time to spread the load.
local function extended_expiration(found, now)
  return math.max(found.expiration or 0, math.floor(now + 1200 + math.random() * 600))
end

---@param context kinesis.credentials.context
---@return kinesis.FoundCredentials|nil found
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch(context)
  if setting.is_on(context, "AWS_EC2_METADATA_DISABLED") then
    return nil, "absent", "AWS_EC2_METADATA_DISABLED is true"
  end
  local service, problem = find_service(context)
  if not service then
    return nil, "broken", problem
  end
  local memory = context.memory.imds or {}
  context.memory.imds = memory
  local found, state, why, is_transient = read_credentials(context, service, memory)
  local now = context.time()
  if found then
    memory.keys = found
  elseif not (is_transient and memory.keys) then
    return nil, state, why
  end
  local copy = {}
  for member, value in pairs(memory.keys) do
    copy[member] = value
  end
  if not found or (copy.expiration and copy.expiration <= now) then
    copy.expiration = extended_expiration(copy, now)
  end
  return copy
end

return M
