-- Whatever a user's environment and files say, the demo, the shell of `make env` and the prompt reach the local
-- service only. And a shell for which `make env` failed reaches none.
-- Flavours: lua5.4
local fresh = require "support.fresh"
local variables = require "kinesis.config.variables"
local worktree = require "support.worktree"

local root, listener, trap, harm

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  return path
end

-- The lines of a command's output that match.
local function count(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

local function harmful_files()
  local profile = ("region = xx-wrong-1\nendpoint_url = %s\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true\n"
    .. "ca_bundle = /nonexistent/ca.pem\ncredential_process = curl -s %s/process\n"):format(trap, trap)
  assert(os.execute(("mkdir -p '%s/home/.aws'"):format(root)))
  write(root .. "/home/.aws/config", "[default]\n" .. profile .. "[profile wrong]\n" .. profile)
  write(root .. "/home/.aws/credentials", "[default]\naws_access_key_id = AKIDWRONG\naws_secret_access_key = wrong\n")
  write(root .. "/token", "wrong")
end

-- A harmful value for every variable that there is.
local function harmful_environment()
  local home = root .. "/home"
  local values = {
    AWS_REGION = "xx-wrong-1", AWS_DEFAULT_REGION = "xx-wrong-1", AWS_ENDPOINT_URL_KINESIS = trap,
    AWS_ENDPOINT_URL_DYNAMODB = trap,
    AWS_ENDPOINT_URL = trap, AWS_ENDPOINT_URL_STS = trap, AWS_ENDPOINT_URL_SSO = trap,
    AWS_ENDPOINT_URL_SSO_OIDC = trap, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = "true", AWS_USE_FIPS_ENDPOINT = "true",
    AWS_USE_DUALSTACK_ENDPOINT = "true", AWS_ACCOUNT_ID_ENDPOINT_MODE = "required",
    AWS_CA_BUNDLE = "/nonexistent/ca.pem", AWS_MAX_ATTEMPTS = "none", AWS_SDK_UA_APP_ID = "wrong",
    AWS_CONFIG_FILE = home .. "/.aws/config", AWS_SHARED_CREDENTIALS_FILE = home .. "/.aws/credentials",
    AWS_PROFILE = "wrong", AWS_DEFAULT_PROFILE = "wrong", HOME = home, AWS_ACCESS_KEY_ID = "AKIDWRONG",
    AWS_SECRET_ACCESS_KEY = "wrong", AWS_SESSION_TOKEN = "wrong", AWS_CREDENTIAL_EXPIRATION = "2001-01-01T00:00:00Z",
    AWS_ACCOUNT_ID = "123456789012", AWS_WEB_IDENTITY_TOKEN_FILE = root .. "/token",
    AWS_ROLE_ARN = "arn:aws:iam::123456789012:role/wrong", AWS_ROLE_SESSION_NAME = "wrong",
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "no path", AWS_CONTAINER_CREDENTIALS_FULL_URI = trap .. "/container",
    AWS_CONTAINER_AUTHORIZATION_TOKEN = "wrong", AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = root .. "/token",
    AWS_EC2_METADATA_DISABLED = "false", AWS_EC2_METADATA_SERVICE_ENDPOINT = trap,
    AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE = "wrong", AWS_EC2_METADATA_V1_DISABLED = "true",
    AWS_METADATA_SERVICE_TIMEOUT = "wrong", AWS_METADATA_SERVICE_NUM_ATTEMPTS = "wrong",
    http_proxy = trap, https_proxy = trap, HTTPS_PROXY = trap, all_proxy = trap, ALL_PROXY = trap,
    no_proxy = "example.com", NO_PROXY = "example.org", SSLKEYLOGFILE = "/nonexistent/keys",
    OPENSSL_CONF = "/nonexistent/openssl.cnf", TMPDIR = "/nonexistent/tmp",
    XDG_STATE_HOME = "/nonexistent/state",
    AWS_LAMBDA_FUNCTION_NAME = "wrong", _X_AMZN_TRACE_ID = "wrong",
  }
  for _, variable in ipairs(variables.list) do
    assert.is_string(values[variable.name], "no harmful value for " .. variable.name)
  end
  return values
end

local function shell(lines, more)
  local env = { KINESIS_STREAM = "production", KINESIS_DEMO_COUNT = "1" }
  for _, values in ipairs { harm, more or {} } do
    for name, value in pairs(values) do
      env[name] = value
    end
  end
  return worktree.shell(root, env, lines)
end

-- Types at a prompt; see spec/support/prompt.py. Returns the screen.
local function talk(command, dialogue, more)
  write(root .. "/dialogue", (dialogue:gsub("\n +", "\n"):gsub("^%s+", "")))
  local screen, status = shell(("\"$PYTHON\" spec/support/prompt.py '%s' <dialogue"):format(command), more)
  assert.equal(0, status, screen)
  return screen
end

setup(function()
  root = worktree.make()
  listener = fresh.node "listener.mjs"
  local port
  listener.pid, port = listener:line():match "^(%d+) (%d+)$"
  trap = "http://127.0.0.1:" .. port
  harmful_files()
  harm = harmful_environment()
  -- the trap is one: without a seal it is visited
  fresh.lua([[print(require("kinesis").client { region = "us-east-1", endpoint = "http://nowhere.invalid",
    credentials = { access_key_id = "AKID", secret_access_key = "s" }, max_attempts = 1 }:call "ListStreams")]],
    { http_proxy = trap }):wait()
  assert.matches("^POST http://nowhere.invalid/ ", listener:line())
end)

teardown(function()
  worktree.remove(root)
end)

describe("with an environment that is harmful throughout", function()
  it("make demo uses the local service, and says so", function()
    local output, status = shell "make -s demo"
    assert.equal(0, status, output)
    assert.matches("2 of 2 records put", output, 1, true)
    assert.equal(2, count(output, "stream    | Service:   http://127%.0%.0%.1:%d+ %(on this machine%)"))
    assert.matches("production is being deleted", output, 1, true)
  end)

  it("make repl by itself has a service of its own", function()
    local screen = talk("make -s repl", [[
      see KINESIS_REPL=aws make repl
      see >
      type print(kinesis.put("production", "x").shard_id)
      see shardId-
      see >
      end
    ]])
    assert.matches("Service:   http://127.0.0.1:", screen, 1, true)
    assert.matches("nothing to stop", (shell "make -s stop"), 1, true)
  end)

  it("the shell of make env goes through the tutorial, in Lua 5.4, LuaJIT and nginx", function()
    local readme = assert(io.open(os.getenv "ROOT" .. "/README.md"))
    local block = readme:read("*a"):match "```nginx\n(.-)```"
    readme:close()
    write(root .. "/nginx.conf", [[
      user root; pid ROOT/nginx.pid; error_log ROOT/error.log;
    ]] .. block:gsub("server {", "access_log off; server { listen unix:ROOT/socket;"))
    local output, status = shell [[
      eval "$(make -s env)" && echo sealed
      lua5.4 examples/stream.lua create 1
      luajit examples/stream.lua describe | head -n 1
      lua5.4 examples/producer.lua Hello && luajit examples/producer.lua Hello
      mkfifo read
      stdbuf -oL lua5.4 examples/consumer.lua >read & reader=$!
      while read -r line; do
        echo "$line"
        case $line in Record:*) seen=x$seen; [ "$seen" != xx ] || kill -INT $reader; esac
      done <read
      for s in clicks access; do KINESIS_STREAM=$s lua5.4 examples/stream.lua create 1 >/dev/null; done
      sed -i "s|ROOT|$PWD|g" nginx.conf
      nginx -p "$PWD" -c "$PWD/nginx.conf" -e "$PWD/error.log"
      curl -s -o answer -w '%{http_code}\n' -d a-click --unix-socket socket http://localhost/clicks
      for s in clicks access; do KINESIS_STREAM=$s lua5.4 -l kinesis -e '
        for r in kinesis.shards(os.getenv "KINESIS_STREAM"):records { limit = 1 } do print("nginx put " .. r.data) end'
      done
      kill -QUIT "$(cat nginx.pid)"
      lua5.4 examples/stream.lua list 2>/dev/null
      eval "$(make -s env)" && echo "$AWS_ENDPOINT_URL_KINESIS $no_proxy"
    ]]
    assert.equal(0, status, output)
    assert.matches("kinesis%-local is up.-\nsealed\n", output)
    assert.equal(2, count(output, "\nService:   http://127%.0%.0%.1:%d+ %(on this machine%)"), output)
    assert.equal(2, count(output, "\nRecord: "), output)
    assert.matches("Stopped.", output, 1, true)
    assert.matches("\n202\nnginx put a%-click\nnginx put /clicks\n", output)
    assert.matches("\naccess\nclicks\nproduction\n", output, 1, true)
    assert.matches("\nhttp://127%.0%.0%.1:%d+ example.com,127%.0%.0%.1,localhost\n$", output)
  end)

  it("make repl joins the service of make env, and leaves it as it is", function()
    local screen = talk("make -s repl", [[
      see service that `make env` started
      see >
      type print(kinesis.put("production", "x").shard_id)
      see shardId-
      type kinesis.create_stream { StreamName = "mine", ShardCount = 1 }
      see request_id
      see >
      end
    ]])
    assert.is_nil(screen:find("creating production", 1, true), screen)
    local output = shell [[eval "$(make -s env)"; lua5.4 examples/stream.lua list]]
    assert.matches("\naccess\nclicks\nmine\nproduction\n$", output)
    assert.is_nil(output:find("kinesis-local is up", 1, true), "it was started again")
  end)

  it("nothing has gone anywhere else", function()
    fresh.spawn("kill " .. listener.pid):wait()
    assert.equal("", (listener:wait()))
  end)
end)

