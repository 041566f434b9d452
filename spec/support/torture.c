/* torture: memory that is out when a spec says so. The linker gives what is linked with this
 * (--wrap) these functions for malloc, calloc and realloc; libcurl, OpenSSL and Lua keep theirs. */
#include "torture.h"

#include <stdbool.h>

/* How many more allocations go well before one fails; negative: all do. Specs have one thread. */
static long left = -1;
static bool failed;

void torture_fail_after(long count) {
  left = count;
  failed = false;
}

bool torture_has_failed(void) {
  return failed;
}

static bool fails(void) {
  if (left < 0 || left-- > 0)
    return false;
  failed = true;
  return true;
}

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size) {
  return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
  return fails() ? NULL : __real_realloc(old, size);
}
