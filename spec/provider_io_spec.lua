-- The I/O of credentials providers: HTTP requests that are not signed, and programs.
local cjson = require "cjson"
local core = require "kinesis.core"
local fresh = require "support.fresh"
local context = require "kinesis.credentials.context"
local registry = require "kinesis.wait.registry"

local echo = os.getenv "NGINX_FAULTS" .. "/echo"

local function context_of(client)
  return context.of(client, {}, { profile = {} })
end

-- Runs f as a provider: in a coroutine that the drain resumes.
local function provider_task(client, f, ...)
  local results
  local arguments = { ... }
  local routine = coroutine.create(function()
    results = { f((table.unpack or unpack)(arguments)) }
  end)
  local function resume()
    local good, id = coroutine.resume(routine)
    assert(good, id)
    if coroutine.status(routine) ~= "dead" then
      registry.add(client, id, resume)
    end
  end
  resume()
  while not results do
    core.wait({ client.core }, 5)
    registry.drain(client)
  end
  return (table.unpack or unpack)(results, 1, 2)
end

describe("a fetch", function()
  local client

  setup(function()
    client = fresh.client(fresh.services[1])
  end)

  teardown(function()
    client:close()
  end)

  local function request(wanted)
    wanted.method, wanted.timeout = wanted.method or "GET", wanted.timeout or 5
    return provider_task(client, context_of(client).request, wanted)
  end

  it("sends method, headers and body as they are, unsigned", function()
    for _, method in ipairs { "GET", "PUT", "POST" } do
      local body = method == "GET" and "" or "a=b&c=" .. fresh.bytes
      local answer = assert(request { method = method, url = echo, headers = { ["x-token"] = "t" }, body = body })
      assert.equal(200, answer.status)
      local seen = cjson.decode(answer.body)
      assert.equal(method, seen.method)
      assert.equal("t", seen.headers["x-token"])
      assert.is_nil(seen.headers.authorization)
      assert.equal(method ~= "GET" and #body or 0, #seen.body)
    end
    -- and the client's own calls find their connections unchanged
    assert(client:call "ListStreams")
  end)

  it("returns every status as an answer, after one attempt", function()
    for _, status in ipairs { 404, 500, 503 } do
      assert.equal(status, assert(request { url = echo .. "?status=" .. status }).status)
    end
  end)

  it("that takes too long, or cannot connect, returns an error", function()
    local answer, err = request { url = echo .. "?delay=5", timeout = 0.1 }
    assert.is_nil(answer)
    assert.equal("Timeout", err.code)
    answer, err = request { url = "http://127.0.0.1:9/" }
    assert.is_nil(answer)
    assert.equal("Connection", err.code)
  end)

  it("to localhost goes to this machine", function()
    local answer = assert(request { url = (echo:gsub("127%.0%.0%.1", "localhost")) })
    assert.equal(200, answer.status)
  end)

  it("that fails has no part of its URL's path in its error", function()
    local _, err = request { url = "http://127.0.0.1:9/of-the-keys/" .. ("x"):rep(200) }
    assert.equal("Connection", err.code)
    assert.matches("(http://127.0.0.1:9)", err.message, 1, true)
    assert.is_nil(err.message:find("of-the-keys", 1, true))
    assert.equal(0, client:stats().failed)
  end)

  it("is sent after its delay", function()
    local started = core.now()
    assert(request { url = echo, delay = 0.2 })
    assert.is_true(core.now() - started >= 0.2)
  end)

  it("refuses a header with a line break", function()
    local answer, err = request { url = echo, headers = { authorization = "a\r\nx: b" } }
    assert.is_nil(answer)
    assert.equal("BadConfig", err.code)
    assert.is_nil(tostring(err):find("x: b", 1, true))
  end)

  it("is sent while calls that wait for credentials take every connection", function()
    local answer
    local own = fresh.client(fresh.services[1], { max_connections = 1, credentials = function() end })
    own.credentials.is_chain, own.credentials.provider = true, function()
      answer = assert(context_of(own).request { method = "GET", url = echo, timeout = 5 })
      return fresh.keys
    end
    assert(own:call "ListStreams")
    assert.equal(200, answer.status)
    own:close()
  end)

  it("is cancelled when the client is closed", function()
    local own = fresh.client(fresh.services[1])
    local err
    local routine = coroutine.create(function()
      local _
      _, err = context_of(own).request { method = "GET", url = echo .. "?delay=5", timeout = 10 }
    end)
    assert(coroutine.resume(routine))
    own:close()
    assert(coroutine.resume(routine))
    assert.equal("Closed", err.code)
  end)
end)

describe("a program", function()
  local client

  setup(function()
    client = fresh.client(fresh.services[1])
  end)

  teardown(function()
    client:close()
  end)

  local function run(argv, timeout)
    return provider_task(client, context_of(client).run, argv, timeout or 5)
  end

  it("returns its output, its stderr, and its status", function()
    local ended = assert(run { "sh", "-c", "printf 'a\\0b'; echo why >&2; exit 3" })
    assert.same({ status = 3, output = "a\0b", errors = "why\n" }, ended)
  end)

  it("gets its arguments unchanged, an empty input, and default signals", function()
    local ended = assert(run { "printf", "%s|", "a b", "$HOME", "'", "" })
    assert.equal("a b|$HOME|'||", ended.output)
    assert.same({ status = 0, output = "", errors = "" }, assert(run { "cat" }))
    assert.matches("SigBlk:%s*0+\n", assert(run { "cat", "/proc/self/status" }).output)
    assert.equal(128 + 13, assert(run { "sh", "-c", "kill -PIPE $$" }).status)
  end)

  it("may print much; the first MiB is kept", function()
    local ended = assert(run { "head", "-c", "3000000", "/dev/zero" })
    assert.equal(0, ended.status)
    assert.equal(2 ^ 20 - 1, #ended.output)
  end)

  it("that is missing, or does not end, returns an error", function()
    local ended, err = run { "no-such-program-here" }
    assert.is_nil(ended)
    assert.matches("'no%-such%-program%-here' cannot be run: there is no such program", err)
    ended, err = run { "/etc/passwd" }
    assert.is_nil(ended)
    assert.matches("'/etc/passwd' cannot be run: Permission denied", err)
    local started = core.now()
    local pids = os.tmpname()
    ended, err = run({ "sh", "-c", "sleep 60 & echo $! $$ >" .. pids .. "; wait" }, 0.3)
    assert.is_nil(ended)
    assert.matches("did not end in time, and was killed", err)
    assert.is_true(core.now() - started < 3)
    for pid in io.open(pids):read("*a"):gmatch "%d+" do
      fresh.eventually(function() -- a zombie of the test's own group may be left for init
        return (fresh.spawn("cut -d' ' -f3 /proc/" .. pid .. "/stat 2>/dev/null"):wait()):find "^Z?%s*$"
      end)
    end
    os.remove(pids)
  end)

  it("that closes its output and goes on is waited for", function()
    assert.equal(7, assert(run { "sh", "-c", "exec >&- 2>&-; sleep 0.1; exit 7" }).status)
  end)

  it("that leaves a child behind, with its output still open, has ended", function()
    local started = core.now()
    local ended = assert(run { "sh", "-c", "echo keys; echo why >&2; sleep 60 & echo $!; exit 4" })
    assert.is_true(core.now() - started < 3)
    local left = ended.output:match "^keys\n(%d+)\n$"
    assert.same({ 4, "why\n" }, { ended.status, ended.errors })
    assert.equal("", (fresh.spawn("kill " .. left):wait())) -- it was left alone
  end)

  it("inherits none of our descriptors", function()
    local theirs = os.tmpname()
    local open = {}
    for i = 1, 5 do
      open[i] = assert(io.open(theirs))
    end
    -- ls itself opens the folder that it lists
    assert.equal("0\n1\n2\n3\n", assert(run { "ls", "/proc/self/fd" }).output)
    for _, file in ipairs(open) do
      file:close()
    end
    os.remove(theirs)
  end)

  it("is known to have failed where the host ignores SIGCHLD, and does not ignore it itself", function()
    local folder = fresh.folder { ["run.lua"] = [[
      local client = assert(require("kinesis").client {
        endpoint = "http://127.0.0.1:9", region = "us-east-1",
        credentials = { access_key_id = "A", secret_access_key = "b" },
      })
      local context = require("kinesis.credentials.context").of(client, {}, { profile = {} })
      local core, registry = require "kinesis.core", require "kinesis.wait.registry"
      local function run(...)
        local argv, timeout, results = { ... }, 5
        local routine = coroutine.create(function() results = { context.run(argv, timeout) } end)
        local function resume()
          local good, id = coroutine.resume(routine)
          assert(good, id)
          if coroutine.status(routine) ~= "dead" then registry.add(client, id, resume) end
        end
        resume()
        while not results do
          core.wait({ client.core }, 5)
          registry.drain(client)
        end
        return results[1], results[2]
      end
      io.write(io.open("/proc/self/status"):read("*a"):match "SigIgn:%s*(%x+)", "\n")
      local ended = assert(run("sh", "-c", "echo keys; echo why >&2; exit 3"))
      print(ended.status, ended.output, ended.errors)
      print(run("no-such-program-here"))
      print(assert(run("sh", "-c", "kill -9 $$")).status)
      print(assert(run("grep", "SigIgn", "/proc/self/status")).output)
      client:close()
    ]] }
    -- no shell in between: it would catch the signal
    local parent = "import os, shlex, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
      .. 'words = shlex.split(os.environ["LUA"]) + sys.argv[1:]; os.execvp(words[0], words)'
    local command = ("exec %s -c '%s' %s/run.lua"):format(os.getenv "PYTHON", parent, folder)
    local output, status = fresh.spawn(command):wait()
    assert.equal(0, status, output)
    assert.matches("^%x*[13579bdf]%x%x%x%x\n3\tkeys\n\twhy\n\n"
      .. "nil\t'no%-such%-program%-here' cannot be run: there is no such program\n137\n"
      .. "SigIgn:\t%x*[02468ace]%x%x%x%x\n", output)
  end)

  it("is killed, and all that it started, when the client is closed", function()
    local own = fresh.client(fresh.services[1])
    local name = "kinesis-spec-" .. fresh.name()
    local routine = coroutine.create(function()
      context_of(own).run({ "sh", "-c", "sh -c 'sleep 60; : " .. name .. "' & wait" }, 60)
    end)
    local function is_running()
      return os.execute("pgrep -f '[k]" .. name:sub(2) .. "' >/dev/null") == (_VERSION == "Lua 5.4" and true or 0)
    end
    assert(coroutine.resume(routine))
    fresh.eventually(is_running)
    local started = core.now()
    own:close()
    assert.is_true(core.now() - started < 0.5)
    fresh.eventually(function()
      return not is_running()
    end)
  end)
end)
