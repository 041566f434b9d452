#define _GNU_SOURCE 1
#include "lease/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- errors ---- */

static const char *advice_of(int reason) {
  switch (reason) {
  case ENOSPC:
  case EDQUOT:
  case EFBIG:
    return "; make space there";
  case EACCES:
  case EPERM:
  case EROFS:
    return "; let this user read and write there, or set the option `path` to a folder of its own";
  case ENOTSUP:
  case ENOLCK:
  case ENOSYS:
    return "; its file system has no locks: set the option `path` to a folder on a local disk";
  case EMFILE:
  case ENFILE:
    return "; raise the limit of open files";
  case ESTALE:
    return "; the folder or a file in it was removed meanwhile";
  case ENOENT:
  case ENOTDIR:
  case EISDIR:
  case ELOOP:
  case ENAMETOOLONG:
    return "; set the option `path` to another folder";
  default:
    return "";
  }
}

/* Whether waiting cannot mend it. */
static bool is_lasting(int reason) {
  return reason == ENOTSUP || reason == ENOLCK || reason == ENOSYS || reason == ENOTDIR ||
         reason == EISDIR || reason == ELOOP || reason == ENAMETOOLONG;
}

static void fail(const char *path, const char *slash, const char *name, const char *tried,
                 bool fatal, kin_error *error) {
  int reason = errno;
  kin_error_set(error, fatal ? KIN_FATAL : KIN_TRANSIENT, KIN_CODE_LEASE_STORE, "%s%s%s: %s: %s%s",
                path, slash, name, tried, strerror(reason), advice_of(reason));
}

void kin_lease_folder_fail(const kin_lease_folder *folder, const char *name, const char *tried,
                           kin_error *error) {
  fail(folder->path, "/", name, tried, is_lasting(errno), error);
}

/* ---- the folder ---- */

/* Allocated; NULL: out of memory. */
static char *join(kin_slice first, const char *middle, kin_slice last) {
  size_t len = strlen(middle);
  char *text = malloc(first.len + len + last.len + 1);
  if (!text)
    return NULL;
  memcpy(text, first.at, first.len);
  memcpy(text + first.len, middle, len);
  memcpy(text + first.len + len, last.at, last.len);
  text[first.len + len + last.len] = '\0';
  return text;
}

/* Creates a folder and those above it. One above it that may not be created is passed over, as it
   may be there; when it is not, errno says why it could not be created. */
static bool make_folder(char *path) {
  int refused = 0;
  bool made = true;
  for (char *slash = strchr(path + 1, '/'); made && slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    made = mkdir(path, 0700) == 0 || errno == EEXIST;
    *slash = '/';
    if (!made && (errno == EROFS || errno == EACCES)) {
      refused = errno;
      made = true;
    }
  }
  made = made && (mkdir(path, 0700) == 0 || errno == EEXIST);
  if (!made && errno == ENOENT && refused)
    errno = refused;
  return made;
}

static void close_file(int *file) {
  if (*file >= 0)
    close(*file);
  *file = -1;
}

/* Whether the path still leads to the open folder. */
static bool is_there(const kin_lease_folder *folder) {
  return folder->folder >= 0 && kin_lock_file_is_named(folder->folder, AT_FDCWD, folder->path);
}

static bool open_folder(kin_lease_folder *folder, kin_error *error) {
  static const char tried[] = "leases cannot be kept in this folder";
  bool made = make_folder(folder->path);
  int reason = errno;
  if (made)
    folder->folder = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder->folder >= 0)
    return true;
  reason = made ? errno : reason;
  bool passes = reason == ENOSPC || reason == EDQUOT || reason == EMFILE || reason == ENFILE ||
                reason == ENOMEM || reason == EIO || reason == ESTALE || reason == ETIMEDOUT ||
                reason == EINTR;
  errno = reason;
  fail(folder->path, "", "", tried, !passes, error);
  return false;
}

/* ---- the worker's life ---- */

static bool begin_life(kin_lease_folder *folder) {
  if (mkdirat(folder->folder, folder->workers, 0700) != 0 && errno != EEXIST)
    return false;
  folder->life = kin_lock_file_create(folder->folder, folder->fresh_life, folder->life_name);
  return folder->life >= 0;
}

