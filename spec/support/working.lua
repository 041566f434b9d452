--- Fixtures for the specs of workers: workers of this process, on kinesalite.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
local assert = require "luassert"

local M = {}

M.service = fresh.services[2]

--- Opens a worker with short intervals, in a folder of its own unless `more` says otherwise.
function M.open(client, streams, more)
  local options = { failover = fresh.FAILOVER, take_interval = 0.5, checkpoint_interval = 0.2, poll_interval = 0.2,
    stop_timeout = 3 }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  options.path = options.path or fresh.folder {}
  return assert(client:worker(streams, "counter", options))
end

--- For before_each: a client, a stream of one shard and a memory store.
---@return kinesis.Client client
---@return string stream
---@return kinesis.Store store
function M.begin()
  local client = fresh.client(M.service)
  return client, fresh.stream(client, 1), memory.new()
end

--- Opens a worker on a store, unless `more` says otherwise.
function M.open_on(store, client, stream, more)
  local options = { store = store }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  return M.open(client, stream, options)
end

--- A list of what is told, and a function for on_error that notes it there.
function M.listener()
  local told = {}
  return told, function(err, what)
    told[#told + 1] = tostring(err) .. " | " .. what
  end
end

function M.ignore() end

--- Runs a worker beside a function; fails when it has not ended in time. Returns what `run` does.
function M.run_beside(worker, handler, beside)
  local results
  kinesis.run(function()
    results = { worker:run(handler) }
  end, function()
    beside()
    fresh.eventually(function()
      return results
    end)
  end)
  return results[1], results[2]
end

--- Runs a worker alone until its handler has had `count` records, or lists; returns them, and what `run` returns.
function M.process(worker, count)
  local got = {}
  local good, err = worker:run(function(...)
    got[#got + 1] = { ... }
    if #got == count then
      worker:stop()
    end
  end)
  return got, good, err
end

--- Runs a worker until it has processed `count` records, which are numbers; returns them in their order.
function M.process_numbers(worker, count)
  local got = {}
  local good, err = worker:run(function(record)
    got[#got + 1] = tonumber(record.data)
    if #got == count then
      worker:stop()
    end
  end)
  assert.is_true(good, tostring(err))
  return got
end

--- The list, sorted.
function M.sorted(list)
  table.sort(list)
  return list
end

--- The list of the numbers first … last.
function M.numbers(first, last)
  local list = {}
  for i = first, last do
    list[#list + 1] = i
  end
  return list
end

--- Puts the numbers first … last into all shards, in aggregates.
function M.spread(client, stream, first, last)
  local producer = assert(client:producer(stream, { aggregate = true }))
  for i = first, last do
    assert(producer:put(tostring(i), "key " .. i))
  end
  assert(producer:close())
end

--- Puts the numbers first … last into one shard, or with `aggregate` as one record of the service.
function M.put(client, stream, first, last, aggregate)
  local producer = assert(client:producer(stream, { aggregate = aggregate or false }))
  for i = first, last do
    assert(producer:put(tostring(i), "key"))
  end
  assert(producer:close())
end

--- The data of records, in order.
function M.data(list)
  local data = {}
  for i, arguments in ipairs(list) do
    data[i] = arguments[1].data
  end
  return table.concat(data, " ")
end

--- The only row of a store of one shard.
function M.row(store)
  local _, row = next(store.list())
  return row
end

return M
