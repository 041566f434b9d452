--- The text of the library's tables at a prompt: metatables with __tostring, which `pairs` and cjson do not see.
local core = require "kinesis.core"

local M = {}

local LONG, WIDE, DEEP = 120, 110, 8 -- bytes of a string; columns of a line; tables in tables

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(c)
  return ESCAPES[c] or ("\\x%02x"):format(c:byte())
end

local function quote(text)
  local shown = '"' .. text:sub(1, LONG):gsub('[%c"\\\127-\255]', escape) .. '"'
  return #text > LONG and ("%s… (%d bytes)"):format(shown, #text) or shown
end

local function key_text(name)
  if type(name) == "string" then
    return name:find "^[A-Za-z_][A-Za-z0-9_]*$" and name or "[" .. quote(name) .. "]"
  end
  return "[" .. tostring(name) .. "]"
end

local function comes_before(a, b)
  if type(a) == "number" and type(b) == "number" then
    return a < b
  elseif type(a) ~= type(b) then
    return type(a) < type(b)
  end
  return tostring(a) < tostring(b)
end

-- The texts of a table's members in a stable order: the list, then the fields by name.
local function members_of(value, show, ...)
  local parts, listed = {}, #value
  for i = 1, listed do
    parts[i] = show(value[i], ...)
  end
  local names = {}
  for name in pairs(value) do
    if not (type(name) == "number" and name >= 1 and name <= listed and name % 1 == 0) then
      names[#names + 1] = name
    end
  end
  table.sort(names, comes_before)
  for _, name in ipairs(names) do
    parts[#parts + 1] = ("%s = %s"):format(key_text(name), show(value[name], ...))
  end
  return parts
end

-- An error has its own text, so its members are not shown.
local function has_members(value)
  return type(value) == "table" and getmetatable(value) ~= core.error_meta
end

local function on_one_line(value, depth)
  if type(value) == "string" then
    return quote(value)
  elseif not has_members(value) then
    return tostring(value)
  elseif next(value) == nil then
    return "{}"
  elseif depth > DEEP then
    return "{…}"
  end
  return "{ " .. table.concat(members_of(value, on_one_line, depth + 1), ", ") .. " }"
end

local function holds_tables(value)
  for _, member in pairs(value) do
    if has_members(member) then
      return true
    end
  end
  return false
end

-- One line where it fits or cannot be broken; else the members, as many on a line as fit.
local function laid_out(value, depth)
  local flat = on_one_line(value, depth)
  local indent = ("  "):rep(depth)
  if #flat + #indent <= WIDE or not has_members(value) or depth > DEEP or not holds_tables(value) then
    return flat
  end
  local lines, line = {}, nil
  for _, part in ipairs(members_of(value, laid_out, depth + 1)) do
    if line and not line:find "\n" and not part:find "\n" and #indent + #line + #part + 3 <= WIDE then
      line = line .. ", " .. part
    else
      lines[#lines + 1], line = line, part
    end
  end
  lines[#lines + 1] = line
  return "{\n" .. indent .. table.concat(lines, ",\n" .. indent) .. "\n" .. indent:sub(3) .. "}"
end

--- Any value as text: one line, or several for large tables in tables.
---@param value any
---@return string
function M.text(value)
  return laid_out(value, 1)
end

local function concatenate(a, b)
  local function text_of(value)
    return type(value) == "table" and tostring(value) or value
  end
  return text_of(a) .. text_of(b)
end

--- Adds __tostring and __concat to a metatable.
---@param meta table
---@param name string what type errors call them
---@param to_text? fun(value: any): string
---@return table meta
function M.equip(meta, name, to_text)
  meta.__name, meta.__tostring, meta.__concat = name, to_text or M.text, concatenate
  return meta
end

--- Makes a metatable with __tostring and __concat.
---@param name string what type errors call it
---@param index? table its methods
---@return table meta
function M.meta(name, index)
  return M.equip({ __index = index }, name)
end

--- Sets the metatable of a table and of all tables in it that have none.
---@generic T: table
---@param value T a tree
---@param meta table
---@return T value
function M.mark(value, meta)
  for _, member in pairs(value) do
    if type(member) == "table" and not getmetatable(member) then
      M.mark(member, meta)
    end
  end
  return getmetatable(value) and value or setmetatable(value, meta)
end

--- Of the results of operations and waits.
M.answer_meta = M.meta "kinesis.answer"

--- Of the results of put_many: a summary instead of a long list.
M.results_meta = M.equip({}, "kinesis.results", function(results)
  local failed, first = 0, nil
  for _, result in ipairs(results) do
    if result.code then
      failed = failed + 1
      first = first or result
    end
  end
  local line = ("%d results, %d failed"):format(#results, failed)
  return first and line .. ", the first: " .. M.text(first) or line
end)

--- Of lists of records, likewise.
M.records_meta = M.equip({}, "kinesis.records", function(records)
  local line = ("%d record%s"):format(#records, #records == 1 and "" or "s")
  return records[1] and line .. ", the first: " .. M.text(records[1]) or line
end)

M.equip(core.record_meta, "kinesis.record")
M.equip(core.result_meta, "kinesis.result")

return M
