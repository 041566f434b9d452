-- What the programs of a process inherit of the library: no connection, and nothing else.
local faults = require "support.faults"
local fresh = require "support.fresh"
local namespaces = require "support.namespaces"

-- Prints what a child would inherit of this process, after a client was in use: one line for each descriptor that was
-- not there before.
local PRELUDE = [[
  local kinesis = require "kinesis"
  local lfs = require "lfs"
  local function inherited(command)
    local pipe = io.popen(command or "ls -l /proc/self/fd")
    local found, text = {}, pipe:read "*a"
    pipe:close()
    for fd, what in text:gmatch "(%d+) %-> ([^\n]+)" do
      if not what:find "^/proc/" then found[fd] = what end
    end
    return found
  end
  -- stdout is the pipe of io.popen
  local before = inherited()
  local function report()
    local after = inherited()
    for fd, what in pairs(after) do
      if fd ~= "1" and before[fd] ~= what then print("inherited " .. fd .. " " .. what) end
    end
    local listed = os.tmpname()
    os.execute("ls -l /proc/self/fd >" .. listed)
    local file = io.open(listed)
    for fd, what in file:read "*a":gmatch "(%d+) %-> ([^\n]+)" do
      if tonumber(fd) > 2 and not what:find "^/proc/" and before[fd] ~= what then
        print("inherited " .. fd .. " " .. what)
      end
    end
    file:close()
    os.remove(listed)
    print "reported"
  end
  local function client_of(url, more)
    local options = { endpoint = url, region = "us-east-1",
      credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } }
    for k, v in pairs(more or {}) do options[k] = v end
    return assert(kinesis.client(options))
  end
]]

describe("a child inherits", function()
  it("no connection, and nothing of the client's", function()
    local scope = faults.open { PutRecord = { { stall = 10, always = true } } }
    local output, status = fresh.lua(PRELUDE .. [[
      local client = client_of(arg[1])
      assert(client.core:listen "/tmp") -- as in nginx
      report()
      local puts = {}
      for i = 1, 4 do puts[i] = function() client:call("ListStreams", {}) end end
      kinesis.run((table.unpack or unpack)(puts)) -- connections that are kept
      report()
      local tls = client_of(arg[2], { ca_bundle = os.getenv "CERTS" .. "/ca.pem" })
      tls:call("ListStreams", {})
      report()
      kinesis.run(function() client:put("stream", "data", "key") end, function()
        kinesis.sleep(0.1)
        report() -- a call is in flight
        os.exit(0, true)
      end)
    ]], nil, scope.url, os.getenv "NGINX_FAULTS_TLS" .. "/scope/x"):wait()
    assert.equal(0, status, output)
    assert.equal(("reported\n"):rep(4), output)
  end)

  it("nothing of a name that is being resolved", function()
    namespaces.need(pending)
    local mark, script = os.tmpname(), os.tmpname()
    os.remove(mark)
    local file = assert(io.open(script, "w"))
    file:write(PRELUDE .. [[
      local client = client_of("http://kinesis.example", { connect_timeout = 20 })
      kinesis.run(function() client:put("stream", "data", "key") end, function()
        while not lfs.attributes(arg[1]) do kinesis.sleep(0.01) end
        report()
        os.exit(0, true)
      end)
    ]])
    file:close()
    local output, status = fresh.spawn([[exec unshare -rmn "$PYTHON" "$ROOT/spec/support/silent_dns.py" "$MARK" ]]
      .. [[sh -c "exec $LUA $SCRIPT $MARK"]], { SCRIPT = script, MARK = mark }):wait()
    os.remove(script)
    os.remove(mark)
    assert.equal(0, status, output)
    assert.equal("reported\n", output)
  end)

  it("nothing as a credential_process", function()
    local listed, config = os.tmpname(), os.tmpname()
    local file = assert(io.open(config, "w"))
    file:write(("[default]\ncredential_process = sh -c 'ls -l /proc/self/fd >>%s; echo {\\\"Version\\\":1,"
      .. "\\\"AccessKeyId\\\":\\\"AKIDEXAMPLE\\\",\\\"SecretAccessKey\\\":\\\"secret\\\"}'\n"):format(listed))
    file:close()
    local scope = faults.open {}
    local output, status = fresh.lua(PRELUDE .. [[
      local other = client_of(arg[1])
      other:call("ListStreams", {})
      local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1" })
      assert(client:call("ListStreams", {}))
      for fd, what in io.open(arg[2]):read "*a":gmatch "(%d+) %-> ([^\n]+)" do
        if tonumber(fd) > 2 and not what:find "^/proc/" and before[fd] ~= what then
          print("inherited " .. fd .. " " .. what)
        end
      end
    ]], { AWS_CONFIG_FILE = config }, scope.url, listed):wait()
    os.remove(config)
    os.remove(listed)
    assert.equal(0, status, output)
    assert.equal("", output)
  end)
end)
