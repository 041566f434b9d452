-- The environment variables that this library, libcurl and OpenSSL read. Reading a variable that is not declared here
-- raises an error, so that the list is complete.
--
-- `seal` is what happens to the variable in a shell or process that may reach only the local service:
--   "unset"          it is removed
--   "set VALUE"      it gets this value
--   "local VALUE"    it gets this value where the local service is meant, and is removed where none is (the specs)
--   "endpoint"       the same with the URL of the local service
--   "proxy"          it stays beside a local service, which no_proxy excludes; it is removed where none is meant
--   "loopback"       127.0.0.1 and localhost are added to what it says; it is removed where none is meant
--   "keep"           it stays: no request goes anywhere else because of it
-- spec/support/seal.sh reads these lines without an interpreter: one variable a line, in this form.

local M = {}

---@class kinesis.variable
---@field name string
---@field seal string
---@field purpose string

---@type kinesis.variable[]
M.list = {
  -- which service
  { name = "AWS_REGION", seal = "local us-east-1", purpose = "the region" },
  { name = "AWS_DEFAULT_REGION", seal = "unset", purpose = "the region, when AWS_REGION is unset" },
  { name = "AWS_ENDPOINT_URL_KINESIS", seal = "endpoint", purpose = "URL of the service" },
  { name = "AWS_ENDPOINT_URL_DYNAMODB", seal = "unset", purpose = "URL of DynamoDB, where workers keep leases" },
  { name = "AWS_ENDPOINT_URL", seal = "unset", purpose = "URL of every service without a URL of its own" },
  { name = "AWS_ENDPOINT_URL_STS", seal = "unset", purpose = "URL of STS, which returns the credentials of a role" },
  { name = "AWS_ENDPOINT_URL_SSO", seal = "unset", purpose = "URL of the SSO portal, which returns credentials" },
  { name = "AWS_ENDPOINT_URL_SSO_OIDC", seal = "unset", purpose = "URL of the SSO service that renews tokens" },
  { name = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", seal = "unset", purpose = "true: ignores all configured URLs" },
  { name = "AWS_USE_FIPS_ENDPOINT", seal = "unset", purpose = "true: calls endpoints that comply with FIPS 140" },
  { name = "AWS_USE_DUALSTACK_ENDPOINT", seal = "unset", purpose = "true: calls endpoints that have IPv4 and IPv6" },
  { name = "AWS_ACCOUNT_ID_ENDPOINT_MODE", seal = "unset", purpose = "preferred, disabled or required" },
  { name = "AWS_CA_BUNDLE", seal = "unset", purpose = "file of the certificate authorities to trust" },
  { name = "AWS_MAX_ATTEMPTS", seal = "unset", purpose = "most attempts of a call, the first included" },
  { name = "AWS_SDK_UA_APP_ID", seal = "unset", purpose = "name of the application in the user agent" },

  -- the shared files
  { name = "AWS_CONFIG_FILE", seal = "set /dev/null", purpose = "path of a file to read instead of ~/.aws/config" },
  { name = "AWS_SHARED_CREDENTIALS_FILE", seal = "set /dev/null", purpose = "replaces ~/.aws/credentials" },
  { name = "AWS_PROFILE", seal = "unset", purpose = "the profile of the shared files" },
  { name = "AWS_DEFAULT_PROFILE", seal = "unset", purpose = "the profile, when AWS_PROFILE is unset" },
  { name = "HOME", seal = "keep", purpose = "what ~ stands for in paths; unset: the home folder in passwd" },
  { name = "XDG_STATE_HOME", seal = "keep", purpose = "the folder of leases is kinesis in it; unset: ~/.local/state" },

  -- credentials
  { name = "AWS_ACCESS_KEY_ID", seal = "local local", purpose = "the access key id" },
  { name = "AWS_SECRET_ACCESS_KEY", seal = "local local", purpose = "the secret access key" },
  { name = "AWS_SESSION_TOKEN", seal = "unset", purpose = "the token of temporary credentials" },
  { name = "AWS_CREDENTIAL_EXPIRATION", seal = "unset", purpose = "when the credentials expire" },
  { name = "AWS_ACCOUNT_ID", seal = "unset", purpose = "the account of the credentials" },
  { name = "AWS_WEB_IDENTITY_TOKEN_FILE", seal = "unset", purpose = "file with the web identity's token" },
  { name = "AWS_ROLE_ARN", seal = "unset", purpose = "the role of the web identity" },
  { name = "AWS_ROLE_SESSION_NAME", seal = "unset", purpose = "session name of the role of the web identity" },
  { name = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", seal = "unset", purpose = "path of the container's credentials" },
  { name = "AWS_CONTAINER_CREDENTIALS_FULL_URI", seal = "unset", purpose = "URL of the container's credentials" },
  { name = "AWS_CONTAINER_AUTHORIZATION_TOKEN", seal = "unset", purpose = "token for the container's URL" },
  { name = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", seal = "unset", purpose = "file with this token" },
  { name = "AWS_EC2_METADATA_DISABLED", seal = "set true", purpose = "true: never asks the instance" },
  { name = "AWS_EC2_METADATA_SERVICE_ENDPOINT", seal = "unset", purpose = "URL of the instance's metadata service" },
  { name = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", seal = "unset", purpose = "IPv4 or IPv6 to reach it" },
  { name = "AWS_EC2_METADATA_V1_DISABLED", seal = "unset", purpose = "true: never uses IMDSv1" },
  { name = "AWS_METADATA_SERVICE_TIMEOUT", seal = "unset", purpose = "timeout of the metadata service, in seconds" },
  { name = "AWS_METADATA_SERVICE_NUM_ATTEMPTS", seal = "unset", purpose = "attempts of a request to this service" },

  -- libcurl, and OpenSSL beneath it
  { name = "http_proxy", seal = "proxy", purpose = "proxy for http" },
  { name = "https_proxy", seal = "proxy", purpose = "proxy for https" },
  { name = "HTTPS_PROXY", seal = "proxy", purpose = "proxy for https, when https_proxy is unset" },
  { name = "all_proxy", seal = "proxy", purpose = "proxy for both schemes" },
  { name = "ALL_PROXY", seal = "proxy", purpose = "proxy for both schemes, when all_proxy is unset" },
  { name = "no_proxy", seal = "loopback", purpose = "hosts that are reached without a proxy" },
  { name = "NO_PROXY", seal = "proxy", purpose = "hosts without a proxy, when no_proxy is unset" },
  { name = "SSLKEYLOGFILE", seal = "keep", purpose = "file for the secrets of TLS connections, for debuggers" },
  { name = "OPENSSL_CONF", seal = "keep", purpose = "OpenSSL's configuration file" },

  -- the C core
  { name = "AWS_LAMBDA_FUNCTION_NAME", seal = "keep", purpose = "that this is AWS Lambda; requests name its trace" },
  { name = "_X_AMZN_TRACE_ID", seal = "keep", purpose = "that trace; another one in each invocation" },
  { name = "TMPDIR", seal = "keep", purpose = "folder of the socket that wakes nginx; /tmp when unset" },
}

local declared = {}
for _, variable in ipairs(M.list) do
  declared[variable.name] = true
end

---Reads an environment variable. A blank one counts as unset: shells and container files make those by accident.
---
---Raises an error for a variable that is not declared above.
---@param env fun(name: string): string|nil
---@param name string
---@return string|nil value without whitespace at its ends
function M.read(env, name)
  if not declared[name] then
    error(("the variable %s is not declared in kinesis.config.variables"):format(name), 2)
  end
  local value = env(name)
  value = value and value:match("^%s*(.-)%s*$")
  return value ~= "" and value or nil
end

return M
