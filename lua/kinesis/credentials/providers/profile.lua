-- Credentials of a profile in the shared files: a role, SSO, static credentials, or a program.

local advice = require "kinesis.credentials.advice"
local process = require "kinesis.credentials.providers.process"
local role = require "kinesis.credentials.providers.role"
local sso = require "kinesis.credentials.providers.sso"
local text = require("kinesis.config.profile").text

local M = { name = "profile" }

local function has(profile, ...)
  for _, key in ipairs { ... } do
    if text(profile, key) then
      return true
    end
  end
  return false
end

local function static_keys(profile)
  local id, secret = text(profile, "aws_access_key_id"), text(profile, "aws_secret_access_key")
  if not id or not secret then
    return nil, "broken", ("it has `%s`, but not `%s`"):format(
      id and "aws_access_key_id" or "aws_secret_access_key", id and "aws_secret_access_key" or "aws_access_key_id")
  end
  return {
    access_key_id = id,
    secret_access_key = secret,
    session_token = text(profile, "aws_session_token"),
    account_id = text(profile, "aws_account_id"),
  }
end

local function has_static_keys(profile)
  return has(profile, "aws_access_key_id", "aws_secret_access_key")
end

-- Finds the credentials of a profile. When it has several sources, the order below decides, as in AWS's clients.
-- `trail` is the list of profile names so far, each the `source_profile` of the one before.
local resolve

local function take_role(context, profile, trail)
  for i = 1, #trail - 1 do
    if trail[i] == profile.name then
      return nil, "broken", ("the profiles form a circle of `source_profile`, %s; one of them needs its "
        .. "own credentials"):format(table.concat(trail, " -> "))
    end
  end
  return role.fetch_for(context, profile, trail, resolve)
end

function resolve(context, profile, trail)
  if profile.problem then
    return nil, "broken", profile.problem
  end
  trail[#trail + 1] = profile.name
  -- a source profile with static credentials is used for them; so a profile may be its own source
  if #trail > 1 and has_static_keys(profile) then
    return static_keys(profile)
  elseif has(profile, "role_arn", "web_identity_token_file") then
    return take_role(context, profile, trail)
  elseif has(profile, "sso_account_id", "sso_role_name") then
    return sso.fetch_for(context, profile)
  elseif has(profile, "login_session") then
    return nil, "broken", "it uses `login_session`, which is not supported; " .. advice.export(context)
  elseif has_static_keys(profile) then
    return static_keys(profile)
  elseif has(profile, "credential_process") then
    return process.fetch_for(context, profile)
  elseif has(profile, "sso_session", "sso_start_url") then
    return sso.fetch_for(context, profile)
  elseif not profile.found then
    return nil, "absent", "there is no such profile"
  end
  return nil, "absent", "it has no credentials and names no source of them"
end

---@param context kinesis.credentials.context
---@return kinesis.FoundCredentials|nil found
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch(context)
  return resolve(context, context.profile, {})
end

---The name of this provider in messages.
---@param context kinesis.credentials.context
---@return string
function M.describe(context)
  return ('profile "%s" (%s)'):format(context.profile.name, table.concat(context.profile.places, ", "))
end

return M
