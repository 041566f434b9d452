/* http_transfer: one easy handle of libcurl and the exchange that it carries; a part of http.
 * Engine thread only. */
#ifndef KIN_ENGINE_HTTP_TRANSFER_H
#define KIN_ENGINE_HTTP_TRANSFER_H

#ifdef __has_include
#if !__has_include(<curl/multi.h>) /* not curl.h, whose absence gcc would then ignore */
#error "<curl/curl.h> is missing. Debian: libcurl4-openssl-dev. Fedora: libcurl-devel."
#error "Alpine: curl-dev. macOS: brew install curl; CURL_DIR=$(brew --prefix curl)"
#endif
#endif
#include <curl/curl.h>

#include "engine/descriptors.h"
#include "engine/transport.h"

typedef struct kin_transfer kin_transfer;
struct kin_transfer {
  CURL *easy;
  bool by_folder; /* http's value when trust was set */
  bool streaming; /* the response is read while it arrives */
  bool special;   /* not a POST, or ignores the proxy */
  struct curl_slist nodes[KIN_EXCHANGE_HEADERS_MAX];
  char error[CURL_ERROR_SIZE];
  kin_exchange *exchange;
  size_t sent; /* bytes of the request's body */
  kin_time started_at;
  kin_time paused_at;  /* 0: it runs */
  kin_time paused_for; /* until it was resumed last */
  kin_transfer *next;  /* of the idle ones, or of those that were resumed */
};

/* `before` notes the descriptors that exist before libcurl makes others; both outlive the transfer.
 * NULL when memory is out. */
kin_transfer *kin_transfer_create(const char *user_agent, kin_descriptors *before);
void kin_transfer_free(kin_transfer *c);

/* NULL: POST. `direct`: ignores the proxy. */
void kin_transfer_set_method(kin_transfer *c, const char *method, bool direct);

/* With `silence` > 0: HTTP/2 over TLS, and a failure when no byte arrives for `silence`. */
void kin_transfer_set_streaming(kin_transfer *c, kin_time silence);

/* Sets how long it may take to connect, and in all; the pauses do not count. */
void kin_transfer_set_timeouts(const kin_transfer *c);

/* When its time is over, as far as it has been resumed. */
kin_time kin_transfer_ends_at(const kin_transfer *c);

/* Goes on with a paused transfer. libcurl calls the callbacks meanwhile, which may pause it again.
 * An error: it has to be removed; newer versions of libcurl report that at its end only. */
CURLcode kin_transfer_resume(kin_transfer *c);

#endif
