-- Settings beyond region and endpoint: their precedence, client:configuration(), and the endpoints of calls.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local settings = require "kinesis.config.settings"

-- Each setting: its variable, its key in a profile, and what option, variable and profile say.
local SETTINGS = {
  { "region", "AWS_REGION", "region", "eu-west-1", "eu-west-2", "eu-west-3" },
  { "ca_bundle", "AWS_CA_BUNDLE", "ca_bundle", "/option.pem", "/variable.pem", "/profile.pem" },
  { "use_fips", "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint", false, "TRUE", "true" },
  { "use_dualstack", "AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint", false, "true", "True" },
  { "account_id_endpoint_mode", "AWS_ACCOUNT_ID_ENDPOINT_MODE", "account_id_endpoint_mode", "disabled", "required",
    "Preferred" },
  { "max_attempts", "AWS_MAX_ATTEMPTS", "max_attempts", 7, "8", "9" },
  { "app_id", "AWS_SDK_UA_APP_ID", "sdk_ua_app_id", "one", "two", "three" },
}

local WRONG = {
  { "AWS_USE_FIPS_ENDPOINT", "yes", "bad use_fips from AWS_USE_FIPS_ENDPOINT: it must be true or false" },
  { "AWS_MAX_ATTEMPTS", "0", "bad max_attempts from AWS_MAX_ATTEMPTS: it must be an integer from 1 to 100" },
  { "AWS_MAX_ATTEMPTS", "3.5", "bad max_attempts from AWS_MAX_ATTEMPTS: it must be an integer from 1 to 100" },
  { "AWS_ACCOUNT_ID_ENDPOINT_MODE", "never",
    "bad account_id_endpoint_mode from AWS_ACCOUNT_ID_ENDPOINT_MODE: it must be preferred, disabled or required" },
}

local function lower(value)
  if value == "true" or value == "TRUE" or value == "True" then
    return true
  end
  return tonumber(value) or (value == "Preferred" and "preferred") or value
end

describe("settings.resolve", function()
  local file

  before_each(function()
    file = os.tmpname()
  end)

  after_each(function()
    os.remove(file)
  end)

  local function resolve(options, variables, text)
    local out = assert(io.open(file, "w"))
    out:write("[default]\n", text or "")
    out:close()
    variables.AWS_CONFIG_FILE, variables.AWS_SHARED_CREDENTIALS_FILE = file, "/nonexistent"
    return settings.resolve(options, function(name)
      return variables[name]
    end)
  end

  for _, row in ipairs(SETTINGS) do
    local name, variable, key, by_option, by_variable, by_profile = (table.unpack or unpack)(row)
    it("takes " .. name .. " from the option, the environment, the profile, in this order", function()
      local text = ("%s = %s\n"):format(key, by_profile)
      local function look(options, variables)
        options.region = options.region or (name ~= "region" and "us-east-1" or nil)
        local found = assert(resolve(options, variables, text))
        return found[name], found.origins[name]
      end
      local variables = { [variable] = by_variable }
      assert.same({ by_option, ("the option `%s`"):format(name) }, { look({ [name] = by_option }, variables) })
      assert.same({ lower(by_variable), variable }, { look({}, { [variable] = by_variable }) })
      local value, origin = look({}, { [variable] = " " })
      assert.equal(lower(by_profile), value)
      assert.equal(("%s of profile \"default\" (%s, /nonexistent (no such file))"):format(key, file), origin)
    end)
  end

  it("names the place and the bound of what is no such value", function()
    for _, row in ipairs(WRONG) do
      local found, err = resolve({ region = "us-east-1" }, { [row[1]] = row[2] })
      assert.is_nil(found)
      assert.same({ code = "BadConfig", message = row[3] }, err)
    end
    local _, err = resolve({ region = "us-east-1" }, {}, "max_attempts = many\n")
    assert.matches("^bad max_attempts from max_attempts of profile \"default\" ", err.message)
  end)

  it("knows AWS_DEFAULT_PROFILE, behind AWS_PROFILE", function()
    local text = "region = r-default\n[profile a]\nregion = r-a\n[profile b]\nregion = r-b\n"
    assert.equal("r-a", resolve({}, { AWS_DEFAULT_PROFILE = "a" }, text).region)
    assert.equal("r-b", resolve({}, { AWS_DEFAULT_PROFILE = "a", AWS_PROFILE = "b" }, text).region)
  end)

  it("refuses FIPS and dual stack beside a configured endpoint", function()
    for _, name in ipairs { "use_fips", "use_dualstack" } do
      local found, err = resolve({ region = "us-east-1", endpoint = "http://localhost", [name] = true }, {})
      assert.is_nil(found)
      assert.matches("^bad endpoint from the option `endpoint`: .* exclude each other", err.message)
    end
  end)

  it("finds the endpoints of other services alike", function()
    local found = assert(resolve({ region = "us-east-1" }, {},
      "services = s\nendpoint_url = http://all\n[services s]\nsts =\n  endpoint_url = http://sts\n"))
    local function env(name)
      return ({ AWS_ENDPOINT_URL_SSO = "http://sso" })[name]
    end
    assert.equal("http://sts", (settings.endpoint_for("sts", found.profile, env)))
    assert.equal("http://sso", (settings.endpoint_for("sso", found.profile, env)))
    assert.equal("http://all", (settings.endpoint_for("sso_oidc", found.profile, env)))
  end)
end)

