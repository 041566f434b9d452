-- The events of a subscription (SubscribeToShard), until the service ends it.
local response = require "kinesis.response"
local errors = require "kinesis.errors"
local shapes = require "kinesis.api.shapes"
local wait = require "kinesis.wait"

local M = {}

---An iterator over events. Raises the error object, because a `for` loop cannot return it.
---@param client kinesis.Client
---@param ticket userdata
---@param operation kinesis.operation its answer is the content of each event
---@return fun(): table|nil
function M.of(client, ticket, operation)
  return function()
    while ticket do
      local state, value = ticket:event()
      if state then
        local event, err = response.read(value, operation.name, "")
        local answer = event and shapes.answer(operation, event)
        ticket:pass() -- what an error cuts off before is returned again
        return answer or errors.raise(err)
      elseif state == false then
        wait.ready(client, ticket:id())
      else
        ticket = nil -- the subscription is over; dropping the ticket cancels nothing
        if value then
          errors.raise(value)
        end
      end
    end
  end
end

return M
