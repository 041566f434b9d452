#include "wire/sigv4.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/openssl.h"

enum { SHA256 = 32, HEX = 2 * SHA256, SCOPE_DATE = 8, TEXT_MAX = 256 << 10 };

struct kin_sigv4 {
  /* Fetched once, because OpenSSL 3 otherwise looks algorithms up by name at every use. */
  EVP_MD *sha256;
  EVP_MD_CTX *digest;
  EVP_MAC *hmac;
  EVP_MAC_CTX *mac;
  char *region, *service;
  kin_buf text; /* the canonical request, then the string to sign */

  /* `mac` is keyed with the signing key of this secret and day. */
  unsigned char secret_hash[SHA256];
  char day[SCOPE_DATE + 1];
};

kin_sigv4 *kin_sigv4_create(kin_slice region, kin_slice service) {
  kin_sigv4 *signer = calloc(1, sizeof *signer);
  if (!signer)
    return NULL;
  kin_buf_init(&signer->text, TEXT_MAX);
  signer->region = kin_slice_dup(region);
  signer->service = kin_slice_dup(service);
  signer->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  signer->digest = EVP_MD_CTX_new();
  signer->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
  signer->mac = signer->hmac ? EVP_MAC_CTX_new(signer->hmac) : NULL;
  if (!signer->region || !signer->service || !signer->sha256 || !signer->digest || !signer->mac) {
    kin_sigv4_destroy(signer);
    return NULL;
  }
  return signer;
}

void kin_sigv4_destroy(kin_sigv4 *signer) {
  if (!signer)
    return;
  EVP_MAC_CTX_free(signer->mac);
  EVP_MAC_free(signer->hmac);
  EVP_MD_CTX_free(signer->digest);
  EVP_MD_free(signer->sha256);
  kin_buf_free(&signer->text);
  free(signer->region);
  free(signer->service);
  OPENSSL_cleanse(signer, sizeof *signer);
  free(signer);
}

void kin_sigv4_date(int64_t seconds, char date[KIN_SIGV4_DATE]) {
  time_t moment = (time_t)seconds;
  struct tm utc;
  if (!gmtime_r(&moment, &utc) || strftime(date, KIN_SIGV4_DATE, "%Y%m%dT%H%M%SZ", &utc) == 0)
    kin_slice_copy(KIN_SLICE("19700101T000000Z"), date, KIN_SIGV4_DATE);
}

static bool sha256(kin_sigv4 *signer, kin_slice bytes, unsigned char hash[SHA256]) {
  return EVP_DigestInit_ex2(signer->digest, signer->sha256, NULL) == 1 &&
         EVP_DigestUpdate(signer->digest, bytes.at, bytes.len) == 1 &&
         EVP_DigestFinal_ex(signer->digest, hash, NULL) == 1;
}

static void add_hex(kin_buf *out, const unsigned char hash[SHA256]) {
  static const char digits[] = "0123456789abcdef";
  char *at = kin_buf_reserve(out, HEX);
  if (!at)
    return;
  for (int i = 0; i < SHA256; i++) {
    *at++ = digits[hash[i] >> 4];
    *at++ = digits[hash[i] & 15];
  }
  out->len += HEX;
}

static void add_hash(kin_sigv4 *signer, kin_slice bytes, kin_buf *out) {
  unsigned char hash[SHA256];
  if (sha256(signer, bytes, hash))
    add_hex(out, hash);
  else
    out->failed = true;
}

static void add_signed_names(const kin_sigv4_request *request, kin_buf *out) {
  for (size_t i = 0; i < request->header_count; i++) {
    if (i > 0)
      kin_buf_add(out, ";", 1);
    kin_buf_add_slice(out, request->headers[i].name);
  }
}

/* Removes blanks around the value, and reduces runs of blanks to one. */
static void add_trimmed(kin_buf *out, kin_slice value) {
  bool blank = false, any = false;
  for (size_t i = 0; i < value.len; i++) {
    if (value.at[i] == ' ' || value.at[i] == '\t') {
      blank = any;
      continue;
    }
    if (blank)
      kin_buf_add(out, " ", 1);
    kin_buf_add(out, value.at + i, 1);
    blank = false;
    any = true;
  }
}

void kin_sigv4_canonical(kin_sigv4 *signer, const kin_sigv4_request *request, kin_buf *out) {
  kin_buf_add_text(out, request->method);
  kin_buf_add(out, "\n", 1);
  kin_buf_add_slice(out, request->path);
  kin_buf_add(out, "\n", 1);
  kin_buf_add_slice(out, request->query);
  kin_buf_add(out, "\n", 1);
  for (size_t i = 0; i < request->header_count; i++) {
    kin_buf_add_slice(out, request->headers[i].name);
    kin_buf_add(out, ":", 1);
    add_trimmed(out, request->headers[i].value);
    kin_buf_add(out, "\n", 1);
  }
  kin_buf_add(out, "\n", 1);
  add_signed_names(request, out);
  kin_buf_add(out, "\n", 1);
  add_hash(signer, request->payload, out);
}