describe("client:configuration()", function()
  it("says each setting and where it came from, and no secret", function()
    local client = fresh.client(fresh.services[1], {
      max_attempts = 5, credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "a very secret key" },
    })
    local configuration = client:configuration()
    assert.same({ value = 5, origin = "the option `max_attempts`" }, configuration.max_attempts)
    assert.same({ value = "us-east-1", origin = "the option `region`" }, configuration.region)
    assert.same({ value = 24, origin = "default" }, configuration.max_connections)
    assert.same({ value = "preferred", origin = "default" }, configuration.account_id_endpoint_mode)
    assert.same({ origin = "not set" }, configuration.app_id)
    assert.same({ value = "default", origin = "default" }, configuration.profile)
    assert.same({ value = { access_key_id = "*******MPLE" }, origin = "the option `credentials`" },
      configuration.credentials)
    local line = tostring(configuration)
    assert.matches('max_attempts = { origin = "the option `max_attempts`", value = 5 }', line, 1, true)
    assert.is_nil(line:find("very secret", 1, true))
    assert.is_nil(line:find("AKIDEXAMPLE", 1, true))
    client:close()
  end)

  it("names every option of the client", function()
    local client = fresh.client(fresh.services[1])
    local configuration = client:configuration()
    for _, option in ipairs(require("kinesis.options").describe "client") do
      assert.is_string(configuration[option.name].origin, option.name)
    end
    client:close()
  end)
end)

-- Walks the fields of a client as `pairs` shows them; prints the path of each string that holds the secret.
local WALK = [[
local seen = {}
local function walk(value, path)
  if type(value) == "string" and value:find("wJalrXUtnFEMI", 1, true) then
    print(path)
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    for key, member in pairs(value) do
      walk(member, path .. "." .. tostring(key))
    end
  end
end
local kinesis = require "kinesis"
local options = { region = "us-east-1", endpoint = "http://127.0.0.1:9" }
local from_profile = assert(kinesis.client(options))
assert(from_profile:configuration().credentials.origin == "profile")
walk(from_profile, "profile")
options.credentials = {
  access_key_id = "AKIDEXAMPLE", secret_access_key = "wJalrXUtnFEMI", session_token = "wJalrXUtnFEMI",
}
walk(assert(kinesis.client(options)), "option")
assert(options.credentials, "the caller's table is not changed")
]]

describe("a client", function()
  it("has no field that leads to a secret", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write("[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI\n")
    file:close()
    local output, status = fresh.lua(WALK, { AWS_SHARED_CREDENTIALS_FILE = path, AWS_CONFIG_FILE = "/none",
      AWS_ACCESS_KEY_ID = "", AWS_SECRET_ACCESS_KEY = "" }):wait()
    os.remove(path)
    assert.equal("", output)
    assert.equal(0, status)
  end)
end)

