-- Times as users write them.

local iso8601 = require "kinesis.util.iso8601"
local types = require "kinesis.util.types"

--- A time: seconds since 1970; ISO 8601 with a zone, to the millisecond, such as "2026-11-27T12:00:00Z" or
--- "2026-11-27T13:00:00.250+01:00"; or a time before now, such as "-90s", "-15m", "-1h" or "-2d".
---@alias kinesis.Time number|string

local M = {}

M.FORMS = [[known forms of a time: seconds since 1970, "2026-11-27T12:00:00Z" (ISO 8601 with a zone), or "-90s", ]]
  .. [["-15m", "-1h", "-2d" before now]]

local UNITS = { s = 1, m = 60, h = 3600, d = 86400 } -- seconds

-- The seconds of "-90s"; nil when it is no such text.
local function read_span(text)
  local digits, unit = text:match "^%-(%d+)([smhd])$"
  return digits and #digits <= 14 and tonumber(digits) * UNITS[unit] or nil -- more overflow an integer
end

---The time in seconds since 1970, of a value that `problem` has passed.
---@param value kinesis.Time
---@param now number seconds since 1970
---@return number seconds
function M.seconds(value, now)
  if type(value) == "number" then
    return value
  end
  local span = read_span(value)
  return span and now - span or iso8601.read_exactly(value) --[[@as number]]
end

local function number_problem(seconds)
  if not types.is_finite(seconds) then
    return "is no number of seconds"
  elseif seconds < 0 then
    return "is a time before 1970"
  end
  return iso8601.is_too_late(seconds) and "is a time beyond the year 9999: seconds since 1970, not milliseconds" or nil
end

---What is wrong with a value as a time; nil: nothing.
---@param value any
---@return string|nil problem
function M.problem(value)
  if type(value) == "number" then
    return number_problem(value)
  elseif type(value) ~= "string" then
    return ("is a %s; %s"):format(type(value), M.FORMS)
  end
  local span = read_span(value)
  local seconds = span and os.time() - span or iso8601.read_exactly(value)
  if seconds then
    return number_problem(seconds)
  elseif iso8601.read_exactly(value .. "Z") then
    return ("is '%s', which has no time zone; add Z for UTC"):format(value)
  end
  return ("is '%s', which is no time; %s"):format(value, M.FORMS)
end

---Whether a text is meant as a time.
---@param text string
---@return boolean
function M.is_meant(text)
  return text:find "^%s*[%d+-]" ~= nil
end

return M
