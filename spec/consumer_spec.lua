-- The tutorial's consumer: it reads on through reshards, and a position file lets it go on where it was.
-- Flavours: *lua5.4 *luajit
local cjson = require "cjson"
local fresh = require "support.fresh"

local service = fresh.services[1]
local has_signals = pcall(require, "posix.signal")
local client, stream, path

local function example(script, ...)
  return fresh.example(script, fresh.example_env(service, stream), ...)
end

local function run(script, ...)
  local output, status = example(script, ...):wait()
  assert.equal(0, status, output)
  return output
end

local function consumer()
  return example("consumer.lua", "--position", path)
end

-- What a line tells: a record as { id=, source=, number=, shard_id= }.
local function record_of(line)
  local data, key, shard_id = line:match "^Record: (.*), Partition Key: (.*), Shard: (shardId%-%d+)$"
  if not data then
    return nil
  end
  local fields = cjson.decode(data)
  assert.equal(fields.Source, key)
  return { id = fields.Id, source = key, number = tonumber(fields.Id:match "%-(%d+)$"), shard_id = shard_id }
end

-- Adds what a line tells to `log`: its records in order, and in `log.announced` what the consumer said that it reads.
local function take(log, line)
  local announced, record = line:match "^Reading (shardId%-%d+)$", record_of(line)
  if announced then
    assert.is_nil(log.announced[announced], "announced again")
    log.announced[announced] = true
  elseif record then
    assert.is_true(log.announced[record.shard_id], "not announced")
    log[#log + 1] = record
  end
  return record
end

-- Reads the consumer's lines until `enough(record, log)`.
local function follow(child, log, enough)
  repeat
    local line = assert(child:line(), "the consumer has ended")
    local record = take(log, line)
    assert.is_true(record ~= nil or line:find "^Reading " ~= nil or line:find "records/s" ~= nil, line)
  until record and enough(record, log)
end

-- Ends it; what it says until then belongs to the log.
local function stop(child, log, signal)
  child:signal(signal)
  local output, status = child:wait()
  assert.equal(0, status, output)
  assert.matches("Stopped.\n$", output)
  for line in output:gmatch "[^\n]+" do
    take(log, line)
  end
end

local function new_log()
  return { announced = {} }
end

local function saved()
  local file = io.open(path)
  local text = file and file:read "*a"
  return text, file and file:close()
end

local function write(text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

setup(function()
  client = fresh.client(service)
end)

teardown(function()
  client:close()
end)

before_each(function()
  stream = fresh.stream(client, 2, "consumer")
  path = os.tmpname()
  os.remove(path)
end)

after_each(function()
  os.remove(path)
  client:call("DeleteStream", { StreamName = stream })
end)

-- Without lua-posix SIGTERM kills, and Ctrl-C is what ends a consumer.
local SIGNAL = has_signals and "TERM" or "INT"

describe("the consumer", function()
  it("reads every record once, through reshards and a restart", function()
    local SOURCES, COUNT, MORE = { "a", "b", "c" }, 60, 3
    local child, producers = consumer(), {}
    for i, source in ipairs(SOURCES) do
      producers[i] = example("producer.lua", source, COUNT, "0.03", "hello from " .. source)
    end
    local first, second = new_log(), new_log()
    follow(child, first, function(_, log) return #log >= 10 end)
    assert.matches("shardId%-000000000005 .* open", run("stream.lua", "reshard", "4"))
    follow(child, first, function(record) return record.shard_id >= "shardId-000000000002" end)
    assert.matches("shardId%-000000000007 .* open", run("stream.lua", "reshard", "2"))
    stop(child, first, SIGNAL)

    for i, producer in ipairs(producers) do
      local output, status = producer:wait()
      assert.equal(0, status, output)
      run("producer.lua", "again " .. SOURCES[i], MORE, "0", "hello")
    end
    local total = #SOURCES * (COUNT + MORE)
    child = consumer()
    follow(child, second, function(_, log) return #first + #log >= total end)
    stop(child, second, SIGNAL)

    assert.equal(total, #first + #second)
    local seen, last = {}, {}
    for _, log in ipairs { first, second } do
      for _, record in ipairs(log) do
        assert.is_nil(seen[record.id], "twice")
        seen[record.id] = true
        assert.equal((last[record.source] or 0) + 1, record.number) -- one key: parents come before their children
        last[record.source] = record.number
      end
    end
    local position = cjson.decode((saved()))
    assert.equal(stream, position.stream)
    assert.equal("shard_end", position.shards["shardId-000000000000"])
  end)

  it("ends on a signal while it waits, and has saved what it has read until it is killed", function()
    local child, log = consumer(), new_log()
    fresh.eventually(saved)
    stop(child, log, "INT")
    assert.same(new_log(), log)

    child = consumer()
    local sequence_number = run("producer.lua", "first"):match "Sequence Number: (%d+)"
    follow(child, log, function() return true end)
    fresh.eventually(function() return saved():find(sequence_number, 1, true) end)
    child:signal "KILL"
    child:wait()
    run("producer.lua", "second")
    child = consumer()
    follow(child, new_log(), function(record)
      assert.not_equal(log[1].id, record.id)
      return true
    end)
    stop(child, new_log(), SIGNAL)
    assert.is_nil(io.open(path .. ".new"))
  end)

  it("without a position file begins at the oldest record each time", function()
    run("producer.lua", "one")
    for _ = 1, 2 do
      local child, log = example "consumer.lua", new_log()
      follow(child, log, function() return true end)
      stop(child, log, "INT")
      assert.equal(1, #log)
    end
    assert.is_nil(saved())
  end)

  it("says after some seconds how fast it reads, and how far it is behind", function()
    run("producer.lua", "one")
    local child = consumer()
    local line
    repeat
      line = assert(child:line(), "the consumer has ended")
    until line:find "records/s"
    assert.matches("^%d+%.%d records/s, %d+%.%d kB/s, %d+%.%d s behind$", line)
    assert.is_true(tonumber(line:match ", ([%d.]+) s behind") < 10, line)
    stop(child, new_log(), SIGNAL)
  end)

  local function expect_failure(pattern)
    local output, status = consumer():wait()
    assert.equal(1, status, output)
    assert.matches(pattern, output, 1, true)
    assert.is_nil(output:find "Stopped")
    return output
  end

  it("refuses a position file that it cannot use, and leaves it as it is", function()
    for _, text in ipairs { "", '{"shards":', "null", '{"shards":{"shardId-000000000000":"middle"}}' } do
      write(text)
      expect_failure ""
      assert.equal(text, saved())
    end
    write "{"
    expect_failure(path .. ": ")
    write '{"stream":"clicks","shards":{}}'
    assert.matches("'" .. stream .. "'", expect_failure "'clicks'", 1, true)
    os.remove(path)
    path = path .. "/none"
    expect_failure "No such file or directory"
  end)

  it("does not count as printed what could not be", function()
    run("producer.lua", "one")
    local words = ('timeout -s KILL 120 %s "$ROOT/examples/consumer.lua" --position %s >/dev/full'):format(
      os.getenv "LUA", path)
    local output, status = fresh.spawn(words, fresh.example_env(service, stream)):wait()
    assert.equal(1, status)
    assert.matches("No space left on device", output, 1, true)
    local child = consumer()
    follow(child, new_log(), function() return true end)
    stop(child, new_log(), SIGNAL)
  end)

  it("says what is wrong, and ends", function()
    local there = stream
    stream = fresh.name "absent"
    expect_failure "ResourceNotFoundException"
    stream = there
  end)
end)
