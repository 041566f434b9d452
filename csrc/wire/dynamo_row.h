/* dynamo_row: a lease's row as the item of a table that is shared with the Kinesis Client Library
 * (KCL), in its names and types, and back. Any thread; no state.
 *
 * A row is the JSON object of its fields, as in the other stores; an item is DynamoDB's JSON of
 * attributes (attribute.h). A field that dynamo_row.c does not list is an attribute of the same
 * name, and an attribute that it does not list is a field. What is not the same on both sides:
 *
 *   owner              leaseOwner, and heldBy, which the KCL leaves as it is: a row whose owner is
 *                      another one than heldBy has the field `kcl`, true, and neither wantedBy nor
 *                      ownedSince, which the KCL leaves, too; a change of the owner with `kcl`
 *                      gives the lease to the KCL
 *   wanted_by          wantedBy. While a leader of KCL 3 moves a lease, checkpointOwner is the
 *                      owner, and leaseOwner the worker that wants it
 *   sub                checkpointSubSequenceNumber: 0 beside a checkpoint that is no sequence
 *                      number; KIN_DYNAMO_WHOLE for all of an aggregate
 *   throughput         throughputKBps: bytes in thousands
 *   parents, children  keys of leases are shard ids in a set */
#ifndef KIN_WIRE_DYNAMO_ROW_H
#define KIN_WIRE_DYNAMO_ROW_H

#include "wire/attribute.h"

#define KIN_DYNAMO_KEY "leaseKey"
#define KIN_DYNAMO_OWNER "leaseOwner"
#define KIN_DYNAMO_CHECKPOINT_OWNER "checkpointOwner"
#define KIN_DYNAMO_COUNTER "leaseCounter"
#define KIN_DYNAMO_HELD_BY "heldBy"
#define KIN_DYNAMO_WANTED_BY "wantedBy"
#define KIN_DYNAMO_SINCE "ownedSince"
#define KIN_DYNAMO_STREAM "kinesisStream" /* the prefix of the row's stream; the KCL has none */
#define KIN_DYNAMO_SUB_NUMBER "checkpointSubSequenceNumber"

/* Behind all user records of an aggregate: none has so many. */
#define KIN_DYNAMO_WHOLE "2147483647"

/* ---- keys ---- */

/* One stream of a table. Its leases have the keys PREFIX + shard id here. In a table of one stream
 * the KCL's keys are shard ids; in one of several streams they are NAME:shard id. */
typedef struct kin_dynamo_stream {
  kin_slice prefix;
  kin_slice name; /* ACCOUNT:STREAM:CREATION; empty: it is the table's only stream */
} kin_dynamo_stream;

typedef struct kin_dynamo_table {
  kin_slice name;
  const kin_dynamo_stream *streams;
  size_t count;
  bool kcl3; /* that a leader of KCL 3 assigns the leases is no reason to refuse the table */
} kin_dynamo_table;

/* The stream of a key here, and its shard. NULL: it is of none of the table's. */
const kin_dynamo_stream *kin_dynamo_stream_of(const kin_dynamo_table *table, kin_slice key,
                                              kin_slice *shard);

/* ---- fields as attributes ---- */

typedef enum {
  KIN_DYNAMO_TEXT,   /* S */
  KIN_DYNAMO_NUMBER, /* N */
  KIN_DYNAMO_KILOS,  /* N, in thousands */
  KIN_DYNAMO_SHARDS, /* SS of shard ids, here keys of leases */
  KIN_DYNAMO_SUB,    /* N, of the checkpoint */
} kin_dynamo_kind;

/* A field whose attribute has another name or type. */
typedef struct kin_dynamo_field {
  const char *field, *attribute;
  kin_dynamo_kind kind;
  const char *first; /* JSON: in a new row, when it is not given, and when it is removed */
} kin_dynamo_field;

/* Reads the fields of a row, but for `sub` and `kcl`, which are noted as the checkpoint is. */
typedef struct kin_dynamo_field_reader {
  kin_json json;
  kin_slice name, value; /* the value as JSON */
  const kin_dynamo_field *known;
  kin_slice checkpoint, sub;
  bool kcl;
} kin_dynamo_field_reader;

/* False: it is no object. */
bool kin_dynamo_begin_fields(kin_dynamo_field_reader *reader, kin_slice row);
bool kin_dynamo_next_field(kin_dynamo_field_reader *reader);

/* The attribute's name of the field that was read. */
kin_slice kin_dynamo_attribute_of(const kin_dynamo_field_reader *reader);

/* Whether this value removes the field. */
bool kin_dynamo_is_removal(const kin_dynamo_field *known, kin_slice value);

/* Appends the field's value as an attribute's. False: it has none. */
bool kin_dynamo_add_value(kin_buf *out, const kin_dynamo_stream *stream,
                          const kin_dynamo_field *known, kin_slice value);

/* The number of `sub` beside this checkpoint. */
kin_slice kin_dynamo_sub(kin_slice checkpoint, kin_slice sub);

/* Appends the attributes of a new row, complete but for its key. False: it cannot be written. */
bool kin_dynamo_add_new_row(kin_buf *out, const kin_dynamo_stream *stream, kin_slice row);

/* ---- items as rows ---- */

/* Why a table cannot be used for these streams, by one of its items. */
typedef enum {
  KIN_DYNAMO_FITS,
  KIN_DYNAMO_OTHER_STREAM, /* of one stream, which is another one: the KCL's keys do not tell them
                            */
  KIN_DYNAMO_ONE_STREAM,   /* of one stream, where there are several, and their keys are others */
  KIN_DYNAMO_MANY_STREAMS, /* of several, where there is one */
  KIN_DYNAMO_KCL_3,        /* the leader of a KCL 3 assigns its leases */
} kin_dynamo_fit;

/* What has to be known of an item before its row is written. */
typedef struct kin_dynamo_view {
  const kin_dynamo_stream *stream; /* NULL: it is no lease of the table's streams */
  kin_slice shard;
  kin_slice checkpoint, owner, held_by; /* JSON */
  kin_slice next_owner; /* JSON; a leader of KCL 3 moves the lease from `owner` to this worker */
  bool kcl;             /* `owner` is a KCL, which leaves what a worker before it has written */
  bool has_sub;
  kin_dynamo_fit fit; /* then `stream` is NULL */
} kin_dynamo_view;

/* False: malformed. */
bool kin_dynamo_view_item(const kin_dynamo_table *table, kin_slice item, kin_dynamo_view *view);

/* Append the key of a lease, and its row. False: malformed. */
void kin_dynamo_add_key(kin_buf *out, const kin_dynamo_stream *stream, kin_slice shard);
bool kin_dynamo_add_row(const kin_dynamo_view *view, kin_slice item, kin_buf *out);

#endif
