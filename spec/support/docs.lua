-- make docs: writes the annotations of the library in LDoc's syntax, as one file without code.
--
--   lua5.4 spec/support/docs.lua TARGET
--
-- Classes with methods become types, others tables, and the members of a request are listed at its operation.
-- Missing descriptions are copied from the function that @see names. LDoc cannot read the sources: its tags have other
-- names and another order, and it knows neither classes of fields nor aliases.
package.path = "spec/?.lua;" .. package.path
local annotations = require "support.annotations"

local model = annotations.read(annotations.sources ".")

-- The classes in the order of the page. Other classes are internal.
local TYPES = { "Client", "Producer", "Receipt", "Shards", "Shard", "Reader", "Worker" }
local OPTIONS = {
  "ClientOptions", "PutOptions", "PutManyOptions", "ProducerOptions", "ProduceOptions", "RecordsOptions",
  "WorkerOptions", "WaitUntilOptions", "SetupOptions", "SetupWorker",
}
local TABLES = {
  "Record", "Columns", "UserRecord", "Entry", "PutResult", "LostRecord", "Stored", "Attempt", "Position", "Error",
  "ClientStats", "ProducerStats", "ShardStats", "Histogram", "ReaderStats", "ReaderShardStats", "WorkerStats",
  "LeaseStats",
  "WorkerShard", "Store", "LeaseRow", "Event", "Setting",
  "Credentials", "ProvidedCredentials", "Help",
}
local ALIASES = { "StartPosition", "Time", "ErrorCode", "Provider" }
local SPEC_ONLY = { codec = true } -- fields of the module that only specs use

local out = {}

local function put(text)
  out[#out + 1] = text
end

-- ---- prose ----

local function escape(text)
  return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }))
end

-- Formats text of a comment as one line of HTML: `code` and URLs.
local function inline(text)
  text = escape(text):gsub("\n", " "):gsub("`([^`]+)`", "<code>%1</code>")
  return (text:gsub("https?://[%w%-_./#]*[%w/]", function(url)
    local page = url:match("[^/]+$"):gsub("%.html$", "")
    return ('<a href="%s">%s</a>'):format(url, page)
  end))
end

