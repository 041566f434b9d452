-- nginx where the wake cannot be had: calls get their answers all the same, and workers leave.
-- Flavours: lua5.4
local faults = require "support.faults"
local fresh = require "support.fresh"
local nginx = require "support.nginx"

local scope

before_each(function()
  scope = faults.open { PutRecord = { { body = '{"ShardId":"shardId-0","SequenceNumber":"1"}', always = true } },
    ListShards = { { body = '{"Shards":[{"ShardId":"shardId-0"}]}', always = true } },
    GetShardIterator = { { body = '{"ShardIterator":"i"}', always = true } },
    GetRecords = { { body = '{"Records":[],"NextShardIterator":"i","MillisBehindLatest":0}', always = true } } }
end)

after_each(nginx.stop_all)

-- /put puts once; its credentials come from a function, or with ?keys=fetched from a container's agent. /tail reads
-- until the worker exits. /crowd?left=N takes all timers, or all connections, but N; /alone gives them back.
local HTTP = [[
  %s
  init_worker_by_lua_block {
    kinesis = require "kinesis"
    clients = {}
    if os.getenv "NO_FOLDER" then -- root can write everywhere
      local client = debug.getregistry()["kinesis.client"]
      function client.listen(_, folder)
        return nil, "no socket in " .. folder
      end
    end
    function client(keys)
      clients[keys] = clients[keys] or assert(kinesis.client {
        endpoint = "%s", region = "us-east-1", credentials = keys ~= "fetched" and function()
          return { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" }
        end or nil,
      })
      return clients[keys]
    end
  }
  server {
    listen 127.0.0.1:@PORT@;
    keepalive_timeout 0;
    location = / { return 204; }
    location = /put {
      content_by_lua_block {
        local result, err = client(ngx.var.arg_keys or "given"):put("stream", "data", "key")
        ngx.print(result and result.sequence_number or tostring(err))
      }
    }
    location = /tail {
      content_by_lua_block {
        assert(ngx.timer.at(0, function()
          client("given"):shards("stream"):records():next() -- until the worker exits
        end))
      }
    }
    location = /starved {
      content_by_lua_block {
        local ffi = require "ffi"
        ffi.cdef "struct limit { unsigned long now, most; }; int setrlimit(int, const struct limit *);"
        ffi.cdef "int getrlimit(int, struct limit *);"
        local RLIMIT_NOFILE, limit = 7, ffi.new "struct limit"
        ffi.C.getrlimit(RLIMIT_NOFILE, limit)
        local one, before = client "given", limit.now
        limit.now = 3
        ffi.C.setrlimit(RLIMIT_NOFILE, limit)
        local _, err = one:put("stream", "data", "key")
        limit.now = before
        ffi.C.setrlimit(RLIMIT_NOFILE, limit)
        ngx.print(err.code)
      }
    }
    location = /sorted {
      content_by_lua_block {
        local good, err = pcall(table.sort, { 1, 2, 3 }, function(a, b)
          client "given":put("stream", "data", "key")
          return a < b
        end)
        ngx.print(tostring(err))
      }
    }
    location = /crowd {
      content_by_lua_block {
        local running, asked, over = 0, 0, {}
        repeat
          asked = asked + 1
          ngx.timer.at(0, function()
            running = running + 1
            local me = running
            while not over[me] and not gone do ngx.sleep(0.01) end
            running = running - 1
          end)
          ngx.sleep(0.002)
        until running < asked
        local took = running
        for i = 1, tonumber(ngx.var.arg_left) do over[i] = true end
        ngx.sleep(0.05)
        ngx.print(took)
      }
    }
    location = /alone {
      content_by_lua_block {
        gone = true
        ngx.sleep(0.05)
        gone = false
      }
    }
  }
]]

local KEYS = {
  AWS_CONTAINER_CREDENTIALS_FULL_URI = os.getenv "NGINX_KEYS" .. "/agent/x",
  AWS_CONTAINER_AUTHORIZATION_TOKEN = "agent token",
}

local function start(directives, env, connections)
  local all = {}
  for name, value in pairs(KEYS) do
    all[name] = value
  end
  for name, value in pairs(env or {}) do
    all[name] = value
  end
  return nginx.start(HTTP:format(directives or "", scope.url), all, connections)
end

local function expect_puts(server)
  for _ = 1, 2 do
    assert.same({ "200", "1" }, { server:get "/put" })
    assert.same({ "200", "1" }, { server:get "/put?keys=fetched" })
  end
end

local function expect_leaving(server)
  local old = fresh.children(server.pid)
  fresh.spawn("kill -HUP " .. server.pid):wait()
  nginx.await_leaving(server.pid, old)
  expect_puts(server)
end

local function expect_puts_in_a_crowd(server, left)
  local _, took = server:get("/crowd?left=" .. left)
  expect_puts(server)
  server:get "/alone"
  expect_leaving(server)
  server:quit()
  return tonumber(took)
end

it("TMPDIR names no folder: another one is found", function()
  local server = start(nil, { TMPDIR = "/nonexistent" })
  expect_puts(server)
  expect_leaving(server)
  assert.is_nil(server:quit():find("cannot be woken", 1, true))
end)

it("no folder can be written: the answers are looked for, and that is logged once", function()
  local server = start(nil, { NO_FOLDER = "1" })
  expect_puts(server)
  assert.equal("200", (server:get "/tail"))
  expect_leaving(server)
  local log = server:quit()
  local _, told = log:gsub("%[error%][^\n]*nginx cannot be woken for answers, so a timer looks for them every 10 ms; "
    .. "no socket in /", "")
  assert.equal(2, told, log) -- once in each worker
end)

for name, directives in pairs {
  lua_max_running_timers = "lua_max_running_timers 8;",
  lua_max_pending_timers = "lua_max_pending_timers 1;",
} do
  it(name .. " is exhausted for ever: calls get their answers, and workers leave", function()
    expect_puts_in_a_crowd(start(directives), 0)
  end)
end

for left = 1, 2 do
  it("worker_connections has room for " .. left .. ": calls get their answers", function()
    local took = expect_puts_in_a_crowd(start(nil, nil, 24), left)
    assert.is_true(took > 5, took)
  end)
end

it("no descriptor is left: the call fails, and later ones do not", function()
  local server = start()
  assert.same({ "200", "Connection" }, { server:get "/starved" }, server:log())
  expect_puts(server)
  expect_leaving(server)
  server:quit()
end)

it("a call inside a function that C calls gets our advice", function()
  local server = start()
  local _, said = server:get "/sorted"
  assert.matches("content_by_lua%(nginx.conf:%d+%):%d+: kinesis: this call waits, which cannot be done in a function "
    .. "that C calls", said)
  server:quit()
end)
