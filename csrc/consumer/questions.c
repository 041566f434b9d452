/* What one sign has said about a shard is confirmed by a second one, the list of shards, asked for
 * after the first. A question without an answer is asked again, with rests that grow; after a
 * minute the reader reports it. */
#include "consumer/internal.h"
#include "engine/retry.h"

#define MINUTE (60 * KIN_SECOND)

static const kin_time rest_min = 250 * KIN_MILLISECOND;
static const kin_time rest_max = 10 * KIN_SECOND;

/* A list that does not name a shard's parents or children for so long is not late. */
static const kin_time list_is_late = 5 * KIN_SECOND;

/* A position may say that an open shard was read to its end, to leave the shard out. */
static const kin_time left_out_after = 2 * KIN_SECOND;

/* A shard that a position names, and that was not begun, is probably old. */
static const kin_time unbegun_trimmed_after = 5 * KIN_SECOND;

/* A shard that the list still calls open, but that has children and no records, is closed. */
enum { DOUBTS_MAX = 5 };

static bool names_no_child(const kin_shard *shard) {
  return shard->node.children == NULL;
}

/* ---- asking ---- */

static void want_list(kin_reader *reader, kin_time due) {
  kin_listing *listing = &reader->listing;
  bool set = listing->timer.position > 0;
  if (listing->over_at > 0 && due < listing->over_at + rest_min)
    due = listing->over_at + rest_min;
  if (listing->under_way || (set && (listing->timer.due <= due || listing->failures > 0)))
    return;
  kin_timers_set(&reader->timers, &listing->timer, due);
}

/* Records may lie behind the question. */
static bool waits_for_list(const kin_shard *shard) {
  kin_shard_state state = shard->node.state;
  return state == KIN_SHARD_WAITING || state == KIN_SHARD_DONE;
}

/* Nothing of it is read before the list is there. */
static bool needs_list(const kin_shard *shard) {
  return shard->node.state == KIN_SHARD_ASKING || waits_for_list(shard);
}

/* A list that is under way may have begun before the question: it does not count. */
void kin_questions_ask(kin_reader *reader, kin_shard *shard, kin_question question) {
  kin_time now = kin_reader_now(reader);
  if (!shard->asked) {
    shard->asked = true;
    shard->next_question = reader->questions;
    reader->questions = shard;
  }
  if (shard->question != question) {
    shard->asked_at = now;
    shard->reported = false;
  }
  shard->question = question;
  shard->list_needed = reader->listing.number + 1;
  if (waits_for_list(shard))
    kin_reader_set_pace(reader, shard, KIN_PACE_BEHIND);
  want_list(reader, now);
}

void kin_questions_drop(kin_shard *shard) {
  shard->question = KIN_QUESTION_NONE; /* the next list takes it out */
}

static kin_time age(kin_reader *reader, const kin_shard *shard) {
  return kin_reader_now(reader) - shard->asked_at;
}

/* Grows with the time since the first asking. */
static kin_time rest(kin_time since) {
  return since / 2 < rest_min ? rest_min : since / 2 > rest_max ? rest_max : since / 2;
}

static void report_once(kin_reader *reader, kin_shard *shard, const char *text) {
  if (!shard->reported && age(reader, shard) >= MINUTE) {
    shard->reported = true;
    kin_reports_note(reader, shard, KIN_TROUBLE_NOTED, KIN_CODE_BAD_ANSWER, "%s", text);
  }
}

/* ---- answers: each returns whether the question is answered ---- */

static bool answer_parents(kin_reader *reader, kin_shard *shard) {
  kin_lineage_node *node = &shard->node;
  bool named = shard->listed == reader->listing.number;
  if (!named && age(reader, shard) >= list_is_late) {
    kin_reports_note(reader, shard, KIN_TROUBLE_NOTED, KIN_CODE_BAD_ANSWER,
                     "the list of shards has not named this shard for 5 s; it is read without "
                     "waiting for parents");
    named = true;
  }
  if (named) { /* and the list is not late: it would name the parent, unless that was trimmed */
    kin_lineage_drop_unknown(&reader->lineage, node);
    kin_lineage_release(&reader->lineage, node);
  }
  return !node->held && !kin_lineage_has_unknown(node);
}

