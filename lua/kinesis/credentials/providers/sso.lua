-- Credentials of a role in IAM Identity Center (SSO), fetched with the token of `aws sso login`.
-- https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html

local advice = require "kinesis.credentials.advice"
local values = require "kinesis.credentials.values"
local send = require "kinesis.credentials.send"
local services = require "kinesis.credentials.services"
local sso_token = require "kinesis.credentials.providers.sso_token"
local text = require("kinesis.config.profile").text

local M = {}

local LATEST = 1e14 -- milliseconds since 1970, some thousand years from now

local MEMBERS = {
  access_key_id = "accessKeyId",
  secret_access_key = "secretAccessKey",
  session_token = "sessionToken",
}

---@return {session: string|nil, start_url: string, region: string, account_id: string, role: string}|nil sso
---@return string|nil problem
local function read_profile(profile)
  local linked = profile.sso_session
  if linked and linked.problem then
    return nil, "it names " .. linked.problem
  end
  local session, section = linked and linked.name, linked and linked.keys or profile.keys
  for _, key in ipairs { "sso_account_id", "sso_role_name" } do
    if not text(profile, key) then
      return nil, ("it has no `%s`, which SSO needs"):format(key)
    end
  end
  for _, key in ipairs { "sso_start_url", "sso_region" } do
    local value, own = values.text(section, key), text(profile, key)
    if not value then
      return nil, ("%s no `%s`, which SSO needs"):format(
        session and ("[sso-session %s] has"):format(session) or "it has", key)
    elseif own and own ~= value then
      return nil, ("its `%s` is not that of [sso-session %s]"):format(key, session)
    end
  end
  return {
    session = session,
    start_url = section.sso_start_url,
    region = section.sso_region,
    account_id = text(profile, "sso_account_id"),
    role = text(profile, "sso_role_name"),
  }
end

local function read_keys(body)
  local object = values.object(body)
  local role = object and object.roleCredentials
  if type(role) ~= "table" then
    return nil, "holds no credentials"
  end
  local found, problem = values.read(role, MEMBERS)
  if not found then
    return nil, problem
  end
  local milliseconds = values.number(role, "expiration", LATEST)
  if not milliseconds then
    return nil, "has no proper `expiration`"
  end
  found.expiration = math.floor(milliseconds / 1000)
  return found
end

---@return kinesis.FoundCredentials|nil found
---@return string|nil why
local function fetch_keys(context, profile, sso, token)
  local url, problem = services.url(context, "sso", sso.region)
  if not url then
    return nil, "cannot ask SSO: " .. problem
  end
  local query = services.form { { "role_name", sso.role }, { "account_id", sso.account_id } }
  local answer, why = send.send(context, {
    method = "GET",
    url = ("%s/federation/credentials?%s"):format(url, query),
    headers = services.traced { ["x-amz-sso_bearer_token"] = token },
    timeout = context.options.request_timeout,
    connect_timeout = context.options.connect_timeout,
  })
  if not answer then
    return nil, ("%s returned no credentials: %s"):format(url, why)
  elseif answer.status == 401 then
    return nil, ("%s refused the SSO token (HTTP 401); %s"):format(url, advice.sso_login(profile.name))
  elseif answer.status ~= 200 then
    return nil, ("%s refused (HTTP %d); may you use the role %s in the account %s?"):format(
      url, answer.status, sso.role, sso.account_id)
  end
  local found
  found, problem = read_keys(answer.body)
  if not found then
    return nil, ("the answer of %s %s"):format(url, problem)
  end
  found.account_id = sso.account_id
  return found
end

---@param context kinesis.credentials.context
---@param profile kinesis.profile
---@return kinesis.FoundCredentials|nil found
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch_for(context, profile)
  local sso, problem = read_profile(profile)
  if not sso then
    return nil, "broken", problem
  end
  local token, found, why
  token, why = sso_token.find(context, sso)
  if not token then
    return nil, "broken", ("%s; %s"):format(why, advice.sso_login(profile.name))
  end
  found, why = fetch_keys(context, profile, sso, token)
  if not found then
    return nil, "broken", why
  end
  return found
end

return M
