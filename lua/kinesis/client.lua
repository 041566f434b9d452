-- A client: one region, one endpoint, one set of keys; its engine's thread signs, sends and reads ahead.
local cjson = require("cjson").new()
local core = require "kinesis.core"
local credentials = require "kinesis.credentials"
local endpoint = require "kinesis.endpoint"
local errors = require "kinesis.errors"
local hooks = require "kinesis.hooks"
local keys = require "kinesis.keys"
local options = require "kinesis.options"
local pretty = require "kinesis.pretty"
local settings = require "kinesis.config.settings"
local shards = require "kinesis.shards"
local version = require "kinesis.version"
local wait = require "kinesis.wait"

--- A client: one region, one endpoint, one set of keys, and one thread in the background. On Lua 5.4 it may be
--- a `<close>` variable.
---@class kinesis.Client
local Client = {}

local M = {}

local NO_OPTIONS = {}

--- Where a record went, or why it did not.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsResultEntry.html
---@class kinesis.PutResult
---@field shard_id? string where the record is; absent when it was not stored
---@field sequence_number? string its place there; a decimal string
---@field encryption_type? string "NONE" or "KMS"
---@field code? kinesis.ErrorCode (put_many) why this record was not stored
---@field message? string (put_many) the same in words
---@field request_id? string (put) the service's name for the request
---@field attempts? integer (put_many) how often it was sent, when not once

--- A record for put_many.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html
---@class kinesis.Entry
---@field data string bytes; at most 10 MiB, or less where the stream says so
---@field partition_key? string at most 256 characters of UTF-8; random when absent
---@field explicit_hash_key? string a decimal number below 2^128, instead of the key's hash

local meta = { __index = Client, __name = "kinesis.client" }

function meta:__tostring()
  return ("kinesis.client: %s%s"):format(self.url, self.core:is_closed() and " (closed)" or "")
end

-- ---- making one ----

local function host_of(parsed)
  local default = parsed.scheme == "https" and 443 or 80
  if parsed.port and parsed.port ~= default then
    return ("%s:%d"):format(parsed.host, parsed.port)
  end
  return parsed.host
end

local function make_core(checked, found, client_hooks)
  local parsed, message = endpoint.parse(found.endpoint)
  if not parsed then
    return nil, errors.new("BadConfig", message)
  end
  local path = parsed.path ~= "" and parsed.path or "/"
  local url = ("%s://%s%s"):format(parsed.scheme, host_of(parsed), path)
  local made, err = core.client {
    url = url,
    host = host_of(parsed),
    path = path,
    region = found.region,
    ca_bundle = found.ca_bundle,
    user_agent = ("kinesis-lua/%s (%s)"):format(version, rawget(_G, "jit") and jit.version or _VERSION),
    connect_timeout = checked.connect_timeout,
    request_timeout = checked.request_timeout,
    call_timeout = checked.call_timeout,
    traced = client_hooks and 1,
    max_attempts = checked.max_attempts,
    max_connections = checked.max_connections,
  }
  return made, err, url
end

-- The user's own keys, or the chain of ours.
local function set_provider(client, checked, found)
  local given = checked.credentials
  if type(given) == "function" then
    client.provider = given
  elseif given then
    client.provider = function()
      return given
    end
  else
    local context = keys.context(client, checked, found)
    client.chain = function()
      return credentials.find(context)
    end
  end
end

--- Makes a client.
---@param given? kinesis.ClientOptions
---@param level integer where a wrong option is raised: 1 is the caller of this function
---@return kinesis.Client|nil
---@return kinesis.Error err `NoRegion`, `NoCredentials`, `BadConfig`
function M.new(given, level)
  local checked = options.check("client", given, level + 1)
  local found, problem = settings.resolve(checked)
  if not found then
    return nil, errors.new(problem.code, problem.message)
  end
  local own_hooks = hooks.of(checked)
  local made, err, url = make_core(checked, found, own_hooks)
  if not made then
    return nil, err
  end
  local client = setmetatable({
    core = made,
    cores = { made }, -- for waits
    arrived = {}, -- scratch of the drain
    url = url,
    region = found.region,
    refresh_keys = keys.refresh,
    hooks = own_hooks,
    events = own_hooks and {},
  }, meta)
  set_provider(client, checked, found)
  -- keys that are at hand are looked up now, so that their absence shows here; a function is asked
  -- when the first call wants it, as it may have to wait
  if type(checked.credentials) ~= "function" then
    local missing = client:refresh_keys()
    if missing then
      made:close()
      return nil, missing
    end
  end
  return client