bool kin_lease_folder_check(kin_lease_folder *folder, bool *moved, kin_error *error) {
  *moved = !is_there(folder);
  if (*moved) {
    close_file(&folder->lock);
    close_file(&folder->life);
    close_file(&folder->folder);
    if (!open_folder(folder, error))
      return false;
  }
  if (folder->life >= 0 && kin_lock_file_is_named(folder->life, folder->folder, folder->life_name))
    return true;
  close_file(&folder->life);
  begin_life(folder); /* without it others find no sign of life, and wait for the counters */
  return true;
}

/* Names with a slash lead elsewhere; they are not those of workers. */
static bool is_file_name(kin_slice name) {
  return name.len > 0 && !memchr(name.at, '/', name.len) && !memchr(name.at, '\0', name.len);
}

bool kin_lease_folder_is_alive(const kin_lease_folder *folder, kin_slice worker) {
  if (!is_file_name(worker) || kin_slice_is(worker, folder->worker))
    return true;
  char *name = join(kin_slice_of(folder->workers), "/", worker);
  bool alive = !name || kin_lock_file_is_locked(folder->folder, name);
  free(name);
  return alive;
}

void kin_lease_folder_clean(kin_lease_folder *folder,
                            bool (*owns)(const void *user, kin_slice worker), const void *user) {
  int workers = openat(folder->folder, folder->workers, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *list = workers >= 0 ? fdopendir(workers) : NULL;
  struct dirent *entry;
  if (!list) {
    close_file(&workers);
    return;
  }
  while ((entry = readdir(list)))
    if (!kin_lock_file_is_locked(workers, entry->d_name) &&
        !owns(user, kin_slice_of(entry->d_name)))
      unlinkat(workers, entry->d_name, 0);
  closedir(list);
}

/* ---- the lock of the table ---- */

kin_lock_outcome kin_lease_folder_lock(kin_lease_folder *folder) {
  return kin_lock_file_take(&folder->lock, folder->folder, folder->lock_name);
}

void kin_lease_folder_unlock(kin_lease_folder *folder) {
  flock(folder->lock, LOCK_UN);
}

bool kin_lease_folder_has_lock(const kin_lease_folder *folder) {
  return is_there(folder) &&
         kin_lock_file_is_named(folder->lock, folder->folder, folder->lock_name);
}

/* ---- life ---- */

/* NULL: errno says why. */
static char *absolute(kin_slice path) {
  if (path.at[0] == '/')
    return kin_slice_dup(path);
  char *here = getcwd(NULL, 0);
  char *whole = here ? join(kin_slice_of(here), "/", path) : NULL;
  free(here);
  return whole;
}

static bool name_files(kin_lease_folder *folder, kin_slice path, kin_slice application,
                       kin_slice worker) {
  static const kin_slice none = {"", 0};
  folder->path = absolute(path);
  folder->worker = kin_slice_dup(worker);
  folder->table = join(application, ".json", none);
  folder->fresh_table = join(application, ".json.new", none);
  folder->lock_name = join(application, ".lock", none);
  folder->workers = join(application, ".workers", none);
  folder->life_name = join(application, ".workers/", worker);
  folder->fresh_life =
      folder->life_name ? join(kin_slice_of(folder->life_name), ".new", none) : NULL;
  return folder->path && folder->worker && folder->table && folder->fresh_table &&
         folder->lock_name && folder->workers && folder->fresh_life;
}

bool kin_lease_folder_open(kin_lease_folder *folder, kin_slice path, kin_slice application,
                           kin_slice worker, kin_error *error) {
  *folder = (kin_lease_folder){.folder = -1, .lock = -1, .life = -1};
  if (!name_files(folder, path, application, worker)) {
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
    return false;
  }
  if (!open_folder(folder, error))
    return false;
  if (!begin_life(folder)) {
    fail(folder->path, "/", folder->life_name, "it cannot be created and locked", true, error);
    return false;
  }
  if (kin_lease_folder_lock(folder) == KIN_LOCK_FAILED) {
    fail(folder->path, "/", folder->lock_name, "it cannot be locked", true, error);
    return false;
  }
  kin_lease_folder_unlock(folder);
  return true;
}

void kin_lease_folder_close(kin_lease_folder *folder, bool leaves_life) {
  if (folder->life >= 0 && !leaves_life &&
      kin_lock_file_is_named(folder->life, folder->folder, folder->life_name))
    unlinkat(folder->folder, folder->life_name, 0);
  close_file(&folder->life);
  close_file(&folder->lock);
  close_file(&folder->folder);
  char *texts[] = {folder->path,      folder->worker,  folder->table,     folder->fresh_table,
                   folder->lock_name, folder->workers, folder->life_name, folder->fresh_life};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    free(texts[i]);
}
