-- Counts the words of all records, together with other processes like it: each reads some of the shards. Killed at any
-- moment, another one goes on from the counts that it has saved.
local kinesis = require "kinesis"
local cjson = require "cjson"

local USAGE = [[
usage: lua5.4 worker.lua [APPLICATION]
  counts the words of the stream KINESIS_STREAM, or hello-kinesis; start it as often as you like. The counts of a shard
  are in the file APPLICATION-SHARD.json; APPLICATION is word-count.
]]
if arg[1] == "--help" or arg[1] == "-h" then
  io.write(USAGE)
  os.exit(0)
elseif arg[2] or arg[1] and arg[1]:find "^%-" then
  io.stderr:write(USAGE)
  os.exit(2)
end

local SAVE_EVERY = 5 -- seconds
local stream = os.getenv "KINESIS_STREAM" or "hello-kinesis"
local application = arg[1] or "word-count"
local counts = {} -- shard id -> its words
local worker

local function path_of(id)
  return ("%s-%s.json"):format(application, id)
end

local function load_counts(id)
  local file = io.open(path_of(id), "rb")
  local text = file and file:read "a"
  return text and cjson.decode(text) or { words = {} }, file and file:close()
end

-- Replaces the file: it is never half written.
local function save_counts(id)
  local file = assert(io.open(path_of(id) .. ".new", "wb"))
  assert(file:write(cjson.encode(counts[id])))
  assert(file:close())
  assert(os.rename(path_of(id) .. ".new", path_of(id)))
end

-- A record that is processed again, because a worker died before its checkpoint, is not counted again: the file knows
-- the last record that is in its counts.
local function is_counted(of, record)
  local seq, sub = record.sequence_number, record.sub_sequence_number or 0
  local last = of.sequence_number
  if not last or #seq ~= #last then
    return last ~= nil and #seq < #last
  end
  return seq < last or seq == last and sub <= of.sub
end

local function count(record, shard)
  local of = counts[shard.id]
  if is_counted(of, record) then
    return
  end
  for word in record.data:gmatch "%w+" do
    of.words[word] = (of.words[word] or 0) + 1
  end
  of.sequence_number, of.sub = record.sequence_number, record.sub_sequence_number or 0
  if os.time() >= of.due then
    save_counts(shard.id)
    of.due = os.time() + SAVE_EVERY
    worker:checkpoint(record)
  end
end

local function report(...)
  io.stderr:write(string.format(...), "\n")
end

worker = assert(kinesis.worker(stream, application, {
  checkpoint = "manual",
  on_lease_taken = function(shard)
    counts[shard.id] = load_counts(shard.id)
    counts[shard.id].due = os.time() + SAVE_EVERY
    report("reads %s", shard.id)
  end,
  on_lease_lost = function(shard, reason)
    counts[shard.id] = nil
    report("no longer reads %s: %s", shard.id, reason)
  end,
  on_shard_end = function(shard) -- after it has returned, the shard is finished for all workers
    save_counts(shard.id)
    counts[shard.id] = nil
    report("has read all of %s", shard.id)
  end,
}))

local has_signals, signal = pcall(require, "posix.signal")
if has_signals then
  local function stop()
    worker:stop()
  end
  signal.signal(signal.SIGINT, stop)
  signal.signal(signal.SIGTERM, stop)
end

local good, err = worker:run(count)
if not good then
  report("%s", tostring(err))
  os.exit(1)
end
