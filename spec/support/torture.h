#ifndef KIN_TORTURE_H
#define KIN_TORTURE_H

#include <stdbool.h>
#include <stdlib.h>

/* After so many good allocations one fails; negative: none does. */
void torture_fail_after(long count);

/* Whether one has, since then. */
bool torture_has_failed(void);

/* For the spec's own needs: never fails by order. */
void *__real_calloc(size_t count, size_t size);

#endif
