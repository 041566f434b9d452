-- Reads those LuaCATS annotations of Lua sources that this project uses. Returns
--   classes["kinesis.Record"]    { name=, doc=, parent=, fields = { { name=, type=, optional=, doc= } },
--                                  methods = { a function } }
--   aliases["kinesis.StartPosition"]     { name=, doc=, type=, values = { { value=, doc= } } }
--   functions["kinesis.put"]     { name=, doc=, params = { a field }, returns = { a field }, see=, private=,
--                                  file= }
-- A function belongs to the class of its table, or else to its module.
local M = {}

-- "string|nil what it is" → "string|nil", "what it is"
local function split_type(text)
  local depth, quoted = 0, false
  for i = 1, #text do
    local c = text:sub(i, i)
    if c == '"' then
      quoted = not quoted
    elseif not quoted and c:find("[({<%[]") then
      depth = depth + 1
    elseif not quoted and c:find("[)}>%]]") then
      depth = depth - 1
    elseif not quoted and c == " " and depth == 0 and not text:sub(i - 1, i - 1):find("[|:,]") then
      return text:sub(1, i - 1), text:sub(i + 1)
    end
  end
  return text, ""
end

local function named(text)
  local name, optional, rest = text:match("^([%w_%.]+)(%??)%s+(.*)$")
  if not name then
    name, optional, rest = text:match("^(%b[])(%??)%s+(.*)$")
  end
  local kind, doc = split_type(rest)
  return { name = name, optional = optional == "?", type = kind, doc = doc }
end

local function append(item, text)
  item.doc = item.doc == "" and text or item.doc .. "\n" .. text
end

local tags = {}

function tags.class(block, text)
  local name, parent = text:match("^([%w_.]+)%s*:?%s*([%w_.]*)")
  -- a class may be declared in several files, one of which has its description
  local class = block.model.classes[name] or { name = name, doc = "", fields = {}, methods = {} }
  class.parent = parent ~= "" and parent or class.parent
  class.doc = class.doc == "" and block.doc or class.doc
  block.class, block.model.classes[name] = class, class
end

function tags.alias(block, text)
  local name, rest = text:match("^([%w_.]+)%s*(.*)$")
  block.alias = { name = name, doc = block.doc, type = rest ~= "" and rest or nil, values = {} }
  block.model.aliases[name] = block.alias
end

function tags.field(block, text)
  block.last = named(text)
  table.insert(block.class.fields, block.last)
end

function tags.param(block, text)
  block.last = named(text)
  table.insert(block.params, block.last)
end

tags["return"] = function(block, text)
  local kind, rest = split_type(text)
  local name, doc = rest:match("^(%S+)%s*(.*)$")
  block.last = { type = kind, name = name, doc = doc or "" }
  table.insert(block.returns, block.last)
end

function tags.see(block, text)
  block.see = text
end

function tags.private(block)
  block.private = true
end

local function comment(block, line)
  local value, doc = line:match("^|%s*(.-)%s*#%s*(.*)$")
  if value then
    table.insert(block.alias.values, { value = value, doc = doc })
    return
  end
  local tag, rest = line:match("^@(%a+)%s*(.*)$")
  if tag then
    if tags[tag] then
      tags[tag](block, rest)
    end
  elseif block.last then
    append(block.last, (line:gsub("^ ", "")))
  else
    append(block, (line:gsub("^ ", "")))
  end
end

local function declare(model, owner, name, block)
  local f = {
    name = name, doc = block.doc, params = block.params, returns = block.returns, see = block.see,
    private = block.private, file = model.file,
  }
  model.functions[owner .. "." .. name] = f
  local class = model.classes[owner]
  if class then
    table.insert(class.methods, f)
  end
end

-- The declaration in the line after a block of comments.
local function code(model, scope, line, block)
  local variable, required = line:match('^local ([%w_]+) = require "([%w_.]+)"')
  if required then
    scope[variable] = required
  end
  local declared = line:match("^local ([%w_]+)")
  if declared and block.class then
    scope[declared] = block.class.name
  end
  local home, name = line:match("^function ([%w_]+)[.:]([%w_]+)%(")
  if name then
    declare(model, scope[home] or scope[1], name, block)
  end
  -- `kinesis.run = run.run`
  local target, field, source, from = line:match("^([%w_]+)%.([%w_]+) = ([%w_]+)%.([%w_]+)$")
  local known = target and scope[source] and model.functions[scope[source] .. "." .. from]
  local class = known and model.classes[scope[target]]
  if class then
    model.functions[class.name .. "." .. field] = known
    table.insert(class.methods, known)
  end
end

local function new_block(model)
  return { model = model, doc = "", params = {}, returns = {} }
end

--- Reads files in this order: a file must come after those that it refers to.
function M.read(files)
  local model = { classes = {}, aliases = {}, functions = {} }
  for _, file in ipairs(files) do
    model.file = file
    local module = file:gsub("^.*lua/kinesis", "kinesis"):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
    local scope, block = { module }, new_block(model)
    for line in io.lines(file) do
      local text = line:match("^%-%-%-(.*)$")
      if text then
        comment(block, text)
      else
        code(model, scope, line, block)
        block = new_block(model)
      end
    end
  end
  return model
end

--- The sources of the library, `init` last.
function M.sources(root)
  local files = {}
  local pipe = assert(io.popen(("find '%s/lua/kinesis' -name '*.lua' | LC_ALL=C sort"):format(root)))
  for path in pipe:lines() do
    if path ~= root .. "/lua/kinesis/init.lua" then
      files[#files + 1] = path
    end
  end
  pipe:close()
  files[#files + 1] = root .. "/lua/kinesis/init.lua"
  return files
end

return M
