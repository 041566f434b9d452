-- Credentials that a program of the user prints: `credential_process`.
-- https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html

local values = require "kinesis.credentials.values"
local profiles = require "kinesis.config.profile"
local send = require "kinesis.credentials.send"

local M = {}

-- seconds; enough for a person to enter an MFA code
local TIMEOUT = 60

local MEMBERS = {
  access_key_id = "AccessKeyId",
  secret_access_key = "SecretAccessKey",
  session_token = "SessionToken",
  account_id = "AccountId",
  expiration = "Expiration",
}

local OPERATORS = { ["|"] = true, ["||"] = true, ["&"] = true, ["&&"] = true, [";"] = true, [">"] = true, ["<"] = true }

-- Reads one piece of a word: text without quotes, or the text between quotes.
---@return string|nil piece
---@return integer behind
local function read_piece(line, at)
  local c = line:sub(at, at)
  if c == "'" then
    local close = line:find("'", at + 1, true)
    return close and line:sub(at + 1, close - 1), (close or at) + 1
  elseif c == '"' then
    local close = at + 1
    while close <= #line and line:sub(close, close) ~= '"' do
      close = close + (line:sub(close, close) == "\\" and 2 or 1)
    end
    local text = close <= #line and line:sub(at + 1, close - 1):gsub('\\([\\"])', "%1") or nil
    return text, close + 1
  elseif c == "\\" then
    return at < #line and line:sub(at + 1, at + 1) or nil, at + 2
  end
  local text = line:match("^[^%s'\"\\]+", at)
  return text, at + #text
end

---Splits a command line into words as a shell does, without expansions.
---@param line string
---@return string[]|nil argv
---@return string|nil problem
function M.split(line)
  local argv, word, at = {}, nil, 1
  while at <= #line do
    local space = line:match("^%s+", at)
    if space then
      argv[#argv + 1], word, at = word, nil, at + #space
    else
      local piece, behind = read_piece(line, at)
      if not piece then
        return nil, "has a quote without its end"
      end
      word, at = (word or "") .. piece, behind
    end
  end
  argv[#argv + 1] = word
  if not argv[1] or argv[1] == "" then
    return nil, "names no program"
  end
  return argv
end

-- Messages name the program without its arguments, which may hold a password.
local function describe(argv)
  local note = ""
  for _, word in ipairs(argv) do
    if OPERATORS[word] then
      note = (" (no shell runs it: write  sh -c '…'  around what has a `%s`)"):format(word)
    end
  end
  return ("its `credential_process` %s%s"):format(send.line(argv[1]), note)
end

local function read_keys(output)
  local object = values.object(output)
  if not object then
    return nil, "printed no JSON object"
  elseif object.Version ~= 1 then
    return nil, "printed an object whose `Version` is not 1"
  end
  local found, problem = values.read(object, MEMBERS)
  if not found then
    return nil, "printed an object that " .. problem
  end
  return found
end

---@param context kinesis.credentials.context
---@param profile kinesis.profile
---@return kinesis.FoundCredentials|nil found
---@return "absent"|"broken"|nil state
---@return string|nil why
function M.fetch_for(context, profile)
  local argv, problem = M.split(profiles.text(profile, "credential_process"))
  if not argv then
    return nil, "broken", "its `credential_process` " .. problem
  end
  local result, why = context.run(argv, TIMEOUT)
  if not result then
    return nil, "broken", ("%s: %s"):format(describe(argv), send.line(tostring(why)))
  end
  if result.status ~= 0 then
    local said = send.line(result.errors or "")
    return nil, "broken", ("%s ended with status %d%s"):format(
      describe(argv), result.status, said ~= "" and ": " .. said or "")
  end
  local found
  found, problem = read_keys(result.output)
  if not found then
    return nil, "broken", ("%s %s"):format(describe(argv), problem)
  end
  found.account_id = found.account_id or profiles.text(profile, "aws_account_id")
  return found
end

return M
