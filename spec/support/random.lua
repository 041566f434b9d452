--- Pseudo-random integers, the same on every Lua.
local M = {}

--- Returns random(n), which is from 1 to n.
function M.new(seed)
  return function(sides)
    seed = seed * 16807 % 2147483647
    return math.floor(seed / 65536) % sides + 1
  end
end

--- The seed of the n-th random part of a spec: the same at every run, but for SPEC_FULL.
function M.seed(n)
  return (os.getenv "SPEC_FULL" and os.time() or 2026) * 100 + n
end

return M
