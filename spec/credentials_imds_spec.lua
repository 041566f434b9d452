-- Credentials of an instance's role, from a scripted metadata service.
-- Flavours: *lua5.4 *luajit
local scripted = require "support.scripted"

local failure, found = scripted.failure, scripted.found

local BASE = "http://169.254.169.254"
local TOKEN = "/latest/api/token"
local ROLES = "/latest/meta-data/iam/security-credentials-extended/"
local OLD_ROLES = "/latest/meta-data/iam/security-credentials/"
local NOTHING = { status = 404, body = "" }

local function keys_until(expiration, id)
  return { status = 200, body = ('{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"%s","SecretAccessKey":"hunter2/s",'
    .. '"Token":"hunter2/t","Expiration":"%s","AccountId":"111122223333"}'):format(
      id or "ASIA", expiration or scripted.LATER) }
end

-- `changes`: other answers, by what follows the base; false takes one away.
local function instance(changes, given)
  given = given or {}
  local base = given.base or BASE
  local answers = {
    ["PUT " .. base .. TOKEN] = { status = 200, body = "hunter2-token==" },
    ["GET " .. base .. ROLES] = { status = 200, body = "my-role\n" },
    ["GET " .. base .. ROLES .. "my-role"] = keys_until(),
    ["GET " .. base .. OLD_ROLES] = NOTHING,
  }
  for key, answer in pairs(changes or {}) do
    local method, path = key:match "^(%u+) (.*)$"
    answers[method .. " " .. base .. path] = answer or nil
  end
  given.answers = answers
  return scripted.context(given)
end

local function says(text, message)
  assert.matches(text, message, 1, true)
end

