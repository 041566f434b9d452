/* What commands of Lua do to shards. A call that is in flight is not cancelled: its answer is
 * discarded, and then its shard starts.
 *
 * A shard that is moved goes back to WAITING, and waits for those of its parents that are not done
 * then. Its children are not moved with it, but for one case: when Lua has not been handed the end
 * of a shard, none of the children that waited for that end has been handed over either. What is
 * fetched of those is dropped with their parent's pages, and they are read from their start again,
 * after it. */
#include "consumer/internal.h"

bool kin_flow_is_stuck(kin_reader *reader) {
  size_t resting = reader->states[KIN_SHARD_PAUSED] + reader->states[KIN_SHARD_WAITING];
  return reader->states[KIN_SHARD_PAUSED] > 0 && reader->lineage.alive == resting &&
         !kin_questions_keep_open(reader);
}

void kin_flow_discard(kin_reader *reader, kin_shard *shard, kin_call *call) {
  kin_source *source = shard->source;
  source->vtable->receive(source, call);
  kin_page_free(&source->page);
  source->vtable->restart(source);
  shard->discards = false;
  kin_reader_give_reserved(reader, shard);
  if (shard->node.state == KIN_SHARD_STARTING)
    kin_reader_restart(reader, shard, 0);
}

/* ---- single shards ---- */

/* The shard that is read, if there is one. */
static kin_shard *find(kin_reader *reader, const kin_shard_command *each) {
  kin_lineage_node *node = kin_lineage_find(&reader->lineage, kin_slice_of(each->shard_id));
  return node && kin_shard_of(node)->source ? kin_shard_of(node) : NULL;
}

/* Adds the children that were released by an end that Lua has not been handed, and not moved to
 * their ends. */
static bool add_released(kin_command_message *command, const kin_shard *shard) {
  for (const kin_parent_link *link = shard->node.children; link; link = link->next) {
    kin_shard *child = kin_shard_of(link->child);
    if (link->state != KIN_PARENT_READ || link->child->state == KIN_SHARD_WAITING ||
        !child->released || child->rewound || child->known.read)
      continue;
    if (!kin_command_add(command, kin_slice_of(link->child->id), KIN_COMMAND_REWIND))
      return false;
    child->rewound = true;
  }
  return true;
}

/* Before any shard is moved: the command may move children, too. False: memory is out. */
static bool add_all_released(kin_reader *reader, kin_command_message *command) {
  for (size_t i = 0; i < command->count; i++) {
    kin_shard_command each = command->shards[i];
    kin_shard *shard = find(reader, &each);
    if (shard && shard->node.state == KIN_SHARD_DONE && kin_command_moves(&each) && !each.ended &&
        !add_released(command, shard))
      return false;
  }
  return true;
}

/* Takes the shard out of what it does. */
static void lift(kin_reader *reader, kin_shard *shard, kin_shard_state state) {
  kin_shard_state before = shard->node.state;
  if (before == KIN_SHARD_ASKING || before == KIN_SHARD_DONE)
    kin_questions_drop(shard);
  if (before == KIN_SHARD_DONE)
    kin_lineage_revive(&reader->lineage, &shard->node);
  kin_timers_set(&reader->timers, &shard->timer, KIN_NEVER);
  if (!shard->calling)
    kin_reader_give_reserved(reader, shard);
  shard->discards = shard->calling;
  shard->failures = shard->doubts = shard->contradictions = 0;
  shard->zero_pages = shard->near_pages = shard->past_pages = 0;
  shard->gone_since = 0;
  shard->ended = shard->by_time = false;
  kin_reader_set_state(reader, shard, state, KIN_NEVER);
}

/* From now on it is read from there. LATEST is the moment of the seek. */
static void move(kin_reader *reader, kin_shard *shard, const kin_shard_command *each) {
  kin_from *from = &shard->source->from;
  if (each->kind == KIN_COMMAND_REWIND && shard->moved) { /* the command has said where to */
    shard->started = false;
    return;
  }
  *from = each->kind == KIN_COMMAND_REWIND ? shard->released_from : each->from;
  if (from->kind == KIN_FROM_LATEST && each->kind == KIN_COMMAND_SEEK) {
    shard->latest_at = kin_reader_moment(reader);
  } else if (from->kind == KIN_FROM_LATEST) {
    from->kind = KIN_FROM_TIMESTAMP;
    from->timestamp = shard->latest_at;
  }
  shard->known.read = each->to_end || (from->kind == KIN_FROM_LATEST && shard->known.closed);
  shard->released &= shard->node.state == KIN_SHARD_PAUSED; /* it does not go back to WAITING */
  shard->released_from = *from;
  /* its start is posted again if Lua has not handled the last one, or has handled its end */
  shard->started &= !(each->kind == KIN_COMMAND_REWIND || each->ended);
  shard->source->vtable->restart(shard->source);
  shard->positioned = false;
  if (each->kind == KIN_COMMAND_PAUSE)
    kin_reader_row_pause(shard->row);
  else
    kin_reader_row_move(shard->row, kin_reader_now(reader));
}

static void add_moved(kin_shard **moved, kin_shard *shard) {
  if (shard->moved)
    return;
  shard->moved = true;
  shard->next_moved = *moved;
  *moved = shard;
}

