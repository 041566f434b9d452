#!/bin/bash
# Prints shell lines for `eval`, in any POSIX shell: with them no program that uses the library reaches another
# service than the local one, whatever the user's environment and files say.
#
#   seal.sh ENDPOINT   the service is the one at ENDPOINT; proxies stay, for everything but this machine
#   seal.sh            no service, no region, no keys, no proxy: who runs then says all that it means
#
# Which variables there are, and what becomes of each, is declared in lua/kinesis/config/variables.lua.
set -euo pipefail
cd "$(dirname "$0")/../.."
endpoint=${1-}
LOOPBACK=127.0.0.1,localhost

quoted() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

# What no_proxy says, with this machine. An asterisk by itself says it already.
with_loopback() {
  local hosts=${no_proxy:-${NO_PROXY-}}
  case ,$hosts, in
  ,\*, | *",$LOOPBACK,"*) printf '%s' "$hosts" ;;
  *) printf '%s' "${hosts:+$hosts,}$LOOPBACK" ;;
  esac
}

removed=
exports=()
export_line() { exports+=("export $1=$(quoted "$2")"); } # NAME VALUE

while read -r name seal value; do
  case $seal in
  keep) ;;
  set) export_line "$name" "$value" ;;
  local | endpoint | loopback | proxy)
    if [ -z "$endpoint" ]; then
      removed+=" $name"
    elif [ "$seal" = local ]; then
      export_line "$name" "$value"
    elif [ "$seal" = endpoint ]; then
      export_line "$name" "$endpoint"
    elif [ "$seal" = loopback ]; then
      export_line "$name" "$(with_loopback)"
    fi
    ;;
  *) removed+=" $name" ;;
  esac
done < <(sed -n 's/^ *{ name = "\([^"]*\)", seal = "\([^"]*\)".*/\1 \2/p' lua/kinesis/config/variables.lua)
[ -n "$removed" ] || {
  echo "seal.sh: no variables in lua/kinesis/config/variables.lua" >&2
  exit 1
}
echo "unset$removed"
printf '%s\n' "${exports[@]}"