static void add_scope(const kin_sigv4 *signer, const char *date, kin_buf *out) {
  kin_buf_add(out, date, SCOPE_DATE);
  kin_buf_add(out, "/", 1);
  kin_buf_add_text(out, signer->region);
  kin_buf_add(out, "/", 1);
  kin_buf_add_text(out, signer->service);
  kin_buf_add_text(out, "/aws4_request");
}

void kin_sigv4_string_to_sign(kin_sigv4 *signer, const char *date, kin_slice canonical,
                              kin_buf *out) {
  kin_buf_add_text(out, "AWS4-HMAC-SHA256\n");
  kin_buf_add_text(out, date);
  kin_buf_add(out, "\n", 1);
  add_scope(signer, date, out);
  kin_buf_add(out, "\n", 1);
  add_hash(signer, canonical, out);
}

/* With a NULL key, mac keeps its key, which costs a third of setting one. */
static bool hmac(kin_sigv4 *signer, kin_slice key, kin_slice text, unsigned char out[SHA256]) {
  char name[] = "SHA256";
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
      OSSL_PARAM_construct_end(),
  };
  size_t len;
  return EVP_MAC_init(signer->mac, (const unsigned char *)key.at, key.len,
                      key.at ? params : NULL) == 1 &&
         EVP_MAC_update(signer->mac, (const unsigned char *)text.at, text.len) == 1 &&
         EVP_MAC_final(signer->mac, out, &len, SHA256) == 1;
}

/* Keys mac with the signing key of this secret and day, unless it is already. */
static bool use_signing_key(kin_sigv4 *signer, const char *secret, const char *date) {
  unsigned char hash[SHA256], key[SHA256];
  kin_slice step = {(const char *)key, SHA256};
  char first[sizeof "AWS4" + KIN_SIGV4_SECRET_MAX];
  if (!sha256(signer, kin_slice_of(secret), hash))
    return false;
  if (memcmp(hash, signer->secret_hash, SHA256) == 0 && memcmp(date, signer->day, SCOPE_DATE) == 0)
    return true;
  signer->day[0] = '\0';
  int len = snprintf(first, sizeof first, "AWS4%s", secret);
  bool good = len > 0 && (size_t)len < sizeof first &&
              hmac(signer, (kin_slice){first, (size_t)len}, (kin_slice){date, SCOPE_DATE}, key) &&
              hmac(signer, step, kin_slice_of(signer->region), key) &&
              hmac(signer, step, kin_slice_of(signer->service), key) &&
              hmac(signer, step, KIN_SLICE("aws4_request"), key) &&
              hmac(signer, step, KIN_SLICE(""), hash); /* leaves mac keyed */
  if (good)
    good = sha256(signer, kin_slice_of(secret), signer->secret_hash);
  if (good)
    memcpy(signer->day, date, SCOPE_DATE);
  OPENSSL_cleanse(first, sizeof first);
  OPENSSL_cleanse(key, sizeof key);
  return good;
}

bool kin_sigv4_sign(kin_sigv4 *signer, const kin_credentials *credentials, const char *date,
                    const kin_sigv4_request *request, kin_buf *authorization) {
  unsigned char signature[SHA256];
  kin_buf *text = &signer->text;
  kin_buf_clear(text);
  kin_sigv4_canonical(signer, request, text);
  size_t canonical = text->len;
  if (text->failed)
    return false;
  /* reserved first, because the canonical request must not move */
  if (!kin_buf_reserve(text, 1024))
    return false;
  kin_sigv4_string_to_sign(signer, date, (kin_slice){text->at, canonical}, text);
  if (text->failed || !use_signing_key(signer, credentials->secret_access_key, date) ||
      !hmac(signer, (kin_slice){0}, (kin_slice){text->at + canonical, text->len - canonical},
            signature))
    return false;
  kin_buf_add_text(authorization, "AWS4-HMAC-SHA256 Credential=");
  kin_buf_add_text(authorization, credentials->access_key_id);
  kin_buf_add(authorization, "/", 1);
  add_scope(signer, date, authorization);
  kin_buf_add_text(authorization, ", SignedHeaders=");
  add_signed_names(request, authorization);
  kin_buf_add_text(authorization, ", Signature=");
  add_hex(authorization, signature);
  return !authorization->failed;
}
