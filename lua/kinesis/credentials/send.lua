-- Sends a request of a credentials provider, and retries transient failures after a pause.
local core = require "kinesis.core"

local ATTEMPTS = 3
local LONGEST = 600 -- bytes of a quoted text; the reason of an AccessDenied stands at its end
local TRANSIENT = { answered = true, Connection = true, OutOfMemory = true, Timeout = true }

local M = {}

---Formats text from an answer or a program for a message: one line, which ends in "…" when it is too long.
---@param text string
---@return string
function M.line(text)
  text = text:gsub("[%z\1-\32\127]+", " "):gsub("^ ", ""):gsub(" $", "")
  return core.clean(text, LONGEST)
end

-- Removes the path of a URL, which may be a secret: the path of a container's credentials is enough to fetch them.
local function without_path(message, url)
  local pattern = url:gsub("%W", "%%%0")
  return (message:gsub(pattern, function()
    return url:match("^%a+://[^/?#]*")
  end))
end

local function is_transient(answer, limits)
  return answer.status >= 500 or answer.status == 429 or (limits.transient ~= nil and limits.transient(answer))
end

---@class kinesis.credentials.request
---@field method string
---@field url string
---@field headers table<string, string>|nil
---@field body string|nil
---@field timeout number|nil seconds, for one attempt
---@field connect_timeout number|nil seconds
---@field delay number|nil seconds, before it is sent
---@field sign (fun(): table<string, string>)|nil returns headers with a fresh signature, for attempts after the first

---@class kinesis.credentials.limits
---@field attempts integer|nil default 3
---@field unanswered integer|nil attempts while no answer comes at all; default `attempts`
---@field transient nil|fun(answer: {status: integer, body: string}): boolean besides HTTP 5xx and 429

---Sends a request, up to three times.
---@param context kinesis.credentials.context
---@param request kinesis.credentials.request
---@param limits kinesis.credentials.limits|nil
---@return {status: integer, body: string}|nil answer
---@return string|nil why the last attempt failed, for a message
---@return "answered"|string|nil code "answered", or the error's, such as "Timeout"
function M.send(context, request, limits)
  limits = limits or {}
  local most = limits.attempts or ATTEMPTS
  local attempt = 0
  while true do
    local answer, err = context.request(request)
    if answer and not is_transient(answer, limits) then
      return answer
    end
    attempt = attempt + 1
    request.delay = attempt
    for name, value in pairs(request.sign and request.sign() or {}) do
      request.headers[name] = value
    end
    local code = answer and "answered" or err.code
    local limit = TRANSIENT[code] and (answer and most or limits.unanswered or most) or 1
    if attempt >= limit then
      local why = answer and ("HTTP %d"):format(answer.status) or M.line(without_path(err.message, request.url))
      return nil, attempt > 1 and ("%s, after %d attempts"):format(why, attempt) or why, code
    end
  end
end

return M
