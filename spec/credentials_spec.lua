-- The chain of credential providers, in a scripted world: what is asked after what, what is believed, what is said.
-- Flavours: *lua5.4 *luajit
local iso8601 = require "kinesis.util.iso8601"
local process = require "kinesis.credentials.providers.process"
local scripted = require "support.scripted"

local failure, file, found, UNREADABLE = scripted.failure, scripted.file, scripted.found, scripted.UNREADABLE

local function says(text, message)
  assert.matches(text, message, 1, true)
end

local function off_ec2(variables, options)
  return scripted.off_ec2 { env = variables, options = options }
end

describe("ISO 8601", function()
  it("is read with any offset, across leap days", function()
    local times = {
      ["1970-01-01T00:00:00Z"] = 0,
      ["2000-02-29T23:59:59z"] = 951868799,
      ["2000-03-01t00:00:00.123Z"] = 951868800,
      ["2026-11-22T10:00:00+00:00"] = 1795341600,
      ["2026-11-22T10:00:00-0130"] = 1795347000,
      ["2026-11-22T10:00:00UTC"] = 1795341600,
      ["2026-11-22 10:00:00+00:00"] = 1795341600,
      ["2026-11-22 10:00:00.5Z"] = 1795341600,
      ["2100-03-01T00:00:00Z"] = 4107542400,
    }
    for text, seconds in pairs(times) do
      assert.equal(seconds, iso8601.read(text))
    end
  end)

  it("is refused when it is none", function()
    for _, text in ipairs {
      "", "tomorrow", "2026-11-22", "2026-11-22T10:00:00", "2026-13-22T10:00:00Z", "2026-00-22T10:00:00Z",
      "2026-11-32T10:00:00Z", "2026-11-22T99:00:00Z", "2026-11-22T10:00:00+1", "2026-11-22T10:00:00Zulu",
    } do
      assert.is_nil(iso8601.read(text), text)
    end
  end)

  it("is written as it is read", function()
    for _, seconds in ipairs { 0, 951868799, 1795341600, 4107542400 } do
      assert.equal(seconds, iso8601.read(iso8601.write(seconds + 0.5)))
    end
  end)
end)

