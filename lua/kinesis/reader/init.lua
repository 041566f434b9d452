--- A reader: an iterator over records, which the engine reads ahead. It runs in the caller's coroutine and waits in
--- the way of the host.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local advice = require "kinesis.util.advice"
local pretty = require "kinesis.observe.pretty"
local fields = require "kinesis.fields"
local endpoints = require "kinesis.endpoint.cache"
local events = require "kinesis.reader.events"
local flow = require "kinesis.reader.flow"
local last = require "kinesis.reader.last"
local misplaced = require "kinesis.reader.misplaced"
local start = require "kinesis.reader.start"
local stats = require "kinesis.reader.stats"
local wait = require "kinesis.wait"

local unpack = table.unpack or unpack

--- A record, as readers return it. One that a producer has sent in an aggregate is as it was put, and shares
--- sequence_number and arrival_timestamp with the others of the aggregate.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html
---@class kinesis.Record
---@field data string bytes
---@field partition_key? string absent on streams whose RecordDistributionStrategy is AUTO
---@field sequence_number string unique in its shard, but for the records of one aggregate; a decimal string
---@field sub_sequence_number? integer index in its aggregate, from 0; absent when it was stored alone
---@field explicit_hash_key? string known of records from aggregates only; a decimal string
---@field shard_id string the shard that it was read from
---@field arrival_timestamp number seconds since 1970, to the millisecond
---@field encryption_type? string "KMS" when the service stores it encrypted

--- Records as columns, with the option `batch = "columns"`: the records with the same index belong together.
---@class kinesis.Columns
---@field n integer number of records
---@field data? string[] absent, like each other one, when the option `fields` leaves it out
---@field partition_key? (string|false)[] false where a record lacks it
---@field sequence_number? string[]
---@field shard_id? string[]
---@field arrival_timestamp? number[]
---@field encryption_type? (string|false)[]
---@field explicit_hash_key? (string|false)[]
---@field sub_sequence_number? (integer|false)[]

--- A reader: an iterator for a generic `for`. Calling it is the same as calling its method `next`.
---@class kinesis.Reader
---@overload fun(): kinesis.Record
local Reader = {}

local check_self = advice.check_self

-- All readers. A lookup takes whatever value a dot call passes as self.
local is_reader = setmetatable({}, { __mode = "k" })

local M = { class = Reader }

local function count_unread(reader)
  local count = 0
  for id, place in pairs(reader.positions) do
    count = count + (place ~= "shard_end" and not reader.ended[id] and 1 or 0)
  end
  return count
end

local meta = pretty.equip({ __index = Reader }, "kinesis.reader", function(reader)
  local over = reader.finished or reader.stopped
  return ("kinesis.reader: %s, %d shards%s"):format(reader.stream, count_unread(reader), over and " (closed)" or "")
end)
local position_meta = pretty.meta "kinesis.position"

local WITHOUT_LIMIT = 2 ^ 53 -- records; one less is another number

-- When the idle time of a wait that began at `started` ends, and whether it ends with the last error. It does not run
-- while a shard is behind or failing.
local function idle_deadline(reader, started)
  local progress, since = reader.core:progress()
  if progress == "behind" then
    return core.now() + reader.idle_timeout, false
  end
  return math.max(started, since) + reader.idle_timeout, progress == "failing"
end

-- Returns whether all that was posted before has been drained, while reading is paused.
local function wait_more(reader, started, drained)
  if reader.core:progress() == "paused" then
    return flow.wait(reader, drained)
  end
  local deadline, failing
  if reader.idle_timeout then
    deadline, failing = idle_deadline(reader, started)
  end
  if not deadline or core.now() < deadline then
    wait.ready(reader.client, reader.core:id(), deadline)
    return
  end
  reader:close()
  if failing and reader.last_error then
    errors.raise(reader.last_error)
  end
end

-- Waits for the next record, or list of records. Returns nil at the end.
local function await_more(reader, event, a, b, c, d)
  local handle, started, drained = reader.core, nil, false
  while not (reader.finished or reader.stopped) and reader.left > 0 do -- another coroutine may read from it meanwhile
    if event then
      events.handle(reader, event, a, b, c, d)
    else
      started = started or core.now()
      drained = wait_more(reader, started, drained)
    end
    local got
    got, event, a, b, c, d = reader.take(handle, reader.left)
    if got then
      return got
    end
  end
end

