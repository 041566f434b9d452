-- A client: one region, one endpoint, one set of keys; its engine's thread signs, sends and reads ahead.
local response = require "kinesis.response"
local put_many = require "kinesis.put_many"
local report = require "kinesis.config.report"
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local subscription = require "kinesis.api.subscription"
local hooks = require "kinesis.observe.hooks"
local refresh = require "kinesis.credentials.refresh"
local advice = require "kinesis.util.advice"
local suggest = require "kinesis.util.suggest"
local operations = require "kinesis.api.operations"
local schema = require "kinesis.options"
local paginator = require "kinesis.api.paginator"
local pretty = require "kinesis.observe.pretty"
local producer = require "kinesis.producer"
local settings = require "kinesis.config.settings"
local shapes = require "kinesis.api.shapes"
local shards = require "kinesis.shards"
local waiters = require "kinesis.api.waiters"
local endpoints = require "kinesis.endpoint.cache"
local user_agent = require "kinesis.user_agent"
local wait = require "kinesis.wait"

--- A client: one region, one endpoint, one set of keys, and one thread in the background. On Lua 5.4 it may be
--- a `<close>` variable.
---@class kinesis.Client
local Client = {}

local M = { class = Client }

local check_self = advice.check_self

local NO_OPTIONS = {}

-- A success is one value: a second one, be it nil, is an argument of the function that the call stands in.
local function only(value, err)
  if value then
    return value
  end
  return nil, err
end

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

local meta = pretty.equip({ __index = Client }, "kinesis.client", function(client)
  return ("kinesis.client: %s%s"):format(client.url, client.core:is_closed() and " (closed)" or "")
end)
local stats_meta = pretty.meta "kinesis.observe.prometheus"

-- ---- making one ----

local function make_core(checked, found, traced)
  local url, host, path = endpoints.split(found.endpoint)
  return core.client {
    url = url,
    host = host,
    path = path,
    region = found.region,
    ca_bundle = found.ca_bundle,
    user_agent = user_agent.of(found.app_id),
    connect_timeout = checked.connect_timeout,
    request_timeout = checked.request_timeout,
    call_timeout = checked.call_timeout,
    traced = traced and 1,
    max_attempts = found.max_attempts,
    max_connections = checked.max_connections,
  }
end

-- For a host whose worker ends, but not before its work: readers end, also those that are opened yet; producers send
-- what they have. Returns how many seconds that may take.
local function leave(client)
  local longest = 0
  client.leaving = true
  for reader in pairs(client.readers) do
    reader:stop()
  end
  for _, made in pairs(client.producers) do
    longest = math.max(longest, made:hurry())
  end
  return longest
end

local function has_work(client)
  for _, made in pairs(client.producers) do
    if made:has_work() then
      return true
    end
  end
  return false
end

--- Makes a client, though its credentials may be missing: they are looked for again when a call wants them.
---@param options? kinesis.ClientOptions
---@param level integer where a wrong option is raised: 1 is the caller of this function
---@return kinesis.Client|nil client
---@return kinesis.Error|nil err without a client `NoRegion` or `BadConfig`; beside one `NoCredentials`
function M.open(options, level)
  local checked = schema.check("client", options, level + 1)
  local found, problem = settings.resolve(checked)
  if not found then
    return nil, errors.new(problem.code, problem.message)
  end
  local own_hooks = hooks.of(checked)
  local made, err = make_core(checked, found, own_hooks)
  if not made then
    return nil, err
  end
  local client = setmetatable({
    core = made,
    inbox = wait.inbox(),
    url = found.endpoint,
    settings = found,
    options = checked,
    targets = { control = {}, data = {} },
    producers = setmetatable({}, { __mode = "v" }), -- by the id of their handle
    readers = setmetatable({}, { __mode = "k" }), -- a set
    event_loop = checked.event_loop,
    leave = leave,
    has_work = has_work,
  }, meta)
  -- a function of the user's is called when the first call needs credentials, as it may have to wait
  local is_function = type(checked.credentials) == "function"
  refresh.attach(client, checked, found)
  if own_hooks then
    hooks.attach(client, own_hooks)
  end
  return client, not is_function and client.credentials:start() or nil
end

--- Makes a client that has what it needs to send its first call.
---@param options? kinesis.ClientOptions
---@param level integer where a wrong option is raised: 1 is the caller of this function
---@return kinesis.Client|nil client
---@return kinesis.Error|nil err `NoRegion`, `NoCredentials`, `BadConfig`
function M.new(options, level)
  local client, err = M.open(options, level + 1)
  if client and err then
    client.core:close()
    client = nil
  end
  return client, err
end

-- ---- calls ----

-- Before anything is sent: the answer would never come.
local function refuse_asker(client, level)
  if client.credentials:is_caller() then
    error("the credentials provider calls the client that waits for its keys; it needs a client of its own", level + 1)
  end
end

