--- How a producer's failures become known: to its on_failure, or in a line on stderr.
local core = require "kinesis.core"
local notice = require "kinesis.observe.notice"
local pretty = require "kinesis.observe.pretty"
local wait = require "kinesis.wait"

local M = {}

-- Who tells, that on_failure, which may wait and so let others fail, is not called inside itself: in a host one for
-- all; elsewhere each coroutine for itself, as one may be abandoned while its handler waits.
local function guard_of(producer)
  return wait.may_block(producer.client) and coroutine.running() or producer
end

--- The next record that failed for good and has no receipt, and why; nil when there is none.
---@param producer kinesis.Producer
---@return kinesis.Entry|nil record
---@return kinesis.Error|nil err
function M.next(producer)
  local record, err = producer.core:failure()
  if record then
    return setmetatable(record, core.record_meta), pretty.mark(err, core.result_meta)
  end
end

--- Tells on_failure of each record that failed and has no receipt, one after the other. One that raises does not
--- disturb the others.
---@param producer kinesis.Producer
function M.tell(producer)
  local guard = guard_of(producer)
  while not producer.telling[guard] do
    local record, err = M.next(producer)
    if not record then
      return
    end
    producer.telling[guard] = true
    local good, why = pcall(producer.on_failure, record, err)
    producer.telling[guard] = nil
    if not good then
      local _, text = pcall(tostring, why)
      notice.tell("on_failure " .. producer.stream, "on_failure raised: %s", tostring(text))
    end
  end
end

--- Prints why records fail for good that no on_failure is told of, and, also where there is one, why others are sent
--- again and again.
---@param producer kinesis.Producer
---@param untold boolean whether there are records that failed for good, and no on_failure
function M.tell_causes(producer, untold)
  local err = producer.core:cause(untold)
  while err do
    notice.tell(("producer %s %s"):format(producer.stream, err.code), "producer for %s: %s; %s", producer.stream,
      tostring(err), err.retryable and "its records wait, and are sent again"
      or "records failed for good: give on_failure, or take them from flush or close")
    err = producer.core:cause(untold)
  end
end

return M
