# shellcheck shell=bash
# One worker of run.sh, which sources this file and calls `worker` in a subshell: it takes spec files from the queue
# and runs each in an interpreter of its own. It starts a service when the first spec needs it and ends all of them
# when the queue is empty.
#
# A job has a folder, $REPORT. In it: job (FLAVOUR FILE) and output (of the interpreter), written here; counts, running,
# slow, skipped by report.lua; secrets, said by secrets.lua; result (passed failed skipped), read by run.sh, and cpu
# (seconds: wall, user, system; children included, services not), both written here.

LONGEST=${LONGEST:-600} # seconds of one spec file: beyond it something hangs
VALGRIND=(valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite)
interpreter_pid='' nginx_of=''

worker() { # NUMBER
  RUN_DIR=$PWD/build/run/$1 LOG_DIR=$PWD/build/log/$1
  export RUN_DIR LOG_DIR
  mkdir -p "$RUN_DIR" "$LOG_DIR"
  trap end_worker EXIT
  trap 'exit 130' INT TERM
  forget_services
  while alive $$ && take_job; do run_job; done
  examine_logs
}

end_worker() {
  if [ -n "$interpreter_pid" ]; then
    echo "  in: $FLAVOUR $(running)"
    kill -KILL -- "-$interpreter_pid" # a process group of its own
  fi
  stop_services
}

