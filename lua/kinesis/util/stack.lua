-- What runs in a coroutine, seen from outside. An error thrown into Lua (Ctrl-C at a prompt, a debug hook) can end a
-- function at any instruction, and a host can drop a coroutine that waits; then a flag that says "running" stays set.
-- The stack shows what is true.

local M = {}

---@return thread|"main" LuaJIT returns nil in the main coroutine
function M.current()
  return coroutine.running() or "main"
end

---Whether a function has been called in a coroutine and has not returned. LuaJIT hides the stack of its main
---coroutine from others; the function then counts as called.
---@param task thread|"main" as M.current returned it
---@param f function not a caller by tail call
---@return boolean
function M.holds(task, f)
  local here = task == M.current()
  if not here and (task == "main" or coroutine.status(task) == "dead") then
    return task == "main"
  end
  local level = 0
  while true do
    local info
    if here then
      info = debug.getinfo(level + 1, "f")
    else
      info = debug.getinfo(task, level, "f")
    end
    if not info or info.func == f then
      return info ~= nil
    end
    level = level + 1
  end
end

return M
