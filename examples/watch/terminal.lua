-- What the terminal can do and how large it is; text, bars and sparklines for it.
local M = {}

local ESCAPE = "\27["
-- The second screen, without cursor, and without a line break after the last column; and back, attributes reset.
M.ENTER = ESCAPE .. "?1049h" .. ESCAPE .. "?25l" .. ESCAPE .. "?7l"
M.LEAVE = ESCAPE .. "0m" .. ESCAPE .. "?7h" .. ESCAPE .. "?25h" .. ESCAPE .. "?1049l"

local COLOURS = { title = "1", dim = "2", bar = "32", hot = "31", graph = "36" }

-- os.execute returns a number in Lua 5.1, a boolean in 5.4.
local function succeeds(command)
  local result = os.execute(command)
  return result == true or result == 0
end

--- Whether stdout is a terminal that knows escape sequences.
function M.is_screen()
  local term = os.getenv "TERM" or "dumb"
  return term ~= "dumb" and term ~= "" and succeeds "test -t 1"
end

--- Columns and lines. COLUMNS and LINES come first, then what the terminal says.
function M.size()
  local columns, lines = tonumber(os.getenv "COLUMNS"), tonumber(os.getenv "LINES")
  if not (columns and lines) then
    local pipe = io.popen "{ stty size </dev/tty; } 2>/dev/null"
    local answer = pipe and pipe:read "*a" or ""
    local _ = pipe and pipe:close()
    local rows, width = answer:match "^(%d+) (%d+)"
    columns, lines = columns or tonumber(width), lines or tonumber(rows)
  end
  return columns and columns > 0 and columns or 80, lines and lines > 0 and lines or 24
end

--- How to draw: `colour` and `utf8`.
function M.style()
  local locale = ""
  for _, name in ipairs { "LC_ALL", "LC_CTYPE", "LANG" } do -- the first one that is set counts
    locale = locale ~= "" and locale or os.getenv(name) or ""
  end
  return { colour = (os.getenv "NO_COLOR" or "") == "", utf8 = locale:lower():find "utf%-?8" ~= nil }
end

function M.frame(lines)
  return ESCAPE .. "H" .. table.concat(lines, ESCAPE .. "K\r\n") .. ESCAPE .. "K" .. ESCAPE .. "J"
end

-- ---- text ----

-- The characters beyond ASCII that are shown: first, last, columns. All others, those that change the direction of
-- text, that combine, or that have no width, become "?".
local SHOWN = {
  { 0xA1, 0xAC, 1 }, { 0xAE, 0x2FF, 1 }, { 0x370, 0x482, 1 }, { 0x48A, 0x58F, 1 }, { 0x2010, 0x2027, 1 },
  { 0x2190, 0x21FF, 1 }, { 0x3041, 0x3096, 2 }, { 0x30A0, 0x30FF, 2 }, { 0x3400, 0x4DBF, 2 }, { 0x4E00, 0x9FFF, 2 },
  { 0xAC00, 0xD7A3, 2 }, { 0xFF01, 0xFF60, 2 },
}

-- The character at byte `at`, the columns that it takes, and its length in bytes. A byte that is no character is one.
local function next_character(text, at, utf8)
  local first = text:byte(at)
  if first < 0x80 then
    return first >= 0x20 and first < 0x7F and text:sub(at, at) or "?", 1, 1
  end
  local length = first >= 0xC2 and first < 0xE0 and 2 or first >= 0xE0 and first < 0xF0 and 3 or 1
  local character = text:sub(at, at + length - 1)
  if not utf8 or length == 1 or not character:find("^.[\128-\191]+$") or #character < length then
    return "?", 1, 1
  end
  local code = length == 2 and first - 0xC0 or first - 0xE0
  for i = 2, length do
    code = code * 64 + character:byte(i) - 0x80
  end
  for _, range in ipairs(SHOWN) do
    if code >= range[1] and code <= range[2] then
      return character, range[3], length
    end
  end
  return "?", 1, length
end

--- Any bytes, as text that takes at most `width` columns and does nothing to the terminal. Returns it and its columns.
function M.clean(text, width, utf8)
  local parts, used, at, fits = {}, 0, 1, 0 -- fits: number of parts that leave a column for the sign of a cut
  local columns_of_fitting = 0
  while at <= #text do
    local character, columns, length = next_character(text, at, utf8)
    if used + columns > width then
      return table.concat(parts, "", 1, fits) .. (width > 0 and (utf8 and "…" or "~") or ""),
        columns_of_fitting + math.min(width, 1)
    end
    parts[#parts + 1] = character
    used, at = used + columns, at + length
    if used < width then
      fits, columns_of_fitting = #parts, used
    end
  end
  return table.concat(parts), used
end

function M.paint(text, colour, style)
  return colour and style.colour and text ~= "" and ESCAPE .. COLOURS[colour] .. "m" .. text .. ESCAPE .. "0m" or text
end

-- ---- bars ----

local EIGHTHS = { "▏", "▎", "▍", "▌", "▋", "▊", "▉" }
local LEVELS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇" } -- a full block would touch the line above
local ASCII_LEVELS = { ".", ":", "-", "=", "+", "*", "#" }

--- A bar for 0 to 1 in `width` columns: the full part and the empty part. What is not zero is visible.
function M.bar(part, width, utf8)
  local eighths = math.floor(math.min(part, 1) * width * 8 + 0.5)
  if part > 0 and width > 0 then
    eighths = math.max(eighths, 1)
  end
  if not utf8 then
    local full = math.ceil(eighths / 8)
    return ("#"):rep(full), ("."):rep(width - full)
  end
  local full, rest = math.floor(eighths / 8), eighths % 8
  local text = ("█"):rep(full) .. (EIGHTHS[rest] or "")
  return text, ("·"):rep(width - full - (rest > 0 and 1 or 0))
end

--- A sparkline: a character for each value, `most` is the highest one. Zero is a blank.
function M.spark(values, most, utf8)
  local levels, cells = utf8 and LEVELS or ASCII_LEVELS, {}
  for i, value in ipairs(values) do
    cells[i] = value > 0 and levels[math.max(1, math.ceil(math.min(value / most, 1) * #levels))] or " "
  end
  return table.concat(cells)
end

return M
