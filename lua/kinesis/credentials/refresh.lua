-- The credential refresh of one client: a state machine that calls the provider and passes the result to the engine.
--
--   idle ──────── schedule, or the engine wants credentials ───────▶ due
--   idle, due ─── start, by the drain at its time or by a caller ──▶ running, inline or asking
--   running ───── the provider chain yields a handle id ───────────▶ waiting
--   waiting ───── the drain delivers that handle's answer ─────────▶ running
--   waiting ───── the drain's host ends ───────────────────────────▶ due
--   inline ────── the chain would have to wait ────────────────────▶ due
--   running, inline, asking ── the provider returns or raises ─────▶ idle
--   all but idle ─ an error was thrown into Lua, or its owner died ▶ due
--
-- running: the provider chain runs in a coroutine of this object, which client drains resume; so the chain needs no
--   event loop of its own, and the call that waits for credentials drives it.
-- inline:  the chain runs on the caller's stack, where a coroutine would not outlive the caller; it must not wait.
-- asking:  the function of the option `credentials` runs; it waits in the way of its host.
--
-- The client owns the object. Secrets are reachable only through the closure `provider`; access_key_id, account_id and
-- expiration are kept in `identity`.
local core = require "kinesis.core"
local context = require "kinesis.credentials.context"
local credentials = require "kinesis.credentials"
local errors = require "kinesis.errors"
local notice = require "kinesis.observe.notice"
local stack = require "kinesis.util.stack"
local urls = require "kinesis.endpoint.urls"
local values = require "kinesis.credentials.values"
local wait = require "kinesis.wait"

local ARRIVAL = "credentials" -- callers wait for this id as for a handle's
local START_AGAIN = 1 -- seconds until the drain starts a refresh again, when its host dropped the first start

local MEMORY = { ["not enough memory"] = true, ["out of memory"] = true } -- as Lua, and the core, raise them

---@class kinesis.credentials.Refresh
---@field client kinesis.Client
---@field state "idle"|"due"|"running"|"waiting"|"inline"|"asking"
---@field due_at number|nil (due) seconds of core.now
---@field task thread|nil (running, waiting) the coroutine of the provider chain
---@field handle_id integer|nil (waiting) what the chain waits for
---@field owner thread|"main"|nil (inline, asking) the coroutine that runs the provider
---@field provider function the user's function, or the provider chain
---@field is_chain boolean whether `provider` is the provider chain
---@field has_asked boolean|nil whether the provider chain was called: then its next call reads the profile again
---@field is_fixed boolean whether `provider` returns the table of the option `credentials`: asking it again is useless
---@field identity table|nil access_key_id, account_id and expiration of the latest credentials
---@field error kinesis.Error|nil why the latest refresh brought no credentials
---@field origin string|nil where the credentials are from, for messages
local Refresh = {}
Refresh.__index = Refresh

local M = {}

-- Passes what a provider's pcall returned to the engine. Returns the error when there are no credentials.
local function complete(self, good, provided, why)
  local found = provided
  if good then
    good, found, why = pcall(values.provided, provided, why)
  end
  self.state, self.task, self.handle_id = "idle", nil, nil
  if not good then
    local _, text = pcall(tostring, found)
    found, why = nil, text
  end
  if found then
    local account = found.account_id
    self.client.core:set_credentials(found.access_key_id, found.secret_access_key, found.session_token,
      found.expiration, self.is_fixed, account and (urls.is_label(account) and account or ""))
    found.secret_access_key, found.session_token = nil, nil -- from here only the engine has them
    self.identity, self.error = found, nil
  else
    -- the engine must get an answer, or its calls would wait forever
    why = type(why) == "string" and why or "the credentials provider failed, and what it raised cannot be printed"
    local code = (MEMORY[why] or why:find "^OutOfMemory: ") and "OutOfMemory" or "NoCredentials"
    self.client.core:credentials_failed(why, code)
    self.error = errors.new(code, why)
  end
  wait.wake(self.client, ARRIVAL)
  return not found and self.error or nil
end

-- Runs the provider chain until it returns or waits again. Returns the error when it returned none.
local function resume(self)
  self.state = "running"
  local good, result, why = coroutine.resume(self.task)
  if coroutine.status(self.task) == "dead" then
    return complete(self, good, result, why)
  end
  self.state, self.handle_id = "waiting", result
  wait.listen(self.client, result, self)
end

-- Ends `waiting`.
local function stop_waiting(self)
  wait.listen(self.client, self.handle_id, nil)
  self.handle_id = nil
end

-- Makes the next drain start the refresh from its beginning.
local function begin_again(self)
  if self.handle_id then
    stop_waiting(self)
  end
  self.state, self.task, self.owner, self.due_at = "due", nil, nil, 0
  self.client.core:poke()
end

-- Runs a step of the refresh. The provider's own errors do not get here: this one was thrown into Lua from outside, or
-- memory is out, and may have left the step half done.
local function run_step(self, step, ...)
  local good, result = pcall(step, self, ...)
  if not good then
    begin_again(self)
    error(result, 0)
  end
  return result
end

-- Runs the provider on the caller's stack.
local function run_provider(self)
  self.owner = stack.current()
  local good, found, why = pcall(self.provider)
  self.owner = nil
  return good, found, why
end

-- Whether nothing will end the state any more: the error that run_step handles came twice, or the host dropped the
-- coroutine.
local function is_orphaned(self)
  local state = self.state
  if state == "running" then
    local status = self.task and coroutine.status(self.task)
    return status ~= "running" and status ~= "normal"
  elseif state == "waiting" then
    return not self.handle_id or self.client.inbox.listeners[self.handle_id] ~= self
  end
  return (state == "inline" or state == "asking") and not (self.owner and stack.holds(self.owner, run_provider))
