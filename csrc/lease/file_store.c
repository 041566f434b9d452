#define _GNU_SOURCE 1
#include "lease/file_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/table.h"

/* While another worker changes the table. */
#define LOCK_POLL (2 * KIN_MILLISECOND)
#define LOCK_TIMEOUT (5 * KIN_SECOND)

typedef struct file_store {
  kin_lease_store store; /* first */
  char *path, *fresh_path, *lock_path, *workers_path, *worker_path;
  char *application, *worker;
  int folder, lock, life; /* open files; -1: none */
  kin_lease_table table;
  struct stat read; /* of the file that `table` was read from; st_ino is 0: none */
  int read_file;    /* that file; while it is open no other one gets its inode; -1: none */
  kin_message_list queue;
  kin_time waits_since; /* monotonic: since then the lock is another's; 0: it is not */
} file_store;

static void fail(kin_error *error, kin_error_class class, const char *path, const char *what) {
  int reason = errno;
  kin_error_set(error, class, KIN_CODE_LEASE_STORE, "%s: %s: %s", path, what, strerror(reason));
}

/* ---- reading ---- */

static bool is_same(const struct stat *a, const struct stat *b) {
  return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Appends all of the file. False: errno says why. */
static bool read_all(int file, kin_buf *text) {
  ssize_t got = 1;
  while (got > 0) {
    char *at = kin_buf_reserve(text, 65536);
    if (!at) {
      errno = text->out_of_memory ? ENOMEM : EFBIG;
      return false;
    }
    got = read(file, at, 65536);
    if (got < 0 && errno == EINTR)
      got = 1;
    else if (got > 0)
      text->len += (size_t)got;
  }
  return got == 0;
}

static bool take_text(file_store *s, kin_buf *text, kin_error *error) {
  switch (text->len > 0 ? kin_lease_table_read(&s->table, text) : KIN_LEASE_TABLE_BAD) {
  case KIN_LEASE_TABLE_GOOD:
    return true;
  case KIN_LEASE_TABLE_NEWER:
    kin_error_set(error, KIN_FATAL, KIN_CODE_LEASE_STORE,
                  "%s: it was written by a later version of this library; update this one",
                  s->path);
    return false;
  case KIN_LEASE_TABLE_BAD:
    kin_error_set(error, KIN_FATAL, KIN_CODE_LEASE_STORE,
                  "%s: it is no table of leases, or only a part of one; restore it, or remove it "
                  "to begin anew",
                  s->path);
    return false;
  case KIN_LEASE_TABLE_NO_MEMORY:
    break;
  }
  kin_error_set(error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "%s: out of memory", s->path);
  return false;
}

/* Notes of which file the table is; takes the file. -1: of none. */
static void note_read(file_store *s, int file, const struct stat *found) {
  if (s->read_file >= 0)
    close(s->read_file);
  s->read_file = file;
  s->read = file >= 0 ? *found : (struct stat){0};
}

/* Reads the table, unless the file is the one that was read last. A file that is not there is a
 * table without leases. */
static bool refresh(file_store *s, kin_error *error) {
  struct stat found;
  kin_buf text;
  int file = open(s->path, O_RDONLY | O_CLOEXEC);
  if (file < 0 && errno == ENOENT) {
    kin_lease_table_free(&s->table);
    note_read(s, -1, NULL);
    return true;
  }
  if (file < 0 || fstat(file, &found) != 0) {
    fail(error, KIN_TRANSIENT, s->path, "it cannot be read");
    if (file >= 0)
      close(file);
    return false;
  }
  if (is_same(&found, &s->read)) {
    close(file);
    return true;
  }
  kin_buf_init(&text, KIN_LEASE_TABLE_MAX);
  bool good = read_all(file, &text);
  if (!good)
    fail(error, KIN_TRANSIENT, s->path, "it cannot be read");
  good = good && take_text(s, &text, error);
  kin_buf_free(&text);
  if (!good)
    close(file);
  note_read(s, good ? file : -1, &found);
  return good;
}

/* ---- writing ---- */

static bool write_all(int file, const kin_buf *text) {
  for (size_t done = 0; done < text->len;) {
    ssize_t written = write(file, text->at + done, text->len - done);
    if (written > 0)
      done += (size_t)written;
    else if (written == 0 || errno != EINTR)
      return false;
  }
  return true;
}

static bool write_file(const char *path, const kin_buf *text) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0)
    return false;
  bool good = write_all(file, text) && fsync(file) == 0;
  int reason = errno;
  good = close(file) == 0 && good;
  if (!good)
    unlink(path);
  errno = good ? errno : reason;
  return good;
}

/* The file is that which was just saved, under the lock; without it the table is read again. */
static void note_saved(file_store *s) {
  struct stat found;
  int file = open(s->path, O_RDONLY | O_CLOEXEC);
  if (file >= 0 && fstat(file, &found) == 0)
    note_read(s, file, &found);
  else if (file >= 0)
    close(file);
}

