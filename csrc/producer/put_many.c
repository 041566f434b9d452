#include "producer/put_many.h"

#include <stdlib.h>

#include "engine/retry.h"

/* 14 MiB of base64, and 500 keys with every character escaped. */
enum { BODY_MAX = 16 << 20 };

typedef struct settle {
  kin_machine machine; /* first */
  kin_put_many *chunk;
  bool in_flight;
  kin_time due, deadline;
  unsigned attempt;
  unsigned max_attempts;
  int cost;
} settle;

/* ---- the chunk ---- */

static void free_chunk(kin_message *message) {
  kin_put_many *chunk = (kin_put_many *)message;
  kin_message_list_free(&chunk->answers);
  kin_buf_free(&chunk->body);
  free(chunk);
}

kin_put_many *kin_put_many_create(kin_slice stream) {
  kin_put_many *chunk = malloc(sizeof *chunk);
  if (!chunk)
    return NULL;
  memset(chunk, 0, offsetof(kin_put_many, entries)); /* entries are written as they come */
  chunk->message = (kin_message){.kind = KIN_MESSAGE_PUT_MANY_DONE, .free = free_chunk};
  chunk->target = NULL;
  chunk->count = chunk->bytes = 0;
  chunk->encryption_type = (kin_slice){0};
  kin_message_list_init(&chunk->answers);
  kin_buf_init(&chunk->body, BODY_MAX);
  kin_put_records_open(&chunk->body, stream);
  return chunk;
}

bool kin_put_many_add(kin_put_many *chunk, const kin_put *put) {
  size_t bytes = put->data.len + put->partition_key.len;
  if (chunk->count == KIN_PUT_RECORDS_MAX ||
      (chunk->count > 0 && chunk->bytes + bytes > KIN_PUT_BYTES_MAX))
    return false;
  kin_buf *body = &chunk->body;
  kin_put_records_next(body);
  size_t start = body->len;
  kin_put_records_add(body, put);
  if (body->failed)
    return false;
  chunk->results[chunk->count] = (kin_put_result){0};
  chunk->entries[chunk->count++] = (kin_put_many_entry){.start = start, .len = body->len - start};
  chunk->bytes += bytes;
  return true;
}

/* ---- the machine ---- */

static size_t count_open(const kin_put_many *chunk) {
  size_t open = 0;
  for (size_t i = 0; i < chunk->count; i++)
    open += !chunk->entries[i].settled;
  return open;
}

static bool read_answer(kin_call *call) {
  settle *self = call->request.context;
  kin_put_result results[KIN_PUT_RECORDS_MAX];
  kin_put_many *chunk = self->chunk;
  kin_buf *answer = &call->request.exchange.answer;
  if (!kin_put_records_read(answer->at, answer->len, results, count_open(chunk),
                            &chunk->encryption_type))
    return false;
  const kin_put_result *result = results;
  for (size_t i = 0; i < chunk->count; i++) {
    kin_put_many_entry *entry = &chunk->entries[i];
    if (entry->settled)
      continue;
    kin_slice code = result->code;
    chunk->results[i] = *result++;
    entry->settled = code.len == 0 || kin_error_classify(code, 200) == KIN_FATAL;
  }
  return true;
}

/* The open entries as they stand in the chunk's body, behind its head. */
static void copy_open(const kin_put_many *chunk, kin_buf *out) {
  kin_buf_add(out, chunk->body.at, chunk->entries[0].start);
  for (size_t i = 0; i < chunk->count; i++) {
    const kin_put_many_entry *entry = &chunk->entries[i];
    if (entry->settled)
      continue;
    kin_put_records_next(out);
    kin_buf_add(out, chunk->body.at + entry->start, entry->len);
  }
  kin_put_records_close(out);
}

static bool send(settle *self) {
  kin_put_many *chunk = self->chunk;
  kin_call *call = kin_call_create("PutRecords", 1);
  if (!call)
    return false;
  call->request.machine = self->machine.id;
  call->target = chunk->target;
  call->request.deadline = self->deadline;
  call->request.context = self;
  call->read = read_answer;
  if (count_open(chunk) == chunk->count) {
    call->request.body = chunk->body;
    chunk->body = (kin_buf){0};
  } else {
    copy_open(chunk, &call->request.body);
  }
  if (call->request.body.failed) {
    kin_message_free(&call->request.message);
    return false;
  }
  for (size_t i = 0; i < chunk->count; i++)
    chunk->entries[i].attempts += !chunk->entries[i].settled;
  self->attempt++;
  self->in_flight = true;
  kin_engine_send(self->machine.engine, &call->request);
  return true;
}

