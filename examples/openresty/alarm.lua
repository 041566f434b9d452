-- A threshold on a window: when an event comes too often in ten seconds, somebody is told, once, until it has calmed.
local board = require "board"
local cjson = require "cjson.safe"

local M = {}

local URL = os.getenv "CLICKS_ALARM_URL"
local ABOVE = tonumber(os.getenv "CLICKS_ALARM_ABOVE") or 1000
local EVENT = os.getenv "CLICKS_ALARM_EVENT" or "error"
local SECONDS = 10
local HEAD = "POST %s HTTP/1.0\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"

local told = false

-- A POST by nginx's own sockets. True when the other side has taken it.
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
  ngx.log(ngx.WARN, "the alarm could not be told: ", why or status or "no answer")
  return false
end

local function look(premature)
  local count = board.count_of(EVENT, SECONDS)
  if premature or count <= ABOVE then
    told = told and count > ABOVE
  elseif not told then
    told = true -- the next look may come while this one posts
    told = post(cjson.encode { event = EVENT, count = count, seconds = SECONDS, above = ABOVE }) -- if not, in a second
  end
end

function M.watch()
  if URL and ngx.worker.id() == 0 then
    assert(URL:find "^http://", "CLICKS_ALARM_URL must begin with http://")
    board.keep(EVENT)
    ngx.timer.every(1, look)
  end
end

return M