describe("the instance metadata provider", function()
  after_each(scripted.remove_files)

  it("takes no credentials with an expiration that it cannot read", function()
    for _, value in ipairs(scripted.UNREADABLE) do
      local answer = keys_until()
      answer.body = answer.body:gsub('"Expiration":"[^"]*"', '"Expiration":' .. value)
      says("has an `Expiration` that is no ISO 8601 time",
        failure(instance { ["GET " .. ROLES .. "my-role"] = answer }))
    end
  end)

  it("fetches a token, the role's name and its credentials", function()
    local context = instance()
    assert.same({
      access_key_id = "ASIA", secret_access_key = "hunter2/s", session_token = "hunter2/t", expiration = 1767247200,
      account_id = "111122223333", origin = "instance metadata",
    }, found(context))
    assert.same({ ["x-aws-ec2-metadata-token-ttl-seconds"] = "21600" }, context.sent[1].headers)
    for i = 2, 3 do
      assert.same({ ["x-aws-ec2-metadata-token"] = "hunter2-token==" }, context.sent[i].headers)
      assert.equal(1, context.sent[i].timeout)
    end
  end)

  it("uses the old path where the extended one is not there, and remembers that", function()
    local old = { status = 200, body = (keys_until().body:gsub(',"AccountId":"%d+"', "")) }
    for _, missing in ipairs { "GET " .. ROLES, "GET " .. ROLES .. "my-role" } do
      local context = instance {
        [missing] = NOTHING, ["GET " .. OLD_ROLES] = { status = 200, body = "my-role" },
        ["GET " .. OLD_ROLES .. "my-role"] = old,
      }
      local keys = found(context)
      assert.same({ "ASIA", nil }, { keys.access_key_id, keys.account_id })
      local sent = #context.sent
      found(context)
      assert.equal(sent + 2, #context.sent)
      assert.equal(BASE .. OLD_ROLES, context.sent[sent + 1].url)
    end
    -- only a 404 says that it is not there
    for _, status in ipairs { 403, 500 } do
      local context = instance {
        ["GET " .. ROLES] = { status = status, body = "" }, ["GET " .. OLD_ROLES] = { status = 200, body = "my-role" },
        ["GET " .. OLD_ROLES .. "my-role"] = old,
      }
      says(("HTTP %d"):format(status), failure(context))
    end
    -- an instance that gets its role later
    local context = instance { ["GET " .. ROLES] = { NOTHING, { status = 200, body = "my-role" } } }
    says("absent: the instance has no role", failure(context))
    assert.equal("111122223333", found(context).account_id)
  end)

  it("uses its token until it expires, or the service has forgotten it", function()
    local context = instance()
    found(context)
    found(context)
    assert.equal(5, #context.sent)
    context.now = context.now + 21600
    found(context)
    assert.equal(8, #context.sent)
    context = instance {
      ["PUT " .. TOKEN] = { { status = 200, body = "old" }, { status = 200, body = "new" } },
      ["GET " .. ROLES] = function(request)
        local fresh = request.headers["x-aws-ec2-metadata-token"] == "new"
        return { status = fresh and 200 or 401, body = "my-role" }
      end,
    }
    found(context)
    assert.equal(5, #context.sent)
    local message = failure(instance { ["GET " .. ROLES] = { status = 401, body = "hunter2" } })
    says("refuses its own tokens (HTTP 401)", message)
  end)

  it("does without a token where there are none, unless that is switched off", function()
    for _, none in ipairs { { status = 403, body = "" }, NOTHING, { status = 405, body = "" }, "Timeout" } do
      local context = instance { ["PUT " .. TOKEN] = none }
      found(context)
      assert.same({}, context.sent[2].headers)
      for _, given in ipairs {
        { env = { AWS_EC2_METADATA_V1_DISABLED = "true" } },
        { config = "[default]\nec2_metadata_v1_disabled = True\n" },
      } do
        context = instance({ ["PUT " .. TOKEN] = none }, given)
        says(none == "Timeout" and "absent: http://169.254.169.254 does not answer"
          or ("returns no token (HTTP %d), and its version 1 is disabled"):format(none.status), failure(context))
        assert.equal(1, #context.sent)
      end
    end
    says("broken: http://169.254.169.254 refused to return a token (HTTP 400)",
      failure(instance { ["PUT " .. TOKEN] = { status = 400, body = "hunter2" } }))
    says("`HttpPutResponseHopLimit`",
      failure(instance { ["PUT " .. TOKEN] = "Timeout", ["GET " .. ROLES] = { status = 401, body = "" } }))
    for _, token in ipairs { "", "hunter2\nhunter2", "<html>hunter2 </html>" } do
      says("returned no proper token", failure(instance { ["PUT " .. TOKEN] = { status = 200, body = token } }))
    end
  end)

  it("believes silence at once, as anywhere else than on EC2, and tries again what answered", function()
    local context = instance { ["PUT " .. TOKEN] = "Connection" }
    says("instance metadata: absent: http://169.254.169.254 does not answer (no answer",
      failure(context))
    assert.equal(1, #context.sent)
    context = instance { ["GET " .. ROLES] = { { status = 500, body = "" }, { status = 200, body = "my-role" } } }
    found(context)
    assert.equal(scripted.NOW + 1, context.now)
    context = instance { ["PUT " .. TOKEN] = { status = 500, body = "hunter2" } }
    says("broken: http://169.254.169.254 fails: HTTP 500, after 3 attempts", failure(context))
  end)

  it("takes its patience from the environment and the profile", function()
    local context = instance({ ["PUT " .. TOKEN] = "Connection" }, {
      env = { AWS_METADATA_SERVICE_TIMEOUT = "5" }, config = "[default]\nmetadata_service_num_attempts = 2\n",
    })
    failure(context)
    assert.equal(2, #context.sent)
    assert.equal(5, context.sent[1].timeout)
    says("AWS_METADATA_SERVICE_TIMEOUT is no number from 1 to 3600",
      failure(instance({}, { env = { AWS_METADATA_SERVICE_TIMEOUT = "soon" } })))
    says('`metadata_service_num_attempts` of profile "default" is no number from 1 to 3600',
      failure(instance({}, { config = "[default]\nmetadata_service_num_attempts = 0\n" })))
  end)

  it("calls the configured address", function()
    local function goes(to, env, config)
      local context = instance({}, { base = to, env = env, config = config and "[default]\n" .. config })
      found(context)
    end
    local url, mode = "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"
    goes("http://h:456", { [url] = "http://h:456/" }, "ec2_metadata_service_endpoint = http://wrong\n")
    goes("http://h:456", {}, "ec2_metadata_service_endpoint = http://h:456\n")
    goes("http://h/base", { [url] = "http://h/base/", [mode] = "IPv6" })
    goes("http://[fd00:ec2::254]", { [mode] = "ipV6" }, "ec2_metadata_service_endpoint_mode = IPv4\n")
    goes("http://[fd00:ec2::254]", {}, "ec2_metadata_service_endpoint_mode = IPv6\n")
    goes(BASE, { [mode] = "IPv4" })
    says(mode .. " is 'IPv5', which is neither IPv4 nor IPv6", failure(instance({}, { env = { [mode] = "IPv5" } })))
    says(url .. " is no URL", failure(instance({}, { env = { [url] = "hunter2@x" } })))
  end)

  it("is not asked when it is switched off", function()
    local context = instance({}, { env = { AWS_EC2_METADATA_DISABLED = "True" } })
    says("instance metadata: absent: AWS_EC2_METADATA_DISABLED is true", failure(context))
    assert.same({}, context.sent)
  end)

  it("believes no other answer", function()
    says("absent: the instance has no role", failure(instance { ["GET " .. ROLES] = NOTHING }))
    says("refused (HTTP 403)", failure(instance { ["GET " .. ROLES] = { status = 403, body = "hunter2" } }))
    for _, role in ipairs { "", "<html>hunter2</html>", "../../x", "a\nb" } do
      says("what http://169.254.169.254 names is no role",
        failure(instance { ["GET " .. ROLES] = { status = 200, body = role } }))
    end
    for body, why in pairs {
      ["<html>hunter2"] = "is no JSON object", ["{}"] = "has no `AccessKeyId`",
      ['{"Code":"AssumeRoleUnauthorizedAccess","Message":"hunter2"}'] =
        "has no credentials of the role my-role: AssumeRoleUnauthorizedAccess",
      ['{"AccessKeyId":"A\\u0000","SecretAccessKey":"hunter2"}'] = "its access_key_id holds",
    } do
      says(why, failure(instance { ["GET " .. ROLES .. "my-role"] = { status = 200, body = body } }))
    end
  end)

  it("returns the old credentials, even expired ones, while the service has no new ones, and retries later", function()
    local role = "GET " .. ROLES .. "my-role"
    for _, trouble in ipairs {
      "Timeout", "Connection", { status = 500, body = "" }, { status = 200, body = "<html>" },
      { status = 200, body = '{"Code":"Failed"}' }, keys_until("2026-01-01T05:00:00Z", "STALE"),
    } do
      local context = instance { [role] = { keys_until(), trouble } }
      found(context)
      context.now = 1767247200 + 60 -- a minute after their end
      local keys = found(context)
      assert.equal(trouble.body and trouble.body:find "STALE" and "STALE" or "ASIA", keys.access_key_id)
      local again = keys.expiration - 900 - context.now -- when the engine asks
      assert.is_true(again >= 300 and again <= 900, again)
    end
    local context = instance { [role] = { keys_until(), "Timeout", keys_until("2026-01-02T00:00:00Z", "FRESH") } }
    for _, id in ipairs { "ASIA", "ASIA", "FRESH" } do
      assert.equal(id, found(context).access_key_id)
    end
  end)

  it("drops the old credentials when the instance has no role any more", function()
    local context = instance { ["GET " .. ROLES] = { { status = 200, body = "my-role" }, NOTHING } }
    found(context)
    says("the instance has no role", failure(context))
  end)
end)
