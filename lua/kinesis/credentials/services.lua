-- The URLs of STS and IAM Identity Center (SSO).

local core = require "kinesis.core"
local endpoint = require "kinesis.endpoint"
local partitions = require "kinesis.endpoint.partitions"
local setting = require "kinesis.credentials.setting"
local urls = require "kinesis.endpoint.urls"

local M = {}

-- The first labels of each service's host.
local HOSTS = { sts = "sts", sso = "portal.sso", sso_oidc = "oidc" }

---The URL of a service: the configured one, or else that of its region.
---@param context kinesis.credentials.context
---@param service "sts"|"sso"|"sso_oidc"
---@param region string|nil
---@return string|nil url without a trailing slash
---@return string|nil problem
function M.url(context, service, region)
  local configured, _, problem = context.endpoint(service)
  if problem then
    return nil, problem
  elseif configured then
    local parts
    parts, problem = urls.parse(configured)
    if not parts then
      return nil, ("the endpoint configured for %s is none: %s"):format(service, problem)
    end
    return ("%s://%s%s"):format(parts.scheme, urls.authority(parts), parts.path)
  end
  if not region then
    return nil, "no region is configured"
  end
  local valid
  valid, problem = endpoint.check_region(region)
  if not valid then
    return nil, problem
  end
  local host = HOSTS[service]
  local dual_stack = setting.is_on(context, "AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")
  local fips = setting.is_on(context, "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")
  -- In GovCloud, the plain host names are the FIPS hosts.
  if fips and (dual_stack or not region:find("^us%-gov%-")) then
    host = host .. "-fips"
  end
  local partition = partitions.of(region)
  return ("https://%s.%s.%s"):format(host, region, dual_stack and partition.dual_stack_suffix or partition.suffix)
end

---Adds what requests to AWS's services have in common: in Lambda, the trace of the invocation. It is not signed.
---@param headers table<string, string>
---@return table<string, string> headers
function M.traced(headers)
  headers["x-amzn-trace-id"] = core.trace_header()
  return headers
end

---Encodes a form, or the query of a URL.
---@param members string[][] pairs of name and value
---@return string
function M.form(members)
  local written = {}
  for i, member in ipairs(members) do
    local value = member[2]:gsub("[^A-Za-z0-9._~-]", function(c)
      return ("%%%02X"):format(c:byte())
    end)
    written[i] = member[1] .. "=" .. value
  end
  return table.concat(written, "&")
end

return M
