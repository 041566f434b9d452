/* lane: the records that wait for one shard, and when they may go. Lanes with something to send are
 * in the queue of their producer (OPEN); those that have to wait for their limiter, for a rest, or
 * for what is under way, are out of it (BLOCKED), so that they hold up nobody. Engine thread. */
#ifndef KIN_PRODUCER_LANE_H
#define KIN_PRODUCER_LANE_H

#include "base/timers.h"
#include "producer/door.h"
#include "producer/limiter.h"

typedef struct kin_lane kin_lane;
struct kin_lane {
  kin_hash first, last;       /* what it holds */
  kin_shard_metrics *metrics; /* its id, and what is told of it; owned by the door */
  kin_record_list waiting;
  enum { KIN_LANE_EMPTY, KIN_LANE_OPEN, KIN_LANE_BLOCKED } state;
  bool due;  /* its oldest record has waited long enough */
  bool gone; /* its shard is not in the map any more: it lives until nothing of it is under way */
  bool kept; /* while the map is replaced: the new one has it, too */
  unsigned flying;   /* parcels under way */
  unsigned failures; /* in a row */
  kin_time rest_until;
  kin_limiter limiter;
  kin_timer timer;
  kin_lane *next, *before; /* in the queue; next also among those that are gone */
};

/* NULL when memory is out. */
kin_lane *kin_lane_create(kin_door *door, kin_slice shard_id);

/* The door may forget its shard; NULL: it is to remember it. */
void kin_lane_free(kin_lane *lane, kin_door *door);

/* The rules by which lanes of a producer wait. */
typedef struct kin_lanes {
  kin_time linger, ttl;  /* ttl: KIN_NEVER when records live for ever */
  bool ordered;          /* one parcel under way a lane */
  size_t ripe_bytes;     /* as many make a full parcel; 0: each record is one */
  uint64_t flush_serial; /* up to here nothing lingers */

  kin_lane *queue, *last; /* the open ones */
  size_t open_count;
  size_t records, bytes;      /* that wait in open lanes */
  size_t ripe, ripe_in_bytes; /* full parcels among them */
  bool due;                   /* one of the open ones is */
  kin_timers timers;          /* room for every lane */
} kin_lanes;

void kin_lanes_free(kin_lanes *lanes);

/* Records for this lane, in order of their serials; the list is empty afterwards. */
void kin_lanes_add(kin_lanes *lanes, kin_lane *lane, kin_record_list *records, kin_time now);

/* The first open lane leaves the queue, to be looked at; NULL: there is none. Its waiting records
 * may be taken; then it goes back by kin_lanes_return. */
kin_lane *kin_lanes_next(kin_lanes *lanes);
void kin_lanes_return(kin_lanes *lanes, kin_lane *lane, kin_time now);

/* Whether its oldest record may go now, though a batch is not full. */
bool kin_lanes_ready(const kin_lanes *lanes, const kin_lane *lane, kin_time now);

/* Something of this lane has landed, or its rest was changed. */
void kin_lanes_look_again(kin_lanes *lanes, kin_lane *lane, kin_time now);

/* Out of everything; its records are appended to `records`. */
void kin_lanes_take_out(kin_lanes *lanes, kin_lane *lane, kin_record_list *records);

/* A lane whose time has come, or NULL: it is open again, or due, or has records that expired, which
 * are put into `expired`. */
kin_lane *kin_lanes_wake(kin_lanes *lanes, kin_time now, kin_record_list *expired);

/* From now on the records up to `serial` do not linger. */
void kin_lanes_flush(kin_lanes *lanes, uint64_t serial);

#endif
