--- A client's keys: asked for when the engine wants them, one refresh at a time. A provider that has to wait,
--- for a metadata service or a program, is a coroutine that the client's drain resumes: so it needs nothing of
--- the host, and the call that waits for the keys drives it.
local core = require "kinesis.core"
local credentials = require "kinesis.credentials"
local errors = require "kinesis.errors"
local iso8601 = require "kinesis.util.iso8601"
local profiles = require "kinesis.config.profile"
local settings = require "kinesis.config.settings"
local wait = require "kinesis.wait"

local M = {}

local KEYS = "keys" -- waited for like a handle's id
local CONNECT_TIMEOUT = 1 -- seconds, for those who hand out keys on this machine or beside it

local function is_header_text(value)
  return type(value) == "string" and not value:find "%c"
end

local function wrong_keys(keys)
  if type(keys) ~= "table" then
    return "the credentials provider returned no table"
  end
  for _, name in ipairs { "access_key_id", "secret_access_key" } do
    if not is_header_text(keys[name]) or keys[name] == "" then
      return ("the credentials provider returned no proper %s"):format(name)
    end
  end
  for _, name in ipairs { "session_token", "account_id" } do
    if keys[name] ~= nil and not is_header_text(keys[name]) then
      return ("the credentials provider returned no proper %s"):format(name)
    end
  end
  local expiration = keys.expiration
  if expiration ~= nil and (type(expiration) ~= "number" or expiration ~= expiration) then
    return "the credentials provider returned no proper expiration: seconds since 1970, or nil"
  elseif expiration and expiration < math.huge and iso8601.is_too_late(expiration) then
    return "the credentials provider returned an expiration beyond the year 9999: seconds since 1970, not milliseconds"
  end
end

-- What the provider gave, as plain fields; or nil and why there is nothing. Raises what its table does.
local function read(given, why)
  if not given then
    why = type(why) == "table" and why.message or why
    return nil, tostring(why ~= nil and why or "the credentials provider has none")
  end
  why = wrong_keys(given)
  if why then
    return nil, why
  end
  return {
    access_key_id = given.access_key_id,
    secret_access_key = given.secret_access_key,
    session_token = given.session_token ~= "" and given.session_token or nil, -- no header is sent for ""
    expiration = given.expiration,
    account_id = given.account_id,
  }
end

-- Tells the engine what a provider's pcall gave. Returns the error when there are no keys.
local function settle(client, good, given, why)
  local keys = given
  if good then
    good, keys, why = pcall(read, given, why)
  end
  client.refreshing = nil
  if not good then
    local _, text = pcall(tostring, keys)
    keys, why = nil, text
  end
  if not keys then
    -- whatever the provider said, the engine must hear of it, or it would wait for ever
    why = type(why) == "string" and why or "the credentials provider failed, and what it raised cannot be printed"
    client.core:credentials_failed(why)
    client.missing = errors.new("NoCredentials", why)
    wait.wake(client, KEYS)
    return client.missing
  end
  client.core:set_credentials(keys.access_key_id, keys.secret_access_key, keys.session_token, keys.expiration)
  keys.secret_access_key, keys.session_token = nil, nil -- the engine's alone from here
  client.keys, client.missing = keys, nil
  wait.wake(client, KEYS)
end

-- Runs the provider until it is done, or waits again. What comes after a wait has nobody to return to.
local function resume(client, routine)
  local good, keys, why = coroutine.resume(routine)
  if coroutine.status(routine) == "dead" then
    return settle(client, good, keys, why)
  end
  -- with the client, not with those who wait: it may be forgotten while its keys are under way
  client.provider_wait_id, client.provider_task = keys, routine
end

--- Something has come for the provider. For the drain.
function M.go_on(client)
  local routine = client.provider_task
  client.provider_wait_id, client.provider_task = nil, nil
  resume(client, routine)
end

local function current_coroutine()
  return coroutine.running() or "main" -- nil in the main one of LuaJIT
end

--- Whether this is the user's own provider, which wants an answer of the client that waits for its keys.
function M.is_asking(client)
  return client.asking ~= nil and client.asking == current_coroutine()
end

local NEEDS_TO_WAIT = {} -- raised

