--- A producer: records go in one by one, and leave in batches, by the engine's thread. What became of them comes back
--- with the client's drains.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local failures = require "kinesis.observe.failures"
local advice = require "kinesis.util.advice"
local notice = require "kinesis.observe.notice"
local schema = require "kinesis.options"
local pretty = require "kinesis.observe.pretty"
local endpoints = require "kinesis.endpoint.cache"
local wait = require "kinesis.wait"

--- Takes records for one stream, as many as fit its bound, and delivers each, or hands it back with its reason. On
--- Lua 5.4 it may be a `<close>` variable.
---@class kinesis.Producer
---@field stream string name or ARN
local Producer = {}

--- What `send` gives for one record: its answer, to be waited for.
---@class kinesis.Receipt
local Receipt = {}

local check_self = advice.check_self

local M = { class = Producer, receipt_class = Receipt }

--- Where a record is stored.
---@class kinesis.Stored
---@field shard_id string
---@field sequence_number string a decimal string; of an aggregate, when the record went in one
---@field attempts kinesis.Attempt[] the last one went well

--- One time that a record was sent.
---@class kinesis.Attempt
---@field at number seconds since 1970
---@field duration number seconds
---@field code? kinesis.ErrorCode why it failed; absent when it went well
---@field message? string the same in words
---@field request_id? string the service's name for the request

local meta = pretty.equip({ __index = Producer }, "kinesis.producer", function(producer)
  return ("kinesis.producer: %s%s"):format(producer.stream, producer.core:is_closed() and " (closed)" or "")
end)
local receipt_meta = pretty.equip({ __index = Receipt }, "kinesis.receipt", function(receipt)
  return ("kinesis.receipt: %s"):format(receipt.producer.stream)
end)
local stats_meta = pretty.meta "kinesis.observe.prometheus"

-- ---- what has settled ----

-- Takes what has settled to those who wait for it. Returns whether there are failures for on_failure.
local function take_settled(producer)
  local ids = producer.settled
  local count, failed = producer.core:collect(ids)
  for i = 1, count do
    local id = ids[i]
    ids[i] = nil
    wait.wake(producer.client, id)
  end
  local untold = failed > 0
  failures.tell_causes(producer, untold and producer.on_failure == nil)
  return untold and producer.on_failure ~= nil
end

-- For the drain: returns the function that it is to run when every answer is stored, or nil.
local function on_ready(producer)
  return take_settled(producer) and failures.tell or nil
end

-- The same, of whoever is about to wait.
local function collect(producer)
  if take_settled(producer) then
    wait.run_handler(producer.client, failures.tell, producer)
  end
end

-- Whether something of what was put is still to come, or to be told, so that somebody has to drain. What is open is
-- counted first: what settles behind that is collected here.
local function has_work(producer)
  local stats = producer.core:stats()
  if not stats or stats.open > 0 then
    return stats ~= nil
  elseif not producer.on_failure then
    return false
  end
  if stats.held_records > stats.untold_failures then
    collectgarbage() -- receipts that were dropped give back what failed
  end
  collect(producer)
  return producer.core:stats().untold_failures > 0
end

-- The host's worker is to leave: everything goes out now, and what comes yet is waited for at its end. Returns for how
-- many seconds.
local function hurry(producer)
  producer.core:hurry(producer.exit_timeout)
  return producer.exit_timeout
end

-- ---- making one ----

local PATIENCE = 5 -- seconds

local AGGREGATE = { safe = 0, off = 1, forced = 2 } -- as the core counts them

local function aggregate_mode(checked)
  if checked.aggregate == nil then
    return AGGREGATE.safe
  end
  return checked.aggregate and AGGREGATE.forced or AGGREGATE.off
end

--- Makes a producer.
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
    on_failure = checked.on_failure,
    when_full = checked.when_full,
    has_work = has_work,
    hurry = hurry,
    exit_timeout = checked.exit_timeout or PATIENCE,
    settled = {}, -- scratch: ids of receipts
    telling = setmetatable({}, { __mode = "k" }), -- guard -> true while its on_failure is under way
  }, meta)
  client.producers[producer.id] = producer
  wait.listen(client, producer.id, producer)
  wait.attach(client)
  return producer
end

