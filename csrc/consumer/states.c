/* The states of a shard. Every change goes through
 * kin_reader_set_state; why: reader.c, questions.c, until.c and, for commands of Lua, flow.c.
 *
 *   WAITING ---- its parents are done -----------------> STARTING
 *   STARTING --- the source has a position ------------> READING
 *   STARTING --- the same, but a parent is not done ---> WAITING
 *   READING ---- the window is full -------------------> BLOCKED
 *   READING ---- the source has lost its position -----> STARTING
 *   READING ---- its end, or the tip (stop_at_tip), or
 *                a record that arrived after `until` ---> DONE
 *   BLOCKED ---- the window is at low water -----------> READING
 *   WAITING ---- a parent was not read to its end -----> DONE
 *   STARTING, READING -- it seems to have ended, to be
 *                read past `until`, or to be unknown to
 *                the service --------------------------> ASKING
 *   ASKING ----- the list of shards confirms it -------> DONE
 *   ASKING ----- it does not --------------------------> STARTING
 *   any but WAITING and DONE ---- a command pauses it -> PAUSED
 *   WAITING ---- its parents are done, but it is paused > PAUSED
 *   PAUSED ----- a command resumes it -----------------> STARTING
 *   any -------- a command moves it -------------------> WAITING
 *
 * A shard is created in WAITING; in DONE when it was read to its end before (SHARD_END). One that
 * only a position names begins in STARTING, because the service may not have it any more, and then
 * waits until its parents are known.
 * A shard in READING whose position is too old after BLOCKED first calls for a new one.
 * A shard in STARTING or READING has either its timer set or one call in flight; in the other
 * states it has no timer, and a call only if that was in flight when a command came (`discards`).
 */
#include "consumer/internal.h"

/* ---- pace ---- */

void kin_reader_note_progress(kin_reader *reader) {
  bool failing = reader->paces[KIN_PACE_FAILING] > 0 || reader->listing.failures > 0;
  bool unready = reader->start == 0 || reader->states[KIN_SHARD_PAUSED] > 0;
  kin_progress_kind kind = reader->paused || kin_flow_is_stuck(reader)     ? KIN_PROGRESS_PAUSED
                           : unready || reader->paces[KIN_PACE_BEHIND] > 0 ? KIN_PROGRESS_BEHIND
                           : failing                                       ? KIN_PROGRESS_FAILING
                                                                           : KIN_PROGRESS_IDLE;
  if (kin_progress_set(reader->progress, kind, kin_reader_now(reader)) &&
      kind == KIN_PROGRESS_PAUSED && !reader->stopped)
    kin_reports_paused(reader);
}

void kin_reader_set_pace(kin_reader *reader, kin_shard *shard, kin_pace pace) {
  bool pending = pace != KIN_PACE_NONE || shard->node.state == KIN_SHARD_PAUSED;
  if (shard->row && pending != shard->pending)
    kin_reader_row_set_pending(shard->row, pending, kin_reader_now(reader));
  shard->pending = pending;
  reader->paces[shard->pace]--;
  reader->paces[pace]++;
  shard->pace = pace;
}

void kin_reader_set_state(kin_reader *reader, kin_shard *shard, kin_shard_state state,
                          kin_time due) {
  if (shard->node.state == KIN_SHARD_BLOCKED) {
    *shard->blocked_link = shard->next_blocked;
    *(shard->next_blocked ? &shard->next_blocked->blocked_link : &reader->last_blocked) =
        shard->blocked_link;
  }
  reader->states[shard->node.state]--;
  reader->states[state]++;
  shard->node.state = state;
  kin_reader_row_set_state(shard->row, state);
  if (state == KIN_SHARD_STARTING || state == KIN_SHARD_READING) {
    kin_timers_set(&reader->timers, &shard->timer, due);
    if (shard->pace == KIN_PACE_NONE)
      kin_reader_set_pace(reader, shard, KIN_PACE_BEHIND);
  } else if (state == KIN_SHARD_BLOCKED) {
    shard->next_blocked = NULL;
    shard->blocked_link = reader->last_blocked;
    *reader->last_blocked = shard;
    reader->last_blocked = &shard->next_blocked;
  } else if (state != KIN_SHARD_ASKING) {
    kin_reader_set_pace(reader, shard, KIN_PACE_NONE);
  }
}

