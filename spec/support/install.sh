#!/bin/sh
# `make install` and `make uninstall`:  install.sh check|copy|remove PREFIX LUA_VERSION
#
#   check    whether PREFIX can be written; says what else can be done
#   copy     the build of LUA_VERSION (5.4, or 5.1 for LuaJIT), and a list of what was copied
#   remove   what that list names; of the folders that copy made, those that are empty then
#
# DESTDIR, if set, goes before PREFIX, as in other makefiles.
set -eu
umask 022 # what is installed is for everyone to read
cd "$(dirname "$0")/../.."
action=$1 prefix=$2 version=$3
root=${DESTDIR-}$prefix
c_folder=lib/lua/$version/kinesis lua_folder=share/lua/$version/kinesis
list=$root/$lua_folder/installed-by-make

say() { printf '%s\n' "$*" >&2; }

case $version in
5.4) build=lua5.4 ;;
5.1) build=luajit ;;
*)
  say "LUA_VERSION=$version is not built here: 5.4 is, and 5.1 for LuaJIT. (LuaRocks compiles for others.)"
  exit 2
  ;;
esac

writable() { # FOLDER, which may not be there yet
  folder=$1
  while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
  if [ -d "$folder" ] && [ -w "$folder" ]; then return 0; fi
  say "$folder cannot be written by $(id -un); nothing was changed."
  return 1
}

check() {
  if writable "$root/$c_folder" && writable "$root/$lua_folder"; then return 0; fi
  [ "$(id -u)" = 0 ] || say "As root, it can: sudo make install PREFIX='$prefix' LUA_VERSION=$version"
  say "Or install for yourself alone, by one of these:"
  say "  make install PREFIX=~/.local LUA_VERSION=$version"
  say "  luarocks --local --lua-version=$version make rockspec/kinesis-scm-1.rockspec"
  exit 1
}

# Takes away what an earlier installation put there; a rock in the same place is not on its list.
remove() {
  while IFS= read -r path; do
    case $path in
    *..*) say "$list names $path, which no installation made" && exit 1 ;;
    */) ;;
    "$c_folder"/* | "$lua_folder"/*) rm -f "$root/$path" ;;
    *) say "$list names $path, which no installation made" && exit 1 ;;
    esac
  done <"$list"
  folders=$(grep '/$' "$list" | LC_ALL=C sort -r) # the inner ones first
  rm "$list"
  printf '%s\n' "$folders" | while IFS= read -r path; do
    [ ! -d "$root/$path" ] || [ -z "$path" ] || rmdir --ignore-fail-on-non-empty "$root/$path"
  done
}

made= # folders that were not there before, one a line, with a slash at the end
make_folder() { # FOLDER, below PREFIX
  [ ! -d "$root/$1" ] || return 0
  case $1 in */*) make_folder "${1%/*}" ;; esac
  mkdir "$root/$1"
  made=$made$1/'
'
}

copy_file() { # MODE FROM TO
  make_folder "${3%/*}"
  install -m "$1" "$2" "$root/$3"
  printf '%s\n' "$3" >>"$list"
}

copy() {
  [ ! -e "$list" ] || remove
  mkdir -p "$root"
  make_folder "$lua_folder"
  : >"$list"
  copy_file 755 "build/$build/kinesis/core.so" "$c_folder/core.so"
  for path in $(cd lua/kinesis && find . -name '*.lua'); do
    copy_file 644 "lua/kinesis/$path" "$lua_folder/${path#./}"
  done
  printf '%s' "$made" >>"$list"
  say "kinesis is in $root/$lua_folder and $root/$c_folder"
}

# Lines for a shell, where this Lua does not look in PREFIX.
advise() {
  if [ -n "${DESTDIR-}" ] || ! command -v $build >/dev/null; then return 0; fi
  # shellcheck disable=SC2016
  if ! SHARE=$prefix/share/lua/$version LIB=$prefix/lib/lua/$version $build -e '
    local function looks_in(path, pattern) return (";" .. path .. ";"):find(";" .. pattern .. ";", 1, true) end
    local share, lib = os.getenv "SHARE", os.getenv "LIB"
    os.exit(looks_in(package.path, share .. "/?.lua") and looks_in(package.path, share .. "/?/init.lua")
      and looks_in(package.cpath, lib .. "/?.so") and 0 or 1)'; then
    say "$build does not look there by itself. For your shell:"
    say "  export LUA_PATH='$prefix/share/lua/$version/?.lua;$prefix/share/lua/$version/?/init.lua;;'"
    say "  export LUA_CPATH='$prefix/lib/lua/$version/?.so;;'"
  fi
}

case $action in
check) check ;;
copy)
  copy
  advise
  ;;
remove)
  if [ ! -e "$list" ]; then
    say "There is nothing that make install put into $root for Lua $version."
    exit 0
  fi
  for part in "$c_folder" "$lua_folder"; do writable "$root/$part" || exit 1; done
  remove
  say "kinesis is removed from $root"
  ;;
*)
  say "usage: spec/support/install.sh check|copy|remove PREFIX LUA_VERSION"
  exit 2
  ;;
esac
