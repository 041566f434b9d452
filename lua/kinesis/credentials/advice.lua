-- Hints for profiles that only AWS's command line can use.

local M = {}

-- Quotes a word for a shell, so that the hint can be pasted.
local function shell_word(word)
  return word:find("^[%w_.@%%+:/-]+$") and word or "'" .. word:gsub("'", [['\'']]) .. "'"
end

---@param context kinesis.credentials.context
---@return string
function M.export(context)
  local advice = ('run  eval "$(aws configure export-credentials --profile %s --format env)"'):format(
    shell_word(context.profile.name))
  if context.options.profile then
    -- the option `profile` disables credentials of the environment
    advice = advice .. "  and leave out the option `profile`"
  end
  return advice
end

---@param profile_name string
---@return string
function M.sso_login(profile_name)
  return "run  aws sso login --profile " .. shell_word(profile_name)
end

return M
