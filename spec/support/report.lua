-- A busted output handler: prints each failure in full at once. For run.sh and worker.sh it writes, in the folder
-- REPORT: counts (passed failed skipped), running (the current test), skipped (one line for each test, with its
-- reason), slow (the slowest tests, one line each).
local busted = require "busted"
local pretty = require "pl.pretty"
require "kinesis"
require("support.secrets").watch()

local function write_file(name, text)
  local file = assert(io.open(os.getenv "REPORT" .. "/" .. name, "w"))
  file:write(text)
  file:close()
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
  local passed, failed, skipped = 0, 0, {}
  local durations, reason = {}, nil -- why the current test is skipped

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
    write_file("counts", ("%d %d %d\n"):format(passed, failed, #skipped))
    write_file("skipped", table.concat(skipped))
  end

  function handler.fileStart(element)
    write_file("running", tostring(element.name))
    return nil, true
  end

  function handler.testStart(element)
    write_file("running", handler.getFullName(element))
    return nil, true
  end

  function handler.testEnd(element, _, status)
    if status == "success" then
      passed = passed + 1
    elseif status == "pending" then
      skipped[#skipped + 1] = ("%s: %s\n"):format(handler.getFullName(element), reason or "pending")
      reason = nil
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

  function handler.pending(_, _, message)
    reason = text_of(message):gsub("^[^ ]+:%d+: ", ""):gsub("\n", " ")
    return nil, true
  end

  -- errors inside a test are counted at its end, all others here
  function handler.error(element, _, message, debug)
    if element.descriptor ~= "it" then
      failed = failed + 1
      counts()
    end
    complain("ERROR", element, message, debug)
    return nil, true
  end

  function handler.suiteEnd()
    write_file("running", "")
    counts()
    table.sort(durations, function(a, b) return a[1] > b[1] end)
    local slow = {}
    for i = 1, math.min(5, #durations) do
      if durations[i][1] >= 1 then
        slow[#slow + 1] = ("%5.1f s  %s  %s\n"):format(durations[i][1], os.getenv "FLAVOUR", durations[i][2])
      end
    end
    write_file("slow", table.concat(slow))
    return nil, true
  end

  function handler.subscribe(self, given)
    require "busted.languages.en"
    self.options = given
    busted.subscribe({ "file", "start" }, self.fileStart)
    busted.subscribe({ "test", "start" }, self.testStart)
    busted.subscribe({ "test", "end" }, self.testEnd)
    busted.subscribe({ "failure" }, self.failure)
    busted.subscribe({ "error" }, self.error)
    busted.subscribe({ "pending" }, self.pending)
    busted.subscribe({ "suite", "end" }, self.suiteEnd)
  end

  return handler
end
