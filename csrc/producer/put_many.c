#include "producer/put_many.h"

#include <stdlib.h>

#include "engine/retry.h"
#include "producer/bisect.h"

/* 14 MiB of base64, and 500 keys with every character escaped. */
enum { BODY_MAX = 16 << 20 };

typedef struct sender {
  kin_machine machine; /* first */
  kin_put_many *request;
  bool began, in_flight;
  size_t sent; /* entries in the request that is in flight */
  kin_time due, deadline;
  unsigned max_attempts;
  int cost;
} sender;

/* ---- the request ---- */

static void free_request(kin_message *message) {
  kin_put_many *request = (kin_put_many *)message;
  kin_message_list_free(&request->answers);
  kin_buf_free(&request->body);
  free(request);
}

kin_put_many *kin_put_many_create(kin_slice stream) {
  kin_put_many *request = malloc(sizeof *request);
  if (!request)
    return NULL;
  memset(request, 0, offsetof(kin_put_many, entries)); /* the rest is written by kin_put_many_add */
  request->message = (kin_message){.kind = KIN_MESSAGE_PUT_MANY_DONE, .free = free_request};
  request->target = NULL;
  request->count = request->bytes = 0;
  request->encryption_type = (kin_slice){0};
  kin_message_list_init(&request->answers);
  kin_buf_init(&request->body, BODY_MAX);
  kin_put_records_open(&request->body, stream);
  return request;
}

bool kin_put_many_add(kin_put_many *request, const kin_put *put) {
  size_t bytes = put->data.len + put->partition_key.len;
  if (request->count == KIN_PUT_RECORDS_MAX ||
      (request->count > 0 && request->bytes + bytes > KIN_PUT_BYTES_MAX))
    return false;
  kin_buf *body = &request->body;
  kin_put_records_next(body);
  size_t start = body->len;
  kin_put_records_add(body, put);
  if (body->failed)
    return false;
  request->results[request->count] = (kin_put_result){0};
  request->entries[request->count++] =
      (kin_put_many_entry){.start = start, .len = body->len - start};
  request->bytes += bytes;
  return true;
}

bool kin_put_many_is_hopeless(const kin_put_many *request) {
  bool full = request->count == KIN_PUT_RECORDS_MAX;
  for (size_t i = 0; i < request->count; i++) {
    const kin_put_many_entry *entry = &request->entries[i];
    if (entry->class != KIN_FATAL || (entry->rejected && !full))
      return false;
  }
  return true;
}

/* ---- sending ---- */

static size_t count_open(const kin_put_many *request) {
  size_t open = 0;
  for (size_t i = 0; i < request->count; i++)
    open += !request->entries[i].done;
  return open;
}

static bool read_answer(kin_call *call) {
  sender *self = call->request.context;
  kin_put_result results[KIN_PUT_RECORDS_MAX];
  kin_put_many *request = self->request;
  kin_buf *answer = &call->request.exchange.answer;
  if (!kin_put_records_read(answer->at, answer->len, results, self->sent,
                            &request->encryption_type))
    return false;
  const kin_put_result *result = results;
  for (size_t i = 0; i < request->count; i++) {
    kin_put_many_entry *entry = &request->entries[i];
    if (!entry->sent)
      continue;
    kin_slice code = result->code;
    request->results[i] = *result++;
    kin_call_mask_slice(call, self->machine.engine, &request->results[i].message);
    entry->class = code.len == 0 ? KIN_OK : kin_error_classify(code, 200);
    entry->done = entry->class == KIN_OK || entry->class == KIN_FATAL;
  }
  return true;
}

/* Marks the open entries that the next request has: all of them, unless a request with one of them
 * was refused for its content. */
static void select_entries(sender *self) {
  kin_put_many *request = self->request;
  unsigned max_batch = 0;
  bool full = false;
  self->sent = 0;
  for (size_t i = 0; i < request->count; i++) {
    kin_put_many_entry *entry = &request->entries[i];
    unsigned least = kin_bisect_least(max_batch, entry->max_batch);
    entry->sent = !entry->done && !full && kin_bisect_allows(least, self->sent + 1);
    full = full || (!entry->done && !entry->sent);
    max_batch = entry->sent ? least : max_batch;
    self->sent += entry->sent;
  }
}

