#include "engine/http.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/http_transfer.h"
#include "engine/proxy.h"

/* Idle transfers are kept with their buffers: new ones cost up to three times the CPU of a request.
 */
enum { IDLE_MAX = 32 };

/* A connection is not used again after it was idle for so long: libcurl's default. */
enum { UNUSED_SECONDS = 118 };

typedef struct http {
  kin_transport transport; /* first */
  CURLM *multi;
  char *ca_bundle, *user_agent;
  const char *ca_file, *ca_folder; /* NULL: libcurl's default */
  bool by_folder;                  /* trusts ca_folder, else ca_file; false with a ca_bundle */
  kin_transfer *idle;
  int idle_count;
  kin_transfer *resumed;  /* those in flight that were paused, and run again */
  kin_exchange *failed;   /* could not be started or resumed; `finished` returns them */
  kin_descriptors before; /* the descriptors before libcurl makes others */
  int kept_max;           /* connections that are kept: of calls and of renewals */
  kin_time suspected_at;  /* kept connections that were idle then may be dead; 0: none */
  int fresh_left;         /* exchanges that open a connection of their own because of that */
} http;

static bool started;

static void start_curl(void) {
  started = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

bool kin_http_global_init(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start_curl);
  return started;
}

/* ---- trusted authorities ---- */

/* The system has its authorities in one file, and in a folder by name. Reading the file takes 20 ms
 * of CPU, the folder none; but a user's own authority may be in the file only. So the folder is
 * used first, and the file after the folder has failed to verify a peer. With both set, libcurl
 * would not cache the file. */
static void find_trust(http *self) {
#if CURL_AT_LEAST_VERSION(7, 70, 0)
  const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);
  if (curl->age >= CURLVERSION_SEVENTH) {
    self->ca_file = curl->cainfo;
    self->ca_folder = curl->capath;
  }
#endif
  if (self->ca_bundle)
    self->ca_file = self->ca_bundle;
  self->by_folder = self->ca_file && self->ca_folder && !self->ca_bundle;
}

static void set_trust(const http *self, kin_transfer *c) {
  c->by_folder = self->by_folder;
  if (self->by_folder) {
    curl_easy_setopt(c->easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(c->easy, CURLOPT_CAPATH, self->ca_folder);
  } else if (self->ca_file) {
    curl_easy_setopt(c->easy, CURLOPT_CAINFO, self->ca_file);
    curl_easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
  }
}

static bool is_distrust(CURLcode code) {
  return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
         code == CURLE_SSL_ISSUER_ERROR;
}

/* ---- transfers ---- */

static kin_transfer *take_transfer(http *self) {
  kin_transfer *c = self->idle;
  if (!c) {
    c = kin_transfer_create(self->user_agent, &self->before);
    if (c)
      set_trust(self, c);
    return c;
  }
  self->idle = c->next;
  self->idle_count--;
  if (c->by_folder != self->by_folder)
    set_trust(self, c);
  return c;
}

static void unlink_resumed(http *self, const kin_transfer *c) {
  kin_transfer **link = &self->resumed;
  while (*link && *link != c)
    link = &(*link)->next;
  if (*link)
    *link = c->next;
}

static void return_transfer(http *self, kin_transfer *c) {
  unlink_resumed(self, c);
  c->exchange->transfer = NULL;
  c->exchange = NULL;
  if (c->special)
    kin_transfer_set_method(c, NULL, false);
  if (c->streaming)
    kin_transfer_set_streaming(c, 0);
  bool paused = c->paused_at > 0; /* libcurl may have kept what belongs to its pause */
  if (paused || self->idle_count >= IDLE_MAX) {
    kin_transfer_free(c);
    return;
  }
  c->next = self->idle;
  self->idle = c;
  self->idle_count++;
}

/* ---- kept connections ---- */

/* A request has failed on a kept connection. What has killed that one, a router that has forgotten
 * it or a service that was replaced, has probably killed all that were idle when the request was
 * started: they are not used again. */
static void suspect_kept(http *self, const kin_transfer *c) {
  /* after a failed stream of HTTP/2 libcurl keeps the connection, as one that is idle from now on
   */
  kin_time idle_before = c->streaming ? kin_monotonic() : c->started_at;
  if (idle_before > self->suspected_at)
    self->suspected_at = idle_before;
  self->fresh_left = self->kept_max;
}

static bool is_on_kept(const kin_transfer *c) {
  long opened = 1;
  curl_easy_getinfo(c->easy, CURLINFO_NUM_CONNECTS, &opened);
  return opened == 0;
}

/* libcurl counts the age of an idle connection in whole seconds, of which 0 means no bound in newer
 * versions. So during the first two seconds after the suspicion exchanges open connections of their
 * own, as many as may have been suspected. */
static void choose_connection(http *self, kin_transfer *c, bool fresh) {
  long unused_max = UNUSED_SECONDS;
  kin_time since = c->started_at - self->suspected_at;
  if (self->suspected_at > 0 && since < UNUSED_SECONDS * KIN_SECOND) {
    unused_max = (long)(since / KIN_SECOND) - 1;
    if (unused_max < 1) {
      unused_max = 1;
      fresh = fresh || self->fresh_left > 0;
      self->fresh_left -= self->fresh_left > 0;
    }
  }
  curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
#if CURL_AT_LEAST_VERSION(7, 65, 0)
  curl_easy_setopt(c->easy, CURLOPT_MAXAGE_CONN, unused_max);
#endif
}

/* ---- the vtable ---- */

static void put_failed(http *self, kin_exchange *exchange) {
  exchange->next = self->failed;
  self->failed = exchange;
}

static void start(kin_transport *transport, kin_exchange *exchange) {
  http *self = (http *)transport;
  kin_transfer *c = take_transfer(self);
  kin_exchange_reset(exchange);
  if (!c) {
    exchange->code = KIN_CODE_OUT_OF_MEMORY;
    kin_exchange_fail_by_code(exchange);
    put_failed(self, exchange);
    return;
  }
  c->exchange = exchange;
  c->error[0] = '\0';
  c->sent = 0;
  c->started_at = kin_monotonic();
  c->paused_at = c->paused_for = 0;
  exchange->transfer = c;
  for (size_t i = 0; i < exchange->header_count; i++) {
    c->nodes[i].data = (char *)exchange->headers[i];
    c->nodes[i].next = i + 1 < exchange->header_count ? &c->nodes[i + 1] : NULL;
  }
  curl_easy_setopt(c->easy, CURLOPT_URL, exchange->url);
  curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->nodes);
  curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->body.len);
  if (exchange->arrived)
    kin_transfer_set_streaming(c, exchange->silence);
  if (exchange->method || exchange->direct)
    kin_transfer_set_method(c, exchange->method, exchange->direct);
  choose_connection(self, c, exchange->fresh);
  kin_transfer_set_timeouts(c);
  CURLMcode added = curl_multi_add_handle(self->multi, c->easy);
  if (added == CURLM_OK)
    return;
  kin_exchange_fail(exchange, KIN_TRANSIENT, curl_multi_strerror(added));
  if (added == CURLM_OUT_OF_MEMORY)
    exchange->code = KIN_CODE_OUT_OF_MEMORY;
  return_transfer(self, c);
  put_failed(self, exchange);
}