/* The answer stays with the chunk: results point into it. */
static void keep_answer(kin_put_many *chunk, kin_call *call) {
  if (!chunk->body.at) {
    chunk->body = call->request.body;
    call->request.body = (kin_buf){0};
  }
  kin_buf_free(&call->request.body);
  kin_message_list_add(&chunk->answers, &call->request.message);
}

static void give_up(settle *self, const char *code, const char *message) {
  kin_put_many *chunk = self->chunk;
  for (size_t i = 0; i < chunk->count; i++) {
    kin_put_result *result = &chunk->results[i];
    if (chunk->entries[i].settled)
      continue;
    chunk->entries[i].settled = true;
    if (code)
      *result = (kin_put_result){.code = kin_slice_of(code), .message = kin_slice_of(message)};
  }
}

/* The chunk goes back to its owner. */
static void tell(settle *self) {
  kin_engine_notify(self->machine.engine, &self->chunk->message);
  self->chunk = NULL;
}

/* The open entries' own codes, as one failure: throttled, if one of them was. */
static void sum_up(const kin_put_many *chunk, kin_error *error) {
  kin_error_clear(error);
  error->class = KIN_TRANSIENT;
  for (size_t i = 0; i < chunk->count; i++)
    if (!chunk->entries[i].settled &&
        kin_error_classify(chunk->results[i].code, 200) == KIN_THROTTLED)
      error->class = KIN_THROTTLED;
}

static void receive(kin_machine *machine, kin_message *message) {
  settle *self = (settle *)machine;
  if (message->kind != KIN_MESSAGE_ANSWER) {
    kin_message_free(message);
    return;
  }
  kin_call *call = (kin_call *)message;
  kin_error entries;
  const kin_error *error = &call->request.error;
  kin_time delay;
  self->in_flight = false;
  keep_answer(self->chunk, call);
  bool answered = error->class == KIN_OK;
  if (answered) {
    if (count_open(self->chunk) == 0) {
      kin_retry_success(kin_engine_retry(machine->engine), self->cost);
      return;
    }
    sum_up(self->chunk, &entries);
    error = &entries;
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
    give_up(self, answered ? NULL : call->request.error.code, call->request.error.message);
  }
}

static kin_time step(kin_machine *machine, kin_time now) {
  settle *self = (settle *)machine;
  if (self->in_flight)
    return KIN_NEVER;
  if (self->attempt == 0)
    self->deadline = kin_time_after(now, kin_engine_call_timeout(machine->engine));
  if (count_open(self->chunk) > 0) {
    if (now < self->due)
      return self->due;
    if (send(self))
      return KIN_NEVER;
    give_up(self, KIN_CODE_CONNECTION, "out of memory while building the request");
  }
  tell(self);
  return KIN_MACHINE_DONE;
}

static void refuse(kin_machine *machine) {
  settle *self = (settle *)machine;
  give_up(self, KIN_CODE_CONNECTION, "out of memory before it was sent");
  tell(self);
}

static void destroy(kin_machine *machine) {
  settle *self = (settle *)machine;
  if (self->chunk)
    kin_message_free(&self->chunk->message);
  free(self);
}

static void free_machine(kin_message *message) {
  destroy((kin_machine *)message);
}

bool kin_put_many_start(kin_engine *engine, kin_put_many *chunk, uint64_t owner) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy};
  settle *self = calloc(1, sizeof *self);
  if (!self) {
    kin_message_free(&chunk->message);
    return false;
  }
  self->machine.message = (kin_message){.kind = KIN_MESSAGE_MACHINE, .free = free_machine};
  self->machine.vtable = &vtable;
  self->machine.id = owner;
  self->max_attempts = kin_engine_max_attempts(engine);
  kin_put_records_close(&chunk->body);
  chunk->message.owner = owner;
  self->chunk = chunk;
  return kin_engine_post(engine, &self->machine.message);
}