static void doubt(kin_reader *reader, kin_shard *shard) {
  shard->doubts++;
  shard->failures = shard->doubts;
  bool early = shard->doubts < KIN_REPORT_FROM; /* the list may be late */
  kin_reader_set_pace(reader, shard, early ? KIN_PACE_BEHIND : KIN_PACE_FAILING);
  kin_reports_note(reader, shard, early ? KIN_TROUBLE_QUIET : KIN_TROUBLE_RETRIED,
                   KIN_CODE_BAD_ANSWER,
                   "GetRecords gave no NextShardIterator, but ListShards does not say that the "
                   "shard is closed");
  kin_time tried = rest_min << (shard->doubts < 6 ? shard->doubts : 6);
  kin_reader_restart(reader, shard, kin_reader_now(reader) + rest(2 * tried));
}

static bool left_the_list(const kin_reader *reader, const kin_shard *shard) {
  return shard->listed > 0 && shard->listed != reader->listing.number;
}

/* A shard that the list calls closed may have been closed after the page: its next page without an
 * iterator is its end. */
static bool answer_end(kin_reader *reader, kin_shard *shard) {
  bool has_children = !names_no_child(shard) && shard->doubts >= DOUBTS_MAX;
  if (left_the_list(reader, shard) || has_children)
    kin_reader_end_shard(reader, shard, true, false);
  else if (shard->known.closed)
    kin_reader_restart(reader, shard, 0);
  else
    doubt(reader, shard);
  return true;
}

/* The list began after `until`: what it calls open had not ended before. */
static bool answer_until(kin_reader *reader, kin_shard *shard) {
  reader->until_listed = true;
  if (shard->known.closed || left_the_list(reader, shard))
    kin_reader_restart(reader, shard, 0);
  else
    kin_reader_end_by_time(reader, shard);
  return true;
}

/* The list names a shard that the service says it does not know. */
static void contradict(kin_reader *reader, kin_shard *shard) {
  kin_from_kind from = shard->source->from.kind;
  bool saved = from == KIN_FROM_AT || from == KIN_FROM_AFTER;
  bool final = ++shard->contradictions >= KIN_REPORT_FROM && saved;
  kin_trouble_level level = final ? KIN_TROUBLE_FATAL : KIN_TROUBLE_RETRIED;
  kin_reports_note(reader, shard, level, "ResourceNotFoundException",
                   "the service does not know the shard %s%s%s, but ListShards names it%s",
                   shard->node.id, saved ? " or its sequence number " : "",
                   saved ? shard->source->from.sequence_number : "",
                   saved ? "; the stream was probably deleted and made again under its name: "
                           "begin with from = \"trim_horizon\""
                         : "");
}

/* How long both the service and the list must not know a shard until it counts as trimmed: a new
 * one is known late. */
static kin_time trimmed_after(const kin_shard *shard) {
  if (shard->listed > 0 || shard->known.read || shard->node.begun)
    return 0; /* it was there before */
  return shard->known.unlisted ? unbegun_trimmed_after : MINUTE;
}

static void end_trimmed(kin_reader *reader, kin_shard *shard) {
  if (!shard->known.read) {
    kin_reader_metrics_note_trimmed(reader->metrics);
    kin_reports_note(reader, shard, KIN_TROUBLE_NOTED, KIN_CODE_TRIMMED,
                     "the shard is not listed any more: its records have expired, and those that "
                     "were not read are lost; the other shards are read on");
  }
  kin_reader_end_shard(reader, shard, true, true);
}

