#!/bin/bash
# Fuzzes one target after the other: spec/fuzz/run.sh SECONDS [TARGET…], from the top of the tree.
# Corpora grow in build/fuzz/TARGET; what was found is left there, and the exit status says so.
set -uo pipefail
seconds=$1
shift
unset LUA_PATH_5_4 LUA_CPATH_5_4
export LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='build/lua5.4/?.so;;'
found=0
for target in "$@"; do
  dir=build/fuzz/$target
  leaks=1
  [ ! -e "spec/fuzz/$target.lua" ] || leaks=0 # what Lua has not collected yet would be looked into at every run
  mkdir -p "$dir/corpus"
  if "build/fuzz/$target.bin" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
    -detect_leaks=$leaks -print_final_stats=1 -artifact_prefix="$dir/" "$dir/corpus" "spec/fuzz/seeds/$target" 2>"$dir/log"; then
    verdict=clean
  else
    verdict="FOUND SOMETHING, see $dir"
    found=1
  fi
  printf '%-12s %12s executions  %s\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$dir/log")" "$verdict"
done
exit $found
