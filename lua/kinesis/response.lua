--- Waits for the engine's answers and decodes them.
local codec = require("kinesis.core").codec
local errors = require "kinesis.errors"
local pretty = require "kinesis.observe.pretty"
local wait = require "kinesis.wait"

local M = {}

--- Waits for a ticket's answer: its value and, of an operation, the request id; or nil and the error.
function M.await(client, ticket, ...)
  local done, value, request_id = ticket:answer(...)
  while done == false do
    wait.ready(client, ticket:id())
    done, value, request_id = ticket:answer(...)
  end
  if done then
    return value, request_id
  end
  return nil, value
end

--- Encodes a request's members as the body.
---@param request table<string, any>
---@return string|nil body
---@return string|nil problem what cannot be written
function M.write(request)
  return codec.json_encode(request)
end

--- Decodes an answer's body.
---@param text string
---@param operation string
---@param request_id string "" when the service gave none
---@return table<string, any>|nil answer without the members that are null; with `request_id`
---@return kinesis.Error|nil err
function M.read(text, operation, request_id)
  local answer = codec.json_decode(text == "" and "{}" or text)
  if type(answer) ~= "table" then
    return nil, errors.new("BadAnswer", "the answer is no JSON object", operation)
  end
  answer.request_id = request_id ~= "" and request_id or nil
  return pretty.mark(answer, pretty.answer_meta)
end

return M
