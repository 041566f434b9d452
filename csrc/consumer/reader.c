#include "consumer/reader.h"

#include <stdlib.h>

#include "engine/retry.h"

struct kin_reader {
  kin_machine machine; /* first */
  kin_window *window;
  char *stream;
  const kin_target *target;
  kin_time poll_interval;
  bool stop_at_tip, follow;
  unsigned max_attempts; /* until the first answer */
  bool answered;
  bool stopped;   /* a fatal failure was message */
  double start;   /* seconds, by the service's clock, less its resolution */
  size_t initial; /* first shards without their first iterator */
  kin_lineage lineage;
  kin_shard *starved, **last_starved; /* wait for the window, in order of arrival */
  kin_timers timers;                  /* room for every shard */
  kin_trouble_message
      *reserved_error; /* kept for the end: that memory is out can be message, too */
};

static void set_due(kin_reader *reader, kin_shard *shard, kin_time due) {
  kin_timers_set(&reader->timers, &shard->timer, due);
}

static kin_time monotonic(kin_reader *reader) {
  kin_clock *clock = kin_engine_clock(reader->machine.engine);
  return clock->monotonic(clock);
}

/* ---- what Lua is message ---- */

static void free_page(kin_message *message) {
  kin_page_message *own = (kin_page_message *)message;
  kin_page_free(&own->page);
  kin_window_give(own->window, own->bytes);
  kin_window_release(own->window);
  free(own);
}

static void free_start(kin_message *message) {
  kin_start_shard *start = (kin_start_shard *)message;
  if (start->shard)
    kin_shard_free(start->shard);
  free(start);
}

kin_start_shard *kin_start_shard_create(kin_shard *shard, uint64_t reader) {
  kin_start_shard *start = calloc(1, sizeof *start);
  if (!start)
    return NULL;
  start->message =
      (kin_message){.kind = KIN_MESSAGE_START_SHARD, .owner = reader, .free = free_start};
  start->shard = shard;
  return start;
}

static void free_plain(kin_message *message) {
  free(message);
}

static void *new_message(kin_reader *reader, kin_message_kind kind, size_t size) {
  kin_message *message = calloc(1, size);
  if (message)
    *message = (kin_message){.kind = kind, .owner = reader->machine.id, .free = free_plain};
  return message;
}

static void free_trouble(kin_message *message) {
  kin_trouble_message *own = (kin_trouble_message *)message;
  kin_window_give_trouble(own->window);
  kin_window_release(own->window);
  free(own);
}

static kin_trouble_message *take_reserved_error(kin_reader *reader) {
  kin_trouble_message *message = reader->reserved_error;
  reader->reserved_error = NULL;
  return message;
}

static void post_trouble(kin_reader *reader, const char *shard_id, unsigned in_a_row,
                         const kin_error *error, bool fatal) {
  if (fatal)
    reader->stopped = true;
  if (!kin_window_take_trouble(reader->window) && !fatal)
    return; /* nobody is looking at those that were message */
  kin_trouble_message *message = fatal ? take_reserved_error(reader)
                                       : new_message(reader, KIN_MESSAGE_TROUBLE, sizeof *message);
  if (!message) {
    kin_window_give_trouble(reader->window);
    return;
  }
  message->message.free = free_trouble;
  message->window = kin_window_hold(reader->window);
  kin_slice_copy(kin_slice_of(shard_id), message->shard_id, sizeof message->shard_id);
  message->error = *error;
  message->in_a_row = in_a_row;
  message->fatal = fatal;
  kin_engine_notify(reader->machine.engine, &message->message);
}

static void stop_for_memory(kin_reader *reader, const char *shard_id) {
  kin_error error;
  kin_error_clear(&error);
  kin_error_set(&error, KIN_FATAL, KIN_CODE_CONNECTION, "out of memory while reading %s", shard_id);
  post_trouble(reader, shard_id, 1, &error, true);
}

static void post_ready(kin_reader *reader) {
  kin_ready_message *message = new_message(reader, KIN_MESSAGE_READY, sizeof *message);
  if (!message) {
    stop_for_memory(reader, "the first shards");
    return;
  }
  message->start = reader->start;
  kin_engine_notify(reader->machine.engine, &message->message);
}

/* ---- beginnings and ends of shards ---- */

