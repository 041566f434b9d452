-- Counts the words of a stream, together with other processes like it: each reads some of the shards. The counts of a
-- shard are in a file, with the number of the last record that is in them. So they are exact whenever a process is
-- killed: another one takes the shard, repeats the records since the last checkpoint, and leaves out those that the
-- file has.
local kinesis = require "kinesis"
local cjson = require "cjson"

local USAGE = [=[
usage: lua5.4 worker.lua [APPLICATION [STORE]]
  counts the words of the stream KINESIS_STREAM, or hello-kinesis; start it as often as you like, and kill any of them.
  The counts of a shard are in the file APPLICATION-SHARD.json of this folder; APPLICATION is word-count.
  STORE is where the leases are: file (the default), or dynamodb, in the table APPLICATION.
]=]
if arg[1] == "--help" or arg[1] == "-h" then
  io.write(USAGE)
  os.exit(0)
elseif arg[3] or arg[1] and arg[1]:find "^%-" then
  io.stderr:write(USAGE)
  os.exit(2)
end

local stream = os.getenv "KINESIS_STREAM" or "hello-kinesis"
local application = arg[1] or "word-count"
local counts = {} -- shard id -> its counts

io.stdout:setvbuf "line"

local function report(...)
  print(string.format(...))
end

local function path_of(id)
  return ("%s-%s.json"):format(application, id)
end

local function load_counts(id)
  local file = io.open(path_of(id), "rb")
  local text = file and file:read "*a"
  return text and cjson.decode(text) or { records = 0, words = {} }, file and file:close()
end

-- Replaces the file: it is never half written.
local function save_counts(id)
  local file = assert(io.open(path_of(id) .. ".new", "wb"))
  assert(file:write(cjson.encode(counts[id])))
  assert(file:close())
  assert(os.rename(path_of(id) .. ".new", path_of(id)))
end

-- Whether a record is in the counts already. Sequence numbers are decimal numbers without leading zeros; the records of
-- an aggregate have one together, and an index in it.
local function is_counted(of, record)
  local seq, sub, last = record.sequence_number, record.sub_sequence_number or 0, of.sequence_number
  if not last or #seq ~= #last then
    return last ~= nil and #seq < #last
  end
  return seq < last or seq == last and sub <= of.sub
end

local function add(of, record)
  of.records = of.records + 1
  for word in record.data:gmatch "%w+" do
    of.words[word] = (of.words[word] or 0) + 1
  end
  of.sequence_number, of.sub = record.sequence_number, record.sub_sequence_number or 0
end

-- The handler: when it has returned, the worker may write a checkpoint behind the list.
local function count(records, shard)
  local of = counts[shard.id]
  local before = of.records
  for _, record in ipairs(records) do
    if not is_counted(of, record) then
      add(of, record)
    end
  end
  save_counts(shard.id)
  report("%s: %d records more, %d in all", shard.id, of.records - before, of.records)
end

local worker = assert(kinesis.worker(stream, application, {
  store = arg[2] or "file",
  batch = true,
  on_lease_taken = function(shard)
    counts[shard.id] = load_counts(shard.id)
    report("%s: reads it", shard.id)
  end,
  on_lease_lost = function(shard, reason)
    counts[shard.id] = nil
    report("%s: reads it no longer (%s)", shard.id, reason)
  end,
  on_shard_end = function(shard) -- all is counted and saved; when it has returned, its children are read
    counts[shard.id] = nil
    report("%s: has read all of it", shard.id)
  end,
}))

local has_signals, signal = pcall(require, "posix.signal")
for _, name in ipairs(has_signals and { "SIGINT", "SIGTERM" } or {}) do
  signal.signal(signal[name], function()
    worker:stop()
  end)
end

-- Without lua-posix, Ctrl-C raises an error: the leases are released, without checkpoints. SIGTERM is like kill -9.
local good, ended, err = pcall(worker.run, worker, count)
local problem = not good and ended or err
if problem and not tostring(problem):find("interrupted!", 1, true) then
  io.stderr:write(tostring(problem), "\n")
  os.exit(1)
end
print "Stopped."
