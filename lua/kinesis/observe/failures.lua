--- Reports a producer's failures: calls its on_failure, or prints a line on stderr.
local core = require "kinesis.core"
local notice = require "kinesis.observe.notice"
local pretty = require "kinesis.observe.pretty"
local stack = require "kinesis.util.stack"
local wait = require "kinesis.wait"

local M = {}

--- Makes the function that calls a producer's on_failure for one record. Its errors are printed.
---@param stream string
---@param on_failure fun(record: kinesis.Entry, err: kinesis.Error)
---@return function
function M.handler(stream, on_failure)
  return function(record, err)
    local good, why = pcall(on_failure, record, err)
    if not good then
      local _, text = pcall(tostring, why)
      notice.print_rarely("on_failure " .. stream, "on_failure raised: %s", tostring(text))
    end
  end
end

-- Whether on_failure is being called, so that it would be called inside itself while it waits: in a host by any
-- coroutine; elsewhere by this one, as a coroutine may be abandoned while its handler waits.
local function is_handling(producer)
  if wait.may_block(producer.client) then
    return stack.holds(stack.current(), producer.on_failure)
  end
  for task in pairs(producer.handlers) do
    if stack.holds(task, producer.on_failure) then
      return true
    end
    producer.handlers[task] = nil
  end
  return false
end

-- The next failed record without a receipt, and its error, until it was reported; nil when there is none.
local function next_failure(producer)
  local record, err = producer.core:failure()
  if record then
    return setmetatable(record, core.record_meta), pretty.mark(err, core.result_meta)
  end
end

--- Appends the failed records without a receipt, each with its `error`, to a list. When an error cuts that off, a later
--- call goes on; one record may then be in the list twice.
---@param producer kinesis.Producer
---@param list kinesis.LostRecord[]
function M.take_all(producer, list)
  local record, err = next_failure(producer)
  while record do
    record.error = err
    list[#list + 1] = record
    producer.core:failure_told()
    record, err = next_failure(producer)
  end
end

--- Calls on_failure with each failed record that has no receipt, one after the other.
---@param producer kinesis.Producer
function M.run_handler(producer)
  while not is_handling(producer) do
    local record, err = next_failure(producer)
    if not record then
      return
    end
    producer.handlers[stack.current()] = true
    producer.core:failure_told() -- before the call, as on_failure may wait while another task takes the next one
    producer.on_failure(record, err)
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
