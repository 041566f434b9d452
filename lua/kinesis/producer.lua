--- A producer: passes records one by one to the engine, which sends them in batches; collects their outcomes when the
--- client is drained.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local failures = require "kinesis.observe.failures"
local advice = require "kinesis.util.advice"
local notice = require "kinesis.observe.notice"
local schema = require "kinesis.options"
local pretty = require "kinesis.observe.pretty"
local endpoints = require "kinesis.endpoint.cache"
local wait = require "kinesis.wait"
local waiting = require "kinesis.observe.waiting"

--- A producer: accepts records for one stream, up to its limits, delivers them in batches, and reports those that fail.
--- In Lua 5.4 it may be a `<close>` variable.
---@class kinesis.Producer
---@field stream string name or ARN
local Producer = {}

--- What `send` returns for one record; its method `wait` returns the outcome of the record.
---@class kinesis.Receipt
local Receipt = {}

local check_self = advice.check_self

-- All producers. A lookup costs no more than that of a field, and takes whatever value a dot call passes as self.
local is_producer = setmetatable({}, { __mode = "k" })

local M = { class = Producer, receipt_class = Receipt }

--- Where a record is stored.
---@class kinesis.Stored
---@field shard_id string
---@field sequence_number string a decimal string; of the aggregate, when the record was sent in one
---@field attempts kinesis.Attempt[] all attempts; the last one succeeded

--- One attempt to send a record.
---@class kinesis.Attempt
---@field at number when it began, in seconds since 1970
---@field duration number in seconds
---@field code? kinesis.ErrorCode why it failed; absent when it succeeded
---@field message? string the message of that error
---@field request_id? string the id that the service gave the request

local meta = pretty.equip({ __index = Producer }, "kinesis.producer", function(producer)
  return ("kinesis.producer: %s%s"):format(producer.stream, producer.core:is_closed() and " (closed)" or "")
end)
local receipt_meta = pretty.equip({ __index = Receipt }, "kinesis.receipt", function(receipt)
  return ("kinesis.receipt: %s"):format(receipt.producer.stream)
end)
local stats_meta = pretty.meta "kinesis.observe.prometheus"

-- ---- outcomes ----

-- Wakes the waiters of receipts that have an outcome, and prints causes. Returns whether on_failure is to be called.
local function collect_outcomes(producer)
  local ids = producer.outcome_ids
  local failed = producer.core:collect(ids)
  for i = 1, #ids do
    wait.wake(producer.client, ids[i])
  end
  for i = #ids, 1, -1 do
    ids[i] = nil
  end
  failures.print_causes(producer, failed > 0 and producer.on_failure == nil)
  return failed > 0 and producer.on_failure ~= nil
end

-- For the drain: returns the function that it runs after all answers are stored, or nil.
local function on_ready(producer)
  return collect_outcomes(producer) and failures.run_handler or nil
end

-- Collects outcomes, and calls on_failure in the way of the host.
local function collect(producer)
  if collect_outcomes(producer) then
    wait.run_handler(producer.client, failures.run_handler, producer)
  end
end

-- Whether records are open, or on_failure is still to be called, so that the client needs drains. Open records are
-- counted first; outcomes that arrive after that are collected here.
local function has_work(producer)
  local stats = producer.core:stats()
  if not stats or stats.open > 0 then
    return stats ~= nil
  elseif not producer.on_failure then
    return false
  end
  if stats.held_records > stats.untold_failures then
    collectgarbage() -- dropped receipts release their failed records
  end
  collect(producer)
  return producer.core:stats().untold_failures > 0
end

-- The host's worker exits: sends everything at once. Returns the seconds for which the worker waits for outcomes.
local function begin_exit(producer)
  producer.core:shorten_exit(producer.exit_timeout)
  return producer.exit_timeout
end

-- ---- creation ----

local EXIT_TIMEOUT = 5 -- seconds

local AGGREGATE = { safe = 0, off = 1, forced = 2 } -- numbers of the core

local function aggregate_mode(checked)
  if checked.aggregate == nil then
    return AGGREGATE.safe
  end
  return checked.aggregate and AGGREGATE.forced or AGGREGATE.off
end

