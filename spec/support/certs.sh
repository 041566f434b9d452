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

# Dates are YYYYMMDDHHMMSSZ. `openssl ca` takes both of them in every version; `openssl x509 -days` refuses the past
# since OpenSSL 3.5. It talks a lot: shown when it fails.
signed() { # NAME HOST ALTERNATIVE_NAMES START END
  local said
  key "$1"
  openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' "$3" >"issued/$1.ext"
  said=$(openssl ca -batch -notext -config issued/ca.conf -extfile "issued/$1.ext" -startdate "$4" -enddate "$5" \
    -in "$1.csr" -out "$1.pem" 2>&1) || {
    printf '%s\n' "$said" >&2
    return 1
  }
  rm "$1.csr"
}

# What `openssl ca` keeps: a list of the certificates, and a copy of each.
mkdir issued
: >issued/index.txt
cat >issued/ca.conf <<'CONF'
[ca]
default_ca = specs
[specs]
certificate = ca.pem
private_key = ca.key
database = issued/index.txt
new_certs_dir = issued
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
CONF

now=$(date -u +%Y%m%d%H%M%SZ)
later=$(date -u -d '+3650 days' +%Y%m%d%H%M%SZ)
authority ca
authority other-ca
signed wrong-host wrong.example DNS:wrong.example "$now" "$later"
signed expired localhost DNS:localhost,IP:127.0.0.1 20200101000000Z 20200201000000Z
signed server localhost DNS:localhost,IP:127.0.0.1 "$now" "$later"
rm -r issued

one_line() { sed 's/$/\\n/' "$1" | tr -d '\n'; }
printf '{"server":{"key":"%s","cert":"%s"}}\n' "$(one_line server.key)" "$(one_line server.pem)" >server.json
