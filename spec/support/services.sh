# shellcheck shell=bash
# The local services of the demo, the prompt and the specs. Sourced, from the
# top of the tree (bash, `set -u` safe); each start_… waits until its service
# answers and sets variables that say where:
#
#   start_kinesis_local   KINESIS_LOCAL  KINESIS_LOCAL_TLS
#   start_kinesalite      KINESALITE
#   start_dynalite        DYNALITE
#   start_nginx FILE      NGINX_<NAME>  NGINX_<NAME>_TLS  NGINX_<NAME>_PID
#   stop_services         ends every service started here, by its pid
#
# Everything listens on 127.0.0.1, on free ports. Each service is a process group of its own, so that a Ctrl-C at the
# terminal is not meant for it. Its files are in RUN_DIR, its logs in LOG_DIR; who sources this may set others.

SERVICE_PIDS=()
NODE_MODULES=$PWD/build/node/node_modules
RUN_DIR=$PWD/build/run LOG_DIR=$PWD/build/log
mkdir -p "$RUN_DIR" "$LOG_DIR"

say() { printf '%s\n' "$*" >&2; }

alive() { kill -0 "$1" 2>/dev/null; }

# HTTP status of GET http://127.0.0.1:PORT/PATH, empty while nobody answers.
http_status() { # PORT PATH
  local line
  { exec 9<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&9
  read -r -t 5 _ line _ <&9 2>/dev/null || line=
  exec 9<&- 9>&-
  printf '%s' "$line"
}

# Runs `$@` every 50 ms until it succeeds; fails when PID ends or SECONDS_ pass.
wait_for() { # PID SECONDS_ NAME COMMAND...
  local pid=$1 end=$((SECONDS + $2)) name=$3
  shift 3
  until "$@"; do
    if ! alive "$pid"; then
      say "$name ended before it answered; the end of $LOG_DIR/$name.log:"
      tail -n 5 "$LOG_DIR/$name.log" >&2
      return 1
    elif ((SECONDS > end)); then
      say "$name does not answer; see $LOG_DIR/$name.log"
      return 1
    fi
    sleep 0.05
  done
}

healthy() { # PORTS_FILE
  local port
  port=$(port_of plain "$1") && [ "$(http_status "$port" /healthcheck)" = 200 ]
}

answering() { # PORTS_FILE
  local port
  port=$(port_of plain "$1") && [ -n "$(http_status "$port" /)" ]
}

port_of() { # plain|tls PORTS_FILE
  local port
  port=$(sed -n "s/^$1 //p" "$2" 2>/dev/null | head -n 1)
  [ -n "$port" ] && printf '%s' "$port"
}

# Starts a node service; its pid goes to SERVICE_PID, its ports to RUN_DIR/NAME.ports.
start_node() { # NAME SCRIPT ARGUMENTS...
  local name=$1 script=$2
  shift 2
  : >"$RUN_DIR/$name.ports"
  (
    eval "$(spec/support/seal.sh)" # kinesis-local ends at once where AWS_REGION names a region that it does not know
    export LOOPBACK_PORTS=$RUN_DIR/$name.ports LOOPBACK_FOLLOW=${LOOPBACK_FOLLOW-1}
    exec setsid node -r "$PWD/spec/support/loopback.js" "$NODE_MODULES/$script" "$@"
  ) >"$LOG_DIR/$name.log" 2>&1 </dev/null &
  SERVICE_PID=$!
  SERVICE_PIDS+=("$SERVICE_PID")
}

# KINESIS_LOCAL_MS: how long streams stay in CREATING, UPDATING, …
start_kinesis_local() { # [NAME]
  local name=${1:-kinesis-local} took=${KINESIS_LOCAL_MS:-50}ms what tls
  local settings=(KINESIS_MOCK_TLS_PORT=4567 LOOPBACK_TLS=4567 LOG_LEVEL=WARN SHARD_LIMIT=2000 ON_DEMAND_STREAM_COUNT_LIMIT=500)
  for what in CREATE_STREAM DELETE_STREAM REGISTER_STREAM_CONSUMER DEREGISTER_STREAM_CONSUMER \
    START_STREAM_ENCRYPTION STOP_STREAM_ENCRYPTION MERGE_SHARDS SPLIT_SHARD UPDATE_SHARD_COUNT \
    UPDATE_STREAM_MODE; do
    settings+=("${what}_DURATION=$took")
  done
  local cert=build/certs/server.json # without it, the one that kinesis-local brings
  [ -s $cert ] || cert=build/node/node_modules/kinesis-local/server.json
  settings+=("KINESIS_MOCK_CERT_PATH=$PWD/$cert")
  export "${settings[@]}"
  start_node "$name" kinesis-local/main.js
  export -n "${settings[@]%%=*}"
  wait_for "$SERVICE_PID" 30 "$name" healthy "$RUN_DIR/$name.ports" || return 1
  KINESIS_LOCAL=http://127.0.0.1:$(port_of plain "$RUN_DIR/$name.ports")
  tls=$(port_of tls "$RUN_DIR/$name.ports") && KINESIS_LOCAL_TLS=https://localhost:$tls
  export KINESIS_LOCAL KINESIS_LOCAL_TLS
}

start_kinesalite() {
  start_node kinesalite kinesalite/cli.js --createStreamMs 50 --deleteStreamMs 50 \
    --updateStreamMs 50 --shardLimit 2000
  wait_for "$SERVICE_PID" 30 kinesalite answering "$RUN_DIR/kinesalite.ports" || return 1
  KINESALITE=http://127.0.0.1:$(port_of plain "$RUN_DIR/kinesalite.ports")
  export KINESALITE
}

start_dynalite() {
  start_node dynalite dynalite/cli.js --createTableMs 50 --deleteTableMs 50 --updateTableMs 50
  wait_for "$SERVICE_PID" 30 dynalite answering "$RUN_DIR/dynalite.ports" || return 1
  DYNALITE=http://127.0.0.1:$(port_of plain "$RUN_DIR/dynalite.ports")
  export DYNALITE
}

# COUNT different ports of 127.0.0.1 where nobody listens, below those that the kernel gives to connections.
free_ports() { # COUNT
  local port ports=' '
  while (($(wc -w <<<"$ports") < $1)); do
    port=$((10000 + RANDOM % 22000))
    [[ $ports == *" $port "* ]] || { : 9<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null || ports+="$port "
  done
  echo "$ports"
}

# HOST:PORT of a URL; without one, an address where nobody listens.
address_of() { # URL
  local url=${1:-http://127.0.0.1:1}
  echo "${url#*//}"
}

# The variable that holds an nginx's address.
variable_of() { # FILE
  local name
  name=$(basename "$1" .conf)
  name=${name^^}
  echo "NGINX_${name//[^A-Z0-9]/_}"
}

# FILE is what goes into nginx's http { } block. In it: @PORT@ and @TLS_PORT@ (free),
# @PORT2@ … @PORT4@ (more of them), @KINESIS_LOCAL@, @KINESALITE@, @DYNALITE@ (host:port), @CERTS@, @ROOT@, @HERE@
# (FILE's folder). Its Lua finds the library (LuaJIT build, or NGINX_BUILD, with NGINX_PRELOAD), spec/ and FILE's
# folder. "# worker_processes N" on a line of its own is obeyed.
start_nginx() { # FILE
  local file=$1 name ports dir module workers modules=/usr/lib/nginx/modules user=
  name=$(basename "$file" .conf)
  dir=$RUN_DIR/nginx-$name
  read -r -a ports <<<"$(free_ports 5)"
  rm -rf "$dir"
  mkdir -p "$dir/tmp"
  [ "$(id -u)" = 0 ] && user='user root;'
  workers=$(sed -n 's/^# worker_processes //p' "$file")
  {
    for module in ndk_http_module ngx_http_lua_module; do
      echo "load_module $modules/$module.so;"
    done
    cat <<CONF
$user
daemon off;
worker_processes ${workers:-1};
pid "$dir/nginx.pid";
error_log "$dir/error.log" info;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path "$dir/tmp/body";
  proxy_temp_path "$dir/tmp/proxy";
  fastcgi_temp_path "$dir/tmp/fastcgi";
  uwsgi_temp_path "$dir/tmp/uwsgi";
  scgi_temp_path "$dir/tmp/scgi";
  client_max_body_size 64m;
  client_body_buffer_size 16m;
  lua_package_path "$PWD/lua/?.lua;$PWD/lua/?/init.lua;$PWD/spec/?.lua;@HERE@/?.lua;;";
  lua_package_cpath "$PWD/build/${NGINX_BUILD:-luajit}/?.so;;";
CONF
    cat "$file"
    echo "}"
  } | sed -e "s|@PORT@|${ports[0]}|g; s|@TLS_PORT@|${ports[1]}|g; s|@PORT2@|${ports[2]}|g" \
    -e "s|@PORT3@|${ports[3]}|g; s|@PORT4@|${ports[4]}|g; s|@CERTS@|$PWD/build/certs|g" \
    -e "s|@KINESIS_LOCAL@|${KINESIS_LOCAL#*//}|g; s|@KINESALITE@|${KINESALITE#*//}|g; s|@ROOT@|$PWD|g" \
    -e "s|@DYNALITE@|$(address_of "${DYNALITE:-}")|g" \
    -e "s|@HERE@|$(cd "$(dirname "$file")" && pwd)|g" >"$dir/nginx.conf"
  env ${NGINX_PRELOAD:+"LD_PRELOAD=$NGINX_PRELOAD" ASAN_OPTIONS=detect_leaks=0:handle_segv=1} \
    setsid nginx -p "$dir" -e "$dir/error.log" -c "$dir/nginx.conf" >"$LOG_DIR/nginx-$name.log" 2>&1 </dev/null &
  SERVICE_PID=$!
  SERVICE_PIDS+=("$SERVICE_PID")
  wait_for "$SERVICE_PID" 10 "nginx-$name" test -s "$dir/nginx.pid" || return 1
  name=$(variable_of "$file")
  export "$name=http://127.0.0.1:${ports[0]}" "${name}_TLS=https://localhost:${ports[1]}" \
    "${name}_PID=$SERVICE_PID"
}

# TERM, up to SECONDS_ for a clean end, then KILL: kinesis-local lingers after HTTP/2. A service is a process group, which
# is killed as a whole: nginx's busy workers would outlive their master. Not by this shell's own kill: where job control
# was on between, bash takes the group that it remembers of the job, which is the caller's, for the one that is named.
end_process() { # PID [SECONDS_]
  local pid=$1 tries=$((${2:-1} * 20))
  kill -TERM "$pid" 2>/dev/null || return 0
  while alive "$pid" && ((tries-- > 0)); do sleep 0.05; done
  alive "$pid" && { bash -c 'kill -KILL -- "-$1"' kill "$pid" || kill -KILL "$pid"; } 2>/dev/null
  wait "$pid" 2>/dev/null || true
  return 0
}

stop_services() {
  local pid
  for pid in "${SERVICE_PIDS[@]}"; do kill -TERM "$pid" 2>/dev/null; done
  for pid in "${SERVICE_PIDS[@]}"; do end_process "$pid"; done
  SERVICE_PIDS=()
}
