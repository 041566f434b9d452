#include "producer/lane.h"

#include <stdlib.h>

kin_lane *kin_lane_create(kin_door *door, kin_slice shard_id) {
  kin_lane *lane = calloc(1, sizeof *lane);
  if (!lane)
    return NULL;
  lane->metrics = kin_door_add_shard(door, shard_id);
  if (lane->metrics)
    return lane;
  free(lane);
  return NULL;
}

void kin_lane_free(kin_lane *lane, kin_door *door) {
  kin_record_list_free(&lane->waiting);
  if (door)
    kin_door_remove_shard(door, lane->metrics);
  free(lane);
}

void kin_lanes_free(kin_lanes *lanes) {
  kin_timers_free(&lanes->timers);
}

/* ---- the queue, and what waits in it ---- */

static bool is_ripe(const kin_lanes *lanes, const kin_lane *lane) {
  return lanes->ripe_bytes > 0 && lane->waiting.bytes >= lanes->ripe_bytes;
}

static void count(kin_lanes *lanes, const kin_lane *lane) {
  lanes->open_count++;
  lanes->records += lane->waiting.count;
  lanes->bytes += lane->waiting.bytes;
  if (is_ripe(lanes, lane)) {
    lanes->ripe++;
    lanes->ripe_in_bytes += lane->waiting.bytes;
  }
}

static void enter_queue(kin_lanes *lanes, kin_lane *lane) {
  lane->state = KIN_LANE_OPEN;
  lane->next = NULL;
  lane->before = lanes->last;
  *(lanes->last ? &lanes->last->next : &lanes->queue) = lane;
  lanes->last = lane;
  count(lanes, lane);
}

/* Its waiting records are those it had when it entered, or was counted last. */
static void uncount(kin_lanes *lanes, const kin_lane *lane) {
  lanes->open_count--;
  lanes->records -= lane->waiting.count;
  lanes->bytes -= lane->waiting.bytes;
  if (is_ripe(lanes, lane)) {
    lanes->ripe--;
    lanes->ripe_in_bytes -= lane->waiting.bytes;
  }
}

static void leave_queue(kin_lanes *lanes, kin_lane *lane) {
  *(lane->before ? &lane->before->next : &lanes->queue) = lane->next;
  *(lane->next ? &lane->next->before : &lanes->last) = lane->before;
  uncount(lanes, lane);
}

/* ---- when ---- */

static kin_time expiry(const kin_lanes *lanes, const kin_lane *lane) {
  const kin_user_record *oldest = lane->waiting.first;
  return oldest ? kin_time_after(oldest->accepted, lanes->ttl) : KIN_NEVER;
}

static kin_time linger_until(const kin_lanes *lanes, const kin_lane *lane) {
  const kin_user_record *oldest = lane->waiting.first;
  bool hurries = oldest->tries > 0 || oldest->serial <= lanes->flush_serial;
  return hurries ? 0 : oldest->accepted + lanes->linger;
}

/* When it may send again, whatever waits in it; KIN_NEVER: when something lands. */
static kin_time allowed(const kin_lanes *lanes, const kin_lane *lane, kin_time now) {
  if (lanes->ordered && lane->flying > 0)
    return KIN_NEVER;
  size_t parcels =
      lanes->ripe_bytes > 0 ? 1 + lane->waiting.bytes / lanes->ripe_bytes : lane->waiting.count;
  kin_time limit = kin_limiter_when(&lane->limiter, parcels, now);
  return limit > lane->rest_until ? limit : lane->rest_until;
}

static kin_time earlier(kin_time one, kin_time other) {
  return one < other ? one : other;
}

static void set_timer(kin_lanes *lanes, kin_lane *lane, kin_time due) {
  kin_timers_set(&lanes->timers, &lane->timer, earlier(due, expiry(lanes, lane)));
}

/* It is in no queue: puts it where it belongs. */
static void place(kin_lanes *lanes, kin_lane *lane, kin_time now) {
  if (lane->waiting.count == 0) {
    lane->state = KIN_LANE_EMPTY;
    lane->due = false;
    kin_timers_set(&lanes->timers, &lane->timer, KIN_NEVER);
    return;
  }
  kin_time from = allowed(lanes, lane, now);
  if (from > now) {
    lane->state = KIN_LANE_BLOCKED;
    set_timer(lanes, lane, from);
    return;
  }
  enter_queue(lanes, lane);
  kin_time due = linger_until(lanes, lane);
  lane->due = due <= now;
  lanes->due = lanes->due || lane->due;
  set_timer(lanes, lane, lane->due ? KIN_NEVER : due);
}

void kin_lanes_add(kin_lanes *lanes, kin_lane *lane, kin_record_list *records, kin_time now) {
  uint64_t oldest = lane->waiting.first ? lane->waiting.first->serial : UINT64_MAX;
  bool open = lane->state == KIN_LANE_OPEN;
  if (open && records->first->serial > oldest) { /* usually: it stays where it is, its timer too */
    uncount(lanes, lane);
    kin_record_list_merge(&lane->waiting, records);
    count(lanes, lane);
    return;
  }
  if (open)
    leave_queue(lanes, lane);
  kin_record_list_merge(&lane->waiting, records);
  place(lanes, lane, now);
}

kin_lane *kin_lanes_next(kin_lanes *lanes) {
  kin_lane *lane = lanes->queue;
  if (lane)
    leave_queue(lanes, lane);
  return lane;
}

void kin_lanes_return(kin_lanes *lanes, kin_lane *lane, kin_time now) {
  place(lanes, lane, now);
}

bool kin_lanes_ready(const kin_lanes *lanes, const kin_lane *lane, kin_time now) {
  const kin_user_record *oldest = lane->waiting.first;
  return lane->due || is_ripe(lanes, lane) || oldest->tries > 0 ||
         oldest->serial <= lanes->flush_serial || now - oldest->accepted >= lanes->linger / 2;
}

void kin_lanes_look_again(kin_lanes *lanes, kin_lane *lane, kin_time now) {
  if (lane->state == KIN_LANE_OPEN)
    leave_queue(lanes, lane);
  place(lanes, lane, now);
}

void kin_lanes_take_out(kin_lanes *lanes, kin_lane *lane, kin_record_list *records) {
  if (lane->state == KIN_LANE_OPEN)
    leave_queue(lanes, lane);
  lane->state = KIN_LANE_EMPTY;
  kin_timers_set(&lanes->timers, &lane->timer, KIN_NEVER);
  kin_record_list_append(records, &lane->waiting);
}

kin_lane *kin_lanes_wake(kin_lanes *lanes, kin_time now, kin_record_list *expired) {
  kin_timer *timer = kin_timers_pop(&lanes->timers, now);
  if (!timer)
    return NULL;
  kin_lane *lane = KIN_OWNER(timer, kin_lane, timer);
  if (lane->state == KIN_LANE_OPEN && expiry(lanes, lane) > now) { /* it stays where it is */
    lane->due = lanes->due = true;
    set_timer(lanes, lane, KIN_NEVER);
    return lane;
  }
  if (lane->state == KIN_LANE_OPEN)
    leave_queue(lanes, lane);
  while (lane->waiting.first && expiry(lanes, lane) <= now)
    kin_record_list_add(expired, kin_record_list_take(&lane->waiting));
  place(lanes, lane, now);
  return lane;
}

void kin_lanes_flush(kin_lanes *lanes, uint64_t serial) {
  lanes->flush_serial = serial;
  lanes->due = lanes->due || lanes->queue;
}