/* Writes a request of the selected entries only; their JSON is copied from the body. */
static void copy_selected(const kin_put_many *request, kin_buf *out) {
  kin_buf_add(out, request->body.at, request->entries[0].start);
  for (size_t i = 0; i < request->count; i++) {
    const kin_put_many_entry *entry = &request->entries[i];
    if (!entry->sent)
      continue;
    kin_put_records_next(out);
    kin_buf_add(out, request->body.at + entry->start, entry->len);
  }
  kin_put_records_close(out);
}

static bool send(sender *self) {
  kin_put_many *request = self->request;
  kin_call *call = kin_call_create("PutRecords", 1);
  if (!call)
    return false;
  call->request.machine = self->machine.id;
  call->target = request->target;
  call->request.deadline = self->deadline;
  call->request.context = self;
  call->read = read_answer;
  select_entries(self);
  if (self->sent == request->count) {
    call->request.body = request->body;
    request->body = (kin_buf){0};
  } else {
    copy_selected(request, &call->request.body);
  }
  if (call->request.body.failed) {
    kin_message_free(&call->request.message);
    return false;
  }
  for (size_t i = 0; i < request->count; i++)
    request->entries[i].attempts += request->entries[i].sent;
  self->in_flight = true;
  kin_engine_send(self->machine.engine, &call->request);
  return true;
}

/* Keeps the call: results point into its answer. */
static void keep_answer(kin_put_many *request, kin_call *call) {
  if (!request->body.at) {
    request->body = call->request.body;
    call->request.body = (kin_buf){0};
  }
  kin_buf_free(&call->request.body);
  kin_message_list_add(&request->answers, &call->request.message);
}

/* ---- outcomes ---- */

static void set_error(kin_put_many *request, size_t i, kin_error_class class, const char *code,
                      const char *message) {
  request->entries[i].class = class;
  request->results[i] =
      (kin_put_result){.code = kin_slice_of(code), .message = kin_slice_of(message)};
}

/* Fails the open entries, or only those that were sent. */
static void fail_open(sender *self, bool sent_only, kin_error_class class, const char *code,
                      const char *message) {
  kin_put_many *request = self->request;
  for (size_t i = 0; i < request->count; i++) {
    kin_put_many_entry *entry = &request->entries[i];
    if (entry->done || (sent_only && !entry->sent))
      continue;
    entry->done = true;
    set_error(request, i, class, code, message);
  }
}

/* Hands the request back to its owner. */
static void finish(sender *self) {
  kin_engine_notify(self->machine.engine, &self->request->message);
  self->request = NULL;
}

/* Ends the entries that have no attempt left; they keep their last error. Returns the most attempts
 * that one of the others had; 0: there is no other. */
static unsigned end_tired(sender *self) {
  kin_put_many *request = self->request;
  unsigned most = 0;
  for (size_t i = 0; i < request->count; i++) {
    kin_put_many_entry *entry = &request->entries[i];
    unsigned tries = entry->attempts - entry->refused;
    if (entry->done || !entry->sent)
      continue;
    entry->done = tries >= self->max_attempts || entry->unread >= KIN_UNKNOWN_ATTEMPTS;
    if (!entry->done && tries > most)
      most = tries;
  }
  return most;
}

/* Waits before the entries that were sent, and are open, are sent again; or ends them. */
static void wait_or_end(sender *self, kin_call *call, kin_error_class class) {
  kin_engine *engine = self->machine.engine;
  kin_clock *clock = kin_engine_clock(engine);
  kin_time delay, now = clock->monotonic(clock);
  kin_time left = self->deadline == KIN_NEVER ? KIN_NEVER : self->deadline - now;
  kin_error error = {.class = class};
  unsigned attempt = end_tired(self);
  if (attempt == 0)
    return;
  if (kin_retry_again(kin_engine_retry(engine), clock, KIN_RETRY_BASE, &error, attempt,
                      self->max_attempts, kin_call_retry_after(call), left, &delay, &self->cost)) {
    kin_call_note_retry(call, engine, delay);
    self->due = kin_time_after(now, delay);
    return;
  }
  for (size_t i = 0; i < self->request->count; i++)
    self->request->entries[i].done |= self->request->entries[i].sent;
}

