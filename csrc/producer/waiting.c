#include "producer/waiting.h"

void kin_waiting_set_rate_limit(kin_error *error, unsigned shards) {
  kin_error_clear(error); /* the code is the name of the option */
  kin_error_set(error, KIN_TRANSIENT, "rate_limit",
                "this producer may send no more now to %u shard%s of the stream, which %s 1,000 "
                "records and 1 MiB a second, times rate_limit",
                shards, shards == 1 ? "" : "s", shards == 1 ? "takes" : "take");
}

bool kin_waiting_reason(kin_queue *queue, kin_error *error) {
  const kin_metrics *metrics = kin_queue_metrics(queue);
  bool current = false;
  if (kin_causes_newest(kin_queue_causes(queue), error, &current) && current)
    return true;
  unsigned limited = atomic_load(&metrics->rate_limited);
  if (limited > 0)
    kin_waiting_set_rate_limit(error, limited);
  return limited > 0;
}
