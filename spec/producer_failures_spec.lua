-- Records that fail for good because their stream is gone: on_failure, flush() and close() return them.
local delivery = require "support.delivery"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local run = require "support.tasks"

local check_sums, data_of = delivery.check_sums, delivery.data_of

describe("a producer whose stream is gone", function()
  local client

  setup(function()
    client = fresh.client(fresh.services[1])
  end)

  teardown(function()
    client:close()
  end)

  it("tells on_failure, with the record and its attempts", function()
    local lost = {}
    local producer = assert(client:producer("never-was", {
      on_failure = function(record, err)
        lost[#lost + 1] = { record, err }
      end,
    }))
    assert(producer:put("a", "key", { explicit_hash_key = "7" }))
    assert(producer:put("b", "key"))
    assert.is_true(producer:flush())
    assert.equal(2, #lost)
    assert.same({ data = "a", partition_key = "key", explicit_hash_key = "7" }, lost[1][1])
    assert.equal("ResourceNotFoundException", lost[1][2].code)
    assert.equal(1, #lost[1][2].attempts)
    assert.equal(0, producer:stats().held_records)
    producer:close()
  end)

  it("says on stderr that it is full of them, where nobody takes them", function()
    local output, status = fresh.lua([[
      local client = assert(require("kinesis").client { endpoint = arg[1], region = "us-east-1",
        credentials = { access_key_id = "AKID", secret_access_key = "the secret" } })
      local producer = assert(client:producer("never-was", { max_records = 2, when_full = "refuse", linger = 0 }))
      local before = require("kinesis.core").now()
      while producer:stats().failed < 2 and require("kinesis.core").now() < before + 10 do
        producer:put("x", "key")
        require("kinesis").sleep(0.01)
      end
      for _ = 1, 3 do print(select(2, producer:put("x", "key")).code) end
      producer:close()
    ]], nil, os.getenv "KINESALITE"):wait()
    assert.equal(0, status, output)
    assert.matches("Full\nFull\nFull\n", output)
    local _, lines = output:gsub("kinesis: producer for never%-was: 2 records fill this producer; %d of them", "")
    assert.equal(1, lines, output)
  end)

  it("returns records that are put after the stream has been deleted", function()
    local direct = fresh.client(fresh.services[2])
    local stream = fresh.stream(direct, 1, "deleted")
    local producer = assert(direct:producer(stream))
    local before = assert(producer:send("before", "key"))
    assert.is_true(producer:flush())
    assert.is_table(before:wait())
    assert(direct:call("DeleteStream", { StreamName = stream }))
    fresh.eventually(function()
      local _, err = direct:call("DescribeStreamSummary", { StreamName = stream })
      return err and err.code == "ResourceNotFoundException"
    end)
    local after = assert(producer:send("with a receipt", "key"))
    assert(producer:put("after", "key"))
    local done, err, left, failed = producer:flush()
    assert.is_nil(done)
    assert.equal("ResourceNotFoundException", err.code)
    assert.equal(0, left)
    assert.same({ "after" }, data_of(failed))
    assert.equal("ResourceNotFoundException", failed[1].error.code)
    assert.equal(1, #failed[1].error.attempts)
    assert.matches(stream, failed[1].error.message, 1, true)
    local _, why = after:wait()
    assert.equal("ResourceNotFoundException", why.code)
    assert.equal(why, select(2, after:wait()))
    local stats = check_sums(producer:stats())
    assert.equal(1, stats.stored)
    assert.equal(2, stats.failed)
    assert.is_true(producer:close())
    direct:close()
  end)

  it("lets on_failure put its records elsewhere with calls that wait", function()
    local dead = fresh.stream(client, 1, "dead")
    local letters = assert(client:producer(dead, { aggregate = false }))
    local function save(record)
      if record.data == "one" then
        assert(letters:put(record.data, record.partition_key))
        assert.is_true(letters:flush())
      else
        assert(client:put(dead, record.data, record.partition_key))
      end
    end
    for i = 1, 2 do
      local producer = assert(client:producer("never-was", { on_failure = save }))
      local function work()
        assert(producer:put("one", "key"))
        assert(producer:put("two", "key"))
        assert.is_true(producer:flush())
      end
      if i == 1 then
        work()
      else
        run(work)
      end
      producer:close()
    end
    assert.is_true(letters:close())
    assert.same({ "one", "one", "two", "two" }, data_of(fresh.read(client, dead)))
  end)

  it("calls on_failure while Lua waits for another call", function()
    local told = 0
    local producer = assert(client:producer("never-was", { on_failure = function()
      told = told + 1
    end }))
    assert(producer:put("x", "key"))
    fresh.eventually(function()
      assert(client:call "ListStreams")
      return told == 1
    end)
    assert.equal(0, producer:stats().held_records)
    producer:close()
  end)

  it("keeps failures for flush where there is no on_failure", function()
    local producer = assert(client:producer("never-was", { max_records = 3, when_full = "refuse" }))
    for i = 1, 3 do
      assert(producer:put("r" .. i, "key"))
    end
    fresh.eventually(function()
      kinesis.run(function()
        kinesis.sleep(0.01)
      end)
      return producer:stats().failed == 3
    end)
    local taken, full = producer:put("no room", "key")
    assert.is_nil(taken)
    assert.equal("Full", full.code)
    local done, err, left, failed = producer:flush()
    assert.is_nil(done)
    assert.equal("ResourceNotFoundException", err.code)
    assert.matches("3 records failed; the first: ", err.message, 1, true)
    assert.equal(0, left)
    assert.same({ "r1", "r2", "r3" }, data_of(failed))
    assert.equal("ResourceNotFoundException", failed[1].error.code)
    assert(producer:put("room again", "key"))
    producer.when_full = "wait"
    for i = 1, 2 do
      assert(producer:put("more " .. i, "key"))
    end
    local late, full_of_failures = producer:put("no room for ever", "key")
    assert.is_nil(late)
    assert.equal("Full", full_of_failures.code)
    assert.matches("3 of them failed and were not reported", full_of_failures.message, 1, true)
    local closed, why, lost = producer:close()
    assert.is_nil(closed)
    assert.equal("ResourceNotFoundException", why.code)
    assert.equal("room again", lost[1].data)
  end)
end)
