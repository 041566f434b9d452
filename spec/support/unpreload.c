/* unpreload: the last library of the sanitizer runs' LD_PRELOAD.
 *
 * The interpreter under test needs the sanitizer's runtime first; the shells
 * and node processes that its specs start must not get it. So the variable is
 * taken out of the environment as soon as the interpreter itself is loaded.
 * Specs start interpreters of their own by the command in $LUA, which brings
 * the variable back for that one process. */
#include <stdlib.h>

__attribute__((constructor)) static void unpreload(void) {
  unsetenv("LD_PRELOAD");
}
