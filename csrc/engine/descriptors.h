/* descriptors: keeps libcurl's descriptors out of the programs that the process starts, by marking
 * them close-on-exec. Sockets for connections are created marked. The pairs of sockets by which
 * libcurl wakes its threads (before 8.8) are found after they were created. Any thread. */
#ifndef KIN_ENGINE_DESCRIPTORS_H
#define KIN_ENGINE_DESCRIPTORS_H

#include "base/bytes.h"

/* A socket that is close-on-exec; -1 with errno. */
int kin_descriptors_socket(int family, int type, int protocol);

/* The descriptors that were open at some time: one bit each. */
typedef struct kin_descriptors {
  bool taken;
  kin_buf open;
} kin_descriptors;

void kin_descriptors_init(kin_descriptors *descriptors);
void kin_descriptors_free(kin_descriptors *descriptors);

/* Notes which descriptors are open, unless that is noted already. Does nothing when memory is out.
 */
void kin_descriptors_note(kin_descriptors *descriptors);

/* Marks the socket pairs of this process that were created since, and forgets what was noted. */
void kin_descriptors_mark_new(kin_descriptors *descriptors);

#endif
