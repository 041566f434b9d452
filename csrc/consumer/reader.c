/* Calls and their answers, pages, and the window. The states of the shards: states.c; what has to
 * be asked about shards: questions.c; commands: flow.c. */
#include "consumer/internal.h"

#include <stdlib.h>

#include "engine/retry.h"

/* The list of shards decides what becomes of it. */
static void ask(kin_reader *reader, kin_shard *shard, kin_question question) {
  kin_reader_set_state(reader, shard, KIN_SHARD_ASKING, KIN_NEVER);
  if (question == KIN_QUESTION_END)
    kin_reader_set_pace(reader, shard, KIN_PACE_BEHIND); /* there may be more */
  kin_questions_ask(reader, shard, question);
}

/* ---- answers ---- */

static void wait_for_parents(kin_reader *reader, kin_shard *shard) {
  kin_reader_set_state(reader, shard, KIN_SHARD_WAITING, KIN_NEVER);
  if (shard->node.held || kin_lineage_has_unknown(&shard->node))
    kin_questions_ask(reader, shard, KIN_QUESTION_PARENTS);
}

/* The first page or position of a shard that is read now. False when memory is out. */
static bool note_start(kin_reader *reader, kin_shard *shard) {
  bool first = !shard->started;
  shard->started = true;
  return !first || !reader->report_starts ||
         kin_reports_shard(reader, shard, KIN_MESSAGE_SHARD_START, false, false);
}

void kin_reader_give_reserved(kin_reader *reader, kin_shard *shard) {
  if (shard->reserved > 0)
    kin_window_give(reader->window, shard->reserved);
  shard->reserved = 0;
}

static void take_position(kin_reader *reader, kin_shard *shard) {
  kin_from *from = &shard->source->from;
  /* LATEST means this moment: a second iterator of this kind would miss what came in between */
  if (from->kind == KIN_FROM_LATEST) {
    from->kind = KIN_FROM_TIMESTAMP;
    from->timestamp = shard->latest_at;
  }
  if (shard->positioned)
    kin_reader_row_count(shard->row, KIN_READER_RENEWALS);
  shard->positioned = true;
  bool reads = !shard->known.read && shard->node.awaits == 0;
  if (reads && !note_start(reader, shard))
    return;
  kin_reader_count_initial(reader, shard);
  if (!reads)
    kin_reader_give_reserved(reader, shard); /* else they are for the page that comes next */
  if (shard->known.read)
    kin_reader_end_shard(reader, shard, true, false);
  else if (!reads)
    wait_for_parents(reader, shard);
  else
    kin_reader_set_state(reader, shard, KIN_SHARD_READING, kin_reader_due(shard));
}

/* Posts the page, unless it is empty. False when memory is out. */
static bool post_page(kin_reader *reader, kin_shard *shard) {
  kin_page *page = &shard->source->page;
  bool empty = page->record_count == 0;
  kin_time at = shard->source->waited ? shard->source->asked_at : kin_reader_now(reader);
  kin_lag lag = {.millis = page->millis_behind, .at = at};
  size_t bytes = page->body.capacity + page->record_count * sizeof(kin_record);
  kin_page_message *message = empty ? NULL
                                    : kin_page_message_create(reader->machine.id, shard->node.id,
                                                              page, reader->window, bytes);
  if (empty)
    kin_reader_row_note_answer(shard->row, lag, false);
  if (!message) {
    kin_page_free(page);
    kin_reader_give_reserved(reader, shard);
    return empty;
  }
  message->delivered = shard->source->delivered;
  kin_page_message_enter(message, shard->row, lag);
  message->has_range = shard->known.has_range;
  message->range = shard->known.range;
  kin_window_resize(reader->window, shard->reserved, bytes);
  shard->reserved = 0;
  kin_engine_notify(reader->machine.engine, &message->message);
  return true;
}

/* Its pages say that what is left arrived after `until`. */
static void end_by_time(kin_reader *reader, kin_shard *shard) {
  if (reader->until_listed || !reader->follow)
    kin_reader_end_by_time(reader, shard);
  else
    ask(reader, shard, KIN_QUESTION_UNTIL);
}

/* The start is posted before the page, as are the children, whose names are parts of it; and that
 * before the end of the shard. */
