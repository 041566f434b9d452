--- DynamoDB on this machine (dynalite), for specs of tables of leases.
local codec = require("kinesis.core").codec
local dynamodb = require "kinesis.store.dynamodb"
local endpoints = require "kinesis.endpoint.cache"
local fresh = require "support.fresh"
local leases = require "kinesis.worker.leases"
local response = require "kinesis.response"

local M = {}

M.endpoint = os.getenv "DYNALITE"

--- Tables that the Kinesis Client Library has written (spec/fixtures/kcl), by name; and the text.
function M.recorded(name)
  local file = assert(io.open("spec/fixtures/kcl/" .. name .. ".json"))
  local text = file:read "*a"
  file:close()
  return codec.json_decode(text).tables, text
end

--- Calls an operation; returns the answer, or nil and the error.
function M.call(client, operation, params, endpoint)
  local url, host, path = endpoints.split(endpoint or M.endpoint)
  local target = client.core:target(url, host, path, nil, false, "dynamodb", fresh.region)
  local ticket = assert(client.core:call(operation, assert(response.write(params)), target))
  local text, more = response.await(client, ticket)
  if not text then
    return nil, more
  end
  return response.read(text, operation, more)
end

--- The items of a table, by their keys; none when it is not there.
function M.items(client, name)
  local items, answer = {}, M.call(client, "Scan", { TableName = name })
  for _, item in ipairs(answer and answer.Items or {}) do
    items[item.leaseKey.S] = item
  end
  return items
end

--- Makes a table of that name with its items; `key`: of its hash key (leaseKey).
function M.create(client, name, items, key)
  key = key or "leaseKey"
  assert(M.call(client, "CreateTable", { TableName = name, BillingMode = "PAY_PER_REQUEST",
    AttributeDefinitions = { { AttributeName = key, AttributeType = "S" } },
    KeySchema = { { AttributeName = key, KeyType = "HASH" } } }))
  fresh.eventually(function()
    return assert(M.call(client, "DescribeTable", { TableName = name })).Table.TableStatus == "ACTIVE"
  end)
  for _, item in ipairs(items or {}) do
    assert(M.call(client, "PutItem", { TableName = name, Item = item }))
  end
end

--- The source of a stream, as workers have it.
function M.source(stream)
  return { stream = stream, name = stream, prefix = fresh.region .. ":" .. stream .. ":" }
end

--- The table of an application that reads the streams (names).
function M.open(client, application, streams, endpoint)
  local sources = {}
  for i, stream in ipairs(streams) do
    sources[i] = M.source(stream)
  end
  return assert(dynamodb.open(client, sources, application, { dynamodb = { endpoint = endpoint or M.endpoint } }))
end

--- Waits until the table is there.
function M.ready(opened)
  fresh.eventually(function()
    local ready, err = opened:prepare()
    assert(err == nil, tostring(err))
    return ready
  end)
  return opened
end

--- A worker on it, with short intervals.
function M.open_worker(client, streams, application, more)
  local options = { store = { dynamodb = { endpoint = M.endpoint } }, failover = 1.5, take_interval = 1,
    checkpoint_interval = 0.2, poll_interval = 0.2 }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  return assert(client:worker(streams, application, options))
end

--- The leases of a worker in the table.
function M.leases(client, opened, worker, failover)
  local given = { worker = worker, failover = failover or 1.5, exit_timeout = 5 }
  for name, value in pairs(opened:members()) do
    given[name] = value
  end
  return assert(leases.open(client, given))
end

return M
