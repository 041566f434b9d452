#!/bin/bash
# felt.lua with a real service beside it; from the top of the tree.
set -uo pipefail
source spec/support/services.sh
trap stop_services EXIT
trap 'exit 130' INT TERM
start_kinesalite || exit 1
export KINESALITE
unset AWS_CA_BUNDLE AWS_PROFILE AWS_SESSION_TOKEN
lua5.4 spec/bench/felt.lua
