-- What the core of a reader returns instead of a record: the ends of pages and shards, and errors.

local core = require "kinesis.core"
local errors = require "kinesis.errors"
local misplaced = require "kinesis.reader.misplaced"
local notice = require "kinesis.observe.notice"
local wait = require "kinesis.wait"

local M = {}

local REPORT_AFTER = 3 -- consecutive failures

local function report(reader, err, shard_id, in_a_row, noted)
  local key = ("reader %s %s"):format(reader.stream, err.code)
  if noted then
    notice.print_rarely(key, "%s of %s: %s", shard_id, reader.stream, tostring(err))
  elseif in_a_row >= REPORT_AFTER or core.about_credentials(err.code) then -- the next of those comes in 30 s
    notice.print_rarely(key, "reading %s of %s: %s; retrying (%d failure%s so far)", shard_id,
      reader.stream, tostring(err), in_a_row, in_a_row == 1 and "" or "s")
  end
end

local function fail(reader, err)
  reader.failure = err -- in nginx a text is raised
  reader:close()
  errors.raise(err)
end

-- `level`: "quiet": expected; "retried"; "noted": the reader goes on without something.
local function on_trouble(reader, shard_id, err, in_a_row, level)
  shard_id = shard_id == "" and "the list of shards" or shard_id
  if level ~= "quiet" and reader.on_error then
    reader.on_error(err, shard_id, in_a_row)
  elseif level ~= "quiet" then
    report(reader, err, shard_id, in_a_row, level == "noted")
  end
end

local function note_shard_end(reader, shard_id, reason, read_before)
  reader.ended[shard_id] = (reason == "tip" or reason == "until") or nil
  if reason == "trimmed" and read_before then
    reader.positions[shard_id] = nil -- later positions need not name it
  elseif reason == "trimmed" or reason == "closed" then
    reader.positions[shard_id] = "shard_end"
  end
end

-- Stores what an event says; it may be called again for the same event. Raises what ends the reading.
local function note_event(reader, event, a, b, c, d)
  if event == "page_end" then
    reader.positions[a] = { after = b }
  elseif event == "shard_end" then
    note_shard_end(reader, a, b, c)
  elseif event == "shard_added" then
    reader.positions[a] = "trim_horizon"
  elseif event == "trouble" and d == "fatal" then
    fail(reader, b)
  elseif event == "trouble" then
    reader.last_error = b
  elseif event == "all_read" then
    reader:close()
  elseif event == "gone" and not reader.finished then -- the client was closed, or the process is a forked child
    fail(reader, a)
  end
end

-- Calls the user's function. The event was passed: an error that the function throws does not repeat it.
local function notify(reader, event, a, b, c, d)
  if event == "trouble" then
    on_trouble(reader, a, b, c, d)
  elseif event == "shard_start" and reader.on_shard_start then
    reader.on_shard_start(a)
  elseif event == "shard_end" and reader.on_shard_end and not c then -- c: it was finished before
    reader.on_shard_end(a, b)
  end
end

---Handles an event that the core returns instead of a record. Raises what ends the reading.
---@param reader kinesis.Reader
---@param event string see `next` in csrc/lua/reader.c
function M.handle(reader, event, a, b, c, d)
  note_event(reader, event, a, b, c, d)
  reader.core:pass() -- what an error cuts off before is returned again
  if event == "page_end" then
    misplaced.note_dropped(reader, a)
    wait.yield_to_others(reader.client)
  else
    notify(reader, event, a, b, c, d)
  end
end

return M
