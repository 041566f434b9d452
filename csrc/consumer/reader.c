/* The states of a shard. Every change goes through set_state.
 *
 *   WAITING ---- its parents are done -----------------> STARTING
 *   STARTING --- the source has a position ------------> READING
 *   STARTING --- nothing is left to read --------------> DONE
 *   READING ---- the window is full -------------------> BLOCKED
 *   READING ---- the source has lost its position -----> STARTING
 *   READING ---- its end, or the tip (stop_at_tip) ----> DONE
 *   BLOCKED ---- the window is at low water -----------> READING
 *
 * A shard is created in WAITING; in DONE when it was read to its end before (SHARD_END).
 * A shard in STARTING or READING has either its timer set or one call in flight; in the other
 * states it has neither. */
#include "consumer/reader.h"

#include <stdlib.h>

#include "engine/retry.h"

struct kin_reader {
  kin_machine machine; /* first */
  kin_window *window;  /* counted */
  char *stream;
  const kin_target *target;
  kin_time poll_interval;
  bool stop_at_tip, follow;
  unsigned max_attempts; /* until the first answer */
  bool answered;
  bool stopped; /* by a fatal error, which was posted */
  double start; /* seconds since 1970, by the service's clock, less its resolution; 0: not begun */
  size_t initial; /* first shards that have no position yet */
  kin_lineage lineage;
  kin_shard *blocked, **last_blocked;  /* in order of arrival */
  kin_timers timers;                   /* has capacity for every shard */
  kin_trouble_message *reserved_error; /* allocated at the start: posts that memory is out */
};

static kin_shard *shard_of(kin_lineage_node *node) {
  return KIN_OWNER(node, kin_shard, node);
}

static kin_time source_due(const kin_shard *shard) {
  return shard->source->vtable->due(shard->source);
}

static void post(kin_reader *reader, kin_message *message) {
  kin_engine_notify(reader->machine.engine, message);
}

/* `due`: when a shard in STARTING or READING makes its next call. */
static void set_state(kin_reader *reader, kin_shard *shard, kin_shard_state state, kin_time due) {
  shard->node.state = state;
  if (state == KIN_SHARD_STARTING || state == KIN_SHARD_READING) {
    kin_timers_set(&reader->timers, &shard->timer, due);
  } else if (state == KIN_SHARD_BLOCKED) {
    shard->next_blocked = NULL;
    *reader->last_blocked = shard;
    reader->last_blocked = &shard->next_blocked;
  }
}

/* ---- errors ---- */

static void post_error(kin_reader *reader, const char *shard_id, unsigned in_a_row,
                       const kin_error *error, bool fatal) {
  kin_trouble_message *message;
  if (fatal)
    reader->stopped = true;
  if (!kin_window_take_trouble(reader->window) && !fatal)
    return; /* Lua has not drained the earlier ones */
  if (fatal) {
    message = reader->reserved_error;
    reader->reserved_error = NULL;
  } else {
    message = kin_trouble_message_create(reader->machine.id);
  }
  if (!message) {
    kin_window_give_trouble(reader->window);
    return;
  }
  message->window = kin_window_hold(reader->window);
  kin_slice_copy(kin_slice_of(shard_id), message->shard_id, sizeof message->shard_id);
  message->error = *error;
  message->in_a_row = in_a_row;
  message->fatal = fatal;
  post(reader, &message->message);
}

static void stop_for_memory(kin_reader *reader, const char *shard_id) {
  kin_error error;
  kin_error_clear(&error);
  kin_error_set(&error, KIN_FATAL, KIN_CODE_OUT_OF_MEMORY, "out of memory while reading %s",
                shard_id);
  post_error(reader, shard_id, 1, &error, true);
}

/* ---- starts and ends of shards ---- */

static void post_ready(kin_reader *reader) {
  kin_ready_message *message = kin_ready_message_create(reader->machine.id, reader->start);
  if (message)
    post(reader, &message->message);
  else
    stop_for_memory(reader, "the first shards");
}

