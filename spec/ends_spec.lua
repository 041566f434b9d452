-- Where a reader ends inside an aggregate, its position is exact: by limit, by stop() from elsewhere; and how the other
-- ends count aggregates.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local fresh = require "support.fresh"
local interrupt = require "support.interrupt"
local kinesis = require "kinesis"

assert(interrupt) -- compiled code calls no hooks
local has_signals = pcall(require, "posix.signal")

describe("a reader of aggregates", function()
  local client, stream

  -- 25 records in three aggregates, then one alone.
  setup(function()
    client = fresh.client(fresh.services[2])
    stream = fresh.stream(client, 1)
    local number = 0
    for _, count in ipairs { 4, 20, 1 } do
      local records = {}
      for i = 1, count do
        number = number + 1
        records[i] = { data = tostring(number), partition_key = "k" }
      end
      assert(client:put(stream, kinesis.aggregate(records), "k"))
    end
    assert(client:put(stream, "26", "k"))
  end)

  teardown(function()
    client:close()
  end)

  -- Expects that what is left behind this position begins with that number.
  local function expect_rest(position, first)
    local rest = fresh.read(client, stream, { from = cjson.decode(cjson.encode(position)) })
    assert.equal(26 - first + 1, #rest)
    for i, record in ipairs(rest) do
      assert.equal(tostring(first + i - 1), record.data)
    end
  end

  -- What a reader with these options returns, as a list of data.
  local function read(options)
    local reader, data = client:shards(stream):records(options), {}
    for got in reader do
      if options.batch == "columns" then
        got = got.data
      elseif not options.batch then
        got = { got }
      end
      for _, record in ipairs(got) do
        data[#data + 1] = type(record) == "table" and record.data or record
      end
    end
    return data, reader
  end

  it("ends by `limit` after that many user records, in each form, and its position is behind them", function()
    for _, form in ipairs { {}, { batch = true }, { batch = "columns" }, { values = { "data" } } } do
      for _, limit in ipairs { 3, 4, 5, 23, 25 } do
        form.limit = limit
        local data, reader = read(form)
        assert.equal(limit, #data)
        assert.equal(tostring(limit), data[limit])
        expect_rest(reader:position(), limit + 1)
      end
    end
  end)

  it("counts whole records for `limit` where aggregates are not taken apart", function()
    local data, reader = read { limit = 2, deaggregate = false }
    assert.equal(2, #data)
    expect_rest(reader:position(), 25)
  end)

  it("ends by `stop_at_tip` and by `idle_timeout` behind the last user record", function()
    for _, options in ipairs { { stop_at_tip = true }, { idle_timeout = 0.3, poll_interval = 0.2 } } do
      local data, reader = read(options)
      assert.equal(26, #data)
      assert.same({}, fresh.read(client, stream, { from = reader:position() }))
    end
  end)

  it("is ended by stop() of another coroutine, behind what it has returned", function()
    for count = 1, 26, 5 do
      local reader = client:shards(stream):records { poll_interval = 0.2 }
      local read_so_far = 0
      kinesis.run(function()
        for _ in reader do
          read_so_far = read_so_far + 1
          if read_so_far == count then
            kinesis.sleep(0.05)
          end
        end
      end, function()
        while read_so_far < count do
          kinesis.sleep(0.001)
        end
        reader:stop()
      end)
      assert.equal(count, read_so_far)
      expect_rest(reader:position(), count + 1)
    end
  end)

  for form, options in pairs { tables = {}, values = { values = { "data" } } } do
    it("is ended by stop() at any instruction, as by signals, behind what it has returned: " .. form, function()
      local instructions, returned = 1, 0
      local done
      repeat
        local reader = client:shards(stream):records(options)
        local count, left = 0, instructions
        for _ = 1, 5 do -- the last one begins the second aggregate
          count = count + (reader() and 1 or 0)
        end
        debug.sethook(function()
          left = left - 1
          if left == 0 then
            debug.sethook()
            reader:stop()
          end
        end, "", 1)
        local got = reader()
        debug.sethook()
        done = left > 0
        reader:stop()
        count = count + (got and 1 or 0)
        returned = returned + (got and 1 or 0)
        local place = reader:position().shards["shardId-000000000000"]
        assert.equal(count - 5, place.sub, "instruction " .. instructions)
        assert.is_nil(reader())
        instructions = instructions + 1
      until done
      assert.is_true(returned > 1 and returned < instructions)
    end)
  end

  if has_signals then
    it("is ended by stop() in a signal handler, while it waits and while it reads", function()
      for _, count in ipairs { 10, 26 } do
        local child = fresh.lua([[
          local cjson, kinesis, signal = require "cjson", require "kinesis", require "posix.signal"
          local unistd = require "posix.unistd"
          local reader = kinesis.shards(arg[1]):records { poll_interval = 0.2 }
          local count = 0
          signal.signal(signal.SIGTERM, function() reader:stop() end)
          for _ in reader do
            count = count + 1
            if count == 10 and arg[2] == "10" then signal.raise(signal.SIGTERM) end
            if count == 26 then
              os.execute(("(sleep 0.3; kill -TERM %d) &"):format(unistd.getpid()))
            end
          end
          print(count)
          print(cjson.encode(reader:position()))
        ]], fresh.example_env(fresh.services[2], stream), stream, count)
        local output, status = child:wait()
        assert.equal(0, status, output)
        local ended, position = output:match "^(%d+)\n(.*)\n$"
        assert.equal(count, tonumber(ended), output)
        expect_rest(cjson.decode(position), count + 1)
      end
    end)
  end
end)
