-- The provider chain with the engine: real requests, real programs, and a call that waits for the credentials.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local codec = require("kinesis.core").codec
local faults = require "support.faults"
local fresh = require "support.fresh"

local server = os.getenv "NGINX_KEYS"

local SCRIPT = [[
local kinesis = require "kinesis"
local client, err = kinesis.client { endpoint = arg[1], region = "us-east-1" }
local answer
if client then answer, err = client:call "ListStreams" end
print(answer and "answered" or err.code .. " " .. err.message)
if client then print(require("kinesis.observe.pretty").text(client:configuration().credentials)) end
]]

-- Environment without anything of a user's; `home` is a folder.
local function environment(home, variables)
  local env = {
    HOME = home, AWS_EC2_METADATA_DISABLED = "true", AWS_REGION = "us-east-1", AWS_CONFIG_FILE = "",
    AWS_SHARED_CREDENTIALS_FILE = "",
  }
  for name, value in pairs(variables) do
    env[name] = value
  end
  return env
end

describe("credentials", function()
  local home

  setup(function()
    home = os.tmpname()
    os.remove(home)
    assert(os.execute(("mkdir -p '%s/.aws/sso/cache'"):format(home)))
  end)

  teardown(function()
    os.execute(("rm -rf '%s'"):format(home))
  end)

  local function write(name, text)
    local file = assert(io.open(home .. "/" .. name, "w"))
    file:write(text)
    file:close()
    return home .. "/" .. name
  end

  local function script(commands)
    local path = write("keys.sh", "#!/bin/sh\n" .. commands .. "\n")
    assert(os.execute(("chmod +x '%s'"):format(path)))
    return path
  end

  -- Runs a client in that environment: what it printed, and the key id that its call was signed with.
  local function run(variables)
    local scope = faults.open()
    local output, status = fresh.lua(SCRIPT, environment(home, variables), scope.url):wait()
    assert.equal(0, status, output)
    local seen = scope:seen "ListStreams"
    return output, seen[1] and seen[1].authorization:match "Credential=(%w+)/"
  end

  local function signs(id, origin, variables)
    local output, used = run(variables)
    assert.matches("^answered\n", output)
    assert.equal(id, used)
    assert.matches('origin = "' .. origin, output)
    assert.matches("%*+" .. id:sub(-4), output)
    assert.is_nil(output:find(id, 1, true))
  end

  it("come from an instance's metadata", function()
    signs("AKIDinstance", "instance metadata", {
      AWS_EC2_METADATA_DISABLED = "false", AWS_EC2_METADATA_SERVICE_ENDPOINT = server .. "/imds",
    })
  end)

  it("come past a proxy from those beside us, whom no proxy knows", function()
    local output = run {
      AWS_EC2_METADATA_DISABLED = "false", AWS_EC2_METADATA_SERVICE_ENDPOINT = server .. "/imds",
      http_proxy = "http://127.0.0.1:9",
    }
    assert.matches("^Connection Failed to connect to 127.0.0.1 port 9", output) -- the call itself
    assert.matches('origin = "instance metadata"', output)
  end)

  it("come from a container's agent", function()
    signs("AKIDcontainer", "container", {
      AWS_CONTAINER_CREDENTIALS_FULL_URI = server .. "/agent/keys", AWS_CONTAINER_AUTHORIZATION_TOKEN = "agent token",
    })
  end)

  it("come from a web identity", function()
    signs("AKIDrole", "web identity", {
      AWS_WEB_IDENTITY_TOKEN_FILE = write("token", "an identity's token"), AWS_ENDPOINT_URL_STS = server,
      AWS_ROLE_ARN = "arn:aws:iam::123456789012:role/r",
    })
  end)

  it("come from a role of a profile", function()
    local config = write("config", "[profile dev]\nrole_arn = arn:aws:iam::123456789012:role/r\n"
      .. "source_profile = base\n[profile base]\naws_access_key_id = AKIDbase\naws_secret_access_key = of the base\n")
    signs("AKIDrole", "profile", { AWS_CONFIG_FILE = config, AWS_PROFILE = "dev", AWS_ENDPOINT_URL_STS = server })
  end)

  it("come from a program", function()
    local program = script("echo '{\"Version\":1,\"AccessKeyId\":\"AKID'$1'\","
      .. "\"SecretAccessKey\":\"secret of the program\"}'")
    local config = write("config", ("[default]\ncredential_process = %s \"program\"\n"):format(program))
    signs("AKIDprogram", "profile", { AWS_CONFIG_FILE = config })
  end)

  it("come from a session of single sign-on", function()
    local config = write("config", "[default]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n"
      .. "[sso-session s]\nsso_region = us-east-1\nsso_start_url = https://example.com/start\n")
    write(".aws/sso/cache/" .. codec.sha1 "s" .. ".json", cjson.encode {
      accessToken = "sso token", expiresAt = os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + 7200), region = "us-east-1",
    })
    signs("AKIDsso", "profile", { AWS_CONFIG_FILE = config, AWS_ENDPOINT_URL_SSO = server })
  end)

  it("that no provider has are an error that names all providers", function()
    local output = run { AWS_EC2_METADATA_DISABLED = "false", AWS_EC2_METADATA_SERVICE_ENDPOINT = "http://127.0.0.1:9" }
    for _, place in ipairs { "environment: absent", "web identity: absent", 'profile "default"', "container: absent",
      "instance metadata: absent" } do
      assert.is_truthy(output:find(place, 1, true), place .. ": " .. output)
    end
    assert.matches("^NoCredentials ", output)
  end)

  it("of the environment are used beside files that cannot be read, and beside a malformed default profile", function()
    local keys = { AWS_ACCESS_KEY_ID = "AKIDvariable", AWS_SECRET_ACCESS_KEY = "secret of the variable" }
    keys.HOME = fresh.folder { [".aws/config/x"] = "", [".aws/credentials/x"] = "" }
    signs("AKIDvariable", "environment", keys)
    keys.HOME = fresh.folder { [".aws/credentials"] = "[default]\nregion us-east-1\n" }
    local output, used = run(keys)
    assert.matches("^kinesis: " .. keys.HOME:gsub("%p", "%%%0") .. "/.aws/credentials:2: expected 'key = value', "
      .. "found no '='; the profile \"default\" is passed over\nanswered\n", output)
    assert.equal("AKIDvariable", used)
    output = run { HOME = keys.HOME }
    assert.matches('^kinesis: .-\nNoCredentials .*profile "default" .*: broken: .*credentials:2: expected', output)
    output = run { HOME = fresh.folder { [".aws/config/x"] = "" } }
    assert.matches('^NoCredentials .*"default" %(/.-/.aws/config %(cannot be read: Is a directory%), .*absent', output)
  end)

  it("of a program that fails are missed with what it said on stderr", function()
    local program = script "echo what is told to nobody; echo the vault is sealed >&2; exit 3"
    local output = run { AWS_CONFIG_FILE = write("config", "[default]\ncredential_process = " .. program .. "\n") }
    assert.matches("^NoCredentials .*the vault is sealed", output)
    assert.is_nil(output:find("told to nobody", 1, true))
  end)

  it("that never arrive do not keep an unreferenced client alive", function()
    local output, status = fresh.lua([[
      local core, kinesis, lfs = require "kinesis.core", require "kinesis", require "lfs"
      local function threads()
        local n = -2
        for _ in lfs.dir "/proc/self/task" do n = n + 1 end
        return n
      end
      local held = {}
      for i = 1, 5 do held[i] = assert(kinesis.client { endpoint = "http://127.0.0.1:9", region = "us-east-1" }) end
      local before = threads()
      held = nil
      local deadline = core.now() + 5
      repeat collectgarbage() until before - threads() == 5 or core.now() > deadline
      print(before - threads())
    ]], environment(home, {
      AWS_CONTAINER_CREDENTIALS_FULL_URI = server .. "/slow/keys", AWS_EC2_METADATA_DISABLED = "true",
    })):wait()
    assert.equal(0, status, output)
    assert.equal("5\n", output)
  end)

  it("that do not come hinder no close()", function()
    local output, status = fresh.lua([[
      local core, kinesis = require "kinesis.core", require "kinesis"
      local client = assert(kinesis.client { endpoint = "http://127.0.0.1:9", region = "us-east-1" })
      local err
      kinesis.run(function()
        local _
        _, err = client:call "ListStreams"
      end, function()
        kinesis.sleep(0.2)
        local before = core.now()
        client:close()
        assert(core.now() - before < 0.1, "close() took long")
      end)
      print(err.code)
    ]], environment(home, {
      AWS_CONTAINER_CREDENTIALS_FULL_URI = server .. "/slow/keys", AWS_EC2_METADATA_DISABLED = "true",
    })):wait()
    assert.equal(0, status, output)
    assert.equal("Closed\n", output)
  end)
end)

describe("codec.sha1 and core.replace_file", function()
  it("name and replace a file of the AWS command line's, for this user alone", function()
    local core = require "kinesis.core"
    assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", codec.sha1 "abc")
    local path = os.tmpname()
    assert.is_true(core.replace_file(path, fresh.bytes))
    local file = assert(io.open(path, "rb"))
    assert.equal(fresh.bytes, file:read "*a")
    file:close()
    local pipe = io.popen("stat -c %a " .. path)
    assert.equal("600\n", pipe:read "*a")
    pipe:close()
    os.remove(path)
    local good, why = core.replace_file("/nonexistent/x", "")
    assert.is_nil(good)
    assert.matches("^/nonexistent/x: No such file", why)
  end)
end)
