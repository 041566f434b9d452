-- How the services beside the specs and the demo end.
-- Flavours: lua5.4
local fresh = require "support.fresh"

local SCRIPT = [[
  cd "$ROOT" && source spec/support/services.sh
  setsid bash -c 'trap "" TERM; sleep 60 & echo $! >"$0"; wait' "$REPORT/child" &
  pid=$!
  wait_for $pid 10 stubborn test -s "$REPORT/child"
  child=$(cat "$REPORT/child")
  end_process $pid 0
  for _ in {1..100}; do alive $child || break; sleep 0.05; done
  if alive $child; then echo left; kill -KILL $child; fi
]]

it("a service that must be killed takes its children along, as nginx its busy workers", function()
  local output, status = fresh.spawn('bash -c "$SCRIPT"', { SCRIPT = SCRIPT }):wait()
  assert.equal(0, status, output)
  assert.equal("", output)
end)
