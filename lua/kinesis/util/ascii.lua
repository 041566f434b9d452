-- Text of protocols and of AWS's files, in ASCII. Lua 5.4 asks the locale of the process for letters: in a Turkish one
-- ("I"):lower() is "I", and in one of 8 bits "%w" is true of letters that no URL holds. Ranges such as [A-Z] compare
-- bytes.

local M = {}

local lower, upper = {}, {}
for i = 0, 25 do
  local small, capital = string.char(97 + i), string.char(65 + i)
  lower[capital], upper[small] = small, capital
end

---@param text string
---@return string
function M.lower(text)
  return (text:gsub("[A-Z]", lower))
end

---@param text string
---@return string
function M.upper(text)
  return (text:gsub("[a-z]", upper))
end

return M
