--- What a worker does side by side, each in a coroutine of its own: a call that takes long holds up nothing else.
local wait = require "kinesis.wait"

local M = {}

local MOST = 32 -- operations on leases at a time

--- Runs a function in a coroutine of its own, unless one of that name runs. Its error ends the worker.
---@param worker kinesis.Worker
---@param name any
---@param f fun()
function M.start(worker, name, f)
  if worker.tasks[name] then
    return
  end
  worker.tasks[name] = true
  local drop = wait.spawn(worker.client, function()
    local good, err = pcall(f)
    worker.tasks[name] = nil
    if not good then
      worker:fail(err)
    end
    wait.wake(worker.client, worker.leases.core:id())
  end)
  worker.tasks[name] = worker.tasks[name] and (drop or true) -- some hosts have run it already
end

--- The worker has ended: its tasks are not resumed any more, in hosts that can do that.
---@param worker kinesis.Worker
function M.drop(worker)
  for name, drop in pairs(worker.tasks) do
    if type(drop) == "function" then
      drop()
    end
    worker.tasks[name] = nil
  end
end

local function run_queue(worker)
  local queue = worker.queue
  while queue.first <= queue.last do
    local key, f = queue[queue.first].key, queue[queue.first].f
    queue[queue.first] = nil
    queue.first = queue.first + 1
    local good, err = true, nil
    if not worker.stopping then
      good, err = pcall(f)
    end
    worker.changing[key] = nil
    if not good then
      worker:fail(err) -- what else is in the queue is then left undone
    end
  end
end

--- Changes a lease, beside others; `worker.changing` has its key until that is done. Nothing is done when it is being
--- changed.
---@param worker kinesis.Worker
---@param key string
---@param what string "take" or another word, which `worker.changing` has
---@param f fun()
function M.change(worker, key, what, f)
  if worker.changing[key] then
    return
  end
  worker.changing[key] = what
  local queue = worker.queue
  queue.last = queue.last + 1
  queue[queue.last] = { key = key, f = f }
  for i = 1, MOST do
    if not worker.tasks["change " .. i] then
      M.start(worker, "change " .. i, function()
        run_queue(worker)
      end)
      return
    end
  end
end

--- Calls a function with each item of a list, MOST at a time, and returns when all calls have returned.
---@param worker kinesis.Worker
---@param name string of the tasks
---@param list any[]
---@param f fun(item: any)
function M.each(worker, name, list, f)
  local job = { running = 0, first = 1 }
  local function work()
    while job.first <= #list do
      local item = list[job.first]
      job.first = job.first + 1
      f(item)
    end
  end
  for i = 2, math.min(#list, MOST) do
    local task = ("%s %d"):format(name, i)
    job.running = job.running + (worker.tasks[task] and 0 or 1)
    M.start(worker, task, function()
      local good, err = pcall(work)
      job.running = job.running - 1
      wait.wake(worker.client, job)
      if not good then
        error(err, 0)
      end
    end)
  end
  work()
  while job.running > 0 do
    wait.ready(worker.client, job, worker.now() + 1)
  end
end

return M
