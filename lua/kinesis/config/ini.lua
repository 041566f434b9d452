-- Parses the INI dialect of the shared AWS files (~/.aws/config, ~/.aws/credentials).
-- Messages never quote the file: a malformed line may be a secret.

local M = {}

local function trim(s)
  return (s:gsub("^%s+", ""):gsub("%s+$", ""))
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

---@param line string begins with "[" or with whitespace and "["
---@return string|nil name
---@return string|nil problem
local function read_header(line)
  local inside, after = line:match("^%s*%[([^%]]*)%](.*)$")
  if not inside then
    return nil, "section name has no closing ']'"
  end
  if not after:find("^%s*$") and not after:find("^%s*[#;]") then
    return nil, "unexpected text after the ']' of a section name"
  end
  local name = section_name(inside)
  if name == "" then
    return nil, "section has no name"
  end
  return name
end

---@return string|nil key
---@return string value_or_problem
local function read_pair(line)
  local key, value = line:match("^([^=]*)=(.*)$")
  if not key then
    return nil, "expected 'key = value', found no '='"
  end
  key = trim(key):lower()
  if key == "" then
    return nil, "found a value without a key before its '='"
  end
  return key, without_comment(value)
end

-- Reads a line that is indented deeper than its key: a sub-key when the key has no value, else another line of the
-- value. The depth is relative to the key, so that a file that is indented as a whole can be read.
local function read_indented(line, section, key)
  local value = section[key]
  if type(value) == "string" and value ~= "" then
    section[key] = value .. "\n" .. trim(line)
    return true
  end
  local sub_key, sub_value = read_pair(line)
  if not sub_key then
    return nil, sub_value
  end
  if type(value) ~= "table" then
    value = {}
    section[key] = value
  end
  value[sub_key] = sub_value
  return true
end

-- Reads a line. `state` holds the `sections` so far, the current `section` and `key`, and the `indent` of that key.
local function read_line(state, line)
  if line:find("^%s*$") or line:find("^%s*[#;]") then
    return true
  end
  local indent = #line:match("^%s*")
  if state.key and indent > state.indent then
    return read_indented(line, state.section, state.key)
  end
  if line:find("^%s*%[") then
    local name, problem = read_header(line)
    if not name then
      return nil, problem
    end
    state.sections[name] = state.sections[name] or {}
    state.section, state.key = state.sections[name], nil
    return true
  end
  if not state.section then
    return nil, "expected a '[section]' before the first key"
  end
  local key, value = read_pair(line)
  if not key then
    return nil, value
  end
  state.section[key] = value
  state.key, state.indent = key, indent
  return true
end

---Parses the text of a shared file. Sections of one name are merged, later keys win, keys are lower case.
---@param text string
---@param filename string for messages only
---@return table<string, table<string, string|table<string, string>>>|nil sections
---@return string|nil message names file and line
function M.parse(text, filename)
  local state = { sections = {} }
  local number = 0
  text = text:gsub("^\239\187\191", "")
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    local ok, problem = read_line(state, (line:gsub("\r$", "")))
    if not ok then
      return nil, ("%s:%d: %s"):format(filename, number, problem)
    end
  end
  return state.sections
end

return M
