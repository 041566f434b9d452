rockspec_format = "3.0"
package = "kinesis"
version = "scm-1"
source = { url = "git+https://github.com/kinesis-lua/kinesis.git" }
description = {
  summary = "An Amazon Kinesis client: producers and consumers in one small process",
  detailed = [[
Put records into Amazon Kinesis Data Streams and read them back from Lua 5.4
or LuaJIT: in scripts, at the prompt, and inside OpenResty without ever
blocking its event loop.]],
  homepage = "https://github.com/kinesis-lua/kinesis",
  license = "MIT",
}
dependencies = { "lua >= 5.1", "lua-cjson" }
-- CURL_DIR=… and CRYPTO_DIR=… say where they are. LuaRocks is not told what to look for there: the compiler knows
-- more places, and its message names the packages.
external_dependencies = { CURL = {}, CRYPTO = {} }
-- The two lists are checked against the tree by `make floors`, and written by
-- `lua5.4 spec/support/floors.lua --write`. The Makefile takes its sources from here.
build = {
  type = "builtin",
  modules = {
    ["kinesis.core"] = {
      sources = {
        "csrc/base/budget.c",
        "csrc/base/bytes.c",
        "csrc/base/clock.c",
        "csrc/base/failure.c",
        "csrc/base/timers.c",
        "csrc/consumer/lineage.c",
        "csrc/consumer/poller.c",
        "csrc/consumer/reader.c",
        "csrc/consumer/window.c",
        "csrc/engine/call.c",
        "csrc/engine/engine.c",
        "csrc/engine/http.c",
        "csrc/engine/keyring.c",
        "csrc/engine/message.c",
        "csrc/engine/process.c",
        "csrc/engine/retry.c",
        "csrc/engine/step.c",
        "csrc/engine/trace.c",
        "csrc/engine/wake.c",
        "csrc/lua/args.c",
        "csrc/lua/client.c",
        "csrc/lua/codec.c",
        "csrc/lua/handle.c",
        "csrc/lua/module.c",
        "csrc/lua/reader.c",
        "csrc/lua/records.c",
        "csrc/lua/ticket.c",
        "csrc/producer/settle.c",
        "csrc/wire/base64.c",
        "csrc/wire/getrecords.c",
        "csrc/wire/json.c",
        "csrc/wire/putrecords.c",
        "csrc/wire/sigv4.c",
      },
      incdirs = { "csrc", "$(CURL_INCDIR)", "$(CRYPTO_INCDIR)" },
      libdirs = { "$(CURL_LIBDIR)", "$(CRYPTO_LIBDIR)" },
      libraries = { "curl", "crypto", "pthread" },
    },
    ["kinesis.client"] = "lua/kinesis/client.lua",
    ["kinesis.config.ini"] = "lua/kinesis/config/ini.lua",
    ["kinesis.config.profile"] = "lua/kinesis/config/profile.lua",
    ["kinesis.config.settings"] = "lua/kinesis/config/settings.lua",
    ["kinesis.credentials.advice"] = "lua/kinesis/credentials/advice.lua",
    ["kinesis.credentials.container"] = "lua/kinesis/credentials/container.lua",
    ["kinesis.credentials.environment"] = "lua/kinesis/credentials/environment.lua",
    ["kinesis.credentials.imds"] = "lua/kinesis/credentials/imds.lua",
    ["kinesis.credentials"] = "lua/kinesis/credentials/init.lua",
    ["kinesis.credentials.keys"] = "lua/kinesis/credentials/keys.lua",
    ["kinesis.credentials.process"] = "lua/kinesis/credentials/process.lua",
    ["kinesis.credentials.profile"] = "lua/kinesis/credentials/profile.lua",
    ["kinesis.credentials.role"] = "lua/kinesis/credentials/role.lua",
    ["kinesis.credentials.send"] = "lua/kinesis/credentials/send.lua",
    ["kinesis.credentials.services"] = "lua/kinesis/credentials/services.lua",
    ["kinesis.credentials.setting"] = "lua/kinesis/credentials/setting.lua",
    ["kinesis.credentials.sso"] = "lua/kinesis/credentials/sso.lua",
    ["kinesis.credentials.sso_token"] = "lua/kinesis/credentials/sso_token.lua",
    ["kinesis.credentials.sts"] = "lua/kinesis/credentials/sts.lua",
    ["kinesis.credentials.token_file"] = "lua/kinesis/credentials/token_file.lua",
    ["kinesis.credentials.web_identity"] = "lua/kinesis/credentials/web_identity.lua",
    ["kinesis.endpoint"] = "lua/kinesis/endpoint.lua",
    ["kinesis.errors"] = "lua/kinesis/errors.lua",
    ["kinesis.hooks"] = "lua/kinesis/hooks.lua",
    ["kinesis"] = "lua/kinesis/init.lua",
    ["kinesis.iso8601"] = "lua/kinesis/iso8601.lua",
    ["kinesis.keys"] = "lua/kinesis/keys.lua",
    ["kinesis.option_types"] = "lua/kinesis/option_types.lua",
    ["kinesis.options"] = "lua/kinesis/options.lua",
    ["kinesis.partitions"] = "lua/kinesis/partitions.lua",
    ["kinesis.pretty"] = "lua/kinesis/pretty.lua",
    ["kinesis.reader"] = "lua/kinesis/reader.lua",
    ["kinesis.shards"] = "lua/kinesis/shards.lua",
    ["kinesis.url"] = "lua/kinesis/url.lua",
    ["kinesis.version"] = "lua/kinesis/version.lua",
    ["kinesis.wait.blocking"] = "lua/kinesis/wait/blocking.lua",
    ["kinesis.wait"] = "lua/kinesis/wait/init.lua",
    ["kinesis.wait.openresty"] = "lua/kinesis/wait/openresty.lua",
    ["kinesis.wait.run"] = "lua/kinesis/wait/run.lua",
    ["kinesis.wait.waiters"] = "lua/kinesis/wait/waiters.lua",
  },
}
