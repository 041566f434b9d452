/* dynamo_store: the leases of one application in a table of DynamoDB, which workers on other
 * machines and applications of the Kinesis Client Library share (wire/dynamo_row.h). Requests are
 * the machine's (one attempt each), through the engine, to a target of their own.
 *
 * An operation that the machine does not retry by itself has up to four attempts, by the SDKs'
 * rules for DynamoDB. A list asks for page after page. An UPDATE that is refused gives the row as
 * it is: where the refusal does not have it, GetItem is asked. An attempt has so little time that
 * a lease is still valid after several that hang. Engine thread, but for creation. */
#ifndef KIN_LEASE_DYNAMO_STORE_H
#define KIN_LEASE_DYNAMO_STORE_H

#include "engine/engine.h"
#include "lease/store.h"
#include "wire/dynamo.h"

typedef struct kin_dynamo_store_options {
  kin_engine *engine;
  uint64_t machine; /* id of the machine that owns the store */
  const kin_target *target;
  const kin_dynamo_table *table; /* copied */
  kin_time failover;             /* of the leases */
} kin_dynamo_store_options;

/* Lua thread. NULL: out of memory. */
kin_lease_store *kin_dynamo_store_create(const kin_dynamo_store_options *options);

#endif
