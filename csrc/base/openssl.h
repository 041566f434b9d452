/* openssl: includes OpenSSL's headers, and names the package that is missing. */
#ifndef KIN_BASE_OPENSSL_H
#define KIN_BASE_OPENSSL_H

#ifdef __has_include
#if !__has_include(<openssl/evp.h>)
#error "<openssl/evp.h> is missing. Debian: libssl-dev. Fedora: openssl-devel."
#error "Alpine: openssl-dev. macOS: brew install openssl@3; CRYPTO_DIR=$(brew --prefix openssl@3)"
#elif !__has_include(<openssl/core_names.h>)
#error "The headers of OpenSSL here are older than 3.0, which is needed."
#endif
#endif

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#endif
