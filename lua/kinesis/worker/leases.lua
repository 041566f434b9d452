--- The leases of a worker: the Lua side of the machine that renews them (csrc/lease). Operations wait for their outcome
--- in the host's way; what becomes of held leases meanwhile is passed to the worker.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local wait = require "kinesis.wait"

local M = {}

local MOST_ASKED = 32 -- questions that a store in Lua answers at a time

---@class kinesis.worker.Leases
---@field asked integer questions that its store is answering
local Leases = {}
Leases.__index = Leases

-- ---- a store in Lua ----

-- What the functions of a store return, as an outcome.
local function outcome_of(result, problem)
  if result == nil then
    return "failed", problem and tostring(problem) or "the store returned nothing"
  elseif result == false then
    return "refused"
  end
  return "done", type(result) == "table" and result or nil
end

-- An update's answer is the row as it is then.
local function with_row(store, key, outcome, problem)
  if outcome == "failed" then
    return outcome, problem
  end
  return outcome, store.get(key) or nil
end

local function ask_store(store, kind, key, owner, counter, changes)
  if kind == "list" then
    return outcome_of(store.list())
  elseif kind == "get" then
    return outcome_of(store.get(key))
  elseif kind == "create" then
    return outcome_of(store.create(key, changes))
  elseif kind == "update" then
    return with_row(store, key, outcome_of(store.update(key, { counter = counter, owner = owner or nil }, changes)))
  elseif kind == "delete" then
    return outcome_of(store.delete(key))
  end
  return "done" -- a probe: the worker may live
end

local function answer(self, token, ...)
  local good, outcome, value = pcall(ask_store, self.store, ...)
  self.asked = self.asked - 1
  if good then
    self.core:answer(token, outcome, value)
  else
    self.core:answer(token, "failed", "the store raised: " .. tostring(outcome))
  end
  wait.wake(self.client, self.core:id())
end

-- The store may wait: questions are answered side by side, where others than the caller can run.
local function begin_answer(self, token, ...)
  self.asked = self.asked + 1
  if not wait.can_spawn(self.client) then
    return answer(self, token, ...)
  end
  local kind, key, owner, counter, changes = ...
  wait.spawn(self.client, function()
    answer(self, token, kind, key, owner, counter, changes)
  end)
end

-- ---- messages ----

