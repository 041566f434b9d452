#include "consumer/reader.h"

#include <stdlib.h>

#include "engine/retry.h"

struct kin_reader {
  kin_machine machine; /* first */
  kin_window *window;
  char *stream;
  kin_time poll_interval;
  bool stop_at_tip, follow;
  unsigned max_attempts; /* until the first answer */
  bool answered;
  bool stopped;   /* a fatal failure was told */
  double start;   /* seconds, by the service's clock, less its resolution */
  size_t initial; /* first shards without their first iterator */
  kin_shard *shards;
  size_t shard_count;
  kin_timers timers; /* room for every shard */
};

static void set_due(kin_reader *reader, kin_shard *shard, kin_time due) {
  kin_timers_set(&reader->timers, &shard->timer, due);
}

static kin_time monotonic(kin_reader *reader) {
  kin_clock *clock = kin_engine_clock(reader->machine.engine);
  return clock->monotonic(clock);
}

/* ---- what Lua is told ---- */

static void free_page(kin_message *message) {
  kin_page_message *told = (kin_page_message *)message;
  kin_page_free(&told->page);
  kin_window_give(told->window, told->bytes);
  kin_window_release(told->window);
  free(told);
}

static void free_start(kin_message *message) {
  kin_start_shard *start = (kin_start_shard *)message;
  if (start->shard) kin_shard_free(start->shard);
  free(start);
}