--- Creates a producer.
---@param client kinesis.Client
---@param stream string
---@param options? kinesis.ProducerOptions
---@param level integer where a wrong argument is raised: 1 is the caller of this function
---@return kinesis.Producer|nil
---@return kinesis.Error err
function M.new(client, stream, options, level)
  local checked = schema.check("producer", options, level + 1)
  local problem = core.check_stream(stream)
  if problem then
    error("producer: " .. problem, level + 1)
  end
  local data, misplaced = endpoints.of_stream(client, stream)
  if misplaced then
    return nil, misplaced
  end
  local control
  control, misplaced = endpoints.of_stream(client, stream, "control")
  if misplaced then
    return nil, misplaced
  end
  local made, err = client.core:producer {
    stream = stream,
    data_target = data,
    control_target = control,
    linger = checked.linger,
    record_ttl = checked.record_ttl,
    batch_records = checked.batch_records,
    batch_bytes = checked.batch_bytes,
    aggregate = aggregate_mode(checked),
    aggregate_bytes = checked.aggregate_bytes,
    aggregate_records = checked.aggregate_records,
    parallel = checked.parallel,
    unknown_attempts = checked.unknown_attempts,
    rate_limit = checked.rate_limit,
    ordered = checked.order == "shard",
    rerandomize_keys = checked.rerandomize_keys,
    max_records = checked.max_records,
    max_bytes = checked.max_bytes,
    exit_timeout = checked.exit_timeout or wait.exit_timeout(client),
  }
  if not made then
    return nil, err
  end
  local producer = setmetatable({
    on_ready = on_ready,
    core = made,
    id = made:id(),
    client = client,
    stream = stream,
    on_failure = checked.on_failure and failures.handler(stream, checked.on_failure),
    when_full = checked.when_full,
    has_work = has_work,
    begin_exit = begin_exit,
    exit_timeout = checked.exit_timeout or EXIT_TIMEOUT,
    outcome_ids = {}, -- ids of receipts; empty but while outcomes are collected
    handlers = setmetatable({}, { __mode = "k" }), -- of a host: the coroutines that call on_failure
  }, meta)
  is_producer[producer] = true
  client.producers[producer.id] = producer
  wait.listen(client, producer.id, producer)
  wait.attach(client)
  return producer
end

local function take_failures(producer)
  producer.failed = producer.failed or setmetatable({}, pretty.records_meta)
  failures.take_all(producer, producer.failed)
  return producer.failed
end

local function deadline_of(timeout, verb)
  if timeout == nil then
    return nil
  elseif type(timeout) ~= "number" or timeout ~= timeout or timeout < 0 then
    local got = type(timeout) == "number" and tostring(timeout) or type(timeout)
    error(("%s: timeout must be a number of seconds from 0 on, got %s"):format(verb, got), 3)
  end
  return core.now() + timeout
end

-- The error of a wait that timed out. It is not the error of an attempt: the records are still being sent.
local function timeout_of(producer, message)
  local why = waiting.text(producer)
  return errors.new("Timeout", why and message .. "; " .. why or message, "PutRecords")
end

-- Waits until done() returns true. Returns false when the deadline passes first.
local function wait_until(producer, id, deadline, done)
  collect(producer)
  while not done() do
    if deadline and core.now() >= deadline then
      return false
    end
    wait.ready(producer.client, id, deadline)
    collect(producer)
  end
  collect(producer) -- outcomes that arrived since the last one
  return true
end

-- ---- putting ----

local NOTHING = {}

local function may_wait(producer)
  return producer.when_full == "wait" or producer.when_full == nil and wait.may_block(producer.client)
end

-- After a record was taken: drains when messages have arrived, and waits when the engine is behind.
local function keep_pace(producer, has_messages, behind)
  if has_messages or producer.client.detached then
    wait.poll(producer.client)
  end
  if behind and may_wait(producer) and wait.can_wait(producer.client) then
    while producer.core:is_behind() do
      wait.ready(producer.client, producer.id)
      collect(producer)
    end
  end
end

