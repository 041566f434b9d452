-- Credentials of roles, from a scripted STS: assumed with those of other profiles and providers, and with a token of
-- a web identity.
-- Flavours: *lua5.4 *luajit
local scripted = require "support.scripted"
local settings = require "kinesis.config.settings"

local failure, found, sts = scripted.failure, scripted.found, scripted.sts

local STS = "POST https://sts.us-east-1.amazonaws.com/"
local BASE = "[profile base]\naws_access_key_id = BASEID\naws_secret_access_key = hunter2/base\n"

local function says(text, message)
  assert.matches(text, message, 1, true)
end

local function script(config, answer, given)
  given = given or {}
  given.config = config
  given.region = given.region or "us-east-1"
  given.answers = given.answers or { [STS] = answer or sts {} }
  return scripted.off_ec2(given)
end

-- The members of a form, decoded.
local function form_of(request)
  local members = {}
  for name, value in request.body:gmatch "([^&=]+)=([^&]*)" do
    members[name] = value:gsub("%%(%x%x)", function(digits)
      return string.char(tonumber(digits, 16))
    end)
  end
  return members
end

describe("a role with a source profile", function()
  after_each(scripted.remove_files)

  local ROLE = "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n"

  it("is assumed with that profile's credentials", function()
    local context = script(BASE .. ROLE)
    assert.same({
      access_key_id = "ASIA", secret_access_key = "hunter2/s", session_token = "hunter2/t", account_id = "111122223333",
      expiration = 1767247200, origin = "profile",
    }, found(context))
    assert.same({
      Action = "AssumeRole", Version = "2011-06-15", RoleArn = "arn:aws:iam::123456789012:role/r",
      RoleSessionName = "kinesis-lua-1767225600",
    }, form_of(context.sent[1]))
    local headers = context.sent[1].headers
    assert.equal("application/x-www-form-urlencoded", headers["content-type"])
    assert.equal("sts.us-east-1.amazonaws.com", headers.host)
    assert.equal("20260101T000000Z", headers["x-amz-date"])
    assert.is_nil(headers["x-amz-security-token"])
    assert.matches("^AWS4%-HMAC%-SHA256 Credential=BASEID/20260101/us%-east%-1/sts/aws4_request, "
      .. "SignedHeaders=content%-type;host;x%-amz%-date, Signature=%x+$", headers.authorization)
  end)

  it("passes on what the profile says about it", function()
    local context = script(BASE .. ROLE
      .. "external_id = a b&c\nrole_session_name = me@home\nduration_seconds = 3600\n")
    found(context)
    assert.same({
      Action = "AssumeRole", Version = "2011-06-15", RoleArn = "arn:aws:iam::123456789012:role/r",
      RoleSessionName = "me@home", ExternalId = "a b&c", DurationSeconds = "3600",
    }, form_of(context.sent[1]))
    for _, duration in ipairs { "1", "899", "43201", "soon", "3600.5" } do
      says("its `duration_seconds` is no number from 900 to 43200",
        failure(script(BASE .. ROLE .. "duration_seconds = " .. duration)))
    end
  end)

  it("is assumed where the client is, or the endpoint, or the profile", function()
    for region, host in pairs {
      ["eu-west-1"] = "sts.eu-west-1.amazonaws.com", ["cn-north-1"] = "sts.cn-north-1.amazonaws.com.cn",
    } do
      local answers = { ["POST https://" .. host .. "/"] = sts {} }
      local context = script(BASE .. ROLE, nil, { region = region, answers = answers })
      found(context)
      says("/" .. region .. "/sts/", context.sent[1].headers.authorization)
    end
    local context = script(BASE .. ROLE, nil, {
      endpoints = { sts = "http://localhost:4566/x/" }, answers = { ["POST http://localhost:4566/x/"] = sts {} },
    })
    found(context)
    assert.equal("localhost:4566", context.sent[1].headers.host)
    found(scripted.off_ec2 { config = BASE .. ROLE .. "region = us-east-1\n", answers = { [STS] = sts {} } })
    says("cannot ask STS: no region is configured", failure(scripted.off_ec2 { config = BASE .. ROLE }))
    says("cannot ask STS: the endpoint configured for sts is none: it must begin with http",
      failure(script(BASE .. ROLE, nil, { endpoints = { sts = "hunter2" } })))
    -- AWS's own host is not what a configured one that cannot be read stands for
    context = script(BASE .. ROLE .. "services = s\n[services s]\nhunter2\n")
    function context.endpoint(service)
      return settings.endpoint_for(service, context.profile, context.env)
    end
    local message = failure(context)
    says("cannot ask STS: profile \"default\" (/", message)
    says("names the section [services s], which cannot be read: /", message)
    assert.same({}, context.sent)
  end)

  it("uses the names for FIPS and for IPv6 where they are asked for", function()
    for _, case in ipairs {
      { "us-east-1", "use_fips_endpoint = true", "sts-fips.us-east-1.amazonaws.com" },
      { "us-east-1", "use_dualstack_endpoint = true", "sts.us-east-1.api.aws" },
      { "us-east-1", "use_dualstack_endpoint = true\nuse_fips_endpoint = true", "sts-fips.us-east-1.api.aws" },
      { "us-gov-west-1", "use_fips_endpoint = true", "sts.us-gov-west-1.amazonaws.com" },
    } do
      found(script(BASE .. ROLE .. case[2], nil, {
        region = case[1], answers = { ["POST https://" .. case[3] .. "/"] = sts {} },
      }))
    end
  end)

  it("is assumed over several profiles, each with the credentials of the one before", function()
    local context = script(BASE .. "[default]\nrole_arn = r1\nsource_profile = middle\n"
      .. "[profile middle]\nrole_arn = r2\nsource_profile = base\nrole_session_name = mid\n",
      { sts { id = "MIDDLE", token = "hunter2/middle" }, sts { id = "LAST" } })
    assert.equal("LAST", found(context).access_key_id)
    assert.equal("r2", form_of(context.sent[1]).RoleArn)
    assert.equal("mid", form_of(context.sent[1]).RoleSessionName)
    assert.equal("r1", form_of(context.sent[2]).RoleArn)
    says("Credential=MIDDLE/", context.sent[2].headers.authorization)
    says(";x-amz-security-token,", context.sent[2].headers.authorization)
    assert.equal("hunter2/middle", context.sent[2].headers["x-amz-security-token"])
  end)

  it("is asked for with a new signature each time, also when the old one has expired", function()
    for _, refusal in ipairs {
      { status = 503, body = "" }, { status = 400, body = "<Error><Code>RequestExpired</Code></Error>" },
      { status = 403, body = "<Error><Code>SignatureDoesNotMatch</Code>"
        .. "<Message>Signature expired: x</Message></Error>" },
    } do
      local dates, context = {}, nil
      context = script(BASE .. ROLE, function(request)
        dates[#dates + 1] = request.headers["x-amz-date"]
        context.now = context.now + 600 -- the machine sleeps
        return #dates == 1 and refusal or sts {}
      end)
      found(context)
      assert.same({ "20260101T000000Z", "20260101T001000Z" }, dates)
      assert.matches("Credential=BASEID/20260101/", context.sent[2].headers.authorization, 1, true)
    end
    local context = script(BASE .. ROLE, { status = 403, body = "<Error><Code>SignatureDoesNotMatch</Code></Error>" })
    says("refused (HTTP 403, SignatureDoesNotMatch)", failure(context))
    assert.equal(1, #context.sent)
  end)

  it("may be its own source, and a source's credentials precede its role", function()
    local context = script("[default]\nrole_arn = r\nsource_profile = default\naws_access_key_id = OWN\n"
      .. "aws_secret_access_key = hunter2\n")
    found(context)
    says("Credential=OWN/", context.sent[1].headers.authorization)
    context = script("[default]\nrole_arn = r\nsource_profile = x\n"
      .. "[profile x]\nrole_arn = other\nsource_profile = gone\n"
      .. "aws_access_key_id = XID\naws_secret_access_key = hunter2\n")
    found(context)
    assert.equal(1, #context.sent)
    says("Credential=XID/", context.sent[1].headers.authorization)
  end)

  it("may have a source with any other kind of credentials", function()
    local context = script("[default]\nrole_arn = r\nsource_profile = x\n"
      .. "[profile x]\ncredential_process = keys\n", nil, {
      processes = { keys = { status = 0, output = '{"Version":1,"AccessKeyId":"PID","SecretAccessKey":"hunter2"}' } },
    })
    found(context)
    says("Credential=PID/", context.sent[1].headers.authorization)
  end)

  it("names a circle", function()
    says("the profiles form a circle of `source_profile`, default -> a -> b -> a; one of them needs its",
      failure(script("[default]\nrole_arn = r\nsource_profile = a\n[profile a]\nrole_arn = r\nsource_profile = b\n"
        .. "[profile b]\nrole_arn = r\nsource_profile = a\n")))
    says("a circle of `source_profile`, default -> default;",
      failure(script("[default]\nrole_arn = r\nsource_profile = default\n")))
  end)

  it("says what is wrong with its source", function()
    for config, why in pairs {
      ["source_profile = gone"] = 'its `source_profile` "gone": there is no such profile in /',
      ["source_profile = empty\n[profile empty]"] =
        'its `source_profile` "empty": it has no credentials and names no source of them',
      ["source_profile = half\n[profile half]\naws_secret_access_key = hunter2"] =
        'its `source_profile` "half": it has `aws_secret_access_key`, but not `aws_access_key_id`',
      ["source_profile = x\n[profile x]\naws_access_key_id = I\naws_secret_access_key = a\n  hunter2"] =
        "its `source_profile` x: its secret_access_key holds a line break",
      [""] = "it has `role_arn`, but neither `source_profile` nor `credential_source`",
      ["source_profile = a\ncredential_source = Environment"] = "it has both `source_profile` and `credential_source`",
      ["credential_source = Elsewhere"] = "is none of Environment, Ec2InstanceMetadata and EcsContainer",
      ["credential_source = Environment"] = "its `credential_source` Environment: AWS_ACCESS_KEY_ID and",
      ["credential_source = EcsContainer"] = "its `credential_source` EcsContainer: AWS_CONTAINER_CREDENTIALS",
      ["credential_source = Ec2InstanceMetadata"] = "Ec2InstanceMetadata: AWS_EC2_METADATA_DISABLED is true",
      ["source_profile = base\nmfa_serial = arn"] = "its role needs an MFA code (`mfa_serial`), which this library "
        .. 'cannot ask for; run  eval "$(aws configure export-credentials --profile default --format env)"',
    } do
      local context = script("[default]\nrole_arn = r\n" .. config)
      says(why, failure(context))
      assert.same({}, context.sent)
    end
  end)

  it("uses the environment's credentials as its `credential_source`, even for the option `profile`", function()
    local context = script("[profile x]\nrole_arn = r\ncredential_source = Environment\n", nil, {
      env = { AWS_ACCESS_KEY_ID = "ENVID", AWS_SECRET_ACCESS_KEY = "hunter2" }, options = { profile = "x" },
    })
    found(context)
    says("Credential=ENVID/", context.sent[1].headers.authorization)
  end)
end)

describe("an answer of STS", function()
  after_each(scripted.remove_files)

  local CONFIG = BASE .. "[default]\nrole_arn = arn:r\nsource_profile = base\n"

  local function refused(status, code, message)
    return { status = status, body = ("<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message>"
      .. "</Error><RequestId>x</RequestId></ErrorResponse>"):format(code, message) }
  end

  it("is quoted when it refuses, but for secrets", function()
    says("broken: cannot assume arn:r: https://sts.us-east-1.amazonaws.com refused (HTTP 403, AccessDenied: User: "
      .. "arn:aws:iam::1:user/u may not perform sts:AssumeRole & more)", failure(script(CONFIG,
      refused(403, "AccessDenied", "User: arn:aws:iam::1:user/u\nmay not perform sts:AssumeRole &amp; more"))))
    says("refused (HTTP 403, SignatureDoesNotMatch)",
      failure(script(CONFIG, refused(403, "SignatureDoesNotMatch", "it is hunter2/base, is it?"))))
    for _, body in ipairs {
      "<html>hunter2</html>", "", "<Error><Code>hunter2", "<Error><Code>hunter2 x</Code></Error>",
    } do
      says("refused (HTTP 404)", failure(script(CONFIG, { status = 404, body = body })))
    end
  end)

  it("is waited for when it may come yet", function()
    local context = script(CONFIG, {
      { status = 503, body = "" }, refused(400, "Throttling", "Rate exceeded"), sts {},
    })
    found(context)
    assert.equal(3, #context.sent)
    context = script(CONFIG, "Timeout")
    says("returned no credentials: no answer (https://sts.us-east-1.amazonaws.com), after 3 attempts", failure(context))
    context = script(CONFIG, refused(400, "ValidationError", "no"))
    failure(context)
    assert.equal(1, #context.sent)
  end)

  it("is believed only when it is whole", function()
    local body = sts({}).body
    local last = body:find("</Credentials>", 1, true) + #"</Credentials>" - 1
    for length = 0, last - 1 do
      local message = failure(script(CONFIG, { status = 200, body = body:sub(1, length) }))
      assert.is_truthy(message:find "is no answer of STS")
      scripted.remove_files()
    end
    for wrong, why in pairs {
      ["<html>hunter2</html>"] = "is no answer of STS",
      [body .. ("x"):rep(65536)] = "is no answer of STS",
      [body:gsub("<SecretAccessKey>.-<", "<SecretAccessKey><")] = "has no `SecretAccessKey`",
      [body:gsub("<SecretAccessKey>", "<SecretAccessKey><b>")] = "has no `SecretAccessKey`",
      [body:gsub("<SessionToken>.-</SessionToken>", "")] = "has no `SessionToken`",
      [body:gsub("2026", "soon")] = "has an `Expiration` that is no ISO 8601 time",
      [body:gsub("2026", "2025")] = "it returned credentials that have expired: at 2025-01-01T06:00:00Z",
      [body:gsub("hunter2/s", "hunter2\n/s")] = "its secret_access_key holds a line break",
    } do
      says(why, failure(script(CONFIG, { status = 200, body = wrong })))
    end
    local keys = found(script(CONFIG, { status = 200, body = (body:gsub("<Arn>.-</Arn>", ""):gsub("/t<", "&amp;<")) }))
    assert.is_nil(keys.account_id)
    assert.equal("hunter2&", keys.session_token)
  end)
end)

describe("a web identity", function()
  after_each(scripted.remove_files)

  local function by_environment(more, answer, token)
    local env = { AWS_WEB_IDENTITY_TOKEN_FILE = "/token", AWS_ROLE_ARN = "arn:r" }
    for name, value in pairs(more or {}) do
      env[name] = value or nil
    end
    return script("[default]\nregion = x\naws_access_key_id = A\naws_secret_access_key = hunter2\n", answer, {
      env = env, files = { ["/token"] = token or "hunter2.jwt\n" },
    })
  end

  it("gets credentials by an unsigned request, before the profile", function()
    local context = by_environment { AWS_ROLE_SESSION_NAME = "me" }
    local keys = found(context)
    assert.equal("web identity", keys.origin)
    assert.equal("111122223333", keys.account_id)
    assert.same({
      Action = "AssumeRoleWithWebIdentity", Version = "2011-06-15", RoleArn = "arn:r", RoleSessionName = "me",
      WebIdentityToken = "hunter2.jwt",
    }, form_of(context.sent[1]))
    assert.same({ ["content-type"] = "application/x-www-form-urlencoded" }, context.sent[1].headers)
  end)

  it("comes after a profile that AWS_PROFILE names, and before the default one", function()
    local function under(config)
      return script(config, sts { id = "POD" }, {
        env = { AWS_WEB_IDENTITY_TOKEN_FILE = "/token", AWS_ROLE_ARN = "arn:r", AWS_PROFILE = "dev" },
        files = { ["/token"] = "hunter2.jwt\n" },
      })
    end
    local DEV = "[profile dev]\n"
    local keys = found(under(DEV .. "aws_access_key_id = DEV\naws_secret_access_key = hunter2\n"))
    assert.same({ "DEV", "profile" }, { keys.access_key_id, keys.origin })
    -- a role that is assumed with others' credentials
    local context = under(DEV .. "role_arn = arn:dev\nsource_profile = base\n" .. BASE)
    assert.equal("profile", found(context).origin)
    assert.equal("arn:dev", form_of(context.sent[1]).RoleArn)
    -- a profile that says nothing about credentials
    keys = found(under(DEV .. "region = us-east-1\n"))
    assert.same({ "POD", "web identity" }, { keys.access_key_id, keys.origin })
    -- another identity than the one that was asked for would be worse than an error
    local message = failure(under(DEV .. "aws_access_key_id = DEV\n"))
    says("broken: it has `aws_access_key_id`, but not `aws_secret_access_key`; web identity: not asked", message)
    -- the default profile, also when it is named
    context = under "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = hunter2\n[profile dev]\n"
    assert.equal("POD", found(context).access_key_id)
    context = script("[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = hunter2\n", nil, {
      env = { AWS_WEB_IDENTITY_TOKEN_FILE = "/token", AWS_ROLE_ARN = "arn:r", AWS_PROFILE = "default" },
    })
    assert.equal("DEFAULT", found(context).access_key_id)
  end)

  it("reads its token each time", function()
    local context = by_environment()
    found(context)
    context.read_file = function()
      return "hunter2.new"
    end
    found(context)
    assert.equal("hunter2.new", form_of(context.sent[2]).WebIdentityToken)
  end)

  it("is named by a profile, too", function()
    local context = script("[default]\nrole_arn = arn:p\nweb_identity_token_file = /token\nrole_session_name = me\n"
      .. "duration_seconds = 900\n", nil, { files = { ["/token"] = "hunter2.jwt" } })
    assert.equal("profile", found(context).origin)
    assert.same({
      Action = "AssumeRoleWithWebIdentity", Version = "2011-06-15", RoleArn = "arn:p", RoleSessionName = "me",
      DurationSeconds = "900", WebIdentityToken = "hunter2.jwt",
    }, form_of(context.sent[1]))
    says("it has `web_identity_token_file`, but not `role_arn`",
      failure(script("[default]\nweb_identity_token_file = /token\n")))
  end)

  it("stops at what is wrong with it", function()
    says("web identity: broken: AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not",
      failure(by_environment { AWS_ROLE_ARN = false }))
    says("web identity: broken: the token file /token is empty", failure(by_environment({}, nil, " \n")))
    says("web identity: broken: the token in /token holds a line break", failure(by_environment({}, nil, "hun\nter2")))
    says("cannot read the token file /nonexistent/x: ",
      failure(by_environment { AWS_WEB_IDENTITY_TOKEN_FILE = "/nonexistent/x" }))
    says("refused (HTTP 400, InvalidIdentityToken)", failure(by_environment({}, { status = 400, body =
      "<E><Error><Code>InvalidIdentityToken</Code><Message>bad token hunter2.jwt</Message></Error></E>" })))
    local context = by_environment({}, {
      { status = 400, body = "<Error><Code>IDPCommunicationError</Code></Error>" }, sts {},
    })
    found(context)
    assert.equal(2, #context.sent)
  end)
end)
