#!/bin/bash
# The tutorial in one go: a stream, a consumer, two producers at once, a count
# at the end. On this machine with kinesis-local; KINESIS_DEMO=aws with the real
# service and a fresh stream. `make demo` installs and builds first.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
source spec/support/services.sh

COUNT=${KINESIS_DEMO_COUNT:-10} # records from each producer
DELAY=0.3
PAUSE=${KINESIS_DEMO_PAUSE:-5} # seconds before anything is created in an account
eval "$(spec/support/paths.sh)"

pids=() ours="" dir=$(mktemp -d "$PWD/build/run/demo.XXXXXX") || exit 1

# Whether the stream exists. 0: yes; 1: no; 2: unknown. The output is in $dir/look.
look() {
  lua5.4 examples/stream.lua describe >"$dir/look" 2>&1 && return 0
  grep -q '^Status: ' "$dir/look" && return 0
  grep -q ResourceNotFoundException "$dir/look" && return 1
  return 2
}

# Deletes the stream if this run created it, or prints what is left. Fails when the stream is left, or may be.
delete_ours() {
  [ -n "$ours" ] || return 0
  if [ "$ours" = maybe ]; then
    look
    case $? in 0) ;; 1) return 0 ;; *) unknown; return 1 ;; esac
  fi
  lua5.4 examples/stream.lua delete 2>&1 | speaker stream && return 0
  look
  case $? in
  0) say "The stream $KINESIS_STREAM is still there: delete it by hand." ;;
  1) return 0 ;;
  *) unknown ;;
  esac
  return 1
}

unknown() {
  tail -n 1 "$dir/look" >&2
  [ "$KINESIS_DEMO" = local ] || # the local service ends, and its streams with it
    say "Whether there is a stream $KINESIS_STREAM could not be found out: look for it, and delete it by hand."
}

# Ends the examples, deletes the stream if this run created it, and stops the service. Runs once, at every exit.
finish() {
  local status=$? pid
  trap - EXIT
  trap '' INT TERM
  for pid in "${pids[@]}"; do end_process "$pid"; done
  delete_ours || status=1
  stop_services
  rm -rf "$dir"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Prints each line with NAME in front, and stores it in $dir/NAME. Ignores
# Ctrl-C: it ends at the end of its input.
speaker() { # NAME
  local line
  trap '' INT TERM
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$dir/$1"
    printf '%-9s | %s\n' "$1" "$line"
  done
}

# Starts an example in the background, line-buffered; its pid goes to pids.
start() { # NAME SCRIPT ARGUMENTS...
  local name=$1
  shift
  : >"$dir/$name"
  stdbuf -oL lua5.4 "$@" > >(speaker "$name") 2>&1 </dev/null &
  pids+=($!)
}

records() { grep -c '^Record: ' "$dir/consumer"; }

KINESIS_DEMO=${KINESIS_DEMO:-local}
case $KINESIS_DEMO in
aws)
  KINESIS_DEMO_PATIENCE=${KINESIS_DEMO_PATIENCE:-30}
  KINESIS_STREAM=hello-kinesis-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
  service=$(lua5.4 examples/stream.lua service) || exit 1
  echo "$service"
  echo "This uses your AWS account. It creates the on-demand stream $KINESIS_STREAM, puts"
  echo "$((2 * COUNT)) small records, reads them, and deletes the stream again, in about a minute. An on-demand"
  echo "stream is billed by the hour that it exists (a few US cents) and by the data in and out"
  echo "(nothing to speak of here). Starting in $PAUSE seconds; Ctrl-C stops it."
  sleep "$PAUSE"
  ;;
local)
  KINESIS_STREAM=${KINESIS_STREAM:-hello-kinesis}
  # shellcheck disable=SC2034 # of services.sh: another demo may run in this tree
  RUN_DIR=$dir
  KINESIS_LOCAL_MS=200 start_kinesis_local demo || exit 1
  eval "$(spec/support/seal.sh "$KINESIS_LOCAL")"
  echo "service   | kinesis-local at $KINESIS_LOCAL"
  ;;
*)
  say "KINESIS_DEMO is 'local' or 'aws', not '$KINESIS_DEMO'"
  exit 2
  ;;
esac
export KINESIS_STREAM

# A stream that did not exist before belongs to this run, even when its creation was interrupted or the answer was lost.
look
case $? in
0)
  say "The stream $KINESIS_STREAM is there already; the demo wants one of its own."
  exit 1
  ;;
2)
  tail -n 1 "$dir/look" >&2
  exit 1
  ;;
esac
ours=maybe
lua5.4 examples/stream.lua create 2>&1 | speaker stream || exit 1
ours=yes

start consumer examples/consumer.lua
consumer=$!
start producer1 examples/producer.lua producer1 "$COUNT" "$DELAY" "Hello from producer 1"
producer1=$!
start producer2 examples/producer.lua producer2 "$COUNT" "$DELAY" "Hello from producer 2"
producer2=$!

failed=0
for pid in $producer1 $producer2; do wait "$pid" || failed=1; done
if ((failed)); then
  say "A producer failed."
  exit 1
fi
end=$((SECONDS + ${KINESIS_DEMO_PATIENCE:-8}))
while (($(records) < 2 * COUNT && SECONDS <= end)) && alive "$consumer"; do sleep 0.05; done
kill -INT "$consumer" 2>/dev/null # like Ctrl-C
for _ in {1..60}; do
  alive "$consumer" || break
  sleep 0.05
done
end_process "$consumer"
sleep 0.05 # the last lines pass through the pipe

echo
echo "What the consumer read:"
# Record: <json>, Partition Key: <key>, Shard: <id>
sed -n 's/^Record: .*, Partition Key: \([^,]*\), Shard: \([^ ,]*\).*$/\1 \2/p' "$dir/consumer" | sort | uniq -c |
  awk '{ printf "  %-10s %-22s %4d records\n", $2, $3, $1 }'
read_back=$(records)
echo "  $read_back of $((2 * COUNT)) records put"
echo
((read_back == 2 * COUNT)) || {
  say "Not every record came back once."
  exit 1
}
