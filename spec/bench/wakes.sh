#!/bin/bash
# wakes.lua in luv (LuaJIT) and in nginx; from the top of the tree.
set -uo pipefail
source spec/support/services.sh
trap stop_services EXIT
trap 'exit 130' INT TERM
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;$PWD/spec/?.lua;;"
export LUA_CPATH="$PWD/build/luajit/?.so;$PWD/build/bench/luajit/?.so;;"
luajit -e '
  local uv, wakes = require "luv", require "bench.wakes"
  print(wakes.line("poll():", wakes.measure(wakes.client(), wakes.bare_ready)))
  coroutine.wrap(function()
    print(wakes.line("luv:", wakes.measure(wakes.client(), require("kinesis.wait.luv").ready)))
    os.exit(0)
  end)()
  uv.run()'
KINESIS_LOCAL='' KINESALITE=''
start_nginx spec/bench/wakes.conf || exit 1
curl -s -m 60 "$NGINX_WAKES/"
