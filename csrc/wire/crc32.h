/* crc32: the checksum of gzip and of the header x-amz-crc32. Any thread; no state. */
#ifndef KIN_WIRE_CRC32_H
#define KIN_WIRE_CRC32_H

#include "base/bytes.h"

uint32_t kin_crc32(kin_slice bytes);

#endif
