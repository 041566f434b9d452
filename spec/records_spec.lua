-- Reading records, against both services: where reading starts and ends, and how it is continued.
local fresh = require "support.fresh"
local cjson = require("cjson").new()
local core = require "kinesis.core"

local function fill(client, stream, count, first)
  local entries = {}
  for i = first or 1, (first or 1) + count - 1 do
    entries[#entries + 1] = { data = tostring(i), partition_key = "key " .. i }
  end
  local results, failed = client:put_many(stream, entries)
  assert.equal(0, failed)
  return results
end

-- What was read, as a list of numbers in order; every one must be there once.
local function expect_numbers(first, last, ...)
  local seen, count = {}, 0
  for _, list in ipairs { ... } do
    for _, record in ipairs(list) do
      local number = tonumber(record.data)
      assert.is_nil(seen[number], ("%s came twice"):format(record.data))
      seen[number] = true
      count = count + 1
    end
  end
  for i = first, last do
    assert.is_true(seen[i], ("%d is missing"):format(i))
  end
  assert.equal(last - first + 1, count)
end

local function copy(reader, most)
  local list = {}
  while not most or #list < most do
    local record = reader()
    if not record then
      break
    end
    list[#list + 1] = record
  end
  return list
end

for _, service in ipairs(fresh.services) do
  describe("records of " .. service.name, function()
    local client, stream, results -- four shards, the numbers 1 to 200

    setup(function()
      client = fresh.client(service)
      stream = fresh.stream(client, 4, "records")
      results = fill(client, stream, 200)
    end)

    teardown(function()
      client:close()
    end)

    it("come from a list of shards", function()
      local shards = client:shards(stream)
      assert.equal(4, #shards)
      local next_hash = "0"
      for i, shard in ipairs(shards) do
        assert.equal(("shardId-%012d"):format(i - 1), shard.id)
        assert.equal(next_hash, shard.starting_hash_key)
        assert.matches("^%d+$", shard.ending_hash_key)
        next_hash = shard.ending_hash_key:gsub("(%d)(9*)$", function(digit, nines)
          return tostring(digit + 1) .. ("0"):rep(#nines)
        end)
        assert.is_false(shard.closed)
        assert.is_nil(shard.parent_id)
        assert.is_nil(shard.adjacent_parent_id)
        local fields = {}
        for name in pairs(shard) do
          fields[#fields + 1] = name
        end
        table.sort(fields)
        assert.same({ "closed", "ending_hash_key", "id", "starting_hash_key" }, fields)
        assert.matches(shard.id, tostring(shard), 1, true)
        assert.matches(shard.ending_hash_key, tostring(shard), 1, true)
      end
      assert.equal("340282366920938463463374607431768211455", shards[4].ending_hash_key)
      assert.matches("shardId-000000000003", tostring(shards), 1, true)
      assert.equal(4, #cjson.decode(cjson.encode(shards)))
    end)

    it("have raw fields, and nothing else that pairs or cjson would see", function()
      local before = os.time()
      local name = fresh.stream(client, 1, "fields")
      local put = assert(client:put(name, "some data", "some key"))
      local record = fresh.read(client, name)[1]
      local fields = {}
      for field, value in pairs(record) do
        fields[field] = value
      end
      assert.is_true(math.abs(fields.arrival_timestamp - before) < 60)
      fields.arrival_timestamp = nil
      assert.same({
        data = "some data",
        partition_key = "some key",
        sequence_number = put.sequence_number,
        shard_id = "shardId-000000000000",
      }, fields)
      local decoded = cjson.decode(cjson.encode(record))
      assert.equal("some key", decoded.partition_key)
      assert.equal(record.arrival_timestamp, decoded.arrival_timestamp)
      assert.is_nil(rawget(record, "__index"))
      for _, part in ipairs { "some data", "some key", put.sequence_number, "shardId-000000000000" } do
        assert.matches(part, tostring(record), 1, true)
      end
      assert.matches(put.sequence_number, tostring(put), 1, true)
      assert.is_nil(tostring(record):find "\n")
    end)

    it("print on one line, whatever is in them", function()
      local name = fresh.stream(client, 1, "print")
      client:put(name, fresh.bytes .. "\27[2J", "a\n\27b")
      local line = tostring(fresh.read(client, name)[1])
      assert.is_nil(line:find "[%z\1-\31\127-\255]" and line:gsub("…", ""):find "[%z\1-\31\127-\255]")
      assert.matches("260 bytes", line, 1, true)
      assert.is_true(#line < 1000)
    end)

    it("are read from the trim horizon on, once each, in order inside a shard", function()
      for _, from in ipairs { false, "trim_horizon" } do
        local last = {}
        local records = fresh.read(client, stream, { from = from or nil })
        expect_numbers(1, 200, records)
        for _, record in ipairs(records) do
          assert.is_true((last[record.shard_id] or "") < record.sequence_number)
          last[record.shard_id] = record.sequence_number
        end
      end
    end)

    it("are read from latest on: what is put after records() is seen, what was before is not", function()
      local reader = client:shards(stream):records { from = "latest", idle_timeout = 20 }
      fill(client, stream, 20, 1001)
      expect_numbers(1001, 1020, copy(reader, 20))
      reader:close()
      assert.is_nil(reader())
    end)

    it("are read from a time on", function()
      local name = fresh.stream(client, 2, "time")
      fill(client, name, 10)
      -- a whole second between the two: kinesalite compares whole seconds
      local horizon = 0
      for _, record in ipairs(fresh.read(client, name)) do
        horizon = math.max(horizon, record.arrival_timestamp)
      end
      fresh.eventually(function() return core.now and os.time() > horizon + 1 end)
      fill(client, name, 10, 11)
      local first = math.huge
      for _, record in ipairs(fresh.read(client, name)) do
        if tonumber(record.data) > 10 then
          first = math.min(first, record.arrival_timestamp)
        end
      end
      expect_numbers(11, 20, fresh.read(client, name, { from = { timestamp = horizon + 0.5 } }))
      expect_numbers(11, 20, fresh.read(client, name, { from = { timestamp = first } }))
      expect_numbers(1, 20, fresh.read(client, name, { from = { timestamp = 0 } }))
      expect_numbers(1, 20, fresh.read(client, name, { from = { timestamp = horizon - 3600 } }))
    end)

    it("are read at and after a sequence number, of one shard", function()
      local name = fresh.stream(client, 1, "sequence")
      local all = fill(client, name, 10)
      local seventh = all[7].sequence_number
      expect_numbers(7, 10, fresh.read(client, name, { from = { at = seventh } }))
      expect_numbers(8, 10, fresh.read(client, name, { from = { after = seventh } }))
      expect_numbers(8, 10, fresh.read(client, name, { from = { after = seventh, sub = 0 } }))
      assert.same({}, fresh.read(client, name, { from = { after = all[10].sequence_number } }))
      local shard = client:shards(name)[1]
      expect_numbers(8, 10, copy((shard:records { from = { after = seventh }, stop_at_tip = true })))
      local several = client:shards(stream)
      local good, err = pcall(several.records, several, { from = { at = results[1].sequence_number } })
      assert.is_false(good)
      assert.matches("4", err, 1, true)
      assert.matches("one shard", err, 1, true)
    end)

    it("are read from a position for each shard", function()
      local by_shard = {}
      for i, result in ipairs(results) do
        local list = by_shard[result.shard_id] or {}
        by_shard[result.shard_id] = list
        list[#list + 1] = { sequence_number = result.sequence_number, number = i }
      end
      for _, list in pairs(by_shard) do
        table.sort(list, function(a, b) return a.sequence_number < b.sequence_number end)
        assert.is_true(#list > 10)
      end
      local a, b, c = "shardId-000000000000", "shardId-000000000001", "shardId-000000000002"
      local records = fresh.read(client, stream, {
        from = {
          shards = {
            [a] = { after = by_shard[a][5].sequence_number },
            [b] = "shard_end",
            [c] = { at = by_shard[c][5].sequence_number },
          },
          default = "trim_horizon",
        },
      })
      local firsts = {}
      for _, record in ipairs(records) do
        firsts[record.shard_id] = firsts[record.shard_id] or record.data
      end
      assert.equal(tostring(by_shard[a][6].number), firsts[a])
      assert.is_nil(firsts[b])
      assert.equal(tostring(by_shard[c][5].number), firsts[c])
      assert.is_truthy(firsts["shardId-000000000003"])
    end)

    it("end at a limit", function()
      for _, limit in ipairs { 1, 7, 200 } do
        assert.equal(limit, #fresh.read(client, stream, { limit = limit }))
      end
      local reader = client:shards(stream):records { limit = 2 }
      assert.equal(2, #copy(reader))
      assert.is_nil(reader())
      assert.is_nil(reader:next())
    end)

    it("come in lists with batch, limit still counting records", function()
      local count, lists = 0, 0
      for list in client:shards(stream):records { batch = true, limit = 123 } do
        assert.equal("table", type(list[1]))
        assert.equal("shardId-", list[1].shard_id:sub(1, 8))
        count, lists = count + #list, lists + 1
      end
      assert.equal(123, count)
      assert.is_true(lists <= 20)
    end)

    it("come in pages of at most page_limit records", function()
      local longest, count = 0, 0
      for list in client:shards(stream):records { batch = true, page_limit = 7, limit = 30 } do
        longest, count = math.max(longest, #list), count + #list
      end
      assert.same({ 7, 30 }, { longest, count })
    end)

    it("reach the tip behind pages that page_limit cuts off, though all say that they are 0 ms behind", function()
      local name = fresh.stream(client, 1, "paged")
      fresh.put_numbers(client, name, 1, 30)
      assert.equal(30, #fresh.read(client, name, { page_limit = 7 }))
    end)

    it("end when nothing has come for idle_timeout seconds", function()
      local name = fresh.stream(client, 1, "idle")
      client:put(name, "1", "k")
      local started = core.now()
      local list = copy((client:shards(name):records { idle_timeout = 0.4, poll_interval = 0.2 }))
      local took = core.now() - started
      assert.equal(1, #list)
      assert.is_true(took >= 0.4 and took < 5, took)
    end)

    it("end at the tip, of an empty stream too", function()
      assert.same({}, fresh.read(client, (fresh.stream(client, 3, "tip"))))
    end)

    it("are those of one shard with shard:records", function()
      local total = {}
      for _, shard in ipairs(client:shards(stream)) do
        local list = copy((shard:records { stop_at_tip = true, from = "trim_horizon" }))
        for _, record in ipairs(list) do
          assert.equal(shard.id, record.shard_id)
          if tonumber(record.data) <= 200 then
            total[#total + 1] = record
          end
        end
      end
      expect_numbers(1, 200, total)
    end)

    it("continue from position(): nothing is lost, nothing comes twice", function()
      local name = fresh.stream(client, 3, "position")
      fill(client, name, 60)
      for _, stop in ipairs { 0, 1, 29, 59, 60 } do
        for _, when in ipairs { "open", "closed" } do
          local reader = client:shards(name):records { stop_at_tip = true, poll_interval = 0.2 }
          local first = copy(reader, stop)
          local position
          if when == "closed" then
            reader:close()
            position = reader:position()
          else
            position = reader:position()
            reader:close()
          end
          -- what a program stores is text
          position = cjson.decode(cjson.encode(position))
          assert.equal("table", type(position.shards))
          local second = fresh.read(client, name, { from = position })
          expect_numbers(1, 60, first, second)
        end
      end
    end)

    it("continue from a position of their own stream only, which has the stream's bare name", function()
      local name, summary = fresh.stream(client, 1, "named")
      fill(client, name, 4)
      local stream_names = service.arns and { name, summary.StreamARN } or { name }
      for _, opened_by in ipairs(stream_names) do
        local reader = client:shards(opened_by):records { stop_at_tip = true }
        local first = copy(reader, 2)
        reader:close()
        local position = cjson.decode(cjson.encode(reader:position()))
        assert.equal(name, position.stream)
        for _, read_by in ipairs(stream_names) do
          expect_numbers(1, 4, first, fresh.read(client, read_by, { from = position }))
        end
        position.stream = summary.StreamARN
        expect_numbers(1, 4, first, fresh.read(client, name, { from = position }))
        position.stream = nil -- not checked
        expect_numbers(1, 4, first, fresh.read(client, name, { from = position }))
        position.stream = name
        local shards = client:shards(stream)
        local sent = client:stats().attempts
        for _, list in ipairs { shards, shards[1] } do
          local message = fresh.complaint(function() list:records { from = position } end)
          assert.matches("'" .. name .. "'", message, 1, true)
          assert.matches("'" .. stream .. "'", message, 1, true)
        end
        assert.equal(sent, client:stats().attempts)
      end
    end)

    it("continue from a sub-sequence number that JSON has converted to a float", function()
      local name = fresh.stream(client, 1, "inside")
      local all = fill(client, name, 3)
      local position = cjson.decode(cjson.encode {
        stream = name, shards = { [all[2].shard_id] = { after = all[2].sequence_number, sub = 0 } },
      })
      expect_numbers(3, 3, fresh.read(client, name, { from = position }))
    end)

    it("continue from position() in batches too, and from the tip", function()
      local name = fresh.stream(client, 2, "position")
      fill(client, name, 30)
      local reader = client:shards(name):records { batch = true, stop_at_tip = true }
      local first = reader()
      local position = reader:position()
      reader:close()
      local second = fresh.read(client, name, { from = position })
      expect_numbers(1, 30, first, second)

      reader = client:shards(name):records { stop_at_tip = true }
      copy(reader)
      position = reader:position()
      assert.same({}, fresh.read(client, name, { from = position }))
      fill(client, name, 5, 31)
      expect_numbers(31, 35, fresh.read(client, name, { from = position }))

      reader = client:shards(name):records { from = "latest" }
      position = reader:position()
      reader:close()
      fill(client, name, 5, 36)
      -- what came within a second before may come again
      local seen = {}
      for _, record in ipairs(fresh.read(client, name, { from = position })) do
        seen[record.data] = (seen[record.data] or 0) + 1
      end
      for i = 36, 40 do
        assert.equal(1, seen[tostring(i)])
      end
    end)

    it("end for good after stop() and close(), and tostring shows the reader's state", function()
      local reader = client:shards(stream):records()
      assert.is_truthy(reader())
      assert.matches(stream, tostring(reader), 1, true)
      assert.is_nil(tostring(reader):find("closed", 1, true))
      reader:stop()
      assert.matches("closed", tostring(reader), 1, true)
      assert.is_nil(reader())
      reader:close()
      reader:close()
      assert.is_nil(reader:next())
      assert.equal("table", type(reader:position().shards))
    end)

    it("can be left by break, and read again", function()
      for _ = 1, 5 do
        local count = 0
        for _ in client:shards(stream):records() do
          count = count + 1
          if count == 3 then
            break
          end
        end
        assert.equal(3, count)
      end
      local reader, _, _, closing = client:shards(stream):records()
      assert.equal(reader, closing)
      for record in reader, nil, nil, closing do
        if record then
          break
        end
      end
      if _VERSION ~= "Lua 5.1" then -- a loop's closing value
        assert.matches("closed", tostring(reader), 1, true)
      end
      reader:close()
    end)

    it("raise the error object when the stream was deleted", function()
      local name = fresh.stream(client, 1, "gone")
      local shards = client:shards(name)
      assert(client:call("DeleteStream", { StreamName = name }))
      fresh.eventually(function()
        local _, err = client:call("DescribeStreamSummary", { StreamName = name })
        return err and err.code == "ResourceNotFoundException"
      end)
      local good, err = pcall(function()
        for _ in shards:records() do
          error "a record of a stream that is gone"
        end
      end)
      assert.is_false(good)
      assert.equal("ResourceNotFoundException", err.code)
      assert.matches("^ListShards$", err.operation)
      assert.is_nil(tostring(err):find "\n")
    end)
  end)
end

describe("bad options of records", function()
  local client, shards

  setup(function()
    client = fresh.client(fresh.services[2])
    shards = client:shards((fresh.stream(client, 2, "bad")))
  end)

  teardown(function()
    client:close()
  end)

  local function expect(words, ...)
    for _, f in ipairs { ... } do
      local message = fresh.complaint(f)
      for _, word in ipairs(words) do
        assert.matches(word, message, 1, true)
      end
    end
  end

  it("list the known forms of from, at the caller's line", function()
    for _, wrong in ipairs {
      "TRIM_HORIZON", "", {}, { at = 12 }, { at = "x" }, { after = "" }, { timestamp = "x" }, { timestamp = 0 / 0 },
      { timestamp = -1 }, { timestamp = 1 / 0 }, { after = "1", sub = -1 }, { at = "1", after = "2" }, { shards = 1 },
      { shards = { [1] = "latest" } }, { shards = { ["shardId-0"] = "x" } }, { default = "x" },
      { shards = {}, default = "shard_end" }, { timestamp = 1, sub = 2 },
      { shards = {}, stream = 1 }, { shards = {}, stream = "" }, { at = "1", stream = "x" },
    } do
      expect({ "from", "trim_horizon", "latest", "timestamp", "after" },
        function() shards:records { from = wrong } end,
        function() shards[1]:records { from = wrong } end)
    end
    expect({ "from", "a string or a number or a table" }, function() shards:records { from = true } end)
    expect({ "from", "one shard", "2" }, function() shards:records { from = { at = "1" } } end)
    expect({ "from", "one shard", "2" }, function() shards:records { from = { after = "1" } } end)
  end)

  it("name the option and its bounds", function()
    expect({ "'limit'", "integer", "at least 1", "0" }, function() shards:records { limit = 0 } end)
    expect({ "'limit'", "integer", "1.5" }, function() shards:records { limit = 1.5 } end)
    expect({ "'idle_timeout'", "above 0", "0" }, function() shards:records { idle_timeout = 0 } end)
    expect({ "'idle_timeout'", "infinity" }, function() shards:records { idle_timeout = 1 / 0 } end)
    expect({ "'batch'", "boolean", "'yes'" }, function() shards:records { batch = "yes" } end)
    expect({ "'stop_at_tip'", "boolean", "1" }, function() shards:records { stop_at_tip = 1 } end)
    expect({ "'on_error'", "function", "string" }, function() shards:records { on_error = "x" } end)
    expect({ "'poll_interval'", "0.2", "0.1" }, function() shards:records { poll_interval = 0.1 } end)
    expect({ "'page_limit'", "from 1 to 10000", "10001" }, function() shards:records { page_limit = 10001 } end)
    expect({ "'page_limit'", "integer", "1.5" }, function() shards:records { page_limit = 1.5 } end)
    expect({ "'window'", "1048576", "12" }, function() shards:records { window = 12 } end)
    expect({ "'form'", "did you mean 'from'" }, function() shards:records { form = "latest" } end)
    expect({ "'idle_timout'", "did you mean 'idle_timeout'" },
      function() shards:records { idle_timout = 1 } end,
      function() shards[1]:records { idle_timout = 1 } end)
    expect({ "options", "table", "string" }, function() shards:records "latest" end)
  end)
end)