/* Those whose parents are read may begin. */
static void release_children(kin_reader *reader) {
  kin_shard *shard = NULL;
  while ((shard = kin_lineage_next_free(&reader->lineage, shard))) {
    shard->state = KIN_SHARD_LOOKING;
    set_due(reader, shard, 0);
  }
}

bool kin_reader_add(kin_reader *reader, kin_shard *shard) {
  if (!kin_timers_reserve(&reader->timers, reader->lineage.count + 1))
    return false;
  kin_lineage_add(&reader->lineage, shard);
  return true;
}

/* False when memory is out. */
static bool add_children(kin_reader *reader, const kin_page *page) {
  static const kin_from beginning = {.kind = KIN_FROM_TRIM_HORIZON};
  for (size_t i = 0; i < page->child_count; i++) {
    const kin_child_shard *child = &page->children[i];
    if (kin_lineage_find(&reader->lineage, child->id) || child->id.len > KIN_SHARD_ID_MAX)
      continue;
    kin_shard *shard = kin_shard_create(child->id, &beginning);
    if (!shard)
      return false;
    for (int k = 0; k < child->parent_count; k++)
      kin_slice_copy(child->parents[k], shard->parents[k], sizeof shard->parents[k]);
    if (!kin_reader_add(reader, shard)) {
      kin_shard_free(shard);
      return false;
    }
  }
  return true;
}

static void settle_initial(kin_reader *reader, kin_shard *shard) {
  if (!shard->initial)
    return;
  shard->initial = false;
  if (--reader->initial == 0)
    post_ready(reader);
}

static void end_shard(kin_reader *reader, kin_shard *shard, bool closed, bool names_children) {
  kin_shard_end_message *message = new_message(reader, KIN_MESSAGE_SHARD_END, sizeof *message);
  if (!message) {
    stop_for_memory(reader, shard->id);
    return;
  }
  shard->state = KIN_SHARD_DONE;
  memcpy(message->shard_id, shard->id, sizeof message->shard_id);
  message->closed = closed;
  message->names_children = names_children || !reader->follow;
  message->alive = kin_lineage_alive(&reader->lineage);
  kin_engine_notify(reader->machine.engine, &message->message);
  settle_initial(reader, shard);
  if (closed)
    release_children(reader);
}

static void start_shard(kin_reader *reader, kin_start_shard *start) {
  kin_shard_end_message *message = new_message(reader, KIN_MESSAGE_SHARD_STARTED, sizeof *message);
  bool known = kin_lineage_find(&reader->lineage, kin_slice_of(start->shard->id)) != NULL;
  if (!message || (!known && !kin_reader_add(reader, start->shard))) {
    kin_message_free((kin_message *)message);
    stop_for_memory(reader, start->shard->id);
    return;
  }
  if (!known)
    start->shard = NULL;
  message->alive = kin_lineage_alive(&reader->lineage);
  kin_engine_notify(reader->machine.engine, &message->message);
  release_children(reader);
}

/* ---- answers ---- */

static void take_iterator(kin_reader *reader, kin_shard *shard) {
  /* LATEST is this moment only: a later iterator would miss what came in between */
  if (shard->from.kind == KIN_FROM_LATEST) {
    shard->from.kind = KIN_FROM_TIMESTAMP;
    shard->from.timestamp = reader->start;
  }
  shard->state = KIN_SHARD_READING;
  kin_time earliest = kin_shard_earliest(shard);
  set_due(reader, shard, earliest);
  settle_initial(reader, shard);
}

/* Nothing is there, and nothing is behind. A page with records does not say so: the shard may be
 * closed, and the next answer its end. One that others wait for goes on to its end anyway. */
static bool reached_tip(const kin_reader *reader, const kin_shard *shard) {
  const kin_page *page = &shard->page;
  if (!reader->stop_at_tip || kin_lineage_is_awaited(&reader->lineage, shard))
    return false;
  if (page->record_count == 0)
    return page->millis_behind <= 0;
  return page->records[page->record_count - 1].arrival_timestamp > reader->start + 1;
}