describe("the chain", function()
  after_each(scripted.remove_files)

  local function profile_file()
    return file("[default]\naws_access_key_id = PID\naws_secret_access_key = hunter2\naws_session_token = PT\n"
      .. "aws_account_id = 123\n[dev]\naws_access_key_id = DID\naws_secret_access_key = hunter2\n")
  end

  it("begins with the environment", function()
    assert.same({
      access_key_id = "ID", secret_access_key = "hunter2", session_token = "T", account_id = "1",
      expiration = 1767247200, origin = "environment",
    }, found(off_ec2 {
      AWS_ACCESS_KEY_ID = "ID", AWS_SECRET_ACCESS_KEY = "hunter2", AWS_SESSION_TOKEN = "T", AWS_ACCOUNT_ID = "1",
      AWS_CREDENTIAL_EXPIRATION = scripted.LATER, AWS_SHARED_CREDENTIALS_FILE = profile_file(),
    }))
  end)

  it("continues with the profile when the variables are unset or blank", function()
    assert.same({
      access_key_id = "PID", secret_access_key = "hunter2", session_token = "PT", account_id = "123",
      origin = "profile",
    }, found(off_ec2 {
      AWS_ACCESS_KEY_ID = " ", AWS_SECRET_ACCESS_KEY = "", AWS_SHARED_CREDENTIALS_FILE = profile_file(),
    }))
  end)

  it("skips the environment for the option `profile`, but not for AWS_PROFILE", function()
    local variables = {
      AWS_ACCESS_KEY_ID = "ID", AWS_SECRET_ACCESS_KEY = "hunter2", AWS_SHARED_CREDENTIALS_FILE = profile_file(),
    }
    assert.equal("DID", found(off_ec2(variables, { profile = "dev" })).access_key_id)
    variables.AWS_PROFILE = "dev"
    assert.equal("ID", found(off_ec2(variables)).access_key_id)
    variables.AWS_SHARED_CREDENTIALS_FILE = file("[dev]\n")
    variables.AWS_WEB_IDENTITY_TOKEN_FILE = "/token"
    says("environment: not asked, since the option `profile` is set",
      failure(off_ec2(variables, { profile = "dev" })))
  end)

  it("lists every place when there is nothing", function()
    local message = failure(off_ec2 {})
    says("environment: absent: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are unset; "
      .. "web identity: absent: AWS_WEB_IDENTITY_TOKEN_FILE is unset; "
      .. 'profile "default" (/nonexistent/kinesis-spec (no such file), ', message)
    says(": absent: there is no such profile; container: absent: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and "
      .. "AWS_CONTAINER_CREDENTIALS_FULL_URI are unset; "
      .. "instance metadata: absent: AWS_EC2_METADATA_DISABLED is true; set both variables", message)
  end)

  it("stops at half a pair, which another identity must not hide", function()
    local message = failure(off_ec2 {
      AWS_SECRET_ACCESS_KEY = "hunter2", AWS_SHARED_CREDENTIALS_FILE = profile_file(),
    })
    says("environment: broken: AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not", message)
    assert.matches('profile "default" .*: not asked; container: not asked;', message)
    says("fix what is broken", message)
    says("broken: it has `aws_secret_access_key`, but not `aws_access_key_id`", failure(off_ec2 {
      AWS_SHARED_CREDENTIALS_FILE = file("[default]\naws_secret_access_key = hunter2\n"),
    }))
  end)

  it("rejects credentials with a line break, and expired ones", function()
    says("environment: broken: its secret_access_key holds a line break", failure(off_ec2 {
      AWS_ACCESS_KEY_ID = "ID", AWS_SECRET_ACCESS_KEY = "hunter2\nhunter2",
    }))
    says("broken: its secret_access_key holds a line break", failure(off_ec2 {
      AWS_SHARED_CREDENTIALS_FILE = file("[default]\naws_access_key_id = I\naws_secret_access_key = a\n  hunter2\n"),
    }))
    local variables = { AWS_ACCESS_KEY_ID = "ID", AWS_SECRET_ACCESS_KEY = "hunter2" }
    variables.AWS_CREDENTIAL_EXPIRATION = "2026-01-01T00:00:00Z"
    says("environment: broken: it returned credentials that have expired: at 2026-01-01T00:00:00Z, "
      .. "and here it is 2026-01-01T00:00:00Z", failure(off_ec2(variables)))
    variables.AWS_CREDENTIAL_EXPIRATION = "tomorrow"
    says("AWS_CREDENTIAL_EXPIRATION is no ISO 8601 time", failure(off_ec2(variables)))
  end)

  it("says what to do about a login that is not supported", function()
    local variables = { AWS_CONFIG_FILE = file("[default]\nlogin_session = s\n[profile my dev]\nlogin_session = s\n") }
    says('it uses `login_session`, which is not supported; '
      .. 'run  eval "$(aws configure export-credentials --profile default --format env)"', failure(off_ec2(variables)))
    local message = failure(off_ec2(variables, { profile = "my dev" }))
    says("--profile 'my dev' --format env", message)
    says("leave out the option `profile`", message)
  end)

  it("reports a profile without credentials", function()
    says("absent: it has no credentials and names no source of them",
      failure(off_ec2 { AWS_CONFIG_FILE = file("[default]\n") }))
  end)
end)

