#include "producer/tally.h"

void kin_fates_count(kin_fates *fates, const kin_user_record *record, kin_time now) {
  fates->counts[record->fate]++;
  if (record->fate != KIN_RECORD_STORED)
    return;
  kin_time took = now > record->accepted ? now - record->accepted : 0;
  unsigned place = 0;
  while (place < KIN_LATENCIES - 1 && took > (KIN_MILLISECOND << place))
    place++;
  fates->latencies[place]++;
  fates->latency_sum += (uint64_t)took;
  fates->stored_bytes += kin_user_record_bytes(record);
}

void kin_tally_add(kin_tally *tally, const kin_fates *fates) {
  kin_count(&tally->stored, fates->counts[KIN_RECORD_STORED]);
  kin_count(&tally->failed, fates->counts[KIN_RECORD_FAILED]);
  kin_count(&tally->expired, fates->counts[KIN_RECORD_EXPIRED]);
  kin_count(&tally->returned, fates->counts[KIN_RECORD_CLOSED]);
  kin_count(&tally->stored_bytes, fates->stored_bytes);
  kin_count(&tally->latency_sum, fates->latency_sum);
  for (int i = 0; i < KIN_LATENCIES; i++)
    if (fates->latencies[i] > 0)
      kin_count(&tally->latencies[i], fates->latencies[i]);
}
