-- Memory that runs out: scenarios in which each allocation of the core fails in turn, once.
local assert = require "luassert"
local stepping = require "support.stepping"
local torture = assert(package.loadlib(stepping.library, "luaopen_torture"))()

local M = {}

--- For after_each.
function M.finish()
  torture.after()
  stepping.close_all()
end

--- An error that comes from a failed allocation says so, and nothing else.
function M.check_code(code)
  for _, wrong in ipairs { "Connection", "BadAnswer", "NoCredentials", "Timeout" } do
    assert.are_not.equal(wrong, code)
  end
end

--- Runs the scenario with its first, second, … allocation failing, until it succeeds with none failing.
--- scenario() returns an outcome for check(outcome), or raises when it cannot start.
function M.fail_each(scenario, check)
  local checked = 0
  for good = 0, 1000 do
    torture.after(good)
    local began, outcome = pcall(scenario)
    local failed = torture.after()
    if began then
      check(outcome, failed)
      checked = checked + 1
    else
      assert.is_true(failed, outcome)
      assert.matches("memory", tostring(outcome))
    end
    stepping.close_all()
    if not failed then
      assert.is_true(good > 3 and checked > 1)
      return
    end
  end
  error "the scenario never succeeds"
end

return M
