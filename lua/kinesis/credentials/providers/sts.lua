-- The Security Token Service: requests credentials of a role, with other credentials or a web identity token.
-- https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html

local codec = require("kinesis.core").codec
local values = require "kinesis.credentials.values"
local send = require "kinesis.credentials.send"
local services = require "kinesis.credentials.services"
local urls = require "kinesis.endpoint.urls"

local M = {}

local VERSION = "2011-06-15"
local CONTENT_TYPE = "application/x-www-form-urlencoded"
local LONGEST_ANSWER = 65536

-- ---- XML ----

local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'" }

-- The text of the first element with this tag. The elements read here have no attributes, and none is nested in one of
-- the same tag.
local function inside(text, tag)
  local _, start = text:find("<" .. tag .. ">", 1, true)
  local behind = start and text:find("</" .. tag .. ">", start + 1, true)
  return behind and text:sub(start + 1, behind - 1)
end

local function leaf(text, tag)
  local value = inside(text, tag)
  if not value or value:find("<", 1, true) then
    return nil
  end
  value = value:gsub("^%s+", ""):gsub("%s+$", ""):gsub("&(%a+);", ENTITIES)
  return value ~= "" and value or nil
end

local MEMBERS = {
  access_key_id = "AccessKeyId",
  secret_access_key = "SecretAccessKey",
  session_token = "SessionToken",
  expiration = "Expiration",
}

---@return kinesis.FoundCredentials|nil found
---@return string|nil problem
local function read_keys(body)
  local block = #body <= LONGEST_ANSWER and inside(body, "Credentials")
  if not block then
    return nil, "is no answer of STS"
  end
  local object = {}
  for _, tag in pairs(MEMBERS) do
    object[tag] = leaf(block, tag)
  end
  -- credentials of a role always have these two
  for _, needed in ipairs { "SessionToken", "Expiration" } do
    if not object[needed] then
      return nil, ("has no `%s`"):format(needed)
    end
  end
  local found, problem = values.read(object, MEMBERS)
  if found then
    local arn = leaf(inside(body, "AssumedRoleUser") or "", "Arn")
    found.account_id = arn and arn:match("^arn:[%w-]+:sts:[^:]*:(%d+):")
  end
  return found, problem
end

-- ---- errors ----

local function error_code(answer)
  local block = #answer.body <= LONGEST_ANSWER and inside(answer.body, "Error")
  local code = block and leaf(block, "Code")
  return code and code:find("^[%w.]+$") and #code <= 100 and code, block
end

local TRANSIENT = {
  IDPCommunicationError = true, RequestExpired = true, Throttling = true, ThrottlingException = true,
}

-- Also when the signature was too old: the machine may have slept while the request was under way.
local function is_transient(answer)
  local code, block = error_code(answer)
  local message = block and leaf(block, "Message") or ""
  return TRANSIENT[code] or message:find "^Signature expired" ~= nil or message:find "^Signature not yet current" ~= nil
end

-- Quotes the message of STS, which names the missing permission; omits it when it repeats a secret.
local function describe_error(answer, secrets)
  local code, block = error_code(answer)
  if not code then
    return ("HTTP %d"):format(answer.status)
  end
  local message = leaf(block, "Message")
  for _, secret in ipairs(secrets) do
    if message and message:find(secret, 1, true) then
      message = nil
    end
  end
  return ("HTTP %d, %s%s"):format(answer.status, code, message and ": " .. send.line(message) or "")
end

-- ---- requests ----

local function sign(context, url, body, found, region)
  local parts = assert(urls.parse(url))
  local date = os.date("!%Y%m%dT%H%M%SZ", math.floor(context.time()))
  local headers = { { "content-type", CONTENT_TYPE }, { "host", urls.authority(parts) }, { "x-amz-date", date } }
  if found.session_token then
    headers[4] = { "x-amz-security-token", found.session_token }
  end
  local sent = {}
  for _, header in ipairs(headers) do
    sent[header[1]] = header[2]
  end
  sent.authorization = codec.sign {
    access_key_id = found.access_key_id,
    secret_access_key = found.secret_access_key,
    region = region,
    service = "sts",
    date = date,
    path = parts.path .. "/",
    headers = headers,
    payload = body,
  }
  return sent
end

---@class kinesis.credentials.sts_call
---@field region string|nil
---@field form string[][] the action and its parameters: pairs of name and value
---@field signed_by kinesis.FoundCredentials|nil the credentials that sign it; nil: it is sent unsigned
---@field secrets string[] texts that no message may contain

---Requests the credentials of a role.
---@param context kinesis.credentials.context
---@param call kinesis.credentials.sts_call
---@return kinesis.FoundCredentials|nil found
---@return string|nil why
function M.ask(context, call)
  local url, problem = services.url(context, "sts", call.region)
  if not url then
    return nil, "cannot ask STS: " .. problem
  end
  table.insert(call.form, 2, { "Version", VERSION })
  local body = services.form(call.form)
  local headers = { ["content-type"] = CONTENT_TYPE }
  local sign_again
  if call.signed_by then
    function sign_again()
      -- a configured endpoint needs no region, but its signature does
      return sign(context, url, body, call.signed_by, call.region or "us-east-1")
    end
    headers = sign_again()
  end
  local answer, why = send.send(context, {
    method = "POST",
    url = url .. "/",
    headers = services.traced(headers),
    sign = sign_again,
    body = body,
    timeout = context.options.request_timeout,
    connect_timeout = context.options.connect_timeout,
  }, { transient = is_transient })
  if not answer then
    return nil, ("%s returned no credentials: %s"):format(url, why)
  end
  if answer.status ~= 200 then
    return nil, ("%s refused (%s)"):format(url, describe_error(answer, call.secrets))
  end
  local found
  found, problem = read_keys(answer.body)
  if not found then
    return nil, ("the answer of %s %s"):format(url, problem)
  end
  return found
end

---The session name, which CloudTrail shows for actions with a role's credentials.
---@param context kinesis.credentials.context
---@param configured string|nil
---@return string
function M.session_name(context, configured)
  return configured or ("kinesis-lua-%d"):format(math.floor(context.time()))
end

return M
