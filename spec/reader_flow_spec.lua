-- Pausing, resuming and moving a reader, against real services.
local cjson = require "cjson"
local core = require "kinesis.core"
local faults = require "support.faults"
local flowing = require "support.flowing"
local fresh = require "support.fresh"
local interrupt = require "support.interrupt"
local kinesis = require "kinesis"

local service = fresh.services[2]
local client

setup(function()
  client = fresh.client(service)
end)

teardown(function()
  client:close()
end)

-- A stream of `shards` shards, each with `count` records of `size` bytes; the data begin with their numbers.
local function filled(shards, count, size)
  local stream = fresh.stream(client, shards, "flow")
  local list = {}
  for _, shard in ipairs(client:shards(stream)) do
    for i = 1, count do
      list[#list + 1] = { data = ("%d %s"):format(i, ("x"):rep(size)), partition_key = "key",
        explicit_hash_key = shard.starting_hash_key }
    end
  end
  assert.equal(0, select(2, client:put_many(stream, list)))
  return stream, client:shards(stream)
end

-- Reads `count` records; each must be the next of its shard. `seen`: shard id -> the number of the last one.
local function read(reader, count, seen)
  for _ = 1, count do
    local record = reader()
    local last = seen[record.shard_id] or 0
    assert.equal(last + 1, tonumber(record.data:match "^%d+"), record.shard_id)
    seen[record.shard_id] = last + 1
  end
end

