-- Reads and writes ISO 8601 times, such as 2026-01-31T12:00:00Z.

local ascii = require "kinesis.util.ascii"

local M = {}

-- Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that the leap day comes last.
local function days_since_epoch(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  return 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

---@return integer|nil seconds east of Greenwich
local function read_zone(zone)
  if zone == "z" or zone == "utc" then -- the latter in token caches of old command lines
    return 0
  end
  local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d%d)$")
  return sign and (hours * 3600 + minutes * 60) * (sign == "-" and -1 or 1)
end

-- The parts of a text, or nil: six numbers as text, the fraction of a second with its point, and the zone.
local function split(text)
  return text:match("^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(%.?%d*)(.+)$")
end

---Reads a time with its zone: Z, or an offset such as +00:00. A fraction of a second is dropped. Python writes a space
---instead of the T.
---@param text string
---@return integer|nil seconds since 1970; nil when it is no such time
function M.read(text)
  local year, month, day, hour, minute, second, _, zone = split(text)
  local offset = year and read_zone(ascii.lower(zone))
  if not offset then
    return nil
  end
  month, day, hour = tonumber(month), tonumber(day), tonumber(hour)
  if month < 1 or month > 12 or day < 1 or day > 31 or hour > 24 then
    return nil
  end
  local days = days_since_epoch(tonumber(year), month, day)
  return math.floor(days * 86400 + hour * 3600 + minute * 60 + second - offset)
end

---Reads a time as `read` does, but with the milliseconds of its fraction, and only one that the calendar and the clock
---have.
---@param text string
---@return number|nil seconds since 1970; nil when it is no such time
function M.read_exactly(text)
  local seconds = M.read(text)
  local year, month, day, hour, minute, second, fraction, zone = split(text)
  local offset = seconds and read_zone(ascii.lower(zone))
  local shown = seconds and M.write(seconds + offset)
  if not shown or fraction == "." or math.abs(offset) >= 86400
    or shown:sub(1, 19) ~= ("%s-%s-%sT%s:%s:%s"):format(year, month, day, hour, minute, second) then
    return nil
  end
  local millis = tonumber((fraction:sub(2, 4) .. "000"):sub(1, 3))
  return (seconds * 1000 + millis) / 1000
end

---Whether a time is beyond the year 9999, and so probably in milliseconds. 9999-12-31T23:59:59Z often stands for
---"never".
---@param seconds number since 1970
---@return boolean
function M.is_too_late(seconds)
  return seconds >= 253402300800
end

---@param seconds number since 1970
---@return string
function M.write(seconds)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(seconds)) --[[@as string]]
end

return M
