#include "producer/metrics.h"

#include <stdlib.h>

void kin_metrics_init(kin_metrics *metrics) {
  pthread_mutex_init(&metrics->lock, NULL);
}

void kin_metrics_destroy(kin_metrics *metrics) {
  while (metrics->shards)
    kin_metrics_remove_shard(metrics, metrics->shards);
  pthread_mutex_destroy(&metrics->lock);
}

kin_shard_metrics *kin_metrics_add_shard(kin_metrics *metrics, kin_slice shard_id) {
  kin_shard_metrics *shard = calloc(1, sizeof *shard);
  if (!shard)
    return NULL;
  kin_slice_copy(shard_id, shard->shard_id, sizeof shard->shard_id);
  atomic_init(&shard->share, 1000);
  pthread_mutex_lock(&metrics->lock);
  shard->next = metrics->shards;
  metrics->shards = shard;
  pthread_mutex_unlock(&metrics->lock);
  return shard;
}

void kin_metrics_remove_shard(kin_metrics *metrics, kin_shard_metrics *shard) {
  pthread_mutex_lock(&metrics->lock);
  kin_shard_metrics **link = &metrics->shards;
  while (*link != shard)
    link = &(*link)->next;
  *link = shard->next;
  pthread_mutex_unlock(&metrics->lock);
  free(shard);
}

kin_shard_metrics *kin_metrics_lock_shards(kin_metrics *metrics) {
  pthread_mutex_lock(&metrics->lock);
  return metrics->shards;
}

void kin_metrics_unlock_shards(kin_metrics *metrics) {
  pthread_mutex_unlock(&metrics->lock);
}

void kin_outcome_counts_note(kin_outcome_counts *outcomes, const kin_user_record *record,
                             kin_time now) {
  outcomes->counts[record->outcome]++;
  if (record->outcome != KIN_RECORD_STORED)
    return;
  kin_time took = now > record->accepted ? now - record->accepted : 0;
  unsigned bucket = 0;
  while (bucket < KIN_LATENCIES - 1 && took > (KIN_MILLISECOND << bucket))
    bucket++;
  outcomes->latencies[bucket]++;
  outcomes->latency_sum += (uint64_t)took;
  outcomes->stored_bytes += kin_user_record_bytes(record);
}

void kin_metrics_add(kin_metrics *metrics, const kin_outcome_counts *outcomes) {
  kin_count(&metrics->stored, outcomes->counts[KIN_RECORD_STORED]);
  kin_count(&metrics->failed, outcomes->counts[KIN_RECORD_FAILED]);
  kin_count(&metrics->expired, outcomes->counts[KIN_RECORD_EXPIRED]);
  kin_count(&metrics->returned, outcomes->counts[KIN_RECORD_CLOSED]);
  kin_count(&metrics->stored_bytes, outcomes->stored_bytes);
  kin_count(&metrics->latency_sum, outcomes->latency_sum);
  for (int i = 0; i < KIN_LATENCIES; i++)
    if (outcomes->latencies[i] > 0)
      kin_count(&metrics->latencies[i], outcomes->latencies[i]);
}
