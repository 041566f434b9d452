#!/bin/bash
# Installs what is missing, and only that: `setup.sh demo` for the build and the
# demo, `setup.sh test` for the whole suite, `setup.sh docs` for the manual alone,
# `setup.sh bench` and `setup.sh fuzz` for what those targets need beyond the suite.
# With everything there it is silent.
# Debian and Ubuntu as root: by apt, after saying the list. Elsewhere: says
# what to install.
set -euo pipefail
cd "$(dirname "$0")/../.."
level=${1:-demo}
node_floor=18
# What the pinned npm packages depend on is taken as it was on this day: a release of many packages is incomplete in the
# registry, or in a mirror of it, for a while, and then nothing can be installed.
npm_day=2026-11-20

missing=()
check_output= # what the checks printed that failed
say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null; }
c_header() { [ -e "/usr/include/$1" ] || compgen -G "/usr/include/*-linux-gnu/$1" >/dev/null || echo "#include <$1>" | gcc -E - >/dev/null; }
lua_header() { [ -e "/usr/include/$1/lua.h" ] || { have pkg-config && pkg-config --exists "$2"; }; }
lua_module() { have "$1" && "$1" -e "require '$2'"; }

# A check that fails marks the package as missing. Its messages are shown only if it still fails after the installation.
need() { # PACKAGE WHAT_FOR CHECK...
  local package=$1 what=$2 output
  shift 2
  output=$("$@" 2>&1) || {
    missing+=("$package|$what")
    [ -z "$output" ] || check_output+="$package: $output"$'\n'
  }
}

npm_wanted() { ! cmp -s spec/support/package.json "build/node/$level.json"; }

look() {
  missing=() check_output=
  if [ "$level" = docs ]; then
    need lua5.4 "reads the annotations" have lua5.4
    need lua-ldoc "makes HTML of them" have ldoc
    return 0
  elif [ "$level" = fuzz ]; then
    need clang "has libFuzzer" have clang
    need libclang-rt-dev "libFuzzer" has_fuzzer
    return 0
  elif [ "$level" = bench ]; then
    need valgrind "counts instructions" have valgrind
    need wrk "loads nginx" have wrk
    if debian_has golang-github-aws-aws-sdk-go-v2-dev; then
      need golang-go "compiles the peer in Go" have go
      need golang-github-aws-aws-sdk-go-v2-dev "a peer" test -d /usr/share/gocode/src/github.com/aws/aws-sdk-go-v2
    fi
    return 0
  fi
  need gcc "compiles the C core" have gcc
  need libc6-dev "the C library's headers" c_header stdio.h
  need make "runs the targets" have make
  need lua5.4 "the interpreter" have lua5.4
  need liblua5.4-dev "Lua's headers" lua_header lua5.4 lua5.4
  need libcurl4-openssl-dev "HTTP and TLS" c_header curl/curl.h
  need libssl-dev "digests for the signatures" c_header openssl/evp.h
  need lua-cjson "JSON in Lua" lua_module lua5.4 cjson
  need ca-certificates "the certificate authorities" test -e /etc/ssl/certs/ca-certificates.crt
  need nodejs "runs kinesis-local, the service on this machine" have node
  if npm_wanted && node_is_the_systems; then
    need npm "fetches kinesis-local" have npm
  fi
  [ "$level" = test ] || return 0
  family=$(luajit_family)
  need "luajit$family" "the second interpreter" have luajit
  need "libluajit$family-5.1-dev" "its headers" lua_header luajit-2.1 luajit
  need lua-cjson "JSON in LuaJIT" lua_module luajit cjson
  need lua-busted "runs the specs" have busted
  need lua-posix "fork in a spec" lua_module luajit posix
  need lua-luv "a host of the specs" lua_module lua5.4 luv
  need lua-luv "a host of the specs" lua_module luajit luv
  need lua-check "lint" have luacheck
  need lua-ldoc "makes the manual" have ldoc
  need luarocks "installs the rock" have luarocks
  need zip "packs the rock" have zip
  need unzip "unpacks the rock" have unzip
  need lua5.1 "tries the rock" have lua5.1
  need liblua5.1-0-dev "builds it there" test -e /usr/include/lua5.1/lua.h
  need lua5.3 "tries the rock" have lua5.3
  need liblua5.3-dev "builds it there" test -e /usr/include/lua5.3/lua.h
  need clang-format "lint" have clang-format
  need nginx "the host and the faults of the specs" have nginx
  need libnginx-mod-http-lua "Lua in it" test -e /usr/lib/nginx/modules/ngx_http_lua_module.so
  need python3-botocore "what others write, we read" test -d /usr/lib/python3/dist-packages/botocore
  need openssl "certificates for the specs" have openssl
  if debian_has chromium; then # Ubuntu has it as a snap only
    need chromium "looks at the example's page" have chromium
  fi
  need curl "visits nginx in specs" have curl
  need locales "a decimal comma, in specs" test -e /usr/share/i18n/locales/de_DE
  need procps "ps, in specs that count threads" have ps
}

# Debian packages LuaJIT twice, as luajit and as luajit2, and the two conflict; Debian 13 has luajit only. Prints
# "2" or "": the family that is installed in part, else the one that apt has.
luajit_family() {
  local installed
  # The error is that no package matches.
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'luajit*' 'libluajit*' 2>/dev/null | sed -n 's/^installed //p')
  case $installed in
  *luajit2*) echo 2 ;;
  *luajit*) echo ;;
  *) if debian_has libluajit2-5.1-dev; then echo 2; else echo; fi ;;
  esac
}