end

-- ---- calls ----

-- pcall, but for Lua's own error: that memory is out is not the value's fault.
local function attempt(f, value)
  local good, result = pcall(f, value)
  if not good and result == "not enough memory" then
    error(result, 0)
  end
  return good, result
end

-- Waits for a ticket's answer: its value, or nil and the error.
local function await(client, ticket, ...)
  if keys.is_asking(client) then
    error("the credentials provider calls the client that waits for its keys; it needs a client of its own", 3)
  end
  local done, value = ticket:answer(...)
  while done == false do
    wait.ready(client, ticket:id())
    done, value = ticket:answer(...)
  end
  if done then
    return value
  end
  return nil, value
end

--- Puts one record and waits until it is stored. When an answer is lost the record may be stored twice.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was sent.
---@param stream string name or ARN
---@param data string bytes; at most 10 MiB (a stream allows 1 MiB unless it was told otherwise)
---@param partition_key? string at most 256 characters of UTF-8; random when absent
---@param given? kinesis.PutOptions
---@return kinesis.PutResult|nil result
---@return kinesis.Error err the service's, or one of our own
function Client:put(stream, data, partition_key, given)
  local checked = given and options.check("put", given, 2) or NO_OPTIONS
  local ticket, problem =
    self.core:put(stream, data, partition_key, checked.explicit_hash_key, checked.sequence_number_for_ordering)
  if ticket then
    return await(self, ticket)
  elseif ticket == false then
    error("put: " .. problem, 2)
  end
  return nil, problem
end

-- As the core counts: __len is not asked.
local length = rawlen or function(list)
  return #list
end

-- The records that were not sent because a call before them failed for good.
local function fill_unsent(results, first, last, cause)
  for i = first, last do
    results[i] = setmetatable({
      code = cause.code,
      message = "not sent, as a call before it failed: " .. tostring(cause.message),
      attempts = 0,
    }, core.result_meta)
  end
  return last - first + 1
end

local PASSING = { ProvisionedThroughputExceededException = true, InternalFailure = true }

-- A whole chunk failed for a reason that will not pass: the records behind it would fail alike.
local function is_hopeless(results, chunk, failed)
  if failed < chunk.behind - chunk.first then
    return false
  end
  for i = chunk.first, chunk.behind - 1 do
    if PASSING[results[i].code] then
      return false
    end
  end
  return true
end