/* Replaces the file by the table as it is now, and reads it, as the changes are freed soon. */
static bool save(file_store *s, kin_error *error) {
  kin_buf text;
  kin_buf_init(&text, KIN_LEASE_TABLE_MAX);
  kin_lease_table_write(&s->table, kin_slice_of(s->application), &text);
  bool good = !text.failed;
  if (!good)
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "%s: out of memory", s->path);
  if (good && !(write_file(s->fresh_path, &text) && rename(s->fresh_path, s->path) == 0 &&
                fsync(s->folder) == 0)) {
    fail(error, KIN_TRANSIENT, s->path, "it cannot be written");
    good = false;
  }
  good = good && take_text(s, &text, error);
  note_read(s, -1, NULL);
  if (good)
    note_saved(s);
  else
    kin_lease_table_free(&s->table);
  kin_buf_free(&text);
  return good;
}

/* ---- operations ---- */

static bool has_counter(const kin_lease_row *row, uint64_t counter) {
  char expected[24];
  snprintf(expected, sizeof expected, "%llu", (unsigned long long)counter);
  return kin_slice_is(kin_lease_row_get(row, "counter"), expected);
}

static bool has_owner(const kin_lease_row *row, kin_slice owner) {
  kin_slice found = kin_lease_row_get(row, "owner");
  return found.len == owner.len && (owner.len == 0 || memcmp(found.at, owner.at, owner.len) == 0);
}

static void run_out(kin_lease_op *op) {
  op->outcome = KIN_LEASE_FAILED;
  kin_error_set(&op->error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY,
                "out of memory while changing a lease");
}

/* True: the table has changed. */
static bool change(file_store *s, kin_lease_op *op) {
  kin_lease_row *row = kin_lease_table_find(&s->table, op->key);
  bool wanted = op->kind == KIN_LEASE_CREATE ? !row
                : op->kind == KIN_LEASE_DELETE
                    ? row != NULL
                    : row && has_counter(row, op->counter) && has_owner(row, op->owner);
  op->outcome = wanted ? KIN_LEASE_DONE : KIN_LEASE_REFUSED;
  if (wanted && op->kind == KIN_LEASE_DELETE)
    kin_lease_table_remove(&s->table, row);
  else if (wanted && !row && !(row = kin_lease_table_add(&s->table, op->key)))
    run_out(op);
  else if (wanted && !kin_lease_row_set(row, &op->changes))
    run_out(op);
  if (row && op->kind == KIN_LEASE_UPDATE)
    kin_lease_row_write(row, &op->answer);
  return wanted;
}

static void look(file_store *s, kin_lease_op *op) {
  kin_lease_row *row = op->kind == KIN_LEASE_GET ? kin_lease_table_find(&s->table, op->key) : NULL;
  op->outcome = op->kind == KIN_LEASE_LIST || row ? KIN_LEASE_DONE : KIN_LEASE_REFUSED;
  if (row)
    kin_lease_row_write(row, &op->answer);
  else if (op->kind == KIN_LEASE_LIST)
    kin_lease_table_write_leases(&s->table, &op->answer);
  if (op->answer.failed)
    run_out(op);
}

/* A worker whose file is not locked is dead: its file is removed. A name with a slash is no
 * worker's. */
static void probe(file_store *s, kin_lease_op *op) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%.*s", s->workers_path, (int)op->key.len, op->key.at);
  op->outcome = KIN_LEASE_DONE;
  if (kin_slice_is(op->key, s->worker))
    return;
  errno = ENOENT;
  int file = memchr(op->key.at, '/', op->key.len) ? -1 : open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) {
    op->outcome = errno == ENOENT ? KIN_LEASE_REFUSED : KIN_LEASE_DONE;
    return;
  }
  if (flock(file, LOCK_EX | LOCK_NB) == 0) {
    unlink(path);
    op->outcome = KIN_LEASE_REFUSED;
  }
  close(file);
}

static bool is_change(const kin_lease_op *op) {
  return op->kind == KIN_LEASE_CREATE || op->kind == KIN_LEASE_UPDATE ||
         op->kind == KIN_LEASE_DELETE;
}

static void fail_all(kin_message_list *queue, const kin_error *error, bool changes_only) {
  for (kin_message *message = queue->first; message; message = message->next)
    if (!changes_only || is_change((kin_lease_op *)message))
      kin_lease_op_fail((kin_lease_op *)message, error);
}

/* A change that ran out of memory may be there by half: the table is read again. */
static void drop_changes(file_store *s, kin_error *error) {
  kin_lease_table_free(&s->table);
  note_read(s, -1, NULL);
  kin_error_set(error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "%s: out of memory", s->path);
  fail_all(&s->queue, error, true);
}

/* Runs all operations of the queue; the table is locked if one of them changes it. */
static void run(file_store *s) {
  kin_error error;
  bool changed = false, spoiled = false;
  kin_error_clear(&error);
  if (!refresh(s, &error)) {
    fail_all(&s->queue, &error, false);
    return;
  }
  for (kin_message *message = s->queue.first; message; message = message->next) {
    kin_lease_op *op = (kin_lease_op *)message;
    if (is_change(op))
      changed |= change(s, op);
    else if (op->kind == KIN_LEASE_PROBE)
      probe(s, op);
    else
      look(s, op);
    spoiled |= is_change(op) && op->outcome == KIN_LEASE_FAILED;
  }
  if (spoiled)
    drop_changes(s, &error);
  else if (changed && !save(s, &error))
    fail_all(&s->queue, &error, true);
}

