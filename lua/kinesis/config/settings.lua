-- Resolves a client's settings: from options, then the environment, then the profile.
-- https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html

local ascii = require "kinesis.util.ascii"
local endpoint = require "kinesis.endpoint"
local notice = require "kinesis.observe.notice"
local profiles = require "kinesis.config.profile"
local variables = require "kinesis.config.variables"

local M = {}

local function failure(code, message)
  return nil, { code = code, message = message }
end

local function profile_label(profile)
  return ('profile "%s" (%s)'):format(profile.name, table.concat(profile.places, ", "))
end

local function load_profile(options, env)
  local name, origin = options.profile, "the option `profile`"
  for _, variable in ipairs { "AWS_PROFILE", "AWS_DEFAULT_PROFILE" } do
    if not name then
      name, origin = variables.read(env, variable), variable
    end
  end
  local profile, message = profiles.load(name, env)
  if not profile then
    return failure("BadConfig", message)
  end
  -- the assumed profile "default" may be absent; a configured one may not
  if name and not profile.found then
    return failure("BadConfig", ('profile "%s" (from %s) is in none of the files read: %s'):format(
      name, origin, table.concat(profile.places, ", ")))
  end
  return profile, nil, name and origin or "default"
end

-- ---- values ----

local SWITCH = { ["true"] = true, ["false"] = false }

local function read_switch(text)
  local value = SWITCH[ascii.lower(text)]
  if value == nil then
    return nil, "it must be true or false"
  end
  return value
end

local function read_attempts(text)
  local value = text:find "^%d+$" and tonumber(text)
  if not value or value < 1 or value > 100 then
    return nil, "it must be an integer from 1 to 100"
  end
  return math.tointeger and math.tointeger(value) or value
end

local MODES = { preferred = true, disabled = true, required = true }

local function read_mode(text)
  local mode = ascii.lower(text)
  if not MODES[mode] then
    return nil, "it must be preferred, disabled or required"
  end
  return mode
end

local function read_region(text)
  local valid, problem = endpoint.check_region(text)
  if not valid then
    return nil, problem
  end
  return text
end

-- Each setting but the endpoint, in order of precedence: the client's option of the same name, the variables, the key
-- of the profile.
local SETTINGS = {
  { name = "region", variables = { "AWS_REGION", "AWS_DEFAULT_REGION" }, key = "region", read = read_region },
  { name = "ca_bundle", variables = { "AWS_CA_BUNDLE" }, key = "ca_bundle" },
  { name = "use_fips", variables = { "AWS_USE_FIPS_ENDPOINT" }, key = "use_fips_endpoint", read = read_switch,
    default = false },
  { name = "use_dualstack", variables = { "AWS_USE_DUALSTACK_ENDPOINT" }, key = "use_dualstack_endpoint",
    read = read_switch, default = false },
  { name = "account_id_endpoint_mode", variables = { "AWS_ACCOUNT_ID_ENDPOINT_MODE" },
    key = "account_id_endpoint_mode", read = read_mode, default = "preferred" },
  { name = "max_attempts", variables = { "AWS_MAX_ATTEMPTS" }, key = "max_attempts", read = read_attempts,
    default = 3 },
  { name = "app_id", variables = { "AWS_SDK_UA_APP_ID" }, key = "sdk_ua_app_id" },
}

-- The text of a setting, and its origin.
local function find_text(setting, env, profile)
  for _, name in ipairs(setting.variables) do
    local value = variables.read(env, name)
    if value then
      return value, name
    end
  end
  local value = profiles.text(profile, setting.key)
  return value, value and ("%s of %s"):format(setting.key, profile_label(profile))
end

---@return any value
---@return string|nil origin nil: there is none
---@return string|nil problem
local function find(setting, options, env, profile)
  if options[setting.name] ~= nil then
    local origin = ("the option `%s`"):format(setting.name)
    if setting.name == "region" then
      local value, problem = read_region(options.region)
      return value, origin, problem
    end
    return options[setting.name], origin
  end
  local text, origin = find_text(setting, env, profile)
  if not text then
    return setting.default, setting.default ~= nil and "default" or nil
  end
  if not setting.read then
    return text, origin
  end
  local value, problem = setting.read(text)
  return value, origin, problem
end

-- ---- endpoints ----

