-- Credentials of a role in IAM Identity Center, from scripted services and a scripted token cache.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local codec = require("kinesis.core").codec
local scripted = require "support.scripted"

local failure, found = scripted.failure, scripted.found

local SESSION = "[sso-session dev]\nsso_region = us-east-2\nsso_start_url = https://x.awsapps.com/start\n"
local ROLE = "sso_account_id = 123456789012\nsso_role_name = My Role\n"
local MODERN = SESSION .. "[default]\nsso_session = dev\n" .. ROLE
local LEGACY = "[default]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-2\n" .. ROLE
local PORTAL = "GET https://portal.sso.us-east-2.amazonaws.com/federation/credentials"
  .. "?role_name=My%20Role&account_id=123456789012"
local OIDC = "POST https://oidc.us-east-2.amazonaws.com/token"
local CACHE = "/home/me/.aws/sso/cache/"

local KEYS = { status = 200, body = '{"roleCredentials":{"accessKeyId":"ASIA","secretAccessKey":"hunter2/s",'
  .. '"sessionToken":"hunter2/t","expiration":1767247200000}}' }
local RENEWED = { status = 200, body = '{"accessToken":"hunter2-new","expiresIn":28800,"refreshToken":"hunter2-r2"}' }

local function says(text, message)
  assert.matches(text, message, 1, true)
end

local function path_of(name)
  return CACHE .. codec.sha1(name) .. ".json"
end

local function token(changes)
  local members = {
    accessToken = "hunter2-old", expiresAt = scripted.LATER, refreshToken = "hunter2-r1", clientId = "client",
    clientSecret = "hunter2-c", registrationExpiresAt = scripted.LATER, region = "us-east-2", other = "kept",
  }
  for name, value in pairs(changes or {}) do
    members[name] = value or nil
  end
  return cjson.encode(members)
end

local function session(cached, answers, config)
  return scripted.off_ec2 {
    env = { HOME = "/home/me" }, config = config or MODERN, region = "eu-west-1",
    files = { [path_of "dev"] = cached, [path_of "https://x.awsapps.com/start"] = cached },
    answers = answers or { [PORTAL] = KEYS },
  }
end

