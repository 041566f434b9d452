--- Waits for the table of leases of a worker that keeps them in DynamoDB, before anything is read.
---
---   asked for -- it is there, and fits ---------------------> ready
---   asked for -- it is being made, or is going -------------> asked for, after AGAIN
---   asked for -- a failure that waiting may mend, reported -> asked for, after a pause
---   asked for -- what no waiting mends ---------------------> the worker ends with the error
local core = require "kinesis.core"
local wait = require "kinesis.wait"

local M = {}

local AGAIN = 0.5 -- seconds between two looks at a table that is being made
local LATE = 60 -- seconds after which that is reported, again and again
local FAILED_FIRST, FAILED_MOST = 0.5, 10 -- seconds after one failure, and after many

local function pause_of(failures)
  return math.min(FAILED_MOST, FAILED_FIRST * 2 ^ math.min(failures - 1, 10))
end

--- Waits until the table is there and fits. An error that no waiting mends ends the worker.
---@param worker kinesis.Worker
---@return boolean ready false: the worker ends
function M.await(worker)
  local failures, began = 0, worker.now()
  local told = began
  while not worker.stopping do
    local ready, err = worker.table:prepare()
    local now, pause = worker.now(), AGAIN
    if ready then
      return true
    elseif err and not err.retryable then
      worker:fail(err)
      return false
    elseif err then
      failures = failures + 1
      pause = pause_of(failures)
      worker:report(err, "looking at the table of leases, which is tried again")
    else
      failures = 0
      if now >= told + LATE then
        told = now
        worker:report(worker.table:unready(now - began), "waiting for the table of leases")
      end
    end
    wait.ready(worker.client, worker.leases.core:id(), core.now() + pause)
  end
  return false
end

return M
