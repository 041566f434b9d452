/* Runs a target in Lua: TARGET.lua in this folder returns a function that gets the input, and
 * raises an error when a check fails. TARGET is set when the program is built. */
#include <lauxlib.h>
#include <lualib.h>

#include "fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

static lua_State *L;

/* libFuzzer takes these for coverage: of lines of Lua, each with the line that ran before it. */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counters[1 << 15];

static void count_line(lua_State *state, lua_Debug *at) {
  static unsigned before;
  (void)state;
  unsigned line = (unsigned)at->currentline;
  counters[(line ^ before << 5) % sizeof counters]++;
  before = line;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  L = luaL_newstate();
  luaL_openlibs(L);
  if (luaL_dofile(L, "spec/fuzz/" FUZZ_TARGET ".lua") != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    abort();
  }
  lua_sethook(L, count_line, LUA_MASKLINE, 0);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  lua_pushvalue(L, -1);
  lua_pushlstring(L, (const char *)data, size);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
    abort();
  }
  return 0;
}