-- Handles one message of the machine; false: there is none.
local function handle_one(self)
  local event, a, b, c, d, e = self.core:next()
  if not event or event == "question" and self.asked >= self.most_asked then
    return false
  elseif event == "question" then
    begin_answer(self, self.core:claim(), a, b, c, d, e)
    return true
  elseif event == "done" and self.waiting[a] then
    self.waiting[a] = { outcome = b, value = c }
  elseif event == "done" and self.releasing[a] then
    self.releasing[a] = nil
  elseif event == "done" and b == "failed" then
    self.events[#self.events + 1] = { "trouble", e, c }
  elseif event ~= "done" then
    self.events[#self.events + 1] = { event, a, b }
  end
  self.core:pass()
  return true
end

--- Handles all messages that have arrived; returns what became of held leases, oldest first: {"lost", key, row or
--- false}, {"wanted", key, row}, {"trouble", key, error}.
---@return table[] events
function Leases:poll()
  wait.poll(self.client)
  while handle_one(self) do
  end
  local events = self.events
  self.events = {}
  return events
end

--- Whether `poll` has something to return.
function Leases:has_events()
  return self.events[1] ~= nil
end

--- Does one operation; see csrc/lease/op.h.
---@param op table use, kind, key, owner, counter, changes
---@return table|boolean|nil result the answer, or true; false: refused
---@return any err or, when it was refused, the row as it is; of a take that is done, its validity
function Leases:call(op)
  self.number = self.number + 1
  local number = self.number
  op.number = number
  self.waiting[number] = true
  local sent, err = self.core:submit(op)
  local validity = sent and err
  while sent and self.waiting[number] == true do
    if not handle_one(self) then
      if self.closed or self.client.core:is_closed() then
        return nil, errors.new("Closed", "the worker or its client was closed")
      elseif self.deadline and core.now() >= self.deadline then
        return nil, errors.new("Timeout", "the worker is stopped, and its time is over")
      end
      wait.ready(self.client, self.core:id(), core.now() + 1)
    end
  end
  local done = self.waiting[number]
  self.waiting[number] = nil
  if not sent then
    return nil, err or errors.new("Closed", "the client was closed")
  elseif done.outcome == "failed" then
    return nil, done.value
  elseif done.outcome == "refused" then
    return false, done.value
  end
  return done.value or true, validity
end

--- Whether records of a held lease may be delivered now.
function Leases:is_valid(key)
  local validity = self.validity[key]
  return validity ~= nil and validity:holds()
end

--- The store's functions, as in store/memory.lua.
function Leases:list()
  return self:call { kind = "list" }
end

function Leases:get(key)
  return self:call { kind = "get", key = key }
end

function Leases:create(key, row)
  return self:call { kind = "create", key = key, changes = row }
end

function Leases:delete(key)
  return self:call { kind = "delete", key = key }
end

function Leases:update(key, expected, changes)
  return self:call { kind = "update", key = key, counter = expected.counter, owner = expected.owner, changes = changes }
end

--- Whether a worker lives; true when that is not known.
function Leases:is_alive(worker)
  return self:call { kind = "probe", key = worker } ~= false
end

--- Begins to hold a lease that was seen with this row.
---@return boolean|nil taken
---@return any err
function Leases:take(key, row)
  local taken, err = self:call { kind = "update", use = "take", key = key, counter = row.counter, owner = row.owner,
    changes = { owner = self.worker, counter = row.counter + 1, wanted_by = false,
      owner_switches = (row.owner_switches or 0) + (row.owner and 1 or 0) } }
  if taken then
    self.validity[key] = err
    return true
  end
  return taken, err
end

--- Writes to a held lease, such as a checkpoint.
function Leases:write(key, changes)
  return self:call { kind = "update", use = "write", key = key, changes = changes }
end

--- Ends the holding of a lease; `to`: its next owner, if there is one.
function Leases:release(key, changes, to)
  changes.owner, changes.wanted_by = to or false, false
  return self:call { kind = "update", use = "release", key = key, changes = changes }
end

--- Ends the holding of a lease without waiting for the outcome, for which `settle` waits.
function Leases:release_later(key, changes)
  changes.owner, changes.wanted_by = false, false
  self.number = self.number + 1
  self.releasing[self.number] = true
  self.core:submit { number = self.number, kind = "update", use = "release", key = key, changes = changes }
end

--- Waits until the leases that are to be released later are.
---@param deadline number
function Leases:settle(deadline)
  while next(self.releasing) and core.now() < deadline and not self.client.core:is_closed() do
    if not handle_one(self) then
      wait.ready(self.client, self.core:id(), math.min(deadline, core.now() + 1))
    end
  end
end

--- Ends the waits for these leases. A signal handler may call it at any instruction: it only posts to the engine, which
--- refuses this write of a lease that nobody holds.
function Leases:nudge()
  self.core:submit { number = 0, kind = "update", use = "write", key = "" }
end

function Leases:close()
  self.closed = true
  self.core:close()
end

--- Opens the leases of a worker.
---@param client kinesis.Client
---@param options table worker: its id; failover: seconds; folder and application: of the file; or store
---@return kinesis.worker.Leases|nil leases
---@return kinesis.Error? err
function M.open(client, options)
  local handle, err = client.core:leases(options)
  if not handle then
    return nil, err
  end
  return setmetatable({ client = client, core = handle, worker = options.worker, store = options.store, number = 0,
    waiting = {}, releasing = {}, events = {}, validity = {}, asked = 0, most_asked = MOST_ASKED }, Leases)
end

return M
