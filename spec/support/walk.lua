--- Every string that can be reached from a value by `pairs`, through metatables too, and as its text.
local M = {}

---@param root any
---@param see fun(text: string, path: string)
function M.strings(root, see)
  local seen, todo = {}, { { root, "" } }
  local function visit(value, path)
    if type(value) == "string" then
      see(value, path)
    elseif value ~= nil and not seen[value] and (type(value) == "table" or type(value) == "userdata") then
      seen[value] = true
      todo[#todo + 1] = { value, path }
    end
  end
  visit(root, "")
  while #todo > 0 do
    local value, path = (table.unpack or unpack)(table.remove(todo))
    visit(debug.getmetatable(value), path .. "<meta>")
    local good, text = pcall(tostring, value)
    see(good and text or "", path .. "<text>")
    if type(value) == "table" then
      for key, member in next, value do
        visit(key, path .. "<key>")
        visit(member, path .. "." .. tostring(key))
      end
    end
  end
end

return M
