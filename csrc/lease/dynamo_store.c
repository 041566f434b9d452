#include "lease/dynamo_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/retry.h"

enum { ATTEMPTS = 4, AFTER_MAX = 64 << 10 };

/* An attempt has such a part of `failover`; a second where the larger part is longer. */
enum { TIMEOUT_PARTS = 6, TIMEOUT_PARTS_LEAST = 3 };

#define REFUSED "ConditionalCheckFailedException"

/* An operation, until it has its outcome. */
typedef struct job {
  kin_lease_op *op;  /* owned */
  bool looks;        /* an UPDATE was refused: reads the row */
  kin_buf after;     /* LIST: where the last page has ended */
  unsigned failures; /* in a row, of this request */
  kin_timer timer;   /* the next attempt */
  struct job *next, **link;
} job;

typedef struct dynamo_store {
  kin_lease_store store; /* first */
  kin_engine *engine;    /* which runs the machine */
  uint64_t machine;
  const kin_target *target;
  kin_time timeout; /* of one attempt */
  kin_dynamo_table table;
  char *texts; /* owned: of the table */
  job *jobs;
  size_t count;
  kin_timers timers;     /* with space for every job */
  kin_message_list done; /* operations that have their outcome */
} dynamo_store;

static kin_clock *clock_of(const dynamo_store *s) {
  return kin_engine_clock(s->engine);
}

/* ---- outcomes ---- */

static void end_op(dynamo_store *s, kin_lease_op *op, kin_lease_outcome outcome) {
  op->outcome = outcome;
  kin_message_list_add(&s->done, &op->message);
}

static void end_job(dynamo_store *s, job *j, kin_lease_outcome outcome) {
  kin_lease_op *op = j->op;
  kin_timers_set(&s->timers, &j->timer, KIN_NEVER);
  *j->link = j->next;
  if (j->next)
    j->next->link = j->link;
  s->count--;
  kin_buf_free(&j->after);
  free(j);
  if (outcome == KIN_LEASE_FAILED)
    kin_buf_clear(&op->answer);
  end_op(s, op, outcome);
}

static void fail_job(dynamo_store *s, job *j, const kin_error *error) {
  j->op->error = *error;
  end_job(s, j, KIN_LEASE_FAILED);
}

static void set_no_memory(kin_error *error) {
  kin_error_clear(error);
  kin_error_set(error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
}

/* There is no memory for an answer, or it is larger than answers may be. */
static void set_no_space(const dynamo_store *s, const kin_buf *answer, kin_error *error) {
  set_no_memory(error);
  if (!answer->out_of_memory)
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_LEASE_STORE,
                  "the leases in the table %.*s are more than 64 MiB", (int)s->table.name.len,
                  s->table.name.at);
}

/* ---- sending ---- */

static const char *operation_of(const job *j) {
  static const char *const names[] = {
      [KIN_LEASE_LIST] = "Scan",         [KIN_LEASE_GET] = "GetItem",
      [KIN_LEASE_CREATE] = "PutItem",    [KIN_LEASE_UPDATE] = "UpdateItem",
      [KIN_LEASE_DELETE] = "DeleteItem",
  };
  return j->looks ? "GetItem" : names[j->op->kind];
}

/* False: the operation cannot be written. */
static bool build(const dynamo_store *s, const job *j, kin_buf *body) {
  const kin_lease_op *op = j->op;
  kin_slice changes = kin_buf_slice(&op->changes);
  if (op->kind == KIN_LEASE_LIST) {
    kin_dynamo_scan_build(body, &s->table, kin_buf_slice(&j->after));
    return true;
  }
  if (op->kind == KIN_LEASE_CREATE)
    return kin_dynamo_put_build(body, &s->table, op->key, changes);
  if (op->kind == KIN_LEASE_DELETE)
    return kin_dynamo_delete_build(body, &s->table, op->key, op->owner, op->counter);
  if (op->kind == KIN_LEASE_UPDATE && !j->looks)
    return kin_dynamo_update_build(body, &s->table, op->key, op->owner, op->counter, changes);
  return kin_dynamo_get_build(body, &s->table, op->key);
}

