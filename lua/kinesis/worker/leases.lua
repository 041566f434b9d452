--- The leases of a worker: the Lua side of the machine that renews them (csrc/lease). Operations wait for their outcome
--- in the host's way; what becomes of held leases meanwhile is passed to the worker.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local rows = require "kinesis.store.row"
local wait = require "kinesis.wait"
local ask = require "kinesis.store.ask".ask

local M = {}

local MOST_ASKED = 64 -- questions that a store in Lua answers at a time: 1,000 leases, at 50 ms each
local RENEWALS = 3 -- within `failover`: one that fails twice leaves time for a third
local COMPLAIN_EVERY = 60 -- seconds between two notices of the same row

---@class kinesis.worker.Leases
---@field asked integer questions that its store is answering
---@field interval number seconds between two renewals of a lease
local Leases = {}
Leases.__index = Leases

-- ---- a store in Lua ----

local function error_of_row(problem)
  local err = errors.new("LeaseStore", ("its row is left out: %s; mend or delete it"):format(problem))
  err.retryable = true
  return err
end

-- Notes that a row is left out, once a minute.
local function complain(self, key, problem)
  key = tostring(key)
  local now, last = core.now(), self.complained[key]
  if not last or now >= last + COMPLAIN_EVERY then
    self.complained[key] = now
    self.events[#self.events + 1] = { "trouble", key, error_of_row(problem) }
  end
end

-- The store may wait.
local function answer(self, token, ...)
  local good, outcome, value, fatal = pcall(ask, self.store, self.complain, ...)
  self.asked = self.asked - 1
  if good then
    self.core:answer(token, outcome, value, fatal)
  else
    self.core:answer(token, "failed", "the store raised: " .. tostring(outcome))
  end
  wait.wake(self.client, self.core:id())
end

-- Questions are answered side by side, where others than the caller can run.
local function begin_answer(self, token, ...)
  self.asked = self.asked + 1
  if not wait.can_spawn(self.client) then
    return answer(self, token, ...)
  end
  local kind, key, owner, counter, changes = ...
  local question = {}
  self.questions[question] = true
  local drop = wait.spawn(self.client, function()
    answer(self, token, kind, key, owner, counter, changes)
    self.questions[question] = nil
  end)
  self.questions[question] = self.questions[question] and (drop or true)
end

-- ---- messages ----

--- Whether no waiting will mend this failure of the store.
function Leases:is_fatal(err)
  local of_store = type(err) == "table" and (err.code == "LeaseStore"
    or self.is_remote and err.status ~= nil and errors.is_about_table(err)) -- not of Kinesis: of a dead letter
  return of_store and not err.retryable
end

local function note_failure(self, key, err)
  local what = (key and "a request for the lease of " .. key or "a request for the leases") .. ", which is tried again"
  self.events[#self.events + 1] = { self:is_fatal(err) and "fatal" or "trouble", what, err }
  wait.wake(self.client, self.core:id())
end

-- Handles one message of the machine; false: there is none.
local function handle_one(self)
  local event, a, b, c, d, e = self.core:next()
  if not event or event == "question" and self.asked >= self.most_asked then
    return false
  elseif event == "question" then
    begin_answer(self, self.core:claim(), a, b, c, d, e)
    return true
  elseif event == "gone" then
    self.gone = errors.new("OutOfMemory", "there was no memory for the leases")
  elseif event == "done" and self.waiting[a] then
    self.waiting[a] = { outcome = b, value = c }
  elseif event == "done" and self.releasing[a] then
    self.releasing[a] = nil
  elseif event == "done" and b == "failed" then
    note_failure(self, e, c)
  elseif event ~= "done" then
    if event == "lost" then
      self.validity[a], self.since[a] = nil, nil
    end
    self.events[#self.events + 1] = { event, a, b and (rows.problem(b) and {} or b) }
  end
  self.core:pass()
  return true
end

--- Handles all messages that have arrived; returns what became of held leases, oldest first: {"lost", key, row or
--- false}, {"wanted", key, row}, {"trouble", key, error}, {"fatal", key, error}: the store cannot be used any more.
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

-- Begins an operation, for which `await` waits.
local function begin(self, op)
  self.number = self.number + 1
  op.number = self.number
  self.waiting[op.number] = true
  return op.number, self.core:submit(op)
end

-- Waits until an operation has its outcome; nil and the error when it will have none.
local function await_outcome(self, number)
  while self.waiting[number] == true do
    if not handle_one(self) then
      if self.gone then
        return nil, self.gone
      elseif self.closed or self.client.core:is_closed() then
        return nil, errors.new("Closed", "the worker or its client was closed")
      elseif self.deadline and core.now() >= self.deadline then
        return nil, errors.new("Timeout", "the worker is stopped, and its time is over")
      end
      wait.ready(self.client, self.core:id(), core.now() + 1)
    end
  end
  return self.waiting[number]
end

-- Waits for an operation on a lease that `begin` has begun.
local function await(self, key, number, sent, err)
  local validity, done = sent and err, nil
  if sent then
    done, err = await_outcome(self, number)
  end
  self.waiting[number] = nil
  if not done then
    return nil, err or errors.new("Closed", "the client was closed")
  elseif done.outcome == "failed" then
    if self:is_fatal(done.value) then
      note_failure(self, key, done.value)
    end
    return nil, done.value
  elseif done.outcome == "refused" then
    return false, done.value
  end
  return done.value or true, validity
end

--- Does one operation; see csrc/lease/op.h.
---@param op table use, kind, key, owner, counter, changes
---@return table|boolean|nil result the answer, or true; false: refused
---@return any err or, when it was refused, the row as it is; of a take that is done, its validity
function Leases:call(op)
  return await(self, op.key, begin(self, op))
end

-- Notes that the store has failed, for callers that only try again later. Returns the other arguments.
local function note_outcome(self, key, result, err, ...)
  if result == nil and not self.deadline and err.code ~= "Closed" and not self:is_fatal(err) then
    note_failure(self, key, err)
  end
  return result, err, ...
end

--- Whether records of a held lease may be delivered now.
function Leases:is_valid(key)
  local validity = self.validity[key]
  return validity ~= nil and validity:holds()
end

--- The store's functions, as in store/memory.lua. A row that is not in order is left out, see store/row.lua.
function Leases:list()
  local list, err = self:call { kind = "list" }
  return type(list) == "table" and rows.sift(list, self.complain) or nil, err
end

function Leases:get(key)
  local row, err = self:call { kind = "get", key = key }
  local problem = row and rows.problem(row)
  if problem then
    self.complain(key, problem)
    return nil, error_of_row(problem)
  end
  return row, err
end

function Leases:create(key, row)
  local made = rows.to_create(row)
  made.entityType = made.entityType or self.kcl3 and "LEASE" or nil
  return self:call { kind = "create", key = key, changes = made }
end

function Leases:delete(key, expected)
  return note_outcome(self, key, self:call { kind = "delete", key = key, counter = expected.counter,
    owner = expected.owner })
end

function Leases:update(key, expected, changes)
  return note_outcome(self, key, self:call { kind = "update", key = key, counter = expected.counter,
    owner = expected.owner, changes = changes })
end

--- Which of these workers are dead, as far as that is known; they are asked for together.
---@param workers string[]
---@return string[] dead
function Leases:probe(workers)
  local begun, dead = {}, {}
  for i, worker in ipairs(workers) do
    begun[i] = { begin(self, { kind = "probe", key = worker }) }
  end
  for i, worker in ipairs(workers) do
    dead[#dead + 1] = await(self, worker, begun[i][1], begun[i][2], begun[i][3]) == false and worker or nil
  end
  return dead
end

function Leases:is_alive(worker)
  return self:probe({ worker })[1] == nil
end

--- Begins to hold a lease that was seen with this row.
---@return boolean|nil taken
---@return any err
function Leases:take(key, row)
  local since = math.floor(self.client.core:time())
  local taken, err = self:call { kind = "update", use = "take", key = key, counter = row.counter, owner = row.owner,
    changes = { owner = self.worker, counter = rows.next_counter(row.counter), wanted_by = false, since = since,
      owner_switches = (row.owner_switches or 0) + (row.owner and not self.is_led and 1 or 0) } }
  if taken then
    self.validity[key], self.since[key] = err, since
    self.counts.takes = self.counts.takes + 1
    return true
  end
  return note_outcome(self, key, taken, err)
end

-- Counts the outcome of a write that may have a checkpoint.
local function count(self, changes, written, ...)
  if changes.checkpoint and written ~= false then
    local name = written and "checkpoints" or "checkpoints_failed"
    self.counts[name] = self.counts[name] + 1
  end
  return written, ...
end

--- Writes to a held lease, such as a checkpoint.
---@param carried? boolean with the next renewal, which comes within `interval`; else at once
function Leases:write(key, changes, carried)
  local use = carried and "carry" or "write"
  return count(self, changes, self:call { kind = "update", use = use, key = key, changes = changes })
end

--- Ends the holding of a lease; `to`: its next owner, if there is one.
function Leases:release(key, changes, to)
  changes.owner, changes.wanted_by, changes.since = to or false, false, false
  changes.kcl = to and self.is_led or nil
  self.validity[key], self.since[key] = nil, nil
  return count(self, changes, self:call { kind = "update", use = "release", key = key, changes = changes })
end

--- Ends the holding of a lease whose release has failed. The machine does not hold it any more, and its outcome is
--- not known; nobody else writes to a row of this worker.
---@param changes table those of `release`
---@return boolean|nil released also when it was already; false: it is another's, or gone
---@return any err
function Leases:release_again(key, changes)
  local row, err = self:get(key)
  if not row then
    return row, err
  elseif row.owner ~= self.worker then
    return (row.owner or false) == changes.owner and row.checkpoint == (changes.checkpoint or row.checkpoint)
  end
  changes.counter = rows.next_counter(row.counter)
  return count(self, changes, self:call { kind = "update", key = key, counter = row.counter, owner = row.owner,
    changes = changes })
end

--- Ends the holding of a lease without waiting for the outcome, for which `await_releases` waits.
function Leases:release_later(key, changes)
  changes.owner, changes.wanted_by, changes.since = false, false, false
  self.number = self.number + 1
  self.releasing[self.number] = true
  self.core:submit { number = self.number, kind = "update", use = "release", key = key, changes = changes }
end

--- Waits until the leases that are to be released later are.
---@param deadline number
function Leases:await_releases(deadline)
  while next(self.releasing) and core.now() < deadline and not self.client.core:is_closed() do
    if not handle_one(self) then
      wait.ready(self.client, self.core:id(), math.min(deadline, core.now() + 1))
    end
  end
end

--- Ends the waits for these leases. A signal handler may call it at any instruction: it only posts to the engine, which
--- refuses this write of a lease that is not held.
function Leases:poke()
  self.core:submit { number = 0, kind = "update", use = "write", key = "" }
end

--- Closes them in a finalizer: what answers questions is not resumed any more.
function Leases:drop()
  self.closed = true
  self.core:close()
end

function Leases:close()
  for _, drop in pairs(self.questions) do
    if type(drop) == "function" then -- not in every host
      drop()
    end
  end
  self.questions = {}
  self:drop()
end

--- Opens the leases of a worker.
---@param client kinesis.Client
---@param options table worker: its id; failover: seconds; folder and application: of the file; or store
---@return kinesis.worker.Leases|nil leases
---@return kinesis.Error? err
function M.open(client, options)
  options.interval = options.failover / RENEWALS
  local handle, err = client.core:leases(options)
  if not handle then
    return nil, err
  end
  local self = setmetatable({
    client = client, core = handle, interval = options.interval, worker = options.worker, store = options.store,
    number = 0,
    is_remote = options.table ~= nil, -- errors are the service's
    kcl3 = options.kcl3, -- rows are those of a KCL 3
    is_led = false, -- its leader assigns the leases
    questions = {}, -- that are answered -> what ends that
    waiting = {}, releasing = {}, events = {}, asked = 0, most_asked = MOST_ASKED, complained = {},
    validity = {}, since = {}, -- by key, of what is held
    counts = { takes = 0, checkpoints = 0, checkpoints_failed = 0 },
  }, Leases)
  self.complain = function(key, problem)
    complain(self, key, problem)
  end
  return self
end

return M
