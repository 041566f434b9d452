-- Credentials of a role that a profile names, assumed with those of another provider or of a source profile.
-- https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html

local advice = require "kinesis.credentials.advice"
local container = require "kinesis.credentials.providers.container"
local environment = require "kinesis.credentials.providers.environment"
local imds = require "kinesis.credentials.providers.imds"
local values = require "kinesis.credentials.values"
local sts = require "kinesis.credentials.providers.sts"
local text = require("kinesis.config.profile").text
local web_identity = require "kinesis.credentials.providers.web_identity"

local M = {}

local PLACES = { Environment = environment, Ec2InstanceMetadata = imds, EcsContainer = container }
local SHORTEST, LONGEST = 900, 43200

local function find_duration(profile)
  local value = text(profile, "duration_seconds")
  local seconds = value and value:find("^%d+$") and tonumber(value)
  if value and (not seconds or seconds < SHORTEST or seconds > LONGEST) then
    return nil, ("its `duration_seconds` is no number from %d to %d"):format(SHORTEST, LONGEST)
  end
  return value
end

---@return kinesis.FoundCredentials|nil found
---@return string|nil why
local function keys_of_place(context, name)
  local place = PLACES[name]
  if not place then
    return nil, "its `credential_source` is none of Environment, Ec2InstanceMetadata and EcsContainer"
  end
  local found, _, why = place.fetch(context)
  if not found then
    return nil, ("its `credential_source` %s: %s"):format(name, why)
  end
  return found
end

---@return kinesis.FoundCredentials|nil found
---@return string|nil why
local function keys_of_profile(context, name, trail, resolve)
  local source, problem = context.load_profile(name)
  if source and not source.found then
    problem = "there is no such profile in " .. table.concat(source.places, ", ")
  end
  if problem then
    return nil, ('its `source_profile` "%s": %s'):format(name, problem)
  end
  local found, _, why = resolve(context, source, trail)
  if not found then
    return nil, ('its `source_profile` "%s": %s'):format(name, why)
  end
  return found
end

---@return kinesis.FoundCredentials|nil found the credentials to assume the role with
---@return string|nil why
local function source_keys(context, profile, trail, resolve)
  local name, place = text(profile, "source_profile"), text(profile, "credential_source")
  if name and place then
    return nil, "it has both `source_profile` and `credential_source`; leave out one of them"
  elseif not name and not place then
    return nil, "it has `role_arn`, but neither `source_profile` nor `credential_source`, one of which must "
      .. "name the credentials to assume the role with"
  end
  local found, why
  if name then
    found, why = keys_of_profile(context, name, trail, resolve)
  else
    found, why = keys_of_place(context, place)
  end
  local problem = found and values.problem(found, context.time())
  if problem then
    return nil, ("its `%s` %s: %s"):format(name and "source_profile" or "credential_source", name or place, problem)
  end
  return found, why
end

local function assume(context, profile, source, duration)
  local form = {
    { "Action", "AssumeRole" },
    { "RoleArn", text(profile, "role_arn") },
    { "RoleSessionName", sts.session_name(context, text(profile, "role_session_name")) },
  }
  for _, optional in ipairs { { "ExternalId", text(profile, "external_id") }, { "DurationSeconds", duration } } do
    if optional[2] then
      form[#form + 1] = optional
    end
  end
  return sts.ask(context, {
    region = context.region or text(profile, "region"),
    form = form,
    signed_by = source,
    secrets = { source.secret_access_key, source.session_token },
  })
end

---@param context kinesis.credentials.context
---@param profile kinesis.profile has `role_arn` or `web_identity_token_file`
---@param trail string[] names of the profiles so far, this one included
---@param resolve function (context, profile, trail) finds a profile's credentials; returns what fetch_for returns
---@return kinesis.FoundCredentials|nil found
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch_for(context, profile, trail, resolve)
  local duration, problem = find_duration(profile)
  if problem then
    return nil, "broken", problem
  end
  if text(profile, "web_identity_token_file") then
    if not text(profile, "role_arn") then
      return nil, "broken", "it has `web_identity_token_file`, but not `role_arn`"
    end
    return web_identity.fetch_for(context, profile, duration)
  end
  if text(profile, "mfa_serial") then
    return nil, "broken", "its role needs an MFA code (`mfa_serial`), which this library cannot ask for; "
      .. advice.export(context)
  end
  local source, found, why
  source, why = source_keys(context, profile, trail, resolve)
  if not source then
    return nil, "broken", why
  end
  found, why = assume(context, profile, source, duration)
  if not found then
    return nil, "broken", ("cannot assume %s: %s"):format(text(profile, "role_arn"), why)
  end
  return found
end

return M
