/* fuzz: helpers of the targets. A target defines LLVMFuzzerTestOneInput (libFuzzer,
 * https://llvm.org/docs/LibFuzzer.html) and checks invariants for any input. */
#ifndef KIN_FUZZ_H
#define KIN_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* assert, but never compiled away. */
#define MUST(what)                                                                                 \
  do {                                                                                             \
    if (!(what)) {                                                                                 \
      fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #what);                     \
      abort();                                                                                     \
    }                                                                                              \
  } while (0)

/* A copy of exactly that size on the heap, so that one byte too far is seen. */
static inline kin_buf fuzz_copy(const uint8_t *data, size_t size) {
  kin_buf buf;
  kin_buf_init(&buf, size + 1);
  buf.at = malloc(size ? size : 1);
  MUST(buf.at);
  memcpy(buf.at, data, size);
  buf.len = buf.capacity = size;
  return buf;
}

static inline void fuzz_inside(kin_slice slice, const kin_buf *buf) {
  if (slice.at)
    MUST(slice.at >= buf->at && slice.len <= (size_t)(buf->at + buf->len - slice.at));
}

#endif
