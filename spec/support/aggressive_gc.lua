-- A busted helper: the collector never rests. A cycle follows the last one
-- without a pause and runs in many small steps, so that whatever C forgot to
-- anchor is collected within a few dozen allocations. With AGGRESSIVE_GC=full
-- every allocation check is a whole collection: for one spec file, not for all.
local full = os.getenv("AGGRESSIVE_GC") == "full"

collectgarbage("setpause", 0)
if _VERSION == "Lua 5.4" then
  -- Zeros would mean "leave as it is". The step is 2^n bytes; above 62 it is the whole heap.
  collectgarbage("incremental", 0, 1000, full and 63 or 8)
  collectgarbage("setpause", 0)
else
  -- In LuaJIT a multiplier of 0 is a whole collection a step.
  collectgarbage("setstepmul", full and 0 or 1000)
end

local busted = require "busted"
busted.subscribe({ "test", "end" }, function()
  collectgarbage()
  return nil, true
end)
