#!/bin/bash
# Makes what the TLS specs need, in build/certs, once: an own CA and, signed by
# it, server (localhost, 127.0.0.1), wrong-host and expired; other-ca signed
# nothing. server.json is the same server pair as kinesis-local wants it.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=build/certs

if [ -s $dir/server.json ] && openssl x509 -checkend 86400 -noout -in $dir/server.pem >/dev/null; then
  exit 0
fi
rm -rf $dir
mkdir -p $dir
cd $dir

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

authority() { # NAME
  key "$1"
  openssl req -x509 -new -key "$1.key" -out "$1.pem" -days 3650 -subj "/CN=kinesis specs: $1" \
    -addext "keyUsage=critical,keyCertSign,cRLSign"
}

signed() { # NAME HOST ALTERNATIVE_NAMES EXTRA...
  local name=$1 host=$2 names=$3
  shift 3
  key "$name"
  openssl req -new -key "$name.key" -subj "/CN=$host" -out "$name.csr"
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' "$names" >"$name.ext"
  openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -extfile "$name.ext" \
    -out "$name.pem" "$@" 2>/dev/null
  rm "$name.csr" "$name.ext"
}

authority ca
authority other-ca
signed wrong-host wrong.example DNS:wrong.example -days 3650
signed expired localhost DNS:localhost,IP:127.0.0.1 -days -1
signed server localhost DNS:localhost,IP:127.0.0.1 -days 3650

one_line() { sed 's/$/\\n/' "$1" | tr -d '\n'; }
printf '{"server":{"key":"%s","cert":"%s"}}\n' "$(one_line server.key)" "$(one_line server.pem)" >server.json