-- By the host's drain: there coroutines last.
local function refresh_later(client)
  client.keys_due = 0
  wait.attach(client)
  client.core:poke()
end

-- Where no coroutine lasts, keys that need no provider_task are found all the same.
local function refresh_here(client)
  client.cannot_wait = true
  local good, keys, why = pcall(client.chain)
  client.cannot_wait = nil
  if keys == NEEDS_TO_WAIT then
    client.refreshing = nil
    return refresh_later(client)
  end
  return settle(client, good, keys, why)
end

--- Asks the provider and tells the engine. Whoever drains calls this: never C. Returns the error when it is
--- known at once that there are no keys.
function M.refresh(client)
  client.keys_due = nil
  if client.refreshing then
    return nil
  end
  client.refreshing = true
  if client.chain and not wait.has_coroutines(client) then
    return refresh_here(client)
  elseif client.chain then
    return resume(client, coroutine.create(client.chain))
  end
  client.asking = current_coroutine() -- what the user's own function waits for is its host's business
  local good, keys, why = pcall(client.provider)
  client.asking = nil
  return settle(client, good, keys, why)
end

--- Whoever drains goes, and takes along what it began: the next one begins anew.
function M.drop_provider_task(client)
  if client.provider_task then
    client.provider_wait_id, client.provider_task, client.refreshing, client.keys_due = nil, nil, nil, 0
  end
end

-- Whether they come without our caller: what the user's own function waits for in a plain script may be just that.
local function are_coming(client)
  return client.provider_task or client.keys_due or client.refreshing and not wait.may_block(client)
end

--- Waits until the client has keys, as its first call would. Returns them, or nil and the error.
function M.await(client)
  if client.keys or M.is_asking(client) then
    return client.keys, client.missing
  end
  client.missing = nil
  if wait.has_coroutines(client) then
    client:refresh_keys()
  else
    refresh_later(client)
  end
  while not client.keys and not client.missing and are_coming(client) and not client.core:is_closed() do
    wait.ready(client, KEYS)
  end
  return client.keys, client.missing
end

-- ---- what a provider may ask for ----

-- In the provider's coroutine.
local function await(client, verb, ...)
  if client.cannot_wait then
    error(NEEDS_TO_WAIT, 0)
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

-- Such a service is on this machine or beside it: no proxy knows it.
local function is_beside_us(url)
  local host = url:match "^%a+://(%[[^%]/]*%])" or url:match "^%a+://([^/:]+)" or ""
  return host == "localhost" or host == "[::1]" or host:find "^%[fd00:ec2:" ~= nil
    or host:find "^127%.%d+%.%d+%.%d+$" ~= nil or host:find "^169%.254%.%d+%.%d+$" ~= nil
end

-- One HTTP request, tried once; `delay` seconds from now.
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
    wanted.connect_timeout or CONNECT_TIMEOUT, wanted.delay, is_beside_us(wanted.url))
end

-- A program without a shell, killed past `timeout` seconds.
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

--- Gives a client its provider: the user's own credentials, or the chain of ours.
---@param client kinesis.Client
---@param checked kinesis.ClientOptions
---@param found kinesis.settings
function M.set_provider(client, checked, found)
  local given = checked.credentials
  client.origin = given and "the option `credentials`"
  if type(given) == "function" then
    client.provider = given
  elseif given then
    client.provider = function()
      return given
    end
  else
    local context = M.context(client, checked, found)
    client.chain = function()
      local got, err = credentials.find(context)
      client.origin = got and got.origin
      return got, err
    end
  end
end

--- What the providers of a client may touch.
---@param client kinesis.Client
---@param checked kinesis.ClientOptions
---@param found kinesis.settings
---@return kinesis.credentials.context
function M.context(client, checked, found)
  return {
    options = checked,
    profile = found.profile,
    region = found.region,
    memory = {},
    env = os.getenv,
    load_profile = profiles.load,
    time = os.time,
    read_file = read_file,
    replace_file = core.replace_file,
    request = function(wanted)
      return request(client, wanted)
    end,
    run = function(argv, timeout)
      return run(client, argv, timeout)
    end,
    endpoint = function(service)
      return settings.endpoint_for(service, found.profile)
    end,
  }
end

return M
