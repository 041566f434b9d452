/* internal: what the modules of the reader share: reader (calls, pages, the window), tip (how near
 * the end a page is), until (where a shard ends by time), questions (what the list of shards
 * decides) and reports (the messages to Lua). Engine thread, but for the creation of a reader. */
#ifndef KIN_CONSUMER_INTERNAL_H
#define KIN_CONSUMER_INTERNAL_H

#include "consumer/commands.h"
#include "consumer/listing.h"
#include "consumer/reader.h"

/* Expected errors are reported from the third in a row. */
enum { KIN_REPORT_FROM = 3 };

struct kin_reader {
  kin_machine machine;         /* first */
  kin_window *window;          /* counted */
  kin_progress *progress;      /* counted */
  kin_reader_metrics *metrics; /* counted */
  char *stream;
  const kin_target *target;
  kin_time poll_interval;
  bool stop_at_tip, follow, report_starts;
  double until;      /* seconds since 1970; 0: none */
  bool until_listed; /* a list that began after `until` has come: it says which shards ended before
                      */
  unsigned page_limit;
  unsigned max_attempts;        /* until the first answer */
  int in_flight, max_in_flight; /* calls; more would only wait in the engine */
  bool answered;
  bool stopped; /* by a fatal error, which was posted, or because all is read */
  bool paused;  /* as a whole: it makes no call */
  double start; /* seconds since 1970, by the service's clock, less its resolution; 0: not begun */
  size_t initial;     /* first shards, and those moved to LATEST, that have no position yet */
  double latest_at;   /* seconds since 1970: what LATEST stands for, of those of them */
  bool awaits_latest; /* there are any */
  unsigned commands;  /* number of the last command */
  kin_lineage lineage;
  kin_listing listing;
  kin_shard *questions;                /* linked by next_question */
  size_t paces[KIN_PACE_AT_TIP + 1];   /* how many shards have each */
  size_t states[KIN_SHARD_DONE + 1];   /* how many shards are in each */
  kin_shard *blocked, **last_blocked;  /* in order of arrival */
  kin_shard *stalled, **last_stalled;  /* in order of arrival; see space.c */
  kin_shard *exceeds;                  /* its page in flight may exceed the window; NULL: none */
  kin_timers timers;                   /* has capacity for every shard and the listing */
  kin_trouble_message *reserved_error; /* allocated at the start: posts that memory is out */
  kin_message *reserved_end;           /* posts that all is read */
};

/* ---- reader ---- */

static inline kin_time kin_reader_now(kin_reader *reader) {
  return kin_engine_now(reader->machine.engine);
}

/* Before then the service's limits forbid the shard's next call. */
static inline kin_time kin_reader_due(const kin_shard *shard) {
  return shard->source->vtable->due(shard->source);
}

/* Takes the shard. False, and the shard freed, when it is NULL or memory is out. */
bool kin_reader_add_shard(kin_reader *reader, kin_shard *shard, const kin_slice parents[2]);

/* Sends a call; the reader receives its answer. */
void kin_reader_send(kin_reader *reader, kin_call *call);

/* A moment before now by the service's clock, whose Date header has whole seconds; since 1970. */
double kin_reader_moment(kin_reader *reader);

/* `due`: when a shard in STARTING or READING makes its next call. */
void kin_reader_set_state(kin_reader *reader, kin_shard *shard, kin_shard_state state,
                          kin_time due);

/* Starts a shard that may be read, unless it is paused. */
void kin_reader_start_shard(kin_reader *reader, kin_shard *shard);

/* Starts a shard again, from its source's `from`. */
void kin_reader_restart(kin_reader *reader, kin_shard *shard, kin_time due);

/* Starts the shards whose parents are done. */
void kin_reader_release(kin_reader *reader);

/* One of the first shards has its position, or needs none any more. */
void kin_reader_count_initial(kin_reader *reader, kin_shard *shard);

/* Gives back what is reserved for the next page of the shard. */
void kin_reader_give_reserved(kin_reader *reader, kin_shard *shard);

/* Nothing is left to read, nor to be asked: posts that. */
void kin_reader_note_all_read(kin_reader *reader);

/* Ends a shard: it was read to its end (`closed`) or to the tip, or the service has it no more. */
void kin_reader_end_shard(kin_reader *reader, kin_shard *shard, bool closed, bool trimmed);

/* The same: what is left of it arrived after `until`. */
void kin_reader_end_by_time(kin_reader *reader, kin_shard *shard);

void kin_reader_set_pace(kin_reader *reader, kin_shard *shard, kin_pace pace);

/* Shows Lua whether the reader is behind, failing or idle. */
void kin_reader_note_progress(kin_reader *reader);

