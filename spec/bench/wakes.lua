-- Measures how soon a host resumes a coroutine after the engine's wake: the adapters of wait/, with a thread in the
-- place of the engine that writes a wake every few milliseconds. The time counts from its write.
local M = {}

local ROUNDS, PAUSE = 2000, 0.0002

--- As a adapter wants a client.
function M.client()
  return {
    core = require("wakes_thread").open(PAUSE), producers = {}, arrived = {},
    leave = function() return 0 end, has_open_records = function() return false end,
  }
end

--- poll() itself, by LuaJIT's ffi: as soon as this machine can.
function M.bare_ready(client)
  local ffi = require "ffi"
  pcall(ffi.cdef,
    "struct bare_pollfd { int fd; short events, revents; }; int poll(struct bare_pollfd *, unsigned long, int);")
  local pollfd = ffi.new("struct bare_pollfd[1]", { { client.core:fd(), 1, 0 } })
  while client.core:drain(client.inbox.ready) == 0 do
    if client.core:arm() then
      ffi.C.poll(pollfd, 1, 1000)
    end
    client.core:clear()
  end
end

--- In a coroutine of the host; gives p50 and p99 in microseconds.
function M.measure(client, ready)
  local delays = {}
  for i = 1, ROUNDS do
    ready(client, 1)
    delays[i] = client.core:late() * 1e6
  end
  client.core:close()
  table.sort(delays)
  return delays[ROUNDS / 2], delays[ROUNDS * 99 / 100]
end

function M.line(host, p50, p99)
  return ("woken in %-12s %5.1f us p50, %5.1f us p99"):format(host, p50, p99)
end

return M
