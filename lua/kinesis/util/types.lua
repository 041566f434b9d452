-- What a value is, for the checks of options.

local M = {}

local LARGEST_INTEGER = 9007199254740992 -- 2^53: the largest exact integer of LuaJIT and 5.1

---The name of a value's type, for messages.
---@return string
function M.name(value)
  local name = type(value)
  return name == "nil" and "nothing" or name
end

---@return boolean
function M.is_finite(value)
  return type(value) == "number" and value == value and value ~= math.huge and value ~= -math.huge
end

---Whether a value is an integer that every Lua holds exactly.
---@return boolean
function M.is_integer(value)
  return M.is_finite(value) and value % 1 == 0 and value >= -LARGEST_INTEGER and value <= LARGEST_INTEGER
end

return M
