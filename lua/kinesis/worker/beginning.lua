--- The beginning of a worker: its streams have to be there, and before that its table of leases, if it has one.
---
---   asked for -- it is there, and fits ---------------------> ready
---   asked for -- it is being made, or is going -------------> asked for, after AGAIN
---   asked for -- a failure that waiting may mend, reported -> asked for, after a pause
---   asked for -- what no waiting mends ---------------------> the worker ends with the error
local core = require "kinesis.core"
local shards = require "kinesis.worker.shards"
local wait = require "kinesis.wait"

local M = {}

local AGAIN = 0.5 -- seconds between two looks at a table that is being made
local LATE = 60 -- seconds after which that is reported, again and again
local FAILED_FIRST, FAILED_MOST = 0.5, 10 -- seconds after one failure, and after many

local function pause_of(failures)
  return math.min(FAILED_MOST, FAILED_FIRST * 2 ^ math.min(failures - 1, 10))
end

-- Waits until the table is there and fits. Returns the error that no waiting mends.
local function await_table(worker)
  local failures, began = 0, worker.now()
  local reported = began
  while not worker.stopping do
    local ready, err = worker.table:prepare()
    local now, pause = worker.now(), AGAIN
    if ready then
      return nil
    elseif err and not err.retryable then
      return err
    elseif err then
      failures = failures + 1
      pause = pause_of(failures)
      worker:report(err, "looking at the table of leases, which is tried again")
    else
      failures = 0
      if now >= reported + LATE then
        reported = now
        worker:report(worker.table:unready(now - began), "waiting for the table of leases")
      end
    end
    wait.ready(worker.client, worker.leases.core:id(), core.now() + pause)
  end
end

--- Waits for the table, and lists the shards. What no waiting mends ends the worker. `begun` says that it has leases to
--- release when it is stopped, or may have.
---@param worker kinesis.Worker
function M.run(worker)
  local err = worker.table and await_table(worker)
  if not err and not worker.stopping then
    err = shards.list_first(worker)
  end
  worker.begun = true
  if err then
    worker:fail(err)
  end
end

return M
