/* no_locks: for LD_PRELOAD. While the file $NO_LOCKS exists, flock fails as on a file system that
 * has no locks. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int flock(int file, int operation);

int flock(int file, int operation) {
  const char *path = getenv("NO_LOCKS");
  if (!path || access(path, F_OK) != 0) {
    int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    return real(file, operation);
  }
  errno = ENOLCK;
  return -1;
}
