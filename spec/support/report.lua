-- busted's output for this project: a line a spec file (count, seconds), each
-- failure and skipped test in full where it happens, the slowest tests at the end. run.sh reads
-- the counts from the file REPORT_COUNTS, and from REPORT_RUNNING the test
-- that was running when the interpreter died.
local busted = require "busted"
local pretty = require "pl.pretty"
require "kinesis"
require("support.secrets").watch()

local function write_file(name, text)
  local path = os.getenv(name)
  local file = path and io.open(path, "w")
  if file then
    file:write(text)
    file:close()
  end
end

local function text_of(message)
  if type(message) == "string" then
    return message
  end
  local meta = getmetatable(message)
  if meta and meta.__tostring then
    return tostring(message)
  end
  return message == nil and "nil" or pretty.write(message)
end

return function(options)
  local handler = require "busted.outputHandlers.base"()
  local passed, failed, skipped, in_file, started = 0, 0, 0, 0, {}
  local durations = {}

  local function complain(word, element, message, debug)
    local trace = element.trace or debug or {}
    local where = trace.short_src and ("%s:%s: "):format(trace.short_src, trace.currentline) or ""
    io.write(("\n%s  %s%s\n"):format(word, where, handler.getFullName(element)))
    io.write((text_of(message):gsub("\n+$", ""):gsub("[^\n]+", "      %0")), "\n")
    if options.verbose and debug and debug.traceback then
      io.write((debug.traceback:gsub("[^\n]+", "      %0")), "\n")
    end
    io.write("\n")
    io.flush()
  end

  local function counts()
    write_file("REPORT_COUNTS", ("%d %d %d\n"):format(passed, failed, skipped))
  end

  function handler.fileStart(element)
    in_file = 0
    started.file = busted.gettime and busted.gettime() or os.clock()
    write_file("REPORT_RUNNING", tostring(element.name))
    return nil, true
  end

  function handler.fileEnd(element)
    local now = busted.gettime and busted.gettime() or os.clock()
    if in_file > 0 then
      io.write(("  %-44s %4d  %6.2f s\n"):format(element.name, in_file, now - started.file))
      io.flush()
    end
    return nil, true
  end

  function handler.testStart(element)
    write_file("REPORT_RUNNING", handler.getFullName(element))
    return nil, true
  end

  function handler.testEnd(element, _, status)
    in_file = in_file + 1
    if status == "success" then
      passed = passed + 1
    elseif status == "pending" then
      skipped = skipped + 1
    else
      failed = failed + 1
    end
    durations[#durations + 1] = { element.duration or 0, handler.getFullName(element) }
    counts()
    return nil, true
  end

  function handler.failure(element, _, message, debug)
    complain("FAILED", element, message, debug)
    return nil, true
  end

  function handler.pending(element, _, message)
    local reason = text_of(message):gsub("^[^\n]-:%d+: ", "")
    io.write(("  skipped: %s (%s)\n"):format(handler.getFullName(element), reason))
    io.flush()
    return nil, true
  end

  -- An error inside a test is counted at the test's end, any other one here.
  function handler.error(element, _, message, debug)
    if element.descriptor ~= "it" then
      failed = failed + 1
      counts()
    end
    complain("ERROR", element, message, debug)
    return nil, true
  end

  function handler.suiteEnd()
    write_file("REPORT_RUNNING", "")
    counts()
    table.sort(durations, function(a, b) return a[1] > b[1] end)
    for i = 1, math.min(5, #durations) do
      if durations[i][1] >= 1 then
        io.write(("  slow: %5.1f s  %s\n"):format(durations[i][1], durations[i][2]))
      end
    end
    io.flush()
    return nil, true
  end

  function handler.subscribe(self, given)
    require "busted.languages.en"
    self.options = given
    busted.subscribe({ "file", "start" }, self.fileStart)
    busted.subscribe({ "file", "end" }, self.fileEnd)
    busted.subscribe({ "test", "start" }, self.testStart)
    busted.subscribe({ "test", "end" }, self.testEnd)
    busted.subscribe({ "failure" }, self.failure)
    busted.subscribe({ "error" }, self.error)
    busted.subscribe({ "pending" }, self.pending)
    busted.subscribe({ "suite", "end" }, self.suiteEnd)
  end

  return handler
end