static void take_page(kin_reader *reader, kin_shard *shard) {
  kin_source *source = shard->source;
  if (!note_start(reader, shard))
    return;
  shard->failures = 0;
  shard->gone_since = 0;
  shard->contradictions = 0;
  kin_tip_note_page(reader, shard);
  bool tip = kin_tip_is_reached(reader, shard);
  kin_until until = kin_until_note_page(reader, shard);
  bool names_children = source->page.child_count > 0;
  kin_time due = source->vtable->advance(source, kin_until_pause(reader));
  if (!source->at_end)
    shard->doubts = 0;
  bool follows = source->at_end && until != KIN_UNTIL_CUT && reader->follow;
  bool added = !follows || kin_questions_add_children(reader, shard);
  if (!post_page(reader, shard) || !added)
    kin_reports_memory(reader, shard->node.id);
  else if (until == KIN_UNTIL_CUT)
    kin_reader_end_by_time(reader, shard);
  else if (source->at_end && !names_children && !shard->known.closed)
    ask(reader, shard, KIN_QUESTION_END);
  else if (source->at_end || kin_tip_is_silent_end(reader, shard))
    kin_reader_end_shard(reader, shard, true, false);
  else if (tip)
    kin_reader_end_shard(reader, shard, false, false);
  else if (until == KIN_UNTIL_PAST)
    end_by_time(reader, shard);
  else
    kin_reader_set_state(reader, shard, KIN_SHARD_READING, due);
}

static void take_end(kin_reader *reader, kin_shard *shard) {
  if (shard->known.closed || shard->known.read)
    kin_reader_end_shard(reader, shard, true, false);
  else
    ask(reader, shard, KIN_QUESTION_END);
}

bool kin_reader_is_fatal(const kin_reader *reader, unsigned failures, const kin_error *error) {
  return error->class == KIN_FATAL || (!reader->answered && failures >= reader->max_attempts);
}

/* A service may reset a connection whose answer it cannot send, because it is paused. */
static void take_error(kin_reader *reader, kin_shard *shard, kin_request *request) {
  kin_error *error = &request->error;
  shard->failures++;
  bool quiet = request->exchange.waited && shard->failures < KIN_REPORT_FROM;
  bool fatal = kin_reader_is_fatal(reader, shard->failures, error);
  kin_reports_explain_position(shard, error);
  kin_reports_error(reader, shard->node.id, shard->failures, error,
                    fatal   ? KIN_TROUBLE_FATAL
                    : quiet ? KIN_TROUBLE_QUIET
                            : KIN_TROUBLE_RETRIED);
  if (fatal)
    return;
  kin_reader_set_pace(reader, shard, KIN_PACE_FAILING);
  kin_clock *clock = kin_engine_clock(reader->machine.engine);
  kin_time pause = kin_retry_backoff(clock, error->class, shard->failures - 1);
  kin_time due = kin_time_after(clock->monotonic(clock), pause);
  kin_time earliest = kin_reader_due(shard);
  kin_reader_set_state(reader, shard, shard->node.state, due > earliest ? due : earliest);
}

/* An iterator may expire while the reader is blocked; one that was new is an error. */
static void take_loss(kin_reader *reader, kin_shard *shard, const kin_error *error) {
  shard->failures++;
  kin_reports_error(reader, shard->node.id, shard->failures, error,
                    shard->failures < KIN_REPORT_FROM ? KIN_TROUBLE_QUIET : KIN_TROUBLE_RETRIED);
  kin_reader_set_pace(reader, shard, KIN_PACE_FAILING);
  kin_reader_restart(reader, shard, 0);
}

static void count_failure(kin_shard *shard, const kin_error *error) {
  kin_reader_row_count(shard->row,
                       error->class == KIN_THROTTLED ? KIN_READER_THROTTLED : KIN_READER_FAILURES);
}

static void take_answer(kin_reader *reader, kin_call *call) {
  kin_source *source = call->request.context;
  kin_shard *shard = source->shard;
  shard->calling = false;
  if (shard->discards) {
    kin_flow_discard(reader, shard, call);
    return;
  }
  kin_source_event event = source->vtable->receive(source, call);
  if (event == KIN_SOURCE_FAILED || event == KIN_SOURCE_GONE)
    count_failure(shard, &call->request.error);
  if (event != KIN_SOURCE_PAGE && event != KIN_SOURCE_POSITIONED)
    kin_reader_give_reserved(reader, shard);
  if (event != KIN_SOURCE_FAILED && event != KIN_SOURCE_GONE)
    reader->answered = true;
  switch (event) {
  case KIN_SOURCE_POSITIONED:
    take_position(reader, shard);
    break;
  case KIN_SOURCE_PAGE:
    take_page(reader, shard);
    break;
  case KIN_SOURCE_END:
    take_end(reader, shard);
    break;
  case KIN_SOURCE_LOST:
    take_loss(reader, shard, &call->request.error);
    break;
  case KIN_SOURCE_GONE:
    if (shard->gone_since == 0)
      shard->gone_since = kin_reader_now(reader);
    if (!kin_questions_is_trimmed(reader, shard))
      ask(reader, shard, KIN_QUESTION_GONE);
    break;
  case KIN_SOURCE_FAILED:
    take_error(reader, shard, &call->request);
    break;
  case KIN_SOURCE_FULL:
    kin_reader_set_state(reader, shard, KIN_SHARD_READING, kin_reader_due(shard));
    break;
  }
}

