-- Resolves the endpoint of a call: a configured URL, or the host for a region, an ARN or an account by the SDKs'
-- endpoint rule set for Kinesis of late 2026; and for DynamoDB, of a region only.
-- https://docs.aws.amazon.com/general/latest/gr/ak.html

local partitions = require "kinesis.endpoint.partitions"
local urls = require "kinesis.endpoint.urls"

local M = {}

-- In order of precedence, when a call has several.
local ARNS = {
  { field = "stream_arn", name = "StreamARN", stream = true },
  { field = "consumer_arn", name = "ConsumerARN", stream = true },
  { field = "resource_arn", name = "ResourceARN", stream = true, channel = true },
  { field = "channel_arn", name = "ChannelARN", channel = true },
}

local function shown(value)
  return (value:gsub("%c", "?"):sub(1, 100))
end

---Whether a region can be part of a host name; unknown regions are allowed.
---@param region string
---@return true|nil ok
---@return string|nil message
function M.check_region(region)
  if urls.is_label(region) then
    return true
  end
  return nil, ("'%s' is no region: letters, digits and '-' only, such as us-east-1"):format((region:gsub("%c", "?")))
end

-- ---- hosts ----

-- https://[ACCOUNT.TYPE-]kinesis[-fips].REGION.SUFFIX
local function host_url(asked, name)
  local partition = partitions.of(asked.region)
  local suffix = asked.use_dualstack and partition.dual_stack_suffix or partition.suffix
  return ("https://%s%s.%s.%s"):format(name, asked.use_fips and "-fips" or "", asked.region, suffix)
end

local function host_of(asked, who, middle)
  if not asked.operation_type then
    return nil, "without the operation's type, control or data, there is no host for a single account or stream"
  end
  return host_url(asked, ("%s.%s-kinesis%s"):format(who, asked.operation_type, middle or ""))
end

local function regional(asked)
  local service = asked.service or "kinesis"
  -- the only regions whose plain host is the FIPS host
  if asked.use_fips and not asked.use_dualstack and partitions.of(asked.region).name == "aws-us-gov" then
    return ("https://%s.%s.amazonaws.com"):format(service, asked.region)
  elseif service == "dynamodb" and asked.region == "local" then -- DynamoDB Local, by the SDKs' rules
    if asked.use_fips or asked.use_dualstack then
      return nil, "the region local has no FIPS or dual stack endpoint"
    end
    return "http://localhost:8000"
  end
  return host_url(asked, service)
end

-- ---- stream ids ----

-- Prefixes of the service's test stages in an endpoint: https://kinesis-SOME.…, http://-SOME.…
local function stage_of(endpoint)
  return endpoint and (endpoint:match "^...............(%-....)%." or endpoint:match "^.......(%-....)%.")
end

local function by_stream_id(asked)
  local first, last = asked.stream_id:match "^(....................)%-(...)$"
  if first then
    return host_of(asked, first .. "." .. last, stage_of(asked.endpoint))
  end
end

-- ---- ARNs ----

local function parse_arn(arn)
  local partition, service, region, account, resource = arn:match "^arn:([^:]+):([^:]+):([^:]*):([^:]*):(.+)$"
  if partition then
    local kind, id = resource:match "^([^:/]*)[:/]?([^:/]*)"
    return { partition = partition, service = service, region = region, account = account, kind = kind, id = id }
  end
end

local function arn_problem(arn, wanted, asked)
  if not arn then
    return "it is no ARN, such as arn:aws:kinesis:us-east-1:123456789012:stream/name"
  elseif not urls.is_label(arn.account) then
    return "its account is none"
  elseif not urls.is_label(arn.region) then
    return "its region is none"
  elseif arn.service ~= "kinesis" then
    return ("it is of the service '%s'"):format(shown(arn.service))
  elseif not wanted[arn.kind] then
    return ("it names a '%s', not a %s"):format(shown(arn.kind), wanted.stream and "stream" or "channel")
  end
  local partition = partitions.of(asked.region).name
  if arn.partition ~= partition then
    return ("it is of the partition '%s', but the client's region %s is of '%s'"):format(
      shown(arn.partition), asked.region, partition)
  elseif arn.kind == "channel" and not urls.is_label(arn.id) then
    return "its channel is none"
  elseif not wanted.stream and asked.operation_type == "data" then
    return "a channel has no data operations"
  end
end

local function by_arn(asked, wanted)
  local text = asked[wanted.field]
  local arn = parse_arn(text)
  local problem = arn_problem(arn, wanted, asked)
  if problem then
    return nil, ("the %s '%s' cannot be used: %s"):format(wanted.name, shown(text), problem)
  end
  return host_of(asked, arn.kind == "channel" and arn.id or arn.account)
end

-- ---- accounts ----

local function by_account(asked)
  if not urls.is_label(asked.account_id) then
    return nil, ("the account id '%s' of the credentials is invalid"):format(shown(asked.account_id))
  end
  return host_of(asked, asked.account_id)
end

-- ---- resolution ----

local function configured(asked)
  if asked.use_fips or asked.use_dualstack then
    return nil, ("%s and a configured endpoint exclude each other: disable one of them"):format(
      asked.use_fips and "FIPS" or "dual stack")
  end
  local parts, message = urls.parse(asked.endpoint)
  if not parts then
    return nil, message
  end
  local port = parts.port and (":%d"):format(parts.port) or ""
  return parts.scheme .. "://" .. parts.host .. port .. parts.path
end

-- The host of a single account. Returns nil without a message when there is none for this call.
local function own_host(asked)
  local partition = partitions.of(asked.region)
  if not partition.has_accounts then
    if asked.account_id_endpoint_mode == "required" and not asked.endpoint then
      return nil, ("account endpoints are required, but the partition %s has none"):format(partition.name)
    end
    return nil
  elseif asked.stream_id then
    local found, problem = by_stream_id(asked)
    if found or problem then
      return found, problem
    end
  end
  if asked.endpoint then
    return nil
  end
  for _, wanted in ipairs(ARNS) do
    if asked[wanted.field] then
      return by_arn(asked, wanted)
    end
  end
  if asked.account_id and asked.account_id_endpoint_mode ~= "disabled" then
    return by_account(asked)
  elseif asked.account_id_endpoint_mode == "required" then
    return nil, "account endpoints are required, but the account of the credentials is not known"
  end
end

---@class kinesis.endpoint.asked
---@field service "kinesis"|"dynamodb"|nil
---@field region string|nil
---@field endpoint string|nil a configured URL; precedes the rules
---@field use_fips boolean|nil
---@field use_dualstack boolean|nil
---@field operation_type "control"|"data"|nil
---@field stream_arn string|nil
---@field consumer_arn string|nil
---@field resource_arn string|nil
---@field channel_arn string|nil
---@field stream_id string|nil 20 characters, '-', three more
---@field account_id string|nil the account of the credentials that sign the call
---@field account_id_endpoint_mode "preferred"|"disabled"|"required"|nil

---The URL that a call goes to, without a trailing slash.
---@param asked kinesis.endpoint.asked
---@return string|nil url
---@return string|nil message
function M.resolve(asked)
  if asked.region then
    local ok, message = M.check_region(asked.region)
    if not ok then
      return nil, message
    end
    local found, problem
    if asked.service ~= "dynamodb" then
      found, problem = own_host(asked)
    end
    if found or problem then
      return found, problem
    end
  end
  if asked.endpoint then
    return configured(asked)
  elseif not asked.region then
    return nil, "neither an endpoint nor a region is given"
  end
  return regional(asked)
end

return M
