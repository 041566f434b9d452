--- Workers of specs, on a memory store.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
local assert = require "luassert"

local M = {}

--- Options for workers that move fast, with these instead.
function M.options(more)
  local options = { store = memory.new(), failover = fresh.FAILOVER, take_interval = 0.5, checkpoint_interval = 0.1,
    poll_interval = 0.2, stop_timeout = 3 }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  return options
end

--- Runs workers, and a function beside them that is given the data of their records, in their order for each shard, and
--- the shard of each; then stops them. Returns the data.
---@param workers kinesis.Worker|kinesis.Worker[]
---@param beside fun(got: table)
function M.run(workers, beside)
  local got, results, tasks = {}, {}, {}
  workers = workers.run and { workers } or workers
  for i, worker in ipairs(workers) do
    tasks[i] = function()
      local good, err = worker:run(function(record, shard)
        got[#got + 1] = record.data
        got[record.data] = shard
      end)
      results[#results + 1] = good or err
    end
  end
  kinesis.run(function()
    beside(got)
    for _, worker in ipairs(workers) do
      worker:stop()
    end
    fresh.eventually(function()
      return #results == #workers
    end)
  end, (table.unpack or unpack)(tasks))
  for _, result in ipairs(results) do
    assert.is_true(result, tostring(result))
  end
  return got
end

--- A function for `run` that returns when so many records were processed.
function M.awaits(count)
  return function(got)
    fresh.eventually(function()
      return #got >= count
    end)
  end
end

--- The key of a lease.
function M.key_of(stream, index, region)
  return ("%s:%s:shardId-%012d"):format(region or "us-east-1", stream, index)
end

--- A store that answers after so many seconds.
function M.slow(store, seconds)
  local slowed = {}
  for name, f in pairs(store) do
    slowed[name] = function(...)
      kinesis.sleep(type(seconds) == "function" and seconds(name, ...) or seconds)
      return f(...)
    end
  end
  return slowed
end

return M