bool kin_questions_is_trimmed(kin_reader *reader, kin_shard *shard) {
  const kin_listing *listing = &reader->listing;
  bool old = shard->known.unlisted && (shard->known.read || shard->node.begun);
  bool listed_since = listing->number > 1 && !listing->under_way;
  if (!old || shard->listed > 0 || !listed_since)
    return false;
  end_trimmed(reader, shard);
  return true;
}

static bool answer_gone(kin_reader *reader, kin_shard *shard) {
  kin_time now = kin_reader_now(reader);
  bool named = shard->listed == reader->listing.number;
  if (!named && now - shard->gone_since >= trimmed_after(shard)) {
    end_trimmed(reader, shard);
    return true;
  }
  shard->failures++;
  bool doubtful = !named && shard->known.unlisted;
  kin_reader_set_pace(reader, shard, doubtful ? KIN_PACE_AT_TIP : KIN_PACE_FAILING);
  if (named)
    contradict(reader, shard);
  if (!reader->stopped)
    kin_reader_restart(reader, shard, now + rest(now - shard->gone_since));
  return true;
}

/* A position says that an open shard was read to its end, to leave the shard out. */
static bool is_left_out(const kin_shard *shard) {
  return shard->known.read && !shard->known.closed && !shard->known.unlisted;
}

static bool answer_children(kin_reader *reader, kin_shard *shard) {
  report_once(
      reader, shard,
      is_left_out(shard)
          ? "the position leaves this shard out as read to its end, but ListShards has called "
            "it open for a minute; the reader goes on looking for its children"
          : "this shard was read to its end, but ListShards has named no child of it for a "
            "minute; the reader goes on looking");
  return false;
}

/* The question has become needless. */
static bool is_needless(const kin_shard *shard, kin_question question) {
  if (question == KIN_QUESTION_NONE)
    return true;
  if (question == KIN_QUESTION_CHILDREN)
    return !names_no_child(shard);
  return question == KIN_QUESTION_PARENTS && !shard->node.held &&
         !kin_lineage_has_unknown(&shard->node);
}

static bool is_answered(kin_reader *reader, kin_shard *shard, kin_question question) {
  static bool (*const answers[])(kin_reader * reader, kin_shard * shard) = {
      [KIN_QUESTION_PARENTS] = answer_parents, [KIN_QUESTION_END] = answer_end,
      [KIN_QUESTION_GONE] = answer_gone,       [KIN_QUESTION_CHILDREN] = answer_children,
      [KIN_QUESTION_UNTIL] = answer_until,
  };
  bool listed = !reader->listing.under_way && reader->listing.number >= shard->list_needed;
  return is_needless(shard, question) || (listed && answers[question](reader, shard));
}

static void report_circle(void *context, kin_lineage_node *node, kin_lineage_node *parent) {
  kin_reports_note(context, kin_shard_of(node), KIN_TROUBLE_NOTED, KIN_CODE_BAD_ANSWER,
                   "the parents of this shard form a circle; it is read without waiting for %s",
                   parent->id);
}

void kin_questions_break_circles(kin_reader *reader) {
  kin_lineage_break_circles(&reader->lineage, report_circle, reader);
}

/* Answers what can be answered, and lets the rest be asked again. An answer may ask the next
 * question about its shard. */
static void answer_all(kin_reader *reader) {
  kin_shard *shard = reader->questions, *next;
  kin_time now = kin_reader_now(reader);
  kin_lineage_link(&reader->lineage);
  reader->questions = NULL;
  for (; shard && !reader->stopped; shard = next) {
    kin_question question = shard->question;
    next = shard->next_question;
    shard->question = KIN_QUESTION_NONE;
    shard->asked = false;
    if (question == KIN_QUESTION_NONE)
      continue;
    if (shard->pace == KIN_PACE_FAILING && needs_list(shard))
      kin_reader_set_pace(reader, shard, KIN_PACE_BEHIND); /* the list does not fail any more */
    bool answered = is_answered(reader, shard, question);
    bool over = shard->question == KIN_QUESTION_NONE && waits_for_list(shard);
    if (over && (answered || age(reader, shard) >= list_is_late))
      kin_reader_set_pace(reader, shard, KIN_PACE_NONE);
    if (answered)
      continue;
    shard->question = question;
    shard->asked = true;
    shard->next_question = reader->questions;
    reader->questions = shard;
    want_list(reader, now + rest(now - shard->asked_at));
  }
  kin_questions_break_circles(reader);
  kin_reader_release(reader);
  kin_reader_note_progress(reader);
}

