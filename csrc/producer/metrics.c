#include "producer/metrics.h"

void kin_outcome_counts_note(kin_outcome_counts *outcomes, const kin_user_record *record,
                             kin_time now) {
  outcomes->counts[record->outcome]++;
  if (record->outcome != KIN_RECORD_STORED)
    return;
  kin_time took = now > record->accepted ? now - record->accepted : 0;
  unsigned place = 0;
  while (place < KIN_LATENCIES - 1 && took > (KIN_MILLISECOND << place))
    place++;
  outcomes->latencies[place]++;
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
