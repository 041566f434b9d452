#include "engine/mailbox.h"

#include <stdlib.h>

static void free_plain(kin_message *message) {
  free(message);
}

kin_message *kin_message_plain(kin_message_kind kind, uint64_t owner) {
  kin_message *message = malloc(sizeof *message);
  if (message)
    *message = (kin_message){.kind = kind, .owner = owner, .free = free_plain};
  return message;
}

void kin_message_list_init(kin_message_list *list) {
  list->first = NULL;
  list->last = &list->first;
}

void kin_message_list_add(kin_message_list *list, kin_message *message) {
  message->next = NULL;
  *list->last = message;
  list->last = &message->next;
}

kin_message *kin_message_list_take(kin_message_list *list) {
  kin_message *message = list->first;
  if (!message)
    return NULL;
  list->first = message->next;
  if (!list->first)
    list->last = &list->first;
  message->next = NULL;
  return message;
}

void kin_message_list_free(kin_message_list *list) {
  kin_message *message;
  while ((message = kin_message_list_take(list)))
    kin_message_free(message);
}

bool kin_mailbox_open(kin_mailbox *box) {
  *box = (kin_mailbox){0};
  kin_message_list_init(&box->messages);
  if (!kin_wake_open(&box->wake))
    return false;
  pthread_mutex_init(&box->lock, NULL);
  return true;
}

void kin_mailbox_destroy(kin_mailbox *box) {
  kin_message_list_free(&box->messages);
  pthread_mutex_destroy(&box->lock);
  kin_wake_close(&box->wake);
}

static void wake_locked(kin_mailbox *box) {
  if (!box->asleep)
    return;
  box->asleep = false;
  kin_wake_write(&box->wake);
}

bool kin_mailbox_post(kin_mailbox *box, kin_message *message) {
  pthread_mutex_lock(&box->lock);
  bool open = !box->closed;
  if (open) {
    kin_message_list_add(&box->messages, message);
    atomic_store_explicit(&box->filled, true, memory_order_relaxed);
    wake_locked(box);
  }
  pthread_mutex_unlock(&box->lock);
  if (!open)
    kin_message_free(message);
  return open;
}

void kin_mailbox_close(kin_mailbox *box) {
  pthread_mutex_lock(&box->lock);
  box->closed = true;
  wake_locked(box);
  pthread_mutex_unlock(&box->lock);
}

bool kin_mailbox_closed(kin_mailbox *box) {
  pthread_mutex_lock(&box->lock);
  bool closed = box->closed;
  pthread_mutex_unlock(&box->lock);
  return closed;
}

void kin_mailbox_poke(kin_mailbox *box) {
  pthread_mutex_lock(&box->lock);
  box->asleep = false;
  kin_wake_write(&box->wake);
  pthread_mutex_unlock(&box->lock);
}

bool kin_mailbox_filled(const kin_mailbox *box) {
  return atomic_load_explicit(&box->filled, memory_order_relaxed);
}

bool kin_mailbox_sleep(kin_mailbox *box) {
  pthread_mutex_lock(&box->lock);
  box->asleep = !box->messages.first && !box->closed;
  bool asleep = box->asleep;
  pthread_mutex_unlock(&box->lock);
  return asleep;
}

void kin_mailbox_take_all(kin_mailbox *box, kin_message_list *list) {
  pthread_mutex_lock(&box->lock);
  box->asleep = false;
  atomic_store_explicit(&box->filled, false, memory_order_relaxed);
  if (box->messages.first) {
    *list->last = box->messages.first;
    list->last = box->messages.last;
    kin_message_list_init(&box->messages);
  }
  pthread_mutex_unlock(&box->lock);
}
