--- What becomes of a record whose handler has failed: the option on_record_error, and the dead letters.

local M = {}

local DECISIONS = { stop = true, retry = true, skip = true }

--- The error of a function of the user, with its traceback. What is no error object becomes a text: nil and false would
--- pass for none.
function M.traceback(err)
  if type(err) == "table" or type(err) == "userdata" then
    return err
  end
  return debug.traceback(tostring(err), 2)
end

-- What a function of the user decides; its own error ends the worker.
local function ask(processor, decide, record, err, attempts)
  local good, decision = xpcall(decide, M.traceback, record, err, attempts)
  if not good then
    return "stop", decision
  elseif DECISIONS[decision] then
    return decision
  end
  processor.worker:report(
    ("on_record_error returned %s, which must be 'stop', 'retry' or 'skip'; the worker stops, as by 'stop'"):format(
      type(decision) == "string" and "'" .. decision .. "'" or tostring(decision)), processor.id)
  return "stop"
end

-- The record that the handler has, or the last one of its list. A record that was not aggregated has the index 0.
local function name_of(processor)
  local tracker = processor.tracker
  local sub = (tracker.last_sub or 0) > 0 and (" (sub-sequence number %d)"):format(tracker.last_sub) or ""
  return ("record %s%s of %s of %s"):format(tracker.last_seq, sub, processor.id, processor.stream)
end

local OUTCOMES = { retry = "tried again", skip = "skipped" }

-- Reports what no function of the user decides, so that no record fails for ever, or is left out, in silence.
local function report(processor, err, decision)
  if OUTCOMES[decision] then
    processor.worker:report(type(err) == "table" and err or tostring(err),
      ("the handler has failed with %s, which is %s"):format(name_of(processor), OUTCOMES[decision]), decision)
  end
end

--- Decides about a record, or a list.
---@param processor kinesis.worker.Processor
---@param record any
---@param err any of the handler
---@param attempts integer the first one is 1
---@return "stop"|"retry"|"skip" decision
---@return any err with "stop": what ends the worker
function M.decide(processor, record, err, attempts)
  local wanted = processor.worker.options.on_record_error
  if type(wanted) ~= "function" then
    report(processor, err, wanted)
    return wanted, err
  end
  local decision, problem = ask(processor, wanted, record, err, attempts)
  return decision, problem == nil and err or problem
end

--- What ends the worker: the error, and with a text the record.
---@param processor kinesis.worker.Processor
---@param err any
---@return any
function M.with_record(processor, err)
  return type(err) == "string" and ("%s\nwith %s"):format(err, name_of(processor)) or err
end

-- ---- dead letters ----

-- The records of what a handler gets.
local function records_in(record)
  if record.n then -- columns
    local list = {}
    for i = 1, record.n do
      list[i] = { data = record.data[i], partition_key = record.partition_key[i] or nil }
    end
    return list
  end
  return type(record[1]) == "table" and record or { record }
end

-- Returns a function that gives the records to a function of the user.
local function caller(to, record, err)
  return function()
    local good, result, problem = pcall(to, record, err)
    local stored = good and result ~= false and (result ~= nil or problem == nil)
    return stored, problem or result or "the function has returned false"
  end
end

-- Returns a function that puts those of the records that it has not put before.
local function putter(client, to, record)
  local left, first = records_in(record), 1
  return function()
    while left[first] do
      local good, put, problem = pcall(client.put, client, to, left[first].data, left[first].partition_key)
      if not good or not put then
        return false, good and problem or put
      end
      first = first + 1
    end
    return true
  end
end

--- Counts a skipped record, or list.
---@param processor kinesis.worker.Processor
---@param record any
function M.count(processor, record)
  local counts = processor.worker.counts
  counts.skipped = counts.skipped + (record.n or type(record[1]) == "table" and #record or 1)
end

--- Gives a skipped record, or list, to the dead letters, however often that takes.
---@param processor kinesis.worker.Processor
---@param record any
---@param err any of the handler
---@return boolean stored false: the reading ends before
function M.put_dead_letter(processor, record, err)
  local worker, attempts = processor.worker, 0
  local to = worker.options.dead_letter
  if not to then
    return true
  end
  local store = type(to) == "function" and caller(to, record, err) or putter(worker.client, to, record)
  repeat
    attempts = attempts + 1
    local good, problem = store()
    if good then
      return true
    end
    worker:report(type(problem) == "table" and problem or tostring(problem),
      ("the dead letter of a record of %s, which is tried again"):format(processor.id))
  until not processor:rest(attempts)
  return false
end

return M
