-- The events of a subscription, one after the other, for as long as the service lets it live.
local response = require "kinesis.response"
local errors = require "kinesis.errors"
local shapes = require "kinesis.api.shapes"
local wait = require "kinesis.wait"

local M = {}

---An iterator of events. Raises the error object, as it stands in a `for` head.
---@param client kinesis.Client
---@param ticket userdata
---@param operation kinesis.operation its answer is what each event holds
---@return fun(): table|nil
function M.of(client, ticket, operation)
  return function()
    while ticket do
      local state, value = ticket:event()
      if state then
        local event, err = response.read(value, operation.name, "")
        return event and shapes.answer(operation, event) or errors.raise(err)
      elseif state == false then
        wait.ready(client, ticket:id())
      else
        ticket = nil -- which cancels nothing: it is over
        if value then
          errors.raise(value)
        end
      end
    end
  end
end

return M