/* The page's bytes leave the shard, for Lua or for nobody. */
static bool hand_over(kin_reader *reader, kin_shard *shard) {
  size_t bytes = shard->page.body.capacity + shard->page.record_count * sizeof(kin_record);
  kin_page_message *message = NULL;
  if (shard->page.record_count > 0)
    message = new_message(reader, KIN_MESSAGE_PAGE, sizeof *message);
  if (!message) {
    bool empty = shard->page.record_count == 0;
    kin_page_free(&shard->page);
    kin_window_give(reader->window, shard->reserved);
    shard->reserved = 0;
    return empty;
  }
  message->message.free = free_page;
  memcpy(message->shard_id, shard->id, sizeof message->shard_id);
  message->page = shard->page;
  shard->page = (kin_page){0};
  kin_window_resize(reader->window, shard->reserved, bytes);
  shard->reserved = 0;
  message->bytes = bytes;
  message->window = kin_window_hold(reader->window);
  kin_engine_notify(reader->machine.engine, &message->message);
  return true;
}

static void take_page(kin_reader *reader, kin_shard *shard) {
  shard->failures = 0;
  bool tip = reached_tip(reader, shard);
  bool names_children = shard->page.has_children;
  kin_time due = kin_shard_advance(shard, reader->poll_interval);
  bool closed = shard->iterator[0] == '\0';
  bool added = !closed || !reader->follow || add_children(reader, &shard->page);
  if (!hand_over(reader, shard) || !added) {
    stop_for_memory(reader, shard->id);
    return;
  }
  if (closed || tip)
    end_shard(reader, shard, closed, names_children);
  else
    set_due(reader, shard, due);
}

/* A provider that has no keys now may have some later; who reads for days would rather wait. */
static bool may_pass(const kin_error *error) {
  return strcmp(error->code, KIN_CODE_NO_CREDENTIALS) == 0;
}

static void take_failure(kin_reader *reader, kin_shard *shard, const kin_error *error) {
  if (shard->reserved > 0) {
    kin_window_give(reader->window, shard->reserved);
    shard->reserved = 0;
  }
  kin_page_free(&shard->page);
  if (strcmp(error->code, "ExpiredIteratorException") == 0 && shard->state != KIN_SHARD_LOOKING) {
    shard->state = KIN_SHARD_LOOKING;
    set_due(reader, shard, kin_shard_earliest(shard));
    return;
  }
  shard->failures++;
  bool fatal = error->class == KIN_FATAL;
  if (reader->answered)
    fatal = fatal && !may_pass(error);
  else
    fatal = fatal || shard->failures >= reader->max_attempts;
  post_trouble(reader, shard->id, shard->failures, error, fatal);
  if (fatal)
    return;
  kin_clock *clock = kin_engine_clock(reader->machine.engine);
  kin_time rest = kin_retry_backoff(clock, error->class, shard->failures - 1);
  kin_time due = kin_time_after(monotonic(reader), rest);
  kin_time earliest = kin_shard_earliest(shard);
  set_due(reader, shard, due > earliest ? due : earliest);
}

static void take_answer(kin_reader *reader, kin_call *call) {
  kin_shard *shard = call->request.context;
  shard->in_flight = false;
  if (shard->state != KIN_SHARD_LOOKING)
    shard->asked = call->request.started_at;
  if (reader->stopped)
    return;
  if (call->request.error.class != KIN_OK) {
    take_failure(reader, shard, &call->request.error);
    return;
  }
  reader->answered = true;
  if (shard->state == KIN_SHARD_LOOKING && shard->iterator[0] != '\0')
    take_iterator(reader, shard);
  else if (shard->state == KIN_SHARD_LOOKING)
    end_shard(reader, shard, true, false); /* no iterator: nothing is left to read */
  else
    take_page(reader, shard);
}

/* ---- the machine ---- */

static void starve(kin_reader *reader, kin_shard *shard) {
  shard->state = KIN_SHARD_STARVED;
  shard->next_starved = NULL;
  *reader->last_starved = shard;
  reader->last_starved = &shard->next_starved;
}

/* In their order, so that each has its turn. */
static void feed_starved(kin_reader *reader) {
  while (reader->starved && kin_window_take(reader->window, reader->starved->reserve)) {
    kin_shard *shard = reader->starved;
    reader->starved = shard->next_starved;
    if (!reader->starved)
      reader->last_starved = &reader->starved;
    shard->reserved = shard->reserve;
    shard->state = KIN_SHARD_READING;
    set_due(reader, shard, kin_shard_earliest(shard));
  }
}