--- Returns the next record (with `batch`, the next 1 to 10,000; with `values`, the fields of the next one), or nil when
--- reading has ended: by `limit`, `until_timestamp`, `stop_at_tip`, `idle_timeout` or `stop`, or because every shard
--- was read to its end.
---
--- Raises the error object when a failure is permanent, when `max_attempts` attempts fail before the first answer, or
--- when shards fail for all of `idle_timeout`. Other transient failures are retried without end and passed to
--- `on_error`, which also gets an error with the code `Trimmed` for each shard that expired before it was read.
---@return kinesis.Record|kinesis.Record[]|kinesis.Columns|nil next
function Reader:next()
  if not is_reader[self] then
    check_self(type(self) == "table" and self.take and self or nil, "reader:next")
  end
  local left = self.left
  if left <= 0 or self.stopped then
    self:close()
    return nil
  end
  local got, event, a, b, c, d = self.take(self.core, left)
  if not got then
    got = await_more(self, event, a, b, c, d)
    if not got then
      return nil
    end
  end
  self.left = self.left - (self.batch and (got.n or #got) or 1)
  return got
end

meta.__call = Reader.next

-- The method `next` of a reader with the option `values`: the values of the next record, which do not become a table.
local function next_values(reader, first, ...)
  if first == nil or first == false then -- an event, or nothing yet
    local got = await_more(reader, ...)
    if not got then
      return nil
    end
    reader.left = reader.left - 1
    return unpack(got, 1, got.n)
  end
  reader.left = reader.left - 1
  return first, ...
end

local function pack_values(first, ...)
  if first then
    return { n = select("#", ...) + 1, first, ... }
  end
  return first, ...
end

local function take_values(handle, left)
  return pack_values(handle:values(left))
end

local ValuesReader = setmetatable({}, { __index = Reader })

function ValuesReader:next()
  if not is_reader[self] then
    check_self(type(self) == "table" and self.take and self or nil, "reader:next")
  end
  if self.left <= 0 or self.stopped then
    self:close()
    return nil
  end
  return next_values(self, self.core:values(self.left))
end

--- Returns the position after the last record that this reader returned: a value for `from`. It can be stored as JSON.
---@return kinesis.Position position
function Reader:position()
  check_self(self, "reader:position")
  local places = flow.positions(self)
  setmetatable(places, position_meta)
  return setmetatable({ stream = start.name_of(self.stream), shards = places, default = "trim_horizon" }, position_meta)
end

--- Returns how far this reader is behind, in seconds: for each shard the `MillisBehindLatest` of the page whose records
--- it returned last, plus the time since that page arrived; of all shards, the largest. So it grows while a shard is
--- stuck, or its records wait for the caller. A shard whose records were all returned is as far behind as its newest
--- answer says. A shard without an answer counts from when it was begun. A shard that waits for its parents does not
--- count, as they do; one that has ended does not count once all its records were returned. After `close`, the value
--- stays as it was.
--- https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html
---@return number|nil seconds nil before the first answer, and in a forked child
function Reader:lag()
  check_self(self, "reader:lag")
  return self.core:count(self.left) and self.metrics:lag() or nil
end

--- Counters and rates for monitoring; `kinesis.prometheus` formats them.
---@return kinesis.ReaderStats|nil stats after close, the final ones
---@return kinesis.Error err `Forked`
function Reader:stats()
  check_self(self, "reader:stats")
  return stats.of(self)
end

--- Pauses the reader, or one of its shards: it fetches no more of it and returns no record of it until `resume` is
--- called. `next` waits meanwhile. Where nothing else runs that could call `resume` (in a plain script, or in the
--- last function of kinesis.run), `next` raises instead, once no shard is left that is not paused.
---
--- A paused reader keeps what it has fetched, which the option `window` bounds. A single paused shard drops it, so
--- that the window is for the other shards; after `resume` it is fetched again. Children of a paused shard wait for
--- it. A reader does not end while a shard is paused: `idle_timeout` does not run, and `stop_at_tip` waits for it.
---
--- A signal handler may call `pause()`. It should not call `pause(shard_id)` or `seek`: where it interrupts `next`, the
--- record that is just being returned may come again.
---
--- Raises at the caller's line when the reader has ended, or does not read this shard.
---@param shard_id? string absent: all shards
---@return true paused
function Reader:pause(shard_id)
  check_self(self, "reader:pause")
  flow.pause(self, shard_id)
  return true
end

--- Ends a pause, and wakes a `next` that waits. Without an argument it ends all pauses, those of single shards
--- included. With one, only this shard is read on: after `pause()` the other shards stay paused, each on its own.
---
--- Raises at the caller's line when the reader has ended, or does not read this shard.
---@param shard_id? string absent: all shards
---@return true resumed
function Reader:resume(shard_id)
  check_self(self, "reader:resume")
  flow.resume(self, shard_id)
  return true
end

--- Goes on reading from another position. What is fetched of the shards that it names is dropped.
---
--- `position` is what `from` takes: a value of `position()`, {shards={[shard_id]=…}}, which moves the shards that it
--- names, while the others stay where they are (`default` does not count); or a simple form, "trim_horizon",
--- "latest" or a time, such as "-1h", which moves all shards that the reader reads, or the one with `shard_id`. As in
--- `records`, "latest" is the moment of the call, which returns when all iterators are there; for a paused shard it is
--- the second before that. Children that the reader does not know then are read from their beginning.
---
--- A shard that was read to its end can be read again while the reader is open. A shard that is moved waits for its
--- parents that are not read, also when they are moved with it; children that have begun and are not named go on
--- where they are. A paused shard stays paused. `limit` counts on.
---
--- Raises at the caller's line when the position is wrong, is of another stream, or names a shard that the reader
--- does not read; and when the reader has ended.
---@param position kinesis.StartPosition|kinesis.Position
---@param shard_id? string moves only this shard
---@return true moved
function Reader:seek(position, shard_id)
  check_self(self, "reader:seek")
  flow.seek(self, position, shard_id)
  return true
end

--- Ends the reading: the next call of the reader returns nil. A call that waits in another coroutine returns nil, too.
--- It may be called in a signal handler: `position` is after all records that were returned.
---@return true stopped
function Reader:stop()
  check_self(self, "reader:stop")
  if not self.finished and self.core:unseen(self.left) then -- a signal handler runs inside a call that returns records
    self.stopped = true
    wait.wake(self.client, self.core:id())
  else
    self:close()
  end
  return true
end

--- Stops fetching at once and frees the fetched records. Idempotent; `position` still works. A call that waits in
--- another coroutine returns nil.
---@return true closed
function Reader:close()
  check_self(self, "reader:close")
  if self.finished then
    return true
  end
  local left = self.left
  self.positions = self:position().shards
  self.left = 0
  self.core:close(left)
  self.finished = true -- last: a close that an error cuts off can be called again, as `next` does
  wait.wake(self.client, self.core:id())
  return true
end

meta.__close = Reader.close

local values_meta = {}
for name, value in pairs(meta) do
  values_meta[name] = value
end
values_meta.__index, values_meta.__call = ValuesReader, ValuesReader.next

advice.add_methods(Reader, "reader:", {
  read = "NEXT()", get = "NEXT()", records = "NEXT()", poll = "NEXT()", commit = "POSITION()", unpause = "RESUME()",
  rewind = 'SEEK("trim_horizon")', seek_to_beginning = 'SEEK("trim_horizon")', seek_to_end = 'SEEK("latest")',
})

local function take_batch(handle, left)
  local got, event, a, b, c, d = handle:batch(left)
  return got and setmetatable(got, pretty.records_meta), event, a, b, c, d
end

-- How a reader takes what it returns from the core.
local function taker(handle, checked)
  if checked.values then
    return take_values
  elseif checked.batch == "columns" then
    return handle.columns
  end
  return checked.batch and take_batch or handle.next
end

--- Opens a reader of these shards.
---@param client kinesis.Client
---@param stream string
---@param shards kinesis.Shard[]
---@param checked kinesis.RecordsOptions with their defaults
---@param follow boolean whether to read their children, too
---@return kinesis.Reader
function M.open(client, stream, shards, checked, follow)
  local problem = fields.check_together(checked)
  if problem then
    error(problem, 3)
  end
  local from, ending = start.range(client, checked)
  start.check(from, #shards, stream)
  misplaced.check(client, stream, checked) -- before anything is read
  from = from or last.find(client, stream, shards, checked.last, checked.deaggregate)
  local places, positions = start.plan(shards, from, follow)
  local target, wrong = endpoints.of_stream(client, stream)
  if wrong then
    errors.raise(wrong)
  end
  local handle, err = client.core:reader {
    stream = stream,
    target = target,
    shards = places,
    poll_interval = checked.poll_interval,
    window = checked.window,
    stop_at_tip = checked.stop_at_tip,
    until_timestamp = ending,
    deaggregate = checked.deaggregate,
    drop_misplaced = checked.drop_misplaced,
    page_limit = checked.page_limit,
    window_pool = checked.window_pool,
    fields = checked.values or checked.fields,
    follow = follow,
    report_starts = checked.on_shard_start ~= nil,
  }
  if not handle then
    errors.raise(err or errors.new("Closed", "the client was closed"))
  end
  local reader = setmetatable({
    client = client,
    core = handle,
    metrics = handle:metrics(),
    stream = stream,
    positions = positions,
    ended = {}, -- a set of shards that ended at the tip, or at until_timestamp
    idle_timeout = checked.idle_timeout,
    take = taker(handle, checked),
    batch = checked.batch,
    left = checked.limit or WITHOUT_LIMIT, -- the core delivers the same again until it is another number
    on_error = checked.on_error,
    on_shard_start = checked.on_shard_start,
    on_shard_end = checked.on_shard_end,
    drops_misplaced = checked.drop_misplaced,
    finished = false,
  }, checked.values and values_meta or meta)
  is_reader[reader] = true
  client.readers[reader] = true
  if client.leaving then
    reader:stop()
  end
  if start.has_latest(places) then
    flow.await_start(reader)
  end
  return reader
end

return M
