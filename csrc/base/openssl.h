/* openssl: includes OpenSSL's headers, and names the package that is missing. */
#ifndef KIN_BASE_OPENSSL_H
#define KIN_BASE_OPENSSL_H

#ifdef __has_include
#if !__has_include(<openssl/evp.h>)
#error "<openssl/evp.h> is missing. Debian: libssl-dev. Fedora: openssl-devel."
#error "Alpine: openssl-dev. macOS: brew install openssl@3; CRYPTO_DIR=$(brew --prefix openssl@3)"
#endif
#endif

/* Headers of 3.0 may lie behind older ones in the compiler's path, so the version decides. */
#include <openssl/opensslv.h>
#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "OpenSSL 3.0 or newer is needed, and these headers are older: see <openssl/opensslv.h>."
#error "Another one: CRYPTO_DIR=its folder for luarocks, CFLAGS=-I… LIBS=-L… for make."
#else
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#endif

#endif
