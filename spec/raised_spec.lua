-- Errors that are raised say where: the user's line, however deep in the library the failure is seen.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local errors = require "kinesis.errors"

describe("a raised error", function()
  local client, stream, absent

  setup(function()
    client = fresh.client(fresh.services[1])
    stream = fresh.stream(client, 1, "raised")
    absent = fresh.name "absent"
  end)

  teardown(function()
    client:call("DeleteStream", { StreamName = stream })
    client:close()
  end)

  -- Runs f, a function on one line, and expects an error object that says that line.
  local function raised_at(f)
    local good, err = pcall(f)
    assert.is_false(good, "nothing was raised")
    local here = debug.getinfo(f, "S")
    assert.equal(("%s:%d"):format(here.short_src, here.linedefined), err.where)
    assert.equal(err.where .. ": " .. err.operation .. ": ", tostring(err):sub(1, #err.where + #err.operation + 4))
    return err
  end

  -- A reader whose next call raises.
  local function broken_reader(given)
    local other = fresh.client(fresh.services[1])
    local reader = other:shards(stream):records(given)
    other:close()
    return reader
  end

  it("of an iterator says the line of the loop", function()
    raised_at(function() for _ in client:shards(absent):records() do error "a record" end end)
    raised_at(function() for _ in client:pages("ListShards", { StreamName = absent }) do error "a page" end end)
    local reader = broken_reader()
    raised_at(function() for _ in reader do error "a record" end end)
    reader = broken_reader()
    raised_at(function() reader:next() end)
    reader = broken_reader { batch = true }
    raised_at(function() return (reader()) end)
  end)

  it("of a subscription says the line of the loop", function()
    local params = {
      ConsumerARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1", ShardId = "shardId-000000000000",
      StartingPosition = { Type = "LATEST" },
    }
    raised_at(function() for _ in assert(client:subscribe_to_shard(params)) do error "an event" end end)
  end)

  it("in kinesis.run and in a coroutine says the line there", function()
    local here
    local good, err = pcall(kinesis.run, function()
      here = debug.getinfo(1, "l").currentline + 1
      for _ in client:shards(absent):records() do error "a record" end
    end)
    assert.is_false(good)
    assert.matches("raised_spec.lua:" .. here .. "$", err.where)
    good, err = coroutine.resume(coroutine.create(function()
      here = debug.getinfo(1, "l").currentline + 1
      client:shards(absent)
    end))
    assert.is_false(good)
    assert.matches("raised_spec.lua:" .. here .. "$", err.where)
    -- nothing but the library is in this one
    good, err = coroutine.resume(coroutine.create(client.shards), client, absent)
    assert.is_false(good)
    assert.is_nil(err.where)
    assert.matches("^ListShards: ResourceNotFoundException: ", tostring(err))
  end)

  it("is another one each time, and not what others were told", function()
    local shared = errors.new("Closed", "why", "GetRecords")
    local _, first = pcall(errors.raise, shared)
    local _, second = pcall(function() errors.raise(shared) end)
    assert.is_nil(shared.where)
    assert.equal("GetRecords: Closed: why", tostring(shared))
    assert.are_not_equal(first.where, second.where)
    local _, returned = client:put(absent, "x")
    assert.is_nil(returned.where)
  end)

  it("is printed by the interpreter with script and line", function()
    local environment = {
      AWS_ENDPOINT_URL_KINESIS = fresh.services[1].endpoint, AWS_REGION = fresh.region,
      AWS_ACCESS_KEY_ID = fresh.keys.access_key_id, AWS_SECRET_ACCESS_KEY = fresh.keys.secret_access_key,
    }
    local child = fresh.lua('\n\nfor r in require "kinesis".shards("nope"):records() do print(r) end\n', environment)
    local file = child.file
    local output, status = child:wait()
    assert.equal(1, status)
    assert.matches("^[%w.]+: ", output)
    assert.matches(file .. ":3: ListShards: ResourceNotFoundException: ", output, 1, true)
    child = fresh.lua('local _, err = require "kinesis".put("nope", "x")\nio.stderr:write(tostring(err), "\\n")',
      environment)
    assert.matches("^PutRecord: ResourceNotFoundException: [^\n]*\n$", (child:wait()))
  end)

  it("of a wait that cannot be says the line, too", function()
    local line
    local good, err = pcall(kinesis.run, function()
      string.gsub("x", "x", function()
        line = debug.getinfo(1, "l").currentline + 1
        kinesis.sleep(1)
      end)
    end)
    assert.is_false(good)
    assert.matches(("raised_spec.lua:%d: kinesis: this call waits, which"):format(line), err, 1, true)
  end)
end)
