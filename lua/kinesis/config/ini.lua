-- Parses the INI dialect of the shared AWS files (~/.aws/config, ~/.aws/credentials).
-- Messages never quote the file: a malformed line may be a secret.

local ascii = require "kinesis.util.ascii"

local M = {}

local function trim(s)
  return (s:match "%S.*" or ""):match ".*%S" or ""
end

-- A comment begins at a '#' or ';' which follows whitespace; "value;x" is all value.
local function without_comment(s)
  local at = s:find("%s[#;]")
  return trim(at and s:sub(1, at - 1) or s)
end

local function unquoted(s)
  return s:match('^"%s*(.-)%s*"$') or s:match("^'%s*(.-)%s*'$") or s
end

-- Normalizes a section name: `profile  "x"` and `profile x` are the same section.
local function section_name(inside)
  local name = unquoted(trim(inside))
  local kind, rest = name:match("^(%S+)%s+(.+)$")
  return kind and kind .. " " .. unquoted(rest) or name
end

-- The `]` that ends a section name: the first one outside quotes with nothing but a comment behind it, else the last
-- one; what stands behind that is ignored, as botocore does.
local function find_end(line)
  local quotes, apostrophes, last = 0, 0, nil
  local at = line:find("]", 1, true)
  while at do
    local before = line:sub((last or 0) + 1, at)
    quotes, apostrophes = quotes + select(2, before:gsub('"', "")), apostrophes + select(2, before:gsub("'", ""))
    last = at
    if quotes % 2 == 0 and apostrophes % 2 == 0 and line:find("^%s*[#;]", at + 1) then
      break
    end
    at = line:find("]", at + 1, true)
  end
  return last
end

---@param line string begins with "[" or with whitespace and "["
---@return string name "" when there is none
---@return string|nil problem
local function read_header(line)
  local start, close = line:find("[", 1, true), find_end(line)
  local inside = close and line:sub(start + 1, close - 1) or without_comment(line:sub(start + 1))
  local name = section_name(inside)
  if name == "" then
    return name, "section has no name"
  end
  return name, not close and "section name has no closing ']'" or nil
end

---@param line string
---@param separators string what may stand between name and value
---@return string|nil key
---@return string value_or_problem
local function read_pair(line, separators)
  local key, value = line:match("^([^" .. separators .. "]*)[" .. separators .. "](.*)$")
  if not key then
    return nil, "expected 'key = value', found no '='"
  end
  key = ascii.lower(trim(key))
  if key == "" then
    return nil, "found a value without a key before its '='"
  end
  return key, without_comment(value)
end

-- Reads a line that is indented deeper than its key: a sub-key when the key has no value, else another line of the
-- value. The depth is relative to the key, so that a file that is indented as a whole can be read.
---@return string|nil problem
local function read_indented(line, section, key)
  local value = section[key]
  if type(value) == "string" and value ~= "" then
    section[key] = value .. "\n" .. trim(line)
    return nil
  end
  local sub_key, sub_value = read_pair(line, "=")
  if not sub_key then
    return sub_value
  end
  if type(value) ~= "table" then
    value = {}
    section[key] = value
  end
  value[sub_key] = sub_value
end

-- Starts a section. Lines before the first one, and those of a section without a name, belong to "".
local function enter(state, name)
  state.sections[name] = state.sections[name] or {}
  state.name, state.section, state.key = name, state.sections[name], nil
end

-- Reads a line. `state` holds the `sections` so far, the `name` of the current `section`, its current `key`, and the
-- `indent` of that key.
---@return string|nil problem
local function read_line(state, line)
  if line:find("^%s*$") or line:find("^%s*[#;]") then
    return nil
  end
  local indent = #line:match("^%s*")
  if state.key and indent > state.indent then
    return read_indented(line, state.section, state.key)
  end
  if line:find("^%s*%[") then
    local name, problem = read_header(line)
    enter(state, name)
    return problem
  end
  if not state.name then
    enter(state, "")
    return "expected a '[section]' before the first key"
  end
  local key, value = read_pair(line, "=:")
  if not key then
    return value
  end
  state.section[key] = value
  state.key, state.indent = key, indent
end

---Parses the text of a shared file. Sections of one name are merged, later keys win, keys are lower case. A line that
---cannot be read is reported for its section; the other sections are as good as ever.
---@param text string
---@param filename string for messages only
---@return table<string, table<string, string|table<string, string>>> sections
---@return table<string, string> problems by section, a message that names file and line; "": outside of all sections
function M.parse(text, filename)
  local state, problems = { sections = {} }, {}
  local number = 0
  text = text:gsub("^\239\187\191", "")
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    local problem = read_line(state, (line:gsub("\r$", "")))
    if problem then
      state.key = nil -- lines that are indented deeper do not belong to the key before
      problems[state.name] = problems[state.name] or ("%s:%d: %s"):format(filename, number, problem)
    end
  end
  state.sections[""] = nil
  return state.sections, problems
end

return M
