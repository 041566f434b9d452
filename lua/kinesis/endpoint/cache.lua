--- The endpoint of each call of a client: the client's own, or the host of an account or a stream by AWS's endpoint
--- rules. Caches the targets by stream.
local endpoint = require "kinesis.endpoint"
local errors = require "kinesis.errors"
local urls = require "kinesis.endpoint.urls"

local M = {}

local MOST = 1000 -- cached targets
local COUNT = 1 -- the key of how many there are; all others are texts

local DEFAULT = {} -- marks the client's own endpoint

---Splits an endpoint into the URL, host and path that the core takes.
---@param text string
---@return string|nil url
---@return string host the message, when it is no URL
---@return string|nil path
function M.split(text)
  local parts, message = urls.parse(text)
  if not parts then
    return nil, message
  end
  local host, path = urls.authority(parts), parts.path ~= "" and parts.path or "/"
  return ("%s://%s%s"):format(parts.scheme, host, path), host, path
end

-- Stands for the account of the credentials, which the core puts in its place when it sends a call: only then it is
-- known.
local ACCOUNT = "account"

local function resolve(client, operation_type, field, value)
  local found = client.settings
  local place, message = endpoint.resolve {
    region = found.region,
    endpoint = found.configured,
    use_fips = found.use_fips,
    use_dualstack = found.use_dualstack,
    account_id_endpoint_mode = found.account_id_endpoint_mode,
    operation_type = operation_type,
    account_id = ACCOUNT,
    [field or "stream_arn"] = value,
  }
  if not place then
    return nil, errors.new("BadConfig", message)
  elseif place == found.endpoint then
    return DEFAULT
  end
  local account_host = place:match("^https://" .. ACCOUNT .. "%.(.*)$")
  if not account_host then
    return client.core:target(M.split(place))
  end
  local url, host, path = M.split(found.endpoint)
  return client.core:target(url, host, path, account_host, found.account_id_endpoint_mode == "required")
end

---The target of a call for the core.
---@param client kinesis.Client
---@param operation_type "control"|"data"
---@param field "stream_arn"|"consumer_arn"|"resource_arn"|"channel_arn"|"stream_id"|nil which of them the call has
---@param value string|nil
---@return userdata|nil target nil: the client's own endpoint
---@return kinesis.Error|nil err
function M.of(client, operation_type, field, value)
  if client.settings.configured and field ~= "stream_id" then
    return nil
  end
  local known = client.targets[operation_type]
  local key = value or ""
  local target = known[key]
  if not target then
    local err
    target, err = resolve(client, operation_type, field, value)
    if not target then
      return nil, err
    end
    known[COUNT] = (known[COUNT] or 0) + 1
    if known[COUNT] > MOST then
      known = { [COUNT] = 1 }
      client.targets[operation_type] = known
    end
    known[key] = target
  end
  return target ~= DEFAULT and target or nil
end

---The same by the stream's name or ARN.
---@param client kinesis.Client
---@param stream string
---@param operation_type? "control"|"data" absent: "data"
---@return userdata|nil target
---@return kinesis.Error|nil err
function M.of_stream(client, stream, operation_type)
  if stream:find "^arn:" then
    return M.of(client, operation_type or "data", "stream_arn", stream)
  end
  return M.of(client, operation_type or "data")
end

return M