--- Puts any number of records, in calls of at most 500 records and 10 MiB, and waits until each is
--- stored or has its reason. Entries that the service refused were sent again, alone, like any call.
--- Records of one call may be stored in another order.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was sent.
---@param stream string name or ARN
---@param records kinesis.Entry[] any number of them
---@param given? kinesis.PutManyOptions
---@return kinesis.PutResult[]|nil results in the order of `records`; an entry failed iff it has `code`
---@return integer|kinesis.Error failed how many entries failed; or the error when nothing could be sent
function Client:put_many(stream, records, given)
  local checked = options.check("put_many", given, 2)
  local problem = core.check_stream(stream)
    or type(records) ~= "table" and ("records must be a list of tables, got " .. type(records))
  if problem then
    error("put_many: " .. problem, 2)
  end
  local results, failed, count = setmetatable({}, pretty.results_meta), 0, length(records)
  local flying, first, cause = {}, 1, nil
  while #flying > 0 or (first <= count and not cause) do
    while first <= count and not cause and #flying < checked.parallel do
      -- with the first chunk the core looks at all records, before anything is sent
      local ticket, behind = self.core:put_chunk(stream, records, first)
      if ticket == false and first == 1 then
        error("put_many: " .. behind, 2)
      elseif ticket == false then
        -- all were looked at before the first was sent
        cause = errors.new("Cancelled", "the list was changed while it was being put: " .. behind)
      elseif ticket then
        flying[#flying + 1] = { ticket = ticket, first = first, behind = behind }
        first = behind
      else
        cause = behind
      end
    end
    local chunk = table.remove(flying, 1)
    if chunk then
      local failures, err = await(self, chunk.ticket, results, chunk.first)
      if not failures then
        cause = err
        failures = fill_unsent(results, chunk.first, chunk.behind - 1, err)
      elseif is_hopeless(results, chunk, failures) then
        cause = results[chunk.first]
      end
      failed = failed + failures
    end
  end
  if cause and first == 1 then
    return nil, cause
  end
  return results, failed + fill_unsent(results, first, count, cause)
end

-- cjson gives null as a light userdata, and every number as a float on 5.4.
local function clean(value)
  if type(value) ~= "table" then
    if math.type and type(value) == "number" then
      return math.tointeger(value) or value
    end
    return value
  end
  for key, member in pairs(value) do
    if member == cjson.null then
      value[key] = nil
    elseif type(member) == "table" or type(member) == "number" then
      value[key] = clean(member)
    end
  end
  return value
end

local answer_meta = pretty.meta "kinesis.answer"

--- Any operation of the API, by AWS's own names, members as JSON has them: blobs in base64, times in seconds
--- since 1970.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was sent.
---@param operation string such as "DescribeStreamSummary"
---@param params? table<string, any> the request's members; absent: none
---@return table<string, any>|nil answer the answer's members, without those that are null
---@return kinesis.Error err the service's, or one of our own
function Client:call(operation, params)
  if type(operation) ~= "string" or not operation:find("^%u%w*$") or #operation > 47 then
    error("call: operation must be the name of an API operation, such as 'DescribeStreamSummary'", 2)
  end
  if params ~= nil and type(params) ~= "table" then
    error(("call: params must be a table, got %s"):format(type(params)), 2)
  end
  local good, body = attempt(cjson.encode, params or {})
  if not good then
    error("call: params cannot be written as JSON: " .. tostring(body), 2)
  end
  local ticket, problem = self.core:call(operation, body == "[]" and "{}" or body)
  if not ticket then
    return nil, problem
  end
  local text, err = await(self, ticket)
  if not text then
    return nil, err
  end
  if text == "" then
    return setmetatable({}, answer_meta)
  end
  local decoded, answer = attempt(cjson.decode, text)
  if not decoded or type(answer) ~= "table" then
    return nil, errors.new("BadAnswer", "the answer is no JSON object", operation)
  end
  return setmetatable(clean(answer), answer_meta)
end

-- ---- reading ----

--- The shards of a stream, open and closed.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html
---
--- Raises the error object, as it stands in a `for` head; at the caller's line, a message that names the
--- wrong argument.
---@param stream string name or ARN
---@return kinesis.Shards shards
function Client:shards(stream)
  local problem = core.check_stream(stream)
  if problem then
    error("shards: " .. problem, 2)
  end
  local list, err = shards.list(self, stream)
  if not list then
    error(err, 0)
  end
  return list
end

-- ---- the end ----

--- What a client's calls have come to since it was made.
---@class kinesis.ClientStats
---@field calls integer calls that were begun; a reader's and put_many's repetitions count as calls
---@field attempts integer requests that were sent
---@field retries integer attempts that were repetitions, a reader's own left out
---@field throttled integer answers that asked for fewer or smaller calls
---@field failed integer calls that ended in an error
---@field bytes_sent integer of bodies
---@field bytes_received integer of bodies
---@field in_flight integer requests under way now
---@field queued integer calls that wait now, for a connection or for keys

--- Counters of the engine, for monitoring.
---@return kinesis.ClientStats|nil stats
---@return kinesis.Error err `Closed`, `Forked`
function Client:stats()
  return self.core:stats()
end

--- Stops the client's thread at once; calls under way fail with `Closed`. Idempotent.
function Client:close()
  self.core:close()
  wait.wake_all(self)
end

meta.__close = Client.close

return M
