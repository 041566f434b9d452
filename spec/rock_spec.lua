--- The rock: packed from this tree, served from a folder, installed into an empty tree, and used with
--- nothing else on the path. It builds its own core, so one flavour of the suite is enough for it.
-- Flavours: lua5.4

local fresh = require "support.fresh"
local version = require "kinesis.version"

local function run(command)
  local pipe = assert(io.popen(("{ %s\n} 2>&1"):format(command)))
  local output = pipe:read("*a")
  return assert(pipe:close(), command .. "\n" .. output) and output
end

-- What the release would be, but for where it is fetched from.
local PACK = [[
set -e
cd '@root@'
git ls-files -co --exclude-standard | tar -cz --transform 's|^|kinesis-@version@/|' -f @folder@/kinesis.tar.gz -T -
sed 's|url = ".*"|url = "file://@folder@/kinesis.tar.gz"|' rockspec/@rock@.rockspec > @folder@/@rock@.rockspec
echo 'rocks_provided = { ["lua-cjson"] = "2.1.0-1" } rocks_servers = {}' > @folder@/config.lua
mkdir @folder@/server && cd @folder@/server
export LUAROCKS_CONFIG=@folder@/config.lua
luarocks --lua-version=5.4 pack @folder@/@rock@.rockspec
luarocks-admin --lua-version=5.4 make_manifest .
]]

local INSTALL = [[
LUAROCKS_CONFIG=@folder@/config.lua luarocks --lua-version=@lua@ --tree=@tree@ \
  install --only-server=@folder@/server kinesis @flags@
]]

-- lua-cjson is Debian's, which is no rock; everything else on the path is the tree.
local RUN = [[
cjson=$(dirname $(ls /usr/lib/*/lua/@lua@/cjson.so))
env -i LUA_PATH='@tree@/share/lua/@lua@/?.lua;@tree@/share/lua/@lua@/?/init.lua' \
  LUA_CPATH="@tree@/lib/lua/@lua@/?.so;$cjson/?.so" \
  @interpreter@ @tree@/use.lua @endpoint@ @stream@ @interpreter@
]]

local USE = [[
local kinesis = require "kinesis"
kinesis.configure { endpoint = arg[1], region = "us-east-1",
  credentials = { access_key_id = "a", secret_access_key = "b" } }
print(assert(kinesis.put(arg[2], "from " .. arg[3], "key")).shard_id)
for record in kinesis.shards(arg[2]):records { stop_at_tip = true } do
  print(record.data)
end
]]

-- The first as a user would; the others do not spend their time on optimizing.
local targets = {
  { interpreter = "lua5.4", lua = "5.4", flags = "" },
  { interpreter = "luajit", lua = "5.1", flags = "LUA_INCDIR=/usr/include/luajit-2.1 CFLAGS='-O0 -fPIC'" },
  { interpreter = "lua5.1", lua = "5.1", flags = "LUA_INCDIR=/usr/include/lua5.1 CFLAGS='-O0 -fPIC'" },
  { interpreter = "lua5.3", lua = "5.3", flags = "LUA_INCDIR=/usr/include/lua5.3 CFLAGS='-O0 -fPIC'" },
}

describe("the rock", function()
  local values

  local function fill(text)
    return (text:gsub("@(%w+)@", values))
  end

  setup(function()
    values = {
      root = os.getenv "ROOT",
      folder = run("mktemp -d"):match("%S+"),
      version = version,
      rock = ("kinesis-%s-1"):format(version),
      endpoint = fresh.services[1].endpoint,
    }
    run(fill(PACK))
  end)

  teardown(function()
    run(fill("rm -rf @folder@"))
  end)

  for _, target in ipairs(targets) do
    it("installs into an empty tree and works for " .. target.interpreter, function()
      local client = fresh.client(fresh.services[1])
      values.stream = fresh.stream(client)
      client:close()
      values.interpreter, values.lua, values.flags = target.interpreter, target.lua, target.flags
      values.tree = values.folder .. "/" .. target.interpreter
      run(fill(INSTALL))
      local script = assert(io.open(values.tree .. "/use.lua", "w"))
      script:write(USE)
      script:close()
      assert.equal(("shardId-000000000000\nfrom %s\n"):format(target.interpreter), run(fill(RUN)))
    end)
  end
end)
