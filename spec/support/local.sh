#!/bin/bash
# The local service for hands: `make env`, `make repl`, `make stop`.
#   env    installs, builds, and starts it in the background unless it is up; prints what a shell is to evaluate
#   repl   a prompt with a stream behind it: at the service that env started, if that is up; else at one of its own,
#          which is gone at the end. KINESIS_REPL=aws: with the user's own settings instead
#   stop   ends what env started
set -euo pipefail
cd "$(dirname "$0")/../.."
NOWHERE=http://127.0.0.1:9 # refuses: the port of `discard`

# What the shell evaluates when env fails: its next command must not reach the user's own account.
seal_off() {
  local status=$?
  ((status == 0)) && return
  stop_services 2>/dev/null || true
  spec/support/seal.sh "$NOWHERE"
  echo "echo 'make env failed. No Kinesis can be reached from this shell: its endpoint is $NOWHERE now.' >&2"
  echo "echo 'Run it again, or open a new window for the settings that you had.' >&2"
  echo false
}
if [ "${1-}" = env ]; then
  trap seal_off EXIT
  trap 'exit 130' INT TERM
fi

source spec/support/services.sh

# The pid that env remembered, if that process is still our service.
running() {
  local pid
  pid=$(cat build/run/env.pid 2>/dev/null) && [ -n "$pid" ] &&
    grep -q kinesis-local "/proc/$pid/cmdline" 2>/dev/null && printf '%s' "$pid"
}

endpoint() { # where the service is that env started
  healthy build/run/env.ports || {
    say "kinesis-local does not answer; \`make stop\` ends it"
    return 1
  }
  printf 'http://127.0.0.1:%s' "$(port_of plain build/run/env.ports)"
}

# LuaJIT's build is for whoever has LuaJIT, or nginx, in the same shell.
install_and_build() {
  local cores=build/lua5.4
  if [ -e /usr/include/luajit-2.1/lua.h ] || pkg-config --exists luajit 2>/dev/null; then
    cores+=" build/luajit/kinesis/core.so"
  fi
  spec/support/setup.sh demo
  # shellcheck disable=SC2086
  make --no-print-directory -s -j2 $cores
}

start_in_background() {
  # The port of last time, so that windows that still have it go on.
  LOOPBACK_PLAIN=$(port_of plain build/run/env.ports || true)
  if [ -n "$LOOPBACK_PLAIN" ] && [ -n "$(http_status "$LOOPBACK_PLAIN" / || true)" ]; then
    LOOPBACK_PLAIN=
  fi
  export LOOPBACK_PLAIN
  LOOPBACK_FOLLOW=0 KINESIS_LOCAL_MS=200 start_kinesis_local env 8>&- # the service must not hold the lock
  echo "$SERVICE_PID" >build/run/env.pid
  say "kinesis-local is up; \`make stop\` ends it"
}

show_or_create() {
  local shown
  if shown=$(lua5.4 examples/stream.lua describe 2>/dev/null); then
    printf '%s\n' "$shown"
  else
    lua5.4 examples/stream.lua create
  fi
}

case ${1-} in
env)
  # One window at a time: the tutorial has this said in three of them, perhaps at once.
  mkdir -p build/run
  exec 8>build/run/env.lock
  flock 8
  install_and_build >&2
  running >/dev/null || start_in_background
  url=$(endpoint)
  spec/support/seal.sh "$url"
  spec/support/paths.sh
  ;;
repl)
  trap : INT # Ctrl-C belongs to the prompt
  eval "$(spec/support/paths.sh)"
  stream=${KINESIS_STREAM:-hello-kinesis}
  case ${KINESIS_REPL:-local} in
  aws)
    lua5.4 examples/stream.lua service
    say "Here \`kinesis\` is loaded; \`kinesis.shards(\"$stream\")\` is a start, \`help\` says what there is."
    ;;
  local)
    if running >/dev/null; then
      url=$(endpoint)
      say "This is the service that \`make env\` started: what you make here stays until \`make stop\`."
    else
      RUN_DIR=$(mktemp -d "$PWD/build/run/repl.XXXXXX") # several prompts may be open
      trap 'stop_services; rm -rf "$RUN_DIR"' EXIT
      start_kinesis_local repl
      url=$KINESIS_LOCAL
    fi
    eval "$(spec/support/seal.sh "$url")"
    show_or_create
    say "Here \`kinesis\` is loaded; \`kinesis.put(\"$stream\", \"hello\")\` is a start, \`help\` says what there is."
    say "A prompt on a real stream: KINESIS_REPL=aws make repl, in a window that has not evaluated \`make env\`."
    ;;
  *)
    say "KINESIS_REPL is 'local' or 'aws', not '$KINESIS_REPL'"
    exit 2
    ;;
  esac
  lua5.4 -i -l kinesis -e 'help = kinesis.help()' || true
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