describe("the SSO provider", function()
  after_each(scripted.remove_files)

  it("knows where the command line keeps its tokens", function()
    assert.equal(CACHE .. "34c6fceca75e456f25e7e99531e2425c6c1de443.json", path_of "dev")
  end)

  it("gets the role's credentials with the cached token", function()
    for _, config in ipairs { MODERN, LEGACY } do
      local context = session(token(), nil, config)
      assert.same({
        access_key_id = "ASIA", secret_access_key = "hunter2/s", session_token = "hunter2/t", expiration = 1767247200,
        account_id = "123456789012", origin = "profile",
      }, found(context))
      assert.same({ ["x-amz-sso_bearer_token"] = "hunter2-old" }, context.sent[1].headers)
    end
  end)

  it("precedes static credentials and a process", function()
    assert.equal("ASIA", found(session(token(), nil, MODERN
      .. "aws_access_key_id = A\naws_secret_access_key = hunter2\ncredential_process = x\n")).access_key_id)
  end)

  it("renews a session's token a quarter of an hour ahead, and writes it back", function()
    local context = session(token { expiresAt = "2026-01-01T00:15:00Z" }, { [OIDC] = RENEWED, [PORTAL] = KEYS })
    found(context)
    assert.same({
      clientId = "client", clientSecret = "hunter2-c", grantType = "refresh_token", refreshToken = "hunter2-r1",
    }, cjson.decode(context.sent[1].body))
    assert.equal("hunter2-new", context.sent[2].headers["x-amz-sso_bearer_token"])
    assert.same({
      accessToken = "hunter2-new", expiresAt = "2026-01-01T08:00:00Z", refreshToken = "hunter2-r2", clientId = "client",
      clientSecret = "hunter2-c", registrationExpiresAt = scripted.LATER, region = "us-east-2", other = "kept",
    }, cjson.decode(context.replaced[path_of "dev"]))
  end)

  it("keeps a renewed token when it cannot be written back, until the next login", function()
    local given = { expiresAt = "2026-01-01T00:10:00Z" }
    local context = session(token(given), { [OIDC] = RENEWED, [PORTAL] = KEYS })
    context.replace_file = nil
    found(context)
    found(context)
    assert.equal(3, #context.sent)
    assert.equal("hunter2-new", context.sent[3].headers["x-amz-sso_bearer_token"])
    context.read_file = function(path)
      return path == context.env "AWS_CONFIG_FILE" and MODERN
        or token { accessToken = "hunter2-login", expiresAt = "2026-01-02T00:00:00Z" }
    end
    found(context)
    assert.equal("hunter2-login", context.sent[4].headers["x-amz-sso_bearer_token"])
  end)

  it("goes on with a token that still serves when it cannot be renewed", function()
    for _, trouble in ipairs { { status = 400, body = "hunter2" }, "Connection", { status = 200, body = "<html>" } } do
      local context = session(token { expiresAt = "2026-01-01T00:15:00Z" }, { [OIDC] = trouble, [PORTAL] = KEYS })
      found(context)
      assert.equal("hunter2-old", context.sent[#context.sent].headers["x-amz-sso_bearer_token"])
    end
    local late = { expiresAt = "2026-01-01T00:00:00Z" }
    says("oidc.us-east-2.amazonaws.com refused to renew the SSO token (HTTP 400); run  aws sso login --profile default",
      failure(session(token(late), { [OIDC] = { status = 400, body = "hunter2" } })))
    says("did not renew the SSO token: HTTP 500, after 3 attempts; run  aws sso login",
      failure(session(token(late), { [OIDC] = { status = 500, body = "hunter2" } })))
    for _, body in ipairs {
      "hunter2", "{}", '{"accessToken":"hunter2"}', '{"accessToken":"hunter2","expiresIn":"1"}',
      '{"accessToken":"hunter2\\n","expiresIn":1}', '{"accessToken":"hunter2","expiresIn":1e300}',
    } do
      says("holds no token; run", failure(session(token(late), { [OIDC] = { status = 200, body = body } })))
    end
  end)

  it("asks for a login when an expired token cannot be renewed", function()
    local late = "2025-12-31T00:00:00Z"
    for _, context in ipairs {
      session(token { expiresAt = late }, nil, LEGACY), session(token { expiresAt = late, refreshToken = false }),
      session(token { expiresAt = late, registrationExpiresAt = late }),
      session(token { expiresAt = late, registrationExpiresAt = "soon" }),
    } do
      local message = failure(context)
      says(".json has expired; run  aws sso login --profile default", message)
      assert.same({}, context.sent)
    end
  end)

  it("asks for a login when there is no proper token", function()
    says("there is no SSO token: cannot read " .. path_of "dev", failure(session()))
    for _, cached in ipairs {
      "", "hunter2", "[]", token { accessToken = false }, token { expiresAt = "soon" }, token { expiresAt = false },
    } do
      says("holds is no SSO token; run  aws sso login", failure(session(cached)))
    end
    says("holds a line break", failure(session(token { accessToken = "hunter2\r\nx: y" })))
    says("refused the SSO token (HTTP 401); run  aws sso login --profile default",
      failure(session(token(), { [PORTAL] = { status = 401, body = "hunter2" } })))
  end)

  it("believes no other answer", function()
    says("refused (HTTP 403); may you use the role My Role in the account 123456789012?",
      failure(session(token(), { [PORTAL] = { status = 403, body = "hunter2" } })))
    for body, why in pairs {
      ["<html>hunter2"] = "holds no credentials", ["{}"] = "holds no credentials",
      ['{"roleCredentials":"hunter2"}'] = "holds no credentials",
      ['{"roleCredentials":{"accessKeyId":"A"}}'] = "has no `secretAccessKey`",
      ['{"roleCredentials":{"accessKeyId":"A","secretAccessKey":"hunter2"}}'] = "has no proper `expiration`",
      ['{"roleCredentials":{"accessKeyId":"A","secretAccessKey":"hunter2","expiration":-1e300}}'] =
        "has no proper `expiration`",
      ['{"roleCredentials":{"accessKeyId":"A","secretAccessKey":"hunter2","expiration":1}}'] = "have expired",
    } do
      says(why, failure(session(token(), { [PORTAL] = { status = 200, body = body } })))
    end
  end)

  it("looks for the session in the config file when the credentials file names it", function()
    local context = scripted.off_ec2 {
      env = { HOME = "/home/me" }, region = "eu-west-1", config = SESSION .. "[other]\nhunter2\n",
      credentials = "[default]\nsso_session = dev\n" .. ROLE .. "[sso-session dev]\nsso_region = wrong\n",
      files = { [path_of "dev"] = token() }, answers = { [PORTAL] = KEYS },
    }
    assert.equal("ASIA", found(context).access_key_id)
  end)

  it("says what a profile lacks", function()
    for config, why in pairs {
      ["[default]\nsso_session = gone\n" .. ROLE] = "it names [sso-session gone], which is not in /",
      ["[sso-session dev]\nhunter2\n[default]\nsso_session = dev\n" .. ROLE] =
        "it names [sso-session dev], which cannot be read: /",
      ["[sso-session dev]\nsso_region = r\n[default]\nsso_session = dev\n" .. ROLE] =
        "[sso-session dev] has no `sso_start_url`, which SSO needs",
      ["[default]\nsso_start_url = u\n" .. ROLE] = "it has no `sso_region`, which SSO needs",
      [SESSION .. "[default]\nsso_session = dev\nsso_role_name = x\n"] = "it has no `sso_account_id`",
      [SESSION .. "[default]\nsso_session = dev\n"] = "it has no `sso_account_id`",
      [MODERN .. "sso_region = eu-west-1\n"] = "its `sso_region` is not that of [sso-session dev]",
      [(MODERN:gsub("us%-east%-2", "us_east_2"))] = "cannot ask SSO: 'us_east_2' is no region",
    } do
      says(why, failure(session(token(), {}, config)))
    end
  end)
end)
