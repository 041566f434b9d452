-- Credentials of a role for a web identity token, such as that of a Kubernetes service account.
-- https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html

local profiles = require "kinesis.config.profile"
local sts = require "kinesis.credentials.providers.sts"
local token_file = require "kinesis.credentials.providers.token_file"
local variables = require "kinesis.config.variables"

local M = { name = "web identity" }

local function assume(context, role)
  local token, problem = token_file.read(context, role.token_file)
  if not token then
    return nil, "broken", problem
  end
  local form = {
    { "Action", "AssumeRoleWithWebIdentity" },
    { "RoleArn", role.arn },
    { "RoleSessionName", sts.session_name(context, role.session_name) },
    { "WebIdentityToken", token },
  }
  if role.duration then
    form[#form + 1] = { "DurationSeconds", role.duration }
  end
  local found, why = sts.ask(context, { region = role.region, form = form, secrets = { token } })
  if not found then
    return nil, "broken", why
  end
  return found
end

---Configured by environment variables.
---@param context kinesis.credentials.context
---@return kinesis.FoundCredentials|nil found
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch(context)
  local path = variables.read(context.env, "AWS_WEB_IDENTITY_TOKEN_FILE")
  local arn = variables.read(context.env, "AWS_ROLE_ARN")
  if not path then
    return nil, "absent", "AWS_WEB_IDENTITY_TOKEN_FILE is unset"
  end
  if not arn then
    return nil, "broken", "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not"
  end
  return assume(context, {
    token_file = path,
    arn = arn,
    session_name = variables.read(context.env, "AWS_ROLE_SESSION_NAME"),
    region = context.region,
  })
end

---Configured by a profile.
---@param context kinesis.credentials.context
---@param profile kinesis.profile
---@param duration string|nil seconds, as checked
---@return kinesis.FoundCredentials|nil found
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch_for(context, profile, duration)
  return assume(context, {
    token_file = profiles.text(profile, "web_identity_token_file"),
    arn = profiles.text(profile, "role_arn"),
    session_name = profiles.text(profile, "role_session_name"),
    region = context.region or profiles.text(profile, "region"),
    duration = duration,
  })
end

return M