/* Until the first answer, a reader waits for credentials no longer than any call. */
static bool park(kin_machine *machine, kin_request *request, const kin_error *error) {
  kin_reader *reader = (kin_reader *)machine;
  if (!reader->answered)
    return false;
  if (request->context == &reader->listing) {
    kin_questions_note_failing(reader);
    kin_reports_error(reader, "", ++reader->listing.failures, error, KIN_TROUBLE_RETRIED);
  } else {
    kin_shard *shard = ((kin_source *)request->context)->shard;
    if (shard->discards && shard->node.state != KIN_SHARD_STARTING)
      return true; /* the shard does not wait for it */
    kin_reader_set_pace(reader, shard, KIN_PACE_FAILING);
    kin_reports_error(reader, shard->node.id, ++shard->failures, error, KIN_TROUBLE_RETRIED);
  }
  kin_reader_note_progress(reader);
  return true;
}

/* ---- the machine ---- */

/* False when the window is full. */
static bool take_space(kin_reader *reader, kin_shard *shard) {
  shard->source->fit_bytes = kin_window_fit(reader->window);
  size_t bytes = shard->source->vtable->needs(shard->source);
  if (bytes > 0 && !kin_window_take(reader->window, bytes))
    return false;
  shard->reserved = bytes;
  return true;
}

/* In order of arrival, so that each shard has its turn; calls that are stalled come first. */
static void unblock(kin_reader *reader) {
  while (kin_space_resume(reader) && reader->blocked) {
    kin_shard *shard = reader->blocked;
    if (!take_space(reader, shard))
      return;
    kin_reader_set_state(reader, shard, KIN_SHARD_READING, kin_reader_due(shard));
  }
}

void kin_reader_note_all_read(kin_reader *reader) {
  kin_reader_note_progress(reader);
  if (reader->lineage.alive == 0 && !reader->stopped && !kin_questions_keep_open(reader))
    kin_reports_all_read(reader);
}

double kin_reader_moment(kin_reader *reader) {
  return (double)kin_engine_wall(reader->machine.engine) / (double)KIN_SECOND - 1;
}

static void begin(kin_reader *reader) {
  reader->start = reader->latest_at = kin_reader_moment(reader);
  kin_questions_begin(reader);
  kin_reader_release(reader);
  for (kin_lineage_node *node = reader->lineage.nodes; node; node = node->next) {
    kin_shard *shard = kin_shard_of(node);
    /* a shard behind a parent is read from its beginning: LATEST is a position of the parent */
    if (node->state == KIN_SHARD_WAITING && shard->source->from.kind == KIN_FROM_LATEST)
      shard->source->from.kind = KIN_FROM_TRIM_HORIZON;
    shard->latest_at = reader->start;
    shard->initial = node->state == KIN_SHARD_STARTING;
    reader->awaits_latest |= shard->source && shard->source->from.kind == KIN_FROM_LATEST;
    reader->initial += shard->initial;
  }
  if (reader->initial == 0)
    kin_reports_ready(reader);
  kin_reader_note_all_read(reader);
}

static void receive(kin_machine *machine, kin_message *message) {
  kin_reader *reader = (kin_reader *)machine;
  kin_message_kind kind = message->kind;
  bool stalled = reader->stalled != NULL;
  reader->in_flight -= kind == KIN_MESSAGE_ANSWER;
  if (kind == KIN_MESSAGE_ANSWER)
    kin_space_end(reader, (kin_call *)message);
  if (reader->start == 0)
    begin(reader);
  if (kind == KIN_MESSAGE_COMMAND) {
    kin_flow_take_command(reader, (kin_command_message *)message);
    return;
  }
  if (kind == KIN_MESSAGE_ANSWER && !reader->stopped) {
    kin_call *call = (kin_call *)message;
    if (call->request.context == &reader->listing)
      kin_questions_take_list(reader, call);
    else
      take_answer(reader, call);
    kin_reader_note_all_read(reader);
  }
  kin_message_free(message);
  /* after it is freed the window can post KIN_MESSAGE_RESUME again */
  if ((kind == KIN_MESSAGE_RESUME || stalled) && !reader->stopped)
    unblock(reader);
}

