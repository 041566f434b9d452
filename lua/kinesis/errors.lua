--- The error object, and its text: one line with the operation, the error and a hint.
local core = require "kinesis.core"
local pretty = require "kinesis.observe.pretty"

--- The error codes of this library. All other codes come from the service.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html
---@alias kinesis.ErrorCode
---| "BadAnswer" # the answer does not come from Kinesis, is malformed, or is larger than 32 MiB
---| "BadConfig" # a shared AWS file is malformed, or a setting there or in the environment is invalid
---| "Cancelled" # (put_many) the list was changed during the call; this record was not sent
---| "Closed" # the client, or the producer, was closed
---| "Connection" # no connection, or it broke before the answer
---| "Expired" # (producer) the record was not stored within `record_ttl`
---| "Forked" # the client or producer belongs to the parent process: create one in the child
---| "Full" # the producer is full, or 10,000 calls or 64 MiB are in flight on this client: wait, then try again
---| "LeaseStore" # (workers) the leases cannot be read or written; `message` says which file, and why
---| "NoCredentials" # no source has credentials, or the configured source failed
---| "NoRegion" # no region is configured
---| "OutOfMemory" # there is no memory for the call or its answer
---| "Timeout" # a connection, an attempt, a call, a wait, or fetching credentials took longer than its timeout
---| "Trimmed" # (`on_error` of a reader) the shard expired before all its records were read; the others are read on
---| string # a code of the service, such as "ResourceNotFoundException"

--- An error. `tostring(err)` is one line: where, operation, code, message, often a hint, status and request id.
---@class kinesis.Error
---@field code kinesis.ErrorCode
---@field message string
---@field operation? string the API operation
---@field status? integer the HTTP status of the answer
---@field request_id? string the id that the service gave the request
---@field retryable boolean whether a later retry may succeed
---@field throttled boolean whether the service throttled the call
---@field where? string the file and line of the call, such as "consumer.lua:12"; only raised errors have it

local M = {}

-- By code: a hint, or a function that returns one or nil.
local HINTS = {
  AccessDeniedException = "do the credentials' policies allow this operation on this stream?",
  UnrecognizedClientException = "are these the credentials of this account and this endpoint?",
  InvalidSignatureException = "is the secret access key right?",
  ExpiredTokenException = "fetch new credentials",
  ProvisionedThroughputExceededException = "spread the partition keys, send less, or add shards",
  LimitExceededException = "call less often; describe_limits returns the limits of the account",
  ExpiredIteratorException = "a shard iterator expires after five minutes: get a new one",
}

function HINTS.Connection(err) -- an error that is not retryable is no failed attempt
  return err.retryable and "is the endpoint right, and reachable from here?"
end

-- Hints for attempts. The message of a wait that timed out (flush, wait_until) names its own reason.
function HINTS.Timeout(err)
  if err.retryable then
    return "is the network slow? raise request_timeout, connect_timeout or call_timeout"
  end
  return err.message:find("the call's time", 1, true) == 1 and "raise call_timeout"
end

-- Variables of the user's shell are not in the environment of nginx's workers.
local function environment_hint()
  return rawget(_G, "ngx") and "nginx hides its environment, HOME included: each variable needs an `env` line"
end

HINTS.NoRegion, HINTS.NoCredentials = environment_hint, environment_hint

-- The kind of resource that an operation names.
local function subject_of(err)
  local operation = err.operation or ""
  return operation:find "Consumer" and "consumer" or operation:find "Channel" and "channel" or "stream"
end

function HINTS.ResourceNotFoundException(err)
  if not err.status then
    return nil -- without a status: a reader reports what the list of shards does not have
  elseif err.message:find "^Shard " then
    return "does the stream have this shard?"
  end
  return ("does the %s exist in this region and account, and is it ACTIVE?"):format(subject_of(err))
end

function HINTS.ResourceInUseException(err)
  local subject = subject_of(err)
  if (err.operation or ""):find "^Create" or (err.operation or ""):find "^Register" then
    local wait = subject == "stream" and [[; wait_until("stream_not_exists", …) waits until it is gone]] or ""
    return ("there is such a %s, or it is still being deleted%s"):format(subject, wait)
  elseif err.message:find "not .*ACTIVE" and subject ~= "channel" then
    return ([[wait_until("%s_active", …) waits until it is, unless it is being deleted]]):format(subject)
  end
end

function HINTS.InvalidArgumentException(err)
  local is_late = err.message:find "imestamp.*future" or err.message:find "imestamp.*greater than the current"
  return is_late and "the time is after the service's clock, which is in UTC; times are seconds since 1970"
end

-- The same for operations of DynamoDB on a table of leases; `false`: the message says it.
local TABLE_HINTS = {
  AccessDeniedException = false, ResourceNotFoundException = false, ResourceInUseException = false,
  LimitExceededException = false,
  ProvisionedThroughputExceededException = "give the table on-demand capacity (PAY_PER_REQUEST), or more capacity",
}

function TABLE_HINTS.Timeout(err)
  return err.retryable and "is the network slow? with a longer `failover` requests have more time"
end

--- Whether a call of DynamoDB has failed, not one of Kinesis.
---@param err table
---@return boolean
function M.is_about_table(err)
  local operation = err.operation or ""
  return operation == "Scan" or (operation:find "Item$" or operation:find "Table$") ~= nil
end

local function hint_for(err)
  local is_about_table = M.is_about_table(err)
  local hint = is_about_table and TABLE_HINTS[err.code]
  if not is_about_table or hint == nil then
    hint = HINTS[err.code]
  end
  if type(hint) == "function" then
    hint = type(err.message) == "string" and hint(err)
  end
  return hint
end

-- Removes the full stop and line breaks of a message, since the line continues.
local function sentence(message)
  return (message:gsub("[ \t-\r]+", " "):gsub("[ \t-\r.]+$", "")) -- %s would depend on the locale
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
  local hint = hint_for(err)
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

--- Creates an error object of this library.
---@param code kinesis.ErrorCode
---@param message string
---@param operation? string
---@return kinesis.Error
function M.new(code, message, operation)
  return setmetatable({
    code = code, message = core.clean(message), operation = operation, retryable = false, throttled = false,
  }, meta)
end

-- The folder of this library; nil when it was not loaded from files.
local FOLDER = debug.getinfo(1, "S").source:match "^@.*[/\\]"

-- The file and line, outside this library, of the running call, in the format of `error`; nil when the library itself
-- is at the bottom of the coroutine's stack.
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

--- Raises an error object from an iterator. Raises a copy, which has the field `where`; the error itself is not
--- changed. In nginx it raises the text, because nginx logs an uncaught table as "unknown reason".
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

--- Raises a message about a wrong call at the caller's line outside this library, from any depth inside it.
---@param message string
function M.raise_mistake(message)
  local line = calling_line()
  error(line and line .. ": " .. message or message, 0)
end

--- Raises, at the caller's line, where the running coroutine cannot yield.
function M.check_yieldable()
  if not core.is_yieldable() then
    M.raise_mistake("kinesis: this call waits, which cannot be done in a function that C calls, such as one that is "
      .. "passed to string.gsub or table.sort, or the main chunk of a module that require loads; make it outside")
  end
end

return M
