/* module: luaopen_kinesis_core, and functions that belong to no client. Lua thread. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/notice.h"
#include "base/text.h"
#include "engine/lambda.h"
#include "lua/check.h"
#include "lua/client.h"
#include "lua/codec.h"
#include "lua/error.h"
#include "lua/handle.h"
#include "lua/leases.h"
#include "lua/producer.h"
#include "lua/put_many.h"
#include "lua/reader.h"
#include "lua/reader_stats.h"
#include "lua/record.h"
#include "lua/ticket.h"
#include "lua/window_pool.h"

__attribute__((visibility("default"))) int luaopen_kinesis_core(lua_State *L);

/* Keeps the library in memory: a host that closes its Lua state unloads it while the engine's
 * thread or the exit handler still runs its code. nginx does so at every request with
 * lua_code_cache off. */
static void pin(void) {
  Dl_info self;
  if (dladdr((void *)(uintptr_t)luaopen_kinesis_core, &self) && self.dli_fname)
    dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

/* now() -> seconds of the monotonic clock */
static int now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)kin_monotonic() / (lua_Number)KIN_SECOND);
  return 1;
}

/* trace_header() -> the value of X-Amzn-Trace-Id | nil: there is none outside of Lambda */
static int trace_header(lua_State *L) {
  char value[KIN_TRACE_HEADER_MAX];
  kin_buf buf;
  kin_buf_init(&buf, sizeof value);
  kin_lambda_trace_header(&buf);
  kin_slice text = buf.failed ? (kin_slice){0} : kin_buf_slice(&buf);
  kin_slice_copy(text, value, sizeof value);
  kin_buf_free(&buf);
  if (!value[0])
    return 0;
  lua_pushstring(L, value);
  return 1;
}

/* is_yieldable() -> whether the running coroutine can yield: not in the main coroutine, nor in a
 * function that C calls. nginx hides Lua's own function. */
static int is_yieldable(lua_State *L) {
  lua_pushboolean(L, lua_isyieldable(L));
  return 1;
}

/* notice_due(key) -> whether a message of this key may be printed: once a minute per process */
static int notice_due(lua_State *L) {
  kin_slice key;
  key.at = luaL_checklstring(L, 1, &key.len);
  lua_pushboolean(L, kin_notice_due(key, kin_monotonic()));
  return 1;
}

/* clean(text, most) -> the text as a message may quote it: see base/text.h; at most so many bytes,
 * or as many as an error's message has */
static int clean(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  lua_Integer most = luaL_optinteger(L, 2, KIN_ERROR_MESSAGE_MAX - 1);
  luaL_argcheck(L, most >= 8 && most < KIN_ERROR_MESSAGE_MAX, 2, "a length is expected");
  size_t size = (size_t)most + 1;
  char *copy = lua_newuserdata(L, size);
  memcpy(copy, text, len < size ? len : size);
  kin_text_end(copy, size, len);
  lua_pushstring(L, copy);
  return 1;
}

/* check_stream(name) -> nil | message */
static int check_stream(lua_State *L) {
  kin_slice stream;
  const char *message = kin_lua_check_stream(L, 1, &stream);
  if (!message)
    return 0;
  lua_pushstring(L, message);
  return 1;
}

static bool write_all(int fd, const char *text, size_t len) {
  while (len > 0) {
    ssize_t written = write(fd, text, len);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return false;
    text += written;
    len -= (size_t)written;
  }
  return true;
}

/* replace_file(path, text) -> true | nil, message: atomically; the file is readable by its user
 * only */
static int replace_file(lua_State *L) {
  size_t len;
  const char *path = luaL_checkstring(L, 1);
  const char *text = luaL_checklstring(L, 2, &len);
  char *fresh = lua_newuserdata(L, strlen(path) + sizeof ".XXXXXX");
  sprintf(fresh, "%s.XXXXXX", path);
  int fd = mkostemp(fresh, O_CLOEXEC); /* mode 0600 */
  if (fd >= 0) {
    bool good = write_all(fd, text, len);
    int problem = good ? 0 : errno;
    close(fd);
    if (good && rename(fresh, path) == 0) {
      lua_pushboolean(L, 1);
      return 1;
    }
    problem = problem ? problem : errno;
    unlink(fresh);
    errno = problem;
  }
  lua_pushnil(L);
  lua_pushfstring(L, "%s: %s", path, strerror(errno));
  return 2;
}

/* home() -> the home folder in the passwd entry of the user | nil: there is no entry */
static int home(lua_State *L) {
  struct passwd entry, *found = NULL;
  size_t size = 1024;
  int problem = ERANGE;
  for (; problem == ERANGE && size <= 1 << 20; size *= 4)
    problem = getpwuid_r(getuid(), &entry, lua_newuserdata(L, size), size, &found);
  if (problem || !found || !found->pw_dir[0])
    return 0;
  lua_pushstring(L, found->pw_dir);
  return 1;
}

/* unique_name() -> host, process and 64 random bits: the same in no other process */
static int unique_name(lua_State *L) {
  char host[65] = "";
  unsigned char bits[8];
  char hex[2 * sizeof bits + 1];
  gethostname(host, sizeof host - 1);
  if (getentropy(bits, sizeof bits) != 0)
    return luaL_error(L, "the system has no random numbers: %s", strerror(errno));
  for (size_t i = 0; i < sizeof bits; i++)
    sprintf(hex + 2 * i, "%02x", bits[i]);
  for (char *at = host; *at; at++)
    if (*at == '/' || (unsigned char)*at <= ' ')
      *at = '-';
  lua_pushfstring(L, "%s-%d-%s", host[0] ? host : "host", (int)getpid(), hex);
  return 1;
}

/* about_credentials(code) -> whether an error of that code ends by itself once there are other
 * credentials */
static int about_credentials(lua_State *L) {
  kin_error error = {0};
  kin_slice_copy(kin_slice_of(luaL_checkstring(L, 1)), error.code, sizeof error.code);
  lua_pushboolean(L, kin_error_is_about_credentials(&error) ||
                         strcmp(error.code, KIN_CODE_NO_CREDENTIALS) == 0);
  return 1;
}

int luaopen_kinesis_core(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"client", kin_lua_client_push},
      {"wait", kin_lua_client_wait},
      {"check_stream", check_stream},
      {"clean", clean},
      {"now", now},
      {"home", home},
      {"unique_name", unique_name},
      {"trace_header", trace_header},
      {"replace_file", replace_file},
      {"notice_due", notice_due},
      {"about_credentials", about_credentials},
      {"is_yieldable", is_yieldable},
      {"window_pool", kin_lua_window_pool_push},
      {NULL, NULL},
  };
  pin();
  kin_lua_handle_open(L);
  kin_lua_client_open(L);
  kin_lua_ticket_open(L);
  kin_lua_put_many_open(L);
  kin_lua_reader_open(L);
  kin_lua_reader_stats_open(L);
  kin_lua_leases_open(L);
  kin_lua_producer_open(L);
  kin_lua_window_pool_open(L);
  lua_newtable(L);
  kin_lua_class_add(L, functions);
  /* the Lua modules add __tostring */
  luaL_newmetatable(L, KIN_LUA_ERROR_META);
  lua_setfield(L, -2, "error_meta");
  luaL_newmetatable(L, KIN_LUA_RECORD_META);
  lua_setfield(L, -2, "record_meta");
  luaL_newmetatable(L, KIN_LUA_RESULT_META);
  lua_setfield(L, -2, "result_meta");
  kin_lua_codec_push(L);
  lua_setfield(L, -2, "codec");
  return 1;
}
