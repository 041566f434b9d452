-- make install and make uninstall. One flavour is enough: they are about files.
-- Flavours: lua5.4

local fresh = require "support.fresh"

local folder

-- Runs a target in the tree.
local function make(target, env)
  local output, status = fresh.spawn('make --no-print-directory -s -C "$ROOT" ' .. target, env):wait()
  return status, output
end

-- Every file and folder below one, one a line.
local function tree(path)
  return (fresh.spawn("cd '" .. path .. "' && find . | LC_ALL=C sort"):wait())
end

local function put_file(path)
  fresh.spawn("install -D /dev/null " .. path):wait()
end

setup(function()
  folder = fresh.spawn("mktemp -d"):wait():match "%S+"
end)

teardown(function()
  fresh.spawn("rm -rf " .. folder):wait()
end)

describe("make install", function()
  it("refuses a version of Lua that is not built, and copies nothing", function()
    local status, words = make("install LUA_VERSION=5.3 PREFIX=" .. folder)
    assert.equal(2, status)
    assert.matches("LUA_VERSION=5.3 is not built here: 5.4 is, and 5.1 for LuaJIT", words, 1, true)
    assert.equal(".\n", tree(folder))
  end)

  it("says that PREFIX cannot be written, and what else can be done", function()
    -- below a file, as root may write to every folder
    put_file(folder .. "/file")
    local status, words = make("install PREFIX=" .. folder .. "/file/prefix")
    assert.equal(2, status)
    assert.matches(folder .. "/file cannot be written by ", words, 1, true)
    assert.matches("make install PREFIX=~/.local", words, 1, true)
    assert.matches("luarocks --local", words, 1, true)
    os.remove(folder .. "/file")
    assert.equal(".\n", tree(folder))
  end)

  it("goes on where an earlier one was taken away in part, by hand", function()
    local prefix = folder .. "/again"
    assert.equal(0, (make("install PREFIX=" .. prefix)))
    local before = tree(prefix)
    fresh.spawn("rm -r " .. prefix .. "/lib/lua/5.4/kinesis"):wait()
    local status, words = make("install PREFIX=" .. prefix)
    assert.equal(0, status, words)
    assert.equal(before, tree(prefix))
    fresh.spawn("rm -r " .. prefix):wait()
  end)

  it("says what to export where Lua does not look there; the lines work", function()
    local prefix = folder .. "/my own"
    local status, words = make("install PREFIX='" .. prefix .. "'")
    assert.equal(0, status, words)
    local exports = {}
    for line in words:gmatch "export [^\n]+" do
      exports[#exports + 1] = line
    end
    assert.equal(2, #exports, words)
    local command = [[unset LUA_PATH LUA_CPATH; cd /; %s; lua5.4 -e '%s']]
    local output = fresh.spawn(command:format(table.concat(exports, "; "),
      [[print(require("kinesis")._VERSION, package.searchpath("kinesis.core", package.cpath))]])):wait()
    assert.equal(("%s\t%s/lib/lua/5.4/kinesis/core.so\n"):format(require("kinesis")._VERSION, prefix), output)
    assert.equal(0, (make("uninstall PREFIX='" .. prefix .. "'")))
  end)

  it("takes a ~ from a shell that leaves it as it is, and is silent where Lua looks", function()
    local status, words = make("install 'PREFIX=~/.local'", {
      HOME = folder, LUA_CPATH = folder .. "/.local/lib/lua/5.4/?.so",
      LUA_PATH = folder .. "/.local/share/lua/5.4/?.lua;" .. folder .. "/.local/share/lua/5.4/?/init.lua",
    })
    assert.equal(0, status, words)
    assert.is_nil(words:find("export", 1, true), words)
    assert.matches("./.local/share/lua/5.4/kinesis/init.lua\n", tree(folder), 1, true)
    make("uninstall 'PREFIX=~/.local'", { HOME = folder })
  end)
end)

-- Compiles where the headers whose names begin with `missing` are not there.
local function compile_without(missing, file)
  local output = fresh.spawn([[
    cd "$ROOT" && mkdir -p $T/multiarch
    link() { for f in "$1"/*; do case ${f##*/} in $MISSING*) ;; *) ln -s "$f" "$2" ;; esac; done; }
    link /usr/include $T
    link /usr/include/$(gcc -print-multiarch) $T/multiarch
    gcc -fsyntax-only -nostdinc -isystem "$(gcc -print-file-name=include)" -isystem $T/multiarch -isystem $T \
      -Icsrc $FILE
    rm -r $T]], { T = folder .. "/include", MISSING = missing, FILE = file }):wait()
  return output
