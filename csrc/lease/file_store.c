#define _GNU_SOURCE 1
#include "lease/file_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/folder.h"
#include "lease/row_view.h"
#include "lease/table.h"

/* While another worker changes the table. */
#define LOCK_POLL_FIRST (2 * KIN_MILLISECOND)
#define LOCK_POLL_MOST (50 * KIN_MILLISECOND)
#define LOCK_TIMEOUT (5 * KIN_SECOND)

/* A worker writes all of a large table for each checkpoint: after a write the next one waits for as
 * many microseconds as that had bytes, so that the changes meanwhile are written together. */
enum { LARGE_TABLE = 64 << 10 };
#define WRITE_PAUSE_MOST (250 * KIN_MILLISECOND)

typedef struct file_store {
  kin_lease_store store; /* first */
  kin_lease_folder folder;
  char *application;
  kin_lease_table table;
  struct stat read; /* of the file that `table` was read from; st_ino is 0: none */
  int read_file;    /* that file; while it is open no other one gets its inode; -1: none */
  kin_message_list reads, changes; /* operations; only changes wait for the lock */
  kin_time waits_since;            /* monotonic: since then the lock is another's; 0: it is not */
  kin_time tries_at, poll;         /* when it is tried again, and the pause after that */
  kin_time writes_at;              /* monotonic: the next write, after one of a large table */
  bool is_clean;                   /* the files of dead workers were removed */
} file_store;

static void fail(file_store *s, const char *tried, kin_error *error) {
  kin_lease_folder_fail(&s->folder, s->folder.table, tried, error);
}

static void fail_with(file_store *s, kin_error_class class, const char *code, const char *what,
                      kin_error *error) {
  kin_error_set(error, class, code, "%s/%s: %s", s->folder.path, s->folder.table, what);
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
    fail_with(s, KIN_FATAL, KIN_CODE_LEASE_STORE,
              "it was written by a later version of this library; update this one", error);
    return false;
  case KIN_LEASE_TABLE_BAD:
    fail_with(s, KIN_FATAL, KIN_CODE_LEASE_STORE,
              "it is no table of leases, or only a part of one; restore it, or remove it to begin "
              "anew",
              error);
    return false;
  case KIN_LEASE_TABLE_NO_MEMORY:
    break;
  }
  fail_with(s, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory", error);
  return false;
}

/* Notes of which file the table is; takes the file. -1: of none. */
static void note_read(file_store *s, int file, const struct stat *found) {
  if (s->read_file >= 0)
    close(s->read_file);
  s->read_file = file;
  s->read = file >= 0 ? *found : (struct stat){0};
}