-- Waits for capacity where the caller may wait, and tries again.
local function enter_later(producer, verb, data, partition_key, hash_key, done, problem)
  local waits = may_wait(producer)
  local collected = false
  while done == nil and problem.code == "Full" and waits do
    collect(producer)
    done, problem = producer.core[verb](producer.core, data, partition_key, hash_key)
    local stats = producer.core:stats() -- read after the error, so that the outcome of the last open record wakes us
    if done ~= nil or problem.code ~= "Full" or not stats or stats.open == 0 and collected then
      break -- only outcomes that were not read take the capacity; the caller itself may be their reader
    elseif stats.open > 0 then
      wait.ready(producer.client, producer.id)
    else
      collectgarbage() -- dropped receipts may take the capacity
      collected = true
    end
  end
  if done == nil and problem.message:find("were not reported", 1, true) then -- nothing is sent any more
    notice.print_rarely("full " .. producer.stream, "producer for %s: %s", producer.stream, problem.message)
  end
  return done, problem
end

local function hash_key_of(options, level)
  return options and schema.check("produce", options, level + 1).explicit_hash_key
end

--- Accepts a record for delivery and returns before it is stored. Records that fail are passed to `on_failure`; without
--- `on_failure`, `flush` and `close` return them.
---
--- Raises at the caller's line a message that names the wrong argument; then the record was not accepted.
---@param data string bytes; at most 1 MiB with the key, or up to 10 MiB where the stream is configured for it
---@param partition_key? string at most 256 characters of UTF-8; random when absent
---@param options? kinesis.ProduceOptions
---@return true|nil accepted
---@return kinesis.Error err `Full`, `Closed`, `Forked`; `InvalidArgumentException` when the stream's limit is exceeded
function Producer:put(data, partition_key, options)
  if data == nil or not is_producer[self] then -- the commonest call of all: looked at closely only then
    check_self(self, "producer:put")
  end
  local hash_key = options ~= nil and hash_key_of(options, 2) or nil
  local done, problem, behind = self.core:put(data, partition_key, hash_key)
  if done then
    if problem or behind or self.client.detached then -- on success `problem` is: messages have arrived
      keep_pace(self, problem, behind)
    end
    return true
  elseif done == nil then
    done, problem = enter_later(self, "put", data, partition_key, hash_key, done, problem)
  end
  if done == false then
    error("put: " .. problem, 2)
  elseif done then
    return true
  end
  return nil, problem
end

--- Like `put`, and returns a receipt for this record. The outcome of the record is returned by the receipt, not by
--- `on_failure`, `flush` or `close`. The record counts toward the producer's limits until the receipt has returned its
--- outcome or is garbage-collected.
---
--- Raises at the caller's line a message that names the wrong argument; then the record was not accepted.
---@param data string as for `put`
---@param partition_key? string as for `put`
---@param options? kinesis.ProduceOptions
---@return kinesis.Receipt|nil receipt
---@return kinesis.Error err as for `put`
function Producer:send(data, partition_key, options)
  if data == nil or not is_producer[self] then -- the commonest call of all: looked at closely only then
    check_self(self, "producer:send")
  end
  local hash_key = options ~= nil and hash_key_of(options, 2) or nil
  local ticket, problem, behind = self.core:send(data, partition_key, hash_key)
  if ticket == nil then
    ticket, problem = enter_later(self, "send", data, partition_key, hash_key, ticket, problem)
  end
  if ticket == false then
    error("send: " .. problem, 2)
  elseif not ticket then
    return nil, problem
  elseif problem or behind or self.client.detached then
    keep_pace(self, problem, behind)
  end
  return setmetatable({ core = ticket, producer = self }, receipt_meta)
end

--- Waits until the record is stored or has failed.
---@param timeout? number seconds; absent: no limit
---@return kinesis.Stored|nil stored
---@return kinesis.Error err why it is not stored, with the field `attempts`; `Timeout`: the outcome is not known yet
function Receipt:wait(timeout)
  check_self(self, "receipt:wait")
  local deadline = deadline_of(timeout, "wait")
  local function has_outcome() -- other coroutines may wait for the same receipt
    if not self.known then
      local done, value = self.core:answer()
      value = done ~= false and pretty.mark(value, core.result_meta)
      self.known = done and { stored = value } or done == nil and { err = value } or nil
    end
    if self.known then
      self.core:forget()
    end
    return self.known
  end
  if not wait_until(self.producer, self.core:id(), deadline, has_outcome) then
    return nil, timeout_of(self.producer, "whether the record is stored is not known yet; wait again")
  end
  if self.known.stored then
    return self.known.stored
  end
  return nil, self.known.err
