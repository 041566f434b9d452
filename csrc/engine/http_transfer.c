#include "engine/http_transfer.h"

#include <stdlib.h>

/* Connections older than CONNECTION_SECONDS are replaced, to follow changes of DNS. */
enum { CA_CACHE_SECONDS = 86400, CONNECTION_SECONDS = 300 };

/* Buffers of a transfer. libcurl's defaults (16 KiB, 64 KiB) take a fifth more CPU for a page of
 * records, and a twentieth for a large request. */
enum { RECEIVE_BYTES = 64 << 10, SEND_BYTES = 128 << 10 };

/* ---- callbacks of libcurl, inside `finished`, on the engine thread ---- */

static size_t on_read(char *to, size_t size, size_t count, void *user) {
  kin_transfer *c = user;
  kin_slice body = c->exchange->body;
  size_t max = size * count, left = body.len - c->sent;
  size_t len = left < max ? left : max;
  if (len > 0)
    memcpy(to, body.at + c->sent, len);
  c->sent += len;
  return len;
}

/* Keeps libcurl from resending a request when a kept connection breaks: the service may have
 * received it, and the engine decides about retries. */
static int on_seek(void *user, curl_off_t offset, int origin) {
  const kin_transfer *c = user;
  return offset == 0 && origin == SEEK_SET && c->sent == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

/* libcurl counts the time of a pause, and would end the transfer. */
static void pause_transfer(kin_transfer *c) {
  c->paused_at = kin_monotonic();
  curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, 0L);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user) {
  kin_exchange *exchange = ((kin_transfer *)user)->exchange;
  size_t len = size * count;
  switch (kin_exchange_take_body(exchange, (kin_slice){bytes, len})) {
  case KIN_SPACE_GIVEN:
    break;
  case KIN_SPACE_LATER:
    pause_transfer(user);
    return CURL_WRITEFUNC_PAUSE;
  case KIN_SPACE_NONE:
    return 0;
  }
  if (!exchange->arrived)
    return len;
  long status = 0;
  curl_easy_getinfo(((kin_transfer *)user)->easy, CURLINFO_RESPONSE_CODE, &status);
  exchange->status = (int)status;
  return exchange->arrived(exchange) ? len : 0;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *user) {
  kin_exchange *exchange = ((kin_transfer *)user)->exchange;
  kin_slice line = {bytes, size * count};
  return kin_exchange_take_header(exchange, line) ? line.len : 0;
}

static curl_socket_t on_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)user, (void)purpose;
  return kin_descriptors_socket(address->family, address->socktype, address->protocol);
}

/* Called before libcurl starts a thread for a name, and makes a pair of sockets to wait for it. */
static int on_resolve(void *resolver, void *reserved, void *user) {
  (void)resolver, (void)reserved;
  kin_descriptors_note(user);
  return 0;
}

/* ---- time ---- */

kin_time kin_transfer_ends_at(const kin_transfer *c) {
  return c->started_at + c->exchange->timeout + c->paused_for;
}

static long milliseconds(kin_time time) {
  kin_time millis = time / KIN_MILLISECOND;
  return millis < 1 ? 1 : millis > 0x7fffffff ? 0x7fffffff : (long)millis;
}

void kin_transfer_set_timeouts(const kin_transfer *c) {
  curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(c->exchange->connect_timeout));
  curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, milliseconds(c->exchange->timeout + c->paused_for));
}

CURLcode kin_transfer_resume(kin_transfer *c) {
  c->paused_for += kin_monotonic() - c->paused_at;
  c->paused_at = 0;
  kin_transfer_set_timeouts(c);
  return curl_easy_pause(c->easy, CURLPAUSE_CONT);
}

/* ---- life ---- */

void kin_transfer_free(kin_transfer *c) {
  if (c->easy)
    curl_easy_cleanup(c->easy);
  free(c);
}

kin_transfer *kin_transfer_create(const char *user_agent, kin_descriptors *before) {
  kin_transfer *c = calloc(1, sizeof *c);
  if (!c)
    return NULL;
  c->easy = curl_easy_init();
  if (!c->easy) {
    free(c);
    return NULL;
  }
  CURL *easy = c->easy;
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_POST, 1L);
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* the path that was signed */
#if CURL_AT_LEAST_VERSION(7, 85, 0)
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  /* whatever the system's configuration of OpenSSL allows */
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  curl_easy_setopt(easy, CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, user_agent);
#if CURL_AT_LEAST_VERSION(7, 80, 0)
  curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long)CONNECTION_SECONDS);
#endif
#if CURL_AT_LEAST_VERSION(7, 87, 0)
  curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_CACHE_SECONDS);
  /* without it, cleanup waits for a name server that does not answer */
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
  curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
  curl_easy_setopt(easy, CURLOPT_READDATA, c);
  curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
  curl_easy_setopt(easy, CURLOPT_SEEKDATA, c);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
  curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BYTES);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, c);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket);
  curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
  curl_easy_setopt(easy, CURLOPT_RESOLVER_START_DATA, before);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, c->error);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, c);
  return c;
}

void kin_transfer_set_method(kin_transfer *c, const char *method, bool direct) {
  bool get = method && strcmp(method, "GET") == 0;
  curl_easy_setopt(c->easy, get ? CURLOPT_HTTPGET : CURLOPT_POST, 1L);
  curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, get ? NULL : method);
  curl_easy_setopt(c->easy, CURLOPT_NOPROXY, direct ? "*" : NULL);
  c->special = method || direct;
}

void kin_transfer_set_streaming(kin_transfer *c, kin_time silence) {
  bool streams = silence > 0;
  curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION,
                   (long)(streams ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_LIMIT, streams ? 1L : 0L);
  curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_TIME,
                   (long)((silence + KIN_SECOND - 1) / KIN_SECOND));
  c->streaming = streams;
}
