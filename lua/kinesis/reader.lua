--- A reader: called, it gives the next record. What it reads and when is the engine's; here is the
--- iterator, which waits in the host's way in the coroutine of whoever calls it.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local advice = require "kinesis.util.advice"
local notice = require "kinesis.observe.notice"
local pretty = require "kinesis.observe.pretty"
local endpoints = require "kinesis.endpoint.cache"
local wait = require "kinesis.wait"

--- A record: a plain table of these fields, which a prompt shows well.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Record.html
---@class kinesis.Record
---@field data string bytes
---@field partition_key? string absent on streams that distribute their records by themselves
---@field sequence_number string unique in its shard; a decimal string
---@field shard_id string where it was read
---@field arrival_timestamp number seconds since 1970, to the millisecond
---@field encryption_type? string "KMS", when it was encrypted

--- A reader. Called, it gives the next record, as `next` does: so a `for` takes it as it stands.
---@class kinesis.Reader
---@overload fun(): kinesis.Record
local Reader = {}

local check_self = advice.check_self

local M = { class = Reader }

local meta = pretty.equip({ __index = Reader }, "kinesis.reader", function(reader)
  return ("kinesis.reader: %s, %d shards%s"):format(reader.stream, reader.alive, reader.finished and " (closed)" or "")
end)
local position_meta = pretty.meta "kinesis.position"

local REPORT_AFTER = 3 -- failures in a row

-- ---- where to begin ----

local SIMPLE = { trim_horizon = "TRIM_HORIZON", latest = "LATEST", shard_end = "SHARD_END" }

-- One shard's place, as the core has it.
local function place_of(from, closed)
  if from == "latest" and closed then
    return { kind = "SHARD_END" }
  elseif SIMPLE[from] then
    return { kind = SIMPLE[from] }
  elseif from.timestamp then
    return { kind = "AT_TIMESTAMP", timestamp = from.timestamp }
  elseif from.at then
    return { kind = "AT_SEQUENCE_NUMBER", sequence_number = from.at }
  elseif from.sub then
    -- some of the records inside that one are left: it comes again, whole, until such are taken apart
    return { kind = "AT_SEQUENCE_NUMBER", sequence_number = from.after }
  end
  return { kind = "AFTER_SEQUENCE_NUMBER", sequence_number = from.after }
end

-- The stream's bare name; `stream` may be its ARN.
local function name_of(stream)
  return stream:match "^arn:[^/]*/(.+)$" or stream
end

local function check_from(from, count, stream)
  if type(from) ~= "table" then
    return
  end
  if from.stream and name_of(from.stream) ~= name_of(stream) then
    error(("records: `from` is a position in the stream '%s', but the stream to read is '%s'"):format(
      name_of(from.stream), name_of(stream)), 4)
  end
  if (from.at or from.after) and count ~= 1 then
    error(("records: `from` names a record of one shard, but there are %d; use shard:records, or "
      .. "{shards={[id]=…}}"):format(count), 4)
  end
end

local function place_for(from, shard)
  if type(from) == "table" and (from.shards or from.default) then
    return (from.shards or {})[shard.id] or from.default or "trim_horizon"
  end
  return from
end

-- The list for the core, and the positions to begin with.
local function plan(shards, from)
  local places, positions, alive = {}, {}, 0
  for i, shard in ipairs(shards) do
    local wanted = place_for(from, shard)
    local place = place_of(wanted, shard.closed)
    place.id, place.parent_id, place.adjacent_parent_id =
      shard.id, shard.parent_id, shard.adjacent_parent_id
    places[i] = place
    positions[shard.id] = place.kind == "SHARD_END" and "shard_end" or wanted
    alive = alive + (place.kind == "SHARD_END" and 0 or 1)
  end
  return places, positions, alive
end

local function starts_at_latest(places)
  for _, place in ipairs(places) do
    if place.kind == "LATEST" then
      return true
    end
  end
  return false
end

-- ---- trouble ----

local function report(reader, err, shard_id, in_a_row)
  if in_a_row >= REPORT_AFTER then
    notice.print_rarely("reader " .. reader.stream, "reading %s of %s: %s; trying again (%d times so far)", shard_id,
      reader.stream, tostring(err), in_a_row)
  end
end

local function on_trouble(reader, shard_id, err, in_a_row, fatal)
  if fatal then
    reader:close()
    errors.raise(err)
  end
  if reader.on_error then
    reader.on_error(err, shard_id, in_a_row)
  else
    report(reader, err, shard_id, in_a_row)
  end
end

-- ---- the ends of shards ----

-- A shard has ended and its last answer did not name its children: some services never do.
local function find_children(reader)
  local list, err = reader.list_shards()
  if not list then
    on_trouble(reader, "the children of an ended shard", err, 1, not err.retryable)
    wait.sleep(1, reader.client)
    return
  end
  reader.childless = false
  for _, shard in ipairs(list) do
    if not reader.positions[shard.id] then
      reader.positions[shard.id] = "trim_horizon"
      reader.starting = reader.starting + 1
      reader.core:start_shard {
        id = shard.id,
        kind = "TRIM_HORIZON",
        parent_id = shard.parent_id,
        adjacent_parent_id = shard.adjacent_parent_id,
      }
    end
  end
end

local function on_shard_end(reader, shard_id, closed, names_children, alive)
  reader.alive = alive
  if closed then
    reader.positions[shard_id] = "shard_end"
    reader.childless = reader.childless or not names_children
  end
end

-- ---- the iterator ----