# The first job of the queue that no other worker moves away before.
take_job() {
  local job
  for job in "$QUEUE"/*; do
    REPORT=$RUN_DIR/$(basename "$job")
    mv "$job" "$RUN_DIR/job" 2>/dev/null || continue
    mkdir "$REPORT"
    mv "$RUN_DIR/job" "$REPORT/job"
    read -r FLAVOUR FILE <"$REPORT/job"
    return 0
  done
  return 1
}

running() { cat "$REPORT/running" 2>/dev/null || echo "$FILE"; }

run_job() {
  local status=1 p f s seconds
  export REPORT FLAVOUR BUILD_FLAVOUR=${FLAVOUR%%+*}
  if start_services >"$REPORT/output" 2>&1; then
    run_interpreter
    status=$?
  fi
  read -r p f s 2>/dev/null <"$REPORT/counts" || { p=0 f=0 s=0; }
  {
    if ((status == 124 || status == 137)); then
      echo "  FAILED: ended after $LONGEST seconds, in: $(running)"
      f=$((f + 1))
    elif ((status != 0 && f == 0)); then
      echo "  FAILED: ended with status $status, in: $(running)"
      f=1
    elif ((p + f + s == 0 && ${#BUSTED_OPTIONS[@]} == 0)); then
      echo "  FAILED: no test was executed in $FILE"
      f=1
    fi
  } >>"$REPORT/output"
  seconds=$(tail -n 1 "$REPORT/cpu" 2>/dev/null) # bash may have said before how the interpreter ended
  ((p + f + s == 0)) || printf '  %-16s %-34s %4d  %6.2f s\n' "$FLAVOUR" "$FILE" \
    $((p + f + s)) "${seconds%% *}" >>"$REPORT/output"
  echo "$p $f $s" >"$REPORT/result"
  publish "$REPORT/output"
}

# One file's output stays together.
publish() { flock "$QUEUE" cat "$1"; }

sanitizer_preload() { # BUILD: what LD_PRELOAD must hold for its interpreter
  case $1 in
  asan-*) echo "$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" ;;
  tsan-*) gcc -print-file-name=libtsan.so ;;
  esac
}

run_interpreter() {
  local interpreter=() preload longest=$LONGEST status TIMEFORMAT='%R %U %S'
  local arguments=(--output="$PWD/spec/support/report.lua")
  [[ $FLAVOUR == *+valgrind ]] && interpreter=("${VALGRIND[@]}") longest=$((LONGEST * 5))
  interpreter+=("${BUILD_FLAVOUR##*-}")
  # Under the fiercest collection what is a matter of numbers alone does with fewer.
  unset SPEC_LESS
  [[ $FLAVOUR == *+gc ]] && arguments+=(--helper="$PWD/spec/support/aggressive_gc.lua") && export SPEC_LESS=1
  export LUA_CPATH="$PWD/build/$BUILD_FLAVOUR/?.so;;" LUA=${interpreter[*]}
  preload=$(sanitizer_preload "$BUILD_FLAVOUR")
  if [ -n "$preload" ]; then
    preload="$preload $PWD/build/$BUILD_FLAVOUR/unpreload.so"
    LUA="env LD_PRELOAD='$preload' ${interpreter[*]}"
  fi
  set -m # a job of its own: without this, the specs' children would ignore SIGINT
  timeout -k 5 "$longest" env ${preload:+"LD_PRELOAD=$preload"} "${interpreter[@]}" /usr/bin/busted \
    "${arguments[@]}" "$FILE" "${BUSTED_OPTIONS[@]}" >>"$REPORT/output" 2>&1 </dev/null &
  interpreter_pid=$!
  set +m
  { time wait "$interpreter_pid"; } 2>"$REPORT/cpu"
  status=$?
  interpreter_pid=
  return $status
}

# What nginx loads: under test is its Lua's build of the same kind.
nginx_build() { # BUILD
  case $1 in asan-*) echo asan-luajit ;; *) echo luajit ;; esac
}

# A service that is not running has an address where nobody listens.
forget_services() {
  local conf
  export KINESIS_LOCAL=http://127.0.0.1:1 KINESIS_LOCAL_TLS=https://127.0.0.1:1 KINESALITE=http://127.0.0.1:1
  export DYNALITE=http://127.0.0.1:1
  for conf in spec/support/nginx/*.conf; do export "$(variable_of "$conf")=http://127.0.0.1:1"; done
  STARTED=' '
}

# Starts what the job needs and what is not there yet.
start_services() {
  # shellcheck disable=SC2034 # of services.sh
  NGINX_BUILD=$(nginx_build "$BUILD_FLAVOUR") NGINX_PRELOAD=
  # shellcheck disable=SC2034
  [[ $NGINX_BUILD == asan-* ]] && NGINX_PRELOAD=$(sanitizer_preload "$BUILD_FLAVOUR")
  if [ "$nginx_of" != "$NGINX_BUILD" ]; then
    stop_services
    forget_services
    nginx_of=$NGINX_BUILD
  fi
  local name
  for name in $(services_of "$FILE"); do
    [[ $STARTED != *" $name "* ]] || continue
    case $name in
    kinesis-local) start_kinesis_local ;;
    kinesalite) start_kinesalite ;;
    dynalite) start_dynalite ;;
    *) start_nginx "$name" ;;
    esac || return 1
    STARTED+="$name "
  done
}

# The services whose variables are in a spec, or in the support modules that it requires, in the order of their start.
services_of() { # FILE
  local files words conf confs=()
  files=$(support_of "$1")
  # shellcheck disable=SC2086
  words=$(cat $files)
  for conf in spec/support/nginx/*.conf; do
    [[ $words == *"$(variable_of "$conf")"* ]] && confs+=("$conf")
  done
  ((${#confs[@]} == 0)) || words+=$(cat "${confs[@]}")
  [[ $words == *KINESIS_LOCAL* || $words == *fresh.services* ]] && echo kinesis-local
  [[ $words == *KINESALITE* || $words == *fresh.services* ]] && echo kinesalite
  [[ $words == *DYNALITE* ]] && echo dynalite
  ((${#confs[@]} == 0)) || printf '%s\n' "${confs[@]}"
}

# A spec and the modules of spec/support that it requires, directly or not; fresh.lua names every service.
support_of() { # FILE
  local todo=("$1") done=' ' file
  while ((${#todo[@]} > 0)); do
    file=${todo[0]}
    todo=("${todo[@]:1}")
    [[ $done != *" $file "* ]] || continue
    done+="$file "
    # shellcheck disable=SC2013 # no spaces in these
    for file in $(sed -n 's|.*require *(*"support\.\([a-z_]*\)".*|spec/support/\1.lua|p' "$file"); do
      [ "$file" = spec/support/fresh.lua ] || todo+=("$file")
    done
  done
  echo "$done"
}

# What the logs hold in the end: a secret that the specs used, or what nginx's sanitizer found.
examine_logs() {
  local hits found=0
  cat "$RUN_DIR"/*/secrets >"$RUN_DIR/secrets" 2>/dev/null
  hits=$(grep -nF -f "$RUN_DIR/secrets" "$RUN_DIR"/*/said "$RUN_DIR"/*/output "$LOG_DIR"/*.log "$RUN_DIR"/nginx-*/error.log 2>/dev/null |
    head -n 5)
  [ -z "$hits" ] || { found=1 && printf '\nFAILED  a secret was told:\n%s\n' "$hits"; }
  hits=$(grep -hF -A 20 'Sanitizer:' "$LOG_DIR"/nginx-*.log "$RUN_DIR"/nginx-*/error.log 2>/dev/null | head -n 40)
  [ -z "$hits" ] || { found=$((found + 1)) && printf '\nFAILED  in nginx:\n%s\n' "$hits"; }
  ((found == 0)) || { mkdir -p "$RUN_DIR/0000" && echo "0 $found 0" >"$RUN_DIR/0000/result"; }
}
