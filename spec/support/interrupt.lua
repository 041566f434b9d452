--- Throws an error into Lua at a chosen VM instruction, as Ctrl-C at a prompt and the count hooks of sandboxes do.
local core = require "kinesis.core"

local M = { ERROR = "interrupted!" }

local jit = rawget(_G, "jit")
if jit then
  jit.off() -- compiled code calls no hooks
end

--- Runs f and raises at its n-th instruction, also in a coroutine that it makes. `only_here`: counts this coroutine's
--- alone. Returns whether f came to n instructions.
function M.at(n, f, only_here, told)
  local left, here = n, coroutine.running()
  local function hook()
    if only_here and coroutine.running() ~= here then
      return
    end
    left = left - 1
    if left == 0 then
      if told then told(debug.traceback()) end
      error(M.ERROR, 0)
    end
  end
  pcall(function()
    debug.sethook(hook, "", 1)
    f()
    debug.sethook()
  end)
  debug.sethook()
  return left <= 0
end

--- How many instructions f takes. What waits takes more or fewer each time.
function M.count(f, only_here)
  local most = 1e9
  local left, here = most, coroutine.running()
  debug.sethook(function()
    if not only_here or coroutine.running() == here then
      left = left - 1
    end
  end, "", 1)
  local good, err = pcall(f)
  debug.sethook()
  assert(good, err)
  return most - left
end

--- Runs f, and raises when it takes longer.
function M.within(seconds, f)
  local deadline = core.now() + seconds
  debug.sethook(function()
    if core.now() > deadline then
      debug.sethook()
      error(("it hangs: not over after %d s"):format(seconds), 2)
    end
  end, "", 10)
  local good, err = pcall(f)
  debug.sethook()
  if not good then
    error(err, 0)
  end
end

--- The instructions at which a call of `total` instructions is broken: all of them, or `most` spread over it with
--- another offset at each run. SPEC_FULL=1: all, always.
function M.places(total, most)
  local stride = (os.getenv "SPEC_FULL" or not most or total <= most) and 1 or math.ceil(total / most)
  local first = stride == 1 and 1 or 1 + math.floor(core.now() * 1e6) % stride
  local n = first - stride
  return function()
    n = n + stride
    return n <= total and n or nil
  end
end

return M
