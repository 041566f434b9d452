/* md5_lanes: the hash keys of several partition keys, computed side by side: MD5 is a chain of
 * steps that wait for each other, so that eight digests take little longer than one. A reader of
 * aggregates hashes every key that it meets. Any thread; no state.
 * https://www.rfc-editor.org/rfc/rfc1321 */
#ifndef KIN_WIRE_MD5_LANES_H
#define KIN_WIRE_MD5_LANES_H

#include "wire/hashkey.h"

enum {
  KIN_MD5_LANES = 8,
  KIN_MD5_LANE_MAX = 55, /* bytes of a key: more do not fit into one block */
};

/* An unused lane has an empty key. */
void kin_md5_lanes(const kin_slice keys[KIN_MD5_LANES], kin_hash hashes[KIN_MD5_LANES]);

#endif
