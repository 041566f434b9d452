-- What independent implementations say: aws-sdk-js and botocore read what we put and put what we read;
-- botocore signs again what we signed.
local fresh = require "support.fresh"
local cjson = require("cjson").new()
local codec = require("kinesis").codec

local MIB = 1024 * 1024
local EMOJI = "\240\159\152\128"
local LARGEST_HASH = "340282366920938463463374607431768211455"

local SAMPLES = {
  { data = "", key = "empty" },
  { data = "\0", key = "a NUL" },
  { data = "before\0behind\0", key = "NULs" },
  { data = fresh.bytes, key = "every byte" },
  { data = fresh.bytes:reverse() .. "x", key = "every byte, padded otherwise" },
  { data = "smile " .. EMOJI, key = EMOJI .. " \195\164\226\130\172" },
  { data = "{}", key = 'quotes " and \\ and \9\10\13\1' },
  { data = "first shard", key = "a hash", hash = "0" },
  { data = "last shard", key = "a hash", hash = LARGEST_HASH },
  { data = fresh.bytes:rep(MIB / 256), key = "1 MiB" },
}

local oracles = {
  { name = "aws-sdk-js", start = fresh.node, script = "oracles/sdk.mjs" },
  { name = "botocore", start = fresh.python, script = "oracles/sdk.py" },
}

local function ask(oracle, ...)
  local output, status = oracle.start(oracle.script, nil, ...):wait()
  assert.equal(0, status, output)
  return cjson.decode(output)
end

local function with_file(text, use)
  local name = os.tmpname()
  local file = assert(io.open(name, "wb"))
  file:write(text)
  file:close()
  local good, result = pcall(use, name)
  os.remove(name)
  return good and result or error(result, 0)
end

