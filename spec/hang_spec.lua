-- Nobody waits for a service that hangs, nor for names that nobody resolves, when a client is closed or a process ends.
local core = require "kinesis.core"
local faults = require "support.faults"
local fresh = require "support.fresh"
local namespaces = require "support.namespaces"

local sanitized = os.getenv("BUILD_FLAVOUR"):find("^[at]san") ~= nil

-- Puts once, and when the file arg[2] is there, ends as arg[3] says. Tells how long close() took, and when it left.
local CHILD = [=[
local core, kinesis = require "kinesis.core", require "kinesis"
local client = kinesis.client { endpoint = arg[1], region = "us-east-1", connect_timeout = 3, request_timeout = 3,
  credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } }
local function left(closing)
  io.stdout:write(("%.6f %.6f\n"):format(closing or 0, core.now()))
  io.stdout:flush()
end
local ends = {
  close = function()
    local began = core.now()
    client:close()
    left(core.now() - began)
  end,
  ["os.exit"] = function() left() os.exit(5) end,
  ["os.exit that closes the state"] = function() left() os.exit(5, true) end,
  ["an error"] = function() left() error "the end" end,
}
kinesis.run(function()
  local _, err = client:put("stream", "data")
  io.stdout:write("put: ", err.code, "\n")
end, function()
  local file
  repeat
    kinesis.sleep(0.005)
    file = io.open(arg[2])
  until file
  file:close()
  ends[arg[3]]()
end)
]=]

local STATUS = { close = 0, ["os.exit"] = 5, ["os.exit that closes the state"] = 5, ["an error"] = 1 }

-- The tenth of a second that an end may take, thrice: what else the machine does is not ours.
local function expect_quick(how, start)
  local closing, leaving = math.huge, math.huge
  for _ = 1, 3 do
    local child = start()
    local output, status = child:wait()
    local now = core.now()
    local took, at = output:match "^([%d.]+) ([%d.]+)\n"
    assert.truthy(took, output)
    assert.equal(STATUS[how], status, output)
    assert.equal(how == "close", output:find("put: Closed", 1, true) ~= nil, output)
    closing, leaving = math.min(closing, tonumber(took)), math.min(leaving, now - tonumber(at))
  end
  assert.is_true(closing < 0.1, closing)
  assert.is_true(leaving < (sanitized and 3 or 0.1), leaving) -- the leak check takes its time
end

for how in pairs(STATUS) do
  describe("an end by " .. how, function()
    local mark

    before_each(function()
      mark = os.tmpname()
      os.remove(mark)
    end)

    after_each(function()
      os.remove(mark)
    end)

    it("does not wait for a server that hangs", function()
      expect_quick(how, function()
        os.remove(mark)
        local scope = faults.open { PutRecord = { { stall = 3, always = true } } }
        local child = fresh.lua(CHILD, nil, scope.url, mark, how)
        fresh.eventually(function()
          return #scope:seen "PutRecord" > 0
        end)
        assert(io.open(mark, "w")):close()
        return child
      end)
    end)

    it("does not wait for a name that nobody resolves", function()
      namespaces.need(pending)
      local script = os.tmpname()
      local file = assert(io.open(script, "w"))
      file:write(CHILD)
      file:close()
      expect_quick(how, function()
        os.remove(mark)
        local command = [[exec unshare -rmn "$PYTHON" "$ROOT/spec/support/silent_dns.py" "$MARK" ]]
          .. [[sh -c "exec $LUA $SCRIPT http://kinesis.example $MARK '$HOW'"]]
        return fresh.spawn(command, { SCRIPT = script, MARK = mark, HOW = how })
      end)
      os.remove(script)
    end)
  end)
end
