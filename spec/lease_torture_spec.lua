-- Memory that runs out while a worker holds leases in a file: each allocation of the core fails in turn, once. Each
-- operation has one outcome, and the table is as the outcomes say.
-- Flavours: lua5.4 luajit asan-lua5.4
local fresh = require "support.fresh"
local stepping = require "support.stepping"
local torturing = require "support.torturing"

after_each(torturing.finish)

local folder

local function hold(options)
  options.owner, options.folder = options.owner or "a", folder
  local made = stepping.engine {}
  local leases = made:leases(options)
  local held = { engine = made, leases = leases, outcomes = {}, answers = {}, events = {}, sent = 0 }

  -- Takes the messages.
  function held.take()
    made:step()
    for _ = 1, 1000 do
      local event, a, b, c, d = leases:next()
      if not event then
        return
      elseif event == "done" and a > 0 then
        assert.is_nil(held.outcomes[a], "two outcomes")
        held.outcomes[a], held.answers[a] = b, c
      elseif event == "gone" then
        held.gone = true
      elseif event == "done" then
        held.events[#held.events + 1] = { b, c, d }
      else
        held.events[#held.events + 1] = { event, a, b }
      end
      leases:pass()
    end
    error "messages without end"
  end

  -- Does one operation; returns its outcome and answer.
  function held.act(op)
    held.sent = held.sent + 1
    op.number = held.sent
    leases:submit(op)
    held.take()
    for _ = 1, 20 do -- a write waits for a renewal that has failed
      if not held.outcomes[op.number] then
        made:run(1)
        held.take()
      end
    end
    if held.gone then -- the engine has no memory for the machine, which answers nothing
      return "failed", "out of memory"
    end
    return held.outcomes[op.number], held.answers[op.number]
  end

  return held
end

-- "done", or nil when the operation has failed for want of memory.
local function must(outcome, answer)
  if outcome == "failed" then
    assert.matches("memory", answer)
    return nil
  end
  assert.equal("done", outcome)
  return true
end

local function read_table()
  local file = io.open(folder .. "/counter.json", "rb")
  local text = file and file:read "*a" or '"leases":{}'
  if file then
    file:close()
  end
  return text
end

describe("memory that runs out while leases are held in a file", function()
  before_each(function()
    folder = fresh.folder {} .. "/leases"
  end)

  local function scenario()
    os.execute(("rm -rf '%s'"):format(folder))
    local held = hold { failover = 9 }
    local seen = { held = held }
    if not must(held.act { kind = "create", key = "s1", changes = '{"counter":0,"checkpoint":"5"}' })
      or not must(held.act { kind = "update", use = "take", key = "s1", counter = 0,
        changes = '{"owner":"a","counter":1}' }) then
      seen.early = true
      return seen
    end
    held.engine:run(7) -- renewals
    held.take()
    local outcome, answer = held.act { kind = "update", use = "write", key = "s1", changes = '{"checkpoint":"6"}' }
    seen.written = must(outcome, answer)
    seen.listed = must(held.act { kind = "list", key = "" })
    seen.probed = must(held.act { kind = "probe", key = "b" })
    held.engine:run(3)
    held.take()
    held.leases:close()
    held.engine:step()
    held.take()
    seen.text = read_table()
    held.engine:close()
    return seen
  end

  it("each operation has its outcome, renewals go on, and what is held is released or left to expire", function()
    torturing.fail_each(scenario, function(seen, failed)
      local held = seen.held
      for i = 1, held.sent do
        assert.is_true(held.gone or held.outcomes[i] ~= nil, "no outcome of operation " .. i)
      end
      assert.same({}, held.events) -- nothing is lost for want of memory
      if not seen.early then
        assert.is_truthy(seen.text:find(seen.written and '"checkpoint":"6"' or '"checkpoint":"[56]"'), seen.text)
        assert.is_true(tonumber(seen.text:match '"counter":(%d+)') >= 3, seen.text)
        assert.is_true(failed or not seen.text:find "owner", seen.text)
      end
      assert.is_true(failed or seen.written and seen.listed and seen.probed and not seen.early)
    end)
  end)
end)