-- Formats a doc comment with its paragraphs and indented code.
local function prose(doc)
  local lines, in_code = {}, false
  for line in (doc .. "\n"):gmatch "(.-)\n" do
    local code = line:match "^    (.*)$"
    if code and not in_code then
      lines[#lines + 1] = "<pre>"
    elseif not code and in_code then
      lines[#lines + 1] = "</pre>"
    end
    in_code = code ~= nil
    lines[#lines + 1] = code and escape(code) or line == "" and "<p>" or inline(line)
  end
  return lines
end

local function comment(doc)
  local lines = prose(doc)
  put("--- " .. (lines[1] or ""))
  for i = 2, #lines do
    put("-- " .. lines[i])
  end
end

-- Continues a comment that put() has begun.
local function put_list(items)
  if #items == 0 then
    return
  end
  put "-- <ul>"
  for _, item in ipairs(items) do
    put(("-- <li><code>%s</code> %s</li>"):format(escape(item[1]), inline(item[2])))
  end
  put "-- </ul>"
end

-- ---- items ----

-- The type and the description for LDoc, whose types have no spaces and are split at every "|".
local function shown(item)
  local plain = item.type:match "^table<" and "table" or item.type:match "^fun%(" and "function"
  if plain then
    return plain, ("<code>%s</code> %s"):format(escape(item.type), inline(item.doc))
  end
  return (item.type:gsub("%s+", "")), inline(item.doc)
end

local function split_default(doc)
  local text, default = doc:match "^(.-)[, ]+[Dd]efault ([^,]+)%.$"
  if text then
    return text:gsub("%.?$", "."), default
  end
  return doc
end

local function tag_param(param, prefix)
  local text, default = split_default(param.doc)
  local request = model.classes[param.type:match "^kinesis%.api%.%a+Request$"]
  local kind, doc = shown { type = request and "table" or param.type, doc = text }
  local modifier = param.optional and (default and "[opt=" .. default .. "]" or "[opt]") or ""
  put(("-- @tparam%s %s %s%s %s"):format(modifier, kind, prefix, param.name, doc))
  for _, member in ipairs(request and request.fields or {}) do
    tag_param(member, param.name .. ".")
  end
end

local function doc_of(f, part, i)
  local item, other = f[part][i], f.see and model.functions[f.see][part][i]
  local doc = item.doc == "" and other and other.doc or item.doc
  return { name = item.name, type = item.type, optional = item.optional, doc = doc }
end

local function tag_function(f, name)
  local said = f.see and model.functions[f.see].doc
  comment(said and said .. "\n\n" .. f.doc or f.doc)
  put("-- @function " .. name)
  for i in ipairs(f.params) do
    tag_param(doc_of(f, "params", i), "")
  end
  for i in ipairs(f.returns) do
    local value = doc_of(f, "returns", i)
    local kind, doc = shown(value)
    put(("-- @treturn %s %s%s"):format(kind, value.name, doc == "" and "" or ": " .. doc))
  end
  put ""
end

local function is_operation(f)
  return f.file:find("operation_types", 1, true) ~= nil
end

local function methods(class, prefix, wanted)
  for _, f in ipairs(class.methods) do
    if not f.private and is_operation(f) == (wanted == "operations") then
      tag_function(f, prefix .. f.name)
    end
  end
end

local function section(title, doc)
  comment(title .. ".\n" .. doc)
  put("-- @section " .. title:gsub("%W+", "_") .. "\n")
end

local function fields_of(class)
  local list = {}
  for _, source in ipairs { class.parent and model.classes[class.parent] or {}, class } do
    for _, field in ipairs(source.fields or {}) do
      list[#list + 1] = field
    end
  end
  return list
end

local function tag_table(class, name)
  comment(class.doc)
  put("-- @table " .. name)
  for _, field in ipairs(fields_of(class)) do
    local kind, doc = shown(field)
    put(("-- @tfield %s%s %s %s"):format(field.optional and "?" or "", kind, field.name, doc))
  end
  put ""
end

-- LDoc has no fields of types.
local function list_fields(class)
  local items = {}
  for _, field in ipairs(class.fields) do
    local line = { ("%s%s: %s"):format(field.name, field.optional and "?" or "", field.type), field.doc }
    items[#items + 1] = not SPEC_ONLY[field.name] and line or nil
  end
  put_list(items)
end

local function tag_alias(alias, name)
  comment(alias.doc)
  local items = { alias.type and { alias.type, "" } }
  for _, value in ipairs(alias.values) do
    items[#items + 1] = { value.value, value.doc }
  end
  put_list(items)
  put("-- @table " .. name .. "\n")
end

-- ---- the page ----

local module = model.classes.kinesis
comment(module.doc)
list_fields(module)
put "-- @module kinesis\n"
methods(module, "")
for _, name in ipairs(TYPES) do
  local class = model.classes["kinesis." .. name]
  comment(class.doc)
  list_fields(class)
  put("-- @type " .. name .. "\n")
  methods(class, name .. ":")
end
section("Module kinesis.openresty", "For nginx: one client and one producer a stream for each worker.")
methods(model.classes["kinesis.openresty"], "openresty.")
section("Operations of the API", "Each is a function of the module and a method of a client. "
  .. "Blobs are strings of bytes, not base64; times are seconds since 1970.")
methods(module, "", "operations")
section("Options", "Tables that the functions take.")
for _, name in ipairs(OPTIONS) do
  tag_table(model.classes["kinesis." .. name], name)
end
section("Tables", "What the functions take and return.")
for _, name in ipairs(TABLES) do
  tag_table(model.classes["kinesis." .. name], name)
end
for _, name in ipairs(ALIASES) do
  tag_alias(model.aliases["kinesis." .. name], name)
end
section("Structures of the API", "What the operations take and return.")
local structures = {}
for name in pairs(model.classes) do
  structures[#structures + 1] = name:match "^kinesis%.(api%.%a+)$"
end
table.sort(structures)
for _, name in ipairs(structures) do
  if not name:find "Request$" then
    tag_table(model.classes["kinesis." .. name], (name:gsub("^api%.", "")))
  end
end

local file = assert(io.open(arg[1], "w"))
file:write(table.concat(out, "\n"))
file:close()
