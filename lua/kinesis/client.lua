-- A client: the calls of the API for one region, endpoint and set of credentials, over one engine thread.
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
local workers = require "kinesis.worker"

--- A client: one region, one endpoint, one set of credentials, and one background thread. On Lua 5.4 it may be a
--- `<close>` variable.
---@class kinesis.Client
local Client = {}

local M = { class = Client }

local check_self = advice.check_self

local NO_OPTIONS = {}

-- Returns exactly one value on success: a second one, even nil, would become an argument in `f(client:put(…))`.
local function only(value, err)
  if value then
    return value
  end
  return nil, err
end

--- Where a record is stored, or why it is not stored.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsResultEntry.html
---@class kinesis.PutResult
---@field shard_id? string the shard of the record; absent when it was not stored
---@field sequence_number? string its position in the shard; a decimal string
---@field encryption_type? string "NONE" or "KMS"
---@field code? kinesis.ErrorCode (put_many) why this record was not stored
---@field message? string (put_many) the message of that error
---@field request_id? string (put) the id that the service gave the request
---@field attempts? integer (put_many) how often it was sent; absent: once

--- A record for put_many.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html
---@class kinesis.Entry
---@field data string bytes; at most 1 MiB with the key, or up to 10 MiB where the stream is configured for it
---@field partition_key? string at most 256 characters of UTF-8; random when absent
---@field explicit_hash_key? string selects the shard instead of the key's hash; a decimal number below 2^128

local meta = pretty.equip({ __index = Client }, "kinesis.client", function(client)
  return ("kinesis.client: %s%s"):format(client.url, client.core:is_closed() and " (closed)" or "")
end)
local stats_meta = pretty.meta "kinesis.observe.prometheus"

-- ---- creation ----

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

-- For a host whose worker exits: ends all readers and workers, also those opened later, and makes producers send what
-- they hold. Returns the seconds that this may take.
local function leave(client)
  local longest = 0
  client.leaving = true
  for worker in pairs(client.workers) do -- first: their readers are no ended shards
    longest = math.max(longest, worker:begin_exit())
  end
  for reader in pairs(client.readers) do
    reader:stop()
  end
  for _, made in pairs(client.producers) do
    longest = math.max(longest, made:begin_exit())
  end
  return longest
end

local function has_work(client)
  for worker in pairs(client.leaving and client.workers or {}) do
    if worker:is_running() then
      return true
    end
  end
  for _, made in pairs(client.producers) do
    if made:has_work() then
      return true
    end
  end
  return false
end

--- Creates a client even when its credentials are missing: the next call that needs them starts a refresh.
---@param options? kinesis.ClientOptions
---@param level integer where a wrong option is raised: 1 is the caller of this function
---@return kinesis.Client|nil client
---@return kinesis.Error|nil err without a client: `NoRegion` or `BadConfig`; with one: `NoCredentials`
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
    inbox = wait.inbox(), -- of wait/registry
    url = found.endpoint,
    settings = found,
    options = checked,
    targets = { control = {}, data = {} }, -- of endpoint/cache
    producers = setmetatable({}, { __mode = "v" }), -- by handle id
    readers = setmetatable({}, { __mode = "k" }), -- a set
    workers = setmetatable({}, { __mode = "k" }), -- a set
    event_loop = checked.event_loop,
    -- credentials: of credentials/refresh; rearm, detached: of the host's adapter
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

--- Creates a client that can send its first call.
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

-- Raises, before anything is sent, where the caller cannot wait for the answer: in a phase or callback of the host, or
-- in the client's own credentials provider, which would wait for itself.
local function check_caller(client, level)
  wait.check(client)
  if client.credentials:is_caller() then
    error("the credentials provider calls the client that waits for its credentials; it needs a client of its own",
      level + 1)
  end
end

--- Puts one record and waits until it is stored. When an answer is lost, the record may be stored twice.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was sent.
---@param stream string name or ARN
---@param data string bytes; at most 1 MiB with the key, or up to 10 MiB where the stream is configured for it
---@param partition_key? string at most 256 characters of UTF-8; random when absent
---@param options? kinesis.PutOptions
---@return kinesis.PutResult|nil result
---@return kinesis.Error err of the service or of this library
function Client:put(stream, data, partition_key, options)
  check_self(self, "client:put")
  local checked = options and schema.check("put", options, 2) or NO_OPTIONS
  check_caller(self, 2)
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

--- Puts any number of records, in calls of at most 500 records and 10 MiB, and waits until each is stored or has
--- failed. Only the records that failed are sent again; each has up to `max_attempts` attempts. The service may store
--- the records of one call in another order.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was sent.
---@param stream string name or ARN
---@param records kinesis.Entry[] the list
---@param options? kinesis.PutManyOptions
---@return kinesis.PutResult[]|nil results in the order of `records`; a record failed if its result has a `code`
---@return integer|kinesis.Error failed the number of records that failed; without results, the error
function Client:put_many(stream, records, options)
  check_self(self, "client:put_many")
  local checked = schema.check("put_many", options, 2)
  local problem = core.check_stream(stream)
    or type(records) ~= "table" and ("records must be a list of tables, got " .. type(records))
    or records[1] == nil and type(records.data) == "string" and "records must be a list of tables, got one of them"
  if problem then
    error("put_many: " .. problem, 2)
  end
  check_caller(self, 2)
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

