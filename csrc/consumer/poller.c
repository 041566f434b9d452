#include "consumer/poller.h"

#include <stdlib.h>

enum { FIRST_RESERVE = 1 << 20, LEAST_RESERVE = 64 << 10, BYTES_A_SECOND = 2000000 };

static const kin_time between_calls = 200 * KIN_MILLISECOND;

kin_shard *kin_shard_create(kin_slice id, const kin_from *from) {
  kin_shard *shard = calloc(1, sizeof *shard);
  if (!shard)
    return NULL;
  kin_slice_copy(id, shard->id, sizeof shard->id);
  shard->state = KIN_SHARD_LOOKING;
  shard->from = *from;
  shard->reserve = FIRST_RESERVE;
  return shard;
}

void kin_shard_free(kin_shard *shard) {
  kin_page_free(&shard->page);
  free(shard);
}

static bool read_iterator(kin_call *call) {
  kin_shard *shard = call->request.context;
  kin_buf *answer = &call->request.exchange.answer;
  kin_slice iterator;
  if (!kin_get_shard_iterator_read(answer->at, answer->len, &iterator) ||
      iterator.len > KIN_ITERATOR_MAX)
    return false;
  kin_slice_copy(iterator, shard->iterator, sizeof shard->iterator);
  return true;
}

static bool read_page(kin_call *call) {
  kin_shard *shard = call->request.context;
  bool memory;
  return kin_get_records_read(&shard->page, &call->request.exchange.answer, &memory) &&
         shard->page.next_iterator.len <= KIN_ITERATOR_MAX;
}

kin_call *kin_shard_call(kin_shard *shard, kin_slice stream) {
  bool looking = shard->state == KIN_SHARD_LOOKING;
  kin_call *call = kin_call_create(looking ? "GetShardIterator" : "GetRecords", 1);
  if (!call)
    return NULL;
  call->request.context = shard;
  call->read = looking ? read_iterator : read_page;
  if (looking)
    kin_get_shard_iterator_build(&call->request.body, stream, kin_slice_of(shard->id),
                                 shard->from.kind, kin_slice_of(shard->from.sequence_number),
                                 shard->from.timestamp);
  else
    kin_get_records_build(&call->request.body, stream, kin_slice_of(shard->iterator));
  if (!call->request.body.failed)
    return call;
  kin_message_free(&call->request.message);
  return NULL;
}

kin_time kin_shard_earliest(const kin_shard *shard) {
  return shard->asked + between_calls;
}

kin_time kin_shard_advance(kin_shard *shard, kin_time at_tip) {
  const kin_page *page = &shard->page;
  kin_slice_copy(page->next_iterator, shard->iterator, sizeof shard->iterator);
  if (page->record_count > 0) {
    const kin_record *last = &page->records[page->record_count - 1];
    shard->from.kind = KIN_FROM_AFTER;
    kin_slice_copy(last->sequence_number, shard->from.sequence_number,
                   sizeof shard->from.sequence_number);
    shard->reserve = page->body.capacity + page->record_count * sizeof(kin_record);
  } else {
    shard->reserve /= 2; /* a quiet shard is not to hold up the others */
  }
  if (shard->reserve < LEAST_RESERVE)
    shard->reserve = LEAST_RESERVE;
  /* base64 made four bytes of three */
  kin_time pays_back = (kin_time)page->body.len * 3 / 4 * KIN_SECOND / BYTES_A_SECOND;
  kin_time rest = page->millis_behind > 0 || at_tip < between_calls ? between_calls : at_tip;
  return shard->asked + (rest > pays_back ? rest : pays_back);
}