static void apply(kin_reader *reader, const kin_shard_command *each, kin_shard **moved) {
  kin_shard *shard = find(reader, each);
  if (!shard)
    return;
  if (each->kind == KIN_COMMAND_PAUSE || each->kind == KIN_COMMAND_RESUME)
    shard->paused = each->kind == KIN_COMMAND_PAUSE;
  if (each->kind == KIN_COMMAND_RESUME && shard->node.state == KIN_SHARD_PAUSED)
    kin_reader_start_shard(reader, shard);
  if (!kin_command_moves(each))
    return;
  bool pauses = each->kind == KIN_COMMAND_PAUSE && shard->node.state != KIN_SHARD_WAITING;
  lift(reader, shard, pauses ? KIN_SHARD_PAUSED : KIN_SHARD_WAITING);
  move(reader, shard, each);
  add_moved(moved, shard);
}

/* ---- all that were moved ---- */

/* The children of the moved shards that do not wait for them have begun. */
static void pass_begun(kin_shard *shard) {
  for (kin_parent_link *link = shard->node.children; link; link = link->next)
    if (link->state == KIN_PARENT_READ)
      link->state = KIN_PARENT_PASSED;
}

/* LATEST means this moment: of a shard that takes no iterator now, its time. */
static void fix_latest(kin_reader *reader, kin_shard *shard) {
  kin_from *from = &shard->source->from;
  bool starts = shard->node.state == KIN_SHARD_STARTING && !reader->paused;
  if (from->kind == KIN_FROM_LATEST && shard->node.state == KIN_SHARD_WAITING) {
    from->kind = KIN_FROM_TRIM_HORIZON; /* LATEST is a position of the parent */
  } else if (from->kind == KIN_FROM_LATEST && !starts) {
    from->kind = KIN_FROM_TIMESTAMP;
    from->timestamp = shard->latest_at;
  } else if (from->kind == KIN_FROM_LATEST) {
    reader->initial += !shard->initial;
    shard->initial = true;
  }
  if (!starts)
    kin_reader_count_initial(reader, shard);
}

/* Lets the moved shards go on. */
static void go_on(kin_reader *reader, kin_shard *moved) {
  kin_shard *shard;
  for (shard = moved; shard; shard = shard->next_moved)
    if (shard->node.state == KIN_SHARD_WAITING)
      kin_lineage_wait(&reader->lineage, &shard->node);
  for (shard = moved; shard; shard = shard->next_moved)
    pass_begun(shard);
  kin_questions_break_circles(reader);
  for (shard = moved; shard && !reader->stopped; shard = shard->next_moved)
    if (shard->known.read)
      kin_reader_end_shard(reader, shard, true, false);
  kin_reader_release(reader);
  for (shard = moved; shard; shard = shard->next_moved) {
    shard->moved = shard->rewound = false;
    fix_latest(reader, shard);
  }
}

/* ---- commands ---- */

static void resume_everything(kin_reader *reader) {
  for (kin_lineage_node *node = reader->lineage.nodes; node; node = node->next) {
    kin_shard *shard = kin_shard_of(node);
    shard->paused = false;
    if (node->state == KIN_SHARD_PAUSED)
      kin_reader_start_shard(reader, shard);
  }
}

/* Shards that have not taken their iterators of LATEST do not before the reader is resumed. */
static void fix_all_latest(kin_reader *reader) {
  for (kin_lineage_node *node = reader->lineage.nodes; node; node = node->next)
    if (kin_shard_of(node)->initial)
      fix_latest(reader, kin_shard_of(node));
}

/* The end of the reader was posted, and Lua had not handled it when it sent the command. */
static void reopen(kin_reader *reader, kin_command_message *command) {
  if (reader->reserved_end || command->count == 0)
    return;
  command->reopened = true;
  reader->reserved_end = command->spare_end;
  command->spare_end = NULL;
  reader->stopped = false;
}

static bool seeks_latest(const kin_command_message *command) {
  size_t i = 0;
  while (i < command->count && !(command->shards[i].kind == KIN_COMMAND_SEEK &&
                                 command->shards[i].from.kind == KIN_FROM_LATEST))
    i++;
  return i < command->count;
}

/* What the reader's progress shows is not from before the command when Lua has it. */
static void post_applied(kin_reader *reader, kin_command_message *command) {
  kin_progress_set(reader->progress, KIN_PROGRESS_BEHIND, kin_reader_now(reader));
  command->message.kind = KIN_MESSAGE_APPLIED;
  kin_engine_notify(reader->machine.engine, &command->message);
}

void kin_flow_take_command(kin_reader *reader, kin_command_message *command) {
  kin_shard *moved = NULL;
  bool latest = seeks_latest(command), unready = reader->initial > 0 || latest;
  reader->initial++; /* it is not ready before the command has returned */
  reader->commands = command->number;
  reopen(reader, command);
  if (latest && !reader->awaits_latest)
    reader->latest_at = kin_reader_moment(reader);
  reader->awaits_latest |= latest;
  if (command->whole != KIN_WHOLE_KEEP)
    reader->paused = command->whole == KIN_WHOLE_PAUSE;
  if (reader->paused && reader->awaits_latest)
    fix_all_latest(reader);
  if (command->everything)
    resume_everything(reader);
  if (!add_all_released(reader, command))
    kin_reports_memory(reader, command->shards[0].shard_id);
  for (size_t i = 0; i < command->count && !reader->stopped; i++)
    apply(reader, &command->shards[i], &moved);
  post_applied(reader, command);
  go_on(reader, moved);
  reader->initial--;
  if (reader->initial == 0 && unready && !reader->stopped)
    kin_reports_ready(reader);
  kin_reader_note_all_read(reader);
}
