/* mailbox: messages between the Lua thread and the engine thread, and the queue that carries them.
 *
 * A message has one owner. Posting moves it: the mailbox takes it, or frees it when closed. Any
 * thread posts, one thread reads. The wake is written once, under the lock, and only after the
 * reader has announced that it will sleep (kin_mailbox_sleep): no wake-up is lost, and none is
 * written to a thread that is awake. */
#ifndef KIN_ENGINE_MAILBOX_H
#define KIN_ENGINE_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/wake.h"

typedef enum {
  /* Lua thread -> engine */
  KIN_MESSAGE_REQUEST,      /* a request to send; it returns as KIN_MESSAGE_ANSWER */
  KIN_MESSAGE_CANCEL,       /* ends the owner's request */
  KIN_MESSAGE_CREDENTIALS,  /* new credentials, or the provider's error */
  KIN_MESSAGE_TRACE_HEADER, /* the trace of a Lambda invocation, for all requests from now on */
  KIN_MESSAGE_MACHINE,      /* adds this machine to the engine */
  KIN_MESSAGE_REMOVE,       /* removes and destroys the owner's machine */
  /* Lua thread -> a machine */
  KIN_MESSAGE_RESUME,  /* reader: the window is at low water */
  KIN_MESSAGE_COMMAND, /* reader: pauses, resumes or moves shards; returns as KIN_MESSAGE_APPLIED */
  KIN_MESSAGE_RECORDS, /* producer: its queue has records, or a command such as flush */
  KIN_MESSAGE_LEASE_ANSWER, /* leases: a store in Lua has completed an operation */
  KIN_MESSAGE_LEASE_CLOSE,  /* leases: release all, and end */
  /* Lua thread -> a machine, and back */
  KIN_MESSAGE_LEASE, /* leases: an operation; it returns with its outcome */
  /* engine -> Lua thread, or engine -> the machine that sent the request */
  KIN_MESSAGE_ANSWER,   /* a request is done, with a response or an error */
  KIN_MESSAGE_STREAMED, /* an event of a subscription */
  /* engine -> Lua thread */
  KIN_MESSAGE_EVENT,              /* a call was sent, answered or will be retried; for hooks */
  KIN_MESSAGE_PROCESS_OVER,       /* a program has ended, or could not be run */
  KIN_MESSAGE_CREDENTIALS_WANTED, /* there are no credentials, or they will expire soon */
  KIN_MESSAGE_PUT_MANY_DONE,      /* put_many: every record of the chunk has its result */
  KIN_MESSAGE_READY,              /* reader: the first iterators are known */
  KIN_MESSAGE_PAGE,               /* reader: records of one shard */
  KIN_MESSAGE_SHARD_START,        /* reader: it begins to read a shard */
  KIN_MESSAGE_SHARD_END,          /* reader: a shard was read to its end */
  KIN_MESSAGE_SHARD_ADDED,        /* reader: it has heard of a shard, and will read it */
  KIN_MESSAGE_ALL_READ,           /* reader: nothing is left to read */
  KIN_MESSAGE_TROUBLE,            /* reader: an error; a fatal one is its last message */
  KIN_MESSAGE_APPLIED,            /* reader: it has done what a command says */
  KIN_MESSAGE_PAUSED,             /* reader: it stands still until a command resumes it */
  KIN_MESSAGE_LEASE_QUESTION,     /* leases: an operation for the store in Lua */
  KIN_MESSAGE_LEASE_LOST,         /* leases: a lease is another's, or its row is gone */
  KIN_MESSAGE_LEASE_WANTED,       /* leases: another worker asks for a lease */
  KIN_MESSAGE_LEASE_REFUSED,      /* leases: the engine has no memory for the machine */
  /* either thread -> Lua thread */
  KIN_MESSAGE_COMPLETED, /* producer: records have their outcome, or the queue has capacity again */
} kin_message_kind;

typedef struct kin_message kin_message;
struct kin_message {
  kin_message *next;
  kin_message_kind kind;
  uint64_t owner; /* id of the handle or machine that receives it */
  void (*free)(kin_message *message);
};

/* A message that carries its owner only; NULL: out of memory. */
kin_message *kin_message_plain(kin_message_kind kind, uint64_t owner);

static inline void kin_message_free(kin_message *message) {
  if (message)
    message->free(message);
}

/* First in, first out. One thread. */
typedef struct kin_message_list {
  kin_message *first;
  kin_message **last;
} kin_message_list;

void kin_message_list_init(kin_message_list *list);
void kin_message_list_add(kin_message_list *list, kin_message *message);
kin_message *kin_message_list_take(kin_message_list *list);
void kin_message_list_free(kin_message_list *list);

typedef struct kin_mailbox {
  pthread_mutex_t lock; /* of messages, closed and asleep */
  kin_message_list messages;
  atomic_bool filled;
  bool closed;
  bool asleep; /* the reader sleeps, and must be woken */
  kin_wake wake;
} kin_mailbox;

bool kin_mailbox_open(kin_mailbox *box);

/* Frees the messages that are left. No other thread may use the mailbox any more. */
void kin_mailbox_destroy(kin_mailbox *box);

/* Any thread. False: the mailbox is closed, and the message was freed. */
bool kin_mailbox_post(kin_mailbox *box, kin_message *message);
void kin_mailbox_close(kin_mailbox *box);

/* Writes the wake unconditionally. Any thread. */
void kin_mailbox_poke(kin_mailbox *box);

bool kin_mailbox_closed(kin_mailbox *box);

/* Whether there are messages, read without the lock. */
bool kin_mailbox_filled(const kin_mailbox *box);

/* The reading thread. True: it may wait on the wake; false: there are messages, or the mailbox is
 * closed. */
bool kin_mailbox_sleep(kin_mailbox *box);

/* The reading thread; never blocks. Appends all messages to `list`. */
void kin_mailbox_take_all(kin_mailbox *box, kin_message_list *list);

#endif