/* False when the window is full. */
static bool reserve(kin_reader *reader, kin_shard *shard) {
  if (shard->source->vtable->needs(shard->source) == 0 || shard->reserved > 0)
    return true;
  return !reader->blocked && !reader->stalled && take_space(reader, shard);
}

void kin_reader_send(kin_reader *reader, kin_call *call) {
  call->request.machine = reader->machine.id;
  call->target = reader->target;
  reader->in_flight++;
  kin_engine_send(reader->machine.engine, &call->request);
}

static void start_call(kin_reader *reader, kin_shard *shard) {
  if (!reserve(reader, shard)) {
    kin_reader_set_state(reader, shard, KIN_SHARD_BLOCKED, KIN_NEVER);
    return;
  }
  kin_call *call =
      shard->source->vtable->start(shard->source, kin_reader_now(reader),
                                   kin_slice_of(reader->stream), kin_slice_of(shard->node.id));
  if (!call) {
    kin_reports_memory(reader, shard->node.id);
    return;
  }
  kin_reader_row_count(shard->row, KIN_READER_CALLS);
  if (shard->reserved > 0)
    kin_space_begin(shard, call);
  shard->calling = true;
  kin_reader_send(reader, call);
}

static bool may_call(const kin_reader *reader) {
  return !reader->stopped && !reader->paused && reader->in_flight < reader->max_in_flight;
}

static kin_time step(kin_machine *machine, kin_time now) {
  kin_reader *reader = (kin_reader *)machine;
  kin_timer *timer;
  if (reader->start == 0)
    begin(reader);
  while (may_call(reader) && (timer = kin_timers_pop(&reader->timers, now))) {
    if (timer == &reader->listing.timer)
      kin_questions_list(reader);
    else
      start_call(reader, KIN_OWNER(timer, kin_shard, timer));
  }
  return may_call(reader) ? kin_timers_next(&reader->timers) : KIN_NEVER;
}

void kin_reader_free(kin_reader *reader) {
  kin_lineage_node *node;
  while ((node = kin_lineage_take(&reader->lineage)))
    kin_shard_free(kin_shard_of(node));
  kin_lineage_free(&reader->lineage);
  kin_listing_free(&reader->listing);
  kin_timers_free(&reader->timers);
  kin_window_release(reader->window);
  kin_progress_release(reader->progress);
  kin_reader_metrics_release(reader->metrics);
  free(reader->stream);
  kin_message_free((kin_message *)reader->reserved_error);
  kin_message_free(reader->reserved_end);
  free(reader);
}

static void refuse(kin_machine *machine) {
  kin_reports_memory((kin_reader *)machine, "the stream");
}

static void destroy(kin_machine *machine) {
  kin_reader_free((kin_reader *)machine);
}

kin_reader *kin_reader_create(kin_engine *engine, uint64_t id, const kin_reader_options *options) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy, park, NULL};
  kin_reader *reader = calloc(1, sizeof *reader);
  if (!reader)
    return NULL;
  kin_machine_init(&reader->machine, &vtable, id);
  reader->last_blocked = &reader->blocked;
  reader->last_stalled = &reader->stalled;
  kin_lineage_init(&reader->lineage);
  kin_listing_init(&reader->listing);
  reader->poll_interval = options->stop_at_tip ? 0 : options->poll_interval;
  reader->stop_at_tip = options->stop_at_tip;
  reader->until = options->until;
  reader->follow = options->follow;
  reader->page_limit = options->page_limit;
  reader->report_starts = options->report_starts;
  reader->max_attempts = kin_engine_max_attempts(engine);
  reader->max_in_flight = kin_engine_max_connections(engine);
  reader->target = options->target;
  reader->stream = kin_slice_dup(options->stream);
  reader->window = kin_window_create(engine, id, options->window_bytes, options->window_pool);
  reader->progress = kin_progress_create();
  reader->metrics = kin_reader_metrics_create();
  reader->reserved_error = kin_trouble_message_create(id);
  reader->reserved_end = kin_message_plain(KIN_MESSAGE_ALL_READ, id);
  if (!reader->stream || !reader->window || !reader->progress || !reader->metrics ||
      !reader->reserved_error || !reader->reserved_end) {
    kin_reader_free(reader);
    return NULL;
  }
  return reader;
}

kin_progress *kin_reader_progress(kin_reader *reader) {
  return reader->progress;
}

kin_reader_metrics *kin_reader_metrics_of(kin_reader *reader) {
  return reader->metrics;
}

bool kin_reader_start(kin_engine *engine, kin_reader *reader) {
  return kin_engine_post(engine, &reader->machine.message);
}
