--- Locales for child processes, compiled into the build's folder: a decimal comma, a decimal point of two bytes,
--- letters of one byte beyond ASCII, and Turkish, where "i" and "I" are not the same letter.
local fresh = require "support.fresh"

local M = {
  folder = os.getenv "ROOT" .. "/build/locales",
  comma = "de_DE.UTF-8", two_bytes = "ps_AF.UTF-8", one_byte = "de_DE.ISO-8859-1", turkish = "tr_TR.UTF-8",
}

--- Compiles those that are missing. Each is renamed into place, since several runs may do this at once.
function M.make()
  for _, name in ipairs { M.comma, M.two_bytes, M.one_byte, M.turkish } do
    local source, charset = name:match "^([%w_]+)%.(.+)$"
    local output, status = fresh.spawn(([[cd "$ROOT" && mkdir -p %s && cd %s && [ -e %s ] || {
      localedef -c -i %s -f %s ./%s.$$ && { mv ./%s.$$ %s 2>/dev/null || [ -e %s ]; }; }]]):format(M.folder, M.folder,
      name, source, charset, name, name, name, name)):wait()
    assert(status == 0, output)
  end
end

return M