static void receive(kin_machine *machine, kin_message *message) {
  kin_reader *reader = (kin_reader *)machine;
  kin_message_kind kind = message->kind;
  if (kind == KIN_MESSAGE_ANSWER)
    take_answer(reader, (kin_call *)message);
  else if (kind == KIN_MESSAGE_START_SHARD)
    start_shard(reader, (kin_start_shard *)message);
  kin_message_free(message);
  if (kind == KIN_MESSAGE_RESUME) /* behind the free: the window may send another from now on */
    feed_starved(reader);
}

static void ask(kin_reader *reader, kin_shard *shard) {
  if (shard->in_flight)
    return;
  if (shard->state == KIN_SHARD_READING && shard->reserved == 0) {
    if (reader->starved || !kin_window_take(reader->window, shard->reserve)) {
      starve(reader, shard);
      return;
    }
    shard->reserved = shard->reserve;
  }
  kin_call *call = kin_shard_call(shard, kin_slice_of(reader->stream));
  if (!call) {
    stop_for_memory(reader, shard->id);
    return;
  }
  call->request.machine = reader->machine.id;
  call->target = reader->target;
  shard->in_flight = true;
  kin_engine_send(reader->machine.engine, &call->request);
}

static void begin(kin_reader *reader) {
  /* the service tells its time in whole seconds */
  reader->start = (double)kin_engine_wall(reader->machine.engine) / (double)KIN_SECOND - 1;
  release_children(reader);
  for (kin_shard *shard = reader->lineage.shards; shard; shard = shard->next) {
    /* behind a parent there is no tip yet: children begin at their beginning */
    if (shard->state == KIN_SHARD_WAITING && shard->from.kind == KIN_FROM_LATEST)
      shard->from.kind = KIN_FROM_TRIM_HORIZON;
    shard->initial = shard->state == KIN_SHARD_LOOKING;
    reader->initial += shard->initial;
  }
  if (reader->initial == 0)
    post_ready(reader);
}

static kin_time step(kin_machine *machine, kin_time now) {
  kin_reader *reader = (kin_reader *)machine;
  kin_timer *timer;
  if (reader->start == 0)
    begin(reader);
  while (!reader->stopped && (timer = kin_timers_pop(&reader->timers, now)))
    ask(reader, KIN_OWNER(timer, kin_shard, timer));
  return reader->stopped ? KIN_NEVER : kin_timers_next(&reader->timers);
}

void kin_reader_free(kin_reader *reader) {
  kin_lineage_free(&reader->lineage);
  kin_timers_free(&reader->timers);
  kin_window_release(reader->window);
  free(reader->stream);
  free(reader->reserved_error);
  free(reader);
}

static void refuse(kin_machine *machine) {
  stop_for_memory((kin_reader *)machine, "the stream");
}

static void destroy(kin_machine *machine) {
  kin_reader_free((kin_reader *)machine);
}

static void free_machine(kin_message *message) {
  kin_reader_free((kin_reader *)message);
}

kin_reader *kin_reader_create(kin_engine *engine, uint64_t id, const kin_reader_options *options) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy};
  kin_reader *reader = calloc(1, sizeof *reader);
  if (!reader)
    return NULL;
  reader->machine.message = (kin_message){.kind = KIN_MESSAGE_MACHINE, .free = free_machine};
  reader->last_starved = &reader->starved;
  reader->machine.vtable = &vtable;
  reader->machine.id = id;
  /* who stops at the tip has no reason to rest there */
  reader->poll_interval = options->stop_at_tip ? 0 : options->poll_interval;
  reader->stop_at_tip = options->stop_at_tip;
  reader->follow = options->follow;
  reader->max_attempts = kin_engine_max_attempts(engine);
  reader->target = options->target;
  reader->stream = kin_slice_dup(options->stream);
  reader->window = kin_window_create(engine, id, options->window_bytes);
  reader->reserved_error = new_message(reader, KIN_MESSAGE_TROUBLE, sizeof *reader->reserved_error);
  if (!reader->stream || !reader->window || !reader->reserved_error) {
    kin_reader_free(reader);
    return NULL;
  }
  return reader;
}

bool kin_reader_start(kin_engine *engine, kin_reader *reader) {
  return kin_engine_post(engine, &reader->machine.message);
}
