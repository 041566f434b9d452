-- make docs: completes the page that LDoc wrote: appends the guide (spec/support/manual.md), and makes the page fit
-- narrow screens.
--
--   lua5.4 spec/support/guide.lua build/docs
--
-- Of Markdown it knows what the guide needs: "## " titles, paragraphs, "- " items of one line each, indented code,
-- tables, `code`, **bold**. A line "@variables" stands for the table of environment variables.
package.path = "lua/?.lua;" .. package.path
local variables = require "kinesis.config.variables"

local CSS = [[

/* kinesis: pages as wide as the screen */
#container { max-width: 1280px; }
#content { width: auto; max-width: 56em; }
#content table { width: 100%; border-collapse: collapse; margin: 1em 0; }
#content table td, #content table th { border: 1px solid #ccc; padding: 0.2em 0.5em; text-align: left; }
#content table th { font-weight: bold; }
#content td, #content li, #content dd, #content dt, #content p { overflow-wrap: anywhere; }
table.function_list td.name { min-width: 0; width: 40%; }
table.function_list td.name[nowrap] { white-space: normal; }
table.function_list td.summary { width: auto; }
#content pre { overflow-x: auto; }
#navigation ul.nowrap { white-space: normal; }
@media (max-width: 800px) {
  body { margin: 0; }
  #main { background: none; border: none; }
  #navigation { float: none; width: auto; }
  #navigation li { display: inline-block; margin-right: 1em; }
  #content { margin: 0; padding: 0.5em; border: none; }
  #content dl dd, #content ul { margin-left: 0; padding-left: 1em; }
  #content td, #content th { font-size: 85%; }
}
]]

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

local function escape(text)
  return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

local function inline(text)
  return (escape(text):gsub("`([^`]+)`", "<code>%1</code>"):gsub("%*%*([^*]+)%*%*", "<b>%1</b>"))
end

local function anchor(title)
  return "guide_" .. title:gsub("%W+", "_")
end

local function row(cells, tag)
  local out = {}
  for i, cell in ipairs(cells) do
    out[i] = ("<%s>%s</%s>"):format(tag, inline(cell), tag)
  end
  return "<tr>" .. table.concat(out) .. "</tr>"
end

local function variable_rows()
  local rows = { row({ "variable", "purpose" }, "th") }
  for _, variable in ipairs(variables.list) do
    rows[#rows + 1] = row({ "`" .. variable.name .. "`", variable.purpose }, "td")
  end
  return rows
end

-- What a line belongs to: its kind, and what it holds.
local KINDS = {
  { "^    (.*)$", "pre" }, { "^%- (.*)$", "ul" }, { "^(|.*)$", "table" }, { "^## (.*)$", "h2" },
  { "^@(variables)$", "variables" }, { "^(.+)$", "p" },
}

local function kind_of(line)
  for _, kind in ipairs(KINDS) do
    local text = line:match(kind[1])
    if text then
      return kind[2], text
    end
  end
end

local function table_row(line, is_first)
  local cells = {}
  for cell in line:gmatch "|%s*([^|]-)%s*%f[|]" do
    cells[#cells + 1] = cell
  end
  return row(cells, is_first and "th" or "td")
end

-- A run of lines of one kind, as HTML.
local function block(kind, lines)
  if kind == "h2" then
    return ('<h2 class="section-header"><a name="%s"></a>%s</h2>'):format(anchor(lines[1]), inline(lines[1]))
  elseif kind == "variables" then
    return "<table>" .. table.concat(variable_rows(), "\n") .. "</table>"
  end
  local out = {}
  for i, line in ipairs(lines) do
    if kind == "ul" then
      out[i] = "<li>" .. inline(line) .. "</li>"
    elseif kind == "table" then
      out[#out + 1] = not line:find "^|[%-|]+|$" and table_row(line, i == 1) or nil
    else
      out[i] = kind == "pre" and escape(line) or inline(line)
    end
  end
  return ("<%s>%s</%s>"):format(kind, table.concat(out, "\n"), kind)
end

-- The guide as HTML, and its titles.
local function convert(text)
  local out, titles, kind, lines = {}, {}, nil, {}
  for line in (text .. "\n\n"):gmatch "(.-)\n" do
    local next_kind, content = kind_of(line)
    if kind and next_kind ~= kind then
      out[#out + 1] = block(kind, lines)
      lines = {}
    end
    kind = next_kind
    lines[#lines + 1] = content
    if kind == "h2" then
      titles[#titles + 1] = content
    end
  end
  return table.concat(out, "\n"), titles
end

local function links(titles)
  local out = {}
  for i, title in ipairs(titles) do
    out[i] = ('<li><a href="#%s">%s</a></li>'):format(anchor(title), inline(title))
  end
  return "<h2>Guide</h2>\n<ul>\n" .. table.concat(out, "\n") .. "\n</ul>\n"
end

-- Puts `text` before the one place where the page has `mark`.
local function insert(page, mark, text)
  local from = assert(page:find(mark, 1, true), mark)
  return page:sub(1, from - 1) .. text .. page:sub(from)
end

local folder = arg[1]
local guide, titles = convert(read "spec/support/manual.md")
local page = read(folder .. "/index.html")
page = insert(page, "</head>", '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n')
page = insert(page, "<h2>Modules</h2>", links(titles))
page = insert(page, '</div> <!-- id="content" -->', guide .. "\n")
-- a quoted word is a value, not the method of that name
page = page:gsub('<a class="type" href="[^"]*">("[^<]*")</a>', '<span class="type">%1</span>')
write(folder .. "/index.html", page)
write(folder .. "/ldoc.css", read(folder .. "/ldoc.css") .. CSS)
