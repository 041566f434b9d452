#define _GNU_SOURCE 1
#include "engine/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/openssl.h"

enum { OUTPUT_MAX = 1 << 20, ERRORS_MAX = 4096 };

/* How often to poll for the end of a program that has closed its output. */
#define POLL_INTERVAL (5 * KIN_MILLISECOND)

extern char **environ;

typedef struct process {
  kin_machine machine; /* first */
  kin_process_end *end;
  kin_time timeout, deadline;
  pid_t pid;          /* 0: not running */
  int output, errors; /* pipes; -1: at the end */
  bool started;
  char **argv; /* one allocation with its texts */
} process;

static void free_end(kin_message *message) {
  kin_process_end *end = (kin_process_end *)message;
  if (end->output.at)
    OPENSSL_cleanse(end->output.at, end->output.len);
  kin_buf_free(&end->output);
  kin_buf_free(&end->errors);
  free(end);
}

/* ---- descriptors ---- */

static void close_pipe(process *self, int *fd) {
  if (*fd < 0)
    return;
  kin_engine_unwatch(self->machine.engine, *fd);
  close(*fd);
  *fd = -1;
}

/* Reads what is available, up to a bound a step. Bytes beyond the buffer's maximum are dropped. */
static void drain(process *self, int *fd, kin_buf *into) {
  char bytes[4096];
  for (int pieces = 0; *fd >= 0 && pieces < 64; pieces++) {
    ssize_t len = read(*fd, bytes, sizeof bytes);
    if (len > 0) {
      size_t left = into->max - 1 - into->len;
      kin_buf_add(into, bytes, (size_t)len < left ? (size_t)len : left);
      OPENSSL_cleanse(bytes, (size_t)len);
    } else if (len == 0 || (errno != EAGAIN && errno != EINTR)) {
      close_pipe(self, fd);
    } else if (errno == EAGAIN) {
      return;
    }
  }
}

/* ---- start and end ---- */

/* The program gets a process group, so that its children can be killed with it, and default
 * signals, because the engine thread masks all. */
static int spawn(process *self, int output, int errors) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t none, pipe_signal;
  sigemptyset(&none);
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, 1);
  posix_spawn_file_actions_adddup2(&files, errors, 2);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
  int problem = posix_spawnp(&self->pid, self->argv[0], &files, &attributes, self->argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (problem)
    self->pid = 0;
  return problem;
}

static bool open_pipe(process *self, int *ours, int *theirs) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0)
    return false;
  *ours = fds[0];
  *theirs = fds[1];
  fcntl(*ours, F_SETFL, O_NONBLOCK);
  return kin_engine_watch(self->machine.engine, *ours, &self->machine);
}

static void fail(process *self, const char *code, const char *message) {
  kin_error_set(&self->end->error, KIN_FATAL, code, "'%.100s' %s", self->argv[0], message);
}

static bool start(process *self, kin_time now) {
  int output = -1, errors = -1;
  int problem = EMFILE;
  if (open_pipe(self, &self->output, &output) && open_pipe(self, &self->errors, &errors))
    problem = spawn(self, output, errors);
  if (output >= 0)
    close(output);
  if (errors >= 0)
    close(errors);
  self->started = true;
  self->deadline = kin_time_after(now, self->timeout);
  if (problem)
    fail(self, KIN_CODE_BAD_CONFIG,
         problem == ENOENT ? "cannot be run: there is no such program" : "cannot be run");
  return !problem;
}

/* True: it has ended. The status is lost when the host ignores SIGCHLD or waits for every child;
 * then only the output is known. */
static bool has_ended(process *self) {
  int status = 0;
  pid_t pid = waitpid(self->pid, &status, WNOHANG);
  if (pid == 0 || (pid < 0 && errno == EINTR))
    return false;
  self->pid = 0;
  if (pid > 0)
    self->end->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return true;
}

static void kill_now(process *self) {
  close_pipe(self, &self->output);
  close_pipe(self, &self->errors);
  if (self->pid == 0)
    return;
  kill(-self->pid, SIGKILL);
  while (waitpid(self->pid, NULL, 0) < 0 && errno == EINTR)
    ;
  self->pid = 0;
}

static kin_time finish(process *self) {
  kin_engine_notify(self->machine.engine, &self->end->message);
  self->end = NULL;
  return KIN_MACHINE_DONE;
}

/* ---- the machine ---- */

static kin_time step(kin_machine *machine, kin_time now) {
  process *self = (process *)machine;
  if (!self->started && !start(self, now))
    return finish(self);
  drain(self, &self->output, &self->end->output);
  drain(self, &self->errors, &self->end->errors);
  bool closed = self->output < 0 && self->errors < 0;
  if (closed && has_ended(self))
    return finish(self);
  if (now >= self->deadline) {
    fail(self, KIN_CODE_TIMEOUT, "did not end in time, and was killed");
    return finish(self);
  }
  kin_time soon = kin_time_after(now, POLL_INTERVAL);
  return closed && soon < self->deadline ? soon : self->deadline;
}

static void receive(kin_machine *machine, kin_message *message) {
  (void)machine;
  kin_message_free(message);
}

static void refuse(kin_machine *machine) {
  process *self = (process *)machine;
  fail(self, KIN_CODE_CONNECTION, "cannot be run: out of memory");
  finish(self);
}

static void destroy(kin_machine *machine) {
  process *self = (process *)machine;
  kill_now(self);
  if (self->end)
    kin_message_free(&self->end->message);
  free(self->argv);
  free(self);
}

static char **copy_argv(kin_slice texts, size_t count) {
  size_t pointers = (count + 1) * sizeof(char *);
  char **argv = malloc(pointers + texts.len);
  if (!argv)
    return NULL;
  char *at = memcpy((char *)argv + pointers, texts.at, texts.len);
  for (size_t i = 0; i < count; i++) {
    argv[i] = at;
    at += strlen(at) + 1;
  }
  argv[count] = NULL;
  return argv;
}

bool kin_process_start(kin_engine *engine, kin_slice argv, size_t count, kin_time timeout,
                       uint64_t owner) {
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy};
  process *self = calloc(1, sizeof *self);
  if (!self)
    return false;
  self->output = self->errors = -1;
  self->argv = copy_argv(argv, count);
  self->end = calloc(1, sizeof *self->end);
  if (!self->argv || !self->end) {
    free(self->argv);
    free(self->end);
    free(self);
    return false;
  }
  kin_machine_init(&self->machine, &vtable, owner);
  self->timeout = timeout;
  self->end->message =
      (kin_message){.kind = KIN_MESSAGE_PROCESS_OVER, .owner = owner, .free = free_end};
  kin_buf_init(&self->end->output, OUTPUT_MAX);
  kin_buf_init(&self->end->errors, ERRORS_MAX);
  return kin_engine_post(engine, &self->machine.message);
}
