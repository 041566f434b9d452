#!/bin/bash
# Prints shell lines for `eval`, in any POSIX shell: Lua 5.4, and LuaJIT where its build is there (so nginx, too),
# find the library in this tree, and behind it what they have found so far. LuaJIT knows LUA_PATH and LUA_CPATH only;
# Lua 5.4 looks at the names with its version first.
set -euo pipefail
cd "$(dirname "$0")/../.."

# `;;` stands for what is built into the interpreter. A list that our entries head already is not made longer.
path_line() { # NAME OURS OLD
  local ours=$2 old=$3
  case $old in
  "$ours;;"*) old=${old#"$ours"} ;;
  "$ours;"*) old=${old#"$ours;"} ;;
  esac
  [[ $old == ";;"* ]] || old=";$old"
  printf "export %s='%s'\n" "$1" "${ours//\'/\'\\\'\'}${old//\'/\'\\\'\'}"
}

lua="$PWD/lua/?.lua;$PWD/lua/?/init.lua"
path_line LUA_PATH_5_4 "$lua" "${LUA_PATH_5_4:-${LUA_PATH:-;;}}"
path_line LUA_CPATH_5_4 "$PWD/build/lua5.4/?.so" "${LUA_CPATH_5_4:-${LUA_CPATH:-;;}}"
if [ -e build/luajit/kinesis/core.so ]; then
  path_line LUA_PATH "$lua" "${LUA_PATH:-;;}"
  path_line LUA_CPATH "$PWD/build/luajit/?.so" "${LUA_CPATH:-;;}"
fi
