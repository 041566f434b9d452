/* fence: runs a target without libFuzzer on every prefix of the given files. Each allocation of the
 * C modules (--wrap) ends at an inaccessible page, so reading or writing one byte too far ends the
 * process, with any compiler. */
#include <sys/mman.h>

#include "fuzz.h"

enum { PAGE = 4096, INPUT_MAX = 65536 };

/* At the start of an allocation's first page; the memory of its owner starts in the second. */
typedef struct block {
  size_t size, mapped;
} block;

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *old);

static block *block_of(void *at) {
  return (block *)(((uintptr_t)at & ~(uintptr_t)(PAGE - 1)) - PAGE);
}

void *__wrap_malloc(size_t size) {
  size_t bytes = size ? size : 1;
  size_t mapped = ((bytes + PAGE - 1) / PAGE + 2) * PAGE;
  char *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(base != MAP_FAILED);
  MUST(mprotect(base + mapped - PAGE, PAGE, PROT_NONE) == 0);
  *(block *)(void *)base = (block){size, mapped};
  return base + mapped - PAGE - bytes;
}

void __wrap_free(void *old) {
  if (old)
    munmap(block_of(old), block_of(old)->mapped);
}

void *__wrap_calloc(size_t count, size_t size) {
  MUST(size == 0 || count <= SIZE_MAX / size);
  return __wrap_malloc(count * size); /* fresh pages are zero */
}

void *__wrap_realloc(void *old, size_t size) {
  void *made = __wrap_malloc(size);
  if (old) {
    size_t had = block_of(old)->size;
    memcpy(made, old, had < size ? had : size);
    __wrap_free(old);
  }
  return made;
}

int main(int count, char **files) {
  static uint8_t input[INPUT_MAX];
  size_t fed = 0;
  for (int i = 1; i < count; i++) {
    FILE *file = fopen(files[i], "rb");
    MUST(file);
    size_t size = fread(input, 1, sizeof input, file);
    MUST(size > 0 && size < sizeof input);
    fclose(file);
    for (size_t length = 0; length <= size; length++, fed++)
      LLVMFuzzerTestOneInput(input, length);
  }
  printf("%zu prefixes\n", fed);
  return 0;
}
