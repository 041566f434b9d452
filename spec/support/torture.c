/* torture: makes allocations fail on a spec's command. The linker (--wrap) replaces malloc, calloc
 * and realloc of the C modules by these functions; libcurl and OpenSSL keep theirs, but in the
 * tortured core a digest, which allocates when it begins. Allocations of Lua fail by an allocator
 * in front of Lua's. */
#include "torture.h"

#include <lauxlib.h>
#include <lua.h>
#include <openssl/evp.h>
#include <stdbool.h>

/* Allocations of this thread that succeed before one fails; negative: all succeed. */
static _Thread_local long left = -1;
static _Thread_local bool failed;

static bool fails(void) {
  if (left < 0 || left-- > 0)
    return false;
  failed = true;
  return true;
}

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
int __wrap_EVP_DigestInit_ex2(EVP_MD_CTX *context, const EVP_MD *type, const OSSL_PARAM params[]);
/* Weak: the stepped engine is linked without it. */
int __real_EVP_DigestInit_ex2(EVP_MD_CTX *context, const EVP_MD *type, const OSSL_PARAM params[])
    __attribute__((weak));

void *__wrap_malloc(size_t size) {
  return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
  return fails() ? NULL : __real_realloc(old, size);
}

int __wrap_EVP_DigestInit_ex2(EVP_MD_CTX *context, const EVP_MD *type, const OSSL_PARAM params[]) {
  return fails() ? 0 : __real_EVP_DigestInit_ex2(context, type, params);
}

/* ---- allocations of Lua ---- */

static lua_Alloc allocate;
static long lua_left = -1;
static bool lua_failed;

/* Lua collects garbage and retries after a failed allocation, so the retry fails, too. */
static void *allocate_or_fail(void *data, void *old, size_t had, size_t size) {
  bool grows = size > 0 && (!old || size > had);
  if (grows && lua_left > 0 && --lua_left < 2) {
    lua_failed = true;
    return NULL;
  }
  return allocate(data, old, had, size);
}

/* after(count): that many allocations of the C modules in this thread succeed, then one fails.
 * after() -> whether one has failed; further ones succeed. */
static int after(lua_State *L) {
  bool had = failed;
  left = (long)luaL_optinteger(L, 1, -1);
  failed = false;
  lua_pushboolean(L, had);
  return 1;
}

/* lua_after(count), lua_after(): the same for allocations of Lua */
static int lua_after(lua_State *L) {
  void *data;
  bool had = lua_failed;
  lua_settop(L, 1);
  lua_left = -1;
  if (!allocate) {
    allocate = lua_getallocf(L, &data);
    lua_setallocf(L, allocate_or_fail, data);
  }
  lua_pushboolean(L, had);
  lua_failed = false;
  if (!lua_isnoneornil(L, 1))
    lua_left = (long)luaL_checkinteger(L, 1) + 2;
  return 1;
}

__attribute__((visibility("default"))) int luaopen_torture(lua_State *L);

int luaopen_torture(lua_State *L) {
  lua_newtable(L);
  lua_pushcfunction(L, after);
  lua_setfield(L, -2, "after");
  lua_pushcfunction(L, lua_after);
  lua_setfield(L, -2, "lua_after");
  return 1;
}
