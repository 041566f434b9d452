-- A busted helper that makes the garbage collector run all the time, in small
-- steps, so that a value that C code does not anchor is collected within a few
-- dozen allocations. With AGGRESSIVE_GC=full every allocation check runs a full
-- collection, which is too slow for more than one spec file.
local full = os.getenv("AGGRESSIVE_GC") == "full"

collectgarbage("setpause", 0)
if _VERSION == "Lua 5.4" then
  -- 0 would keep the current value. The step is 2^n bytes; above 62 it is the whole heap.
  collectgarbage("incremental", 0, 1000, full and 63 or 8)
  collectgarbage("setpause", 0)
else
  -- in LuaJIT a multiplier of 0 makes each step a full collection
  collectgarbage("setstepmul", full and 0 or 1000)
end

local busted = require "busted"
busted.subscribe({ "test", "end" }, function()
  collectgarbage()
  return nil, true
end)
