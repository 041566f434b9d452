--- The manual at a prompt: formats the docstrings of functions, read from the sources, and the tables of options and
--- operations.
local client = require "kinesis.client"
local suggest = require "kinesis.util.suggest"
local operations = require "kinesis.api.operations"
local options = require "kinesis.options"
local pretty = require "kinesis.observe.pretty"
local producer = require "kinesis.producer"
local reader = require "kinesis.reader"
local shapes = require "kinesis.api.shapes"
local shards = require "kinesis.shards"
local worker = require "kinesis.worker"

local M = {}

-- By the topic, which is also how methods are written: "client:put".
local CLASSES = {
  client = client.class, producer = producer.class, receipt = producer.receipt_class, reader = reader.class,
  shards = shards.class, shard = shards.shard_class, worker = worker.class,
}

local WIDTH = 16 -- of the column of names

-- What a kind of member is in Lua, where its name does not say it.
local KINDS = { blob = "string of bytes, not base64", time = "seconds since 1970" }

local by_verb = {}
for _, operation in ipairs(operations.list) do
  by_verb[operation.verb] = operation
end

-- ---- docstrings ----

local function read_lines(path)
  local file = io.open(path)
  local lines = {}
  for line in file and file:lines() or function() end do
    lines[#lines + 1] = line
  end
  if file then
    file:close()
  end
  return lines
end

---@class kinesis.help.Comment
---@field doc string[] the lines before the first tag
---@field params { name: string, optional: boolean, text: string }[]
---@field returns string[]

-- The docstring of a function; an empty one when its source cannot be read.
---@return kinesis.help.Comment
local function comment_of(f)
  local comment = { doc = {}, params = {}, returns = {} }
  local info = debug.getinfo(f, "S")
  local lines = info.source:sub(1, 1) == "@" and read_lines(info.source:sub(2)) or {}
  local first = info.linedefined
  while first > 1 and (lines[first - 1] or ""):find "^%-%-%-" do
    first = first - 1
  end
  local last -- the tag that a line continues
  for i = first, #lines > 0 and info.linedefined - 1 or 0 do
    local text = lines[i]:match "^%-%-%- ?(.*)"
    local name, mark, rest = text:match "^@param ([%w_.]+)(%??) (.*)"
    if name then
      last = { name = name, optional = mark == "?", text = rest }
      comment.params[#comment.params + 1] = last
    elseif text:find "^@return" then
      last = { text = text:sub(9) }
      comment.returns[#comment.returns + 1] = last
    elseif last and not text:find "^@" then
      last.text = last.text .. " " .. text
    elseif not text:find "^@" then
      comment.doc[#comment.doc + 1] = text
    end
  end
  return comment
end

local function summary(comment)
  local paragraph = {}
  for _, line in ipairs(comment.doc) do
    if line == "" or line:find "^https:" then
      break
    end
    paragraph[#paragraph + 1] = line
  end
  local text = table.concat(paragraph, " ")
  return text:match "^(.-[^.]%.) %u" or text
end

local function signature(call, comment)
  local text, closing = "", ""
  for i, param in ipairs(comment.params) do
    local comma = i > 1 and ", " or ""
    if param.optional then
      text, closing = ("%s%s[%s%s"):format(text, i > 1 and " " or "", comma, param.name), closing .. "]"
    else
      text = text .. comma .. param.name
    end
  end
  return ("%s(%s%s)"):format(call, text, closing)
end

-- ---- pages ----

local function sorted_words()
  local words = {}
  for word in pairs(CLASSES) do
    words[#words + 1] = word
  end
  table.sort(words)
  return words
end

local function add_row(page, name, text)
  page[#page + 1] = ("  %s %s"):format(name .. (" "):rep(WIDTH - #name), text)
end

local function sorted_functions(list)
  local names = {}
  for name, value in pairs(list) do
    if type(value) == "function" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

-- Adds the functions of a class or of the module, without the operations of the API. Most functions of the module have
-- their docstring at the client's method.
local function add_functions(page, list, is_module)
  for _, name in ipairs(sorted_functions(list)) do
    if not by_verb[name] then
      add_row(page, name, summary(comment_of(is_module and rawget(client.class, name) or list[name])))
    end
  end
end

local function add_options(page, comment)
  for _, param in ipairs(comment.params) do
    local class = param.text:match "^kinesis%.(%w+)Options"
    local noun = class and class:gsub("(%l)(%u)", "%1_%2"):lower()
    if noun then
      page[#page + 1] = ""
      page[#page + 1] = ("fields of %s:"):format(param.name)
      for _, option in ipairs(options.describe(noun)) do
        local default = option.default
        local text = type(default) == "number" and ("%.14g"):format(default) or tostring(default)
        add_row(page, option.name, default == nil and option.doc or ("%s Default %s."):format(option.doc, text))
      end
    end
  end
end

local function function_page(call, f)
  local comment = comment_of(f)
  local page = { signature(call, comment), "" }
  for _, line in ipairs(comment.doc) do
    page[#page + 1] = line
  end
  page[#page + 1] = ""
  for _, param in ipairs(comment.params) do
    add_row(page, param.name, param.text)
  end
  for _, returned in ipairs(comment.returns) do
    add_row(page, "returns", returned.text)
  end
  add_options(page, comment)
  return page
end

local function class_page(page, word)
  page[#page + 1] = ("methods of %s:"):format(word)
  add_functions(page, CLASSES[word])
  page[#page + 1] = ""
  page[#page + 1] = ('More of each: kinesis.help "%s:METHOD"'):format(word)
  return page
end

local function operation_page(operation)
  local page = { ("%s{…}"):format(operation.verb), "", operation.doc, "" }
  for _, member in ipairs(shapes.members(operation.request)) do
    local kind = shapes.type(member.type)
    add_row(page, member.name, (kind.values and table.concat(kind.values, " or ") or KINDS[kind.kind] or kind.kind)
      .. (member.required and "; required" or ""))
  end
  page[#page + 1] = ""
  page[#page + 1] = "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_" .. operation.name .. ".html"
  return page
end

local function operations_page()
  local page = { "kinesis.VERB{…}, or client:VERB{…}:" }
  for _, operation in ipairs(operations.list) do
    page[#page + 1] = ("  %s  %s"):format(operation.verb, operation.doc)
  end
  return page
end

local function first_page(module)
  local page = { "kinesis " .. module.version }
  add_functions(page, module, true)
  page[#page + 1] = ""
  page[#page + 1] = ('More of each: kinesis.help "put". Methods: kinesis.help "%s".'):format(
    table.concat(sorted_words(), '", "'))
  page[#page + 1] = ('The %d operations of the API: kinesis.help "operations", kinesis.help "describe_stream".'):format(
    #operations.list)
  return page
end

-- ---- topics ----

local function unknown(module, topic)
  local known = sorted_functions(module)
  known[#known + 1], known[#known + 2] = "records", "operations"
  for word in pairs(CLASSES) do
    known[#known + 1] = word
  end
  local near = suggest.of(topic, known)
  local other = topic:find "^kinesis%.%u" and "; the manual describes the tables: `make docs`, in a checkout" or ""
  return ("help: nothing is called '%s'%s"):format(topic, near and ("; did you mean '%s'?"):format(near) or other)
end

-- The function of a topic, and the text of its call.
local function find_function(module, topic)
  local word, method = topic:match "^(%a+)[.:]([%w_]+)$"
  if CLASSES[word] then
    return rawget(CLASSES[word], method), topic:gsub("%.", ":")
  elseif topic == "records" then
    return shards.class.records, "shards:records"
  end
  local f = rawget(module, topic)
  return f and rawget(client.class, topic) or f, "kinesis." .. topic
end

-- By the bare name of a method or of an option: the pages of all methods, and a line for each option, of that name.
local function pages_by_name(topic)
  local page = {}
  for _, word in ipairs(sorted_words()) do
    local method = rawget(CLASSES[word], topic)
    for _, line in ipairs(type(method) == "function" and function_page(word .. ":" .. topic, method) or {}) do
      page[#page + 1] = line
    end
  end
  for _, noun in ipairs(options.nouns()) do
    for _, option in ipairs(options.describe(noun)) do
      if option.name == topic then
        page[#page + 1] = ("%s, an option of %s: %s"):format(topic, noun, option.doc)
      end
    end
  end
  return page[1] and page
end

-- The lines of a page; nil when there is no such topic.
local function page_of(module, topic)
  topic = topic:gsub("^kinesis[.:]", "")
  local f, call = find_function(module, topic)
  local operation = by_verb[call:match "[%w_]*$"]
  if topic == "operations" then
    return operations_page()
  elseif f and operation then
    return operation_page(operation)
  end
  local page = type(f) == "function" and function_page(call, f) or nil
  if CLASSES[topic] then
    page = page or {}
    page[#page + 1] = page[1] and "" or nil
    return class_page(page, topic)
  end
  return page or pages_by_name(topic)
end

local function class_of(object)
  local meta = getmetatable(object) -- what __metatable shows may be anything
  local class = type(meta) == "table" and rawget(meta, "__index")
  for word, known in pairs(CLASSES) do
    if class == known then
      return word
    end
  end
end

-- The topic of a public function; nil: it is none.
local function topic_of(module, f)
  for name, value in pairs(module) do
    if value == f then
      return name
    end
  end
  for word, class in pairs(CLASSES) do
    for name, value in pairs(class) do
      if value == f then
        return word .. ":" .. name
      end
    end
  end
end

--- A page of the manual. A call returns the page of another topic: after `help = kinesis.help()`, `help` prints the
--- first page, and `help "put"` the page of `put`.
---@class kinesis.Help
---@field text string
---@overload fun(topic?: string|table|function): kinesis.Help

local modules = setmetatable({}, { __mode = "k" }) -- page -> its module

local page_meta = pretty.equip({
  __call = function(page, topic)
    local other = M.about(modules[page], topic, 2)
    return other
  end,
}, "kinesis.help", function(page)
  return page.text
end)

---Returns a page of the manual.
---@param module table
---@param topic any
---@param level integer the level of the error for an unknown topic: 1 is the caller of this function
---@return kinesis.Help page
function M.about(module, topic, level)
  local lines
  if topic == nil or topic == module then
    lines = first_page(module)
  elseif type(topic) == "table" and class_of(topic) then
    lines = class_page({}, class_of(topic))
  elseif type(topic) == "function" and topic_of(module, topic) then
    lines = page_of(module, topic_of(module, topic))
  elseif type(topic) == "string" then
    lines = page_of(module, topic) or error(unknown(module, topic), level + 1)
  else
    error(("help: ask for a name, such as 'put', or for an object or a function of this library, not for a %s"):format(
      type(topic)), level + 1)
  end
  local page = setmetatable({ text = table.concat(lines, "\n") }, page_meta)
  modules[page] = module
  return page
end

return M
