-- An alarm: posts to a URL when an event is too frequent in ten seconds; once, until it is below the threshold again.
local board = require "board"
local cjson = require "cjson.safe"

local M = {}

local URL = os.getenv "CLICKS_ALARM_URL"
local ABOVE = tonumber(os.getenv "CLICKS_ALARM_ABOVE") or 1000
local EVENT = os.getenv "CLICKS_ALARM_EVENT" or "error"
local SECONDS = 10
local HEAD = "POST %s HTTP/1.0\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"

local posted = false

-- Sends a POST through a cosocket. Returns whether the answer is a success.
local function post(body)
  local name, port, path = URL:match "^http://([^:/]+):?(%d*)(.*)$"
  local socket = ngx.socket.tcp()
  socket:settimeout(3000)
  local good, why = socket:connect(name, tonumber(port) or 80)
  if good then
    good, why = socket:send(HEAD:format(path == "" and "/" or path, name, #body) .. body)
  end
  local status = good and socket:receive "*l"
  socket:close()
  if status and status:find "^HTTP/1%.%d 2" then
    return true
  end
  ngx.log(ngx.WARN, "the alarm could not be posted: ", why or status or "no answer")
  return false
end

local function check(premature)
  local count = board.count_of(EVENT, SECONDS)
  if premature or count <= ABOVE then
    posted = posted and count > ABOVE
  elseif not posted then
    posted = true -- the next check may run while this one posts
    posted = post(cjson.encode { event = EVENT, count = count, seconds = SECONDS, above = ABOVE }) -- or next time
  end
end

function M.watch()
  if URL and ngx.worker.id() == 0 then
    assert(URL:find "^http://", "CLICKS_ALARM_URL must begin with http://")
    board.keep(EVENT)
    ngx.timer.every(1, check)
  end
end

return M
