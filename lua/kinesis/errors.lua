--- The error object: what was tried, what came back, what to do, on one line.
local core = require "kinesis.core"
local pretty = require "kinesis.observe.pretty"

--- Our own codes; all others are the service's.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html
---@alias kinesis.ErrorCode
---| "BadAnswer" # what came back is no answer of Kinesis, or is larger than 32 MiB
---| "BadConfig" # a shared AWS file is malformed, or what is configured there or in the environment makes no sense
---| "Cancelled" # (put_many) the list was changed while it was being put
---| "Closed" # the client, or the producer, was closed
---| "Connection" # no connection, or it broke before the answer; or there was no memory for it
---| "Expired" # (producer) the record was not stored within `record_ttl`
---| "Forked" # the client belongs to the parent process: make one in the child
---| "Full" # 10,000 calls or 64 MiB are under way on this client, or the producer's bound is reached: wait for some
---| "NoCredentials" # there are no keys, or their provider failed
---| "NoRegion" # no region is configured
---| "Timeout" # an attempt took longer than `request_timeout` or `connect_timeout`, or keys did not come in time;
--- or what was waited for so long has not come
---| string # the service's, such as "ResourceNotFoundException"

--- What went wrong, as a table; `tostring(err)` is one line that says all of it, and what to do.
---@class kinesis.Error
---@field code kinesis.ErrorCode
---@field message string
---@field operation? string the API operation
---@field status? integer the HTTP status, when an answer came
---@field request_id? string the service's name for this request
---@field retryable boolean whether trying again later may help
---@field throttled boolean whether the service asked for fewer or smaller calls
---@field where? string of a raised error: the file and line that the call stands at, such as "consumer.lua:12"

local M = {}

-- By code: a hint, or a function that finds it; nil where there is none.
local advice = {
  AccessDeniedException = "do the keys' policies allow this operation on this stream?",
  UnrecognizedClientException = "are these the keys of this account and this endpoint?",
  InvalidSignatureException = "is the secret access key right?",
  ExpiredTokenException = "fetch fresh keys",
  ProvisionedThroughputExceededException = "spread the keys, send less, or add shards",
  LimitExceededException = "call less often; describe_limits tells how much the account may have",
  ExpiredIteratorException = "an iterator is good for five minutes: get another one",
}

function advice.Connection(err) -- what is not retryable is no failed attempt
  return err.retryable and "is the endpoint right, and reachable from here?"
end

-- Only for an attempt. The time of a wait (flush, wait_until) ends for another reason, which its message says.
function advice.Timeout(err)
  if err.retryable then
    return "is the network slow? request_timeout, connect_timeout or call_timeout may be raised"
  end
  return err.message:find("the call's time", 1, true) == 1 and "call_timeout may be raised"
end

-- What the user set in his shell is not in the environment of nginx's workers.
local function in_nginx()
  return rawget(_G, "ngx") and "nginx hides its environment, HOME included: each variable needs an `env` line"
end

advice.NoRegion, advice.NoCredentials = in_nginx, in_nginx

-- What an operation is about, where it is no stream.
local function subject_of(err)
  local operation = err.operation or ""
  return operation:find "Consumer" and "consumer" or operation:find "Channel" and "channel" or "stream"
end

function advice.ResourceNotFoundException(err)
  if err.message:find "^Shard " then
    return "does the stream have this shard?"
  end
  return ("does the %s exist in this region and account, and is it ACTIVE?"):format(subject_of(err))
end

function advice.ResourceInUseException(err)
  local subject = subject_of(err)
  if (err.operation or ""):find "^Create" or (err.operation or ""):find "^Register" then
    local wait = subject == "stream" and [[; wait_until("stream_not_exists", …) waits for its end]] or ""
    return ("there is such a %s, or it is still being deleted%s"):format(subject, wait)
  elseif err.message:find "not .*ACTIVE" and subject ~= "channel" then
    return ([[wait_until("%s_active", …) waits until it is, unless it is being deleted]]):format(subject)
  end
end

function advice.InvalidArgumentException(err)
  local is_late = err.message:find "imestamp.*future" or err.message:find "imestamp.*greater than the current"
  return is_late and "times are seconds since 1970, not milliseconds"
end

-- The service ends some messages with a full stop; the line goes on.
local function sentence(message)
  return (message:gsub("%s+", " "):gsub("[%s.]+$", ""))
end

local function line_of(err)
  local parts = {}
  if err.where then
    parts[#parts + 1] = err.where .. ": "
  end
  if err.operation then
    parts[#parts + 1] = err.operation .. ": "
  end
  parts[#parts + 1] = tostring(err.code)
  if err.message and err.message ~= "" then
    parts[#parts + 1] = ": " .. sentence(err.message)
  end
  local hint = advice[err.code]
  if type(hint) == "function" then
    hint = type(err.message) == "string" and hint(err)
  end
  if hint then
    parts[#parts + 1] = "; " .. hint
  end
  local details = {}
  if err.status then
    details[#details + 1] = ("HTTP %d"):format(err.status)
  end
  if err.request_id then
    details[#details + 1] = "request " .. err.request_id
  end
  if #details > 0 then
    parts[#parts + 1] = " (" .. table.concat(details, ", ") .. ")"
  end
  return table.concat(parts)
end

local meta = pretty.equip(core.error_meta, "kinesis.error", line_of)

--- An error object of our own.
---@param code kinesis.ErrorCode
---@param message string
---@param operation? string
---@return kinesis.Error
function M.new(code, message, operation)
  return setmetatable(
    { code = code, message = message, operation = operation, retryable = false, throttled = false },
    meta
  )
end

-- The folder that this library was loaded from; nil when it was loaded from elsewhere than files.
local FOLDER = debug.getinfo(1, "S").source:match "^@.*[/\\]"

-- The line outside this library that the running call stands at, as `error` would name it. nil where there is none: the
-- library itself is at the bottom of the coroutine.
local function calling_line()
  local level, info = 2, FOLDER and debug.getinfo(2, "Sl")
  while info do
    if info.currentline > 0 and info.source:sub(1, #FOLDER) ~= FOLDER then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
end

--- Raises an error object: of an iterator, which has no other way. What is raised is a copy that says where; who else
--- has the error is not disturbed. nginx says of an uncaught table no more than "unknown reason": there it is the
--- object's line.
---@param err kinesis.Error
function M.raise(err)
  local raised = {}
  for name, value in pairs(err) do
    raised[name] = value
  end
  raised.where = calling_line()
  setmetatable(raised, meta)
  error(rawget(_G, "ngx") and tostring(raised) or raised, 0)
end

--- Raises the message of a programmer's mistake at the line outside this library that the call stands at, however deep
--- inside it is seen.
---@param message string
function M.raise_mistake(message)
  local line = calling_line()
  error(line and line .. ": " .. message or message, 0)
end

return M
