/* fork: lets a fork of the process happen only while no engine's thread is inside a step. In the
 * middle of one it may hold a lock of OpenSSL, which stays locked in the child: the first random
 * number or signature there would wait for ever. Any thread. */
#ifndef KIN_ENGINE_FORK_H
#define KIN_ENGINE_FORK_H

#include <stdbool.h>

/* Registers the handlers of fork, once. */
void kin_fork_watch(void);

/* The calling thread, an engine's, is inside a step between the two. Waits while the process forks.
 */
void kin_fork_begin_step(void);
void kin_fork_end_step(void);

/* The number of forks between the first process and this one. getpid would cost a system call at
 * every check. */
unsigned kin_fork_generation(void);

#endif
