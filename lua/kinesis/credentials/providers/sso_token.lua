-- The token that `aws sso login` writes to its cache. A token of an [sso-session] is renewed shortly before it expires,
-- and written back, because the renewal invalidates the old refresh token.
-- https://docs.aws.amazon.com/sdkref/latest/guide/feature-sso-credentials.html

local codec = require("kinesis.core").codec
local profiles = require "kinesis.config.profile"
local iso8601 = require "kinesis.util.iso8601"
local values = require "kinesis.credentials.values"
local send = require "kinesis.credentials.send"
local services = require "kinesis.credentials.services"

local M = {}

local EARLY = 900
local LONGEST = 1e9 -- seconds, some thirty years

local function cache_path(context, sso)
  return profiles.expand(("~/.aws/sso/cache/%s.json"):format(codec.sha1(sso.session or sso.start_url)), context.env)
end

local function expiry(token)
  local text = values.text(token, "expiresAt")
  return text and iso8601.read(text)
end

---@return table|nil token as its file has it
---@return string|nil problem
local function read_cache(context, path)
  local text, why = context.read_file(path)
  if not text then
    return nil, ("there is no SSO token: cannot read %s: %s"):format(path, tostring(why))
  end
  local token = values.object(text)
  if not token or not values.text(token, "accessToken") or not expiry(token) then
    return nil, ("what %s holds is no SSO token"):format(path)
  end
  if values.text(token, "accessToken"):find("%c") then
    return nil, ("the SSO token in %s holds a line break or another control character"):format(path)
  end
  return token
end

-- The token that expires last: the user may have logged in again since this client renewed its own.
local function newest(cached, remembered)
  if cached and remembered then
    return expiry(cached) >= expiry(remembered) and cached or remembered
  end
  return cached or remembered
end

local function can_renew(context, sso, token)
  for _, member in ipairs { "refreshToken", "clientId", "clientSecret" } do
    if not values.text(token, member) then
      return false
    end
  end
  local registered = iso8601.read(values.text(token, "registrationExpiresAt") or "")
  return sso.session ~= nil and registered ~= nil and registered > context.time()
end

---@return table|nil token
---@return string|nil why
local function renew(context, sso, token)
  local url, problem = services.url(context, "sso_oidc", sso.region)
  if not url then
    return nil, problem
  end
  local answer, why = send.send(context, {
    method = "POST",
    url = url .. "/token",
    headers = services.traced { ["content-type"] = "application/json" },
    body = codec.json_encode {
      clientId = token.clientId,
      clientSecret = token.clientSecret,
      grantType = "refresh_token",
      refreshToken = token.refreshToken,
    },
    timeout = context.options.request_timeout,
    connect_timeout = context.options.connect_timeout,
  })
  if not answer then
    return nil, ("%s did not renew the SSO token: %s"):format(url, why)
  elseif answer.status ~= 200 then
    return nil, ("%s refused to renew the SSO token (HTTP %d)"):format(url, answer.status)
  end
  local object = values.object(answer.body)
  local access = object and values.text(object, "accessToken")
  local span = object and values.number(object, "expiresIn", LONGEST)
  if not access or access:find("%c") or not span then
    return nil, ("the answer of %s holds no token"):format(url)
  end
  local renewed = {}
  for member, value in pairs(token) do
    renewed[member] = value
  end
  renewed.accessToken = access
  renewed.expiresAt = iso8601.write(context.time() + span)
  renewed.refreshToken = values.text(object, "refreshToken") or token.refreshToken
  return renewed
end

---The token of a session.
---@param context kinesis.credentials.context
---@param sso {session: string|nil, start_url: string, region: string}
---@return string|nil token
---@return string|nil why without a hint
function M.find(context, sso)
  local path = cache_path(context, sso)
  local memory = context.memory.sso or {}
  context.memory.sso = memory
  local cached, problem = read_cache(context, path)
  local token = newest(cached, memory[path])
  if not token then
    return nil, problem
  end
  local left = expiry(token) - context.time()
  if left <= EARLY and can_renew(context, sso, token) then
    local renewed, why = renew(context, sso, token)
    if renewed then
      memory[path] = renewed
      if context.replace_file then
        context.replace_file(path, codec.json_encode(renewed))
      end
      return renewed.accessToken
    end
    problem = why
  end
  if left <= 0 then
    return nil, problem or ("the SSO token in %s has expired"):format(path)
  end
  return token.accessToken
end

return M