static bool wants_lock(const file_store *s) {
  const kin_message *message = s->queue.first;
  while (message && !is_change((const kin_lease_op *)message))
    message = message->next;
  return message != NULL;
}

static void submit(kin_lease_store *store, kin_lease_op *op) {
  kin_message_list_add(&((file_store *)store)->queue, &op->message);
}

static kin_time step(kin_lease_store *store, kin_time now, kin_message_list *done) {
  file_store *s = (file_store *)store;
  kin_error error;
  if (!s->queue.first)
    return KIN_NEVER;
  bool locks = wants_lock(s);
  bool locked = locks && flock(s->lock, LOCK_EX | LOCK_NB) == 0;
  bool busy = locks && !locked && (errno == EWOULDBLOCK || errno == EINTR);
  if (busy && s->waits_since == 0)
    s->waits_since = now;
  if (busy && now - s->waits_since < LOCK_TIMEOUT)
    return now + LOCK_POLL;
  if (locks && !locked) {
    kin_error_clear(&error);
    fail(&error, KIN_TRANSIENT, s->lock_path,
         busy ? "another process has had it locked for 5 s" : "it cannot be locked");
    fail_all(&s->queue, &error, false);
  } else {
    run(s);
  }
  if (locked)
    flock(s->lock, LOCK_UN);
  s->waits_since = 0;
  kin_message *message;
  while ((message = kin_message_list_take(&s->queue)))
    kin_message_list_add(done, message);
  return KIN_NEVER;
}

/* ---- life ---- */

static void free_store(kin_lease_store *store) {
  file_store *s = (file_store *)store;
  if (s->life >= 0) {
    unlink(s->worker_path);
    close(s->life);
  }
  note_read(s, -1, NULL);
  if (s->lock >= 0)
    close(s->lock);
  if (s->folder >= 0)
    close(s->folder);
  kin_lease_table_free(&s->table);
  kin_message_list_free(&s->queue);
  char *texts[] = {s->path,        s->fresh_path,  s->lock_path, s->workers_path,
                   s->worker_path, s->application, s->worker};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    free(texts[i]);
  free(s);
}

/* folder/name and what follows; NULL: out of memory. */
static char *join(kin_slice folder, kin_slice name, const char *suffix) {
  size_t size = folder.len + 1 + name.len + strlen(suffix) + 1;
  char *path = malloc(size);
  if (path)
    snprintf(path, size, "%.*s/%.*s%s", (int)folder.len, folder.at, (int)name.len, name.at, suffix);
  return path;
}

/* Creates a folder and those above it. */
static bool make_folder(char *path) {
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    bool made = mkdir(path, 0700) == 0 || errno == EEXIST || errno == EROFS || errno == EACCES;
    *slash = '/';
    if (!made)
      return false;
  }
  return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool lock_life(file_store *s, kin_error *error) {
  s->life = open(s->worker_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (s->life >= 0 && flock(s->life, LOCK_EX | LOCK_NB) == 0)
    return true;
  fail(error, KIN_FATAL, s->worker_path,
       s->life >= 0 ? "it cannot be locked" : "it cannot be created");
  return false;
}

static bool open_files(file_store *s, char *folder, kin_error *error) {
  if (!make_folder(folder) || (mkdir(s->workers_path, 0700) != 0 && errno != EEXIST)) {
    fail(error, KIN_FATAL, folder, "leases cannot be kept in this folder; set the option `path`");
    return false;
  }
  s->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  s->lock = open(s->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (s->folder < 0 || s->lock < 0) {
    fail(error, KIN_FATAL, s->lock_path, "it cannot be opened");
    return false;
  }
  return lock_life(s, error);
}

kin_lease_store *kin_file_store_create(kin_slice folder, kin_slice application, kin_slice worker,
                                       kin_error *error) {
  static const kin_lease_store_vtable vtable = {submit, step, free_store, true};
  file_store *s = calloc(1, sizeof *s);
  char *own_folder = kin_slice_dup(folder);
  kin_error_clear(error);
  if (s) {
    s->store.vtable = &vtable;
    s->folder = s->lock = s->life = s->read_file = -1;
    kin_lease_table_init(&s->table);
    kin_message_list_init(&s->queue);
    s->path = join(folder, application, ".json");
    s->fresh_path = join(folder, application, ".json.new");
    s->lock_path = join(folder, application, ".lock");
    s->workers_path = join(folder, application, ".workers");
    s->worker_path = s->workers_path ? join(kin_slice_of(s->workers_path), worker, "") : NULL;
    s->application = kin_slice_dup(application);
    s->worker = kin_slice_dup(worker);
  }
  bool good = s && own_folder && s->path && s->fresh_path && s->lock_path && s->worker_path &&
              s->application && s->worker;
  if (!good)
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
  good = good && open_files(s, own_folder, error);
  free(own_folder);
  if (good)
    return &s->store;
  if (s)
    free_store(&s->store);
  return NULL;
}
