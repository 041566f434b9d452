--- The end of a worker. It was stopped: its processors finish what they have in hand, and release their leases; those
--- that are busy after stop_timeout are abandoned, and their leases released behind what they have processed.
local errors = require "kinesis.errors"
local fleet = require "kinesis.worker.fleet"
local handoff = require "kinesis.worker.handoff"
local loops = require "kinesis.worker.loop"
local observed = require "kinesis.worker.observed"
local tasks = require "kinesis.worker.tasks"
local wait = require "kinesis.wait"

local M = {}

local LOOK_EVERY = 1 -- seconds
local GRACE = 1 -- seconds for the store to release what was abandoned

-- Ends all processors after their records in hand.
local function finish_all(self)
  for _, processor in pairs(self.processors) do
    if not processor.ending then
      processor:finish "stop"
    end
  end
end

-- Abandons all processors; nothing waits. Returns those that there were.
local function abandon_all(self)
  local abandoned = {}
  for key, processor in pairs(self.processors) do
    abandoned[#abandoned + 1] = processor
    processor:abandon()
    self.processors[key] = nil
  end
  return abandoned
end

--- When the time of a stopped worker is over.
---@param self kinesis.Worker
---@return number|nil deadline
---@return number|nil last when nothing is waited for any more
function M.deadline(self)
  local deadline = self.stopped_at and self.stopped_at + self.options.stop_timeout
  return deadline, deadline and deadline + 2 * GRACE
end

-- What was still awaited.
local function reason_of(self, abandoned)
  local what, how = "handlers", "busy"
  if self.options.ack then
    what, how = "records", "not acknowledged"
  end
  local busy, err = self.hooks, nil
  for _, processor in ipairs(abandoned) do
    err = err or processor.release_error
    busy = busy + (processor.release_error and 0 or 1)
  end
  local of_handlers = ("%s of %d shards were still %s"):format(what, busy, how)
  local of_store = ("the leases of %d shards could not be released: %s"):format(#abandoned + self.hooks - busy,
    tostring(err))
  return not err and of_handlers or busy == 0 and of_store or of_handlers .. ", and " .. of_store
end

local function give_up(self, deadline)
  local abandoned = abandon_all(self)
  self:set_error(errors.new("Timeout", ("%g s after stop, %s; what is behind the checkpoints will be processed again")
    :format(self.options.stop_timeout, reason_of(self, abandoned))))
  for _, processor in ipairs(abandoned) do
    self:call_hook("on_lease_lost", processor.shard, "stop")
  end
  self.leases:await_releases(deadline + GRACE)
end

-- Whether a shard is read, or a hook has not returned.
local function is_busy(self)
  return next(self.processors) ~= nil or self.hooks > 0
end

--- Waits for the processors of a worker that was stopped, and for their hooks.
---@param self kinesis.Worker
function M.drain(self)
  local deadline, last = M.deadline(self)
  self.leases.deadline = last
  tasks.start(self, "leave", function()
    fleet.leave(self)
  end)
  while is_busy(self) and not self.client.core:is_closed() do
    loops.note_left(self)
    finish_all(self)
    self:poll()
    if self.now() >= deadline then
      give_up(self, deadline)
      return
    end
    if is_busy(self) then
      wait.ready(self.client, self.leases.core:id(), math.min(deadline, self.now() + LOOK_EVERY))
    end
  end
end

--- Waits for the changes of leases that are under way, and takes back what a drained worker has asked for: nobody hands
--- a lease over to it any more.
---@param self kinesis.Worker
function M.withdraw(self)
  local deadline = M.deadline(self)
  while (next(self.changing) or self.tasks.leave) and self.now() < deadline and not self.client.core:is_closed() do
    wait.ready(self.client, self.leases.core:id(), math.min(deadline, self.now() + LOOK_EVERY))
  end
  if self.asks and not self.client.core:is_closed() and observed.refresh(self) ~= nil then
    handoff.withdraw(self)
  end
end

--- Ends a worker in a finalizer, which may run between any two instructions: nothing resumes its coroutines any more.
--- There is no loop over `pairs` here: in a finalizer, LuaJIT may run one for ever after Ctrl-C.
---@param self kinesis.Worker
function M.drop(self)
  local processors = self.processors
  self.stopped_at = self.stopped_at or self.now()
  self.stopping = true
  local key, processor = next(processors)
  while key do
    processor:let_go()
    key, processor = next(processors, key)
  end
  self.over, self.processors = true, {}
  self.leases:drop()
end

--- Ends a worker at once, without waiting.
---@param self kinesis.Worker
function M.abandon(self)
  self.stopped_at = self.stopped_at or self.now()
  self.stopping = true
  abandon_all(self)
  self.over = true
  tasks.drop(self)
  self.leases:close()
end

return M