/* A link is not followed: workers that come by another path would have other locks. */
static int open_table(const file_store *s) {
  return openat(s->folder.folder, s->folder.table, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

/* Reads the table, unless the file is the one that was read last. A file that is not there is a
 * table without leases. */
static bool refresh(file_store *s, kin_error *error) {
  struct stat found;
  kin_buf text;
  int file = open_table(s);
  if (file < 0 && errno == ENOENT) {
    kin_lease_table_free(&s->table);
    note_read(s, -1, NULL);
    return true;
  }
  if (file < 0 && errno == ELOOP) {
    fail_with(s, KIN_FATAL, KIN_CODE_LEASE_STORE,
              "it is a symbolic link, and would be replaced; set the option `path` to the folder "
              "that it leads to",
              error);
    return false;
  }
  if (file < 0 || fstat(file, &found) != 0) {
    fail(s, "it cannot be read", error);
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
    fail(s, "it cannot be read", error);
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

/* A new file; one that a killed worker has left goes. Nothing is written through a link. */
static int create_fresh(const file_store *s) {
  const int how = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  int folder = s->folder.folder;
  int file = openat(folder, s->folder.fresh_table, how, 0600);
  if (file < 0 && errno == EEXIST && unlinkat(folder, s->folder.fresh_table, 0) == 0)
    file = openat(folder, s->folder.fresh_table, how, 0600);
  return file;
}

/* Writes all to a new file that takes the place of the table's. False: errno says why. */
static bool replace_file(file_store *s, const kin_buf *text) {
  int folder = s->folder.folder;
  const char *fresh = s->folder.fresh_table;
  int file = create_fresh(s);
  if (file < 0)
    return false;
  bool good = write_all(file, text) && fsync(file) == 0;
  int reason = errno;
  if (close(file) != 0 && good) {
    reason = errno;
    good = false;
  }
  if (good && !kin_lease_folder_has_lock(&s->folder)) { /* its file was removed */
    reason = ESTALE;
    good = false;
  }
  if (good && renameat(folder, fresh, folder, s->folder.table) == 0 && fsync(folder) == 0)
    return true;
  reason = good ? errno : reason;
  unlinkat(folder, fresh, 0);
  errno = reason;
  return false;
}

/* The file is that which was just saved, under the lock; without it the table is read again. */
static void note_saved(file_store *s) {
  struct stat found;
  int file = open_table(s);
  if (file >= 0 && fstat(file, &found) == 0)
    note_read(s, file, &found);
  else if (file >= 0)
    close(file);
}

static void forget_table(file_store *s) {
  kin_lease_table_free(&s->table);
  note_read(s, -1, NULL);
}

static void pause_writes(file_store *s, size_t written, kin_time now) {
  kin_time pause = written > LARGE_TABLE ? (kin_time)written : 0;
  s->writes_at = now + (pause < WRITE_PAUSE_MOST ? pause : WRITE_PAUSE_MOST);
}

/* Replaces the file by the table as it is now, and reads it, as the changes are freed soon. */
static bool save(file_store *s, kin_time now, kin_error *error) {
  kin_buf text;
  kin_buf_init(&text, KIN_LEASE_TABLE_MAX);
  kin_lease_table_write(&s->table, kin_slice_of(s->application), &text);
  bool good = !text.failed;
  if (!good && text.out_of_memory)
    fail_with(s, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory", error);
  else if (!good)
    fail_with(s, KIN_TRANSIENT, KIN_CODE_LEASE_STORE,
              "it would be larger than 64 MiB; use another store", error);
  else if (!(good = replace_file(s, &text)))
    fail(s, "it cannot be written", error);
  pause_writes(s, text.len, now);
  good = good && take_text(s, &text, error);
  if (good) {
    note_read(s, -1, NULL);
    note_saved(s);
  } else {
    forget_table(s);
  }
  kin_buf_free(&text);
  return good;
}

/* ---- operations ---- */

static bool has_counter(const kin_lease_row *row, uint64_t counter) {
  uint64_t found;
  return kin_row_view_counter(kin_lease_row_get(row, "counter"), &found) && found == counter;
}

static bool has_owner(const kin_lease_row *row, kin_slice owner) {
  kin_slice found = kin_lease_row_get(row, "owner");
  if (owner.len == 0)
    return found.len == 0 || kin_slice_is(found, "null");
  return found.len == owner.len && memcmp(found.at, owner.at, owner.len) == 0;
}

static void run_out(kin_lease_op *op) {
  op->outcome = KIN_LEASE_FAILED;
  kin_error_set(&op->error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY,
                "out of memory while changing a lease");
}

/* True: the table has changed. */
static bool change(file_store *s, kin_lease_op *op) {
  kin_lease_row *row = kin_lease_table_find(&s->table, op->key);
  bool wanted = op->kind == KIN_LEASE_CREATE
                    ? !row
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
  if (op->answer.failed)
    run_out(op);
  return wanted;
}

static void answer_read(file_store *s, kin_lease_op *op) {
  kin_lease_row *row = op->kind == KIN_LEASE_GET ? kin_lease_table_find(&s->table, op->key) : NULL;
  op->outcome = op->kind == KIN_LEASE_LIST || row ? KIN_LEASE_DONE : KIN_LEASE_REFUSED;
  if (row)
    kin_lease_row_write(row, &op->answer);
  else if (op->kind == KIN_LEASE_LIST)
    kin_lease_table_write_leases(&s->table, &op->answer);
  if (op->answer.failed)
    run_out(op);
}

static void probe(file_store *s, kin_lease_op *op) {
  bool alive = kin_lease_folder_is_alive(&s->folder, op->key);
  op->outcome = alive ? KIN_LEASE_DONE : KIN_LEASE_REFUSED;
}

/* Whether a lease of the table has this owner. */
static bool owns(const void *user, kin_slice worker) {
  const kin_lease_table *table = user;
  for (size_t i = 0; i < table->count; i++) {
    kin_slice owner = kin_lease_row_get(&table->rows[i], "owner"); /* a quoted string */
    if (owner.len == worker.len + 2 && memcmp(owner.at + 1, worker.at, worker.len) == 0)
      return true;
  }
  return false;
}

static void fail_all(kin_message_list *queue, const kin_error *error) {
  for (kin_message *message = queue->first; message; message = message->next)
    kin_lease_op_fail((kin_lease_op *)message, error);
}

static void move_all(kin_message_list *from, kin_message_list *to) {
  kin_message *message;
  while ((message = kin_message_list_take(from)))
    kin_message_list_add(to, message);
}

static void run_reads(file_store *s, kin_message_list *done) {
  kin_error error;
  kin_error_clear(&error);
  bool good = s->reads.first && refresh(s, &error);
  for (kin_message *message = s->reads.first; good && message; message = message->next) {
    kin_lease_op *op = (kin_lease_op *)message;
    if (op->kind == KIN_LEASE_PROBE)
      probe(s, op);
    else
      answer_read(s, op);
  }
  if (!good)
    fail_all(&s->reads, &error);
  move_all(&s->reads, done);
}

/* The table is locked. A change that ran out of memory may be there by half: then none is saved. */
static bool run_changes(file_store *s, kin_time now, kin_error *error) {
  bool changed = false, spoiled = false;
  if (!refresh(s, error))
    return false;
  for (kin_message *message = s->changes.first; message; message = message->next) {
    changed |= change(s, (kin_lease_op *)message);
    spoiled |= ((kin_lease_op *)message)->outcome == KIN_LEASE_FAILED;
  }
  if (spoiled) {
    forget_table(s);
    fail_with(s, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory", error);
    return false;
  }
  if (changed && !save(s, now, error))
    return false;
  if (!s->is_clean)
    kin_lease_folder_clean(&s->folder, owns, &s->table);
  s->is_clean = true;
  return true;
}

/* Locks the table and runs the changes. Returns when to try again, or KIN_NEVER: they have their
 * outcome. */
static kin_time try_changes(file_store *s, kin_time now, kin_error *error) {
  bool good = false;
  if (now < s->writes_at)
    return s->writes_at;
  if (s->waits_since != 0 && now < s->tries_at)
    return s->tries_at;
  switch (kin_lease_folder_lock(&s->folder)) {
  case KIN_LOCK_TAKEN:
    good = run_changes(s, now, error);
    kin_lease_folder_unlock(&s->folder);
    break;
  case KIN_LOCK_FAILED:
    kin_lease_folder_fail(&s->folder, s->folder.lock_name, "it cannot be locked", error);
    break;
  case KIN_LOCK_BUSY:
    if (s->waits_since == 0) {
      s->waits_since = now;
      s->poll = LOCK_POLL_FIRST;
    }
    if (now - s->waits_since < LOCK_TIMEOUT) {
      s->tries_at = now + s->poll;
      s->poll = 2 * s->poll < LOCK_POLL_MOST ? 2 * s->poll : LOCK_POLL_MOST;
      return s->tries_at;
    }
    kin_error_set(error, KIN_TRANSIENT, KIN_CODE_LEASE_STORE,
                  "%s/%s: another process has had it locked for 5 s; is one of the workers stopped "
                  "or hung?",
                  s->folder.path, s->folder.lock_name);
  }
  s->waits_since = 0;
  if (!good)
    fail_all(&s->changes, error);
  return KIN_NEVER;
}

static void submit(kin_lease_store *store, kin_lease_op *op) {
  file_store *s = (file_store *)store;
  bool reads =
      op->kind == KIN_LEASE_LIST || op->kind == KIN_LEASE_GET || op->kind == KIN_LEASE_PROBE;
  kin_message_list_add(reads ? &s->reads : &s->changes, &op->message);
}

static kin_time step(kin_lease_store *store, kin_time now, kin_message_list *done) {
  file_store *s = (file_store *)store;
  kin_error error;
  bool moved;
  if (!s->reads.first && !s->changes.first)
    return KIN_NEVER;
  kin_error_clear(&error);
  bool good = kin_lease_folder_check(&s->folder, &moved, &error);
  if (moved)
    forget_table(s);
  if (!good) {
    fail_all(&s->reads, &error);
    fail_all(&s->changes, &error);
    move_all(&s->reads, done);
  } else {
    run_reads(s, done);
    kin_time due = s->changes.first ? try_changes(s, now, &error) : KIN_NEVER;
    if (due != KIN_NEVER)
      return due;
  }
  move_all(&s->changes, done);
  return KIN_NEVER;
}

/* ---- life ---- */

static void free_store(kin_lease_store *store) {
  file_store *s = (file_store *)store;
  kin_error error;
  bool is_open = s->folder.folder >= 0;
  bool owns_nothing =
      is_open && refresh(s, &error) && !owns(&s->table, kin_slice_of(s->folder.worker));
  kin_lease_folder_close(&s->folder, !owns_nothing);
  forget_table(s);
  kin_message_list_free(&s->reads);
  kin_message_list_free(&s->changes);
  free(s->application);
  free(s);
}

kin_lease_store *kin_file_store_create(kin_slice folder, kin_slice application, kin_slice worker,
                                       kin_error *error) {
  static const kin_lease_store_vtable vtable = {submit, step, NULL, free_store, true};
  file_store *s = calloc(1, sizeof *s);
  kin_error_clear(error);
  kin_error_set(error, KIN_TRANSIENT, KIN_CODE_OUT_OF_MEMORY, "out of memory");
  if (!s)
    return NULL;
  s->store.vtable = &vtable;
  s->read_file = s->folder.folder = -1;
  kin_lease_table_init(&s->table);
  kin_message_list_init(&s->reads);
  kin_message_list_init(&s->changes);
  s->application = kin_slice_dup(application);
  if (kin_lease_folder_open(&s->folder, folder, application, worker, error) && s->application)
    return &s->store;
  free_store(&s->store);
  return NULL;
}
