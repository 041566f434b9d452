--- Amazon Kinesis Data Streams for Lua.
---
---     local kinesis = require "kinesis"
---     kinesis.put("hello-kinesis", "test", "producer1")
---     for record in kinesis.shards("hello-kinesis"):records() do
---       print(record.data, record.partition_key, record.shard_id)
---     end
---
--- The world's failures come back as `nil, err`; what stands in a `for` head raises the error object;
--- the programmer's mistakes raise at the caller's line. The functions of the module use a default
--- client, made on first use from the environment and the shared AWS files.
local client = require "kinesis.client"
local core = require "kinesis.core"
local run = require "kinesis.wait.run"
local version = require "kinesis.version"
local wait = require "kinesis.wait"

---@class kinesis
local kinesis = { version = version, codec = core.codec }

local default, configured

-- After a fork the parent's client is of no use; the child makes its own, configured alike.
local function default_client()
  local err
  if default and default.core:is_closed() then
    default = nil
  end
  if not default then
    default, err = client.new(configured, 1)
  end
  return default, err
end

--- Makes a client of its own.
---@param given? table region, endpoint, profile, credentials, ca_bundle, connect_timeout, request_timeout,
--- max_attempts, max_connections (see kinesis.options)
---@return kinesis.Client|nil
---@return kinesis.Error? err `NoRegion`, `NoCredentials`, `BadConfig`
function kinesis.client(given)
  local made, err = client.new(given, 2)
  return made, err
end

--- Replaces the default client for later calls; takes the options of `kinesis.client`.
---@param given? table
---@return true|nil
---@return kinesis.Error? err
function kinesis.configure(given)
  local made, err = client.new(given, 2)
  if not made then
    return nil, err
  end
  default, configured = made, given
  return true
end

--- client:put of the default client.
---@param stream string
---@param data string
---@param partition_key? string
---@param given? table
---@return kinesis.PutResult|nil
---@return kinesis.Error? err
function kinesis.put(stream, data, partition_key, given)
  local made, err = default_client()
  if not made then
    return nil, err
  end
  return made:put(stream, data, partition_key, given)
end

--- client:put_many of the default client.
---@param stream string
---@param records kinesis.Entry[]
---@param given? { parallel?: integer }
---@return kinesis.PutResult[]|nil results
---@return integer|kinesis.Error failed
function kinesis.put_many(stream, records, given)
  local made, err = default_client()
  if not made then
    return nil, err
  end
  return made:put_many(stream, records, given)
end

--- client:shards of the default client. Raises the error object.
---@param stream string
---@return kinesis.Shards
function kinesis.shards(stream)
  local made, err = default_client()
  if not made then
    error(err, 0)
  end
  return made:shards(stream)
end

--- client:call of the default client.
---@param operation string
---@param params? table
---@return table|nil
---@return kinesis.Error? err
function kinesis.call(operation, params)
  local made, err = default_client()
  if not made then
    return nil, err
  end
  return made:call(operation, params)
end

--- Sleeps in the host's way: in kinesis.run, other coroutines go on meanwhile.
---@param seconds number
function kinesis.sleep(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    error(("sleep: seconds must be a number from 0 on, got %s"):format(tostring(seconds)), 2)
  end
  return wait.sleep(seconds)
end

kinesis.run = run.run

return kinesis
