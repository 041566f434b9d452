#!/bin/bash
# The local service for hands: `make env`, `make repl`, `make stop`.
#   env    starts it in the background unless it is up; prints export lines
#   repl   a prompt with a service and a stream of its own, both gone at the end
#   stop   ends what env started
set -euo pipefail
cd "$(dirname "$0")/../.."
source spec/support/services.sh

settings() { # ENDPOINT
  export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;;" LUA_CPATH="$PWD/build/lua5.4/?.so;;"
  export AWS_ENDPOINT_URL_KINESIS=$1 AWS_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
  unset AWS_SESSION_TOKEN AWS_PROFILE
}

# The pid that env remembered, if that process is still our service.
running() {
  local pid
  pid=$(cat build/run/env.pid 2>/dev/null) && [ -n "$pid" ] &&
    grep -q kinesis-local "/proc/$pid/cmdline" 2>/dev/null && printf '%s' "$pid"
}

case ${1-} in
env)
  if ! running >/dev/null; then
    # The port of last time, so that windows that still have it go on.
    LOOPBACK_PLAIN=$(port_of plain build/run/env.ports || true)
    if [ -n "$LOOPBACK_PLAIN" ] && [ -n "$(http_status "$LOOPBACK_PLAIN" / || true)" ]; then
      LOOPBACK_PLAIN=
    fi
    export LOOPBACK_PLAIN
    LOOPBACK_FOLLOW=0 KINESIS_LOCAL_MS=200 start_kinesis_local env
    echo "$SERVICE_PID" >build/run/env.pid
    say "kinesis-local is up; \`make stop\` ends it"
  fi
  settings "http://127.0.0.1:$(port_of plain build/run/env.ports)"
  echo "unset AWS_SESSION_TOKEN AWS_PROFILE"
  for name in LUA_PATH LUA_CPATH AWS_ENDPOINT_URL_KINESIS AWS_REGION AWS_ACCESS_KEY_ID \
    AWS_SECRET_ACCESS_KEY; do
    printf "export %s='%s'\n" "$name" "${!name}"
  done
  ;;
repl)
  trap stop_services EXIT
  trap : INT # Ctrl-C belongs to the prompt
  start_kinesis_local repl
  settings "$KINESIS_LOCAL"
  lua5.4 examples/stream.lua create
  say "Here \`kinesis\` is loaded; \`kinesis.put(\"${KINESIS_STREAM:-hello-kinesis}\", \"hello\")\` is a start."
  lua5.4 -i -l kinesis || true
  ;;
stop)
  if pid=$(running); then
    end_process "$pid"
    say "kinesis-local stopped"
  else
    say "nothing to stop"
  fi
  rm -f build/run/env.pid
  ;;
*)
  say "usage: spec/support/local.sh env|repl|stop"
  exit 2
  ;;
esac