end

describe("the compiler names the packages", function()
  for header, case in pairs {
    ["<curl/curl.h>"] = { missing = "curl", file = "csrc/engine/http.c", packages = { "libcurl4-openssl-dev" } },
    ["<openssl/evp.h>"] = { missing = "openssl", file = "csrc/wire/sigv4.c", packages = { "libssl-dev" } },
    ["<lua.h>"] = {
      missing = "lua", file = "csrc/lua/module.c",
      packages = { "liblua5.4-dev", "libluajit-5.1-dev", "libluajit2-5.1-dev" },
    },
  } do
    it("that bring " .. header, function()
      local words = compile_without(case.missing, case.file)
      assert.matches(header .. " is missing", words, 1, true)
      for _, package in ipairs(case.packages) do
        assert.matches(package, words, 1, true)
      end
    end)
  end
end)

-- OpenSSL 1.1 before the headers of 3.0, which are found for what 1.1 does not have.
it("the compiler says that OpenSSL is too old", function()
  for version, number in pairs { ["1.1.1w"] = "0x1010117fL", ["LibreSSL"] = "0x20000000L" } do
    local output = fresh.spawn([[
      cd "$ROOT" && mkdir -p $T/openssl && touch $T/openssl/evp.h &&
      echo "#define OPENSSL_VERSION_NUMBER $NUMBER" >$T/openssl/opensslv.h
      gcc -fsyntax-only -I$T -Icsrc csrc/wire/sigv4.c 2>&1 | grep error; rm -r $T]],
      { T = folder .. "/old-ssl", NUMBER = number }):wait()
    assert.matches("^[^\n]*OpenSSL 3.0 or newer is needed", output, 1, false, version)
  end
end)

describe("make uninstall", function()
  it("removes what install put there, and nothing else", function()
    local root = folder .. "/root"
    put_file(root .. "/usr/share/lua/5.1/kinesis/mine.lua")
    local before = tree(root)
    local where = " PREFIX=/usr LUA_VERSION=5.1 DESTDIR=" .. root
    local status, words = make("install" .. where)
    assert.equal(0, status, words)
    assert.matches("./usr/lib/lua/5.1/kinesis/core.so\n", tree(root), 1, true)
    assert.equal(0, (make("install" .. where))) -- over it
    assert.equal(0, (make("uninstall" .. where)))
    assert.equal(before, tree(root))
  end)

  it("leaves alone what another installer put there", function()
    local root = folder .. "/rock"
    put_file(root .. "/share/lua/5.4/kinesis/init.lua")
    local before = tree(root)
    local status, words = make("uninstall PREFIX=" .. root)
    assert.equal(0, status)
    assert.matches("There is nothing that make install put into", words, 1, true)
    assert.equal(before, tree(root))
  end)

  it("takes away the files that the next version no longer has", function()
    local root = folder .. "/next"
    assert.equal(0, (make("install PREFIX=" .. root)))
    local lua = root .. "/share/lua/5.4/kinesis/"
    fresh.spawn(("touch %sold.lua; echo share/lua/5.4/kinesis/old.lua >>%sinstalled-by-make"):format(lua, lua)):wait()
    assert.equal(0, (make("install PREFIX=" .. root)))
    assert.is_nil(io.open(lua .. "old.lua"))
    assert.equal(0, (make("uninstall PREFIX=" .. root)))
    assert.equal(".\n", tree(root))
  end)
end)