/* Starts the shards whose parents are done. */
static void release_children(kin_reader *reader) {
  kin_lineage_node *node = NULL;
  while ((node = kin_lineage_next_free(&reader->lineage, node)))
    set_state(reader, shard_of(node), KIN_SHARD_STARTING, 0);
}

/* Takes the shard. False, and nothing taken, when memory is out. */
static bool add(kin_reader *reader, kin_shard *shard) {
  if (!kin_timers_reserve(&reader->timers, reader->lineage.count + 1))
    return false;
  kin_lineage_add(&reader->lineage, &shard->node);
  return true;
}

bool kin_reader_add(kin_reader *reader, kin_shard *shard) {
  if (shard && add(reader, shard))
    return true;
  kin_shard_free(shard);
  return false;
}

/* False when memory is out. */
static bool add_children(kin_reader *reader, const kin_page *page) {
  static const kin_from beginning = {.kind = KIN_FROM_TRIM_HORIZON};
  for (size_t i = 0; i < page->child_count; i++) {
    const kin_child_shard *child = &page->children[i];
    if (kin_lineage_find(&reader->lineage, child->id) || child->id.len > KIN_SHARD_ID_MAX)
      continue;
    if (!kin_reader_add(reader, kin_shard_create(child->id, child->parents, &beginning)))
      return false;
  }
  return true;
}

/* A first shard has its position, or needs none any more. */
static void count_initial(kin_reader *reader, kin_shard *shard) {
  if (!shard->initial)
    return;
  shard->initial = false;
  if (--reader->initial == 0)
    post_ready(reader);
}

static void end_shard(kin_reader *reader, kin_shard *shard, bool closed, bool names_children) {
  kin_shard_end_message *message =
      kin_shard_end_message_create(reader->machine.id, KIN_MESSAGE_SHARD_END);
  if (!message) {
    stop_for_memory(reader, shard->node.id);
    return;
  }
  set_state(reader, shard, KIN_SHARD_DONE, KIN_NEVER);
  memcpy(message->shard_id, shard->node.id, sizeof message->shard_id);
  message->closed = closed;
  message->names_children = names_children || !reader->follow;
  message->alive = kin_lineage_alive(&reader->lineage);
  post(reader, &message->message);
  count_initial(reader, shard);
  if (closed)
    release_children(reader);
}

static void start_shard(kin_reader *reader, kin_start_shard_message *start) {
  kin_shard_end_message *message =
      kin_shard_end_message_create(reader->machine.id, KIN_MESSAGE_SHARD_STARTED);
  bool known = kin_lineage_find(&reader->lineage, kin_slice_of(start->shard->node.id)) != NULL;
  if (!message || (!known && !add(reader, start->shard))) {
    kin_message_free((kin_message *)message);
    stop_for_memory(reader, start->shard->node.id);
    return;
  }
  if (!known)
    start->shard = NULL;
  message->alive = kin_lineage_alive(&reader->lineage);
  post(reader, &message->message);
  release_children(reader);
}

/* ---- answers ---- */

static void take_position(kin_reader *reader, kin_shard *shard) {
  kin_from *from = &shard->source->from;
  /* LATEST means this moment: a second iterator of this kind would miss what came in between */
  if (from->kind == KIN_FROM_LATEST) {
    from->kind = KIN_FROM_TIMESTAMP;
    from->timestamp = reader->start;
  }
  set_state(reader, shard, KIN_SHARD_READING, source_due(shard));
  count_initial(reader, shard);
}

/* An empty page with nothing behind it is the tip. A page with records is not: the shard may be
 * closed, and the next answer its end. A shard that others wait for is read to its end anyway. */
static bool reached_tip(const kin_reader *reader, const kin_shard *shard) {
  const kin_page *page = &shard->source->page;
  if (!reader->stop_at_tip || kin_lineage_is_awaited(&reader->lineage, &shard->node))
    return false;
  if (page->record_count == 0)
    return page->millis_behind <= 0;
  return page->records[page->record_count - 1].arrival_timestamp > reader->start + 1;
}

static void give_reserved(kin_reader *reader, kin_shard *shard) {
  if (shard->reserved > 0)
    kin_window_give(reader->window, shard->reserved);
  shard->reserved = 0;
}

