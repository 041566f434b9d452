--- Reports a producer's failures: calls its on_failure, or prints a line on stderr.
local core = require "kinesis.core"
local notice = require "kinesis.observe.notice"
local pretty = require "kinesis.observe.pretty"
local wait = require "kinesis.wait"

local M = {}

-- The key that keeps on_failure from being called inside itself while it waits: in a host the producer; elsewhere the
-- coroutine, as a coroutine may be abandoned while its handler waits.
local function guard_of(producer)
  return wait.may_block(producer.client) and coroutine.running() or producer
end

--- The next failed record without a receipt, and its error; nil when there is none.
---@param producer kinesis.Producer
---@return kinesis.Entry|nil record
---@return kinesis.Error|nil err
function M.next(producer)
  local record, err = producer.core:failure()
  if record then
    return setmetatable(record, core.record_meta), pretty.mark(err, core.result_meta)
  end
end

--- Calls on_failure with each failed record that has no receipt, one after the other. Its errors are printed.
---@param producer kinesis.Producer
function M.run_handler(producer)
  local guard = guard_of(producer)
  while not producer.guards[guard] do
    local record, err = M.next(producer)
    if not record then
      return
    end
    producer.guards[guard] = true
    local good, why = pcall(producer.on_failure, record, err)
    producer.guards[guard] = nil
    if not good then
      local _, text = pcall(tostring, why)
      notice.print_rarely("on_failure " .. producer.stream, "on_failure raised: %s", tostring(text))
    end
  end
end

-- What an error means for the records; a notice says it itself.
local function consequence(err)
  return err.code == "AggregationOff" and ""
    or err.retryable and "; its records wait and are retried"
    or "; records failed, and no on_failure is set: set it, or take them from flush or close"
end

--- Prints the causes of failures that no on_failure reports, and of retries.
---@param producer kinesis.Producer
---@param is_unreported boolean whether records have failed and there is no on_failure
function M.print_causes(producer, is_unreported)
  local err = producer.core:cause(is_unreported)
  while err do
    local key = ("producer %s %s"):format(producer.stream, err.code)
    notice.print_rarely(key, "producer for %s: %s%s", producer.stream, tostring(err), consequence(err))
    err = producer.core:cause(is_unreported)
  end
end

return M
