-- The module that `require "kinesis"` returns: functions that use a default client.
local aggregates = require "kinesis.aggregates"
local client = require "kinesis.client"
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local advice = require "kinesis.util.advice"
local operations = require "kinesis.api.operations"
local run = require "kinesis.wait.run"
local metrics = require "kinesis.observe.prometheus"
local version = require "kinesis.version"
local wait = require "kinesis.wait"

--- Amazon Kinesis Data Streams for Lua.
---
---     local kinesis = require "kinesis"
---     kinesis.put("hello-kinesis", "test", "producer1")
---     for record in kinesis.shards("hello-kinesis"):records() do
---       print(record.data, record.partition_key, record.shard_id)
---     end
---
--- Failures of the service or the network are returned as `nil, err`. Iterators raise the error object, because a
--- `for` loop cannot return it. Wrong arguments raise a string at the caller's line. The functions of the module use a
--- default client, created on first use from the environment and the shared AWS files. Times are in seconds; strings
--- hold bytes.
---@class kinesis
---@field version string such as "0.1.0"
---@field _VERSION string such as "kinesis 0.1.0"
---@field codec table encoders and decoders of the wire formats, for specs
local kinesis = { version = version, _VERSION = "kinesis " .. version, codec = core.codec }

local default, configured

local function check_dot(first, verb, level)
  if first == kinesis then
    error(("%s: call it with a dot, kinesis.%s(…)"):format(verb, verb), level + 1)
  end
end

-- In a forked child the parent's client is closed; the child creates its own with the same options.
local function default_client(first, verb)
  check_dot(first, verb, 3)
  local err
  if default and default.core:is_closed() then
    default = nil
  end
  if not default then
    default, err = client.new(configured, 1)
  end
  return default, err
end

--- Creates a client.
---
--- Raises at the caller's line a message that names the wrong option.
---@param options? kinesis.ClientOptions
---@return kinesis.Client|nil client
---@return kinesis.Error err `NoRegion`, `NoCredentials`, `BadConfig`
function kinesis.client(options)
  check_dot(options, "client", 2)
  local made, err = client.new(options, 2)
  if made then
    return made -- one value: a second one, even nil, would become an argument in `f(kinesis.client())`
  end
  return nil, err
end

--- Replaces the default client, which the functions of the module use, by a new one with these options.
---
--- Raises at the caller's line a message that names the wrong option.
---@param options? kinesis.ClientOptions
---@return true|nil done
---@return kinesis.Error err `NoRegion`, `NoCredentials`, `BadConfig`
function kinesis.configure(options)
  check_dot(options, "configure", 2)
  local made, err = client.new(options, 2)
  if not made then
    return nil, err
  end
  default, configured = made, options
  return true
end

--- `put` of the default client.
---@see kinesis.Client.put
---@param stream string
---@param data string
---@param partition_key? string
---@param options? kinesis.PutOptions
---@return kinesis.PutResult|nil result
---@return kinesis.Error err
function kinesis.put(stream, data, partition_key, options)
  local made, err = default_client(stream, "put")
  if not made then
    return nil, err
  end
  return made:put(stream, data, partition_key, options)
end

--- `put_many` of the default client.
---@see kinesis.Client.put_many
---@param stream string
---@param records kinesis.Entry[]
---@param options? kinesis.PutManyOptions
---@return kinesis.PutResult[]|nil results
---@return integer|kinesis.Error failed
function kinesis.put_many(stream, records, options)
  local made, err = default_client(stream, "put_many")
  if not made then
    return nil, err
  end
  return made:put_many(stream, records, options)
end

--- `producer` of the default client.
---@see kinesis.Client.producer
---@param stream string
---@param options? kinesis.ProducerOptions
---@return kinesis.Producer|nil producer
---@return kinesis.Error err
function kinesis.producer(stream, options)
  local made, err = default_client(stream, "producer")
  if not made then
    return nil, err
  end
  return made:producer(stream, options)
end

--- `worker` of the default client.
---@see kinesis.Client.worker
---@param streams string|string[] names or ARNs
---@param application string the leases belong to it; letters, digits, "_", "." and "-"
---@param options? kinesis.WorkerOptions
---@return kinesis.Worker|nil worker
---@return kinesis.Error err
function kinesis.worker(streams, application, options)
  local made, err = default_client(streams, "worker")
  if not made then
    return nil, err
  end
  return made:worker(streams, application, options)
end

--- `shards` of the default client.
---@see kinesis.Client.shards
---@param stream string
---@return kinesis.Shards shards
function kinesis.shards(stream)
  local made, err = default_client(stream, "shards")
  if not made then
    errors.raise(err)
  end
  return made:shards(stream)
end

--- `call` of the default client.
---@see kinesis.Client.call
---@param operation string
---@param params? table<string, any>
---@return table<string, any>|nil answer
---@return kinesis.Error err
function kinesis.call(operation, params)
  local made, err = default_client(operation, "call")
  if not made then
    return nil, err
  end
  return made:call(operation, params)
end

for _, operation in ipairs(operations.list) do
  local verb = operation.verb
  kinesis[verb] = function(params)
    local made, err = default_client(params, verb)
    if not made then
      return nil, err
    end
    return made[verb](made, params)
  end
end

--- `pages` of the default client.
---@see kinesis.Client.pages
---@param name string
---@param params? table<string, any>
---@return fun(): table<string, any>|nil pages
function kinesis.pages(name, params)
  local made, err = default_client(name, "pages")
  if not made then
    errors.raise(err)
  end
  return made:pages(name, params)
end

--- `wait_until` of the default client.
---@see kinesis.Client.wait_until
---@param state "stream_exists"|"stream_active"|"stream_not_exists"|"consumer_active"
---@param params table<string, any>
---@param options? kinesis.WaitUntilOptions
---@return table<string, any>|nil answer
---@return kinesis.Error err
function kinesis.wait_until(state, params, options)
  local made, err = default_client(state, "wait_until")
  if not made then
    return nil, err
  end
  return made:wait_until(state, params, options)
end

--- Sleeps. In kinesis.run, nginx and luv, other coroutines run meanwhile; in a plain script, the process blocks.
---
--- Raises at the caller's line when `seconds` is not a number from 0 up.
---@param seconds number the time to sleep
function kinesis.sleep(seconds)
  check_dot(seconds, "sleep", 2)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    local got = type(seconds) == "number" and tostring(seconds) or type(seconds)
    error("sleep: seconds must be a number from 0 on, got " .. got, 2)
  end
  return wait.sleep(seconds)
end

--- Returns a page of the manual: the list of all functions, or the page of one. A prompt prints the page.
---
--- Raises at the caller's line when the topic does not exist.
---@param topic? string|table|function such as "put", "producer", "producer:flush", "describe_stream", "operations"; or
--- a client, producer, receipt, shard, reader or worker; or a function of the library
---@return kinesis.Help page
function kinesis.help(topic)
  local page = require("kinesis.help").about(kinesis, topic, 2) -- loaded only on first use
  return page
end

kinesis.run = run.run
kinesis.aggregate = aggregates.aggregate
kinesis.deaggregate = aggregates.deaggregate
kinesis.hash_key = aggregates.hash_key
kinesis.prometheus = metrics.prometheus

return setmetatable(kinesis, { __index = advice.index("kinesis.", kinesis) })
