#!/bin/bash
# make load: nginx under wrk. Does the endpoint block the location beside it, does a reload lose a click, do workers
# stay as small as they were?
#
#   spec/soak/clicks.sh [SECONDS]    ends with status 1 when something is missing, lingers or grows
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
source spec/support/services.sh
seconds=${1:-60}
trap stop_services EXIT
trap 'exit 130' INT TERM
unset AWS_CA_BUNDLE AWS_PROFILE AWS_SESSION_TOKEN
export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=secret
unset LUA_PATH_5_4 LUA_CPATH_5_4
export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;$PWD/spec/?.lua;;" LUA_CPATH="$PWD/build/lua5.4/?.so;;"
start_kinesalite || exit 1
export AWS_ENDPOINT_URL_KINESIS=$KINESALITE
KINESIS_LOCAL=
echo "return '${KINESALITE#*//}'" >build/run/clicks_endpoint.lua
lua5.4 spec/soak/clicks.lua make || exit 1
LUA_PATH="$PWD/build/run/?.lua;;" start_nginx spec/soak/clicks.conf || exit 1
master=$NGINX_CLICKS_PID
uncached=$(sed -n 's/^ *listen \(127[^;]*\);/\1/p' build/run/nginx-clicks/nginx.conf | tail -n 1)
failed=0

workers() { cat "/proc/$master/task/$master/children"; }

# KiB and descriptors of all workers together.
sizes() {
  local pid rss=0 fds=0
  for pid in $(workers); do
    rss=$((rss + $(sed -n 's/^Rss: *\([0-9]*\) kB/\1/p' "/proc/$pid/smaps_rollup")))
    fds=$((fds + $(find "/proc/$pid/fd" -mindepth 1 | wc -l)))
  done
  echo "$rss $fds"
}

fail() {
  echo "  FAILED: $*"
  failed=1
}

# p50 and p99 of the location that answers a constant.
constant() { # SECONDS
  wrk -t1 -c4 -d"$1s" --latency "$NGINX_CLICKS/constant" | awk '/ 50%| 99%/ { printf "%s %s  ", $1, $2 }'
}

load() { wrk -t1 -c64 -d"$1s" -s spec/soak/post.lua "$NGINX_CLICKS/${2:-clicks}"; } # SECONDS [LOCATION]

echo "nginx $(nginx -v 2>&1 | sed 's/.*nginx.//'), two workers, each with a reader in a timer"
printf 'a constant, nothing else under way       %s\n' "$(constant 5)"
load 9 nothing >build/log/wrk.log &
wrk_pid=$!
sleep 2
printf 'a constant, beside 2,000 that put nothing %s\n' "$(constant 5)"
wait $wrk_pid
load "$seconds" >build/log/wrk.log &
wrk_pid=$!
sleep 5
read -r rss_before fds_before <<<"$(sizes)"
printf 'a constant, beside 2,000 clicks a second  %s\n' "$(constant $((seconds - 10)))"
read -r rss_after fds_after <<<"$(sizes)"
wait $wrk_pid
grep -E 'requests in|Non-2xx' build/log/wrk.log
read_everywhere=no
for _ in $(seq 100); do
  sums=$(curl -s "$NGINX_CLICKS/told" | node -e '
    const told = JSON.parse(require("fs").readFileSync(0))
    const accepted = Object.values(told.accepted).reduce((a, b) => a + b, 0)
    console.log(Object.values(told.read).filter((read) => read === accepted).length, accepted)')
  [ "${sums% *}" = 2 ] && read_everywhere=yes && break
  sleep 0.1
done
[ $read_everywhere = yes ] || fail "not every worker's reader has seen all ${sums#* } clicks"
echo "memory of both workers $((rss_before / 1024)) MiB, then $((rss_after / 1024)) MiB; descriptors $fds_before, then $fds_after"
((rss_after > rss_before + rss_before / 10 + 4096)) && fail "memory grew"
((fds_after > fds_before + 8)) && fail "descriptors grew"

old=$(workers)
load 22 >build/log/wrk.log &
wrk_pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do
  sleep 2
  kill -HUP "$master"
done
wait $wrk_pid
grep -E 'requests in|Non-2xx|Socket errors' build/log/wrk.log
for pid in $old; do alive "$pid" && fail "worker $pid lingers"; done
for _ in $(seq 100); do
  [ "$(workers | wc -w)" = 2 ] && break
  sleep 0.1
done
[ "$(workers | wc -w)" = 2 ] || fail "workers linger: $(workers)"
echo "ten reloads under load, workers now: $(workers)"

old=$(workers)
wrk -t1 -c4 -d10s "http://$uncached/" | grep -E 'requests in|Non-2xx' | sed 's/$/, lua_code_cache off/'
[ "$(workers)" = "$old" ] || fail "a worker has died"

sleep 1 # what lingers in the producers
lua5.4 spec/soak/clicks.lua check "$(curl -s "$NGINX_CLICKS/told")" || failed=1
kill -QUIT "$master"
for _ in $(seq 50); do
  alive "$master" || break
  sleep 0.1
done
alive "$master" && fail "nginx lingers after quit"
alerts=$(grep -hE '\[(alert|crit|emerg)\]|Sanitizer' build/run/nginx-clicks/error.log | grep -Ev 'open socket|lua_code_cache')
[ -z "$alerts" ] || fail "nginx logged: $(head -n 5 <<<"$alerts")"
exit $failed
