-- The picture: a view of the load becomes lines that fit a terminal.
local load = require "watch.load"
local terminal = require "watch.terminal"

local M = {}

local HOT = 0.8 -- part of its limits from which on a shard, or a key, is painted
local MOST_KEYS = 5
local LOW = 16 -- lines below which there are no blank ones
local NARROW = 70 -- columns below which a shard has one bar
local CELLS = { 60, 30, 20, 15, 12, 10, 6 } -- of a sparkline: each of as many seconds

-- ---- numbers ----

-- 812, 12,345
local function count(value)
  return (("%.0f"):format(value):reverse():gsub("%d%d%d", "%0,"):reverse():gsub("^,", ""))
end

-- The same for a rate: a small one has a decimal.
local function number(value)
  return value > 0 and value < 9.95 and ("%.1f"):format(value) or count(value)
end

-- 812, 12.3k, 1.2M
local function short_number(value)
  for _, unit in ipairs { "", "k", "M" } do
    if value < 999.5 then
      return (value > 0 and value < 9.95 and "%.1f%s" or "%.0f%s"):format(value, unit)
    end
    value = value / 1000
  end
  return ("%.0fG"):format(value)
end

-- 512 B, 1.2 MiB; with `short`: 512B, 1.2M
local function bytes_of(value, short)
  local units, i = short and { "B", "K", "M", "G" } or { " B", " KiB", " MiB", " GiB" }, 1
  while value >= 999.5 and i < #units do
    value, i = value / 1024, i + 1
  end
  return (i > 1 and value < 9.95 and "%.1f%s" or "%.0f%s"):format(value, units[i])
end

local function percent(part)
  local value = part * 100
  return value > 0 and value < 0.1 and "<0.1 %"
    or (value > 0 and value < 0.95 and "%.1f %%" or "%.0f %%"):format(value)
end

local function lag_of(seconds)
  return not seconds and "not known yet" or (seconds < 9.95 and "%.1f s" or "%.0f s"):format(seconds)
end

-- ---- lines ----

-- A line: pieces of text that end at the last column.
local Line = {}
Line.__index = Line

local function new_line(columns, style)
  return setmetatable({ room = columns, style = style }, Line)
end

