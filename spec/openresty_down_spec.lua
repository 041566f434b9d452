-- nginx while the service is down, the stream missing, the credentials missing: what it logs, and how it ends.
-- Flavours: lua5.4
local core = require "kinesis.core"
local fresh = require "support.fresh"
local nginx = require "support.nginx"

local function count(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

-- A worker that puts a record into STREAM at each GET of /put and logs another; `client` are the client's options.
local function start(client, env)
  return nginx.start(([[
    init_worker_by_lua_block {
      local options = { exit_timeout = 1 }
      require("kinesis.openresty").setup { client = { %s }, producers = {
        ["stream-1"] = options, ["stream-2"] = options, ["stream-3"] = options, ["stream-4"] = options } }
    }
    server {
      listen 127.0.0.1:@PORT@;
      location = / { return 204; }
      location = /put {
        content_by_lua_block {
          local host = require "kinesis.openresty"
          for i = 1, tonumber(ngx.var.arg_streams or 1) do
            local taken, err = host.producer("stream-" .. i):put("record", "key")
            ngx.say(tostring(taken), " ", err and err.code or "")
          end
        }
        log_by_lua_block { require("kinesis.openresty").producer("stream-1"):put("logged", "key") }
      }
      location = /errors {
        content_by_lua_block {
          for code, count in pairs(require("kinesis.openresty").producer("stream-1"):stats().errors) do
            ngx.say(code, " ", count)
          end
        }
      }
      location = /read {
        content_by_lua_block {
          local shards = require("kinesis.openresty").client():shards(ngx.var.arg_stream)
          for record in shards:records { stop_at_tip = true } do ngx.say(record.data) end
        }
      }
    }
  ]]):format(client), env)
end

local KEYS = 'region = "us-east-1", credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" }'

local function await_error(server, code)
  fresh.eventually(function()
    local _, body = server:get "/errors"
    return body:find(code .. " ", 1, true)
  end)
end

local function errors_of(log)
  local list = {}
  for line in log:gmatch "[^\n]+" do
    list[#list + 1] = line:match "%[error%].*kinesis: ([^\n]*)"
  end
  return list
end

after_each(nginx.stop_all)

it("a service that is down is told of once, and four producers end within their one time", function()
  local server = start(KEYS .. ', endpoint = "http://127.0.0.1:9", max_attempts = 1')
  for _ = 1, 10 do
    local status, body = server:get "/put?streams=4"
    assert.equal("200", status)
    assert.equal(("true \n"):rep(4), body)
  end
  fresh.eventually(function()
    return #errors_of(server:log()) >= 4
  end)
  local began = core.now()
  local log = server:quit()
  local took = core.now() - began
  local told = errors_of(log)
  assert.equal(4, #told, log)
  for i = 1, 4 do
    assert.equal(1, count(log, ("%%[error%%][^\n]*producer for stream%%-%d: %%a+: Connection: [^\n]*port 9[^\n]*; "
      .. "its records wait and are retried"):format(i)), log)
    local lost = ("kinesis: %%d+ records for stream%%-%d were not delivered: %%a+: Connection: "):format(i)
    assert.equal(1, count(log, lost), log)
  end
  assert.is_true(took < 3.5, ("it took %.1f s"):format(took)) -- one exit_timeout of 1 s, not four, and a look a second
end)

it("a missing stream is told of once, with the reason", function()
  local server = start(KEYS .. (', endpoint = "%s"'):format(fresh.services[1].endpoint))
  for _ = 1, 10 do
    assert.equal("200", (server:get "/put"))
  end
  await_error(server, "ResourceNotFoundException")
  server:get "/put"
  local told = errors_of(server:quit())
  assert.equal(1, #told, table.concat(told, "\n"))
  assert.matches("^producer for stream%-1: PutRecords: ResourceNotFoundException: .*does the stream exist", told[1])
end)

it("missing credentials are told of once, not twice a request", function()
  local server = start((' endpoint = "%s", region = "us-east-1"'):format(fresh.services[1].endpoint),
    { HOME = "/nonexistent" })
  for _ = 1, 10 do
    assert.equal("200", (server:get "/put"))
  end
  await_error(server, "NoCredentials")
  local log = server:quit()
  local told = errors_of(log)
  assert.equal(2, #told, log) -- the client's, as nginx starts; and the producer's
  assert.matches("^NoCredentials: no credentials: .*nginx hides its environment, HOME included", told[1])
  assert.matches("^producer for stream%-1: %a+: NoCredentials: ", told[2])
end)

it("a program for credentials that fails is told of with its status and stderr", function()
  local folder = fresh.folder {
    config = "[default]\ncredential_process = sh -c 'echo not told; echo the vault is sealed >&2; exit 3'\n",
  }
  local server = start((' endpoint = "%s", region = "us-east-1"'):format(fresh.services[1].endpoint),
    { AWS_CONFIG_FILE = folder .. "/config" })
  assert.equal("200", (server:get "/put"))
  await_error(server, "NoCredentials")
  local log = server:quit()
  for _, told in ipairs(errors_of(log)) do
    assert.matches("`credential_process` sh ended with status 3: the vault is sealed;", told, 1, true)
  end
  assert.is_nil(log:find("not told", 1, true))
end)

it("a reader's turns are not warned of", function()
  local direct = fresh.client(fresh.services[1])
  local stream = fresh.stream(direct, 1, "quiet")
  assert(direct:put(stream, "record", "key"))
  local server = start(KEYS .. (', endpoint = "%s"'):format(fresh.services[1].endpoint))
  assert.same({ "200", "record\n" }, { server:get("/read?stream=" .. stream) })
  local log = server:quit()
  assert.is_nil(log:find("[warn]", 1, true), log)
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
end)