/* ---- starts and ends of shards ---- */

void kin_reader_restart(kin_reader *reader, kin_shard *shard, kin_time due) {
  kin_time earliest = kin_reader_due(shard);
  kin_reader_set_state(reader, shard, KIN_SHARD_STARTING, due > earliest ? due : earliest);
}

void kin_reader_start_shard(kin_reader *reader, kin_shard *shard) {
  if (shard->paused)
    kin_reader_set_state(reader, shard, KIN_SHARD_PAUSED, KIN_NEVER);
  else /* after the answer that it discards */
    kin_reader_restart(reader, shard, shard->calling ? KIN_NEVER : 0);
}

/* False when memory is out. */
static bool finish(kin_reader *reader, kin_shard *shard, bool closed, bool trimmed) {
  kin_timers_set(&reader->timers, &shard->timer, KIN_NEVER); /* of one that was moved to its end */
  kin_reader_set_state(reader, shard, KIN_SHARD_DONE, KIN_NEVER);
  shard->ended = closed;
  kin_lineage_done(&reader->lineage, &shard->node);
  return kin_reports_shard(reader, shard, KIN_MESSAGE_SHARD_END, closed, trimmed);
}

static bool finish_by_time(kin_reader *reader, kin_shard *shard) {
  shard->by_time = true;
  return finish(reader, shard, false, false);
}

void kin_reader_release(kin_reader *reader) {
  kin_lineage_node *node;
  while ((node = kin_lineage_take_ready(&reader->lineage))) {
    kin_shard *shard = kin_shard_of(node);
    if (node->state != KIN_SHARD_WAITING) /* moved to its end, it has ended since it was offered */
      continue;
    shard->released = true;
    shard->released_from = shard->source->from;
    if (!kin_until_lies_beyond(node))
      kin_reader_start_shard(reader, shard);
    else if (!finish_by_time(reader, shard))
      return;
  }
}

/* False when memory is out. A shard that is not read needs no row. */
static bool add_row(kin_reader *reader, kin_shard *shard) {
  if (shard->source)
    shard->row = kin_reader_metrics_add(reader->metrics, shard->node.id, shard->node.state);
  return shard->row || !shard->source;
}

bool kin_reader_add_shard(kin_reader *reader, kin_shard *shard, const kin_slice parents[2]) {
  if (shard)
    shard->reader = reader;
  /* one timer more for the listing */
  if (shard && add_row(reader, shard) &&
      kin_timers_reserve(&reader->timers, reader->lineage.count + 2) &&
      kin_lineage_add(&reader->lineage, &shard->node, parents)) {
    reader->paces[shard->pace]++;
    reader->states[shard->node.state]++;
    if (shard->source)
      shard->source->page_limit = reader->page_limit;
    return true;
  }
  kin_shard_free(shard);
  return false;
}

bool kin_reader_add(kin_reader *reader, kin_shard *shard, const kin_slice parents[2]) {
  return kin_reader_add_shard(reader, shard, parents);
}

void kin_reader_count_initial(kin_reader *reader, kin_shard *shard) {
  if (!shard->initial)
    return;
  shard->initial = false;
  if (--reader->initial == 0)
    kin_reports_ready(reader);
}

void kin_reader_end_shard(kin_reader *reader, kin_shard *shard, bool closed, bool trimmed) {
  if (!finish(reader, shard, closed, trimmed))
    return;
  kin_reader_count_initial(reader, shard);
  if (closed && !trimmed && reader->follow && !shard->node.children)
    kin_questions_ask(reader, shard, KIN_QUESTION_CHILDREN);
  kin_reader_release(reader);
}

void kin_reader_end_by_time(kin_reader *reader, kin_shard *shard) {
  shard->by_time = true;
  kin_reader_end_shard(reader, shard, false, false);
}
