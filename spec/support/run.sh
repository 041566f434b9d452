#!/bin/bash
# Runs the specs, several files at once, with real services beside them.
#
#   spec/support/run.sh FLAVOUR[,FLAVOUR…] [spec files…] [busted options…]
#   spec/support/run.sh lua5.4 spec/put_spec.lua
#   spec/support/run.sh asan-lua5.4+gc --filter=close
#
# FLAVOUR is a build (lua5.4, luajit, asan-lua5.4, asan-luajit, tsan-lua5.4, tsan-luajit); +gc adds the most
# aggressive garbage collection, +valgrind runs the interpreter in it. Each spec file runs once per flavour, in its
# own interpreter. A line "-- Flavours: PATTERN…" at the top of a spec file restricts it to the flavours that match
# one of the patterns, unless the file is named on the command line. So nothing runs twice on the same build: nginx
# always loads a LuaJIT build; stepped engines know no Lua, hence no collection either; Lua alone has nothing for a
# sanitizer; and children of a spec collect as usual.
#
# WORKERS (default: twice the cores, 8 at most) take the files from one queue; each has services of its own
# (worker.sh), its files in build/run/N and its logs in build/log/N. The last line is the sum.
#
# Environment of a spec:
#   KINESIS_LOCAL, KINESALITE     http://127.0.0.1:PORT      KINESIS_LOCAL_TLS  https://localhost:PORT
#   DYNALITE                      http://127.0.0.1:PORT
#   NGINX_X, NGINX_X_TLS          of spec/support/nginx/x.conf, and NGINX_X_PID
#   SPEC_LESS                     set (by +gc) where fewer records will do
#   SPEC_FULL                     set by hand or by make soak: as many records as ever
#   CERTS, NODE_MODULES, ROOT     folders                    BUILD_FLAVOUR  lua5.4 … without the +
#   RUN_DIR, LOG_DIR              folders of this worker     REPORT  folder of this run of the file
#   LUA                           command that runs a child interpreter like this one
#   PYTHON                        the python that has botocore
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
source spec/support/services.sh
source spec/support/worker.sh

IFS=, read -r -a flavours <<<"${1:?usage: spec/support/run.sh FLAVOUR[,FLAVOUR…] [spec files…] [busted options…]}"
shift
named=() BUSTED_OPTIONS=()
for argument in "$@"; do
  if [ -f "$argument" ]; then
    named+=("$argument")
  elif [[ $argument == *_spec.lua ]]; then
    say "there is no $argument"
    exit 2
  else
    BUSTED_OPTIONS+=("$argument")
  fi
done
cores=$(nproc)
WORKERS=${WORKERS:-$((cores < 4 ? 2 * cores : 8))}
QUEUE=$PWD/build/run/queue
worker_pids=()

# The files that take longest are started first, so that no worker is left alone with one of them at the end.
SLOW="torture dashboard openresty reader_flow producer_faults hosts producer producer_errors producer_exit reshard records
  last watch reader_burst reader_faults deaggregation storm rock oracles faults aggregate operations workers
  credentials_engine put life"

# The specs of all flavours, slow ones first.
files() {
  local name
  if ((${#named[@]} > 0)); then
    printf '%s\n' "${named[@]}"
    return
  fi
  for name in $SLOW; do [ ! -e "spec/${name}_spec.lua" ] || echo "spec/${name}_spec.lua"; done
  for name in spec/*_spec.lua; do
    [[ " ${SLOW//$'\n'/ } " == *" $(basename "$name" _spec.lua) "* ]] || echo "$name"
  done
}

# Whether a spec is to run in a flavour, by its own "-- Flavours:" line.
belongs() { # FILE FLAVOUR
  local pattern patterns
  patterns=$(sed -n '1,5s/^-- Flavours: //p' "$1")
  [ -n "$patterns" ] && ((${#named[@]} == 0)) || return 0
  set -f
  for pattern in $patterns; do
    # shellcheck disable=SC2053
    [[ $2 != $pattern ]] || break
    pattern=
  done
  set +f
  [ -n "$pattern" ]
}

# One file a job in the queue's folder, named by its turn.
fill_queue() {
  local file flavour turn=1000
  rm -rf build/run/queue build/run/[0-9]* build/log/[0-9]*
  mkdir -p "$QUEUE"
  for file in $(files); do
    for flavour in "${flavours[@]}"; do
      belongs "$file" "$flavour" || continue
      turn=$((turn + 1))
      echo "$flavour $file" >"$QUEUE/$turn"
    done
  done
}

build() {
  local flavour targets=(build/fenced)
  for flavour in "${flavours[@]}"; do targets+=("build/${flavour%%+*}" "build/$(nginx_build "${flavour%%+*}")"); done
  make --no-print-directory -s -j"$cores" "${targets[@]}"
}

# What all specs find in their environment; the rest is set by the worker.
environment() {
  export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;$PWD/spec/?.lua;;"
  export NODE_MODULES CERTS=$PWD/build/certs ROOT=$PWD PYTHON=/usr/bin/python3
  # intercept_tls_get_addr=0: GCC 12's leak checker takes some blocks of thread-local memory for those
  # of an older glibc, and then reads at random (https://github.com/google/sanitizers/issues/1322).
  export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99:intercept_tls_get_addr=0
  export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
  export TSAN_OPTIONS=halt_on_error=0:exitcode=99
  # Nothing of the user's: a spec says all that it means.
  eval "$(spec/support/seal.sh)"
  unset LUA_PATH_5_4 LUA_CPATH_5_4
}

# All workers end what they started, and say what they were at.
# shellcheck disable=SC2329
stop_workers() {
  trap '' INT TERM
  kill -TERM "${worker_pids[@]}" 2>/dev/null
  wait "${worker_pids[@]}"
  exit 130
}

# Sums up what the workers left behind; the status says whether all is well.
summary() {
  local passed=0 failed=0 skipped=0 p f s job
  for job in build/run/[0-9]*/[0-9]* "$QUEUE"/*; do
    if [ -e "$job/result" ]; then
      read -r p f s <"$job/result"
      passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    elif [ -e "$job" ]; then
      echo "  FAILED: a worker ended before it ran $(cat "$job/job" "$job" 2>/dev/null)"
      failed=$((failed + 1))
    fi
  done
  if ((passed + failed == 0)); then
    echo "  no test was executed"
    failed=1
  fi
  sort build/run/[0-9]*/[0-9]*/skipped 2>/dev/null | uniq -c | sed 's/^ *\([0-9]*\) /  skipped \1 times: /'
  sort -rn build/run/[0-9]*/[0-9]*/slow 2>/dev/null | head -n 5 | sed 's/^/  slow: /'
  echo
  if ((skipped > 0)); then s=", $skipped skipped"; else s=; fi
  echo "$passed passed, $failed failed$s"
  ((failed == 0))
}

main() {
  local jobs number
  spec/support/certs.sh && build || exit 1
  environment
  fill_queue
  jobs=("$QUEUE"/*)
  ((WORKERS <= ${#jobs[@]})) || WORKERS=${#jobs[@]}
  trap stop_workers INT TERM
  set -m # each worker is a job of its own: a Ctrl-C is for this script, and specs' children must not ignore SIGINT
  for ((number = 1; number <= WORKERS; number++)); do
    worker "$number" &
    worker_pids+=("$!")
  done
  set +m
  wait "${worker_pids[@]}"
  summary
}

{ main && exit; exit 1; } # read as a whole, so that this file may be edited while it runs
