/* Space for the answers of calls for pages. What a call has reserved is an estimate: a shard that
 * was quiet may answer with 10 MiB. An answer that is larger asks the window for the rest when its
 * first bytes come. Where that does not fit, the call is paused; but one of them, the one that
 * `exceeds`, never waits for others in flight, so that one always ends: it may exceed the window
 * when all that it does not hold itself is within. So the window is exceeded by one page at most.
 *
 * What is held by calls besides that one is within the window. So when all calls are paused, pages
 * that Lua has not read exceed it, and Lua's reading resumes the first call. */
#include "consumer/internal.h"

static bool give_space(kin_reader *reader, kin_shard *shard, size_t bytes) {
  bool exceeds = reader->exceeds == NULL;
  if (reader->exceeds == shard)
    kin_window_resize(reader->window, shard->reserved, bytes);
  else if (!kin_window_grow(reader->window, shard->reserved, bytes, &exceeds))
    return false;
  else if (exceeds)
    reader->exceeds = shard;
  shard->reserved = shard->call->request.exchange.granted = bytes;
  return true;
}

static kin_space grow(kin_exchange *exchange, size_t bytes) {
  kin_request *request = KIN_OWNER(exchange, kin_request, exchange);
  kin_shard *shard = ((kin_source *)request->context)->shard;
  kin_reader *reader = shard->reader;
  if (request->paused)
    return KIN_SPACE_LATER;
  bool first = !reader->stalled || reader->exceeds == shard;
  if (first && give_space(reader, shard, bytes))
    return KIN_SPACE_GIVEN;
  kin_space space = kin_engine_pause(reader->machine.engine, request);
  if (space == KIN_SPACE_LATER) {
    shard->next_stalled = NULL;
    *reader->last_stalled = shard;
    reader->last_stalled = &shard->next_stalled;
  }
  return space;
}

void kin_space_begin(kin_shard *shard, kin_call *call) {
  shard->call = call;
  call->request.exchange.grow = grow;
  call->request.exchange.granted = shard->reserved;
}

static void unlink_stalled(kin_reader *reader, const kin_shard *shard) {
  kin_shard **link = &reader->stalled;
  while (*link && *link != shard)
    link = &(*link)->next_stalled;
  if (!*link)
    return;
  *link = shard->next_stalled;
  if (!*link)
    reader->last_stalled = link;
}

bool kin_space_resume(kin_reader *reader) {
  kin_shard *shard;
  while ((shard = reader->stalled)) {
    if (!give_space(reader, shard, shard->call->request.exchange.wanted))
      return false;
    unlink_stalled(reader, shard);
    kin_engine_resume(reader->machine.engine, &shard->call->request);
  }
  return true;
}

void kin_space_end(kin_reader *reader, const kin_call *call) {
  if (call->request.context == &reader->listing)
    return;
  kin_shard *shard = ((kin_source *)call->request.context)->shard;
  shard->call = NULL;
  if (reader->exceeds == shard)
    reader->exceeds = NULL;
  unlink_stalled(reader, shard);
}