end

--- Counters for monitoring; `kinesis.prometheus` formats them.
---@return kinesis.ProducerStats|nil stats after close, the final ones
---@return kinesis.Error err `Forked`
function Producer:stats()
  check_self(self, "producer:stats")
  local stats, err = self.core:stats()
  if not stats then
    return nil, err
  end
  stats.aggregation = stats.kinesis_records_stored > 0 and stats.stored / stats.kinesis_records_stored or 1
  stats.reason = stats.open > 0 and waiting.reason(self) or nil
  return pretty.mark(stats, stats_meta)
end

-- ---- flush and close ----

-- The failed records that on_failure was not called with: nil, the first one's error, and the list, which the producer
-- keeps as `failed` until the caller is about to return it; true when there are none.
local function report(producer, what)
  local failed = producer.on_failure and NOTHING or take_failures(producer)
  if #failed == 0 then
    producer.failed = nil
    return true
  end
  local first = failed[1].error
  local err = errors.new(first.code, ("%d record%s %s; the first: %s"):format(#failed, #failed == 1 and "" or "s", what,
    tostring(first.message)), "PutRecords")
  err.retryable, err.throttled = first.retryable, first.throttled
  return nil, err, failed
end

--- Sends waiting records at once, and waits until all records accepted so far are stored or have failed.
---@param timeout? number seconds; absent: no limit
---@return true|nil done
---@return kinesis.Error err `Timeout`; or, without `on_failure`, the error of the first record that failed
---@return integer left the number of records that are neither stored nor failed
---@return kinesis.LostRecord[]|nil failed without `on_failure`: the records that failed
function Producer:flush(timeout)
  check_self(self, "producer:flush")
  local deadline = deadline_of(timeout, "flush")
  collect(self)
  local mark, err = self.core:flush()
  if not mark then
    return nil, err, 0
  end
  local done = wait_until(self, self.id, deadline, function()
    return self.core:flushed(mark) or self.core:stats().open == 0
  end)
  local gone
  gone, err = self.core:check()
  if not done then
    local left = self.core:stats().open
    local what = ("%d record%s neither stored nor failed yet"):format(left, left == 1 and " is" or "s are")
    return nil, timeout_of(self, what), left
  elseif not gone and err.code == "Forked" then
    return nil, err, 0
  end
  local good, failed
  good, err, failed = report(self, "failed")
  if not good then
    self.failed = nil
    return nil, err, 0, failed
  end
  return true
end

--- A record that was not stored, as `put_many` takes it, with its error.
---@class kinesis.LostRecord : kinesis.Entry
---@field error kinesis.Error

--- Accepts no more records, delivers those that it holds, and returns those that it could not deliver. Idempotent.
---@param timeout? number longest time for the delivery, in seconds; absent: 30
---@return true|nil done
---@return kinesis.Error err the error of the first record that is not stored
---@return kinesis.LostRecord[]|nil lost the records that are not stored, except those reported by `on_failure` or a
--- receipt
function Producer:close(timeout)
  check_self(self, "producer:close")
  local deadline = deadline_of(timeout == nil and 30 or timeout, "close")
  local _, gone = self.core:check()
  if self.ended and not self.failed or gone and gone.code == "Forked" then
    return true
  end
  self.closed = true
  self.core:close_queue()
  local mark = self.core:flush()
  if mark then
    wait_until(self, self.id, deadline, function()
      return self.core:flushed(mark)
    end)
  end
  wait_until(self, self.id, nil, function()
    return self.core:end_work()
  end)
  local good, err, lost = report(self, "could not be delivered")
  self.ended = true
  wait.wake(self.client, self.id)
  if good then
    return true
  end
  self.failed = nil
  return nil, err, lost
end

-- A `<close>` variable cannot return the error, so it is printed.
meta.__close = function(self)
  local done, err = self:close()
  if not done then
    notice.print("producer for %s: %s", self.stream, tostring(err))
  end
end

advice.add_methods(Producer, "producer:", {
  write = "PUT(data)", publish = "PUT(data)", wait = "FLUSH()", stop = "CLOSE()", finish = "CLOSE()",
})
advice.add_methods(Receipt, "receipt:", { get = "WAIT()", result = "WAIT()", await = "WAIT()" })

return M
