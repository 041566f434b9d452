#!/bin/bash
# make interop: workers of this library and of the Kinesis Client Library (KCL) on one table of leases, see scenes.lua.
#
#   spec/interop/run.sh SECONDS SCENE…    ends with status 1 when a scene fails
#
# What is needed of Maven is in pom.xml, and goes to build/interop. The stream is on kinesis-local, the table in DynamoDB
# Local; between them and the workers is a proxy that notes requests (counting.conf).
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
HERE=spec/interop OUT=$PWD/build/interop

missing=
for program in java javac mvn nginx; do command -v $program >/dev/null || missing+=" $program"; done
if [ -n "$missing" ]; then
  echo "interop: not on this machine:$missing (Debian: default-jdk-headless maven nginx libnginx-mod-http-lua)" >&2
  exit 1
fi

# The artifacts of a profile, and a source that is compiled with them.
fetch() { # PROFILE SOURCE
  local to=$OUT/$1
  if [ $HERE/pom.xml -nt "$to/fetched" ]; then
    echo "interop: fetching $1" >&2
    rm -rf "$to"
    mkdir -p "$to"
    mvn -q -B -Dstyle.color=never -f $HERE/pom.xml -P "$1" dependency:copy-dependencies -DoutputDirectory="$to/lib" >&2 || return
    touch "$to/fetched"
  fi
  [ $HERE/"$2" -nt "$to/compiled" ] || return 0
  javac -d "$to/classes" -cp "$to/lib/*" "$HERE/$2" && touch "$to/compiled"
}
fetch dynamodb Dynamo.java && fetch kcl1 Kcl1.java && fetch kcl2 Kcl.java && fetch kcl3 Kcl.java || exit

source spec/support/services.sh
RUN_DIR=$OUT/run LOG_DIR=$OUT/log
rm -rf "$RUN_DIR"
mkdir -p "$RUN_DIR" "$LOG_DIR"

# A run that is cut short leaves workers.
end_all() {
  local pid
  for pid in $(sed -n 's/^[^ ]* [^ ]* begins [^ ]* \([0-9]*\)$/\1/p' "$RUN_DIR"/*.said 2>/dev/null); do
    grep -qs interop "/proc/$pid/cmdline" && kill -9 "$pid"
  done
  stop_services
}
trap end_all EXIT
trap 'exit 130' INT TERM
eval "$(spec/support/seal.sh)"
unset LUA_PATH_5_4 LUA_CPATH_5_4
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;$PWD/spec/?.lua;;" LUA_CPATH="$PWD/build/lua5.4/?.so;;"

# It says nowhere which port it has chosen.
start_dynamodb_local() {
  local port
  port=$(free_ports 1)
  port=${port// /}
  (
    cd "$OUT/dynamodb" && exec setsid java -Xmx256m -XX:TieredStopAtLevel=1 -Djava.library.path=lib -cp 'classes:lib/*' \
      Dynamo -inMemory -sharedDb -disableTelemetry -delayTransientStatuses -port "$port"
  ) >"$LOG_DIR/dynamodb.log" 2>&1 </dev/null &
  SERVICE_PIDS+=($!)
  DYNALITE=http://127.0.0.1:$port # so is DynamoDB called in spec/support
  export DYNALITE KINESALITE=http://127.0.0.1:1
  wait_for $! 60 dynamodb http_status "$port" / >/dev/null
}
: >"$OUT/requests.log"
start_kinesis_local && start_dynamodb_local && start_nginx $HERE/counting.conf || exit
read -r -d '' DYNAMODB_PROXY KINESIS_PROXY < <(sed -n 's|.*listen \(127.0.0.1:[0-9]*\);|http://\1|p' "$RUN_DIR/nginx-counting/nginx.conf")
export DYNAMODB_PROXY KINESIS_PROXY ROOT=$PWD RUN_DIR REPORT=$RUN_DIR LUA=lua5.4 OUT
lua5.4 $HERE/scenes.lua "$@"
