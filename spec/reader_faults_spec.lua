-- Readers of a server that fails: no record is lost or delivered twice, and errors are reported.
local faults = require "support.faults"
local fresh = require "support.fresh"

local direct

setup(function()
  direct = fresh.client(os.getenv "KINESIS_LOCAL")
end)

teardown(function()
  direct:close()
end)

describe("a reader", function()
  local own

  before_each(function()
    own = fresh.stream(direct, 1)
  end)

  after_each(function()
    direct:call("DeleteStream", { StreamName = own })
  end)

  local function put_numbers(first, last)
    fresh.put_numbers(direct, own, first, last)
  end

  -- Reads the numbers first … last, in their order, each once.
  local function expect_numbers(reader, first, last)
    for i = first, last do
      local record = reader:next()
      assert.equal(tostring(i), record and record.data)
    end
  end

  local EXPIRED = { code = "ExpiredIteratorException", message = "Iterator expired" }

  it("goes on behind its last record when the iterator has expired", function()
    local scope = faults.open { GetRecords = { EXPIRED, {}, EXPIRED, {}, EXPIRED, EXPIRED } }
    local client = scope:client()
    local troubles = 0
    local reader = client:shards(own):records {
      poll_interval = 0.2,
      idle_timeout = 20,
      on_error = function()
        troubles = troubles + 1
      end,
    }
    for batch = 0, 2 do
      put_numbers(batch * 10 + 1, batch * 10 + 10)
      expect_numbers(reader, batch * 10 + 1, batch * 10 + 10)
    end
    fresh.eventually(function()
      return #scope:seen "GetRecords" > 6
    end)
    put_numbers(31, 31)
    expect_numbers(reader, 31, 31)
    client:close()
    assert.equal(5, #scope:seen "GetShardIterator") -- the first, and one for each that expired
    assert.equal(0, troubles)
  end)

  it("misses nothing when the first iterator at the tip expires", function()
    put_numbers(1, 3)
    -- the Date header has whole seconds: records older than one second are not read again
    local newest = fresh.read(direct, own)[3].arrival_timestamp
    fresh.eventually(function()
      return os.time() > newest + 1.1
    end)
    local client = faults.open({ GetRecords = { EXPIRED } }):client()
    local reader = client:shards(own):records { from = "latest", poll_interval = 0.2, idle_timeout = 1 }
    put_numbers(4, 8)
    expect_numbers(reader, 4, 8)
    assert.is_nil(reader:next())
    client:close()
  end)

  it("keeps to the service's limits when every iterator is called expired", function()
    EXPIRED.always = true
    local scope = faults.open { GetRecords = { EXPIRED } }
    EXPIRED.always = nil
    local client = scope:client()
    local reader = client:shards(own):records { idle_timeout = 1, on_error = function() end }
    pcall(reader)
    client:close()
    local calls = #scope:seen "GetRecords"
    assert.is_true(calls >= 2 and calls <= 12, calls .. " calls in a second")
  end)

  it("passes transient errors to on_error, and reads until it has everything", function()
    put_numbers(1, 20)
    local scope = faults.open { GetRecords = {
      {}, { code = "ProvisionedThroughputExceededException" }, { code = "InternalFailure", status = 500 },
      -- on a connection that was used before, libcurl itself would try again after a reset
      { cut = 30 }, { reset = "before" }, { truncate = 25 }, { body = "<html>busy</html>", status = 503 },
    } }
    local client = scope:client()
    local codes, rows, places = {}, {}, {}
    local reader = client:shards(own):records {
      poll_interval = 0.2,
      idle_timeout = 15,
      limit = 40,
      on_error = function(err, shard_id, in_a_row)
        codes[#codes + 1], rows[#rows + 1], places[shard_id] = err.code, in_a_row, true
      end,
    }
    expect_numbers(reader, 1, 20)
    put_numbers(21, 40)
    expect_numbers(reader, 21, 40)
    assert.is_nil(reader:next())
    client:close()
    assert.same({ "ProvisionedThroughputExceededException", "InternalFailure", "Connection", "Connection",
      "BadAnswer", "BadAnswer" }, codes)
    assert.same({ 1, 2, 3, 4, 5, 6 }, rows)
    assert.same({ ["shardId-000000000000"] = true }, places)
  end)

  it("without on_error prints one line on stderr, at the third error in a row", function()
    put_numbers(1, 2)
    local failure = { code = "InternalFailure", status = 500 }
    local scope = faults.open { GetRecords = { {}, failure, failure, {}, failure, failure, failure, failure } }
    local child = fresh.lua([[
      local kinesis = require "kinesis"
      local client = kinesis.client { endpoint = arg[1], region = "us-east-1",
        credentials = { access_key_id = "a", secret_access_key = "b" } }
      for record in client:shards(arg[2]):records { poll_interval = 0.2, idle_timeout = 15, limit = 3 } do
        print("record " .. record.data)
      end
    ]], nil, scope.url, own)
    fresh.eventually(function()
      return #scope:seen "GetRecords" >= 8
    end)
    put_numbers(3, 3)
    local output, status = child:wait()
    assert.equal(0, status, output)
    assert.matches("record 3", output, 1, true)
    local _, lines = output:gsub("kinesis: reading", "")
    assert.equal(1, lines, output)
    assert.matches("(3 failures so far)", output, 1, true)
    assert.matches("InternalFailure", output, 1, true)
  end)

  it("raises a fatal error, and is closed then", function()
    put_numbers(1, 2)
    local scope = faults.open { GetRecords = { {}, { code = "AccessDeniedException", always = true } } }
    local client = scope:client()
    local reader = client:shards(own):records { poll_interval = 0.2 }
    expect_numbers(reader, 1, 2)
    local good, err = pcall(reader)
    assert.is_false(good)
    assert.equal("AccessDeniedException", err.code)
    assert.equal("GetRecords", err.operation)
    assert.is_nil(reader:next())
    assert.truthy(reader:position().shards["shardId-000000000000"].after)
    client:close()
    assert.equal(2, #scope:seen "GetRecords")
  end)

  it("ends after three attempts before its first answer", function()
    local failure = { code = "InternalFailure", status = 500, always = true }
    local scope = faults.open { GetShardIterator = { failure } }
    local client = scope:client()
    local errors = 0
    local function on_error()
      errors = errors + 1
    end
    local reader = client:shards(own):records { on_error = on_error }
    local good, err = pcall(reader)
    assert.is_false(good)
    assert.equal("InternalFailure", err.code)
    assert.equal(3, #scope:seen "GetShardIterator")
    assert.equal(2, errors)
    -- from the tip the first answers are awaited by records()
    good, err = pcall(function()
      return (client:shards(own):records { from = "latest", on_error = on_error })
    end)
    assert.is_false(good)
    assert.equal("InternalFailure", err.code)
    assert.equal(6, #scope:seen "GetShardIterator")
    client:close()
  end)

  it("of a missing stream raises at the start of the loop", function()
    local good, err = pcall(function()
      for _ in direct:shards("no-such-stream"):records() do
        error "a record?"
      end
    end)
    assert.is_false(good)
    assert.equal("ResourceNotFoundException", err.code)
    assert.matches("does the stream exist", tostring(err), 1, true)
  end)
end)
