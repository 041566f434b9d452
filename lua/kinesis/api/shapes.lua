-- Requests and answers of operations: checks requests against the types of the API, and converts blobs from and to
-- base64.
local codec = require("kinesis.core").codec
local iso8601 = require "kinesis.util.iso8601"
local suggest = require "kinesis.util.suggest"
local types = require "kinesis.api.types"

local M = {}

---@class kinesis.member
---@field name string
---@field type string a name in types.lua, or "[name]"
---@field required boolean

local structures, lists = {}, {}

---The members of a structure, in order, and by name.
---@param text string
---@return kinesis.member[]
function M.members(text)
  local known = structures[text]
  if known then
    return known
  end
  local members = {}
  for part in text:gmatch "[^,]+" do
    local name, mark, kind = part:match "^%s*(%w+)(!?)%s*(.-)%s*$"
    local member = { name = name, type = kind ~= "" and kind or name, required = mark == "!" }
    members[#members + 1], members[name] = member, member
  end
  structures[text] = members
  return members
end

---A type by its name: a scalar, list or map, or { kind = "structure", members }.
---@param name string
---@return table
function M.type(name)
  local item = name:match "^%[(%w+)%]$"
  if item then
    lists[name] = lists[name] or { kind = "list", item = item, least = 0 }
    return lists[name]
  end
  local found = types[name] or error("no type " .. name)
  if type(found) == "string" then
    return { kind = "structure", members = M.members(found) }
  end
  return found
end

-- ---- requests: each function returns the problem, or nil and the value to send ----

local write

local function shown(value)
  local text = type(value) == "string" and "'" .. value:sub(1, 40):gsub("%c", "?") .. "'" or tostring(value)
  return type(value) == "table" and "a table" or text
end

local function bounds(kind, unit)
  if kind.most then
    return ("%d to %d%s"):format(kind.least, kind.most, unit)
  end
  return ("at least %d%s"):format(kind.least, unit)
end

local function is_outside(count, kind)
  return count < (kind.least or 0) or (kind.most ~= nil and count > kind.most)
end

local function write_text(value, kind)
  if type(value) ~= "string" then
    return "must be a string, got " .. shown(value)
  elseif kind.values then
    for _, known in ipairs(kind.values) do
      if known == value then
        return nil, value
      end
    end
    return ("must be one of %s, got %s"):format(table.concat(kind.values, ", "), shown(value))
  elseif kind.decimal then
    if not value:find "^%d+$" or #value > 129 then
      return "must be a string of decimal digits, got " .. shown(value)
    end
  else
    local _, characters = value:gsub("[^\128-\191]", "")
    if is_outside(characters, kind) then
      return ("must hold %s, got %d"):format(bounds(kind, " characters"), characters)
    end
  end
  return nil, value
end

local function write_integer(value, kind)
  if type(value) ~= "number" or value % 1 ~= 0 then
    return "must be an integer, got " .. shown(value)
  elseif is_outside(value, kind) then
    return ("must be %s, got %.14g"):format(bounds(kind, ""), value)
  end
  return nil, value
end

local function write_time(value)
  if type(value) ~= "number" or value ~= value or value < 0 or value == math.huge then
    return "must be a time in seconds since 1970, got " .. shown(value)
  elseif iso8601.is_too_late(value) then
    return ("must be a time in seconds since 1970, not milliseconds, got %.14g"):format(value)
  end
  return nil, value
end

local function write_blob(value, kind)
  if type(value) ~= "string" then
    return "must be a string of bytes, got " .. shown(value)
  elseif is_outside(#value, kind) then
    return ("must hold %s, got %d"):format(bounds(kind, " bytes"), #value)
  end
  return nil, codec.base64_encode(value)
end

local function write_switch(value)
  if type(value) ~= "boolean" then
    return "must be true or false, got " .. shown(value)
  end
  return nil, value
end

local function write_list(value, kind, path)
  if type(value) ~= "table" then
    return "must be a list, got " .. shown(value), nil, path
  elseif is_outside(#value, { least = math.max(1, kind.least), most = kind.most }) then
    return ("must hold %s, got %d"):format(bounds({ least = math.max(1, kind.least), most = kind.most }, " elements"),
      #value), nil, path
  end
  local list, item = {}, M.type(kind.item)
  for i = 1, #value do
    local problem, written, where = write(value[i], item, ("%s[%d]"):format(path, i))
    if problem then
      return problem, nil, where
    end
    list[i] = written
  end
  return nil, list
end

local function write_map(value, kind, path)
  if type(value) ~= "table" then
    return "must be a table of texts by text, got " .. shown(value), nil, path
  end
  local map, count = {}, 0
  for key, item in pairs(value) do
    local problem = write_text(key, M.type(kind.key))
    if problem then
      return "has a key that " .. problem, nil, path
    end
    local written, where
    problem, written, where = write(item, M.type(kind.item), ("%s.%s"):format(path, key))
    if problem then
      return problem, nil, where
    end
    map[key], count = written, count + 1
  end
  if is_outside(count, kind) then
    return ("must hold %s, got %d"):format(bounds(kind, " entries"), count), nil, path
  end
  return nil, map
end

local function unknown(name, members)
  local names = {}
  for _, member in ipairs(members) do
    names[#names + 1] = member.required and member.name or nil
  end
  for _, member in ipairs(members) do
    names[#names + 1] = not member.required and member.name or nil
  end
  local near = type(name) == "string" and suggest.of(name, names)
  if near then
    return ("is not known; did you mean %s?"):format(near)
  end
  return #names > 0 and "is not known; known are " .. table.concat(names, ", ") or "is not known: there are none"
end

local function join(path, name)
  return path == "" and tostring(name) or ("%s.%s"):format(path, tostring(name))
end

local function write_structure(value, members, path)
  if type(value) ~= "table" then
    return "must be a table, got " .. shown(value), nil, path
  end
  for name in pairs(value) do
    if not members[name] then
      return unknown(name, members), nil, join(path, name)
    end
  end
  local structure = {}
  for _, member in ipairs(members) do
    local member_value = value[member.name]
    if member_value ~= nil then
      local problem, written, where = write(member_value, M.type(member.type), join(path, member.name))
      if problem then
        return problem, nil, where
      end
      structure[member.name] = written
    elseif member.required then
      return "is missing", nil, join(path, member.name)
    end
  end
  return nil, structure
end

local WRITERS = {
  text = write_text, integer = write_integer, time = write_time, blob = write_blob, boolean = write_switch,
  list = write_list, map = write_map,
}

-- Returns the problem, or nil and the value to send; third, the path of the problem.
function write(value, kind, path)
  if kind.kind == "structure" then
    return write_structure(value, kind.members, path)
  end
  local problem, written, where = WRITERS[kind.kind](value, kind, path)
  return problem, written, where or path
end

---Checks a request and converts it for JSON.
---@param operation kinesis.operation
---@param params table
---@return table|nil request
---@return string|nil problem names the member and its bound
function M.request(operation, params)
  local members = M.members(operation.request)
  local problem, written, path = write_structure(params, members, "")
  if type(params) == "string" and members.StreamName then
    problem = ("%s; did you mean {StreamName = %s}?"):format(problem, shown(params))
  end
  if problem then
    return nil, (path == "" and "params" or path) .. " " .. problem
  end
  return written
end

-- ---- answers ----

local read

local function read_all(values, item)
  for key, value in pairs(values) do
    values[key] = read(value, item)
  end
  return values
end

-- Converts in place. Values of unexpected types stay as they are.
function read(value, kind)
  if kind.kind == "blob" and type(value) == "string" then
    return codec.base64_decode(value) or value
  elseif type(value) ~= "table" then
    return value
  elseif kind.kind == "structure" then
    for _, member in ipairs(kind.members) do
      local member_value = value[member.name]
      if member_value ~= nil then
        value[member.name] = read(member_value, M.type(member.type))
      end
    end
  elseif kind.kind == "list" then
    return read_all(value, M.type(kind.item))
  end
  return value
end

---Decodes the blobs of an answer, in place.
---@param operation kinesis.operation
---@param answer table decoded from JSON, without nulls
---@return table answer
function M.answer(operation, answer)
  return read(answer, { kind = "structure", members = M.members(operation.answer) })
end

return M