bool kin_questions_keep_open(kin_reader *reader) {
  for (const kin_shard *shard = reader->questions; shard; shard = shard->next_question) {
    if (shard->question != KIN_QUESTION_NONE &&
        (!is_left_out(shard) || age(reader, shard) < left_out_after))
      return true;
  }
  return false;
}

/* ---- shards that are new to the reader ---- */

/* A shard is not read behind one that is read to the tip only. */
static bool lies_beyond(kin_reader *reader, const kin_slice parents[2]) {
  for (int i = 0; i < 2; i++) {
    kin_lineage_node *parent = kin_lineage_find(&reader->lineage, parents[i]);
    if (parent && parent->state == KIN_SHARD_DONE && !kin_shard_of(parent)->ended)
      return true;
  }
  return false;
}

/* The shard of this id, which is added when it is new; NULL when memory is out. */
static kin_shard *meet(kin_reader *reader, kin_slice id, const kin_slice parents[2]) {
  static const kin_from beginning = {.kind = KIN_FROM_TRIM_HORIZON};
  kin_lineage_node *node = kin_lineage_find(&reader->lineage, id);
  if (node) {
    kin_lineage_set_parents(&reader->lineage, node, parents);
    kin_lineage_release(&reader->lineage, node);
    return kin_shard_of(node);
  }
  bool reads = reader->follow && !lies_beyond(reader, parents);
  kin_shard *shard = kin_shard_create(id, reads ? &beginning : NULL);
  if (!kin_reader_add_shard(reader, shard, parents) ||
      (reads && !kin_reports_shard(reader, shard, KIN_MESSAGE_SHARD_ADDED, false, false)))
    return NULL;
  return shard;
}

bool kin_questions_add_children(kin_reader *reader, const kin_shard *parent) {
  const kin_page *page = &parent->source->page;
  for (size_t i = 0; i < page->child_count; i++) {
    const kin_child_shard *child = &page->children[i];
    kin_slice parents[2] = {child->parents[0], child->parents[1]};
    if (child->parent_count == 0)
      parents[0] = kin_slice_of(parent->node.id);
    kin_shard *shard = NULL;
    if (child->id.len <= KIN_SHARD_ID_MAX && !(shard = meet(reader, child->id, parents)))
      return false;
    if (shard && child->has_range)
      kin_shard_note_range(shard, &child->range);
  }
  kin_lineage_link(&reader->lineage);
  for (size_t i = 0; i < page->child_count; i++) {
    kin_lineage_node *node = kin_lineage_find(&reader->lineage, page->children[i].id);
    if (node && node->state == KIN_SHARD_WAITING && node->awaits > 0)
      kin_lineage_break_circle(&reader->lineage, node, report_circle, reader);
    if (node && kin_lineage_has_unknown(node) && !node->begun)
      kin_questions_ask(reader, kin_shard_of(node), KIN_QUESTION_PARENTS);
  }
  return true;
}

void kin_questions_begin(kin_reader *reader) {
  kin_lineage *lineage = &reader->lineage;
  kin_lineage_node *node;
  for (node = lineage->nodes; reader->follow && node; node = node->next)
    if (kin_shard_of(node)->known.unlisted && !kin_shard_of(node)->known.read && !node->begun)
      kin_lineage_hold(node);
  kin_lineage_link(lineage);
  for (node = lineage->nodes; node; node = node->next) {
    kin_shard *shard = kin_shard_of(node);
    if (!shard->known.unlisted) {
      shard->listed = reader->listing.number;
      kin_lineage_drop_unknown(lineage, node); /* trimmed: see answer_parents */
    } else if (node->held) {
      kin_reader_restart(reader, shard, 0); /* the service says whether there is such a shard */
    }
    if (reader->follow && node->state == KIN_SHARD_DONE && names_no_child(shard))
      kin_questions_ask(reader, shard, KIN_QUESTION_CHILDREN);
  }
  kin_questions_break_circles(reader);
}

