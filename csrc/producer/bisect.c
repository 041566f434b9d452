#include "producer/bisect.h"

#include <string.h>

/* The service's messages of constraints: "Value '…' at 'records.3.member.data' failed to …". */
static bool names_stream(const kin_error *error) {
  return strstr(error->message, "at 'stream") && !strstr(error->message, "'records.");
}

bool kin_bisect_is_about_content(const kin_error *error) {
  static const char *const codes[] = {"ValidationException", "InvalidArgumentException",
                                      "SerializationException", "RequestEntityTooLarge"};
  if (error->class != KIN_FATAL || names_stream(error))
    return false;
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (strcmp(error->code, codes[i]) == 0)
      return true;
  return error->status == 413;
}

void kin_bisect_narrow(uint16_t *max_batch, size_t refused) {
  size_t half = refused / 2 < UINT16_MAX ? refused / 2 : UINT16_MAX;
  *max_batch = (uint16_t)kin_bisect_least(*max_batch, half < 1 ? 1 : (unsigned)half);
}
