--- What nobody asked for and somebody should know: a line on stderr, in nginx in its error log, at most one a minute
--- for each key in the whole process.
local core = require "kinesis.core"

local M = {}

--- Prints a line. In every phase of every host; it waits for nothing.
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

--- Prints a line, unless one of the same key was printed less than a minute ago.
---@param key string what is told of
---@param format string
---@param ... any
function M.tell(key, format, ...)
  if core.notice_due(key) then
    M.print(format, ...)
  end
end

return M
