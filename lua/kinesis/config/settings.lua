-- Where a client's region, endpoint and CA bundle come from: options, then the environment, then the profile.

local endpoint = require "kinesis.endpoint"
local profiles = require "kinesis.config.profile"

local M = {}

local function failure(code, message)
  return nil, { code = code, message = message }
end

local function profile_label(profile)
  return ('profile "%s" (%s)'):format(profile.name, table.concat(profile.places, ", "))
end

local function load_profile(options, env)
  local variable = profiles.variable(env, "AWS_PROFILE")
  local name = options.profile or variable
  local profile, message = profiles.load(name, env)
  if not profile then
    return failure("BadConfig", message)
  end
  -- "default" is only assumed, so it may be absent; a name that someone gave may not.
  if name and not profile.found then
    return failure("BadConfig", ('profile "%s" (from %s) is in none of the files read: %s'):format(
      name, options.profile and "the option `profile`" or "AWS_PROFILE", table.concat(profile.places, ", ")))
  end
  return profile
end

local function find_region(options, env, profile)
  if options.region then
    return options.region, "the option `region`"
  end
  for _, name in ipairs { "AWS_REGION", "AWS_DEFAULT_REGION" } do
    local value = profiles.variable(env, name)
    if value then
      return value, name
    end
  end
  local value = profiles.text(profile, "region")
  return value, value and profile_label(profile)
end

-- Only the very word switches configured endpoints off, as in AWS's own clients.
local function ignores_configured(env, profile)
  local value = profiles.variable(env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    or profiles.text(profile, "ignore_configured_endpoint_urls")
  return value ~= nil and value:lower() == "true"
end

---@return string|nil url
---@return string|nil origin
---@return string|nil problem
local function profile_endpoint(service, profile)
  local name = profiles.text(profile, "services")
  if name and not profile.services then
    return nil, nil, ('%s names the section [services %s], which is not there'):format(profile_label(profile), name)
  end
  local block = name and profile.services[service]
  local url = type(block) == "table" and block.endpoint_url
  if url and url ~= "" then
    return url, ("%s.endpoint_url of [services %s], used by %s"):format(service, name, profile_label(profile))
  end
  url = profiles.text(profile, "endpoint_url")
  return url, url and "endpoint_url of " .. profile_label(profile)
end

---The URL that environment or profile configure for a service, if they do.
---@param service "kinesis"|"sts"|"sso"|"sso_oidc"
---@param profile kinesis.profile
---@param env (fun(name: string): string|nil)|nil default os.getenv
---@return string|nil url
---@return string|nil origin
---@return string|nil problem
function M.endpoint_for(service, profile, env)
  env = env or os.getenv
  if ignores_configured(env, profile) then
    return nil
  end
  for _, name in ipairs { "AWS_ENDPOINT_URL_" .. service:upper(), "AWS_ENDPOINT_URL" } do
    local value = profiles.variable(env, name)
    if value then
      return value, name
    end
  end
  return profile_endpoint(service, profile)
end

local function find_endpoint(options, env, profile)
  if options.endpoint then
    return options.endpoint, "the option `endpoint`"
  end
  return M.endpoint_for("kinesis", profile, env)
end

local function no_region(profile)
  return failure("NoRegion", ("no region: the option `region`, AWS_REGION, AWS_DEFAULT_REGION and the key `region` of "
    .. "%s are all unset; set one of them, such as AWS_REGION=us-east-1"):format(profile_label(profile)))
end

---@class kinesis.settings
---@field region string
---@field region_origin string what the region came from, for messages
---@field endpoint string URL without a trailing slash
---@field endpoint_origin string what configured the endpoint, or "rules" when nothing did
---@field ca_bundle string|nil path of a PEM file
---@field profile kinesis.profile

---Resolves what a client needs to know before its first call. Reads the shared files, touches nothing else.
---@param options table the client's options: region, endpoint, profile, ca_bundle
---@param env (fun(name: string): string|nil)|nil default os.getenv
---@return kinesis.settings|nil settings
---@return {code: string, message: string}|nil err
function M.resolve(options, env)
  env = env or os.getenv
  local profile, err = load_profile(options, env)
  if not profile then
    return nil, err
  end

  local region, region_origin = find_region(options, env, profile)
  if not region then
    return no_region(profile)
  end
  local valid, region_problem = endpoint.check_region(region)
  if not valid then
    return failure("BadConfig", ("bad region from %s: %s"):format(region_origin, region_problem))
  end

  local configured, endpoint_origin, problem = find_endpoint(options, env, profile)
  if problem then
    return failure("BadConfig", problem)
  end
  local url, url_problem = endpoint.resolve { region = region, endpoint = configured }
  if not url then
    return failure("BadConfig", ("bad endpoint from %s: %s"):format(endpoint_origin or "rules", url_problem))
  end

  return {
    region = region,
    region_origin = region_origin,
    endpoint = url,
    endpoint_origin = endpoint_origin or "rules",
    ca_bundle = options.ca_bundle or profiles.variable(env, "AWS_CA_BUNDLE") or profiles.text(profile, "ca_bundle"),
    profile = profile,
  }
end

return M
