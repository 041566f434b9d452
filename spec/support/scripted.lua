--- A scripted context for credential providers: environment, files, answers, processes, and a clock that advances when
--- a provider waits.
local assert = require "luassert"
local credentials = require "kinesis.credentials"
local errors = require "kinesis.errors"
local profiles = require "kinesis.config.profile"

local M = {
  NOW = 1767225600, -- 2026-01-01T00:00:00Z
  LATER = "2026-01-01T06:00:00Z",
}

local ABSENT = "/nonexistent/kinesis-spec"
local made = {}

--- Creates a temporary file, until `remove_files`.
function M.file(text)
  local path = os.tmpname()
  made[#made + 1] = path
  local handle = assert(io.open(path, "wb"))
  handle:write(text)
  handle:close()
  return path
end

--- For after_each.
function M.remove_files()
  for _, path in ipairs(made) do
    os.remove(path)
  end
  made = {}
end

-- The next value of a script: of a list one after the other, then its last one again; of a function its result.
local function next_line(script, key, ...)
  local line = script[key]
  if line == nil then
    error("nothing is scripted for " .. key, 0)
  end
  if type(line) == "table" and line[1] then
    line = #line > 1 and table.remove(line, 1) or line[1]
  end
  if type(line) == "function" then
    return line(...)
  end
  return line
end

local function request_of(context, script)
  return function(request)
    local sent = { headers = {} }
    for key, value in pairs(request) do
      sent[key] = value
    end
    for name, value in pairs(request.headers or {}) do
      sent.headers[name] = value
    end
    context.now = context.now + (request.delay or 0)
    table.insert(context.sent, sent)
    local answer = next_line(script, request.method .. " " .. request.url, sent)
    if type(answer) == "string" then
      return nil, errors.new(answer, ("no answer (%s)"):format(request.url))
    end
    return answer
  end
end

--- Creates a context. `given`: env, config and credentials (texts of the shared files), files by path, answers by
--- "METHOD URL" (a table {status=, body=}, an error's code, a list of such, or a function of the request), processes by
--- argv joined with "|", endpoints by service, options, region, profile (a name).
--- Besides the fields of a context it has `now`, `sent` (the requests) and `replaced` (files by path).
function M.context(given)
  local variables = given.env or {}
  if given.config then
    variables.AWS_CONFIG_FILE = M.file(given.config)
  end
  if given.credentials then
    variables.AWS_SHARED_CREDENTIALS_FILE = M.file(given.credentials)
  end
  local context = { now = M.NOW, sent = {}, replaced = {}, memory = {}, options = given.options or {} }
  function context.env(name)
    local missing = name == "AWS_CONFIG_FILE" or name == "AWS_SHARED_CREDENTIALS_FILE"
    return variables[name] or missing and ABSENT or nil
  end
  function context.load_profile(name)
    return profiles.load(name, context.env)
  end
  function context.read_file(path)
    if (given.files or {})[path] then
      return given.files[path]
    end
    local handle, why = io.open(path, "rb")
    if not handle then
      return nil, why
    end
    local text = handle:read "*a"
    handle:close()
    return text
  end
  function context.replace_file(path, text)
    context.replaced[path] = text
    return true
  end
  function context.time()
    return context.now
  end
  function context.endpoint(service)
    return (given.endpoints or {})[service]
  end
  context.request = request_of(context, given.answers or {})
  function context.run(argv, timeout)
    context.timeout = timeout
    local result = next_line(given.processes or {}, table.concat(argv, "|"), argv)
    if type(result) == "string" then
      return nil, result
    end
    return result
  end
  context.profile = assert(context.load_profile(given.profile or context.options.profile or variables.AWS_PROFILE))
  context.region = given.region
  return context
end

--- Creates a context without an instance metadata service.
function M.off_ec2(given)
  given.env = given.env or {}
  given.env.AWS_EC2_METADATA_DISABLED = "true"
  return M.context(given)
end

--- The credentials that the chain finds.
function M.found(context)
  return assert(credentials.find(context))
end

--- The message of the error; asserts that it is one line without a secret. Every secret of a spec contains "hunter2".
function M.failure(context)
  local keys, err = credentials.find(context)
  assert.is_nil(keys)
  assert.equal("NoCredentials", err.code)
  assert.is_nil(err.message:find "%c")
  assert.is_nil(err.message:find("hunter2", 1, true), err.message)
  return err.message
end

--- Expirations in JSON that no provider may take for "never".
M.UNREADABLE = { "1767247200", '"1767247200"', "true", "{}", '""', '"soon"', '"2026-01-01T06:00:00"' }

--- An answer of STS.
function M.sts(members)
  return { status = 200, body = ([[<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>AROA:session</AssumedRoleId>
      <Arn>arn:aws:sts::%s:assumed-role/r/session</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>%s</AccessKeyId>
      <SecretAccessKey>%s</SecretAccessKey>
      <SessionToken>%s</SessionToken>
      <Expiration>%s</Expiration>
    </Credentials>
  </AssumeRoleResult>
</AssumeRoleResponse>
]]):format(members.account or "111122223333", members.id or "ASIA", members.secret or "hunter2/s",
    members.token or "hunter2/t", members.expiration or M.LATER) }
end

return M
