-- Generates the annotations of the operations of the API, for editors, from the tables in lua/kinesis/api.
--
--   lua5.4 spec/support/operation_types.lua           prints them
--   lua5.4 spec/support/operation_types.lua --write   writes them to lua/kinesis/meta/operation_types.lua
package.path = "lua/?.lua;" .. package.path
package.preload["kinesis.core"] = package.preload["kinesis.core"] or function()
  return { codec = {} } -- nothing is encoded here
end
local operations = require "kinesis.api.operations"
local shapes = require "kinesis.api.shapes"
local types = require "kinesis.api.types"

local TARGET = "lua/kinesis/meta/operation_types.lua"
local PAGE = "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_"

local PLAIN = { text = "string", integer = "integer", boolean = "boolean", time = "number", blob = "string" }
local UNITS = { text = " characters", integer = "", blob = " bytes", list = " elements", map = " entries" }

local function type_of(name)
  local item = name:match "^%[(%w+)%]$"
  if item then
    return type_of(item) .. "[]"
  end
  local kind = shapes.type(name)
  if kind.kind == "structure" then
    return "kinesis.api." .. name
  elseif kind.kind == "list" then
    return type_of(kind.item) .. "[]"
  elseif kind.kind == "map" then
    return "table<string, string>"
  elseif kind.values then
    local words = {}
    for i, value in ipairs(kind.values) do
      words[i] = '"' .. value .. '"'
    end
    return table.concat(words, "|")
  end
  return PLAIN[kind.kind]
end

local function number(value)
  return ("%d"):format(value)
end

-- "1 to 128 characters"
local function bounds(kind)
  if kind.kind == "time" then
    return "seconds since 1970"
  elseif kind.decimal then
    return "a decimal number"
  elseif kind.kind == "blob" then
    return "bytes, at most " .. number(kind.most)
  elseif kind.most then
    return ("%s to %s%s"):format(number(kind.least), number(kind.most), UNITS[kind.kind])
  elseif kind.least and kind.least > 0 then
    return ("at least %s%s"):format(number(kind.least), UNITS[kind.kind])
  end
  return ""
end

local lines = {
  "---@meta _",
  "-- Written by spec/support/operation_types.lua from the tables in lua/kinesis/api: change those.",
  "-- luacheck: ignore 241 631",
}

local function put(text, ...)
  lines[#lines + 1] = select("#", ...) > 0 and text:format(...) or text
end

local function put_class(name, doc, members)
  put("\n--- %s\n---@class kinesis.api.%s", doc, name)
  for _, member in ipairs(members) do
    local text = bounds(shapes.type(member.type))
    put("---@field %s%s %s%s", member.name, member.required and "" or "?", type_of(member.type),
      text == "" and "" or " " .. text)
  end
end

local names = {}
for name, kind in pairs(types) do
  if type(kind) == "string" then
    names[#names + 1] = name
  end
end
table.sort(names)
for _, name in ipairs(names) do
  put_class(name, ("%sAPI_Types.html"):format(PAGE:gsub("API_$", "")), shapes.members(types[name]))
end

for _, operation in ipairs(operations.list) do
  local name = operation.name
  put_class(name .. "Request", ("What %s is asked with."):format(name), shapes.members(operation.request))
  put_class(name .. (operation.events and "Event" or "Answer"), ("What %s answers."):format(name),
    shapes.members(operation.answer))
  if not operation.events then
    put "---@field request_id? string the service's name for the request"
  end
end

local function put_signature(operation)
  put("---@param params%s kinesis.api.%sRequest", operation.request:find "!" and "" or "?", operation.name)
  if operation.events then
    put("---@return (fun(): kinesis.api.%sEvent|nil)|nil events for a `for` head: raises the error object",
      operation.name)
  else
    put("---@return kinesis.api.%sAnswer|nil answer", operation.name)
  end
end

local function put_methods()
  put "\n---@class kinesis.Client\nlocal Client = {}"
  for _, operation in ipairs(operations.list) do
    local name = operation.name
    put("\n--- %s\n--- %s%s.html\n---", operation.doc, PAGE, name)
    put "--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent."
    put_signature(operation)
    put "---@return kinesis.Error err the service's, or one of our own"
    put("function Client:%s(params) end", operation.verb)
  end
end

local function put_functions()
  put "\n---@class kinesis\nlocal kinesis = {}"
  for _, operation in ipairs(operations.list) do
    put("\n--- `%s` of the default client.\n---@see kinesis.Client.%s", operation.verb, operation.verb)
    put_signature(operation)
    put "---@return kinesis.Error err"
    put("function kinesis.%s(params) end", operation.verb)
  end
end

put_methods()
put_functions()

local text = table.concat(lines, "\n") .. "\n"

if arg[1] == "--write" then
  local file = assert(io.open(TARGET, "w"))
  file:write(text)
  file:close()
else
  io.write(text)
end
