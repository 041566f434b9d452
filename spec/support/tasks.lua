-- kinesis.run with a limit of 10 seconds: a task that is never resumed fails the spec instead of blocking it.
local core = require "kinesis.core"
local kinesis = require "kinesis"

return function(...)
  local tasks, left = {}, select("#", ...)
  for i = 1, left do
    local f = select(i, ...)
    tasks[i] = function()
      f()
      left = left - 1
    end
  end
  tasks[#tasks + 1] = function()
    local deadline = core.now() + 10
    while left > 0 do
      assert(core.now() < deadline, "a task was never woken")
      kinesis.sleep(0.02)
    end
  end
  kinesis.run((table.unpack or unpack)(tasks))
end
