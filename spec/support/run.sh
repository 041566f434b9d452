#!/bin/bash
# Runs the specs with real services beside them.
#
#   spec/support/run.sh FLAVOUR[,FLAVOUR…] [busted arguments…]
#   spec/support/run.sh lua5.4 spec/put_spec.lua
#   spec/support/run.sh asan-lua5.4+gc --filter=close
#
# FLAVOUR is a build (lua5.4, luajit, asan-lua5.4, asan-luajit, tsan-lua5.4, tsan-luajit); +gc
# adds the most aggressive garbage collection, +valgrind runs the interpreter in it. Each flavour
# gets fresh services. The last line is the sum of all runs. What a spec finds in its environment:
#
#   KINESIS_LOCAL, KINESALITE     http://127.0.0.1:PORT      KINESIS_LOCAL_TLS  https://localhost:PORT
#   NGINX_X, NGINX_X_TLS          of spec/support/nginx/x.conf, and NGINX_X_PID
#   SPEC_LESS                     set where fewer records will do
#   CERTS, NODE_MODULES, ROOT     folders                    BUILD_FLAVOUR  lua5.4 … without the +
#   LUA                           command that runs a child interpreter like this one
#   PYTHON                        the python that has botocore
set -uo pipefail
cd "$(dirname "$0")/../.."
source spec/support/services.sh

flavours=${1:?usage: spec/support/run.sh FLAVOUR[,FLAVOUR…] [busted arguments…]}
shift
passed=0 failed=0 skipped=0
interpreter_pid= watchdog_pid=
LONGEST=2000 # seconds of one flavour: beyond it something hangs, and is to be named
finish() {
  [ -z "$interpreter_pid" ] || end_process "$interpreter_pid" 0
  [ -z "$watchdog_pid" ] || end_process "$watchdog_pid"
  stop_services
}
say_running() { [ ! -s "$REPORT_RUNNING" ] || echo "  in: $(cat "$REPORT_RUNNING")"; }
trap '[ -z "$interpreter_pid" ] || say_running; exit 130' INT TERM
trap finish EXIT

sanitizer_preload() { # BUILD: what LD_PRELOAD must hold for its interpreter
  case $1 in
  asan-*) echo "$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" ;;
  tsan-*) gcc -print-file-name=libtsan.so ;;
  esac
}

# What nginx loads: under test is its Lua's build of the same kind.
nginx_build() { # BUILD
  case $1 in asan-*) echo asan-luajit ;; *) echo luajit ;; esac
}

VALGRIND=(valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite)

# One build, one interpreter, one set of services.
run() { # FLAVOUR BUSTED_ARGUMENTS...
  local flavour=$1 build=${1%%+*} preload p f s status
  local interpreter=()
  shift
  local arguments=(--output="$PWD/spec/support/report.lua")
  [[ $flavour == *+valgrind ]] && interpreter=("${VALGRIND[@]}")
  interpreter+=("${build##*-}")
  [[ $flavour == *+gc ]] && arguments+=(--helper="$PWD/spec/support/aggressive_gc.lua")
  echo "── $flavour"
  preload=$(sanitizer_preload "$build")
  NGINX_BUILD=$(nginx_build "$build") NGINX_PRELOAD=
  [[ $NGINX_BUILD == asan-* ]] && NGINX_PRELOAD=$preload
  start_services || return 1

  export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;$PWD/spec/?.lua;;" LUA_CPATH="$PWD/build/$build/?.so;;"
  export KINESIS_LOCAL KINESIS_LOCAL_TLS KINESALITE NODE_MODULES CERTS=$PWD/build/certs ROOT=$PWD
  # Under the fiercest collection what is a matter of numbers alone does with fewer.
  unset SPEC_LESS
  [[ $flavour == *+gc ]] && export SPEC_LESS=1
  export BUILD_FLAVOUR=$build PYTHON=/usr/bin/python3 LUA=${interpreter[*]}
  export REPORT_COUNTS=$PWD/build/run/counts REPORT_RUNNING=$PWD/build/run/running
  # intercept_tls_get_addr=0: GCC 12's leak checker takes some blocks of thread-local memory for those
  # of an older glibc, and then reads at random (https://github.com/google/sanitizers/issues/1322).
  export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99:intercept_tls_get_addr=0
  export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
  export TSAN_OPTIONS=halt_on_error=0:exitcode=99
  # Nothing of the user's: a spec says all that it means.
  eval "$(spec/support/seal.sh)"
  unset LUA_PATH_5_4 LUA_CPATH_5_4
  export SECRETS=$PWD/build/run/secrets SAID=$PWD/build/run/said
  rm -f "$REPORT_COUNTS" "$REPORT_RUNNING" "$SECRETS" "$SAID"

  if [ -n "$preload" ]; then
    preload="$preload $PWD/build/$build/unpreload.so"
    LUA="env LD_PRELOAD='$preload' ${interpreter[*]}"
  fi
  set -m # a job of its own: without this, the specs' children would ignore SIGINT
  if [ -n "$preload" ]; then
    LD_PRELOAD=$preload "${interpreter[@]}" /usr/bin/busted "${arguments[@]}" "$@" </dev/null &
  else
    "${interpreter[@]}" /usr/bin/busted "${arguments[@]}" "$@" </dev/null &
  fi
  interpreter_pid=$!
  set +m
  (sleep $LONGEST & trap 'kill $!' TERM; wait && kill -KILL "$interpreter_pid") 2>/dev/null &
  watchdog_pid=$!
  wait "$interpreter_pid"
  status=$?
  interpreter_pid=
  end_process "$watchdog_pid"
  watchdog_pid=

  read -r p f s 2>/dev/null <"$REPORT_COUNTS" || { p=0 f=0 s=0; }
  if ((status != 0 && f == 0)); then
    f=1
    echo "  the interpreter ended with status $status"
    say_running
  elif ((p + f == 0)); then
    f=1
    echo "  no test was executed"
  fi
  if tells_secret || sanitizer_spoke; then
    f=$((f + 1))
  fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  stop_services
}

# Whether a secret that the specs used stands in anything that was raised, printed or logged.
tells_secret() {
  local hits
  [ -s "$SECRETS" ] && [ -s "$SAID" ] || return 1
  hits=$(grep -nF -f "$SECRETS" "$SAID" build/log/*.log build/nginx-*/error.log 2>/dev/null | head -n 5)
  [ -n "$hits" ] || return 1
  printf '\nFAILED  a secret was told:\n%s\n' "$hits"
}

# What nginx's sanitizer found.
sanitizer_spoke() {
  local hits
  hits=$(grep -hF -A 20 'Sanitizer:' build/log/nginx-*.log build/nginx-*/error.log 2>/dev/null | head -n 40)
  [ -n "$hits" ] || return 1
  printf '\nFAILED  in nginx:\n%s\n' "$hits"
}

start_services() {
  local conf
  start_kinesis_local && start_kinesalite || return 1
  for conf in spec/support/nginx/*.conf; do
    [ ! -e "$conf" ] || start_nginx "$conf" || return 1
  done
}

spec/support/certs.sh || exit 1
builds=(build/fenced)
for flavour in ${flavours//,/ }; do builds+=("build/${flavour%%+*}" "build/$(nginx_build "$flavour")"); done
make --no-print-directory -s -j"$(nproc)" "${builds[@]}" || exit 1

for flavour in ${flavours//,/ }; do
  run "$flavour" "$@" || failed=$((failed + 1))
done
summary="$passed passed, $failed failed"
((skipped > 0)) && summary+=", $skipped skipped"
echo
echo "$summary"
((failed == 0))
