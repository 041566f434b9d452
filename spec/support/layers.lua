-- make layers: checks the architecture.
--
--   lua5.4 spec/support/layers.lua           prints each breach as file:line: …
--   lua5.4 spec/support/layers.lua --write   updates the file lists of the rockspecs
--
-- C: an #include refers to a lower layer or to its own, and includes have no
-- cycles; only engine/http includes curl, only csrc/lua includes Lua, and wire
-- uses neither threads nor sockets. Lua: requires have no cycles; wait, config
-- and credentials require neither client nor init. The rockspecs list the files
-- on disk. No product file is longer than LONGEST lines.
local ROCKSPEC = "rockspec/kinesis-scm-1.rockspec"
local LONGEST = 600
local RANK = { base = 1, wire = 2, engine = 3, producer = 4, consumer = 4, lease = 4, lua = 5 }
local LUA_HEADERS = {
  ["lua.h"] = true, ["lauxlib.h"] = true, ["lualib.h"] = true, ["luaconf.h"] = true,
  ["luajit.h"] = true, ["lua.hpp"] = true,
}
local NOT_IN_WIRE = { "^pthread%.h$", "^threads%.h$", "^poll%.h$", "^netdb%.h$", "^sys/socket%.h$", "^sys/e.*poll%.h$" }
local LOW = { wait = true, config = true, credentials = true }
local HIGH = { ["kinesis"] = true, ["kinesis.init"] = true, ["kinesis.client"] = true }

local breaches = {}

