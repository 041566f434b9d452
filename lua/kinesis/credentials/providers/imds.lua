-- The keys of an EC2 instance's role, from its metadata service, version 2 and, where that is not to be had, 1.
-- https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html

local values = require "kinesis.credentials.values"
local send = require "kinesis.credentials.send"
local setting = require "kinesis.credentials.setting"
local urls = require "kinesis.endpoint.urls"

local M = { name = "instance metadata" }

local ADDRESSES = { ipv4 = "http://169.254.169.254", ipv6 = "http://[fd00:ec2::254]" }
local ROLES = "/latest/meta-data/iam/security-credentials/"
local TOKEN_LIFE = 21600

-- Elsewhere than on EC2 nothing answers at that address, so that silence is believed at once.
local TIMEOUT, UNANSWERED, ATTEMPTS = 1, 1, 3

-- ---- where it is ----

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
  local address = ADDRESSES[(mode or "ipv4"):lower()]
  if not address then
    return nil, ("%s is '%s', which is neither IPv4 nor IPv6"):format(origin, send.line(mode))
  end
  return address
end

local function find_number(context, variable, key, default)
  local text, origin = setting.value(context, variable, key)
  local number = text and tonumber(text)
  if text and (not number or number < 1 or number > 3600) then
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

-- ---- what it says ----

-- What a question gave that got no answer: nil, state, why, and whether that may pass.
local function unanswered(service, why, code)
  if code == "answered" then
    return nil, "broken", ("%s fails: %s"):format(service.url, why), true
  end
  return nil, "absent", ("%s does not answer, as elsewhere than on EC2: %s"):format(service.url, why), true
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

-- Version 1 knows no tokens. A token's answer may also not get here, where a container is one hop too far away.
---@return string|false|nil token false: do without, as in version 1
---@return "absent"|"broken"|nil state
---@return string|nil why
---@return boolean|nil passing
local function fetch_token(context, service)
  local answer, why, code = ask(context, service, "PUT", "/latest/api/token", {
    ["x-aws-ec2-metadata-token-ttl-seconds"] = tostring(TOKEN_LIFE),
  })
  if answer and answer.status == 200 then
    local token = answer.body:gsub("%s+$", "")
    if token == "" or token:find("[^!-~]") then
      return nil, "broken", service.url .. " gave no proper token", true
    end
    return token
  end
  if answer and not NO_TOKENS[answer.status] then
    return nil, "broken", ("%s refused to give a token (HTTP %d)"):format(service.url, answer.status)
  end
  if not answer and code ~= "Timeout" then
    return unanswered(service, why, code)
  end
  if not setting.is_on(context, "AWS_EC2_METADATA_V1_DISABLED", "ec2_metadata_v1_disabled") then
    return false
  elseif answer then
    return nil, "broken", ("%s gives no token (HTTP %d), and its version 1 is switched off by "
      .. "AWS_EC2_METADATA_V1_DISABLED or `ec2_metadata_v1_disabled`"):format(service.url, answer.status)
  end
  return unanswered(service, why, code)
end

-- Reads a document with a token that is remembered; with a fresh one when the service has forgotten that.
---@return {status: integer, body: string}|nil answer
---@return "absent"|"broken"|nil state
---@return string|nil why
---@return boolean|nil passing
local function read(context, service, memory, path)
  for _ = 1, 2 do
    if memory.token and context.time() >= memory.token_expires then
      memory.token = nil
    end
    local token, state, why, passing = memory.token
    if not token then
      token, state, why, passing = fetch_token(context, service)
      if token == nil then
        return nil, state, why, passing
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
  return nil, "broken", service.url .. " refuses the tokens that it gives (HTTP 401)"
end

local function refusal(service, answer)
  if answer.status == 404 then
    return nil, "absent", "the instance has no role"
  elseif answer.status == 401 then
    return nil, "broken", service.url .. " wants a token (HTTP 401), but gives none that gets here; in a container the "
      .. "instance's `HttpPutResponseHopLimit` must be 2 or more"
  end
  return nil, "broken", ("%s refused (HTTP %d)"):format(service.url, answer.status)
end

---@return kinesis.FoundKeys|nil keys
---@return "absent"|"broken"|nil state
---@return string|nil why
---@return boolean|nil passing
local function read_keys(context, service, memory)
  local answer, state, why, passing = read(context, service, memory, ROLES)
  if not answer then
    return nil, state, why, passing
  elseif answer.status ~= 200 then
    return refusal(service, answer)
  end
  local role = answer.body:match("^%s*([%w+=,.@_-]+)%s*$")
  if not role then
    return nil, "broken", ("what %s names is no role"):format(service.url), true
  end
  answer, state, why, passing = read(context, service, memory, ROLES .. role)
  if not answer then
    return nil, state, why, passing
  elseif answer.status ~= 200 then
    return refusal(service, answer)
  end
  local object = values.object(answer.body)
  if not object then
    return nil, "broken", ("the answer of %s is no JSON object"):format(service.url), true
  end
  local code = values.text(object, "Code")
  if code and code ~= "Success" and code:find("^%w+$") and #code <= 100 then
    return nil, "broken", ("%s has no keys of the role %s: %s"):format(service.url, role, code), true
  end
  local found, problem = values.read(object, values.TEMPORARY)
  if not found then
    return nil, "broken", ("the answer of %s %s"):format(service.url, problem), true
  end
  return found
end

-- ---- static stability ----

-- While the service cannot give fresh keys, AWS takes the old ones beyond their time. Clients ask 15 minutes ahead; so
-- they ask again in 5 to 15 minutes, not all at once.
local function prolonged(found, now)
  return math.max(found.expiration or 0, math.floor(now + 1200 + math.random() * 600))
end

---@param context kinesis.credentials.context
---@return kinesis.FoundKeys|nil keys
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
  local found, state, why, passing = read_keys(context, service, memory)
  local now = context.time()
  if found then
    memory.keys = found
  elseif not (passing and memory.keys) then
    return nil, state, why
  end
  local copy = {}
  for member, value in pairs(memory.keys) do
    copy[member] = value
  end
  if not found or (copy.expiration and copy.expiration <= now) then
    copy.expiration = prolonged(copy, now)
  end
  return copy
end

return M