/* Posts the page, unless it is empty. False when memory is out. */
static bool post_page(kin_reader *reader, kin_shard *shard) {
  kin_page *page = &shard->source->page;
  bool empty = page->record_count == 0;
  size_t bytes = page->body.capacity + page->record_count * sizeof(kin_record);
  kin_page_message *message = empty ? NULL
                                    : kin_page_message_create(reader->machine.id, shard->node.id,
                                                              page, reader->window, bytes);
  if (!message) {
    kin_page_free(page);
    give_reserved(reader, shard);
    return empty;
  }
  message->delivered = shard->source->delivered;
  kin_window_resize(reader->window, shard->reserved, bytes);
  shard->reserved = 0;
  post(reader, &message->message);
  return true;
}

static void take_page(kin_reader *reader, kin_shard *shard) {
  kin_source *source = shard->source;
  shard->failures = 0;
  bool tip = reached_tip(reader, shard);
  bool names_children = source->page.has_children;
  kin_time due = source->vtable->advance(source, reader->poll_interval);
  bool added = !source->closed || !reader->follow || add_children(reader, &source->page);
  if (!post_page(reader, shard) || !added)
    stop_for_memory(reader, shard->node.id);
  else if (source->closed || tip)
    end_shard(reader, shard, source->closed, names_children);
  else
    set_state(reader, shard, KIN_SHARD_READING, due);
}

/* Until the first answer an error is fatal by its class, or after as many attempts as any call has.
 */
static bool is_fatal(const kin_reader *reader, const kin_shard *shard, const kin_error *error) {
  return error->class == KIN_FATAL ||
         (!reader->answered && shard->failures >= reader->max_attempts);
}

static void take_error(kin_reader *reader, kin_shard *shard, const kin_error *error) {
  shard->failures++;
  bool fatal = is_fatal(reader, shard, error);
  post_error(reader, shard->node.id, shard->failures, error, fatal);
  if (fatal)
    return;
  kin_clock *clock = kin_engine_clock(reader->machine.engine);
  kin_time pause = kin_retry_backoff(clock, error->class, shard->failures - 1);
  kin_time due = kin_time_after(clock->monotonic(clock), pause);
  kin_time earliest = source_due(shard);
  set_state(reader, shard, shard->node.state, due > earliest ? due : earliest);
}

static void take_answer(kin_reader *reader, kin_call *call) {
  kin_source *source = call->request.context;
  kin_shard *shard = source->shard;
  kin_source_event event = source->vtable->receive(source, call);
  if (reader->stopped)
    return;
  if (event == KIN_SOURCE_LOST || event == KIN_SOURCE_FAILED)
    give_reserved(reader, shard);
  else
    reader->answered = true;
  switch (event) {
  case KIN_SOURCE_POSITIONED:
    take_position(reader, shard);
    break;
  case KIN_SOURCE_PAGE:
    take_page(reader, shard);
    break;
  case KIN_SOURCE_END:
    end_shard(reader, shard, true, false);
    break;
  case KIN_SOURCE_LOST:
    set_state(reader, shard, KIN_SHARD_STARTING, source_due(shard));
    break;
  case KIN_SOURCE_FAILED:
    take_error(reader, shard, &call->request.error);
    break;
  }
}

/* Until the first answer, a reader waits for credentials no longer than any call. */
static bool park(kin_machine *machine, kin_request *request, const kin_error *error) {
  kin_reader *reader = (kin_reader *)machine;
  kin_shard *shard = ((kin_source *)request->context)->shard;
  if (!reader->answered)
    return false;
  post_error(reader, shard->node.id, ++shard->failures, error, false);
  return true;
}

/* ---- the machine ---- */

/* In order of arrival, so that each shard has its turn. */
static void unblock(kin_reader *reader) {
  while (reader->blocked) {
    kin_shard *shard = reader->blocked;
    size_t bytes = shard->source->vtable->needs(shard->source);
    if (!kin_window_take(reader->window, bytes))
      return;
    reader->blocked = shard->next_blocked;
    if (!reader->blocked)
      reader->last_blocked = &reader->blocked;
    shard->reserved = bytes;
    set_state(reader, shard, KIN_SHARD_READING, source_due(shard));
  }
}