describe("the container provider", function()
  local AGENT = "GET http://169.254.170.2/v2/hunter2-uuid"
  local KEYS = '{"AccessKeyId":"ASIA","SecretAccessKey":"hunter2/s","Token":"hunter2/t","AccountId":"1",'
    .. '"RoleArn":"arn","Expiration":"' .. scripted.LATER .. '"}'

  local function ecs(answer)
    return scripted.off_ec2 {
      env = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = "/v2/hunter2-uuid" },
      answers = { [AGENT] = answer },
    }
  end

  local function full(url, more)
    local env = { AWS_CONTAINER_CREDENTIALS_FULL_URI = url }
    for name, value in pairs(more or {}) do
      env[name] = value
    end
    return scripted.off_ec2 {
      env = env, answers = { ["GET " .. url] = { status = 200, body = KEYS } },
      files = { ["/token"] = "hunter2-from-file\n", ["/two"] = "hunter2\r\nx: hunter2", ["/empty"] = "\n" },
    }
  end

  it("asks the agent of ECS", function()
    local context = ecs { status = 200, body = KEYS }
    assert.same({
      access_key_id = "ASIA", secret_access_key = "hunter2/s", session_token = "hunter2/t", account_id = "1",
      expiration = 1767247200, origin = "container",
    }, found(context))
    assert.same({
      method = "GET", url = "http://169.254.170.2/v2/hunter2-uuid", headers = { accept = "application/json" },
      timeout = 2, connect_timeout = 2,
    }, context.sent[1])
  end)

  it("prefers the token of the file, which it reads each time, to that of the variable", function()
    local url = "http://169.254.170.23/v1/credentials"
    local context = full(url, {
      AWS_CONTAINER_AUTHORIZATION_TOKEN = "hunter2-of-variable", AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = "/token",
    })
    found(context)
    assert.equal("hunter2-from-file", context.sent[1].headers.authorization)
    context.read_file = function()
      return "hunter2-anew"
    end
    found(context)
    assert.equal("hunter2-anew", context.sent[2].headers.authorization)
    context = full(url, { AWS_CONTAINER_AUTHORIZATION_TOKEN = "Basic hunter2" })
    found(context)
    assert.equal("Basic hunter2", context.sent[1].headers.authorization)
  end)

  it("refuses a token that is none", function()
    local url = "http://169.254.170.23/v1/credentials"
    for path, why in pairs {
      ["/two"] = "the token in /two holds a line break", ["/empty"] = "the token file /empty is empty",
      ["/none"] = "cannot read the token file /none: /none: No such file",
    } do
      local context = full(url, { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE = path })
      says("container: broken: " .. why, failure(context))
      assert.same({}, context.sent)
    end
    says("AWS_CONTAINER_AUTHORIZATION_TOKEN holds a line break",
      failure(full(url, { AWS_CONTAINER_AUTHORIZATION_TOKEN = "hunter2\nhunter2" })))
  end)

  it("goes anywhere by https, by http only to near hosts", function()
    for _, url in ipairs {
      "https://example.com/keys?a=b%20c", "https://example.com:8443", "http://localhost:8080/keys",
      "http://127.1.2.3/keys", "http://[::1]:80/keys", "http://169.254.170.2/keys", "http://[fd00:ec2::23]/v1/keys",
    } do
      local context = full(url)
      found(context)
      assert.equal(url, context.sent[1].url)
    end
    for url, why in pairs {
      ["http://example.com/keys"] = "names the host example.com, to which http is not allowed",
      ["http://169.254.170.22/keys"] = "names the host 169.254.170.22",
      ["http://127.0.0.1.example.com/keys"] = "names the host 127.0.0.1.example.com",
      ["http://localhost.example.com/"] = "names the host localhost.example.com",
      ["http://u:hunter2@127.0.0.1/"] = "is no URL: it may not hold a user name",
      ["http://169.254.170.2\\@example.com/"] = "is no URL: it may not hold a user name",
      ["/keys"] = "is no URL: it must begin with http",
      ["ftp://localhost/keys"] = "is no URL: it must begin with http",
      ["http://localhost/a b"] = "is no URL: its path holds characters that cannot stand there",
      ["http://localhost/a\r\nx: y"] = "is no URL: its path holds characters that cannot stand there",
    } do
      local context = full(url)
      says("AWS_CONTAINER_CREDENTIALS_FULL_URI " .. why, failure(context))
      assert.same({}, context.sent)
    end
    for _, path in ipairs { "@example.com/", "keys", "//a b", ".example.com/" } do
      says("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path", failure(scripted.off_ec2 {
        env = { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI = path, AWS_CONTAINER_CREDENTIALS_FULL_URI = "https://h" },
      }))
    end
  end)

  it("tries what may pass three times, with pauses", function()
    local context = ecs { { status = 500, body = "hunter2" }, "Timeout", { status = 200, body = KEYS } }
    found(context)
    assert.equal(scripted.NOW + 3, context.now)
    context = ecs { status = 503, body = "hunter2" }
    says("container: broken: http://169.254.170.2 returned no credentials: HTTP 503, after 3 attempts",
      failure(context))
    assert.equal(3, #context.sent)
    context = ecs "Connection"
    -- the path is what gives access
    says("returned no credentials: no answer (http://169.254.170.2), after 3 attempts", failure(context))
    context = ecs "BadConfig"
    failure(context)
    assert.equal(1, #context.sent)
  end)

  it("believes no other answer", function()
    for body, why in pairs {
      ["<html>hunter2</html>"] = "is no JSON object", [""] = "is no JSON object", ['"hunter2"'] = "is no JSON object",
      ['{"AccessKeyId":"A"'] = "is no JSON object", ["{}"] = "has no `AccessKeyId`",
      ['{"AccessKeyId":"A","SecretAccessKey":null}'] = "has no `SecretAccessKey`",
      ['{"AccessKeyId":{},"SecretAccessKey":"hunter2"}'] = "has no `AccessKeyId`",
      ['{"AccessKeyId":"A","SecretAccessKey":"hunter2","Expiration":"soon"}'] =
        "has an `Expiration` that is no ISO 8601 time",
      ['{"AccessKeyId":"A","SecretAccessKey":"hunter2\\r\\n"}'] = "its secret_access_key holds a line break",
      ['{"AccessKeyId":"A","SecretAccessKey":"hunter2","Expiration":"2025-12-31T23:59:59Z"}'] =
        "it returned credentials that have expired",
    } do
      says(why, failure(ecs { status = 200, body = body }))
    end
    for _, value in ipairs(UNREADABLE) do
      says("has an `Expiration` that is no ISO 8601 time", failure(ecs { status = 200,
        body = ('{"AccessKeyId":"A","SecretAccessKey":"hunter2","Expiration":%s}'):format(value) }))
    end
    says("has a `Token` that is no text",
      failure(ecs { status = 200, body = '{"AccessKeyId":"A","SecretAccessKey":"hunter2","Token":7}' }))
    local context = ecs { status = 404, body = "hunter2" }
    says("container: broken: http://169.254.170.2 refused (HTTP 404); does the task", failure(context))
    assert.equal(1, #context.sent)
  end)
end)

describe("the process provider", function()
  after_each(scripted.remove_files)

  local KEYS = '{"Version":1,"AccessKeyId":"ASIA","SecretAccessKey":"hunter2/s","SessionToken":"hunter2/t"%s}'

  local function run(result, more)
    return scripted.off_ec2 {
      config = "[default]\ncredential_process = /bin/keys --password 'hunter2 x' \"\"\n" .. (more or ""),
      processes = { ["/bin/keys|--password|hunter2 x|"] = result },
    }
  end

  it("runs the program and reads what it prints", function()
    local rest = ',"AccountId":"1","Expiration":"2026-01-01T06:00:00+00:00"'
    local context = run { status = 0, output = KEYS:format(rest) }
    assert.same({
      access_key_id = "ASIA", secret_access_key = "hunter2/s", session_token = "hunter2/t", account_id = "1",
      expiration = 1767247200, origin = "profile",
    }, found(context))
    assert.equal(60, context.timeout)
    local keys = found(run({ status = 0, output = KEYS:format "" }, "aws_account_id = 2\n"))
    assert.equal("2", keys.account_id)
    assert.is_nil(keys.expiration)
    assert.is_nil(found(run { status = 0, output = KEYS:format ',"Expiration":null' }).expiration)
    for _, text in ipairs { "2026-01-01 06:00:00+00:00", "2026-01-01 07:00:00.123456+01:00" } do
      assert.equal(1767247200,
        found(run { status = 0, output = KEYS:format((',"Expiration":"%s"'):format(text)) }).expiration)
    end
  end)

  it("comes after static credentials", function()
    assert.equal("ID", found(run(nil, "aws_access_key_id = ID\naws_secret_access_key = hunter2\n")).access_key_id)
  end)

  it("shows the status and what went to stderr, never what went to stdout", function()
    says("its `credential_process` /bin/keys ended with status 7: no VPN, log in first;",
      failure(run { status = 7, output = "hunter2", errors = "\n no VPN,\27\n\tlog in first \n" }))
    says("/bin/keys ended with status 1;", failure(run { status = 1, output = "hunter2", errors = "" }))
    assert.is_true(#failure(run { status = 1, output = "", errors = ("x"):rep(1e5) }) < 2000)
    says("its `credential_process` /bin/keys: No such file or directory", failure(run "No such file or directory"))
    for output, why in pairs {
      hunter2 = "printed no JSON object", [""] = "printed no JSON object",
      ['{"Version":2,"SecretAccessKey":"hunter2"}'] = "printed an object whose `Version` is not 1",
      ['{"Version":"1","SecretAccessKey":"hunter2"}'] = "printed an object whose `Version` is not 1",
      ['{"Version":1,"AccessKeyId":"A"}'] = "printed an object that has no `SecretAccessKey`",
      [KEYS:format ',"Expiration":"soon"'] = "printed an object that has an `Expiration` that is no ISO 8601 time",
      [KEYS:format ',"Expiration":"2001-01-01T00:00:00Z"'] = "it returned credentials that have expired",
    } do
      says(why, failure(run { status = 0, output = output, errors = "" }))
    end
    for _, value in ipairs(UNREADABLE) do
      says("printed an object that has an `Expiration` that is no ISO 8601 time",
        failure(run { status = 0, output = KEYS:format(',"Expiration":' .. value), errors = "" }))
    end
  end)

  it("says that no shell runs a pipeline", function()
    says("(no shell runs it: write  sh -c '…'  around what has a `|`)", failure(scripted.off_ec2 {
      config = "[default]\ncredential_process = a b | c\n",
      processes = { ["a|b|||c"] = { status = 2, output = "", errors = "" } },
    }))
  end)

  it("takes a line apart as a shell does", function()
    for line, words in pairs {
      ["a"] = { "a" }, ["  a  b\tc "] = { "a", "b", "c" }, ["'a b' c"] = { "a b", "c" },
      ['"a \\"b\\" \\\\ \\n" c'] = { 'a "b" \\ \\n', "c" }, ["a\\ b\\'"] = { "a b'" }, ["a'b'\"c\"d"] = { "abcd" },
      ["a '' \"\""] = { "a", "", "" }, ["'\\' $x *"] = { "\\", "$x", "*" }, ["a|b"] = { "a|b" },
    } do
      assert.same(words, process.split(line), line)
    end
    for _, line in ipairs { "'a", '"a', '"a\\"', "a\\", "a 'b\\''" } do
      local words, problem = process.split(line)
      assert.is_nil(words, line)
      assert.equal("has a quote without its end", problem)
    end
    for _, line in ipairs { "", "  ", "''" } do
      local words, problem = process.split(line)
      assert.is_nil(words, line)
      assert.equal("names no program", problem)
    end
  end)
end)