-- Adds text in `width` columns, at most as many as there are; a negative width aligns it right.
function Line:add(text, width, colour)
  local most = math.min(math.abs(width or self.room), self.room)
  local shown, used = terminal.clean(text, most, self.style.utf8)
  local blank = width and (" "):rep(most - used) or ""
  shown = terminal.paint(shown, colour, self.style)
  self[#self + 1] = width and width < 0 and blank .. shown or shown .. blank
  self.room = self.room - used - #blank
  return self
end

-- Adds what terminal.bar or terminal.spark made, `width` columns wide; left out when it does not fit.
function Line:draw(text, width, colour)
  if width <= self.room then
    self[#self + 1] = terminal.paint(text, colour, self.style)
    self.room = self.room - width
  end
  return self
end

function Line:bar(part, width, is_hot)
  width = math.min(width, self.room)
  local full, empty = terminal.bar(part, width, self.style.utf8)
  self:draw(full, 0, is_hot and "hot" or "bar") -- the width counts once
  return self:draw(empty, width, "dim")
end

local function cells_for(width)
  for _, cells in ipairs(CELLS) do
    if cells <= width then
      return cells
    end
  end
  return CELLS[#CELLS]
end

-- Widths for a terminal of this many columns.
local function layout(columns, ids)
  local longest = 0
  for _, row in ipairs(ids) do
    longest = math.max(longest, #row.id)
  end
  if columns < NARROW then
    local cells = cells_for(math.floor((columns - 27) / 2))
    return { id = 5, load = 5, cells = cells, bar = math.max(3, columns - 27 - cells), is_narrow = true }
  end
  local id = columns >= 110 and longest or math.min(longest, 7)
  local free = columns - id - 31
  local cells = cells_for(math.floor(free / 3))
  return { id = id, load = 6, cells = cells, bar = math.floor((free - cells) / 2) }
end

-- The end of an id tells shards apart.
local function short_id(id, width, utf8)
  return #id <= width and id or (utf8 and "…" or "~") .. id:sub(-(width - 1))
end

-- ---- parts of the picture ----

local function head(view, columns, style)
  local shards = ("%d shard%s"):format(view.open, view.open == 1 and "" or "s")
  local first = new_line(columns, style):add(view.stream, math.max(columns - 10, 1), "title"):add(" " .. view.time, -10)
  local is_late = view.lag and view.lag >= 10
  local second = new_line(columns, style):add("lag " .. lag_of(view.lag), nil, is_late and "hot" or nil)
  second:add("   " .. shards .. "   " .. view.service)
  return { first, second, new_line(columns, style) }
end

local function biggest(values)
  local most = 0
  for _, value in ipairs(values) do
    most = math.max(most, value)
  end
  return most
end

-- A number for the whole stream, its last minute, and the highest second of that.
local function total(name, width, history, columns, style, format)
  local values, peak = history(cells_for(columns - width - 20)), biggest(history(load.SECONDS))
  local line = new_line(columns, style):add(name, width):add(" ")
  line:draw(terminal.spark(values, biggest(values), style.utf8), #values, "graph")
  return peak > 0 and line:add("  peak " .. format(peak), nil, "dim") or line
end

local function totals(view, columns, style)
  local is_narrow = columns < NARROW
  local width = is_narrow and 16 or 22
  local is_aggregated = view.puts < 0.99 * view.records
  local records = total(number(view.records) .. (is_aggregated and not is_narrow and " user records/s" or " records/s"),
    width, view.record_history, columns, style, number)
  if is_aggregated then
    records:add((", in %s records/s"):format(number(view.puts)), nil, "dim")
  end
  return { records, total(bytes_of(view.bytes) .. "/s", width, view.byte_history, columns, style, bytes_of),
    new_line(columns, style) }
end

local function shard_head(widths, columns, style)
  local line = new_line(columns, style):add("shard", widths.id + 1, "dim"):add("load", -widths.load, "dim")
  if widths.is_narrow then
    return line:add(" ", widths.bar + 2):add("rec/s", -5, "dim"):add("B/s", -6, "dim"):add(" ", 1)
      :add("minute", nil, "dim")
  end
  line:add(" ", 1):add("records/s", -9, "dim"):add(" of " .. number(load.RECORDS), widths.bar + 1, "dim")
  line:add("bytes/s", -10, "dim"):add(" of " .. bytes_of(load.BYTES), widths.bar + 1, "dim")
  return line:add(" ", 2):add("last minute", nil, "dim")
end

local function shard_line(row, widths, most, columns, style)
  local is_hot = row.load > HOT
  local line = new_line(columns, style):add(short_id(row.id, widths.id, style.utf8), widths.id + 1)
  if row.ended then
    return line:add(" ended", nil, "dim")
  end
  line:add(percent(row.load), -widths.load, is_hot and "hot" or nil)
  line:add(is_hot and "!" or " ", 1, is_hot and "hot" or nil)
  local spark = terminal.spark(row.history(widths.cells), most, style.utf8)
  if widths.is_narrow then
    line:bar(row.load, widths.bar, is_hot):add(short_number(row.puts), -6):add(bytes_of(row.bytes, true), -6)
    return line:add(" ", 1):draw(spark, widths.cells, "graph")
  end
  local puts, bytes = row.puts / load.RECORDS, row.bytes / load.BYTES
  line:add(number(row.puts), -9):add(" ", 1):bar(puts, widths.bar, puts > HOT)
  line:add(bytes_of(row.bytes), -10):add(" ", 1):bar(bytes, widths.bar, bytes > HOT)
  return line:add(" ", 2):draw(spark, widths.cells, "graph")
end

-- The rows to show, in the order of the shards: the hottest ones when there are more than `room`. Also the number of
-- hidden ones, and the load of the hottest of them.
local function choose(rows, room)
  if #rows <= room then
    return rows, 0
  end
  local by_load, chosen, shown = {}, {}, {}
  for i, row in ipairs(rows) do
    by_load[i] = row
  end
  table.sort(by_load, function(a, b)
    return a.load > b.load or a.load == b.load and a.id < b.id
  end)
  for i = 1, room - 1 do -- the last line says what is hidden
    chosen[by_load[i]] = true
  end
  for _, row in ipairs(rows) do
    shown[#shown + 1] = chosen[row] and row or nil
  end
  return shown, #rows - #shown, by_load[room].load
end

local function shards(view, room, columns, style)
  local rows, hidden, hottest_hidden = choose(view.shards, room)
  local widths, most = layout(columns, rows), 0
  for _, row in ipairs(rows) do
    most = math.max(most, biggest(row.history(widths.cells)))
  end
  local lines = { shard_head(widths, columns, style) }
  for _, row in ipairs(rows) do
    lines[#lines + 1] = shard_line(row, widths, most, columns, style)
  end
  if hidden > 0 then
    lines[#lines + 1] = new_line(columns, style):add(("and %d more shards, each with a load of at most %s"):format(
      hidden, percent(hottest_hidden)), nil, "dim")
  end
  return lines
end

local function key_line(key, longest, columns, style)
  local tail = columns < NARROW and ("  %6s"):format(percent(key.share))
    or ("   %6s of the stream   %6s of %s"):format(percent(key.share), percent(key.load), key.shard_id)
  local line = new_line(columns, style):add("  ")
  return line:add(key.key, math.max(1, math.min(longest, line.room - #tail)), key.load > HOT and "hot" or nil):add(tail)
end

-- The hottest shard, and at most this many keys.
local function hottest(view, most_keys, columns, style)
  local shard, is_narrow, longest = view.hottest, columns < NARROW, 0
  local line = new_line(columns, style):add("hottest shard  ")
  if shard then
    line:add(is_narrow and short_id(shard.id, 5, style.utf8) or shard.id, nil, shard.load > HOT and "hot" or nil)
    line:add("   " .. percent(shard.load) .. (is_narrow and "" or " of its limits"))
  else
    line:add("none: no records")
  end
  local lines, shown = { new_line(columns, style), line }, math.min(most_keys, #view.keys)
  for i = 1, shown do
    longest = math.max(longest, #view.keys[i].key)
  end
  if shown > 0 then
    lines[3] = new_line(columns, style):add("hottest partition keys (sampled)")
  end
  for i = 1, shown do
    lines[3 + i] = key_line(view.keys[i], longest, columns, style)
  end
  return lines
end

--- The lines of a picture, at most `size.lines`, each of at most `size.columns`.
function M.lines(view, size, style)
  local columns, list = size.columns, {}
  local function append(lines)
    for _, line in ipairs(lines) do
      list[#list + 1] = (size.lines >= LOW or #line > 0) and line or nil
    end
  end
  local notes = {}
  for i, note in ipairs(view.notes) do
    notes[i] = new_line(columns, style):add(note, nil, "hot")
  end
  append(head(view, columns, style))
  append(totals(view, columns, style))
  local left = size.lines - #list - 1 - #notes -- the heads of the columns
  local keys = math.max(1, math.min(MOST_KEYS, left - 4 - #view.shards))
  local foot = hottest(view, keys, columns, style)
  local blank = size.lines < LOW and 1 or 0 -- in the foot, left out
  append(shards(view, math.max(2, left - #foot + blank), columns, style))
  append(foot)
  append(notes)
  for i, line in ipairs(list) do
    list[i] = i <= size.lines and table.concat(line) or nil
  end
  return list
end

--- What was read, by reader:stats(), in this many seconds.
function M.totals(stats, seconds)
  return ("%s record%s, %s, in %d s"):format(count(stats.records), stats.records == 1 and "" or "s",
    bytes_of(stats.bytes), seconds)
end

--- The line for an output that is no terminal. It has no bytes beyond ASCII, and "-" for what is not known.
function M.plain(view)
  local shard, key = view.hottest, view.keys[1]
  return ("%s records_per_second=%.1f bytes_per_second=%.0f lag=%s hottest_shard=%s load=%s hottest_key=%s"):format(
    view.utc, view.records, view.bytes, view.lag and ("%.1f"):format(view.lag) or "-", shard and shard.id or "-",
    shard and ("%.3f"):format(shard.load) or "-",
    key and '"' .. terminal.clean(key.key, 256):gsub('"', "?") .. '"' or "-")
end

return M