--- Puts one record and waits until it is stored. When an answer is lost the record may be stored twice.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was sent.
---@param stream string name or ARN
---@param data string bytes; at most 10 MiB (a stream allows 1 MiB unless it was told otherwise)
---@param partition_key? string at most 256 characters of UTF-8; random when absent
---@param options? kinesis.PutOptions
---@return kinesis.PutResult|nil result
---@return kinesis.Error err the service's, or one of our own
function Client:put(stream, data, partition_key, options)
  check_self(self, "client:put")
  local checked = options and schema.check("put", options, 2) or NO_OPTIONS
  refuse_asker(self, 2)
  local target, misplaced
  if type(stream) == "string" then
    local wrong = stream:find "^arn:" and core.check_stream(stream)
    if wrong then
      error("put: " .. wrong, 2)
    end
    target, misplaced = endpoints.of_stream(self, stream)
  end
  if misplaced then
    return nil, misplaced
  end
  local ticket, problem = self.core:put(stream, data, partition_key, checked.explicit_hash_key,
    checked.sequence_number_for_ordering, target)
  if ticket then
    local result, err = response.await(self, ticket)
    return only(result, err)
  elseif ticket == false then
    error("put: " .. problem, 2)
  end
  return nil, problem
end

--- Puts any number of records, in calls of at most 500 records and 10 MiB, and waits until each is
--- stored or has its reason. Entries that the service refused were sent again, alone, like any call.
--- Records of one call may be stored in another order.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was sent.
---@param stream string name or ARN
---@param records kinesis.Entry[] any number of them
---@param options? kinesis.PutManyOptions
---@return kinesis.PutResult[]|nil results in the order of `records`; an entry failed iff it has `code`
---@return integer|kinesis.Error failed how many entries failed; or the error when nothing could be sent
function Client:put_many(stream, records, options)
  check_self(self, "client:put_many")
  local checked = schema.check("put_many", options, 2)
  local problem = core.check_stream(stream)
    or type(records) ~= "table" and ("records must be a list of tables, got " .. type(records))
    or records[1] == nil and type(records.data) == "string" and "records must be a list of tables, got one of them"
  if problem then
    error("put_many: " .. problem, 2)
  end
  refuse_asker(self, 2)
  local target, misplaced = endpoints.of_stream(self, stream)
  if misplaced then
    return nil, misplaced
  end
  local results, failed, wrong = put_many.put(self, stream, records, target, checked.parallel)
  if wrong then
    error("put_many: " .. wrong, 2)
  end
  return results, failed
end

--- Makes a producer, which takes records one by one and delivers them in batches.
---
--- Raises at the caller's line a message that names the wrong argument or option.
---@param stream string name or ARN
---@param options? kinesis.ProducerOptions
---@return kinesis.Producer|nil producer
---@return kinesis.Error err `Closed`, `Forked`, `Connection` when memory is out
function Client:producer(stream, options)
  check_self(self, "client:producer")
  local made, err = producer.new(self, stream, options, 2)
  return only(made, err)
end

-- Sends a request that is checked. Every call of an operation of the API comes through here.
local function send(client, operation, body, target)
  local ticket, problem = client.core:call(operation, body, target)
  if not ticket then
    return nil, problem
  end
  local text, more = response.await(client, ticket)
  if not text then
    return nil, more
  end
  return response.read(text, operation, more)
end

-- What endpoint rules look at, in the order in which they do.
local PLACES = {
  { "StreamARN", "stream_arn" }, { "ConsumerARN", "consumer_arn" }, { "ResourceARN", "resource_arn" },
  { "ChannelARN", "channel_arn" },
}

local function place_of(params)
  if type(params.StreamId) == "string" then
    return "stream_id", params.StreamId
  end
  for _, place in ipairs(PLACES) do
    if type(params[place[1]]) == "string" then
      return place[2], params[place[1]]
    end
  end
end

--- Any operation of the API, by AWS's own names, members as JSON has them: blobs in base64, times in seconds
--- since 1970.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was sent.
---@param operation string such as "DescribeStreamSummary"
---@param params? table<string, any> the request's members; absent: none
---@return table<string, any>|nil answer the answer's members, without those that are null, and `request_id`
---@return kinesis.Error err the service's, or one of our own
function Client:call(operation, params)
  check_self(self, "client:call")
  if type(operation) ~= "string" or not operation:find("^%u%w*$") or #operation > 47 then
    local near = type(operation) == "string" and suggest.of(operation, operations.names)
    error(("call: operation must be the name of an API operation, such as '%s'"):format(
      near or "DescribeStreamSummary"), 2)
  end
  if params ~= nil and type(params) ~= "table" then
    error(("call: params must be a table, got %s"):format(type(params)), 2)
  end
  local good, body = response.attempt(response.write, params or {})
  if not good then
    error("call: params cannot be written as JSON: " .. tostring(body), 2)
  end
  refuse_asker(self, 2)
  local known = operations.by_name[operation]
  local target, misplaced
  if known then
    target, misplaced = endpoints.of(self, known.kind, place_of(params or {}))
  end
  if misplaced then
    return nil, misplaced
  end
  local answer, err = send(self, operation, body, target)
  return only(answer, err)
end

