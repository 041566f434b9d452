/* Requests in flight whose responses wait for space. They keep their connections: a response that
 * is asked for twice would cost the service, and the quota of its shard, twice. */
#include "engine/internal.h"

/* How many connections are kept for requests that never wait. */
static int kept_free(const kin_engine *engine) {
  return (engine->fixed.max_connections + 3) / 4;
}

kin_space kin_engine_pause(kin_engine *engine, kin_request *request) {
  if (engine->engine_only.paused >= engine->fixed.max_connections - kept_free(engine))
    return KIN_SPACE_NONE;
  engine->engine_only.paused++;
  request->paused = true;
  return KIN_SPACE_LATER;
}

void kin_engine_resume(kin_engine *engine, kin_request *request) {
  engine->engine_only.paused -= request->paused;
  request->paused = false;
  engine->engine_only.transport->resume(engine->engine_only.transport, &request->exchange);
}