-- What the core has to say before the next record. True: the reader is at its end.
local function on_event(reader, event, a, b, c, d)
  if event == "page_end" then
    reader.positions[a] = { after = b }
    wait.yield_to_others(reader.client)
  elseif event == "shard_end" then
    on_shard_end(reader, a, b, c, d)
  elseif event == "shard_started" then
    reader.starting = reader.starting - 1
    reader.alive = a
  elseif event == "trouble" then
    on_trouble(reader, a, b, c, d)
  elseif event == "ready" then
    reader.start = a
  elseif not reader.finished then -- the client was closed under it, or forked
    reader:close()
    errors.raise(a)
  end
end

local function wait_more(reader, deadline)
  if deadline and core.now() >= deadline then
    reader:close()
  else
    wait.ready(reader.client, reader.core:id(), deadline)
  end
end

-- What comes when there was no record at hand: the next one, or list, once it is there; nil at the end.
local function await_more(reader, event, a, b, c, d)
  local handle, deadline = reader.core, nil
  while not reader.finished and reader.left > 0 do -- somebody else may read from it meanwhile
    if event then
      on_event(reader, event, a, b, c, d)
    elseif reader.childless then
      find_children(reader)
    elseif reader.alive == 0 and reader.starting == 0 then
      reader:close()
      return nil
    else
      deadline = deadline or (reader.idle_timeout and core.now() + reader.idle_timeout)
      wait_more(reader, deadline)
    end
    local got
    got, event, a, b, c, d = reader.take(handle, reader.left)
    if got then
      return got
    end
  end
end

--- The next record (with `batch`, the next list of records), or nil at the end: the limit, the tip, the
--- end of every shard, or `idle_timeout` seconds without a record.
---
--- Raises the error object: for what will not pass, and when the first answer does not come after as many
--- attempts as any call gets. What passes is tried again without end and told to `on_error`.
---@return kinesis.Record|kinesis.Record[]|nil next
function Reader:next()
  if not self then
    check_self(self, "reader:next")
  end
  local left = self.left
  if left <= 0 then
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
  self.left = self.left - (self.batch and #got or 1)
  return got
end

meta.__call = Reader.next

--- Where a reader would have to begin to go on behind the last record that this one handed over: a value
--- for `from`, which may be stored as JSON meanwhile.
---@return kinesis.Position position
function Reader:position()
  check_self(self, "reader:position")
  local places = {}
  for id, place in pairs(self.positions) do
    places[id] = place == "latest" and self.start and { timestamp = self.start } or place
  end
  local shard_id, sequence_number = self.core:current()
  if shard_id then
    places[shard_id] = { after = sequence_number }
  end
  setmetatable(places, position_meta)
  return setmetatable({ stream = name_of(self.stream), shards = places, default = "trim_horizon" }, position_meta)
end

--- Ends the reading, from wherever: the next call gives nil, also one that is waiting now.
function Reader:stop()
  check_self(self, "reader:stop")
  self:close()
  wait.wake(self.client, self.core:id())
end

--- Stops fetching at once and frees what was fetched. Idempotent; the position stays known.
function Reader:close()
  check_self(self, "reader:close")
  if self.finished then
    return
  end
  self.finished = true
  self.positions = self:position().shards
  self.core:close()
end

meta.__close = Reader.close

advice.add_methods(Reader, "reader:", { read = "NEXT()", get = "NEXT()", records = "NEXT()" })

-- All iterators at the tip are taken before the caller goes on and puts something.
local function await_start(reader)
  while not reader.start and not reader.finished do
    local _, event, a, b, c, d = reader.core:next()
    if event then
      on_event(reader, event, a, b, c, d)
    else
      wait.ready(reader.client, reader.core:id())
    end
  end
end

local function take_batch(handle, left)
  local got, event, a, b, c, d = handle:batch(left)
  return got and setmetatable(got, pretty.records_meta), event, a, b, c, d
end

--- Opens a reader of these shards.
---@param client kinesis.Client
---@param stream string
---@param shards kinesis.Shard[]
---@param checked kinesis.RecordsOptions with their defaults
---@param home { follow: boolean, list_shards: fun(): kinesis.Shards|nil, kinesis.Error|nil } follow: children too
---@return kinesis.Reader
function M.open(client, stream, shards, checked, home)
  local from = checked.from or "trim_horizon"
  check_from(from, #shards, stream)
  local places, positions, alive = plan(shards, from)
  local target, misplaced = endpoints.of_stream(client, stream)
  if misplaced then
    errors.raise(misplaced)
  end
  local handle, err = client.core:reader {
    stream = stream,
    target = target,
    shards = places,
    poll_interval = checked.poll_interval,
    window = checked.window,
    stop_at_tip = checked.stop_at_tip,
    follow = home.follow,
  }
  if not handle then
    errors.raise(err or errors.new("Closed", "the client was closed"))
  end
  local reader = setmetatable({
    client = client,
    core = handle,
    stream = stream,
    positions = positions,
    alive = alive,
    starting = 0, -- shards that the core was told to begin and has not yet
    idle_timeout = checked.idle_timeout,
    take = checked.batch and take_batch or handle.next,
    batch = checked.batch,
    left = checked.limit or math.huge,
    on_error = checked.on_error,
    list_shards = home.list_shards,
    childless = false,
    finished = false,
  }, meta)
  client.readers[reader] = true
  if client.leaving then
    reader:stop()
  end
  if starts_at_latest(places) then
    await_start(reader)
  end
  return reader
end

return M