static void complete_answered(sender *self, kin_call *call) {
  const kin_put_many *request = self->request;
  kin_error_class class = KIN_OK; /* of the open entries: throttled if one of them was */
  for (size_t i = 0; i < request->count; i++)
    if (request->entries[i].sent && !request->entries[i].done && class != KIN_THROTTLED)
      class = request->entries[i].class;
  if (class != KIN_OK) {
    wait_or_end(self, call, class);
    return;
  }
  kin_retry_success(kin_engine_retry(self->machine.engine), self->cost);
  self->cost = 0;
}

/* The answer was not readable: the entries were probably stored. */
static void note_unread(sender *self, kin_error *error) {
  kin_put_many *request = self->request;
  unsigned most = 0;
  for (size_t i = 0; i < request->count; i++) {
    request->entries[i].unread += request->entries[i].sent;
    if (request->entries[i].sent && request->entries[i].unread > most)
      most = request->entries[i].unread;
  }
  kin_error_add_maybe_stored(error, most);
}

/* Notes the error of the call for every entry that was sent. */
static void note_failed(sender *self, const kin_error *error, bool about_content, bool bisects) {
  kin_put_many *request = self->request;
  for (size_t i = 0; i < request->count; i++) {
    kin_put_many_entry *entry = &request->entries[i];
    if (!entry->sent)
      continue;
    set_error(request, i, error->class, error->code, error->message);
    entry->refused += bisects;
    entry->rejected = about_content && !bisects;
    if (bisects)
      kin_bisect_narrow(&entry->max_batch, self->sent);
  }
}

static void complete_failed(sender *self, kin_call *call) {
  kin_error *error = &call->request.error;
  bool about_content = kin_bisect_is_about_content(error),
       bisects = about_content && self->sent > 1;
  if (call->unread > 0)
    note_unread(self, error);
  note_failed(self, error, about_content, bisects);
  if (bisects)
    kin_call_note_retry(call, self->machine.engine, 0);
  else if (error->class == KIN_FATAL)
    fail_open(self, about_content, KIN_FATAL, error->code, error->message);
  else
    wait_or_end(self, call, error->class);
}

static void receive(kin_machine *machine, kin_message *message) {
  sender *self = (sender *)machine;
  if (message->kind != KIN_MESSAGE_ANSWER) {
    kin_message_free(message);
    return;
  }
  kin_call *call = (kin_call *)message;
  self->in_flight = false;
  keep_answer(self->request, call);
  if (call->request.error.class == KIN_OK)
    complete_answered(self, call);
  else
    complete_failed(self, call);
}

static kin_time step(kin_machine *machine, kin_time now) {
  sender *self = (sender *)machine;
  if (self->in_flight)
    return KIN_NEVER;
  if (!self->began)
    self->deadline = kin_time_after(now, kin_engine_call_timeout(machine->engine));
  self->began = true;
  if (count_open(self->request) > 0) {
    if (now < self->due)
      return self->due;
    if (send(self))
      return KIN_NEVER;
    fail_open(self, false, KIN_FATAL, KIN_CODE_OUT_OF_MEMORY,
              "out of memory while building the request");
  }
  finish(self);
  return KIN_MACHINE_DONE;
}

static void refuse(kin_machine *machine) {
  sender *self = (sender *)machine;
  fail_open(self, false, KIN_FATAL, KIN_CODE_OUT_OF_MEMORY,
            "out of memory before the request was sent");
  finish(self);
}

static void destroy(kin_machine *machine) {
  sender *self = (sender *)machine;
  if (self->request)
    kin_message_free(&self->request->message);
  free(self);
}

bool kin_put_many_start(kin_engine *engine, kin_put_many *request, uint64_t owner) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy, NULL, NULL};
  sender *self = calloc(1, sizeof *self);
  if (!self) {
    kin_message_free(&request->message);
    return false;
  }
  kin_machine_init(&self->machine, &vtable, owner);
  self->max_attempts = kin_engine_max_attempts(engine);
  kin_put_records_close(&request->body);
  request->message.owner = owner;
  self->request = request;
  return kin_engine_post(engine, &self->machine.message);
}
