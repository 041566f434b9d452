-- Reads any text as a shared config file: all values are strings, each line that cannot be read is reported for its own
-- section with file and line, and a section behind the text is read as if it stood alone.
local ini = require "kinesis.config.ini"

local BEHIND = "behind-the-text"

local function check_value(value)
  assert(type(value) == "string" or type(value) == "table")
  if type(value) == "table" then
    for name, inner in pairs(value) do
      assert(type(name) == "string" and type(inner) == "string")
    end
  end
end

local function check(text)
  local sections, problems = ini.parse(text, "config")
  for name, problem in pairs(problems) do
    assert(problem:find "^config:%d+: %a" and (name == "" or sections[name]))
  end
  for name, section in pairs(sections) do
    assert(type(name) == "string" and name ~= "")
    for key, value in pairs(section) do
      assert(type(key) == "string" and key ~= "" and key == key:lower())
      check_value(value)
    end
  end
  return sections, problems
end

return function(text)
  check(text)
  if not text:find(BEHIND, 1, true) then
    local sections, problems = check(text .. "\n[" .. BEHIND .. "] text\nk: v = w\n")
    assert(sections[BEHIND].k == "v = w" and not problems[BEHIND])
  end
end