it("a prompt on a real stream has the user's own settings", function()
  local screen = worktree.shell(root, {
    KINESIS_REPL = "aws", AWS_REGION = "us-east-1", AWS_ENDPOINT_URL = os.getenv "KINESALITE",
    AWS_ACCESS_KEY_ID = "AKIDmine", AWS_SECRET_ACCESS_KEY = "mine",
  }, [[echo 'print(kinesis.client():configuration().credentials.origin)' | make -s repl]])
  assert.matches(("Service:   %s "):format(os.getenv "KINESALITE"), screen, 1, true)
end)

describe("when make env fails", function()
  local broken

  after_each(function()
    worktree.remove(broken)
  end)

  -- `make` is the command; what a user types next is a creation in his own account, here the scripted service.
  local function expect_refusal(make, env)
    env.AWS_REGION, env.AWS_ENDPOINT_URL, env.AWS_USE_FIPS_ENDPOINT = "us-east-1", os.getenv "KINESALITE", nil
    env.AWS_ACCESS_KEY_ID, env.AWS_SECRET_ACCESS_KEY, env.KINESIS_STREAM = "AKIDmine", "mine", fresh.name "real"
    local output, status = worktree.shell(broken, env, ([[
      eval "$(%s)" && echo 'all is well'
      export LUA_CPATH="$ROOT/build/lua5.4/?.so;;"
      lua5.4 examples/stream.lua create]]):format(make))
    assert.equal(1, status, output)
    assert.is_nil(output:find("all is well", 1, true), output)
    assert.matches("make env failed. No Kinesis can be reached from this shell", output, 1, true)
    assert.matches("CreateStream: Connection: Failed to connect to 127.0.0.1 port 9 ", output, 1, true)
  end

  it("as nothing can be built, its shell reaches no service", function()
    broken = worktree.make "build/lua5.4"
    expect_refusal("make -s env CC=false", {})
  end)

  it("as nothing can be installed, its shell reaches no service", function()
    broken = worktree.make "build/node"
    assert(os.execute(("mkdir '%s/bin' && ln -s /bin/false '%s/bin/npm'"):format(broken, broken)))
    expect_refusal("make -s env", { PATH = broken .. "/bin:" .. os.getenv "PATH" })
  end)

  it("as the service does not start, its shell reaches none", function()
    broken = worktree.make "build/node"
    assert(os.execute(("mkdir -p '%s/build/node/node_modules/kinesis-local'"):format(broken)))
    assert(os.execute(("cp spec/support/package.json '%s/build/node/demo.json'"):format(broken)))
    write(broken .. "/build/node/node_modules/kinesis-local/main.js", "process.exit(3)")
    expect_refusal("make -s env", {})
  end)
end)
