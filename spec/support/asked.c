/* Preloaded into a process: writes the name of every environment variable that libcurl or the core
 * asks for, one a line, to the file that ASKED names. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *look(const char *name) {
  size_t len = strlen(name);
  for (char **line = environ; line && *line; line++)
    if (strncmp(*line, name, len) == 0 && (*line)[len] == '=')
      return *line + len + 1;
  return NULL;
}

char *getenv(const char *name) {
  Dl_info caller;
  const char *path = look("ASKED");
  FILE *file;
  if (path && dladdr(__builtin_return_address(0), &caller) &&
      (strstr(caller.dli_fname, "/libcurl") || strstr(caller.dli_fname, "/core.so")) &&
      (file = fopen(path, "a"))) {
    fprintf(file, "%s\n", name);
    fclose(file);
  }
  return look(name);
}
