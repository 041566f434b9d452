-- What credential providers may use of the system and of the engine: files, HTTP requests, programs.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local profiles = require "kinesis.config.profile"
local settings = require "kinesis.config.settings"

local M = {}

local CONNECT_TIMEOUT = 1 -- seconds; credential services run on this machine or next to it

--- Raised where the provider chain would have to wait and cannot.
M.NEEDS_TO_WAIT = {}

-- Starts the engine's `verb`, and yields the handle's id until its answer has arrived. In a provider's coroutine.
local function await(client, verb, ...)
  if client.credentials.state == "inline" then
    error(M.NEEDS_TO_WAIT, 0)
  end
  local ticket, err = client.core[verb](client.core, ...)
  if not ticket then
    return nil, err
  end
  local done, value = ticket:answer()
  while done == false do
    coroutine.yield(ticket:id())
    done, value = ticket:answer()
  end
  if done then
    return value
  end
  return nil, value
end

-- Whether a URL's host is this machine, or a link-local service beside it, which no proxy can reach.
local function is_local(url)
  local host = url:match "^%a+://(%[[^%]/]*%])" or url:match "^%a+://([^/:]+)" or ""
  return host == "localhost" or host == "[::1]" or host:find "^%[fd00:ec2:" ~= nil
    or host:find "^127%.%d+%.%d+%.%d+$" ~= nil or host:find "^169%.254%.%d+%.%d+$" ~= nil
end

-- One attempt of an unsigned HTTP request, sent after `delay` seconds; any status is a success.
local function request(client, wanted)
  local head = { wanted.url }
  for name, value in pairs(wanted.headers or {}) do
    if value:find "[\r\n%z]" then
      return nil, errors.new("BadConfig", ("the header %s would hold a line break"):format(name))
    end
    head[#head + 1] = name .. ": " .. value
  end
  head[#head + 1] = "Expect:"
  return await(client, "fetch", wanted.method, head, wanted.body, wanted.timeout,
    wanted.connect_timeout or CONNECT_TIMEOUT, wanted.delay, is_local(wanted.url))
end

-- Runs a program without a shell; the engine kills it after `timeout` seconds.
local function run(client, argv, timeout)
  local ended, err = await(client, "run", argv, timeout)
  return ended, err and err.message
end

local function read_file(path)
  local file, why = io.open(path, "rb")
  if not file then
    return nil, why
  end
  local text
  text, why = file:read "*a"
  file:close()
  return text, why
end

---Makes the context of a client's providers.
---@param client kinesis.Client
---@param checked kinesis.ClientOptions
---@param found kinesis.settings
---@return kinesis.credentials.context
function M.of(client, checked, found)
  local profile = found.profile
  return {
    options = checked,
    profile = profile,
    region = found.region,
    memory = {},
    env = os.getenv,
    load_profile = profiles.load,
    time = function()
      return os.time() + client.core:expiry_offset()
    end,
    read_file = read_file,
    replace_file = core.replace_file,
    request = function(wanted)
      return request(client, wanted)
    end,
    run = function(argv, timeout)
      return run(client, argv, timeout)
    end,
    endpoint = function(service)
      return settings.endpoint_for(service, profile)
    end,
  }
end

return M