-- Only the word "true" disables configured endpoints, as in AWS's own clients.
local function ignores_configured(env, profile)
  local value = variables.read(env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
    or profiles.text(profile, "ignore_configured_endpoint_urls")
  return value ~= nil and ascii.lower(value) == "true"
end

---@return string|nil url
---@return string|nil origin
---@return string|nil problem
local function profile_endpoint(service, profile)
  local services = profile.services
  if services and services.problem then
    return nil, nil, ("%s names the section %s"):format(profile_label(profile), services.problem)
  end
  local block = services and services.keys[service]
  local url = type(block) == "table" and block.endpoint_url
  if url and url ~= "" then
    return url, ("%s.endpoint_url of [services %s], used by %s"):format(service, services.name, profile_label(profile))
  end
  url = profiles.text(profile, "endpoint_url")
  return url, url and "endpoint_url of " .. profile_label(profile)
end

---The URL that the environment or the profile configures for a service.
---@param service "kinesis"|"dynamodb"|"sts"|"sso"|"sso_oidc"
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
  for _, name in ipairs { "AWS_ENDPOINT_URL_" .. ascii.upper(service), "AWS_ENDPOINT_URL" } do
    local value = variables.read(env, name)
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

-- The malformed default profile of a default file is passed over, since its line may be nothing that is needed here.
local function report_passed_over(profile)
  if profile.problem then
    notice.print_rarely("profile", "%s; the profile \"%s\" is passed over", profile.problem, profile.name)
  end
end

local function no_region(profile)
  return failure("NoRegion", ("no region: the option `region`, AWS_REGION, AWS_DEFAULT_REGION and the key `region` of "
    .. "%s are all unset%s; set one of them, such as AWS_REGION=us-east-1"):format(profile_label(profile),
    profile.problem and (", and the profile cannot be read: " .. profile.problem) or ""))
end

---@class kinesis.settings
---@field region string
---@field endpoint string URL of calls that name no account, without a trailing slash
---@field configured string|nil the endpoint of the option, the environment or the profile
---@field ca_bundle string|nil path of a PEM file
---@field use_fips boolean
---@field use_dualstack boolean
---@field account_id_endpoint_mode "preferred"|"disabled"|"required"
---@field max_attempts integer
---@field app_id string|nil
---@field dynamodb { endpoint: string?, origin: string?, problem: string?, ignored: boolean } what is configured for
--- DynamoDB; `ignored`: nothing, because AWS_IGNORE_CONFIGURED_ENDPOINT_URLS or the profile says so
---@field origins table<string, string> by name of the setting: its source, for messages
---@field profile kinesis.profile

---Resolves the settings of a client. Reads the shared files.
---@param options table the client's options
---@param env (fun(name: string): string|nil)|nil default os.getenv
---@return kinesis.settings|nil settings
---@return {code: string, message: string}|nil err
function M.resolve(options, env)
  env = env or os.getenv
  local profile, err, profile_origin = load_profile(options, env)
  if not profile then
    return nil, err
  end
  local settings = { profile = profile, origins = { profile = profile_origin } }
  for _, setting in ipairs(SETTINGS) do
    local value, origin, problem = find(setting, options, env, profile)
    if problem then
      return failure("BadConfig", ("bad %s from %s: %s"):format(setting.name, origin, problem))
    end
    settings[setting.name], settings.origins[setting.name] = value, origin
  end
  if not settings.region then
    return no_region(profile)
  end

  local configured, origin, problem = find_endpoint(options, env, profile)
  if problem then
    return failure("BadConfig", problem)
  end
  settings.configured, settings.origins.endpoint = configured, origin or "rules"
  local of_leases = { ignored = ignores_configured(env, profile) }
  of_leases.endpoint, of_leases.origin, of_leases.problem = M.endpoint_for("dynamodb", profile, env)
  settings.dynamodb = of_leases
  -- a required account is not known yet
  local url, url_problem = endpoint.resolve {
    region = settings.region, endpoint = configured, use_fips = settings.use_fips,
    use_dualstack = settings.use_dualstack,
  }
  if not url then
    return failure("BadConfig", ("bad endpoint from %s: %s"):format(settings.origins.endpoint, url_problem))
  end
  settings.endpoint = url
  report_passed_over(profile)
  return settings
end

return M