local function take_failures(producer)
  local list = setmetatable({}, pretty.records_meta)
  while true do
    local record, err = failures.next(producer)
    if not record then
      return list
    end
    record.error = err
    list[#list + 1] = record
  end
end

local function deadline_of(timeout, verb)
  if timeout == nil then
    return nil
  elseif type(timeout) ~= "number" or timeout ~= timeout or timeout < 0 then
    error(("%s: timeout must be a number of seconds from 0 on, got %s"):format(verb, tostring(timeout)), 3)
  end
  return core.now() + timeout
end

-- What a producer's records wait for, as far as it is known: an error, or nil.
local function reason(producer)
  return producer.core:trouble() or producer.client.credentials.error
end

-- The error of a wait whose time is up. It is no attempt's: the records are tried on.
local function timeout_of(producer, message)
  local why = reason(producer)
  return errors.new("Timeout", why and ("%s; the latest failure: %s"):format(message, tostring(why)) or message,
    "PutRecords")
end

-- Waits until done() says so: true; or false, when the time is up.
local function wait_until(producer, id, deadline, done)
  collect(producer)
  while not done() do
    if deadline and core.now() >= deadline then
      return false
    end
    wait.ready(producer.client, id, deadline)
    collect(producer)
  end
  collect(producer) -- what has come between the two
  return true
end

-- ---- putting ----

local NOTHING = {}

local function may_wait(producer)
  return producer.when_full == "wait" or producer.when_full == nil and wait.may_block(producer.client)
end

-- What is to be done when a record was taken: others' answers, and the engine's work.
local function keep_pace(producer, news, behind)
  if news or producer.client.detached then
    wait.poll(producer.client)
  end
  if behind and may_wait(producer) and wait.can_wait(producer.client) then
    while producer.core:is_behind() do
      wait.ready(producer.client, producer.id)
      collect(producer)
    end
  end
end

-- Waits for room where the caller may wait, and tries again.
local function enter_later(producer, verb, data, partition_key, hash_key, done, problem)
  local waits = may_wait(producer)
  local collected = false
  while done == nil and problem.code == "Full" and waits do
    collect(producer)
    done, problem = producer.core[verb](producer.core, data, partition_key, hash_key)
    local stats = producer.core:stats() -- after the refusal, so that whoever settles the last one tells us
    if done ~= nil or problem.code ~= "Full" or not stats or stats.open == 0 and collected then
      break -- what takes the room waits for somebody to look at it: that may be our caller
    elseif stats.open > 0 then
      wait.ready(producer.client, producer.id)
    else
      collectgarbage() -- receipts that were dropped may hold it
      collected = true
    end
  end
  return done, problem
end

local function hash_key_of(options, level)
  return options and schema.check("produce", options, level + 1).explicit_hash_key
end

--- Takes a record, to be delivered soon. It returns before the record is stored: what is not stored in the end comes
--- back through `on_failure`, or from `flush` and `close`.
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was taken.
---@param data string bytes; at most what the stream takes, 1 to 10 MiB with the key
---@param partition_key? string at most 256 characters of UTF-8; random when absent
---@param options? kinesis.ProduceOptions
---@return true|nil taken
---@return kinesis.Error err `Full`, `Closed`, `Forked`; `InvalidArgumentException` beyond the stream's limit
function Producer:put(data, partition_key, options)
  if data == nil or not self.core then -- the commonest call of all: looked at closely only then
    check_self(self, "producer:put")
  end
  local hash_key = options ~= nil and hash_key_of(options, 2) or nil
  local done, problem, behind = self.core:put(data, partition_key, hash_key)
  if done then
    if problem or behind or self.client.detached then -- in truth no problem, but news
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

--- Like `put`, with a receipt for this record. The record keeps its place in the producer's bound until the receipt
--- has told its answer, or is collected as garbage.
---
--- Raises at the caller's line a message that names the wrong argument; then nothing was taken.
---@param data string
---@param partition_key? string
---@param options? kinesis.ProduceOptions
---@return kinesis.Receipt|nil receipt
---@return kinesis.Error err as of `put`
function Producer:send(data, partition_key, options)
  if data == nil or not self.core then -- the commonest call of all: looked at closely only then
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

--- Waits until the record is stored or has failed for good.
---@param timeout? number seconds; absent: as long as it takes
---@return kinesis.Stored|nil stored
---@return kinesis.Error err why it is not stored, with its `attempts`; `Timeout` when that is not known yet
function Receipt:wait(timeout)
  check_self(self, "receipt:wait")
  local deadline = deadline_of(timeout, "wait")
  local function look() -- others may wait for the same one
    if not self.known then
      local done, value = self.core:answer()
      value = done ~= false and pretty.mark(value, core.result_meta)
      self.known = done and { stored = value } or done == nil and { err = value } or nil
    end
    return self.known
  end
  if not wait_until(self.producer, self.core:id(), deadline, look) then
    return nil, timeout_of(self.producer, "whether the record is stored is not known yet; wait again")
  end
  if self.known.stored then
    return self.known.stored
  end
  return nil, self.known.err
end

--- What a producer's records have come to. Counters only rise; they are of user records where nothing else is said.
---@class kinesis.ProducerStats
---@field accepted integer
---@field accepted_bytes integer data and keys
---@field stored integer
---@field stored_bytes integer
---@field failed integer refused by the service, for good
---@field expired integer not stored within `record_ttl`
---@field returned integer handed back when the producer was closed
---@field open integer neither stored nor failed, now
---@field in_flight integer in requests that are under way, now
---@field held_records integer that take part of the bound, now: also those whose answer nobody has looked at
---@field held_bytes integer of memory, now
---@field untold_failures integer failed, and not looked at, now
---@field retried integer times that a record was to be sent again
---@field possible_duplicates integer times that a record was sent again though it may have been stored
---@field misplaced integer records of aggregates that a reshard misplaced, and that were sent again
---@field throttled integer records as the service counts them that were refused for their rate
---@field requests integer calls of PutRecords
---@field kinesis_records integer records as the service counts them, which were sent
---@field kinesis_records_stored integer those that were stored
---@field aggregation number stored records by those of the service that were stored
---@field batches_full integer requests that left because they were full
---@field batches_due integer because a record had lingered enough
---@field batches_flushed integer because of flush or close
---@field map_refreshes integer times that the shards were looked up
---@field errors table<string, integer> by error code: failed attempts at records as the service counts them, and failed
--- look-ups of the shards; under "Other" the codes beyond the first 23
---@field latency kinesis.Histogram seconds from `put` to being stored
---@field shards table<string, kinesis.ShardStats> by shard id; under "" what goes to no known shard

--- How many were how long.
---@class kinesis.Histogram
---@field buckets {le: number, count: integer}[] how many took at most `le` seconds
---@field count integer
---@field sum number seconds

--- Of one shard.
---@class kinesis.ShardStats
---@field stored integer records as the service counts them
---@field stored_bytes integer
---@field throttled integer records as the service counts them
---@field records_rate integer a second, in the last whole one that something was sent in
---@field bytes_rate integer the same in bytes
---@field share number of the shard's limits that is used now: below 1 after it throttled

--- Counters for monitoring; `kinesis.prometheus` makes text of them.
---@return kinesis.ProducerStats|nil stats after close those of the end
---@return kinesis.Error err `Forked`
function Producer:stats()
  check_self(self, "producer:stats")
  local stats, err = self.core:stats()
  if not stats then
    return nil, err
  end
  stats.aggregation = stats.kinesis_records_stored > 0 and stats.stored / stats.kinesis_records_stored or 1
  return pretty.mark(stats, stats_meta)
end

-- ---- the end ----

-- What nobody was told of: the first one's reason, and all of them.
local function report(producer, what)
  local failed = producer.on_failure and NOTHING or take_failures(producer)
  if #failed == 0 then
    return true
  end
  local first = failed[1].error
  local err = errors.new(first.code, ("%d record%s %s; the first: %s"):format(#failed, #failed == 1 and "" or "s", what,
    tostring(first.message)), "PutRecords")
  err.retryable, err.throttled = first.retryable, first.throttled
  return nil, err, failed
end

--- Sends what waits, at once, and waits until all that was taken before is stored or has failed.
---@param timeout? number seconds; absent: as long as it takes
---@return true|nil done
---@return kinesis.Error err `Timeout`; or, without `on_failure`, the reason of the first record that failed
---@return integer left how many records are neither stored nor failed
---@return kinesis.LostRecord[]|nil failed without `on_failure`: those that failed
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
    return nil, err, 0, failed
  end
  return true
end

--- A record that was not stored: as `put_many` takes it, with the reason.
---@class kinesis.LostRecord : kinesis.Entry
---@field error kinesis.Error

--- Takes no more records, delivers those that it has, and hands back what could not be delivered. Idempotent.
---@param timeout? number seconds to deliver in; absent: 30
---@return true|nil done
---@return kinesis.Error err the reason of the first record that is not stored
---@return kinesis.LostRecord[]|nil lost those that nobody was told of by `on_failure` or a receipt
function Producer:close(timeout)
  check_self(self, "producer:close")
  local deadline = deadline_of(timeout == nil and 30 or timeout, "close")
  local _, gone = self.core:check()
  if self.ended or gone and gone.code == "Forked" then
    return true
  end
  self.closed = true
  self.core:shut()
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
  return nil, err, lost
end

-- There is nobody to hand anything back to.
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
