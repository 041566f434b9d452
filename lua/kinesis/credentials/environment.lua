-- Keys from the environment variables that every AWS tool knows.

local variable = require("kinesis.config.profile").variable

local M = { name = "environment" }

-- Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that the leap day comes last.
local function days_since_epoch(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  return 365 * year + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

---Reads an ISO 8601 time, such as 2026-01-31T12:00:00Z or with an offset such as +00:00.
---@param text string
---@return integer|nil seconds since 1970
local function parse_time(text)
  local year, month, day, hour, minute, second, zone =
    text:match("^(%d%d%d%d)-(%d%d)-(%d%d)[Tt](%d%d):(%d%d):(%d%d)%.?%d*(.+)$")
  if not year then
    return nil
  end
  local offset = 0
  if zone:lower() ~= "z" then
    local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d%d)$")
    if not sign then
      return nil
    end
    offset = (hours * 3600 + minutes * 60) * (sign == "-" and -1 or 1)
  end
  local days = days_since_epoch(tonumber(year), tonumber(month), tonumber(day))
  return math.floor(days * 86400 + hour * 3600 + minute * 60 + second - offset)
end

---@param context kinesis.credentials.context
---@return kinesis.FoundKeys|nil keys
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch(context)
  local id = variable(context.env, "AWS_ACCESS_KEY_ID")
  local secret = variable(context.env, "AWS_SECRET_ACCESS_KEY")
  if not id and not secret then
    return nil, "absent", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are unset"
  end
  if not id or not secret then
    return nil, "broken", ("%s is set, but %s is not"):format(
      id and "AWS_ACCESS_KEY_ID" or "AWS_SECRET_ACCESS_KEY", id and "AWS_SECRET_ACCESS_KEY" or "AWS_ACCESS_KEY_ID")
  end
  local expiration
  local expires = variable(context.env, "AWS_CREDENTIAL_EXPIRATION")
  if expires then
    expiration = parse_time(expires)
    if not expiration then
      return nil, "broken", "AWS_CREDENTIAL_EXPIRATION is no ISO 8601 time, such as 2026-01-31T12:00:00Z"
    end
  end
  return {
    access_key_id = id,
    secret_access_key = secret,
    session_token = variable(context.env, "AWS_SESSION_TOKEN"),
    account_id = variable(context.env, "AWS_ACCOUNT_ID"),
    expiration = expiration,
  }
end

return M
