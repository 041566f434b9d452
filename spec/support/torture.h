#ifndef KIN_TORTURE_H
#define KIN_TORTURE_H

#include <stdlib.h>

/* For the specs' own C code: does not fail on command. */
void *__real_calloc(size_t count, size_t size);

#endif
