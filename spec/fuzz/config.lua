-- Reads any text as a shared config file: it is refused with file and line, or all its values are strings.
local ini = require "kinesis.config.ini"

local function check_value(value)
  assert(type(value) == "string" or type(value) == "table")
  if type(value) == "table" then
    for name, inner in pairs(value) do
      assert(type(name) == "string" and type(inner) == "string")
    end
  end
end

return function(text)
  local sections, problem = ini.parse(text, "config")
  if not sections then
    assert(problem:find "^config:%d+: %a")
    return
  end
  for name, section in pairs(sections) do
    assert(type(name) == "string" and name ~= "")
    for key, value in pairs(section) do
      assert(type(key) == "string" and key ~= "" and key == key:lower())
      check_value(value)
    end
  end
end