local function breach(file, line, text, ...)
  breaches[#breaches + 1] = ("%s:%d: %s"):format(file, line, text:format(...))
end

local function find(folder, names)
  local list = {}
  local pipe = assert(io.popen(("find %s -type f \\( %s \\) 2>/dev/null | LC_ALL=C sort"):format(folder, names)))
  for path in pipe:lines() do
    list[#list + 1] = path
  end
  pipe:close()
  return list
end

local function set(list)
  local result = {}
  for _, item in ipairs(list) do
    result[item] = true
  end
  return result
end

-- Walks `edges[node] = {{to=, line=}, …}` and reports every edge that closes a cycle.
local function circles(nodes, edges, tell)
  local state, path = {}, {}
  local function visit(node)
    state[node] = "open"
    path[#path + 1] = node
    for _, edge in ipairs(edges[node] or {}) do
      if state[edge.to] == "open" then
        local chain, inside = {}, false
        for _, step in ipairs(path) do
          inside = inside or step == edge.to
          if inside then
            chain[#chain + 1] = step
          end
        end
        chain[#chain + 1] = edge.to
        tell(node, edge.line, table.concat(chain, " → "))
      elseif not state[edge.to] then
        visit(edge.to)
      end
    end
    path[#path] = nil
    state[node] = "done"
  end
  for _, node in ipairs(nodes) do
    if not state[node] then
      visit(node)
    end
  end
end

-- C ------------------------------------------------------------------------------------------------

local c_files = find("csrc", "-name '*.c' -o -name '*.h'")
local on_disk = set(c_files)

local function own_include(file, layer, line, target)
  local to_layer = target:match("^([^/]+)/")
  if not on_disk["csrc/" .. target] then
    breach(file, line, 'includes "%s", and there is no csrc/%s', target, target)
  elseif not RANK[to_layer] then
    breach(file, line, 'includes "%s", which is in no layer', target)
  elseif RANK[to_layer] > RANK[layer] then
    breach(file, line, 'includes "%s": %s is above %s', target, to_layer, layer)
  elseif RANK[to_layer] == RANK[layer] and to_layer ~= layer then
    breach(file, line, 'includes "%s": %s and %s are siblings', target, to_layer, layer)
  end
end

local function foreign_include(file, layer, line, target)
  if target:match("^curl/") and not file:match("^csrc/engine/http[%w_]*%.[ch]$") then
    breach(file, line, "includes <%s>: only engine/http knows curl", target)
  elseif target:match("^openssl/") and file ~= "csrc/base/openssl.h" then
    breach(file, line, "includes <%s>: only base/openssl.h does", target)
  elseif LUA_HEADERS[target:match("[^/]+$")] and layer ~= "lua" then
    breach(file, line, "includes <%s>: only csrc/lua knows Lua", target)
  elseif layer == "wire" then
    for _, pattern in ipairs(NOT_IN_WIRE) do
      if target:match(pattern) then
        breach(file, line, "includes <%s>: wire has no threads and no sockets", target)
      end
    end
  end
end

local includes = {}
for _, file in ipairs(c_files) do
  local layer = file:match("^csrc/([^/]+)/[^/]+$")
  includes[file] = {}
  if not RANK[layer] then
    breach(file, 1, "is in no layer (base, wire, engine, producer, consumer, lua)")
  else
    local number = 0
    for line in io.lines(file) do
      number = number + 1
      local open, target = line:match('^%s*#%s*include%s*([<"])([^>"]+)[>"]')
      if open == '"' and not LUA_HEADERS[target] then
        own_include(file, layer, number, target)
        table.insert(includes[file], { to = "csrc/" .. target, line = number })
      elseif target then
        foreign_include(file, layer, number, target)
      end
    end
  end
end
circles(c_files, includes, function(file, line, chain)
  breach(file, line, "closes a circle: %s", chain)
end)

-- Lua ----------------------------------------------------------------------------------------------

local lua_files = find("lua", "-name '*.lua'")

local function module_of(file)
  return (file:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

local file_of, modules, requires = {}, {}, {}
for _, file in ipairs(lua_files) do
  local name = module_of(file)
  file_of[name] = file
  modules[#modules + 1] = name
end
for _, name in ipairs(modules) do
  local file, number = file_of[name], 0
  local folder = name:match("^kinesis%.([^.]+)")
  requires[name] = {}
  for line in io.lines(file) do
    number = number + 1
    local code = line:gsub("%-%-.*", "")
    for _, target, after in code:gmatch("require%s*%(?%s*([\"'])([%w_.]+)%1%s*(.?)") do
      local whole = after ~= "." -- not the beginning of a name that is put together
      if whole and (target == "kinesis" or target:match("^kinesis%.")) and target ~= "kinesis.core" then
        if not file_of[target] then
          breach(file, number, "requires %s, and there is no such file", target)
        elseif LOW[folder] and HIGH[target] then
          breach(file, number, "requires %s: %s is below it", target, folder)
        end
        table.insert(requires[name], { to = target, line = number })
      end
    end
  end
end
circles(modules, requires, function(name, line, chain)
  breach(file_of[name], line, "closes a circle: %s", chain)
end)

-- The rockspec -------------------------------------------------------------------------------------

local c_sources = {}
for _, file in ipairs(c_files) do
  if file:match("%.c$") then
    c_sources[#c_sources + 1] = file
  end
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- The rockspec of the release is the other one, but for its version and its source.
local VERSION = dofile "lua/kinesis/version.lua"
local RELEASE = ("rockspec/kinesis-%s-1.rockspec"):format(VERSION)

local function release_of(text)
  text = text:gsub('version = "scm%-1"', ('version = "%s-1"'):format(VERSION), 1)
  return (text:gsub('source = {[^}]*}', (([[source = {
  url = "https://github.com/kinesis-lua/kinesis/archive/refs/tags/v%s.tar.gz",
  dir = "kinesis-%s",
}]]):format(VERSION, VERSION):gsub("%%", "%%%%")), 1))
end

local function write_lists()
  local text = read(ROCKSPEC)
  local sources, mods = {}, {}
  for _, file in ipairs(c_sources) do
    sources[#sources + 1] = ('        "%s",\n'):format(file)
  end
  for _, name in ipairs(modules) do
    mods[#mods + 1] = ('    ["%s"] = "%s",\n'):format(name, file_of[name])
  end
  text = text:gsub("(sources = {\n)[^}]*(      },\n)", function(head, tail)
    return head .. table.concat(sources) .. tail
  end)
  text = text:gsub('    %["[%w_.]+"%] = "lua/[^\n]*\n', "")
  text = text:gsub('(libraries = [^\n]*\n    },\n)', function(head)
    return head .. table.concat(mods)
  end)
  write(ROCKSPEC, text)
  write(RELEASE, release_of(text))
  print(("%s: %d C sources, %d Lua modules"):format(ROCKSPEC, #c_sources, #modules))
end

if arg[1] == "--write" then
  write_lists()
  os.exit(0)
end

local release = io.open(RELEASE)
if not release or release:read("a") ~= release_of(read(ROCKSPEC)) then
  breach(RELEASE, 1, "is not what %s would be as a release", ROCKSPEC)
end

local spec = {}
assert(load(read(ROCKSPEC), ROCKSPEC, "t", spec))()
local listed = set(spec.build.modules["kinesis.core"].sources)
for _, file in ipairs(c_sources) do
  if not listed[file] then
    breach(file, 1, "is not in the rockspec")
  end
  listed[file] = nil
end
for file in pairs(listed) do
  breach(ROCKSPEC, 1, "lists %s, which is not there", file)
end
for name, file in pairs(spec.build.modules) do
  if type(file) == "string" and file_of[name] ~= file then
    breach(ROCKSPEC, 1, "lists %s as %s, which is not there", file, name)
  end
end
for _, name in ipairs(modules) do
  if spec.build.modules[name] ~= file_of[name] then
    breach(file_of[name], 1, "is not in the rockspec as %s", name)
  end
end

-- Lengths ------------------------------------------------------------------------------------------

for _, list in ipairs({ c_files, lua_files }) do
  for _, file in ipairs(list) do
    local lines, generated = 0, false
    for line in io.lines(file) do
      lines = lines + 1
      generated = generated or line:find "^%-%- Written by "
    end
    if lines > LONGEST and not generated then
      breach(file, lines, "has %d lines; more than %d hold two ideas", lines, LONGEST)
    end
  end
end

table.sort(breaches)
for _, text in ipairs(breaches) do
  print(text)
end
local count = #c_files + #lua_files
if #breaches > 0 then
  print(("layers: %d files, %d breach%s"):format(count, #breaches, #breaches == 1 and "" or "es"))
  os.exit(1)
end
print(("layers: %d files, no breach"):format(count))
