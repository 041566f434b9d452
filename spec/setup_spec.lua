-- What setup.sh and certs.sh ask for and say, where tools are missing or fail. The tools are stand-ins: the real ones
-- would change this machine.
-- Flavours: lua5.4

local fresh = require "support.fresh"

local folder

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- Puts a stand-in for a tool on the scripts' PATH.
local function tool(name, script)
  write(folder .. "/bin/" .. name, "#!/bin/bash\n" .. script .. "\n")
  fresh.spawn(("chmod +x %s/bin/%s"):format(folder, name)):wait()
end

-- Runs a script of a copy of spec/support, with nothing but the stand-ins and the shell's own tools.
local function run(script)
  return fresh.spawn(("PATH=%s/bin exec %s/spec/support/%s"):format(folder, folder, script)):wait()
end

before_each(function()
  folder = fresh.spawn([[
    T=$(mktemp -d)
    mkdir -p $T/spec/support $T/bin
    cp "$ROOT"/spec/support/*.sh "$ROOT/spec/support/package.json" $T/spec/support
    for name in bash cat cmp date dirname env gcc id mkdir readlink rm sed sort tr; do
      ln -s $(command -v $name) $T/bin
    done
    echo $T]]):wait():match "%S+"
  tool("dpkg-query", "echo 'dpkg-query: no packages found matching luajit*' >&2; exit 1")
  tool("apt-cache", "")
  tool("apt-get", "")
end)

after_each(function()
  fresh.spawn("rm -rf " .. folder):wait()
end)

describe("LuaJIT is asked for", function()
  before_each(function()
    os.remove(folder .. "/bin/id")
    tool("id", "echo 1000") -- says what to install, and installs nothing
  end)

  local function asked_for()
    local output, status = run "setup.sh test"
    assert.equal(1, status)
    return output:match "sudo apt%-get install [^\n]* (luajit%d?) "
  end

  it("by the name of which a part is installed", function()
    tool("apt-cache", "echo libluajit2-5.1-dev - there is")
    tool("dpkg-query", "printf 'installed libluajit-5.1-common\\nnot-installed libluajit2-5.1-2\\n'")
    assert.equal("luajit", asked_for())
    tool("dpkg-query", "echo installed libluajit2-5.1-2")
    assert.equal("luajit2", asked_for())
  end)

  it("by the name that apt has, where none is installed", function()
    assert.equal("luajit", asked_for())
    tool("apt-cache", '[[ $* != *libluajit2-5.1-dev* ]] || echo "libluajit2-5.1-dev - there is"')
    assert.equal("luajit2", asked_for())
  end)
end)

describe("a bare busted", function()
  it("says how to run the specs", function()
    local output, status = fresh.spawn('cd "$ROOT" && unset REPORT && $LUA /usr/bin/busted'):wait()
    assert.equal(2, status)
    assert.matches("make test", output, 1, true)
    assert.matches("spec/support/run.sh lua5.4 spec/put_spec.lua", output, 1, true)
  end)
end)

describe("the words of a tool that fails are shown:", function()
  before_each(function()
    os.remove(folder .. "/bin/id")
    tool("id", "echo 0")
    tool("node", "echo 20.0.0")
  end)

  it("apt-get's, of both attempts", function()
    tool("apt-get", [[case $* in
      *update*) : >"$0.updated"; echo "W: words of update" >&2 ;;
      *) [ -e "$0.updated" ] && echo "E: second words" >&2 || echo "E: first words" >&2; exit 100 ;;
    esac]])
    local output, status = run "setup.sh demo"
    assert.equal(1, status)
    for _, words in ipairs { "E: first words", "W: words of update", "E: second words" } do
      assert.matches(words, output, 1, true)
    end
  end)

  it("apt-get's first ones not, where the second attempt succeeds", function()
    tool("apt-get", [[case $* in
      *update*) : >"$0.updated" ;;
      *) [ -e "$0.updated" ] || { echo "E: first words" >&2; exit 100; } ;;
    esac]])
    local output = run "setup.sh demo"
    assert.matches("Still missing after the installation: .*lua5.4", output)
    assert.is_nil(output:find("first words", 1, true))
  end)

  it("apt-get's, where it would have to remove something; nothing is removed", function()
    tool("apt-get", [[case $* in
      *update*) ;;
      -s*) printf 'Inst luajit2\nRemv luajit [2.1.0]\nRemv libluajit-5.1-2 [2.1.0]\n' ;;
      *--no-remove*) echo "E: Packages need to be removed but remove is disabled." >&2; exit 100 ;;
    esac]])
    local output, status = run "setup.sh demo"
    assert.equal(1, status)
    assert.matches("E: Packages need to be removed but remove is disabled.", output, 1, true)
    assert.matches("would have to remove what conflicts: luajit libluajit-5.1-2 \n", output, 1, true)
  end)

  it("a check's, when it still fails after the installation", function()
    tool("lua5.4", "echo \"lua5.4: module 'cjson' is broken\" >&2; exit 1")
    local output, status = run "setup.sh demo"
    assert.equal(1, status)
    assert.matches("\nlua-cjson: lua5.4: module 'cjson' is broken\n", output, 1, true)
  end)

  it("openssl's, when a certificate cannot be made", function()
    tool("openssl", [[[ "$1" != ca ] || { echo "error: no such date" >&2; exit 1; }]])
    local output, status = run "certs.sh"
    assert.equal(1, status)
    assert.matches("error: no such date\n", output, 1, true)
  end)
end)
