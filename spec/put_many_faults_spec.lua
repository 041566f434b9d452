-- put_many while the service fails: one bad record fails alone, and what passes is not taken for the end.
-- Flavours: *lua5.4 *luajit
local delivery = require "support.delivery"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local client

setup(function()
  client = fresh.client(fresh.services[1])
end)

teardown(function()
  client:close()
end)

local function records_of(count)
  local list = {}
  for i = 1, count do
    list[i] = { data = ("%06d"):format(i), partition_key = "key" .. i }
  end
  return list
end

describe("a record that the service rejects", function()
  for _, service in ipairs(fresh.services) do
    it(("fails alone: %s takes the other 499 of its call"):format(service.name), function()
      local one = fresh.client(service)
      local stream = fresh.stream(one, 1, "reject")
      local records = records_of(500)
      records[321].data = ("x"):rep(1048577)
      local results, failed = one:put_many(stream, records)
      assert.equal(1, failed)
      for i = 1, 500 do
        assert.equal(i == 321, results[i].code ~= nil)
      end
      assert.matches("Exception$", results[321].code)
      assert.equal(service.name == "kinesalite", (results[321].attempts or 1) > 1) -- which refuses the whole call
      local data = {}
      for i = 1, 500 do
        data[#data + 1] = i ~= 321 and records[i].data or nil
      end
      assert.same({ 1, 0 }, { delivery.check_copies(data, delivery.user_records(one, stream)) })
      one:close()
    end)
  end
end)

describe("a call of which the service rejects every record", function()
  it("does not keep the rest from being sent", function()
    local stream = fresh.stream(client, 1, "reject")
    local scope = faults.open { PutRecords = { { code = "InvalidArgumentException", status = 400 }, {} } }
    local through = scope:client()
    local records = records_of(3)
    records[1].data = ("x"):rep(10 * 1048576 - #records[1].partition_key) -- fills a call
    local results, failed = through:put_many(stream, records, { parallel = 1 })
    assert.equal(1, failed)
    assert.equal("InvalidArgumentException", results[1].code)
    assert.is_nil(results[2].code)
    assert.is_nil(results[3].code)
    through:close()
  end)
end)

describe("a list of more bytes than a client may have in flight", function()
  local STORED = '{"FailedRecordCount":0,"Records":[{"SequenceNumber":"1","ShardId":"shardId-000000000000"}]}'

  it("waits for its own calls, however many may be parallel", function()
    local scope = faults.open { PutRecords = { { body = STORED, status = 200, always = true } } }
    local through = scope:client()
    local data, records = ("x"):rep(10 * 1048576 - 1), {}
    for i = 1, 9 do
      records[i] = { data = data, partition_key = "k" }
    end
    local results, failed = through:put_many("stream", records, { parallel = 9 })
    assert.equal(0, failed, results and tostring(results[9].message))
    through:close()
  end)
end)

describe("a client that is closed during put_many", function()
  it("does not say that a call that was under way was not sent", function()
    local scope = faults.open { PutRecords = { { stall = 30 } } }
    local through = scope:client()
    local results, failed
    kinesis.run(function()
      results, failed = through:put_many("stream", records_of(600))
    end, function()
      fresh.eventually(function()
        return #scope:seen "PutRecords" > 0
      end)
      through:close()
    end)
    assert.equal(600, failed)
    assert.same({ "Closed", "Closed" }, { results[1].code, results[600].code })
    assert.matches("^whether it is stored is not known", results[500].message)
    assert.is_nil(results[500].attempts)
    assert.matches("^not sent", results[501].message)
    assert.equal(0, results[501].attempts)
  end)
end)

describe("a failure that passes, on the first list of 500,", function()
  for code, status in pairs {
    InternalFailureException = 500, ServiceUnavailable = 503, ThrottlingException = 400, KMSThrottlingException = 400,
    InternalServerError = 500, LimitExceededException = 400,
  } do
    it("does not keep the rest from being sent: " .. code, function()
      local stream = fresh.stream(client, 1, "rest")
      local rule = { code = code, status = status }
      local scope = faults.open { PutRecords = { rule, rule, {} } }
      local hasty = scope:client { max_attempts = 2 }
      local results, failed = hasty:put_many(stream, records_of(1000), { parallel = 1 })
      assert.equal(500, failed)
      assert.equal(code, results[500].code)
      assert.is_nil(results[501].code)
      assert.is_nil(results[1000].code)
      hasty:close()
    end)
  end

  it("on each of its entries neither", function()
    local stream = fresh.stream(client, 1, "rest")
    local all = {}
    for i = 1, 500 do
      all[i] = i
    end
    local rule = { fail_entries = all, code = "ServiceUnavailable" }
    local scope = faults.open { PutRecords = { rule, {} } }
    local hasty = scope:client { max_attempts = 1 }
    local results, failed = hasty:put_many(stream, records_of(600), { parallel = 1 })
    assert.equal(500, failed)
    assert.is_nil(results[600].code)
    hasty:close()
  end)

  it("but one that is permanent does", function()
    local scope = faults.open { PutRecords = { { code = "AccessDeniedException", always = true } } }
    local refused = scope:client()
    local results, failed = refused:put_many("stream", records_of(1000), { parallel = 1 })
    assert.equal(1000, failed)
    assert.equal(1, #scope:seen "PutRecords")
    assert.matches("not sent", results[1000].message, 1, true)
    refused:close()
  end)
end)

describe("an entry whose code passes", function()
  for _, code in ipairs {
    "ServiceUnavailable", "ServiceUnavailableException", "InternalServerError", "InternalServerException",
    "InternalFailureException", "InternalError", "KMSThrottlingException", "RequestTimeout",
  } do
    it("beside HTTP 200 is sent again: " .. code, function()
      local stream = fresh.stream(client, 1, "entry")
      local scope = faults.open { PutRecords = { { fail_entries = { 1 }, code = code }, {}, { fail_entries = { 1 },
        code = code } } }
      local behind = scope:client()
      local results, failed = behind:put_many(stream, records_of(2))
      assert.same({ 0, 2 }, { failed, results[1].attempts })
      local producer = behind:producer(stream, { linger = 0 })
      assert(producer:send("a", "k"):wait(10))
      assert.equal(1, producer:stats().retried)
      producer:close()
      behind:close()
    end)
  end
end)
