-- How far a shard is processed: decisions alone.
local tracker = require "kinesis.worker.tracker"

local function add(t, count)
  local entries = {}
  for i = 1, count do
    entries[i] = t:add(("%d"):format((tonumber(t.last_seq) or 100) + 1), i % 2 == 0 and i or 0)
  end
  return entries
end

describe("tracker", function()
  it("has its checkpoint behind the last record before which all are done", function()
    local t = tracker.new(true)
    local entries = add(t, 4)
    assert.is_nil(t.seq)
    t:done(entries[2])
    assert.is_nil(t.seq)
    t:done(entries[1])
    assert.same({ "102", 2 }, { t.seq, t.sub })
    t:done(entries[4])
    assert.equal(2, t:pending())
    t:done(entries[3])
    assert.equal("104", t.seq)
    assert.equal(0, t:pending())
  end)

  it("takes a record once, and takes the newest one back", function()
    local t = tracker.new(true)
    local entries = add(t, 3)
    t:done(entries[1])
    t:done(entries[1])
    assert.equal("101", t.seq)
    t:withdraw(entries[3])
    assert.equal(1, t:pending())
    t:withdraw(entries[1])
    t:done(entries[2])
    assert.equal("102", t.seq)
    assert.equal(0, t:pending())
  end)

  it("takes all up to a position, never backwards, and none that it has not handed over", function()
    for _, ack in ipairs { true, false } do
      local t = tracker.new(ack)
      local entries = add(t, 5)
      if ack then
        t:done(entries[5])
      end
      assert.is_true(t:done_until("103", 0))
      assert.equal("103", t.seq)
      assert.is_true(t:done_until("102", 2))
      assert.equal("103", t.seq)
      assert.is_false(t:done_until("106", 0))
      assert.is_true(t:done_until("104"))
      assert.equal(ack and "105" or "104", t.seq)
    end
  end)

  it("finds what is in flight, and keeps nothing that is behind the checkpoint", function()
    local t = tracker.new(true)
    for _ = 1, 100 do
      local entries = add(t, 10)
      assert.equal(entries[7], t:find(entries[7].seq, entries[7].sub))
      for _, entry in ipairs(entries) do
        t:done(entry)
      end
      assert.is_nil(t:find(entries[7].seq, entries[7].sub))
    end
    assert.is_nil(next(t.in_flight))
  end)
end)
