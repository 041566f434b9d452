/* transport: one HTTP exchange, and the table by which the engine reaches whatever carries it: the
 * http room, or a spec's. Engine thread only. */
#ifndef KIN_ENGINE_TRANSPORT_H
#define KIN_ENGINE_TRANSPORT_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"

enum { KIN_EXCHANGE_HEADERS_MAX = 14, KIN_ANSWER_MAX = 32 << 20 };

typedef struct kin_exchange kin_exchange;
struct kin_exchange {
  /* asked; borrowed until the exchange is finished or cancelled */
  const char *url;
  const char *method;                            /* NULL: POST */
  bool direct;                                   /* through no proxy, whatever is configured */
  const char *headers[KIN_EXCHANGE_HEADERS_MAX]; /* "Name: value" */
  size_t header_count;
  kin_slice body;
  kin_time connect_timeout, timeout; /* durations */
  /* Of an answer that is read while it comes: called whenever bytes have come, with `status` known.
   * False: the exchange is to fail. Such an exchange may be as long as it takes, but for `silence`.
   */
  bool (*arrived)(kin_exchange *exchange);
  kin_time silence;

  /* answered */
  kin_error_class failed; /* KIN_OK: an HTTP answer came, whatever its status */
  bool timed_out;
  bool too_large;
  bool unsent;       /* no connection came about: the service knows nothing of it */
  char trouble[256]; /* what went wrong, when `failed` */
  int status;
  kin_buf answer; /* owned by the exchange's owner, filled by the transport */
  char date[48];
  char error_type[96];
  char request_id[80];
  char retry_after[16]; /* x-amz-retry-after */
  bool aged;            /* an Age header: a cache spoke, its Date tells nothing */

  /* the transport's own */
  void *transfer;
  kin_exchange *next;
};

/* A descriptor that is waited for beside the transport's own. */
typedef struct kin_watch {
  int fd;
  bool readable;
} kin_watch;

enum { KIN_WATCHES_MAX = 9 };

typedef struct kin_transport kin_transport;
struct kin_transport {
  /* Begins; the exchange comes out of `finished` later, even when it fails at once. */
  void (*start)(kin_transport *transport, kin_exchange *exchange);
  /* Forgets an exchange that was started and has not come out. */
  void (*cancel)(kin_transport *transport, kin_exchange *exchange);
  /* Moves bytes without waiting; the next exchange that is over, or NULL. */
  kin_exchange *(*finished)(kin_transport *transport);
  /* Waits for bytes to move, for one of these to become readable, or for the time to pass. */
  void (*wait)(kin_transport *transport, kin_watch *watches, size_t count, kin_time most);
  void (*destroy)(kin_transport *transport);
};

#endif
