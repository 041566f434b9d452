/* message: what crosses between the Lua thread and the engine thread, and the mailbox it crosses
 * in.
 *
 * A message has one owner. Posting gives it away: the mailbox takes it, or frees it when closed.
 * The wake is written only when the reader has said that it is about to sleep (kin_mailbox_sleep),
 * once, under the lock; so no wake-up is lost, and none is written to a thread that is awake. */
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
  KIN_MESSAGE_CALL,        /* send this call; it comes back as KIN_MESSAGE_ANSWER */
  KIN_MESSAGE_CANCEL,      /* nobody waits for the owner's call any more */
  KIN_MESSAGE_CREDENTIALS, /* fresh keys, or why there are none */
  KIN_MESSAGE_MACHINE,     /* plug this machine in */
  KIN_MESSAGE_REMOVE,      /* unplug and destroy the owner's machine */
  /* Lua thread -> a machine */
  KIN_MESSAGE_RESUME,      /* reader: the window is at low water */
  KIN_MESSAGE_START_SHARD, /* reader: a child shard that the answers did not name */
  KIN_MESSAGE_RECORDS,     /* producer: there are records behind its queue, or wishes */
  /* engine -> Lua thread, or engine -> the machine that sent the call */
  KIN_MESSAGE_ANSWER, /* a call is over, well or not */
  /* engine -> Lua thread */
  KIN_MESSAGE_EVENT,              /* something happened to a call; for hooks */
  KIN_MESSAGE_STREAMED,           /* an event of an answer that is a stream */
  KIN_MESSAGE_PROCESS_OVER,       /* a program has ended, or could not be run */
  KIN_MESSAGE_CREDENTIALS_WANTED, /* credentials will expire: ask the provider */
  KIN_MESSAGE_PUT_MANY_DONE,      /* put_many: every record of the chunk has its result */
  KIN_MESSAGE_READY,              /* reader: the first iterators are taken */
  KIN_MESSAGE_PAGE,               /* reader: records of one shard */
  KIN_MESSAGE_SHARD_END,          /* reader: a shard is read to its end */
  KIN_MESSAGE_SHARD_STARTED,      /* reader: KIN_MESSAGE_START_SHARD was dealt with */
  KIN_MESSAGE_TROUBLE,            /* reader: a failure; a fatal one is its last message */
  /* either thread -> Lua thread */
  KIN_MESSAGE_COMPLETED, /* producer: records, or room, behind its queue */
} kin_message_kind;

typedef struct kin_message kin_message;
struct kin_message {
  kin_message *next;
  kin_message_kind kind;
  uint64_t owner; /* the handle or machine it is for */
  void (*free)(kin_message *message);
};

/* One that carries nothing but its owner; NULL when memory is out. */
kin_message *kin_message_plain(kin_message_kind kind, uint64_t owner);

static inline void kin_message_free(kin_message *message) {
  if (message)
    message->free(message);
}

/* First in, first out; one thread. */
typedef struct kin_message_list {
  kin_message *first;
  kin_message **last;
} kin_message_list;

void kin_message_list_init(kin_message_list *list);
void kin_message_list_add(kin_message_list *list, kin_message *message);
kin_message *kin_message_list_take(kin_message_list *list);
void kin_message_list_free(kin_message_list *list);

typedef struct kin_mailbox {
  pthread_mutex_t lock;
  kin_message_list messages;
  atomic_bool filled;
  bool closed;
  bool asleep;
  kin_wake wake;
} kin_mailbox;

bool kin_mailbox_open(kin_mailbox *box);

/* Frees what nobody took. No other thread may use the mailbox any more. */
void kin_mailbox_destroy(kin_mailbox *box);

/* Any thread. False when the mailbox is closed; the message is freed then. */
bool kin_mailbox_post(kin_mailbox *box, kin_message *message);
void kin_mailbox_close(kin_mailbox *box);

/* Writes the wake whether or not anything was posted. Any thread. */
void kin_mailbox_poke(kin_mailbox *box);

bool kin_mailbox_closed(kin_mailbox *box);

/* Whether there is something, as far as that can be seen without the lock. */
bool kin_mailbox_filled(const kin_mailbox *box);

/* The one reader. True: it may wait on the wake; false: something is there, or closed. */
bool kin_mailbox_sleep(kin_mailbox *box);

/* The one reader; never blocks. Appends everything to `list`. */
void kin_mailbox_take_all(kin_mailbox *box, kin_message_list *list);

#endif
