--- Waits for the engine's answers and decodes them.
local cjson = require("cjson").new()
local errors = require "kinesis.errors"
local pretty = require "kinesis.observe.pretty"
local wait = require "kinesis.wait"

local M = {}

--- pcall that raises Lua's own "not enough memory" again, since the value is not to blame for it.
function M.attempt(f, value)
  local good, result = pcall(f, value)
  if not good and result == "not enough memory" then
    error(result, 0)
  end
  return good, result
end

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

-- Removes nulls, which cjson decodes as a light userdata, makes integers of floats on Lua 5.4, and gives every table a
-- __tostring.
local function clean(value)
  if type(value) ~= "table" then
    if math.type and type(value) == "number" then
      return math.tointeger(value) or value
    end
    return value
  end
  for key, member in pairs(value) do
    if member == cjson.null then
      value[key] = nil
    elseif type(member) == "table" or type(member) == "number" then
      value[key] = clean(member)
    end
  end
  return setmetatable(value, pretty.answer_meta)
end

--- Encodes a request's members as the body.
---@param request table<string, any>
---@return string
function M.write(request)
  local body = cjson.encode(request)
  return body == "[]" and "{}" or body
end

--- Decodes an answer's body.
---@param text string
---@param operation string
---@param request_id string "" when the service gave none
---@return table<string, any>|nil answer without the members that are null; with `request_id`
---@return kinesis.Error|nil err
function M.read(text, operation, request_id)
  local decoded, answer = M.attempt(cjson.decode, text == "" and "{}" or text)
  if not decoded or type(answer) ~= "table" then
    return nil, errors.new("BadAnswer", "the answer is no JSON object", operation)
  end
  answer = clean(answer)
  answer.request_id = request_id ~= "" and request_id or nil
  return answer
end

return M