--- Creates a producer, which accepts records one by one and delivers them in batches.
---
--- Raises at the caller's line a message that names the wrong argument or option.
---@param stream string name or ARN
---@param options? kinesis.ProducerOptions
---@return kinesis.Producer|nil producer
---@return kinesis.Error err `Closed`, `Forked`, `OutOfMemory`
function Client:producer(stream, options)
  check_self(self, "client:producer")
  local made, err = producer.new(self, stream, options, 2)
  return only(made, err)
end

-- Sends a checked request and waits for its answer. Every operation but put and put_many is sent here.
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

-- The members that endpoint rules use, in order of precedence.
local ENDPOINT_MEMBERS = {
  { "StreamARN", "stream_arn" }, { "ConsumerARN", "consumer_arn" }, { "ResourceARN", "resource_arn" },
  { "ChannelARN", "channel_arn" },
}

local function endpoint_member(params)
  if type(params.StreamId) == "string" then
    return "stream_id", params.StreamId
  end
  for _, member in ipairs(ENDPOINT_MEMBERS) do
    if type(params[member[1]]) == "string" then
      return member[2], params[member[1]]
    end
  end
end

--- Calls an operation of the API by its AWS name. Request and answer are as in AWS's JSON: blobs are in base64, times
--- are seconds since 1970.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was sent.
---@param operation string such as "DescribeStreamSummary"
---@param params? table<string, any> the request's members; absent: none
---@return table<string, any>|nil answer the answer's members, without nulls, and `request_id`
---@return kinesis.Error err of the service or of this library
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
  local body, problem = response.write(params or {})
  if not body then
    error("call: params cannot be written as JSON: " .. problem, 2)
  end
  check_caller(self, 2)
  local known = operations.by_name[operation]
  local target, misplaced
  if known then
    target, misplaced = endpoints.of(self, known.kind, endpoint_member(params or {}))
  end
  if misplaced then
    return nil, misplaced
  end
  local answer, err = send(self, operation, body, target)
  return only(answer, err)
end

-- The body and target of an operation. Raises at level 4: the caller of the public method.
local function prepare(client, operation, params)
  local request, problem = shapes.request(operation, params)
  if not request then
    error(("%s: %s"):format(operation.verb, problem), 4)
  end
  check_caller(client, 4)
  local target, misplaced = endpoints.of(client, operation.kind, endpoint_member(params))
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

-- Returns what a generic `for` takes; the last value is closed when the loop ends (Lua 5.4).
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

--- Iterates over the pages of a list operation. Pages may be empty.
---
---     for page in client:pages("ListStreams", { Limit = 100 }) do
---
--- Raises the error object when a page fails; raises at the caller's line a message that names the wrong argument.
---@param name string a paginated operation: DescribeStream, ListChannels, ListShards, ListStreamConsumers,
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
    error(("pages: %s is not paginated; operations that are: %s"):format(name,
      table.concat(paginator.names(), ", ")), 2)
  elseif problem then
    error("pages: " .. problem, 2)
  end
  return list
end

--- Waits until a stream or a consumer is in a state.
---
---     client:wait_until("stream_exists", { StreamName = "x" })
---
--- Raises at the caller's line a message that names the wrong argument.
---@param state "stream_exists"|"stream_active"|"stream_not_exists"|"consumer_active" `stream_exists` waits until the
--- stream is ACTIVE, also when it does not exist yet; `stream_active` fails when it does not exist
---@param params table<string, any> the request of DescribeStreamSummary, or of DescribeStreamConsumer
---@param options? kinesis.WaitUntilOptions
---@return table<string, any>|nil answer the last answer; for `stream_not_exists` an empty table
---@return kinesis.Error err `Timeout`, or the operation's error
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

--- Lists the shards of a stream, open and closed ones.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html
---
--- Raises the error object, because a `for` loop cannot return it; raises at the caller's line a message that names the
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

--- Opens a worker: it shares the shards of streams with the other workers of an application, and remembers how far
--- each is processed.
---@param streams string|string[] names or ARNs
---@param application string the leases belong to it; letters, digits, "_", "." and "-"
---@param options? kinesis.WorkerOptions
---@return kinesis.Worker|nil worker
---@return kinesis.Error err
function Client:worker(streams, application, options)
  check_self(self, "client:worker")
  local list, checked = workers.check(self.settings.region, streams, application, options, 2)
  return workers.open(self, list, application, checked)
end

-- ---- configuration, statistics and close ----

--- Returns the settings of this client, and where each came from. No secrets.
---@return table<string, kinesis.Setting> configuration by name of the setting
function Client:configuration()
  check_self(self, "client:configuration")
  return report.of(self)
end

--- Returns the counters of this client, for monitoring.
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

--- Stops the client's thread at once: calls in flight fail with `Closed`. Close its producers first, which delivers
--- their records. Idempotent.
---@return true closed
function Client:close()
  check_self(self, "client:close")
  wait.forget(self)
  self.core:close()
  wait.wake_all(self)
  return true
end

meta.__close = Client.close

advice.add_methods(Client, "client:")

return M
