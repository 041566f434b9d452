--- Waiting. One descriptor tells that a client has answers; how to wait for it is all that differs
--- between hosts, and lives in the twins beside this file: blocking, run, openresty.
---
--- A twin has `ready(client, id, deadline)`: come back when something has arrived for that handle, when
--- the deadline (seconds of core.now) has passed, or early; and `sleep(deadline)`.
local core = require "kinesis.core"
local blocking = require "kinesis.wait.blocking"
local run = require "kinesis.wait.run"
local waiters = require "kinesis.wait.waiters"

local M = {}

local openresty -- loaded where there is an ngx

local function host()
  if run.inside() then
    return run
  end
  local ngx = rawget(_G, "ngx")
  if ngx and ngx.timer then
    openresty = openresty or require "kinesis.wait.openresty"
    return openresty
  end
  return blocking
end

function M.ready(client, id, deadline)
  return host().ready(client, id, deadline)
end

--- Whether the caller may be kept waiting as a matter of course: in a plain script and in kinesis.run, but in no
--- host, whose handlers have better things to do.
function M.may_block()
  return host() ~= openresty or openresty == nil
end

--- Sleeps in the host's way.
function M.sleep(seconds)
  return host().sleep(core.now() + seconds)
end

--- Lets others of kinesis.run have their turn, if somebody is waiting for one.
function M.breathe()
  if run.inside() then
    run.breathe()
  end
end

--- Whoever waits for this handle, or for any of this client, looks again.
M.wake, M.wake_all = waiters.wake, waiters.wake_all

return M