/* Sends the job's request. The engine may end it at once. */
static void send(dynamo_store *s, job *j) {
  kin_error error;
  kin_call *call = kin_call_create(operation_of(j), 1);
  bool has_memory = call && !j->op->changes.failed;
  bool written = has_memory && build(s, j, &call->request.body);
  if (written && !call->request.body.failed) {
    call->target = s->target;
    call->timeout = s->timeout;
    call->request.machine = s->machine;
    call->request.context = j;
    call->request.renews_lease = true;
    call->request.start_deadline = kin_time_after(kin_engine_now(s->engine), s->timeout);
    kin_engine_send(s->engine, &call->request);
    return;
  }
  set_no_memory(&error);
  if (has_memory && !written && !call->request.body.failed)
    kin_error_set(&error, KIN_FATAL, KIN_CODE_LEASE_STORE,
                  "the lease '%.*s' is of no stream of this table, or has a field that DynamoDB "
                  "does not have",
                  (int)j->op->key.len, j->op->key.at);
  if (call)
    kin_message_free(&call->request.message);
  fail_job(s, j, &error);
}

static void submit(kin_lease_store *store, kin_lease_op *op) {
  dynamo_store *s = (dynamo_store *)store;
  if (op->kind == KIN_LEASE_PROBE) {
    end_op(s, op, KIN_LEASE_DONE); /* it may live */
    return;
  }
  job *j = kin_timers_reserve(&s->timers, s->count + 1) ? calloc(1, sizeof *j) : NULL;
  if (!j) {
    set_no_memory(&op->error);
    end_op(s, op, KIN_LEASE_FAILED);
    return;
  }
  j->op = op;
  kin_buf_init(&j->after, AFTER_MAX);
  kin_buf_clear(&op->answer);
  if (op->kind == KIN_LEASE_LIST)
    kin_buf_add_text(&op->answer, "{");
  j->link = &s->jobs;
  j->next = s->jobs;
  if (j->next)
    j->next->link = &j->next;
  s->jobs = j;
  s->count++;
  send(s, j);
}

/* ---- responses ---- */

/* Says what to do about an error, and whether waiting mends it. */
static void explain(const dynamo_store *s, const job *j, kin_error *error) {
  size_t len = strlen(error->message);
  char *end = error->message + len;
  bool own = error->status == 0 && strcmp(error->code, KIN_CODE_BAD_CONFIG) != 0;
  if (error->class == KIN_FATAL && (own || kin_error_is_about_credentials(error)))
    error->class = KIN_TRANSIENT; /* no credentials, no connection in time, no memory */
  if (strcmp(error->code, "AccessDeniedException") == 0)
    snprintf(end, sizeof error->message - len, "; the worker needs dynamodb:%s on the table %.*s",
             operation_of(j), (int)s->table.name.len, s->table.name.at);
  else if (strcmp(error->code, "ResourceNotFoundException") == 0)
    snprintf(end, sizeof error->message - len,
             "; the table %.*s was deleted, or the endpoint is another one: a worker that is "
             "started makes it again, and begins at its option `from`; restore the table to go on "
             "from its checkpoints",
             (int)s->table.name.len, s->table.name.at);
}

/* The request has failed: it is sent again, or the operation fails. A lease that is held is the
 * machine's, which sends its next write with what it knows then. */
static void take_failure(dynamo_store *s, job *j, kin_call *call, kin_error *error) {
  bool is_held = j->op->lease && !j->looks;
  explain(s, j, error);
  if (is_held || error->class == KIN_FATAL || ++j->failures == ATTEMPTS) {
    fail_job(s, j, error);
    return;
  }
  kin_time after = kin_call_retry_after(call);
  kin_time delay = kin_retry_backoff_of(clock_of(s), s->target->endpoint.service->retry_base,
                                        error->class, j->failures - 1);
  delay = after > delay ? after : delay;
  kin_call_note_retry(call, s->engine, delay);
  kin_timers_set(&s->timers, &j->timer, kin_time_after(kin_engine_now(s->engine), delay));
}