/* An error is fatal by its class; until the first answer also after as many attempts as any call
 * has. */
bool kin_reader_is_fatal(const kin_reader *reader, unsigned failures, const kin_error *error);

/* ---- space ---- */

/* Before a call for a page is sent, for which bytes are reserved. */
void kin_space_begin(kin_shard *shard, kin_call *call);

/* Resumes stalled calls, in order of arrival. False: some are still stalled. */
bool kin_space_resume(kin_reader *reader);

/* A call of the reader is answered, or has failed. */
void kin_space_end(kin_reader *reader, const kin_call *call);

/* ---- flow ---- */

/* Does what the command says, and returns it to Lua; takes it. */
void kin_flow_take_command(kin_reader *reader, kin_command_message *command);

/* The answer of a call that was in flight when its shard was moved. */
void kin_flow_discard(kin_reader *reader, kin_shard *shard, kin_call *call);

/* Whether nothing can be read, nor asked, before a shard is resumed. */
bool kin_flow_is_stuck(kin_reader *reader);

/* ---- tip ---- */

/* Before the page is taken away. */
void kin_tip_note_page(kin_reader *reader, kin_shard *shard);

/* An empty page with nothing behind it is the tip. A page with records is not, unless the next one
 * says the same: the shard may be closed, and the next answer its end. A shard that others wait for
 * is read to its end. */
bool kin_tip_is_reached(const kin_reader *reader, const kin_shard *shard);

/* Whether the shard has ended, on a service that gives iterators of closed shards for ever: it is
 * closed, and has no more records. */
bool kin_tip_is_silent_end(kin_reader *reader, const kin_shard *shard);

/* Whether the service has probably not cut the page off, by the page limit neither. */
bool kin_tip_is_small(const kin_shard *shard);

/* ---- until ---- */

typedef enum {
  KIN_UNTIL_READ_ON,
  KIN_UNTIL_CUT,  /* the rest of the shard arrived later: it is cut off the page */
  KIN_UNTIL_PAST, /* records that are not read yet arrived later, unless the shard has ended */
} kin_until;

/* After kin_tip_note_page, before the page is taken away. */
kin_until kin_until_note_page(kin_reader *reader, kin_shard *shard);

/* The pause before the next call for a shard at its tip: none is needed once the time to read to
 * has passed. */
kin_time kin_until_pause(kin_reader *reader);

/* Whether a parent was not read to its end: all records of the child are newer. */
bool kin_until_lies_beyond(const kin_lineage_node *node);

/* ---- questions ---- */

/* Lets the next list that begins after this moment decide. */
void kin_questions_ask(kin_reader *reader, kin_shard *shard, kin_question question);

/* The question about a shard has become void. */
void kin_questions_drop(kin_shard *shard);

/* Shards that wait for each other in a circle do not. */
void kin_questions_break_circles(kin_reader *reader);

/* The service does not know a shard. True, and the shard has ended: an old position names it, and
 * neither the first list nor a later one. So many of them need one list. */
bool kin_questions_is_trimmed(kin_reader *reader, kin_shard *shard);

/* What the first list and the position leave open. */
void kin_questions_begin(kin_reader *reader);

/* Adds the children that the page of a shard names. False when memory is out. */
bool kin_questions_add_children(kin_reader *reader, const kin_shard *parent);

/* The listing's timer is due; its call is answered. */
void kin_questions_list(kin_reader *reader);
void kin_questions_take_list(kin_reader *reader, kin_call *call);

/* The list fails for now: what waits for it fails, too. */
void kin_questions_note_failing(kin_reader *reader);

/* Whether an open question keeps the reader from its end. */
bool kin_questions_keep_open(kin_reader *reader);

/* ---- reports ---- */

void kin_reports_error(kin_reader *reader, const char *shard_id, unsigned in_a_row,
                       const kin_error *error, kin_trouble_level level);

/* The same with an error of our own: what ListShards says does not fit. */
void kin_reports_note(kin_reader *reader, const kin_shard *shard, kin_trouble_level level,
                      const char *code, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* The service refuses the position from which the shard is to be read: the error says so. */
void kin_reports_explain_position(const kin_shard *shard, kin_error *error);

void kin_reports_memory(kin_reader *reader, const char *shard_id);
void kin_reports_ready(kin_reader *reader);

/* After its progress shows it: who waits for a record looks there again. */
void kin_reports_paused(kin_reader *reader);

/* False when memory is out, which it has reported. */
bool kin_reports_shard(kin_reader *reader, kin_shard *shard, kin_message_kind kind, bool closed,
                       bool trimmed);

void kin_reports_all_read(kin_reader *reader);

#endif