-- A proxy that does not exist keeps every call on this machine; hooks record its endpoint.
local ROUTES = [[
local kinesis = require "kinesis"
local urls = {}
local function client_of(given)
  given.region = given.region or "us-east-1"
  given.max_attempts = 1
  given.credentials = given.credentials or { access_key_id = "AKID", secret_access_key = "secret" }
  given.on_request = function(event) urls[#urls + 1] = event.operation .. " " .. event.url end
  return assert(kinesis.client(given))
end
local ARN = "arn:aws:kinesis:us-west-2:123456789012:stream/s"
local client = client_of {}
client:put("name", "x")
client:put(ARN, "x")
client:put_many(ARN, { { data = "x" } })
pcall(client.shards, client, ARN)
client_of({ use_fips = true }):put(ARN, "x")
local known = client_of { credentials = function()
  return { access_key_id = "AKID", secret_access_key = "secret", account_id = "210987654321" }
end }
known:put("name", "x")
client_of({ credentials = { access_key_id = "A", secret_access_key = "s", account_id = "210987654321" } }):call(
  "ListStreams")
client_of({ account_id_endpoint_mode = "required", credentials = function()
  return { access_key_id = "AKID", secret_access_key = "secret", account_id = "210987654321" }
end }):put("name", "x")
print(select(2, client_of({ account_id_endpoint_mode = "required" }):put("name", "x")))
local _, err = client:put("arn:aws-cn:kinesis:cn-north-1:123456789012:stream/s", "x")
print(table.concat(urls, "\n"))
print(err)
print(client:call("DescribeStreamSummary", { StreamARN = 5, StreamId = 7 }))
print(pcall(client.put, client, "arn:aws:kinesis:nonsense", "x"))
]]

describe("calls", function()
  it("go to the host of the stream's account, of the credentials' account, or of the region", function()
    local output, status = fresh.lua(ROUTES, { https_proxy = "http://127.0.0.1:9" }):wait()
    assert.equal(0, status, output)
    local lines = {}
    for line in output:gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    local required = table.remove(lines, 1)
    assert.equal("PutRecord: BadConfig: "
      .. "account endpoints are required, but the account of the credentials is not known", required)
    assert.same({
      "PutRecord https://kinesis.us-east-1.amazonaws.com/",
      "PutRecord https://123456789012.data-kinesis.us-east-1.amazonaws.com/",
      "PutRecords https://123456789012.data-kinesis.us-east-1.amazonaws.com/",
      "ListShards https://123456789012.control-kinesis.us-east-1.amazonaws.com/",
      "PutRecord https://123456789012.data-kinesis-fips.us-east-1.amazonaws.com/",
      "PutRecord https://210987654321.data-kinesis.us-east-1.amazonaws.com/", -- the first call of a provider
      "ListStreams https://210987654321.control-kinesis.us-east-1.amazonaws.com/", -- of a table
      "PutRecord https://210987654321.data-kinesis.us-east-1.amazonaws.com/", -- as it is required
    }, { (table.unpack or unpack)(lines, 1, 8) })
    assert.matches("^BadConfig: the StreamARN .* is of the partition 'aws%-cn'", lines[9])
    assert.matches("^nil\tDescribeStreamSummary: Connection: ", lines[10])
    assert.matches("^false\t.*put: ", lines[11])
  end)

  it("go to the host of the credentials' account as soon as that is known, or has changed", function()
    local output, status = fresh.lua([[
      local core, kinesis = require "kinesis.core", require "kinesis"
      local urls, given, over = {}, {}, core.now() + 20
      local client = assert(kinesis.client { region = "us-east-1", max_attempts = 1,
        credentials = function()
          local found = table.remove(given, 1)
          return found, "not up yet"
        end,
        on_request = function(event) urls[event.operation .. " " .. event.url] = true end })
      local producer = assert(client:producer("s", { linger = 0 })) -- before there are credentials
      assert(producer:put("x", "key"))
      print(client:call "ListStreams")
      given[1] = { access_key_id = "A", secret_access_key = "s", account_id = "210987654321",
        expiration = os.time() + 4 }
      client:call "ListStreams"
      repeat
        kinesis.sleep(0.01)
      until urls["ListShards https://210987654321.control-kinesis.us-east-1.amazonaws.com/"] or core.now() > over
      given[1] = { access_key_id = "A", secret_access_key = "s", account_id = "no.account" }
      repeat
        kinesis.sleep(0.1)
        local _, err = client:call "ListStreams"
      until err.code == "BadConfig" or core.now() > over
      print(select(2, client:call "ListStreams"))
      for url in pairs(urls) do print(url) end
    ]], { https_proxy = "http://127.0.0.1:9" }):wait()
    assert.equal(0, status, output)
    assert.matches("^nil\tListStreams: NoCredentials: not up yet", output:match "nil\t.*")
    assert.matches("ListStreams: BadConfig: the account id of the credentials is invalid", output, 1, true)
    for url in output:gmatch "%a+ (https://%S+)" do
      assert.equal("https://210987654321.control-kinesis.us-east-1.amazonaws.com/", url)
    end
  end)

  it("go through a proxy that the environment names, but for hosts that it excludes", function()
    local scope = require("support.faults").open()
    local script = [[
      local client = require("kinesis").client { region = "us-east-1", endpoint = arg[1], max_attempts = 1,
        credentials = { access_key_id = "AKID", secret_access_key = "secret" } }
      local answer, err = client:call "ListStreams"
      print(answer and answer.StreamNames and "answered" or err.code)
    ]]
    local path = scope.url:match "^http://[^/]+(/.*)$"
    local function through(proxy, excluded)
      local child = fresh.lua(script, { http_proxy = proxy, no_proxy = excluded }, "http://nowhere.invalid" .. path)
      return (child:wait())
    end
    assert.equal("answered\n", through(os.getenv "NGINX_FAULTS", ""))
    assert.equal(1, #scope:seen "ListStreams")
    assert.equal("Connection\n", through(os.getenv "NGINX_FAULTS", "nowhere.invalid"))
  end)

  it("name the application in their user agent", function()
    local client = assert(kinesis.client { region = "us-east-1", endpoint = os.getenv "NGINX_FAULTS" .. "/echo",
      credentials = fresh.keys, app_id = "click stream/2" })
    local answer = assert(client:call "Echo")
    assert.matches("^kinesis%-lua/%S+ %(.-%) app/click%-stream%-2$", answer.headers["user-agent"])
    client:close()
  end)
end)
