-- Returns credentials like the services of AWS. Paths: /imds/… an instance's metadata, /agent/NAME a container's agent,
-- /federation/credentials SSO, / STS; paths under /slow/ answer too late.
local cjson = require "cjson"

local M = {}

local function expiry()
  return os.date("!%Y-%m-%dT%H:%M:%SZ", ngx.time() + 3600)
end

local function keys_of(name)
  return {
    Code = "Success", AccessKeyId = "AKID" .. name, SecretAccessKey = "secret of the " .. name,
    Token = "token of the " .. name, Expiration = expiry(),
  }
end

local STS = [[<%sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%sResult><AssumedRoleUser>
<Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn><AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>
<Credentials>
<AccessKeyId>AKIDrole</AccessKeyId><SecretAccessKey>secret of the role</SecretAccessKey>
<SessionToken>token of the role</SessionToken><Expiration>%s</Expiration></Credentials></%sResult></%sResponse>]]

local function answer(method, path, body)
  local headers = ngx.req.get_headers()
  if path:find "^/slow/" then
    ngx.sleep(30)
  elseif path == "/imds/latest/api/token" then
    ngx.print(method == "PUT" and "metadata-token" or ngx.exit(405))
  elseif path:find "^/imds/" and headers["x-aws-ec2-metadata-token"] ~= "metadata-token" then
    ngx.exit(401)
  elseif path == "/imds/latest/meta-data/iam/security-credentials/" then
    ngx.print "instance"
  elseif path:find "^/imds/latest/meta%-data/iam/security%-credentials/" then
    ngx.print(cjson.encode(keys_of "instance"))
  elseif path:find "^/agent/" and headers.authorization == "agent token" then
    ngx.print(cjson.encode(keys_of "container"))
  elseif path == "/federation/credentials" and headers["x-amz-sso_bearer_token"] == "sso token" then
    ngx.print(cjson.encode { roleCredentials = {
      accessKeyId = "AKIDsso", secretAccessKey = "secret of the sso", sessionToken = "token of the sso",
      expiration = (ngx.time() + 3600) * 1000,
    } })
  elseif path == "/" and method == "POST" then
    local action = body:match "Action=(%w+)"
    ngx.print(STS:format(action, action, expiry(), action, action))
  else
    ngx.exit(404)
  end
end

function M.serve()
  ngx.req.read_body()
  local path, body = ngx.var.uri, ngx.req.get_body_data() or ""
  answer(ngx.req.get_method(), path, body)
end

return M