-- Without printing a megabyte when they differ.
local function expect_bytes(expected, got, what)
  assert.equal(#expected, #got, what)
  assert.is_true(expected == got, what)
end

for _, service in ipairs(fresh.services) do
  describe("on " .. service.name, function()
    local client

    setup(function()
      client = fresh.client(service)
    end)

    teardown(function()
      client:close()
    end)

    it("what we put, the SDKs read", function()
      local stream = fresh.stream(client, 3, "ours")
      local expected, entries = {}, {}
      for i, sample in ipairs(SAMPLES) do
        local result = assert(client:put(stream, sample.data, sample.key, { explicit_hash_key = sample.hash }))
        expected[result.sequence_number] = { sample = sample, shard = result.shard_id }
        if #sample.data < MIB then
          entries[i] = { data = sample.data, partition_key = sample.key, explicit_hash_key = sample.hash }
        end
      end
      local results, failed = client:put_many(stream, entries)
      assert.equal(0, failed)
      for i, result in ipairs(results) do
        expected[result.sequence_number] = { sample = SAMPLES[i], shard = result.shard_id }
      end
      local times = {}
      for _, oracle in ipairs(oracles) do
        local records = ask(oracle, service.endpoint, stream, "read")
        assert.equal(#SAMPLES + #entries, #records, oracle.name)
        for _, record in ipairs(records) do
          local put = expected[record.sequence]
          expect_bytes(put.sample.data, codec.base64_decode(record.data), oracle.name)
          assert.equal(put.sample.key, record.key)
          assert.equal(put.shard, record.shard)
          times[record.sequence] = record.time
        end
      end
      -- and our reading says the same as theirs
      for _, record in ipairs(fresh.read(client, stream)) do
        assert.is_true(math.abs(times[record.sequence_number] - record.arrival_timestamp) < 0.0015)
      end
    end)

    for _, oracle in ipairs(oracles) do
      it("what " .. oracle.name .. " puts, we read", function()
        local stream = fresh.stream(client, 3, "theirs")
        local list = {}
        for i, sample in ipairs(SAMPLES) do
          list[i] = { data = codec.base64_encode(sample.data), key = sample.key, hash = sample.hash }
        end
        local results = with_file(cjson.encode(list), function(name)
          return ask(oracle, service.endpoint, stream, "write", name)
        end)
        local found = {}
        for _, record in ipairs(fresh.read(client, stream)) do
          found[record.sequence_number] = record
        end
        for i, sample in ipairs(SAMPLES) do
          local record = found[results[i].sequence]
          expect_bytes(sample.data, record.data, sample.key)
          assert.equal(sample.key, record.partition_key)
          assert.equal(results[i].shard, record.shard_id)
        end
      end)
    end
  end)
end

describe("in a recorder,", function()
  local file, recorder, port, pid

  local function start(target)
    file = os.tmpname()
    recorder = fresh.node("oracles/recorder.mjs", nil, file, target or nil)
    port, pid = assert(recorder:line()):match "^(%d+) (%d+)$"
  end

  after_each(function()
    os.execute("kill " .. pid)
    recorder:wait()
    os.remove(file)
  end)

  local function kept()
    local list = {}
    for line in io.lines(file) do
      list[#list + 1] = cjson.decode(line)
    end
    return list
  end

  local function header(request, wanted)
    for i = 1, #request.headers, 2 do
      if request.headers[i]:lower() == wanted then
        return request.headers[i + 1]
      end
    end
  end

  -- Every signature is botocore's; returns how often each operation was called.
  local function expect_signatures(keys, region)
    local output, status = fresh.python("oracles/signatures.py", {
      AWS_ACCESS_KEY_ID = keys.access_key_id,
      AWS_SECRET_ACCESS_KEY = keys.secret_access_key,
      AWS_SESSION_TOKEN = keys.session_token,
    }, file, region):wait()
    assert.equal(0, status, output)
    local counts = {}
    for operation, verdict in output:gmatch "(%S+) ([^\n]*)\n" do
      assert.equal("same", verdict, operation)
      counts[operation] = (counts[operation] or 0) + 1
    end
    return counts
  end

  local plain = { access_key_id = "AKIDEXAMPLE", secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" }
  local session = {
    access_key_id = "ASIAEXAMPLE",
    secret_access_key = "a secret/with+signs=",
    session_token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQW==",
  }

  for name, case in pairs {
    ["plain keys"] = { keys = plain, region = "us-east-1", path = "" },
    ["a session token and a path"] = { keys = session, region = "eu-central-1", path = "/a/prefix" },
    ["a path of many signs"] = { keys = plain, region = "us-east-1", path = "/stage-1/~x.y_z" },
  } do
    it("every signature is right with " .. name, function()
      start(fresh.services[1].endpoint)
      local client = fresh.client(("http://127.0.0.1:%s%s"):format(port, case.path), {
        region = case.region, credentials = case.keys,
      })
      local stream = fresh.stream(client, 2, "signed")
      assert(client:put(stream, fresh.bytes, EMOJI .. '"\\\1'))
      local entries = {}
      for i = 1, 501 do
        entries[i] = { data = "x" .. i, partition_key = "k" .. i }
      end
      local _, failed = client:put_many(stream, entries)
      assert.equal(0, failed)
      assert.equal(502, #fresh.read(client, stream))
      client:close()
      local counts = expect_signatures(case.keys, case.region)
      assert.is_true(counts.GetShardIterator == 2 and counts.GetRecords >= 2 and counts.ListShards == 1)
      assert.is_true(counts.PutRecord == 1 and counts.PutRecords == 2 and counts.CreateStream == 1)
      assert.is_true(counts.DescribeStreamSummary >= 1)
      for _, request in ipairs(kept()) do
        assert.equal("POST", request.method)
        assert.equal(case.path == "" and "/" or case.path, request.target)
        assert.equal("127.0.0.1:" .. port, header(request, "host"))
        assert.equal("application/x-amz-json-1.1", header(request, "content-type"))
        assert.is_nil(header(request, "expect"))
        assert.is_nil(header(request, "transfer-encoding"))
        assert.matches("^kinesis%-lua/", header(request, "user-agent"))
        assert.matches("^Kinesis_20131202%.", header(request, "x-amz-target"))
      end
    end)
  end

  it("a call of put_many holds at most 500 records and 10 MiB of them", function()
    start()
    local client = fresh.client("http://127.0.0.1:" .. port)
    local entries, small = {}, { data = "s", partition_key = "k" }
    for i = 1, 25 do
      entries[i] = { data = ("d"):rep(MIB - 3) .. ("%02d"):format(i), partition_key = "k" }
    end
    for _ = 1, 1100 do
      entries[#entries + 1] = small
    end
    local results, failed = client:put_many("recorded", entries)
    client:close()
    assert.equal(0, failed)
    assert.equal(#entries, #results)
    local sizes, total = {}, 0
    for i, request in ipairs(kept()) do
      local records = cjson.decode((codec.base64_decode(request.body))).Records
      local bytes = 0
      for _, record in ipairs(records) do
        bytes = bytes + #codec.base64_decode(record.Data) + #record.PartitionKey
      end
      assert.is_true(#records <= 500)
      assert.is_true(bytes <= 10 * MIB)
      sizes[i] = #records
      total = total + #records
    end
    assert.equal(#entries, total)
    -- as many as may go: ten of a megabyte less a byte, key included
    assert.same({ 10, 10, 500, 500, 105 }, sizes)
  end)

  it("nothing is sent for bad input", function()
    start()
    local client = fresh.client("http://127.0.0.1:" .. port)
    for _, wrong in ipairs {
      function() client:put("", "x") end,
      function() client:put("s", 1) end,
      function() client:put("s", "x", "\255") end,
      function() client:put("s", "x", "k", { explicit_hash_key = "x" }) end,
      function() client:put_many("s", { { data = "x" }, { data = 1 } }) end,
      function() client:shards("a b") end,
      function() client:call("listStreams") end,
    } do
      fresh.complaint(wrong)
    end
    assert(client:put("s", "x", "the last"))
    client:close()
    local requests = kept()
    assert.equal(1, #requests)
    assert.matches("the last", (codec.base64_decode(requests[1].body)), 1, true)
  end)
end)