/* ---- lists ---- */

static bool note_listed(void *context, const kin_listed_shard *listed) {
  kin_reader *reader = context;
  if (listed->id.len > KIN_SHARD_ID_MAX)
    return true;
  kin_shard *shard = meet(reader, listed->id, listed->parents);
  if (!shard)
    return false;
  reader->listing.fresh += shard->listed != reader->listing.number;
  shard->listed = reader->listing.number;
  shard->known.closed |= listed->closed;
  kin_shard_note_range(shard, &listed->range);
  return true;
}

static void start_call(kin_reader *reader) {
  kin_call *call = kin_listing_start(&reader->listing, kin_slice_of(reader->stream));
  if (!call) {
    kin_reports_memory(reader, "the list of shards");
    return;
  }
  kin_reader_send(reader, call);
}

void kin_questions_list(kin_reader *reader) {
  const kin_shard *shard = reader->questions;
  kin_lineage_link(&reader->lineage);
  while (shard && is_needless(shard, shard->question))
    shard = shard->next_question;
  if (shard)
    start_call(reader);
  else
    answer_all(reader);
}

/* Whether the service refuses only the list, and a shard is read that does not need it. */
static bool goes_on_without(kin_reader *reader, const kin_error *error) {
  if (error->class != KIN_FATAL || error->status == 0 || kin_error_is_about_credentials(error) ||
      strcmp(error->code, "ResourceNotFoundException") == 0)
    return false;
  const kin_lineage_node *node = reader->lineage.nodes;
  while (node && node->state != KIN_SHARD_STARTING && node->state != KIN_SHARD_READING &&
         node->state != KIN_SHARD_BLOCKED && node->state != KIN_SHARD_PAUSED)
    node = node->next;
  return node != NULL;
}

void kin_questions_note_failing(kin_reader *reader) {
  for (kin_shard *shard = reader->questions; shard; shard = shard->next_question)
    if (shard->pace == KIN_PACE_BEHIND && needs_list(shard))
      kin_reader_set_pace(reader, shard, KIN_PACE_FAILING);
}

static void take_failure(kin_reader *reader, const kin_error *error) {
  unsigned failures = reader->listing.failures;
  bool fatal = kin_reader_is_fatal(reader, failures, error) && !goes_on_without(reader, error);
  kin_reports_error(reader, "", failures, error, fatal ? KIN_TROUBLE_FATAL : KIN_TROUBLE_RETRIED);
  if (fatal)
    return;
  kin_clock *clock = kin_engine_clock(reader->machine.engine);
  kin_time pause = kin_retry_backoff(clock, error->class, failures - 1);
  kin_timers_set(&reader->timers, &reader->listing.timer,
                 kin_time_after(kin_reader_now(reader), pause < rest_min ? rest_min : pause));
  kin_questions_note_failing(reader);
  kin_reader_note_progress(reader);
}

void kin_questions_take_list(kin_reader *reader, kin_call *call) {
  switch (kin_listing_receive(&reader->listing, call, note_listed, reader)) {
  case KIN_LISTING_COMPLETE:
    reader->answered = true;
    reader->listing.over_at = kin_reader_now(reader);
    answer_all(reader);
    break;
  case KIN_LISTING_MORE:
    reader->answered = true;
    start_call(reader);
    break;
  case KIN_LISTING_FAILED:
    if (!reader->stopped)
      take_failure(reader, &call->request.error);
    break;
  }
}
