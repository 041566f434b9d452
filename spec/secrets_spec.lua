-- No secret can be reached by walking what the library gives out, whatever the credentials come from.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local walk = require "support.walk"

-- Each is a secret of one source, and the name of that source.
local SECRETS = {
  "wJalrXUtnFEMI/of-the-option", "session-token-of-the-option", "wJalrXUtnFEMI/of-the-function",
  "wJalrXUtnFEMI/of-the-environment", "session-token-of-the-environment", "wJalrXUtnFEMI/of-the-profile",
  "session-token-of-the-profile", "wJalrXUtnFEMI/of-the-program", "secret of the container", "token of the container",
  "agent token", "external-id-of-the-profile", "password-of-the-program",
}

local stream, folder
local env = {}
local getenv = os.getenv

local function write(name, text)
  local file = assert(io.open(folder .. "/" .. name, "w"))
  file:write(text)
  file:close()
end

setup(function()
  folder = fresh.spawn("mktemp -d"):wait():match "%S+"
  write("config", [[
[profile plain]
aws_access_key_id = AKIDPROFILE
aws_secret_access_key = wJalrXUtnFEMI/of-the-profile
aws_session_token = session-token-of-the-profile
external_id = external-id-of-the-profile
[profile program]
credential_process = sh -c 'cat ]] .. folder .. [[/printed' password-of-the-program
]])
  write("printed", '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"wJalrXUtnFEMI/of-the-program"}')
  local direct = fresh.client(os.getenv "KINESALITE")
  stream = fresh.stream(direct, 1, "secrets")
  assert(direct:put(stream, "data", "key"))
  direct:close()
  os.getenv = function(name) -- luacheck: ignore
    if env[name] then
      return env[name]
    end
    return name:find "^AWS_CONF" and folder .. "/config" or getenv(name)
  end
end)

teardown(function()
  os.getenv = getenv -- luacheck: ignore
  local direct = fresh.client(os.getenv "KINESALITE")
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
  fresh.spawn("rm -r " .. folder):wait()
end)

local function expect_no_secret(root)
  local count = 0
  walk.strings(root, function(text, path)
    count = count + 1
    for _, secret in ipairs(SECRETS) do
      if text:find(secret, 1, true) then
        error(("%s is reached by: %s"):format(secret, path), 0)
      end
    end
  end)
  return count
end

local SOURCES = {
  option = { {}, { credentials = { access_key_id = "AKIDOPTION", secret_access_key = SECRETS[1],
    session_token = SECRETS[2] } } },
  ["function"] = { {}, { credentials = function()
    return { access_key_id = "AKIDFUNCTION", secret_access_key = SECRETS[3] }
  end } },
  environment = { { AWS_ACCESS_KEY_ID = "AKIDENV", AWS_SECRET_ACCESS_KEY = SECRETS[4], AWS_SESSION_TOKEN = SECRETS[5] },
    {} },
  profile = { {}, { profile = "plain" } },
  program = { {}, { profile = "program" } },
  container = { { AWS_CONTAINER_CREDENTIALS_FULL_URI = os.getenv "NGINX_KEYS" .. "/agent/x",
    AWS_CONTAINER_AUTHORIZATION_TOKEN = "agent token" }, {} },
}

for name, source in pairs(SOURCES) do
  it("from objects of a client whose credentials come from: " .. name, function()
    env = source[1]
    local events = {}
    local options = { endpoint = os.getenv "KINESALITE", region = "us-east-1", on_request = function(event)
      events[#events + 1] = event
    end, on_response = function(event)
      events[#events + 1] = event
    end }
    for key, value in pairs(source[2]) do
      options[key] = value
    end
    local client = assert(kinesis.client(options))
    expect_no_secret(client) -- while they are being fetched
    local result = assert(client:put(stream, "data", "key"))
    local _, err = client:put("absent", "data", "key")
    local _, raised = pcall(client.shards, client, "absent")
    local producer = assert(client:producer(stream, { linger = 0 }))
    local receipt = assert(producer:send("data", "key"))
    assert(receipt:wait())
    local shards = client:shards(stream)
    local reader = shards:records { limit = 1 }
    local record = reader:next()
    local given = {
      client = client, result = result, err = err, raised = raised, producer = producer, receipt = receipt,
      shards = shards, reader = reader, record = record, configuration = client:configuration(), stats = client:stats(),
      position = reader:position(), events = events, kinesis = kinesis, help = kinesis.help(),
    }
    assert.is_true(expect_no_secret(given) > 500)
    for module_name, module in pairs(package.loaded) do
      if module_name:find "^kinesis" then
        expect_no_secret(module)
      end
    end
    client:close()
    expect_no_secret(given)
  end)
end

it("from the error of a refresh that fails", function()
  env = { AWS_CONTAINER_CREDENTIALS_FULL_URI = os.getenv "NGINX_KEYS" .. "/nowhere",
    AWS_CONTAINER_AUTHORIZATION_TOKEN = "agent token" }
  local _, err = kinesis.client { endpoint = os.getenv "KINESALITE", region = "us-east-1" }
  expect_no_secret(err or {})
  local client = kinesis.client { endpoint = os.getenv "KINESALITE", region = "us-east-1" }
  local _, later = client:put(stream, "x")
  assert.equal("NoCredentials", later.code)
  expect_no_secret { client, later }
  client:close()
end)