describe("a reader with one shard paused", function()
  it("reads the others far beyond its window, and nothing is lost or comes twice", function()
    local stream, shards = filled(4, 150, 10000)
    local reader = client:shards(stream):records { window = 1048576, poll_interval = 0.2 }
    local seen, id = {}, shards[2].id
    read(reader, 20, seen)
    reader:pause(id)
    local before = seen[id] or 0
    read(reader, 450 - (20 - before), seen) -- 4.4 MB
    assert.equal(before, seen[id] or 0)
    local position = reader:position()
    reader:resume(id)
    read(reader, 150 - before, seen)
    reader:close()
    assert.equal(150 - before, #fresh.read(client, stream, { from = position }))
  end)

  it("raises in a plain script once the others have ended, and goes on after resume", function()
    local stream, shards = filled(2, 3, 1)
    local seen = {}
    local reader = client:shards(stream):records { stop_at_tip = true, poll_interval = 0.2 }
    reader:pause(shards[1].id)
    read(reader, 3, seen)
    local good, err = pcall(function() reader() end)
    assert.is_false(good)
    assert.matches("^[^\n]*reader_flow_spec.lua:%d+: next: reading is paused, and nothing else runs here that could "
      .. "resume it; call reader:resume%(%) first, or read in a function of kinesis.run beside the one that resumes "
      .. "it$", err)
    reader:resume(shards[1].id)
    read(reader, 3, seen)
    assert.is_nil(reader())
  end)
end)

describe("a reader that is paused", function()
  it("hands over nothing, keeps what it has fetched, and its idle time does not run", function()
    local stream = filled(2, 5, 1)
    local reader = client:shards(stream):records { poll_interval = 0.2, idle_timeout = 1 }
    local seen, woken = {}, nil
    kinesis.run(function()
      read(reader, 4, seen)
      kinesis.sleep(0.3)
      reader:pause()
      kinesis.sleep(1.5)
      woken = core.now()
      reader:resume()
    end, function()
      kinesis.sleep(0.5)
      read(reader, 6, seen)
      assert.is_true(woken and core.now() >= woken)
      assert.is_nil(reader())
      assert.is_true(core.now() - woken >= 1)
    end)
  end)

  it("raises in the last function of kinesis.run, whoever that is", function()
    local stream = filled(1, 1, 1)
    local reader, other = client:shards(stream):records(), client:shards(stream):records()
    reader:pause()
    other:pause()
    local done = {}
    local good, err = pcall(kinesis.run, function()
      reader()
    end, function()
      other()
    end, function()
      kinesis.sleep(0.3)
      done[1] = true
    end)
    assert.is_false(good)
    assert.matches("reading is paused", err, 1, true)
    assert.is_true(done[1])
    reader:resume()
    assert.matches("^1 ", reader().data)
  end)

  it("raises also where it was paused while `next` waited", function()
    local stream = fresh.stream(client, 1, "waits")
    local reader = client:shards(stream):records()
    local good, err = pcall(kinesis.run, function()
      reader()
    end, function()
      kinesis.sleep(0.3)
      reader:pause()
    end)
    assert.is_false(good)
    assert.matches("reading is paused", err, 1, true)
    reader:close()
  end)

  it("returns nil when it is stopped", function()
    local stream = fresh.stream(client, 1, "stopped")
    local reader = client:shards(stream):records()
    local got = "nothing"
    kinesis.run(function()
      reader:pause()
      got = reader()
    end, function()
      kinesis.sleep(0.2)
      reader:stop()
    end)
    assert.is_nil(got)
  end)

  for _, ending in ipairs { "stop", "close" } do
    it(("ends a call that waits in another coroutine: by %s"):format(ending), function()
      local stream = fresh.stream(client, 1, "ended")
      for _, call in ipairs { "next", "pause" } do
        local reader, got = client:shards(stream):records(), {}
        interrupt.within(10, function()
          kinesis.run(function()
            if call == "next" then
              got = { pcall(reader.next, reader) }
            else
              got = { pcall(function()
                for _ = 1, 200 do -- so many commands are not on their way at once
                  reader:pause()
                end
              end) }
            end
          end, function()
            reader[ending](reader)
          end)
        end)
        if call == "next" then
          assert.same({ true }, got)
        else
          assert.matches("pause: this reader has ended", got[2], 1, true)
        end
      end
    end)
  end

  it("reads only the shard that is resumed alone", function()
    local stream, shards = filled(3, 10, 1)
    local reader = client:shards(stream):records { poll_interval = 0.2 }
    local seen = {}
    read(reader, 7, seen)
    reader:pause()
    reader:resume(shards[3].id)
    local left = 10 - (seen[shards[3].id] or 0)
    read(reader, left, seen)
    assert.equal(10, seen[shards[3].id])
    assert.equal(7 + left, (seen[shards[1].id] or 0) + (seen[shards[2].id] or 0) + 10)
    reader:resume()
    read(reader, 23 - left, seen)
    reader:close()
  end)

  it("says so in stats()", function()
    local stream, shards = filled(2, 5, 1)
    local reader = client:shards(stream):records { poll_interval = 0.2 }
    read(reader, 10, {})
    local function states()
      local stats = reader:stats().shards
      return stats[shards[1].id].state .. " " .. stats[shards[2].id].state
    end
    reader:pause(shards[1].id)
    fresh.eventually(function() return states():find "^paused [rs]" end)
    reader:pause()
    assert.equal("paused paused", states())
    reader:resume()
    fresh.eventually(function() return states():find "^[rs][^ ]* [rs]" end)
    reader:close()
  end)

  it("is woken by a signal handler", function()
    if not pcall(require, "posix.signal") then
      pending "lua-posix is not there for this Lua"
    end
    local stream = filled(1, 1, 1)
    local child = fresh.lua([[
      local signal, kinesis = require "posix.signal", require "kinesis"
      local reader = kinesis.client { endpoint = arg[1], region = "us-east-1",
        credentials = { access_key_id = "A", secret_access_key = "s" } }:shards(arg[2]):records()
      local over
      signal.signal(signal.SIGUSR1, function() reader:resume() end)
      reader:pause()
      io.write(require("posix.unistd").getpid(), "\n")
      io.flush()
      kinesis.run(function()
        print(reader().data)
        over = true
      end, function()
        while not over do kinesis.sleep(0.05) end
      end)
    ]], nil, service.endpoint, stream)
    os.execute("kill -USR1 " .. child:line())
    assert.equal("1 x\n", (child:wait()))
  end)
end)

-- luacheck: push no max line length
describe("reader:seek", function()
  it("goes back, forward, to a time, and into an aggregate", function()
    local stream = fresh.stream(client, 1, "seek")
    flowing.fill(client, stream, 2, "old")
    kinesis.sleep(1.1)
    local time = os.time()
    kinesis.sleep(1.1)
    flowing.fill(client, stream, 1, "new")
    local all = fresh.read(client, stream)
    assert.equal(18, #all)
    local reader = client:shards(stream):records { poll_interval = 0.2 }
    local id = all[1].shard_id
    local function expect(index)
      local record = reader()
      assert.same({ all[index].sequence_number, all[index].sub_sequence_number },
        { record.sequence_number, record.sub_sequence_number })
    end
    expect(1)
    expect(2)
    for place, index in pairs {
      [{ after = all[2].sequence_number, sub = 2 }] = 5, [{ timestamp = time }] = 13, [{ at = all[8].sequence_number }] = 8,
      [{ after = all[3].sequence_number }] = 7, trim_horizon = 1,
    } do
      local moved = index == 5 and reader:seek { shards = { [id] = place } } or reader:seek(place, id)
      assert.is_true(moved)
      assert.same(place, reader:position().shards[id])
      expect(index)
      expect(index + 1)
    end
    reader:seek { timestamp = time }
    expect(13)
    reader:seek "-1h"
    expect(1)
    assert.is_number(reader:position().shards[id].sub or 0)
    reader:seek "trim_horizon"
    expect(1)
    reader:seek { at = all[8].sequence_number } -- it reads one shard
    expect(8)
    reader:close()
  end)

  it("to the newest has its iterators when it returns", function()
    local stream = filled(4, 3, 1)
    local reader = client:shards(stream):records { poll_interval = 0.2 }
    assert(reader())
    for round = 1, 3 do
      assert.is_true(reader:seek "latest")
      local position = reader:position()
      for _, place in pairs(position.shards) do
        assert.is_number(place.timestamp)
      end
      for i = 1, 8 do
        assert(client:put(stream, ("%d %d"):format(round, i), "key " .. i))
      end
      local got = {}
      for i = 1, 8 do
        got[i] = reader().data
      end
      table.sort(got)
      assert.equal(("%d 1,%d 8"):format(round, round), got[1] .. "," .. got[8])
    end
    reader:close()
  end)

  it("keeps the pause of a shard, and reads from there when it is resumed", function()
    local stream, shards = filled(2, 5, 1)
    local reader = client:shards(stream):records { poll_interval = 0.2 }
    local seen = {}
    reader:pause(shards[1].id)
    read(reader, 5, seen)
    reader:seek "trim_horizon"
    seen[shards[2].id] = 0
    read(reader, 5, seen)
    assert.is_nil(seen[shards[1].id])
    reader:resume(shards[1].id)
    read(reader, 5, seen)
    reader:close()
  end)

  it("refuses wrong positions and shards at the caller's line, and goes on", function()
    local stream = filled(2, 2, 1)
    local reader = client:shards(stream):records { poll_interval = 0.2 }
    for said, f in pairs {
      ["seek: the position is missing; known forms: "] = function() reader:seek() end,
      ["seek: the position is the unknown 'trim-horizon' (did you mean 'trim_horizon'?); known forms: "] = function() reader:seek "trim-horizon" end,
      ["seek: the position in shards['x'] is a boolean; known forms: "] = function() reader:seek { shards = { x = true } } end,
      ["seek: this reader does not read the shard 'shardId-000000000009'"] = function() reader:seek { shards = { ["shardId-000000000009"] = "latest" } } end,
      ["seek: the position is a position in the stream 'other', but the stream to read is "] = function() reader:seek { shards = {}, stream = "other" } end,
      ["seek: the position names a record of one shard, but there are 2; use {shards={[id]=…}}"] = function() reader:seek { after = "1" } end,
      ["seek: this reader does not read the shard 'x'"] = function() reader:seek("latest", "x") end,
      ["seek: the position names its shards; leave the shard id out"] = function() reader:seek({ shards = {} }, "shardId-000000000000") end,
      ["pause: this reader does not read the shard 'x'"] = function() reader:pause "x" end,
      ["resume: this reader does not read the shard 'x'"] = function() reader:resume "x" end,
      ["pause: a shard is named by its id, a string, got a number"] = function() reader:pause(1) end,
      ["pause: call it with a colon, reader:pause(…)"] = function() reader.pause() end,
      ["seek: call it with a colon, reader:seek(…)"] = function() reader.seek "latest" end,
    } do
      assert.equal(said, fresh.complaint(f):sub(1, #said))
    end
    -- shards that were read to their end and are not there any more are in order
    assert.is_true(reader:seek { shards = { ["shardId-000000000009"] = "shard_end" }, default = "latest" })
    read(reader, 4, {})
    reader:close()
    for said, f in pairs {
      ["seek: this reader has ended; open another one, with from = reader:position() where it was"] = function() reader:seek "latest" end,
      ["pause: this reader has ended"] = function() reader:pause() end,
      ["resume: this reader has ended"] = function() reader:resume() end,
    } do
      assert.equal(said, fresh.complaint(f):sub(1, #said))
    end
  end)
end)

-- luacheck: pop

-- kinesalite never answers a call for a time behind the last record, so that it shows no "latest" of a paused shard.
for name, ways in pairs { kinesalite = { "records", "columns" }, ["kinesis-local"] = { "values", "lists" } } do
  local count = name == "kinesalite" and 200 or 60 -- operations
  describe("a reader of " .. name .. " that is paused, resumed and moved at random", function()
    local other, stream, shards, at

    setup(function()
      other = fresh.client(fresh.services[name == "kinesalite" and 2 or 1])
      stream = fresh.stream(other, 6, "random")
      flowing.fill(other, stream, 5, "old")
      kinesis.sleep(1.1)
      at = { time = os.time(), count = 30, has_latest = name ~= "kinesalite" }
      kinesis.sleep(1.1)
      shards = flowing.fill(other, stream, 5, "new")
      kinesis.sleep(2) -- "latest" is a second earlier
    end)

    teardown(function()
      other:close()
    end)

    for _, way in ipairs(ways) do
      it("returns what it must, and knows where it is: " .. way, function()
        local seed = tonumber(os.getenv "SPEC_SEED") or math.floor(core.now() * 1e6) % 1e9
        flowing.model(other, stream, shards, at):run(way, seed, os.getenv "SPEC_FULL" and 2000 or count)
      end)
    end
  end)
end

describe("a reader whose records begin at different places", function()
  it("has all its iterators, though one of them is late and others have records", function()
    local scope = faults.open({ GetShardIterator = { {}, { code = "ProvisionedThroughputExceededException" },
      { code = "ProvisionedThroughputExceededException" } } }, { service = "kinesalite" })
    local stream, there = filled(3, 2, 1)
    local late = scope:client()
    local reader = late:shards(stream):records { poll_interval = 0.2,
      from = { shards = { [there[1].id] = "trim_horizon", [there[2].id] = "trim_horizon" }, default = "latest" } }
    read(reader, 4, {})
    late:close()
  end)
end)

for _, each in ipairs(fresh.services) do
  describe("a reshard in a reader of " .. each.name, function()
    it("is read again, parents before children, when all are moved back", function()
      local other = fresh.client(each)
      local stream = fresh.stream(other, 1, "again")
      fresh.put_numbers(other, stream, 1, 20)
      assert(other:call("SplitShard", { StreamName = stream, ShardToSplit = "shardId-000000000000",
        NewStartingHashKey = "170141183460469231731687303715884105728" }))
      fresh.active(other, stream)
      fresh.put_numbers(other, stream, 21, 40)
      local told = {}
      local reader = other:shards(stream):records { poll_interval = 0.2, idle_timeout = 20,
        on_shard_start = function(id) told[#told + 1] = "start " .. id:sub(-1) end,
        on_shard_end = function(id) told[#told + 1] = "end " .. id:sub(-1) end }
      for round = 1, 2 do
        local parents, seen = 0, {}
        for _ = 1, 40 do
          local record = reader()
          local number = tonumber(record.data)
          assert.is_nil(seen[number])
          seen[number] = true
          parents = parents + (record.shard_id == "shardId-000000000000" and 1 or 0)
          assert.is_true(number <= 20 or parents == 20)
        end
        if round == 1 then
          assert.matches("2 shards$", tostring(reader))
          local places = {}
          for id in pairs(reader:position().shards) do
            places[id] = "trim_horizon"
          end
          reader:seek(cjson.decode(cjson.encode { shards = places }))
          assert.matches("3 shards$", tostring(reader))
        end
      end
      -- the parent alone: its children stay where they are
      reader:seek { shards = { ["shardId-000000000000"] = "trim_horizon" } }
      for i = 1, 20 do
        assert.equal(i, tonumber(reader().data))
      end
      assert.equal(3, select(2, table.concat(told, ","):gsub("start 0", ""))) -- each time
      assert.equal(2, select(2, table.concat(told, ","):gsub("end 0", "")))
      assert.equal(1, select(2, table.concat(told, ","):gsub("start 1", ""))) -- it never ended
      local position = reader:position().shards
      assert.is_string(position["shardId-000000000001"].after)
      reader:close()
      other:close()
    end)
  end)
end