end

local function is_startable(self)
  if is_orphaned(self) then
    begin_again(self)
  end
  return self.state == "idle" or self.state == "due"
end

-- Lets the next drain start the refresh: coroutines made by the drain outlive the caller.
local function schedule(self)
  if is_startable(self) then
    self.state, self.due_at = "due", 0
  end
  wait.attach(self.client)
  self.client.core:poke()
end

-- Where no coroutine outlives the caller, credentials are still found when the chain need not wait.
local function run_inline(self)
  self.state = "inline"
  local good, found, why = run_provider(self)
  if found == context.NEEDS_TO_WAIT then
    self.state = "idle"
    return schedule(self)
  end
  return complete(self, good, found, why)
end

local function start(self)
  if not is_startable(self) then
    return nil
  elseif self.is_chain and not wait.has_coroutines(self.client) then
    return run_inline(self)
  elseif self.is_chain then
    self.task = coroutine.create(self.provider)
    return resume(self)
  end
  self.state = "asking"
  return complete(self, run_provider(self))
end

--- Starts a refresh unless one is under way. Runs on the application's threads only, never inside a C function.
---@return kinesis.Error|nil err when it is known at once that there are no credentials
function Refresh:start()
  local err = run_step(self, start)
  return err
end

--- Whether the caller is the user's own provider: a call of the same client would wait for itself.
function Refresh:is_caller()
  return self.state == "asking" and self.owner == stack.current() and not is_orphaned(self)
end

--- Whether a refresh is under way, or due.
function Refresh:is_busy()
  return self.state ~= "idle"
end

--- Why calls wait for the first credentials; nil when there are credentials, or nobody has asked for them.
---@return kinesis.Error|nil
function Refresh:reason()
  if self.identity then
    return nil
  end
  return self.error or self:is_busy() and errors.new("NoCredentials", "the credentials provider has not answered yet")
    or nil
end

local function go_on(self)
  stop_waiting(self)
  return resume(self)
end

-- For the drain: the handle that the provider chain waits for has its answer.
function Refresh:on_ready()
  run_step(self, go_on)
end

-- For the drain, each time: starts a refresh that is due, or that the engine wants.
function Refresh:on_drain(call)
  local ready = self.client.inbox.ready
  if is_startable(self) and ready.credentials_wanted then
    self.state, self.due_at = "due", 0
  end
  ready.credentials_wanted = nil
  if self.state ~= "due" or self.due_at > core.now() then
    return
  end
  self.state, self.due_at = "due", core.now() + START_AGAIN -- nginx may drop the timer that is to start it
  if self.is_chain then
    self:start() -- the coroutine belongs to the drain, which resumes it
  else
    call(self.start, self)
  end
end

--- Called when the drain's host ends, and its coroutines with it: the next drain starts the refresh again.
function Refresh:drop_task()
  if self.state == "waiting" then
    stop_waiting(self)
    self.state, self.task, self.due_at = "due", nil, 0
  end
end

-- Whether credentials arrive without the caller's help. In a plain script, what the user's function waits for may be
-- the caller itself.
local function arrives_alone(self)
  return self.state == "waiting" or self.state == "due" or self.state ~= "idle" and not wait.may_block(self.client)
end

--- Waits until the client has credentials, as its first call would.
---@return table|nil identity
---@return kinesis.Error|nil err
function Refresh:await()
  local client = self.client
  if self.identity or self:is_caller() then
    return self.identity, self.error
  end
  self.error = nil
  if wait.has_coroutines(client) then
    self:start()
  else
    schedule(self)
  end
  while not self.identity and not self.error and arrives_alone(self) and not client.core:is_closed() do
    wait.ready(client, ARRIVAL)
  end
  return self.identity, self.error
end

-- The files of the profile may hold other credentials now. While they cannot be read, or do not have the profile any
-- more, it stays as it was: the credentials may come from elsewhere, but not those of another identity than before.
local function read_again(own_context)
  local old = own_context.profile
  local profile, problem = own_context.load_profile(old.is_named ~= false and old.name or nil)
  if profile and old.found and not profile.found then
    profile, problem = nil, ('profile "%s" is in none of the files: %s'):format(old.name,
      table.concat(profile.places, ", "))
  elseif profile and profile.problem and not old.problem then
    profile, problem = nil, profile.problem -- the file may be half written
  end
  if not profile then
    notice.print_rarely("profile", "the profile could not be read again: %s", problem)
  end
  own_context.profile = profile or old
end

--- Adds `credentials` to a client: from the option `credentials`, or else from the provider chain. Removes secrets from
--- the tables that the client keeps.
---@param client kinesis.Client
---@param checked kinesis.ClientOptions loses `credentials`
---@param resolved kinesis.settings keeps of the profile its name and files
function M.attach(client, checked, resolved)
  local option = checked.credentials
  local self = setmetatable({ client = client, state = "idle", is_chain = not option,
    is_fixed = type(option) == "table" }, Refresh)
  if option then
    self.origin = "the option `credentials`"
    self.provider = type(option) == "function" and option or function()
      return option
    end
  else
    local own_context = context.of(client, checked, resolved)
    self.provider = function()
      if self.has_asked then
        read_again(own_context)
      end
      self.has_asked = true
      local got, err = credentials.find(own_context)
      self.origin = got and got.origin
      return got, err
    end
  end
  checked.credentials = nil
  resolved.profile = { name = resolved.profile.name, places = resolved.profile.places }
  client.credentials = self
  wait.listen_to_drains(client, self)
end

return M
