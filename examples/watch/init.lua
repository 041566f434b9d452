-- The tutorial's Monitoring tab in a terminal: what is put into each shard now and was in the last minute, how far
-- reading is behind, and which shard and partition keys are the hottest. One coroutine reads, one draws.
local kinesis = require "kinesis"
local keys = require "watch.keys"
local load = require "watch.load"
local screen = require "watch.screen"
local terminal = require "watch.terminal"
local views = require "watch.view"

local FIELDS = { "data", "partition_key", "shard_id", "arrival_timestamp", "sub_sequence_number" }
local STEP = 0.1 -- seconds between two looks at whether to stop or to draw
local EINTR = 4 -- a signal came while the terminal was slow: the next picture is whole again, or Ctrl-C ends it
local LOOK = 2 -- seconds between two looks at the terminal's size: neither Lua nor lua-posix knows SIGWINCH

local Watch = {}
Watch.__index = Watch

function Watch:read()
  for columns in self.reader do
    self.load:add(columns, os.time())
    self.keys:add(columns)
  end
  self.stopping = true
end

function Watch:measure(now)
  self.columns, self.lines = terminal.size()
  self.measure_at = now + LOOK
end

function Watch:draw(now)
  local view = self.view:take(self.reader:stats(), now)
  local text = not self.is_screen and screen.plain(view) .. "\n"
  if self.is_screen then
    if now >= self.measure_at then
      self:measure(now)
    end
    text = terminal.frame(screen.lines(view, { columns = self.columns, lines = self.lines }, self.style))
  end
  local good, problem, number = io.write(text)
  if good then
    good, problem, number = io.flush()
  end
  if not good and number ~= EINTR then
    self.problem, self.stopping = "the output cannot be written: " .. problem, true
  end
end

-- Draws once a second until it is to stop.
function Watch:show()
  local drawn
  while not self.stopping do
    local now = os.time()
    if now ~= drawn then
      self:draw(now)
    end
    drawn = now
    kinesis.sleep(STEP)
    self.stopping = self.stopping or os.time() >= self.ends
  end
  self.reader:stop()
end

-- With lua-posix, signals set a flag. Without, Ctrl-C raises an error, and SIGTERM ends the process.
function Watch:hear()
  local has_signals, signal = pcall(require, "posix.signal")
  if has_signals then
    local function stop() self.stopping = true end
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
  end
end

-- Reads and draws. Returns an error, if there was one; the terminal is then as it was.
function Watch:run()
  if self.is_screen then
    self:measure(os.time())
    io.stdout:setvbuf("full", 65536) -- a picture is written as a whole
    io.write(terminal.ENTER)
  end
  local good, err = pcall(function()
    self:hear()
    kinesis.run(function() self:read() end, function() self:show() end)
  end)
  if self.is_screen then
    io.write(terminal.LEAVE)
    io.flush()
  end
  if not good and not tostring(err):find("interrupted!", 1, true) then
    return err
  end
  return self.problem
end

--- Watches a stream until Ctrl-C, or for this many seconds. `service` is shown.
return function(client, stream, service, seconds)
  local started = os.time()
  local watch = setmetatable({ load = load.new(started), keys = keys.new(load.BYTES / load.RECORDS),
    ends = started + (seconds or math.huge), is_screen = terminal.is_screen(), style = terminal.style() }, Watch)
  watch.view = views.new(stream, service, watch.load, watch.keys)
  watch.reader = client:shards(stream):records {
    from = "latest", batch = "columns", fields = FIELDS,
    on_error = function(err)
      watch.view:fail(tostring(err), os.time())
    end,
  }
  local err = watch:run()
  watch.reader:stop()
  if err then
    error(err, 0)
  end
  local out = watch.is_screen and io.stdout or io.stderr -- stdout is for programs when it is no terminal
  out:write(screen.totals(watch.reader:stats(), os.time() - started), "\n")
end
