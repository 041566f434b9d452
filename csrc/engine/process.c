#define _GNU_SOURCE 1
#include "engine/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/openssl.h"

enum { OUTPUT_MAX = 1 << 20, ERRORS_MAX = 4096 };

/* How often to poll for the end of a supervisor that has reported. */
#define POLL_INTERVAL (5 * KIN_MILLISECOND)

extern char **environ;

typedef struct process {
  kin_machine machine; /* first */
  kin_process_end *end;
  kin_time timeout, deadline;
  pid_t pid;                  /* of the supervisor, and its group; 0: not running */
  int output, errors, status; /* pipes; -1: at the end */
  bool started, reported;
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

/* ---- the supervisor ---- */

/* What the supervisor writes to its pipe, once. */
typedef struct report {
  int problem; /* errno: the program cannot be run */
  int status;  /* of waitpid */
} report;

static void close_from(int first) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, (unsigned)first, ~0U, 0) == 0)
    return;
#endif
  long most = sysconf(_SC_OPEN_MAX);
  for (int fd = first; fd < (most > 0 && most < 65536 ? most : 65536); fd++)
    close(fd);
}

/* Makes `output`, `errors` and `status` the descriptors 1 to 3, and 0 an empty input; closes all
 * others, because the host's connections would stay open as long as the copies here. */
static bool arrange_files(int output, int errors, int status) {
  enum { FIRST_FREE = 4 };
  int input = open("/dev/null", O_RDONLY);
  int moved[] = {fcntl(input, F_DUPFD, FIRST_FREE), fcntl(output, F_DUPFD, FIRST_FREE),
                 fcntl(errors, F_DUPFD, FIRST_FREE), fcntl(status, F_DUPFD, FIRST_FREE)};
  for (int fd = 0; fd < FIRST_FREE; fd++)
    if (moved[fd] < 0 || dup2(moved[fd], fd) < 0)
      return false;
  close_from(FIRST_FREE);
  return fcntl(3, F_SETFD, FD_CLOEXEC) == 0;
}

/* The process between this one and the program: runs the program, waits for it, reports. A host may
 * ignore SIGCHLD or wait for every child, as nginx does; then it loses the status of its own
 * children, but not the supervisor's. Runs in a forked child of a process with threads: only
 * functions that are safe in signal handlers, and posix_spawnp, which allocates nothing here. All
 * signals stay blocked, so that none of the host's handlers runs. */
static _Noreturn void supervise(char **argv, const posix_spawnattr_t *attributes, int output,
                                int errors, int status) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  report done = {0, 0};
  pid_t program;
  setpgid(0, 0);
  sigaction(SIGCHLD, &action, NULL);
  if (arrange_files(output, errors, status)) {
    status = 3;
    done.problem = posix_spawnp(&program, argv[0], NULL, attributes, argv, environ);
    for (int fd = 0; fd < 3; fd++)
      close(fd);
  } else {
    done.problem = errno;
  }
  if (!done.problem)
    while (waitpid(program, &done.status, 0) < 0 && errno == EINTR)
      ;
  ssize_t written = write(status, &done, sizeof done); /* may fail: the host has ended */
  _exit(written < 0);
}

/* ---- start and end ---- */

/* The supervisor gets a process group, so that the program and its children can be killed with it.
 * The program gets default signals, because the engine thread blocks all, and hosts ignore some. */
static int spawn(process *self, int output, int errors, int status) {
  posix_spawnattr_t attributes;
  sigset_t none, ignored;
  sigemptyset(&none);
  sigemptyset(&ignored);
  sigaddset(&ignored, SIGPIPE);
  sigaddset(&ignored, SIGCHLD);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &ignored);
  pid_t pid = fork();
  int problem = pid < 0 ? errno : 0;
  if (pid == 0)
    supervise(self->argv, &attributes, output, errors, status);
  posix_spawnattr_destroy(&attributes);
  if (problem)
    return problem;
  setpgid(pid, pid); /* as the child does: either may come first */
  self->pid = pid;
  return 0;
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

static void fail_to_run(process *self, int problem) {
  char text[80];
  const char *reason =
      problem == ENOENT ? "there is no such program" : strerror_r(problem, text, sizeof text);
  kin_error_set(&self->end->error, KIN_FATAL, KIN_CODE_BAD_CONFIG, "'%.100s' cannot be run: %s",
                self->argv[0], reason);
}

static bool start(process *self, kin_time now) {
  int theirs[] = {-1, -1, -1};
  int problem = EMFILE;
  if (open_pipe(self, &self->output, &theirs[0]) && open_pipe(self, &self->errors, &theirs[1]) &&
      open_pipe(self, &self->status, &theirs[2]))
    problem = spawn(self, theirs[0], theirs[1], theirs[2]);
  for (size_t i = 0; i < 3; i++)
    if (theirs[i] >= 0)
      close(theirs[i]);
  self->started = true;
  self->deadline = kin_time_after(now, self->timeout);
  if (problem)
    fail_to_run(self, problem);
  return !problem;
}

/* Reads the report when there is one. */
static void read_report(process *self) {
  report done;
  ssize_t len = self->status < 0 ? -1 : read(self->status, &done, sizeof done);
  if (self->status < 0 || (len < 0 && (errno == EAGAIN || errno == EINTR)))
    return;
  close_pipe(self, &self->status);
  self->reported = true;
  if (len != sizeof done)
    fail(self, KIN_CODE_CONNECTION, "was killed from outside, with what watched over it");
  else if (done.problem)
    fail_to_run(self, done.problem);
  else
    self->end->status =
        WIFSIGNALED(done.status) ? 128 + WTERMSIG(done.status) : WEXITSTATUS(done.status);
}

/* True: the supervisor is gone; the host may have waited for it. */
static bool is_reaped(process *self) {
  pid_t pid = waitpid(self->pid, NULL, WNOHANG);
  if (pid == 0 || (pid < 0 && errno == EINTR))
    return false;
  self->pid = 0;
  return true;
}

static void kill_now(process *self) {
  close_pipe(self, &self->output);
  close_pipe(self, &self->errors);
  close_pipe(self, &self->status);
  if (self->pid == 0)
    return;
  /* not what a program left behind that has ended */
  kill(self->reported ? self->pid : -self->pid, SIGKILL);
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
  read_report(self); /* first: then the pipes have all that the program wrote */
  drain(self, &self->output, &self->end->output);
  drain(self, &self->errors, &self->end->errors);
  if (self->reported)
    return is_reaped(self) ? finish(self) : kin_time_after(now, POLL_INTERVAL);
  if (now >= self->deadline) {
    fail(self, KIN_CODE_TIMEOUT, "did not end in time, and was killed");
    return finish(self);
  }
  return self->deadline;
}

static void receive(kin_machine *machine, kin_message *message) {
  (void)machine;
  kin_message_free(message);
}

static void refuse(kin_machine *machine) {
  process *self = (process *)machine;
  fail(self, KIN_CODE_OUT_OF_MEMORY, "cannot be run: out of memory");
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
  static const kin_machine_vtable vtable = {receive, step, refuse, destroy, NULL, NULL};
  process *self = calloc(1, sizeof *self);
  if (!self)
    return false;
  self->output = self->errors = self->status = -1;
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