has_fuzzer() { compgen -G "$(dirname "$(clang -print-libgcc-file-name)")/libclang_rt.fuzzer-*.a" >/dev/null || compgen -G "$(clang -print-resource-dir)/lib/*/libclang_rt.fuzzer*.a" >/dev/null; }

debian_has() { have apt-cache && [ -n "$(apt-cache search --names-only "^$1\$")" ]; }

# Debian's npm goes with Debian's nodejs only: another nodejs brings its own, and the two conflict.
node_is_the_systems() {
  local version
  if have node; then
    [[ $(readlink -f "$(command -v node)") == /usr/bin/node* ]] || return 1
    version=$(dpkg-query -W -f '${Version}' nodejs 2>/dev/null) || return 1 # dpkg does not know it
  else
    version=$(node_candidate)
  fi
  [[ $version != *nodesource* ]]
}

node_candidate() {
  ! have apt-cache || LC_ALL=C apt-cache policy nodejs | sed -n 's/^ *Candidate: //p'
}

apt() {
  # RUNLEVEL=1: an nginx that is installed for the specs is not to start serving by itself.
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >&2
}

install_packages() {
  local entry names
  names=$(printf '%s\n' "${missing[@]%%|*}" | sort -u | tr '\n' ' ')
  say "Missing:"
  for entry in "${missing[@]}"; do printf '  %-22s %s\n' "${entry%%|*}" "${entry#*|}" >&2; done
  if ! have apt-get; then
    say "This system has no apt: install the like of these (the names are Debian's), then try again:"
    say "  $names"
    exit 1
  elif [ "$(id -u)" != 0 ]; then
    say "Installing needs root. Run this, then try again:"
    say "  sudo apt-get install --no-install-recommends $names"
    exit 1
  fi
  if [ "$level" != docs ] && ! have node; then refuse_old_node "$(node_candidate)" "the one that apt has"; fi
  say "Installing by apt-get …"
  install_by_apt "$names"
}

# On a machine whose lists are absent or old the first attempt fails; its messages matter only if the second fails, too.
# Nothing is removed without being asked for: Debian 12's nginx with Lua, for one, would remove luajit for luajit2.
install_by_apt() { # NAMES
  local first removed
  # shellcheck disable=SC2086
  first=$(apt install --no-remove --no-install-recommends $1 2>&1) && return
  # shellcheck disable=SC2086
  if ! apt update || ! apt install --no-remove --no-install-recommends $1; then
    say "apt-get failed. Its first attempt, before apt-get update, had said:"
    say "$first"
    # shellcheck disable=SC2086
    removed=$(apt-get -s install --no-install-recommends $1 | sed -n 's/^Remv \([^ ]*\).*/\1/p' | tr '\n' ' ') || true
    if [ -n "$removed" ]; then
      say "apt-get would have to remove what conflicts: $removed"
      say "If you agree, run this, then try again:"
      say "  apt-get install --no-install-recommends $1"
    fi
    exit 1
  fi
}

refuse_old_node() { # VERSION WHICH
  local major=${1#*:}
  major=${major%%.*}
  if [[ $major =~ ^[0-9]+$ ]] && ((major < node_floor)); then
    say "Node.js is $1 here ($2), and kinesis-local needs $node_floor or newer."
    say "Install a newer Node.js, or use a system that has one: Debian 12, Ubuntu 24.04, or newer."
    exit 1
  fi
}

pinned() { # what package.json asks for, as NAME@VERSION, in the given group
  sed -n "/\"$1\"/,/}/s/^ *\"\([^\"]*\)\": \"\([0-9][0-9.]*\)\".*/\1@\2/p" spec/support/package.json
}

# What the demo needs is in dependencies, the specs' part in devDependencies.
install_node_packages() {
  local packages
  npm_wanted || return 0
  if ! have npm; then
    say "$(command -v node) is not this system's own Node.js, and there is no npm beside it:"
    say "install npm the way that Node.js was installed, then try again."
    exit 1
  fi
  mapfile -t packages < <(pinned dependencies && { [ "$level" = demo ] || pinned devDependencies; })
  say "Installing by npm, into build/node: ${packages[*]} …"
  mkdir -p build/node
  echo '{ "private": true }' >build/node/package.json
  npm install --prefix build/node "${packages[@]}" --no-save --omit=optional --no-package-lock --no-audit \
    --no-fund --ignore-scripts --loglevel=error --before="$npm_day" >&2
  cp spec/support/package.json build/node/demo.json
  [ "$level" = demo ] || cp spec/support/package.json build/node/test.json
}

case $level in demo | test | docs | bench | fuzz) ;; *)
  say "usage: spec/support/setup.sh [demo|test|docs|bench|fuzz]"
  exit 2
  ;;
esac
look
if ((${#missing[@]} > 0)); then
  install_packages
  look
  if ((${#missing[@]} > 0)); then
    say "Still missing after the installation: ${missing[*]%%|*}"
    say "$check_output"
    exit 1
  fi
fi
case $level in docs | bench | fuzz) exit 0 ;; esac
refuse_old_node "$(node -p process.versions.node)" "$(command -v node)"
install_node_packages