static void cancel(kin_transport *transport, kin_exchange *exchange) {
  http *self = (http *)transport;
  kin_transfer *c = exchange->transfer;
  for (kin_exchange **link = &self->failed; *link; link = &(*link)->next) {
    if (*link == exchange) {
      *link = exchange->next;
      return;
    }
  }
  if (!c)
    return;
  exchange->grow = NULL; /* its machine may be gone */
  /* its own time has passed, but the engine's timer was first */
  if (c->paused_at == 0 && kin_monotonic() >= kin_transfer_ends_at(c) && is_on_kept(c))
    suspect_kept(self, c);
  curl_multi_remove_handle(self->multi, c->easy);
  return_transfer(self, c);
}

/* A certificate that is not trusted is fatal, every other error transient. */
static void classify(kin_exchange *exchange, const kin_transfer *c, CURLcode code) {
  const char *message = code == CURLE_SEND_FAIL_REWIND
                            ? "the connection broke before an answer came"
                        : c->error[0] ? c->error
                                      : curl_easy_strerror(code);
  if (code == CURLE_OK)
    return;
  if (code == CURLE_OUT_OF_MEMORY)
    exchange->code = KIN_CODE_OUT_OF_MEMORY;
  if (exchange->code) {
    kin_exchange_fail_by_code(exchange);
    return;
  }
  curl_off_t connected = 0;
  curl_easy_getinfo(c->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
  exchange->unsent = connected == 0;
  if (code == CURLE_OPERATION_TIMEDOUT)
    exchange->code = KIN_CODE_TIMEOUT;
  exchange->kept = code != CURLE_WRITE_ERROR && is_on_kept(c);
  kin_exchange_fail(exchange, is_distrust(code) ? KIN_FATAL : KIN_TRANSIENT, message);
  if (kin_proxy_check_message(exchange->trouble, sizeof exchange->trouble, exchange->url)) {
    exchange->code = KIN_CODE_BAD_CONFIG;
    exchange->failed = KIN_FATAL;
  }
}

/* libcurl's timer for the end of a transfer may have passed while it was paused: `wait_for` has the
 * time in mind from now on. */
static void resume(kin_transport *transport, kin_exchange *exchange) {
  http *self = (http *)transport;
  kin_transfer *c = exchange->transfer;
  if (!c || c->paused_at == 0)
    return;
  unlink_resumed(self, c);
  c->next = self->resumed;
  self->resumed = c;
  CURLcode code = kin_transfer_resume(c);
  if (code == CURLE_OK || code == CURLE_BAD_FUNCTION_ARGUMENT) /* it is over: see `finished` */
    return;
  classify(exchange, c, code);
  curl_multi_remove_handle(self->multi, c->easy);
  return_transfer(self, c);
  put_failed(self, exchange);
}

/* When the folder has failed to verify the peer, nothing was sent yet: restarts the transfer with
 * the file, which is used from now on. */
static bool restart_by_file(http *self, kin_transfer *c, CURLcode code) {
  if (!is_distrust(code) || !c->by_folder)
    return false;
  self->by_folder = false;
  set_trust(self, c);
  c->error[0] = '\0';
  curl_multi_remove_handle(self->multi, c->easy);
  return curl_multi_add_handle(self->multi, c->easy) == CURLM_OK;
}

/* The next transfer that libcurl has finished, or NULL. */
static kin_transfer *next_done(http *self, CURLcode *code) {
  kin_transfer *c;
  int left;
  CURLMsg *done = curl_multi_info_read(self->multi, &left);
  while (done && done->msg != CURLMSG_DONE)
    done = curl_multi_info_read(self->multi, &left);
  if (!done)
    return NULL;
  *code = done->data.result;
  curl_easy_getinfo(done->easy_handle, CURLINFO_PRIVATE, (char **)&c);
  return restart_by_file(self, c, *code) ? next_done(self, code) : c;
}

static kin_exchange *finished(kin_transport *transport) {
  http *self = (http *)transport;
  kin_exchange *exchange = self->failed;
  CURLcode code;
  long status = 0;
  int running;
  if (exchange) {
    self->failed = exchange->next;
    return exchange;
  }
  kin_transfer *c = next_done(self, &code);
  if (!c) {
    curl_multi_perform(self->multi, &running);
    kin_descriptors_mark_new(&self->before);
    c = next_done(self, &code);
  }
  if (!c)
    return NULL;
  curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
  exchange = c->exchange;
  exchange->status = (int)status;
  classify(exchange, c, code);
  if (exchange->kept)
    suspect_kept(self, c);
  curl_multi_remove_handle(self->multi, c->easy);
  return_transfer(self, c);
  return exchange;
}

/* `timeout`, or the time until a transfer that was resumed has to end. */
static kin_time until_resumed_ends(const http *self, kin_time timeout) {
  for (const kin_transfer *c = self->resumed; c; c = c->next) {
    kin_time left = kin_transfer_ends_at(c) - kin_monotonic();
    if (c->paused_at == 0 && left < timeout)
      timeout = left > 0 ? left : 0;
  }
  return timeout;
}

static void wait_for(kin_transport *transport, kin_watch *watches, size_t count, kin_time timeout) {
  http *self = (http *)transport;
  struct curl_waitfd extra[KIN_WATCHES_MAX];
  for (size_t i = 0; i < count; i++)
    extra[i] = (struct curl_waitfd){.fd = watches[i].fd, .events = CURL_WAIT_POLLIN};
  timeout = until_resumed_ends(self, timeout);
  /* rounded up: waking early would spin */
  kin_time millis = timeout >= 60 * KIN_SECOND ? 60000 : (timeout + 999) / KIN_MILLISECOND;
  curl_multi_poll(self->multi, extra, (unsigned)count, (int)millis, NULL);
  for (size_t i = 0; i < count; i++)
    watches[i].readable = extra[i].revents != 0;
}

static void destroy(kin_transport *transport) {
  http *self = (http *)transport;
  while (self->idle) {
    kin_transfer *c = self->idle;
    self->idle = c->next;
    kin_transfer_free(c);
  }
  if (self->multi)
    curl_multi_cleanup(self->multi);
  kin_descriptors_free(&self->before);
  free(self->ca_bundle);
  free(self->user_agent);
  free(self);
}

kin_transport *kin_http_create(const char *ca_bundle, const char *user_agent, int max_connections) {
  http *self = calloc(1, sizeof *self);
  if (!self)
    return NULL;
  self->transport = (kin_transport){start, cancel, resume, finished, wait_for, destroy};
  self->kept_max = 2 * max_connections;
  kin_descriptors_init(&self->before);
  kin_descriptors_note(&self->before);
  self->multi = curl_multi_init(); /* makes a pair of sockets */
  kin_descriptors_mark_new(&self->before);
  self->ca_bundle = ca_bundle ? kin_slice_dup(kin_slice_of(ca_bundle)) : NULL;
  find_trust(self);
  self->user_agent = kin_slice_dup(kin_slice_of(user_agent));
  if (!self->multi || !self->user_agent || (ca_bundle && !self->ca_bundle)) {
    destroy(&self->transport);
    return NULL;
  }
  curl_multi_setopt(self->multi, CURLMOPT_MAXCONNECTS, (long)self->kept_max);
  return &self->transport;
}
