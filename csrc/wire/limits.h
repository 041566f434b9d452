/* limits: the limits of the service's API, in bytes unless said otherwise; one thing, one place.
 * https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html */
#ifndef KIN_WIRE_LIMITS_H
#define KIN_WIRE_LIMITS_H

enum {
  KIN_PUT_RECORDS_MAX = 500,      /* records of a call */
  KIN_PUT_BYTES_MAX = 10 << 20,   /* data and partition keys of a call */
  KIN_RECORD_DATA_MAX = 10 << 20, /* a stream may allow less */
  KIN_PARTITION_KEY_MAX = 256,    /* Unicode characters */
  KIN_EXPLICIT_HASH_KEY_MAX = 39, /* decimal digits */
  KIN_SEQUENCE_NUMBER_MAX = 129,  /* decimal digits */
  KIN_STREAM_NAME_MAX = 128,
  KIN_STREAM_ARN_MAX = 2048,
  KIN_SHARD_ID_MAX = 128,
  KIN_ITERATOR_MAX = 1024,
  KIN_PAGE_RECORDS_MAX = 10000, /* records of a response of GetRecords */
};

#endif
