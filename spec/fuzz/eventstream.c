/* Reads any bytes as an event stream: slices point into the bytes, frames are consecutive. */
#include "fuzz.h"
#include "wire/eventstream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kin_buf copy = fuzz_copy(data, size);
  kin_slice rest = {copy.at, copy.len};
  kin_frame frame;
  size_t used = 0;
  while (kin_eventstream_read(rest, 1 << 20, &frame, &used) == KIN_FRAME_WHOLE) {
    const kin_slice all[] = {frame.kind, frame.name, frame.message, frame.payload};
    MUST(used >= 16 && used <= rest.len);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
      fuzz_inside(all[i], &copy);
    rest = (kin_slice){rest.at + used, rest.len - used};
  }
  kin_buf_free(&copy);
  return 0;
}
