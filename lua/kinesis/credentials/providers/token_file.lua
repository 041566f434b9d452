-- Reads a token from a file at each use, since other programs replace the file.

local M = {}

---@param context kinesis.credentials.context
---@param path string
---@return string|nil token without the line end of its file
---@return string|nil problem
function M.read(context, path)
  local text, why = context.read_file(path)
  if not text then
    return nil, ("cannot read the token file %s: %s"):format(path, tostring(why))
  end
  local token = text:gsub("%s+$", "")
  if token == "" then
    return nil, ("the token file %s is empty"):format(path)
  end
  if token:find("%c") then
    return nil, ("the token in %s holds a line break or another control character"):format(path)
  end
  return token
end

return M