static void take_page(dynamo_store *s, job *j, kin_slice after) {
  kin_error error;
  j->failures = 0;
  kin_buf_clear(&j->after);
  kin_buf_add_slice(&j->after, after);
  if (j->after.failed) {
    set_no_space(s, &j->after, &error);
    fail_job(s, j, &error);
  } else if (after.len > 0) {
    send(s, j);
  } else {
    kin_buf_add_text(&j->op->answer, "}");
    end_job(s, j, KIN_LEASE_DONE);
  }
}

/* The table has an item that says that it is not for these streams. */
static void refuse_table(dynamo_store *s, job *j, kin_dynamo_fit fit) {
  static const char *const whys[] = {
      [KIN_DYNAMO_OTHER_STREAM] = "leases of another stream, whose shards have the same keys: take "
                                  "another name for the application",
      [KIN_DYNAMO_ONE_STREAM] = "leases of an application of one stream: one that reads several "
                                "streams has other keys, and would begin anew; take another name",
      [KIN_DYNAMO_MANY_STREAMS] = "leases of an application of several streams: one that reads a "
                                  "single stream has other keys, and would begin anew; give it a "
                                  "list of several, or take another name",
      [KIN_DYNAMO_KCL_3] = "leases that the leader of KCL 3 workers assigns: take part by store = "
                           "{dynamodb = {kcl3 = true}}, end them and delete the row "
                           "Migration3.0, or take another name",
  };
  kin_error error;
  kin_error_clear(&error);
  kin_error_set(&error, KIN_FATAL, KIN_CODE_LEASE_STORE, "the table %.*s at %s has %s",
                (int)s->table.name.len, s->table.name.at, s->target->endpoint.url, whys[fit]);
  fail_job(s, j, &error);
}

/* Reads a response of 2xx into the answer. False: it is none of this operation, or a page that ends
 * where the last one has. */
static bool read_response(dynamo_store *s, job *j, kin_buf *response, kin_slice *after,
                          kin_dynamo_fit *fit) {
  kin_lease_op *op = j->op;
  bool reads = op->kind == KIN_LEASE_GET || j->looks;
  *after = (kin_slice){0};
  *fit = KIN_DYNAMO_FITS;
  if (op->kind == KIN_LEASE_LIST)
    return kin_dynamo_scan_read(&s->table, response, &op->answer, after, fit) &&
           (after->len == 0 || kin_slice_compare(*after, kin_buf_slice(&j->after)) != 0);
  return kin_dynamo_row_read(&s->table, response, reads ? "Item" : "Attributes", &op->answer);
}

static void take_response(dynamo_store *s, job *j, kin_call *call) {
  kin_lease_op *op = j->op;
  kin_error *error = &call->request.error;
  size_t before = op->answer.len;
  kin_slice after;
  kin_dynamo_fit fit;
  bool good = read_response(s, j, &call->request.exchange.answer, &after, &fit);
  if (good && fit != KIN_DYNAMO_FITS) {
    refuse_table(s, j, fit);
  } else if (op->answer.failed || !good) {
    if (op->answer.failed)
      set_no_space(s, &op->answer, error);
    else
      kin_error_set(error, KIN_TRANSIENT, KIN_CODE_BAD_ANSWER,
                    "the response is none of DynamoDB: is the endpoint %s right?",
                    s->target->endpoint.url);
    if (op->answer.failed)
      j->failures = ATTEMPTS - 1; /* a part of the list is lost */
    else
      op->answer.len = before;
    take_failure(s, j, call, error);
  } else if (op->kind == KIN_LEASE_LIST) {
    take_page(s, j, after);
  } else if (j->looks || (op->kind == KIN_LEASE_GET && op->answer.len == 0)) {
    end_job(s, j, KIN_LEASE_REFUSED);
  } else {
    end_job(s, j, KIN_LEASE_DONE);
  }
}

/* Whether the request has a condition that does not hold. */
static bool is_refused(const job *j, const kin_error *error) {
  kin_lease_op_kind kind = j->op->kind;
  return strcmp(error->code, REFUSED) == 0 && kind != KIN_LEASE_LIST && kind != KIN_LEASE_GET &&
         !j->looks;
}

