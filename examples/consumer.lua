-- Prints every record of the stream, from the oldest one and through reshards, until Ctrl-C; and every five seconds, on
-- stderr, how fast it reads and how far it is behind. With a position file it continues after the last record of the
-- previous run.
local cjson = require "cjson"
local kinesis = require "kinesis"

local USAGE = [[
usage: lua5.4 consumer.lua [--from TIME | --last N] [--position FILE]
  --from TIME       start at this time: seconds since 1970, 2026-11-27T12:00:00Z, or -90s, -15m, -1h, -2d before now;
                    by default at the oldest record
  --last N          start before the newest N records of all shards
  --position FILE   start at the position in FILE, if there is one, and keep it up to date
]]
local EXCLUDES = { from = "last", last = "from", position = "position" }
local options = {}
if arg[1] == "--help" or arg[1] == "-h" then
  io.write(USAGE)
  os.exit(0)
end
for i = 1, #arg, 2 do
  local name = arg[i]:match "^%-%-(%l+)$"
  if not EXCLUDES[name] or not arg[i + 1] or options[name] or options[EXCLUDES[name]] then
    io.stderr:write(USAGE)
    os.exit(2)
  end
  options[name] = arg[i + 1]
end

local REPORT_EVERY = 5 -- seconds
local stream = os.getenv "KINESIS_STREAM" or "hello-kinesis"
local path = options.position
local position, saved -- after the last printed record; the content of the file
local stopping, ended = false, false

local function load_position()
  local file, message, code = io.open(path, "rb")
  if not file and code == 2 then -- ENOENT: the first run
    return nil
  end
  local text = assert(file, message):read "*a"
  file:close()
  local good, result = pcall(cjson.decode, text)
  assert(good, path .. ": " .. tostring(result))
  return result
end

local function save_position()
  if path and position ~= saved then
    local file = assert(io.open(path .. ".new", "wb"))
    assert(file:write(cjson.encode(position), "\n"))
    assert(file:close())
    assert(os.rename(path .. ".new", path)) -- replaces FILE atomically
    saved = position
  end
end

local function read(reader)
  local seen = {}
  for records in reader do
    for _, record in ipairs(records) do
      if not seen[record.shard_id] then
        seen[record.shard_id] = true
        print("Reading " .. record.shard_id)
      end
      assert(io.write(("Record: %s, Partition Key: %s, Shard: %s\n"):format( -- unlike print, it returns errors
        record.data, record.partition_key, record.shard_id)))
    end
    assert(io.flush())
    position = reader:position() -- after the whole list: an interrupted list is read again
  end
  ended = true
end

local function report(reader)
  if not reader:lag() then -- there was no answer yet
    return
  end
  local records, bytes, stats = 0, 0, reader:stats()
  for _, shard in pairs(stats.shards) do
    records, bytes = records + shard.records_per_second, bytes + shard.bytes_per_second
  end
  io.stderr:write(("%.1f records/s, %.1f kB/s, %.1f s behind\n"):format(records, bytes / 1000, stats.lag))
end

-- Runs concurrently with read: saves the position, reports, and stops the reader after a signal.
local function watch(reader)
  local due = os.time() + REPORT_EVERY
  repeat
    kinesis.sleep(0.2)
    save_position()
    if os.time() >= due then
      report(reader)
      due = os.time() + REPORT_EVERY
    end
  until stopping or ended
  reader:stop()
end

local function consume()
  local saved_position = path and load_position()
  local reader = kinesis.shards(stream):records {
    from = saved_position or tonumber(options.from) or options.from,
    last = not saved_position and (tonumber(options.last) or options.last) or nil,
    batch = true,
  }
  local has_signals, signal = pcall(require, "posix.signal")
  for _, name in ipairs(has_signals and { "SIGINT", "SIGTERM" } or {}) do
    signal.signal(signal[name], function() stopping = true end)
  end
  position = reader:position()
  save_position() -- fails at once when the file cannot be written
  kinesis.run(function() read(reader) end, function() watch(reader) end)
end

local good, err = pcall(consume)
-- without lua-posix, Ctrl-C raises an error, and SIGTERM ends the process
local failed = not good and not tostring(err):find("interrupted!", 1, true)
if failed then
  io.stderr:write(tostring(err), "\n")
end
save_position()
if failed then
  os.exit(1)
end
print "Stopped."