kin_start_shard *kin_start_shard_create(kin_shard *shard, uint64_t reader) {
  kin_start_shard *start = calloc(1, sizeof *start);
  if (!start) return NULL;
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

static size_t count_alive(const kin_reader *reader) {
  size_t alive = 0;
  for (const kin_shard *shard = reader->shards; shard; shard = shard->next)
    alive += shard->state != KIN_SHARD_DONE;
  return alive;
}

static void tell_trouble(kin_reader *reader, const kin_shard *shard, const kin_failure *failure,
                         bool fatal) {
  kin_trouble_message *told = new_message(reader, KIN_MESSAGE_TROUBLE, sizeof *told);
  if (fatal) reader->stopped = true;
  if (!told) return;
  memcpy(told->shard_id, shard->id, sizeof told->shard_id);
  told->failure = *failure;
  told->in_a_row = shard->failures;
  told->fatal = fatal;
  kin_engine_tell(reader->machine.engine, &told->message);
}

/* ---- lineage ---- */

static kin_shard *find(kin_reader *reader, kin_slice id) {
  kin_shard *shard = reader->shards;
  while (shard && !kin_slice_is(id, shard->id))
    shard = shard->next;
  return shard;
}

static bool parents_done(kin_reader *reader, const kin_shard *shard) {
  for (int i = 0; i < 2; i++) {
    kin_shard *parent = find(reader, kin_slice_of(shard->parents[i]));
    if (parent && parent->state != KIN_SHARD_DONE) return false;
  }
  return true;
}

/* Those whose parents are all read, as far as this reader reads them, may begin. */
static void release_children(kin_reader *reader) {
  for (kin_shard *shard = reader->shards; shard; shard = shard->next) {
    if (shard->state != KIN_SHARD_WAITING || !parents_done(reader, shard)) continue;
    shard->state = KIN_SHARD_LOOKING;
    set_due(reader, shard, 0);
  }
}

bool kin_reader_add(kin_reader *reader, kin_shard *shard) {
  if (!kin_timers_reserve(&reader->timers, reader->shard_count + 1)) return false;
  if (shard->state == KIN_SHARD_LOOKING) shard->state = KIN_SHARD_WAITING;
  shard->next = reader->shards;
  reader->shards = shard;
  reader->shard_count++;
  return true;
}

/* False when memory is out. */
static bool add_children(kin_reader *reader, const kin_page *page) {
  static const kin_from beginning = {.kind = KIN_FROM_TRIM_HORIZON};
  for (size_t i = 0; i < page->child_count; i++) {
    const kin_child_shard *child = &page->children[i];
    if (find(reader, child->id) || child->id.len > KIN_SHARD_ID_MAX) continue;
    kin_shard *shard = kin_shard_create(child->id, &beginning);
    if (!shard) return false;
    for (int k = 0; k < child->parent_count; k++)
      kin_slice_copy(child->parents[k], shard->parents[k], sizeof shard->parents[k]);
    if (!kin_reader_add(reader, shard)) {
      kin_shard_free(shard);
      return false;
    }
  }
  return true;
}

/* ---- answers ---- */

static void stop_for_memory(kin_reader *reader, kin_shard *shard) {
  kin_failure failure;
  kin_failure_clear(&failure);
  kin_failure_set(&failure, KIN_FATAL, "Connection", "out of memory while reading %s", shard->id);
  tell_trouble(reader, shard, &failure, true);
}

static void end_shard(kin_reader *reader, kin_shard *shard, bool closed, bool names_children) {
  kin_shard_end_message *told = new_message(reader, KIN_MESSAGE_SHARD_END, sizeof *told);
  if (!told) {
    stop_for_memory(reader, shard);
    return;
  }
  shard->state = KIN_SHARD_DONE;
  memcpy(told->shard_id, shard->id, sizeof told->shard_id);
  told->closed = closed;
  told->names_children = names_children || !reader->follow;
  told->alive = count_alive(reader);
  kin_engine_tell(reader->machine.engine, &told->message);
  if (closed) release_children(reader);
}

static void tell_ready(kin_reader *reader) {
  kin_ready_message *told = new_message(reader, KIN_MESSAGE_READY, sizeof *told);
  if (!told) {
    stop_for_memory(reader, reader->shards);
    return;
  }
  told->start = reader->start;
  kin_engine_tell(reader->machine.engine, &told->message);
}

static void take_iterator(kin_reader *reader, kin_shard *shard) {
  /* LATEST is this moment only: a later iterator would miss what came in between */
  if (shard->from.kind == KIN_FROM_LATEST) {
    shard->from.kind = KIN_FROM_TIMESTAMP;
    shard->from.timestamp = reader->start;
  }
  shard->state = KIN_SHARD_READING;
  set_due(reader, shard, 0);
  if (!shard->initial) return;
  shard->initial = false;
  if (--reader->initial == 0) tell_ready(reader);
}

static bool reached_tip(const kin_reader *reader, const kin_page *page) {
  if (!reader->stop_at_tip) return false;
  if (page->millis_behind <= 0) return true;
  return page->record_count > 0 &&
         page->records[page->record_count - 1].arrival_timestamp > reader->start + 1;
}

/* The page's bytes leave the shard, for Lua or for nobody. */
static bool hand_over(kin_reader *reader, kin_shard *shard) {
  size_t bytes = shard->page.body.room + shard->page.record_count * sizeof(kin_record);
  kin_page_message *told = NULL;
  if (shard->page.record_count > 0) told = new_message(reader, KIN_MESSAGE_PAGE, sizeof *told);
  if (!told) {
    bool empty = shard->page.record_count == 0;
    kin_page_free(&shard->page);
    kin_window_give(reader->window, shard->reserved);
    shard->reserved = 0;
    return empty;
  }
  told->message.free = free_page;
  memcpy(told->shard_id, shard->id, sizeof told->shard_id);
  told->page = shard->page;
  shard->page = (kin_page){0};
  kin_window_resize(reader->window, shard->reserved, bytes);
  shard->reserved = 0;
  told->bytes = bytes;
  told->window = kin_window_hold(reader->window);
  kin_engine_tell(reader->machine.engine, &told->message);
  return true;
}

static void take_page(kin_reader *reader, kin_shard *shard) {
  bool tip = reached_tip(reader, &shard->page);
  bool names_children = shard->page.has_children;
  kin_time due = kin_shard_advance(shard, reader->poll_interval);
  bool closed = shard->iterator[0] == '\0';
  bool added = !closed || !reader->follow || add_children(reader, &shard->page);
  if (!hand_over(reader, shard) || !added) {
    stop_for_memory(reader, shard);
    return;
  }
  if (closed || tip)
    end_shard(reader, shard, closed, names_children);
  else
    set_due(reader, shard, due);
}

static void take_failure(kin_reader *reader, kin_shard *shard, const kin_failure *failure) {
  if (shard->reserved > 0) {
    kin_window_give(reader->window, shard->reserved);
    shard->reserved = 0;
  }
  kin_page_free(&shard->page);
  if (strcmp(failure->code, "ExpiredIteratorException") == 0 && shard->state != KIN_SHARD_LOOKING) {
    shard->state = KIN_SHARD_LOOKING;
    set_due(reader, shard, 0);
    return;
  }
  shard->failures++;
  bool fatal =
      failure->class == KIN_FATAL || (!reader->answered && shard->failures >= reader->max_attempts);
  tell_trouble(reader, shard, failure, fatal);
  if (fatal) return;
  kin_clock *clock = kin_engine_clock(reader->machine.engine);
  kin_time rest = kin_retry_backoff(clock, failure->class, shard->failures - 1);
  set_due(reader, shard, kin_time_after(monotonic(reader), rest));
}

static void take_answer(kin_reader *reader, kin_call *call) {
  kin_shard *shard = call->context;
  shard->flying = false;
  if (reader->stopped) return;
  if (call->failure.class != KIN_FINE) {
    take_failure(reader, shard, &call->failure);
    return;
  }
  reader->answered = true;
  shard->failures = 0;
  if (shard->state == KIN_SHARD_LOOKING && shard->iterator[0] != '\0')
    take_iterator(reader, shard);
  else if (shard->state == KIN_SHARD_LOOKING)
    end_shard(reader, shard, true, false); /* no iterator: nothing is left to read */
  else
    take_page(reader, shard);
}

/* ---- the machine ---- */

static void start_shard(kin_reader *reader, kin_start_shard *start) {
  if (reader->stopped || find(reader, kin_slice_of(start->shard->id))) return;
  if (kin_reader_add(reader, start->shard))
    start->shard = NULL;
  else
    stop_for_memory(reader, start->shard);
  release_children(reader);
}

static void feed_starved(kin_reader *reader) {
  for (kin_shard *shard = reader->shards; shard; shard = shard->next) {
    if (shard->state != KIN_SHARD_STARVED) continue;
    shard->state = KIN_SHARD_READING;
    set_due(reader, shard, 0);
  }
}

static void receive(kin_machine *machine, kin_message *message) {
  kin_reader *reader = (kin_reader *)machine;
  if (message->kind == KIN_MESSAGE_ANSWER)
    take_answer(reader, (kin_call *)message);
  else if (message->kind == KIN_MESSAGE_RESUME)
    feed_starved(reader);
  else if (message->kind == KIN_MESSAGE_START_SHARD)
    start_shard(reader, (kin_start_shard *)message);
  kin_message_free(message);
}

static void ask(kin_reader *reader, kin_shard *shard, kin_time now) {
  if (shard->flying) return;
  if (shard->state == KIN_SHARD_READING) {
    if (!kin_window_take(reader->window, shard->reserve)) {
      shard->state = KIN_SHARD_STARVED;
      return;
    }
    shard->reserved = shard->reserve;
    shard->asked = now;
  }
  kin_call *call = kin_shard_call(shard, kin_slice_of(reader->stream));
  if (!call) {
    stop_for_memory(reader, shard);
    return;
  }
  call->machine = reader->machine.id;
  shard->flying = true;
  kin_engine_send(reader->machine.engine, call);
}

static void begin(kin_reader *reader) {
  /* the service tells its time in whole seconds */
  reader->start = (double)kin_engine_wall(reader->machine.engine) / (double)KIN_SECOND - 1;
  release_children(reader);
  for (kin_shard *shard = reader->shards; shard; shard = shard->next) {
    shard->initial = shard->state == KIN_SHARD_LOOKING;
    reader->initial += shard->initial;
  }
  if (reader->initial == 0) tell_ready(reader);
}

static kin_time step(kin_machine *machine, kin_time now) {
  kin_reader *reader = (kin_reader *)machine;
  kin_timer *timer;
  if (reader->start == 0) begin(reader);
  while (!reader->stopped && (timer = kin_timers_pop(&reader->timers, now)))
    ask(reader, KIN_OWNER(timer, kin_shard, timer), now);
  return reader->stopped ? KIN_NEVER : kin_timers_next(&reader->timers);
}

void kin_reader_free(kin_reader *reader) {
  while (reader->shards) {
    kin_shard *shard = reader->shards;
    reader->shards = shard->next;
    kin_shard_free(shard);
  }
  kin_timers_free(&reader->timers);
  kin_window_release(reader->window);
  free(reader->stream);
  free(reader);
}

static void destroy(kin_machine *machine) {
  kin_reader_free((kin_reader *)machine);
}

static void free_machine(kin_message *message) {
  kin_reader_free((kin_reader *)message);
}

kin_reader *kin_reader_create(kin_engine *engine, uint64_t id, const kin_reader_options *options) {
  static const kin_machine_does does = {receive, step, destroy};
  kin_reader *reader = calloc(1, sizeof *reader);
  if (!reader) return NULL;
  reader->machine.message = (kin_message){.kind = KIN_MESSAGE_MACHINE, .free = free_machine};
  reader->machine.does = &does;
  reader->machine.id = id;
  reader->poll_interval = options->poll_interval;
  reader->stop_at_tip = options->stop_at_tip;
  reader->follow = options->follow;
  reader->max_attempts = kin_engine_max_attempts(engine);
  reader->stream = kin_slice_dup(options->stream);
  reader->window = kin_window_create(engine, id, options->window_bytes);
  if (!reader->stream || !reader->window) {
    kin_reader_free(reader);
    return NULL;
  }
  return reader;
}

bool kin_reader_start(kin_engine *engine, kin_reader *reader) {
  return kin_engine_post(engine, &reader->machine.message);
}
