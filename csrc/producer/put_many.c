#include "producer/put_many.h"

#include <stdlib.h>

#include "engine/retry.h"

/* 14 MiB of base64, and 500 keys with every character escaped. */
enum { BODY_MAX = 16 << 20 };

typedef struct sender {
  kin_machine machine; /* first */
  kin_put_many *request;
  bool in_flight;
  kin_time due, deadline;
  unsigned attempt;
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

/* ---- the machine ---- */

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
  if (!kin_put_records_read(answer->at, answer->len, results, count_open(request),
                            &request->encryption_type))
    return false;
  const kin_put_result *result = results;
  for (size_t i = 0; i < request->count; i++) {
    kin_put_many_entry *entry = &request->entries[i];
    if (entry->done)
      continue;
    kin_slice code = result->code;
    request->results[i] = *result++;
    entry->done = code.len == 0 || kin_error_classify(code, 200) == KIN_FATAL;
  }
  return true;
}

/* Writes a request of the open entries only; their JSON is copied from the body. */
static void copy_open(const kin_put_many *request, kin_buf *out) {
  kin_buf_add(out, request->body.at, request->entries[0].start);
  for (size_t i = 0; i < request->count; i++) {
    const kin_put_many_entry *entry = &request->entries[i];
    if (entry->done)
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
  if (count_open(request) == request->count) {
    call->request.body = request->body;
    request->body = (kin_buf){0};
  } else {
    copy_open(request, &call->request.body);
  }
  if (call->request.body.failed) {
    kin_message_free(&call->request.message);
    return false;
  }
  for (size_t i = 0; i < request->count; i++)
    request->entries[i].attempts += !request->entries[i].done;
  self->attempt++;
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

static void fail_open(sender *self, const char *code, const char *message) {
  kin_put_many *request = self->request;
  for (size_t i = 0; i < request->count; i++) {
    kin_put_result *result = &request->results[i];
    if (request->entries[i].done)
      continue;
    request->entries[i].done = true;
    if (code)
      *result = (kin_put_result){.code = kin_slice_of(code), .message = kin_slice_of(message)};
  }
}

/* Hands the request back to its owner. */
static void finish(sender *self) {
  kin_engine_notify(self->machine.engine, &self->request->message);
  self->request = NULL;
}

/* The class of the open entries together: throttled if one of them was, else transient. */
static void classify_open(const kin_put_many *request, kin_error *error) {
  kin_error_clear(error);
  error->class = KIN_TRANSIENT;
  for (size_t i = 0; i < request->count; i++)
    if (!request->entries[i].done &&
        kin_error_classify(request->results[i].code, 200) == KIN_THROTTLED)
      error->class = KIN_THROTTLED;
}

static void receive(kin_machine *machine, kin_message *message) {
  sender *self = (sender *)machine;
  if (message->kind != KIN_MESSAGE_ANSWER) {
    kin_message_free(message);
    return;
  }
  kin_call *call = (kin_call *)message;
  kin_error of_entries;
  const kin_error *error = &call->request.error;
  kin_time delay;
  self->in_flight = false;
  keep_answer(self->request, call);
  bool answered = error->class == KIN_OK;
  if (answered) {
    if (count_open(self->request) == 0) {
      kin_retry_success(kin_engine_retry(machine->engine), self->cost);
      return;
    }
    classify_open(self->request, &of_entries);
    error = &of_entries;
  }
  kin_engine *engine = machine->engine;
  kin_clock *clock = kin_engine_clock(engine);
  kin_time now = clock->monotonic(clock);
  kin_time left = self->deadline == KIN_NEVER ? KIN_NEVER : self->deadline - now;
  if (kin_retry_again(kin_engine_retry(engine), clock, error, self->attempt, self->max_attempts,
                      kin_call_retry_after(call), left, &delay, &self->cost)) {
    kin_call_note_retry(call, engine, delay);
    self->due = kin_time_after(now, delay);
  } else {
    fail_open(self, answered ? NULL : call->request.error.code, call->request.error.message);
  }
}

static kin_time step(kin_machine *machine, kin_time now) {
  sender *self = (sender *)machine;
  if (self->in_flight)
    return KIN_NEVER;
  if (self->attempt == 0)
    self->deadline = kin_time_after(now, kin_engine_call_timeout(machine->engine));
  if (count_open(self->request) > 0) {
    if (now < self->due)
      return self->due;
    if (send(self))
      return KIN_NEVER;
    fail_open(self, KIN_CODE_OUT_OF_MEMORY, "out of memory while building the request");
  }
  finish(self);
  return KIN_MACHINE_DONE;
}

static void refuse(kin_machine *machine) {
  sender *self = (sender *)machine;
  fail_open(self, KIN_CODE_OUT_OF_MEMORY, "out of memory before the request was sent");
  finish(self);
}

static void destroy(kin_machine *machine) {
  sender *self = (sender *)machine;
  if (self->request)
    kin_message_free(&self->request->message);
  free(self);
}

bool kin_put_many_start(kin_engine *engine, kin_put_many *request, uint64_t owner) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy};
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
