--- The iterator of worker:records(): one loop over the records of all shards. Each processor offers its record, and
--- waits until the loop has asked for the next one.
---
---   offered -- the loop takes it ------------------> current
---   offered -- its processor ends, the worker stops -> dropped: the record is not processed
---   offered -- its lease is not valid now -----------> offered again when it is
---   current -- the loop asks for the next one -------> done: the record is processed
---   current -- the loop is left ---------------------> dropped
local errors = require "kinesis.errors"
local wait = require "kinesis.wait"

local unpack = table.unpack or unpack
local newproxy = rawget(_G, "newproxy")

local M = {}

--- What a handler raises to end the reading before its record.
M.DROPPED = {}

---@class kinesis.worker.Loop
---@field first integer index of the oldest offer
---@field last integer index of the newest offer
---@field current? table the offer that the loop has taken
---@field is_returned? boolean the user has it
---@field is_left? boolean the loop was left: the record in hand is not processed
---@field has_ended? boolean the user knows that there are no more records
---@field drive fun(is_done: fun(): boolean)
---@field runs_alone boolean the worker's coroutines run inside the calls of the loop only
---@field has_more fun(): boolean whether there is a current offer, or the worker has ended

-- The handler of a processor: offers a record, and returns when the loop asks for the next one.
local function offer(worker, processor, ...)
  local loop = worker.loop
  local item = { processor = processor, n = select("#", ...), ... }
  repeat
    item.state = "offered"
    loop.last = loop.last + 1
    loop.offers[loop.last] = item
    processor.item = item
    wait.wake(worker.client, worker)
    while item.state == "offered" or item.state == "current" do
      if item.state == "offered" and (worker.stopping or processor.ending) then
        item.state = "dropped"
      else
        wait.ready(worker.client, item)
      end
    end
  until item.state ~= "invalid" or not processor:await_validity()
  processor.item = nil
  if item.state ~= "done" then
    error(M.DROPPED, 0)
  end
end

--- The handler of a processor of this worker.
---@param worker kinesis.Worker
---@param processor kinesis.worker.Processor
function M.handler(worker, processor)
  return function(...)
    return offer(worker, processor, ...)
  end
end

local function end_current(worker, state)
  local item = worker.loop.current
  if item then
    item.state, worker.loop.current = state, nil
    wait.wake(worker.client, item)
  end
end

--- Called by the manager when the worker stops: the record in hand of a loop that was left is not processed.
---@param worker kinesis.Worker
function M.note_left(worker)
  if worker.loop and worker.loop.is_left then
    end_current(worker, "dropped")
  end
end

-- Takes the oldest offer that may be delivered now.
local function take(worker)
  local loop = worker.loop
  while loop.first <= loop.last and not worker.stopping do
    local item = loop.offers[loop.first]
    loop.offers[loop.first] = nil
    loop.first = loop.first + 1
    if item.state == "offered" and not item.processor.ending then
      if item.processor.validity:holds() then
        item.state, loop.current = "current", item
        return true
      end
      item.state = "invalid"
    end
    wait.wake(worker.client, item)
  end
  return false
end

-- Ends the loop: raises what has ended the worker, once.
local function end_loop(worker)
  local err = not worker.loop.has_ended and (worker.problem or worker.err)
  worker.loop.has_ended = true
  if type(err) == "table" and err.code then
    errors.raise(err)
  elseif err then
    error(err, 0)
  end
  return nil
end

local function next_record(worker)
  local loop = worker.loop
  if worker.over then
    return end_loop(worker)
  elseif loop.is_returned then -- else an error has cut it off before the user had it: it is returned now
    loop.is_returned = false
    end_current(worker, "done")
  end
  loop.drive(loop.has_more)
  local item = loop.current
  if not item then
    return end_loop(worker)
  end
  loop.is_returned = true
  return unpack(item, 1, item.n)
end

-- Lets the worker end: the record that the loop has not finished is not processed.
local function leave(worker)
  worker.loop.is_left = true
  end_current(worker, "dropped")
  worker:stop()
  worker.loop.drive(function()
    return worker.over
  end)
end

-- A loop was dropped without being closed: on LuaJIT by `break`, `return` or an error, everywhere with the coroutine
-- that it was in. A finalizer may run between any two instructions: it only sets flags, and posts to the engine. Where
-- the loop itself ran the worker's coroutines, nothing resumes them any more: the leases end here.
local function drop(worker)
  if worker.over then
    return
  end
  worker.loop.is_left = true
  if worker.loop.runs_alone then
    worker:drop()
  else
    worker:stop()
  end
end

-- A value that calls f when it is closed or collected: LuaJIT ignores the finalizers of tables.
local function guard(close, collect)
  if newproxy then
    local made = newproxy(true)
    local meta = getmetatable(made)
    meta.__gc, meta.__close = collect, close
    return made
  end
  return setmetatable({}, { __gc = collect, __close = close })
end

--- Begins the loop of a worker; see Worker:records.
---@param worker kinesis.Worker
---@param run fun() runs the worker
function M.start(worker, run)
  local loop = { offers = {}, first = 1, last = 0 }
  worker.loop = loop
  function loop.has_more()
    return worker.over or loop.current ~= nil or take(worker)
  end
  loop.drive, loop.runs_alone = wait.beside(worker.client, worker, run)
  local guarded = guard(function()
    if not worker.over then
      leave(worker)
    end
  end, function()
    drop(worker)
  end)
  return function()
    local _ = guarded -- lives as long as this function
    return next_record(worker)
  end, nil, nil, guarded
end

return M
