#!/bin/bash
# make soak: three workers that come and go, see workers.lua.
#
#   spec/soak/workers.sh [SECONDS]    ends with status 1 when a record is lost, or a shard stays unread
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
source spec/support/services.sh
trap stop_services EXIT
trap 'exit 130' INT TERM
unset AWS_CA_BUNDLE AWS_PROFILE AWS_SESSION_TOKEN LUA_PATH_5_4 LUA_CPATH_5_4
export AWS_EC2_METADATA_DISABLED=true
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;$PWD/spec/?.lua;;" LUA_CPATH="$PWD/build/lua5.4/?.so;;"
start_kinesalite || exit 1
mkdir -p build/run/workers
export KINESALITE ROOT=$PWD RUN_DIR=$PWD/build/run/workers REPORT=$PWD/build/run/workers LUA=lua5.4
lua5.4 spec/soak/workers.lua "${1:-3600}" "${2:-$(date +%s)}"
