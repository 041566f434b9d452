/* poller: a source that reads a shard by GetShardIterator and GetRecords.
 * Limits: 5 calls a second and 2 MB a second a shard.
 * https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
 * Engine thread, but for creation. */
#ifndef KIN_CONSUMER_POLLER_H
#define KIN_CONSUMER_POLLER_H

#include "consumer/source.h"

/* NULL when memory is out. */
kin_source *kin_poller_create(const kin_from *from);

#endif
