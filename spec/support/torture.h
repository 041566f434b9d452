#ifndef KIN_TORTURE_H
#define KIN_TORTURE_H

#include <stdlib.h>

/* For the spec's own needs: never fails by order. */
void *__real_calloc(size_t count, size_t size);

#endif
