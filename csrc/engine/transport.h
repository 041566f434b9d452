/* transport: one HTTP exchange, and the vtable of what carries it: the http module, or a fake one
 * of the specs. Engine thread only. */
#ifndef KIN_ENGINE_TRANSPORT_H
#define KIN_ENGINE_TRANSPORT_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"

enum { KIN_EXCHANGE_HEADERS_MAX = 14, KIN_ANSWER_MAX = 32 << 20 };

typedef struct kin_exchange kin_exchange;

/* Whether there is space for bytes of a response. */
typedef enum {
  KIN_SPACE_GIVEN,
  KIN_SPACE_LATER, /* the exchange is paused until `resume` */
  KIN_SPACE_NONE,  /* the exchange fails */
} kin_space;

struct kin_exchange {
  /* the request; borrowed until the exchange is finished or cancelled */
  const char *url;
  const char *method;                            /* NULL: POST */
  bool direct;                                   /* ignores proxy settings */
  bool fresh;                                    /* opens a connection of its own */
  const char *headers[KIN_EXCHANGE_HEADERS_MAX]; /* "Name: value" */
  size_t header_count;
  kin_slice body;
  kin_time connect_timeout, timeout; /* durations */
  /* For a response that is read while it arrives, else NULL: called after bytes were appended to
   * `answer`, with `status` set. False: the exchange fails. It also fails when no byte arrives for
   * `silence`. */
  bool (*arrived)(kin_exchange *exchange);
  kin_time silence;
  /* For a response that has to find space, else NULL: called before `answer` takes more than
   * `granted` bytes. Over HTTP/1.1 only, because HTTP/2 goes on buffering what is paused. */
  kin_space (*grow)(kin_exchange *exchange, size_t bytes);
  size_t granted;

  /* the response */
  kin_error_class failed; /* KIN_OK: there is a response, of any status */
  const char *code;       /* the error's, when `failed`; NULL: Connection */
  bool unsent;            /* there was no connection: the service has not seen the request */
  bool kept;              /* failed on a connection that was kept from an earlier exchange */
  char trouble[256];      /* the error, when `failed` */
  int status;
  kin_buf answer; /* the body; owned by the exchange's owner, filled by the transport */
  char date[48];
  char error_type[96];
  char request_id[KIN_REQUEST_ID_MAX];
  char retry_after[16]; /* x-amz-retry-after */
  char crc32[16];       /* x-amz-crc32: of the body, in decimal */
  bool aged;            /* has an Age header: a cache has set the Date */
  size_t expected;      /* bytes of the body by its Content-Length; 0: unknown */
  size_t wanted;        /* the bytes that `grow` was last asked for; 0: none */
  bool waited;          /* it was paused */

  /* for the transport only */
  void *transfer;
  kin_exchange *next;
};

/* Clears the response, before a start. Keeps the memory of `answer`. */
void kin_exchange_reset(kin_exchange *exchange);

/* Takes a header line of the response, also the status line. False: the body is too large, or
 * memory is out; `code` says which. */
bool kin_exchange_take_header(kin_exchange *exchange, kin_slice line);

/* Appends bytes of the body to `answer`, when there is space. KIN_SPACE_NONE: `code` says why. */
kin_space kin_exchange_take_body(kin_exchange *exchange, kin_slice bytes);

/* There is no response, for this reason. */
void kin_exchange_fail(kin_exchange *exchange, kin_error_class class, const char *message);

/* The same where `code` says why the transport has ended the exchange. */
void kin_exchange_fail_by_code(kin_exchange *exchange);

/* A descriptor to wait on, besides the transport's own. */
typedef struct kin_watch {
  int fd;
  bool readable;
} kin_watch;

enum { KIN_WATCHES_MAX = 13 };

typedef struct kin_transport kin_transport;
struct kin_transport {
  /* Starts an exchange; `finished` returns it later, also when it fails immediately. */
  void (*start)(kin_transport *transport, kin_exchange *exchange);
  /* Drops an exchange that was started and that `finished` has not returned. */
  void (*cancel)(kin_transport *transport, kin_exchange *exchange);
  /* Goes on with an exchange that is paused. Its time out was moved by the pause. */
  void (*resume)(kin_transport *transport, kin_exchange *exchange);
  /* Moves bytes without waiting; returns the next finished exchange, or NULL. */
  kin_exchange *(*finished)(kin_transport *transport);
  /* Waits until bytes can be moved, a watch is readable, or `timeout` has passed. */
  void (*wait)(kin_transport *transport, kin_watch *watches, size_t count, kin_time timeout);
  void (*destroy)(kin_transport *transport);
};

#endif
