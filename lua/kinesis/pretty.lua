--- How results, records and shards look at a prompt. The fields themselves stay plain tables: `pairs`
--- and cjson never see any of this.
local core = require "kinesis.core"

local M = {}

local LONG = 120

local function quote(text)
  local shown = #text > LONG and text:sub(1, LONG) or text
  shown = ("%q"):format(shown):gsub("\\\n", "\\n"):gsub("\r", "\\r")
  shown = shown:gsub("[%z\1-\31\127-\255]", function(c)
    return ("\\x%02x"):format(c:byte())
  end)
  return #text > LONG and ("%s… (%d bytes)"):format(shown, #text) or shown
end

local function show(value, depth)
  if type(value) == "string" then
    return quote(value)
  elseif type(value) ~= "table" then
    return tostring(value)
  elseif depth > 4 then
    return "{…}"
  end
  local parts, listed = {}, #value
  for i = 1, listed do
    parts[#parts + 1] = show(value[i], depth + 1)
  end
  local names = {}
  for name in pairs(value) do
    if not (type(name) == "number" and name >= 1 and name <= listed) then
      names[#names + 1] = name
    end
  end
  table.sort(names, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, name in ipairs(names) do
    parts[#parts + 1] = ("%s = %s"):format(tostring(name), show(value[name], depth + 1))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

--- One line for any value.
---@param value any
---@return string
function M.line(value)
  return show(value, 1)
end

--- A metatable by which a table prints itself; `name` is what type errors call it.
function M.meta(name, index)
  return { __name = name, __tostring = M.line, __index = index }
end

--- Results of put_many: as a list they would fill the screen.
M.results_meta = {
  __name = "kinesis.results",
  __tostring = function(results)
    local failed, first = 0, nil
    for _, result in ipairs(results) do
      if result.code then
        failed = failed + 1
        first = first or result
      end
    end
    local line = ("%d results, %d failed"):format(#results, failed)
    return first and line .. ", the first: " .. M.line(first) or line
  end,
}

for name, meta in pairs { ["kinesis.record"] = core.record_meta, ["kinesis.result"] = core.result_meta } do
  meta.__name = name
  meta.__tostring = M.line
end

return M
