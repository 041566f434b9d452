--- Warnings of the library: lines on stderr, or in nginx's error log.
local core = require "kinesis.core"

local M = {}

--- Prints a line. Works in every phase of every host; never waits.
---@param format string
---@param ... any
function M.print(format, ...)
  local text, ngx = format:format(...), rawget(_G, "ngx")
  if ngx and ngx.log then
    ngx.log(ngx.ERR, "kinesis: ", text)
  else
    io.stderr:write("kinesis: ", text, "\n")
  end
end

--- Prints a line, unless this process printed one of the same key less than a minute ago.
---@param key string identifies the subject
---@param format string
---@param ... any
function M.print_rarely(key, format, ...)
  if core.notice_due(key) then
    M.print(format, ...)
  end
end

return M
