--- A second working tree, for commands with state in build/run: links to the sources and builds.
local fresh = require "support.fresh"

local M = {}

local function run(command)
  local output, status = fresh.spawn(command):wait()
  assert(status == 0, output)
  return output
end

--- Creates one; returns its folder. `without`: a part to leave out, such as "build/node".
function M.make(without)
  local root = run("mktemp -d /tmp/kinesis-spec-XXXXXX"):match "^(.-)\n$"
  run(("mkdir '%s/build'"):format(root))
  for _, part in ipairs { "Makefile", "rockspec", "csrc", "lua", "examples", "spec", "build/node", "build/lua5.4",
    "build/luajit" } do
    if part ~= without then
      run(("ln -s \"$ROOT/%s\" '%s/%s'"):format(part, root, part))
    end
  end
  return root
end

--- Ends the service that `make env` started there, and removes the tree.
function M.remove(root)
  run(("cd '%s' && spec/support/local.sh stop && cd / && rm -rf '%s'"):format(root, root))
end

--- Runs shell lines in it. Returns their output and exit status.
function M.shell(root, env, lines)
  return fresh.spawn(("unset MAKEFLAGS MAKELEVEL MFLAGS; cd '%s'\n%s"):format(root, lines), env):wait()
end

return M
