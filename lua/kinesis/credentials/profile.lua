-- Static keys from a profile of the shared files.

local text = require("kinesis.config.profile").text

local M = { name = "profile" }

-- Keys by which a profile asks for another way to credentials, in the order in which AWS's clients heed them. A profile
-- with `role_arn` means the role even where it holds static keys; the others give way to static keys.
local ROLE = "role_arn"
local UNSUPPORTED = {
  "credential_process", "sso_session", "sso_start_url", "login_session", "web_identity_token_file",
}

-- Quotes what a shell would take apart, so that the advice can be pasted.
local function shell_word(word)
  return word:find("^[%w_.@%%+:/-]+$") and word or "'" .. word:gsub("'", [['\'']]) .. "'"
end

local function unsupported(context, key)
  local advice = ('run  eval "$(aws configure export-credentials --profile %s --format env)"'):format(
    shell_word(context.profile.name))
  if context.options.profile then
    -- Keys of the environment are not used beside the option.
    advice = advice .. "  and leave out the option `profile`"
  end
  return nil, "broken", ("it uses `%s`, which this version does not support yet; %s"):format(key, advice)
end

---@param context kinesis.credentials.context
---@return kinesis.FoundKeys|nil keys
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch(context)
  local profile = context.profile
  if text(profile, ROLE) then
    return unsupported(context, ROLE)
  end
  local id, secret = text(profile, "aws_access_key_id"), text(profile, "aws_secret_access_key")
  if id and secret then
    return {
      access_key_id = id,
      secret_access_key = secret,
      session_token = text(profile, "aws_session_token"),
      account_id = text(profile, "aws_account_id"),
    }
  end
  if id or secret then
    return nil, "broken", ("it has `%s`, but not `%s`"):format(
      id and "aws_access_key_id" or "aws_secret_access_key", id and "aws_secret_access_key" or "aws_access_key_id")
  end
  for _, key in ipairs(UNSUPPORTED) do
    if text(profile, key) then
      return unsupported(context, key)
    end
  end
  if not profile.found then
    return nil, "absent", "there is no such profile"
  end
  return nil, "absent", "it has no `aws_access_key_id`"
end

---How messages name this place.
---@param context kinesis.credentials.context
---@return string
function M.describe(context)
  return ('profile "%s" (%s)'):format(context.profile.name, table.concat(context.profile.places, ", "))
end

return M
