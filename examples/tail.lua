-- Puts each line of a log file as a record, and follows the file through rotations.
local kinesis = require "kinesis"

local USAGE = [[
usage: lua5.4 tail.lua [--from-start] [--once] [--key PATTERN] FILE [STREAM]
  --from-start    start at the beginning of the file; by default at its end
  --once          end at the end of the file
  --key PATTERN   use the match of this Lua pattern in a line as its partition key; by default FILE
]]
local LARGEST = 1024 * 1024 - 1024 -- bytes of a line; a record has at most 1 MiB with its key
local PIECE = 65536
local PAUSE = 0.2 -- seconds between two reads of the file

local function usage(out, status)
  out:write(USAGE)
  os.exit(status)
end

local options, words = {}, {}
local i = 1
while arg[i] do
  if arg[i] == "--help" or arg[i] == "-h" then
    usage(io.stdout, 0)
  elseif arg[i] == "--key" and arg[i + 1] then
    i = i + 1
    options.key = arg[i]
  elseif arg[i] == "--from-start" or arg[i] == "--once" then
    options[arg[i]:sub(3)] = true
  elseif arg[i]:find "^%-" then
    usage(io.stderr, 2)
  else
    words[#words + 1] = arg[i]
  end
  i = i + 1
end
local path, stream = words[1], words[2] or os.getenv "KINESIS_STREAM" or "hello-kinesis"
if not path or words[3] then
  usage(io.stderr, 2)
end

local function say(...)
  io.stderr:write("tail: ", string.format(...), "\n")
end

local producer = assert(kinesis.producer(stream, {
  on_failure = function(record, err)
    say("lost: %s: %s", record.data, tostring(err))
  end,
}))

local has_signals, signal = pcall(require, "posix.signal")
local has_stat, stat = pcall(require, "posix.sys.stat")
local stopping = false
if has_signals then
  local function stop()
    stopping = true
  end
  signal.signal(signal.SIGINT, stop)
  signal.signal(signal.SIGTERM, stop)
end

-- ---- lines ----

local lines, rest = 0, "" -- rest: the last line, when it has no end yet

local function put(line)
  if #line > LARGEST then
    say("a line of %d bytes was skipped; the maximum is %d", #line, LARGEST)
  elseif line ~= "" then
    lines = lines + 1
    -- waits when the producer is full; the unread lines stay in the file
    assert(producer:put(line, options.key and line:match(options.key) or path:sub(-256)))
  end
end

local function take(text)
  rest = rest .. text
  local from = 1
  local newline = rest:find("\n", #rest - #text + 1, true)
  while newline do
    put(rest:sub(from, newline - 1))
    from = newline + 1
    newline = rest:find("\n", from, true)
  end
  rest = rest:sub(from)
end

-- Reads to the end of the file. Returns whether there was anything.
local function read_on(file)
  local any = false
  while not stopping do
    local text = file:read(PIECE)
    if not text then
      return any
    end
    any = true
    take(text)
  end
  return any
end

-- ---- rotation ----

-- Identifies a file: its inode; without lua-posix its first bytes.
local function identity(name)
  if has_stat then
    local found = stat.stat(name)
    return found and found.st_ino
  end
  local file = io.open(name, "rb")
  local head = file and (file:read(256) or "")
  return head, file and file:close()
end

-- Whether another file has the name now. Without inodes, only a file with another beginning is detected.
local function is_replaced(known)
  local found = identity(path)
  if not found or has_stat then
    return found ~= nil and found ~= known
  end
  return found:sub(1, #known) ~= known
end

local function is_cut(file)
  local at = file:seek()
  local size = file:seek "end"
  file:seek("set", at)
  return size < at
end

local function follow(file)
  local known = identity(path)
  while not stopping do
    if is_cut(file) then
      file:seek("set", 0)
      rest = ""
    end
    if not read_on(file) then
      if options.once or is_replaced(known) then
        read_on(file) -- the lines written before the rotation
        break
      end
      known = has_stat and known or #known < 256 and identity(path) or known
      kinesis.sleep(PAUSE)
    end
  end
  file:close()
  if rest ~= "" and not stopping then
    take "\n"
  end
end

local from_start = options["from-start"] or options.once
local is_waiting = false
repeat
  local file, message = io.open(path, "rb")
  if file then
    if not from_start then
      file:seek "end"
    end
    from_start, is_waiting = true, false
    follow(file)
  elseif options.once then
    say("%s", message)
    os.exit(1)
  else
    if not is_waiting then
      say("%s; waiting for it", message)
    end
    from_start, is_waiting = true, true -- a file that appears later is read from its beginning
    kinesis.sleep(PAUSE)
  end
until stopping or options.once

local done, err = producer:close()
local stats = producer:stats()
local lost = stats.failed + stats.expired + stats.returned
say("%d lines, %d stored, %d failed", lines, stats.stored, lost)
if not done then
  say("%s", tostring(err))
end
os.exit(done and lost == 0 and 0 or 1)