static void take_refusal(dynamo_store *s, job *j, kin_call *call) {
  kin_lease_op *op = j->op;
  bool wants_row = op->kind == KIN_LEASE_UPDATE;
  kin_buf *response = &call->request.exchange.answer;
  bool has_row = wants_row && kin_dynamo_row_read(&s->table, response, "Item", &op->answer) &&
                 op->answer.len > 0;
  if (wants_row && !has_row) {
    kin_buf_clear(&op->answer); /* it may have a part */
    j->looks = true;
    j->failures = 0;
    send(s, j);
    return;
  }
  end_job(s, j, KIN_LEASE_REFUSED);
}

static void receive(kin_lease_store *store, kin_message *message) {
  dynamo_store *s = (dynamo_store *)store;
  kin_call *call = (kin_call *)message;
  job *j = call->request.context;
  kin_error *error = &call->request.error;
  if (error->class == KIN_OK)
    take_response(s, j, call);
  else if (is_refused(j, error))
    take_refusal(s, j, call);
  else
    take_failure(s, j, call, error);
  kin_message_free(message);
}

static kin_time step(kin_lease_store *store, kin_time now, kin_message_list *done) {
  dynamo_store *s = (dynamo_store *)store;
  kin_timer *timer;
  kin_message *message;
  while ((timer = kin_timers_pop(&s->timers, now)))
    send(s, KIN_OWNER(timer, job, timer));
  while ((message = kin_message_list_take(&s->done)))
    kin_message_list_add(done, message);
  return kin_timers_next(&s->timers);
}

/* ---- life ---- */

static void free_store(kin_lease_store *store) {
  dynamo_store *s = (dynamo_store *)store;
  for (job *j = s->jobs, *next; j; j = next) {
    next = j->next;
    kin_message_free(&j->op->message);
    kin_buf_free(&j->after);
    free(j);
  }
  kin_message_list_free(&s->done);
  kin_timers_free(&s->timers);
  free((void *)s->table.streams);
  free(s->texts);
  free(s);
}

static kin_slice copy_text(char **at, kin_slice text) {
  kin_slice copy = {*at, text.len};
  if (text.len > 0)
    memcpy(*at, text.at, text.len);
  *at += text.len;
  return copy;
}

/* Copies the table. False: out of memory. */
static bool copy_table(dynamo_store *s, const kin_dynamo_table *table) {
  size_t size = table->name.len + 1;
  for (size_t i = 0; i < table->count; i++)
    size += table->streams[i].prefix.len + table->streams[i].name.len;
  kin_dynamo_stream *streams = calloc(table->count + 1, sizeof *streams);
  char *at = s->texts = malloc(size);
  s->table = (kin_dynamo_table){.streams = streams, .count = table->count, .kcl3 = table->kcl3};
  if (!streams || !s->texts)
    return false;
  s->table.name = copy_text(&at, table->name);
  for (size_t i = 0; i < table->count; i++)
    streams[i] = (kin_dynamo_stream){copy_text(&at, table->streams[i].prefix),
                                     copy_text(&at, table->streams[i].name)};
  return true;
}

static kin_time timeout_of(kin_time failover) {
  kin_time timeout = failover / TIMEOUT_PARTS, most = failover / TIMEOUT_PARTS_LEAST;
  if (timeout < KIN_SECOND)
    timeout = KIN_SECOND;
  return timeout < most ? timeout : most;
}

kin_lease_store *kin_dynamo_store_create(const kin_dynamo_store_options *options) {
  static const kin_lease_store_vtable vtable = {submit, step, receive, free_store, true};
  dynamo_store *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->store.vtable = &vtable;
  s->engine = options->engine;
  s->machine = options->machine;
  s->target = options->target;
  s->timeout = timeout_of(options->failover);
  kin_message_list_init(&s->done);
  if (copy_table(s, options->table))
    return &s->store;
  free_store(&s->store);
  return NULL;
}