static void receive(kin_machine *machine, kin_message *message) {
  kin_reader *reader = (kin_reader *)machine;
  kin_message_kind kind = message->kind;
  if (kind == KIN_MESSAGE_ANSWER)
    take_answer(reader, (kin_call *)message);
  else if (kind == KIN_MESSAGE_START_SHARD)
    start_shard(reader, (kin_start_shard_message *)message);
  kin_message_free(message);
  if (kind == KIN_MESSAGE_RESUME) /* after it is freed the window can post it again */
    unblock(reader);
}

/* False when the window is full. */
static bool reserve(kin_reader *reader, kin_shard *shard) {
  size_t bytes = shard->source->vtable->needs(shard->source);
  if (bytes == 0 || shard->reserved > 0)
    return true;
  if (reader->blocked || !kin_window_take(reader->window, bytes))
    return false;
  shard->reserved = bytes;
  return true;
}

static void start_call(kin_reader *reader, kin_shard *shard) {
  if (!reserve(reader, shard)) {
    set_state(reader, shard, KIN_SHARD_BLOCKED, KIN_NEVER);
    return;
  }
  kin_call *call = shard->source->vtable->start(shard->source, kin_slice_of(reader->stream),
                                                kin_slice_of(shard->node.id));
  if (!call) {
    stop_for_memory(reader, shard->node.id);
    return;
  }
  call->request.machine = reader->machine.id;
  call->target = reader->target;
  kin_engine_send(reader->machine.engine, &call->request);
}

static void begin(kin_reader *reader) {
  /* the service's Date header has whole seconds */
  reader->start = (double)kin_engine_wall(reader->machine.engine) / (double)KIN_SECOND - 1;
  release_children(reader);
  for (kin_lineage_node *node = reader->lineage.nodes; node; node = node->next) {
    kin_shard *shard = shard_of(node);
    /* a shard behind a parent is read from its beginning: LATEST is a position of the parent */
    if (node->state == KIN_SHARD_WAITING && shard->source->from.kind == KIN_FROM_LATEST)
      shard->source->from.kind = KIN_FROM_TRIM_HORIZON;
    shard->initial = node->state == KIN_SHARD_STARTING;
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
    start_call(reader, KIN_OWNER(timer, kin_shard, timer));
  return reader->stopped ? KIN_NEVER : kin_timers_next(&reader->timers);
}

void kin_reader_free(kin_reader *reader) {
  kin_lineage_node *node;
  while ((node = kin_lineage_take(&reader->lineage)))
    kin_shard_free(shard_of(node));
  kin_timers_free(&reader->timers);
  kin_window_release(reader->window);
  free(reader->stream);
  kin_message_free((kin_message *)reader->reserved_error);
  free(reader);
}

static void refuse(kin_machine *machine) {
  stop_for_memory((kin_reader *)machine, "the stream");
}

static void destroy(kin_machine *machine) {
  kin_reader_free((kin_reader *)machine);
}

kin_reader *kin_reader_create(kin_engine *engine, uint64_t id, const kin_reader_options *options) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy, park};
  kin_reader *reader = calloc(1, sizeof *reader);
  if (!reader)
    return NULL;
  kin_machine_init(&reader->machine, &vtable, id);
  reader->last_blocked = &reader->blocked;
  reader->poll_interval = options->stop_at_tip ? 0 : options->poll_interval;
  reader->stop_at_tip = options->stop_at_tip;
  reader->follow = options->follow;
  reader->max_attempts = kin_engine_max_attempts(engine);
  reader->target = options->target;
  reader->stream = kin_slice_dup(options->stream);
  reader->window = kin_window_create(engine, id, options->window_bytes);
  reader->reserved_error = kin_trouble_message_create(id);
  if (!reader->stream || !reader->window || !reader->reserved_error) {
    kin_reader_free(reader);
    return NULL;
  }
  return reader;
}

bool kin_reader_start(kin_engine *engine, kin_reader *reader) {
  return kin_engine_post(engine, &reader->machine.message);
}