-- What an operation of the table sends, and where. Raises at the caller of its caller's caller.
local function prepare(client, operation, params)
  local request, problem = shapes.request(operation, params)
  if not request then
    error(("%s: %s"):format(operation.verb, problem), 4)
  end
  refuse_asker(client, 4)
  local target, misplaced = endpoints.of(client, operation.kind, place_of(params))
  if misplaced then
    return nil, misplaced
  end
  return response.write(request), target
end

local function ask(client, operation, params)
  local body, target = prepare(client, operation, params)
  if not body then
    return nil, target
  end
  local answer, err = send(client, operation.name, body, target)
  return answer and shapes.answer(operation, answer), err
end

-- As it stands in a `for` head: the last value closes it when the loop is left, where Lua knows that.
local function subscribe(client, operation, params)
  local body, target = prepare(client, operation, params)
  if not body then
    return nil, target
  end
  local ticket, refused = client.core:subscribe(body, target)
  if not ticket then
    return nil, refused
  end
  return subscription.of(client, ticket, operation), nil, nil, ticket
end

for _, operation in ipairs(operations.list) do
  if operation.events then
    Client[operation.verb] = function(self, params)
      check_self(self, "client:" .. operation.verb)
      local list, err, state, closing = subscribe(self, operation, params == nil and {} or params)
      return list, err, state, closing
    end
  else
    Client[operation.verb] = function(self, params)
      check_self(self, "client:" .. operation.verb)
      local answer, err = ask(self, operation, params == nil and {} or params)
      return only(answer, err)
    end
  end
end

local function operation_named(verb, name)
  local operation = operations.by_name[name]
  if not operation then
    local near = type(name) == "string" and suggest.of(name, operations.names)
    error(("%s: '%s' is no operation of the API, such as '%s'"):format(verb, tostring(name), near or "ListStreams"), 3)
  end
  return operation
end

--- Every page of a list, for a `for` loop: `for page in client:pages("ListStreams", {Limit = 100}) do`. Pages may be
--- empty.
---
--- Raises the error object when a page does not come; at the caller's line, a message that names the wrong argument.
---@param name string an operation that comes in pages: DescribeStream, ListChannels, ListShards, ListStreamConsumers,
--- ListStreams, ListTagsForStream
---@param params? table<string, any> the first request's members
---@return fun(): table<string, any>|nil pages
function Client:pages(name, params)
  check_self(self, "client:pages")
  local operation = operation_named("pages", name)
  local _, problem = shapes.request(operation, params or {})
  local list = paginator.of(name, params or {}, function(request)
    return ask(self, operation, request)
  end)
  if not list then
    error(("pages: %s does not come in pages; those that do are %s"):format(name,
      table.concat(paginator.names(), ", ")), 2)
  elseif problem then
    error("pages: " .. problem, 2)
  end
  return list
end

--- Waits until a stream or a consumer has come to a state:
--- `client:wait_until("stream_exists", {StreamName = "x"})`.
---
--- Raises at the caller's line a message that names the wrong argument.
---@param state "stream_exists"|"stream_active"|"stream_not_exists"|"consumer_active" the first bears that there is no
--- such stream yet
---@param params table<string, any> who is asked for: members of DescribeStreamSummary, or of DescribeStreamConsumer
---@param options? kinesis.WaitUntilOptions
---@return table<string, any>|nil answer the last one; of `stream_not_exists` an empty table
---@return kinesis.Error err `Timeout`, or what the operation gives
function Client:wait_until(state, params, options)
  check_self(self, "client:wait_until")
  local checked = schema.check("wait_until", options, 2)
  local name = waiters.operation(state)
  if not name then
    local near = type(state) == "string" and suggest.of(state, waiters.names)
    error(("wait_until: '%s' is no state; %s"):format(tostring(state), near and ("did you mean '%s'?"):format(near)
      or "known are " .. table.concat(waiters.names, ", ")), 2)
  end
  local operation = operations.by_name[name]
  local _, problem = shapes.request(operation, params or {})
  if problem then
    error("wait_until: " .. problem, 2)
  end
  local answer, err = waiters.await(self, state, checked, function()
    return ask(self, operation, params or {})
  end)
  return only(answer, err)
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
  check_self(self, "client:shards")
  local problem = core.check_stream(stream)
  if problem then
    error("shards: " .. problem, 2)
  end
  local list, err = shards.list(self, stream)
  if not list then
    errors.raise(err)
  end
  return list
end

-- ---- the end ----

--- What this client was configured with, and where each setting came from. Holds no secret.
---@return table<string, kinesis.Setting> configuration by name of the setting
function Client:configuration()
  check_self(self, "client:configuration")
  return report.of(self)
end

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
---@field subscriptions integer streams of events that are open now

--- Counters of the engine, for monitoring.
---@return kinesis.ClientStats|nil stats
---@return kinesis.Error err `Closed`, `Forked`
function Client:stats()
  check_self(self, "client:stats")
  local stats, err = self.core:stats()
  if not stats then
    return nil, err
  end
  return setmetatable(stats, stats_meta)
end

--- Stops the client's thread at once; calls under way fail with `Closed`. Idempotent.
function Client:close()
  check_self(self, "client:close")
  wait.forget(self)
  self.core:close()
  wait.wake_all(self)
end

meta.__close = Client.close

advice.add_methods(Client, "client:")

return M
