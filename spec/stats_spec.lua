-- Counters as Prometheus reads them.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local sharing = require "support.sharing"

describe("prometheus", function()
  local client, stream

  setup(function()
    client = fresh.client(fresh.services[2])
    stream = fresh.stream(client, 2, "stats")
  end)

  teardown(function()
    client:close()
  end)

  -- By name and labels; each line is a comment or a value.
  local function parse(text)
    local values, types = {}, {}
    for line in text:gmatch "([^\n]*)\n" do
      local name, kind = line:match "^# TYPE (%S+) (%a+)$"
      if name then
        assert.is_nil(types[name], "twice: " .. name)
        types[name] = kind
      elseif not line:find "^# HELP [%a_]+ %u.*%.$" then
        local key, value = line:match "^([%a_]+{.+}) (%S+)$"
        assert.is_truthy(key, line)
        assert.is_nil(values[key], "twice: " .. key)
        values[key] = assert(tonumber(value), line)
      end
    end
    return values, types
  end

  it("has what clients and producers count", function()
    local one, other = assert(client:producer(stream, { linger = 0 })), assert(client:producer(stream, { linger = 0 }))
    for _ = 1, 10 do
      assert(one:put("12345", "12345"))
      assert(other:put("12345", "12345"))
    end
    assert(one:flush())
    assert(other:flush())
    local values, types = parse(kinesis.prometheus(client, one, other))
    local label = ('{stream="%s"}'):format(stream)
    assert.equal(20, values["kinesis_producer_stored_records_total" .. label])
    assert.equal(200, values["kinesis_producer_stored_bytes_total" .. label])
    assert.equal(20, values[('kinesis_producer_latency_seconds_bucket{stream="%s",le="+Inf"}'):format(stream)])
    assert.equal(20, values["kinesis_producer_latency_seconds_count" .. label])
    assert.equal(0, values["kinesis_producer_open_records" .. label])
    assert.equal("histogram", types.kinesis_producer_latency_seconds)
    assert.equal("gauge", types.kinesis_producer_held_bytes)
    assert.is_true(values[('kinesis_client_calls_total{endpoint="%s"}'):format(client.url)] > 0)
    local shards = 0
    for _, id in ipairs { "shardId-000000000000", "shardId-000000000001" } do
      shards = shards + values[('kinesis_producer_shard_stored_total{stream="%s",shard="%s"}'):format(stream, id)]
    end
    assert.equal(values["kinesis_producer_kinesis_records_stored_total" .. label], shards)
    one:close()
    other:close()
  end)

  it("names what is neither", function()
    assert.equal("prometheus: argument 2 must be a client, a producer, a reader or a worker, got string",
      fresh.complaint(function() local _ = kinesis.prometheus(client, "x") end))
    assert.equal("", kinesis.prometheus())
  end)

  describe("of readers", function()
    local label

    setup(function()
      label = ('{stream="%s"}'):format(stream)
    end)

    -- The text for a reader that has returned `count` of the 20 records or more.
    local function read(count, more)
      local reader = client:shards(stream):records(more)
      for _ = 1, count do
        assert(reader())
      end
      return reader
    end

    it("has what they count, for the stream and for each shard", function()
      local reader = read(20)
      local values, types = parse(kinesis.prometheus(client, reader))
      assert.equal(20, values["kinesis_reader_records_total" .. label])
      assert.equal(200, values["kinesis_reader_bytes_total" .. label])
      for _, name in ipairs { "misplaced_records", "trimmed_shards", "throttled", "renewals", "failures" } do
        assert.equal(0, values["kinesis_reader_" .. name .. "_total" .. label], name)
      end
      assert.is_true(values["kinesis_reader_calls_total" .. label] >= 4)
      assert.is_true(values["kinesis_reader_lag_seconds" .. label] < 60)
      assert.equal("gauge", types.kinesis_reader_lag_seconds)
      assert.equal("counter", types.kinesis_reader_calls_total)
      local sum = 0
      for _, id in ipairs { "shardId-000000000000", "shardId-000000000001" } do
        local labels = ('{stream="%s",shard="%s"}'):format(stream, id)
        sum = sum + values["kinesis_reader_shard_records_total" .. labels]
        assert.is_true(values["kinesis_reader_shard_behind_seconds" .. labels] >= 0)
      end
      assert.equal(20, sum)
      reader:close()
    end)

    it("passes over nils and repeats, so that records{…} may stand in the call", function()
      local producer = assert(client:producer(stream))
      local text = kinesis.prometheus(client, nil, producer, client, client:shards(stream):records {})
      local values = parse(text)
      assert.equal(0, values["kinesis_reader_records_total" .. label])
      assert.equal(0, values["kinesis_producer_stored_records_total" .. label])
      local reader = read(3)
      values = parse(kinesis.prometheus(reader, nil, nil, reader))
      assert.equal(3, values["kinesis_reader_records_total" .. label])
      reader:close()
      producer:close()
    end)

    it("adds the counts of readers of one stream, and has the largest lag", function()
      local one, other = read(20), read(5)
      local values = parse(kinesis.prometheus(one, other))
      assert.equal(25, values["kinesis_reader_records_total" .. label])
      local most = math.max(one:lag(), other:lag())
      assert.is_true(values["kinesis_reader_lag_seconds" .. label] <= most)
      one:close()
      other:close()
    end)

    it("leaves out what is not known yet, and ended shards, whose counts stay in the sums", function()
      local text = kinesis.prometheus({ stream = "s", worker = "3", stats = function()
        local shards = { a = { position = "trim_horizon" }, b = { position = "shard_end" }, c = {} }
        for _, shard in pairs(shards) do
          for i, name in ipairs { "records", "bytes", "calls", "throttled", "renewals", "failures" } do
            shard[name] = i
          end
        end
        return { stream = "s", records = 3, bytes = 6, misplaced = 0, trimmed = 0, shards = shards }
      end })
      local values = parse(text)
      assert.is_nil(text:find("lag_seconds", 1, true))
      assert.is_nil(text:find("behind_seconds", 1, true))
      assert.is_nil(text:find 'shard="[bc]"')
      assert.equal(9, values['kinesis_reader_calls_total{stream="s",worker="3"}'])
      assert.equal(18, values['kinesis_reader_failures_total{stream="s",worker="3"}'])
      assert.equal(1, values['kinesis_reader_shard_records_total{stream="s",worker="3",shard="a"}'])
    end)
  end)

  it("knows every count of a producer, a client and a reader", function()
    local producer, reader = assert(client:producer(stream)), client:shards(stream):records {}
    assert(reader())
    for _, source in ipairs { client, producer, reader } do
      local text = kinesis.prometheus(source)
      for name, value in pairs(source:stats()) do
        if type(value) == "number" and name ~= "aggregation" then
          local words = name:match "^bytes_(.*)" or name:gsub("_bytes$", "")
          assert.is_truthy(text:find("_" .. words, 1, true), name)
        end
      end
    end
    producer:close()
    reader:close()
  end)

  it("has what workers count, whose totals do not fall when shards move away", function()
    local options = sharing.options()
    local function open()
      return assert(client:worker(stream, "counter", options))
    end
    local one, other = open(), open()
    local label, before, after = '{application="counter"}', nil, nil
    local shard_label = 'kinesis_reader_shard_records_total{application="counter",shard="shardId-%012d"}'
    sharing.run({ one, other }, function(got)
      sharing.awaits(20)(got)
      local function sees_both_owners(worker) -- each at its own next reading of the table
        local stats = worker:stats()
        return stats.held == 1 and stats.known == 2 and stats.unowned == 0
      end
      fresh.eventually(function()
        return sees_both_owners(one) and sees_both_owners(other)
      end)
      before = { parse(kinesis.prometheus(one, other)) }
      other:stop()
      fresh.eventually(function() -- a shard that was just taken has no reader yet
        after = parse(kinesis.prometheus(one, other))
        return one:count() == 2 and after[shard_label:format(0)] and after[shard_label:format(1)]
      end)
    end)
    local values, types = before[1], before[2]
    assert.same({ 2, 2, 0 }, { values["kinesis_worker_leases_held" .. label],
      values["kinesis_worker_leases_known" .. label], values["kinesis_worker_leases_unowned" .. label] })
    assert.is_true(values["kinesis_reader_records_total" .. label] >= 20, "records")
    assert.equal("gauge", types.kinesis_worker_leases_held)
    for name, value in pairs(values) do
      if name:find("_total" .. label, 1, true) then
        assert.is_true(after[name] >= value, name)
      end
    end
    for _, name in ipairs { "takes", "checkpoints" } do
      assert.is_true(after[("kinesis_worker_%s_total%s"):format(name, label)] > 0, name)
    end
    local stats = one:stats()
    assert.equal(0, stats.held)
    assert.is_true(stats.records + other:stats().records >= 20, "records at the end")
    assert.is_true(stats.takes > 0)
  end)
end)
