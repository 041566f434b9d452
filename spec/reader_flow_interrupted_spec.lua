-- Whatever is cut off by an error thrown into Lua while a reader is paused, resumed or moved: what comes next is what
-- its position says, which is the one before or the one after. SPEC_FULL=1 breaks each call at every instruction.
-- Flavours: *lua5.4 *luajit
local flowing = require "support.flowing"
local fresh = require "support.fresh"
local interrupt = require "support.interrupt"

describe("a reader whose pause, resume or seek an error cuts off", function()
  local client, stream, all, id

  setup(function()
    client = fresh.client(fresh.services[2], { event_loop = "none" })
    stream = fresh.stream(client, 1, "cut")
    flowing.fill(client, stream, 2, "x") -- plain, an aggregate of five, and both once more
    all = fresh.read(client, stream)
    id = all[1].shard_id
    assert.equal(12, #all)
  end)

  teardown(function()
    client:close()
  end)

  local function index_of(place)
    if place == "trim_horizon" then
      return 0
    end
    local index
    for i, record in ipairs(all) do
      if record.sequence_number == place.after and (not place.sub or record.sub_sequence_number == place.sub) then
        index = i
      end
    end
    return index
  end

  local function target()
    return { shards = { [id] = { after = all[3].sequence_number, sub = 1 } } } -- behind the third
  end

  local calls = {
    ["pause and resume"] = function(reader)
      reader:pause(id)
      reader:resume(id)
    end,
    ["pause and resume of all"] = function(reader)
      reader:pause()
      reader:resume()
    end,
    ["the resume of one of all"] = function(reader)
      reader:pause()
      reader:resume(id)
    end,
    seek = function(reader)
      reader:seek(target())
    end,
  }

  for way, kind in pairs(flowing.ways) do
    it("goes on where its position says: " .. way, function()
      local reads = (way == "records" or way == "values") and 4 or 1 -- calls of next; then it is inside an aggregate
      local function make()
        local options = { poll_interval = 0.2 }
        for name, value in pairs(kind.options) do
          options[name] = value
        end
        local reader = client:shards(stream):records(options)
        local read = 0
        for _ = 1, reads do
          read = read + #kind.list(reader:next())
        end
        return reader, read
      end

      for what, call in pairs(calls) do
        local reader, read = make()
        local total = interrupt.count(function() call(reader) end)
        reader:close()
        for n in interrupt.places(total, 6) do
          local where
          reader = make()
          interrupt.at(n, function() call(reader) end, false, function(traceback) where = traceback end)
          local text = ("%s, broken at instruction %d of %d: %s"):format(what, n, total, tostring(where))
          local index = index_of(reader:position().shards[id])
          assert(index == read or what == "seek" and index == 3, text)
          reader:resume()
          assert.equal(index, index_of(reader:position().shards[id]), text)
          interrupt.within(5, function()
            while index < #all do
              for _, got in ipairs(kind.list(reader:next())) do
                index = index + 1
                assert.same({ all[index].sequence_number, all[index].sub_sequence_number }, { got[2], got[3] }, text)
              end
            end
          end)
          reader:seek(target())
          assert.equal(3, index_of(reader:position().shards[id]), text)
          reader:close()
        end
      end
    end)
  end

  it("that was cut off with a record in hand returns it after the pause", function()
    local total = interrupt.count(function()
      local reader = client:shards(stream):records { poll_interval = 0.2 }
      for _ = 1, 4 do
        reader:next()
      end
      reader:close()
    end)
    for n in interrupt.places(total, 30) do
      local reader, seen, where = client:shards(stream):records { poll_interval = 0.2 }, 0, nil
      interrupt.at(n, function()
        for _ = 1, 4 do
          local got = reader:next()
          seen = got and seen + 1
        end
      end, false, function(traceback) where = traceback end)
      local index = index_of(reader:position().shards[id])
      -- the error may come when `next` has returned, and the record is not counted yet
      assert(index == seen or index == seen + 1, where)
      reader:pause(id)
      assert.equal(index, index_of(reader:position().shards[id]))
      reader:resume(id)
      assert.equal(all[index + 1].data, reader:next().data)
      reader:close()
    end
  end)
end)
