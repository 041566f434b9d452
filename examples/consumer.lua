-- Prints every record of the stream, from the oldest one on and through reshards, until Ctrl-C. With a position file
-- it goes on where it was.
local cjson = require "cjson"
local kinesis = require "kinesis"

local USAGE = [[
usage: lua5.4 consumer.lua [--position FILE]
  --position FILE   go on where FILE says, and keep it up to date; without it, or FILE, from the oldest record on
]]
if arg[1] == "--help" or arg[1] == "-h" then
  io.write(USAGE)
  os.exit(0)
elseif arg[1] and (arg[1] ~= "--position" or #arg ~= 2) then
  io.stderr:write(USAGE)
  os.exit(2)
end

local stream = os.getenv "KINESIS_STREAM" or "hello-kinesis"
local path = arg[2]
local position, saved -- behind the last record that was printed; what the file holds
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
    assert(os.rename(path .. ".new", path)) -- FILE is always a whole one, the old or the new
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
      assert(io.write(("Record: %s, Partition Key: %s, Shard: %s\n"):format( -- unlike print, it says when it cannot
        record.data, record.partition_key, record.shard_id)))
    end
    assert(io.flush())
    position = reader:position() -- behind all of this list: an interrupted one comes again, whole
  end
  ended = true
end

-- Beside the reading: saves, and ends it after a signal.
local function watch(reader)
  repeat
    kinesis.sleep(0.2)
    save_position()
  until stopping or ended
  reader:stop()
end

local function consume()
  local reader = kinesis.shards(stream):records { from = path and load_position(), batch = true }
  local has_signals, signal = pcall(require, "posix.signal")
  for _, name in ipairs(has_signals and { "SIGINT", "SIGTERM" } or {}) do
    signal.signal(signal[name], function() stopping = true end)
  end
  position = reader:position()
  save_position() -- a file that cannot be written is known at once
  kinesis.run(function() read(reader) end, function() watch(reader) end)
end

local good, err = pcall(consume)
-- without lua-posix, Ctrl-C is an error that Lua raises, and SIGTERM kills
local failed = not good and not tostring(err):find("interrupted!", 1, true)
if failed then
  io.stderr:write(tostring(err), "\n")
end
save_position()
if failed then
  os.exit(1)
end
print "Stopped."
