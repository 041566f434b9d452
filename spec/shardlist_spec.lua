-- The answers from which a producer knows a stream: its open shards and its settings.
local wire = require("stepped").codec

local LARGEST_HASH = "340282366920938463463374607431768211455"

local function shard(id, first, last, ending)
  return ('{"ShardId":"%s","HashKeyRange":{"StartingHashKey":"%s","EndingHashKey":"%s"},'
    .. '"SequenceNumberRange":{"StartingSequenceNumber":"1"%s}}'):format(id, first, last,
    ending and (',"EndingSequenceNumber":' .. ending) or "")
end

local function never_harms(text, read)
  for i = 0, #text - 1 do
    assert.is_nil((read(text:sub(1, i))), text:sub(1, i))
  end
  for i = 1, #text, os.getenv "SPEC_LESS" and 9 or 1 do
    for _, c in ipairs { "\0", '"', "\\", "{", "]", ",", "9", "-", "\255" } do
      local got = read(text:sub(1, i - 1) .. c .. text:sub(i + 1))
      assert.is_true(got == nil or type(got) == "table")
    end
  end
end

describe("an answer of ListShards", function()
  local ANSWER = '{"Shards":[' .. shard("shardId-1", "0", "9") .. "," .. shard("shardId-2", "0", "99", '"5"') .. ","
    .. shard("shardId-3", "10", LARGEST_HASH, "null") .. '],"NextToken":"to\\"ken"}'

  it("is read: the open shards, and the next token", function()
    local list, token = wire.shard_list(ANSWER)
    assert.same({
      { id = "shardId-1", first = "0", last = "9" }, { id = "shardId-3", first = "10", last = LARGEST_HASH },
    }, list)
    assert.equal('to"ken', token)
    for _, text in ipairs { '{"Shards":[]}', '{"Shards":[],"NextToken":null}', ' {"New":[{}],"Shards":[] } ' } do
      list, token = wire.shard_list(text)
      assert.same({}, list)
      assert.is_nil(token)
    end
  end)

  it("is read in any order, with unknown members", function()
    assert.same({ { id = "s", first = "5", last = "5" } }, wire.shard_list [[{"Shards":[{"New":{"ShardId":7},
      "SequenceNumberRange":{"New":[],"StartingSequenceNumber":"1"},"ParentShardId":"p",
      "HashKeyRange":{"New":null,"EndingHashKey":"5","StartingHashKey":"5"},"ShardId":"s"}]}]])
  end)

  it("holds hash keys of 128 bits", function()
    for _, hash in ipairs {
      "0", "1", "10", "4294967295", "4294967296", "18446744073709551615", "18446744073709551616",
      "79228162514264337593543950335", "79228162514264337593543950336", "170141183460469231731687303715884105727",
      "170141183460469231731687303715884105728", "340282366920938463463374607431768211454", LARGEST_HASH,
    } do
      local list = wire.shard_list('{"Shards":[' .. shard("s", "0", hash) .. "]}")
      assert.equal(hash, list[1].last)
      list = wire.shard_list('{"Shards":[' .. shard("s", hash, LARGEST_HASH) .. "]}")
      assert.equal(hash, list[1].first)
    end
    for _, hash in ipairs {
      "", "-1", "+1", " 1", "1 ", "1.0", "0x1", "1e3", "340282366920938463463374607431768211456",
      "999999999999999999999999999999999999999", "3402823669209384634633746074317682114550",
    } do
      assert.is_nil((wire.shard_list('{"Shards":[' .. shard("s", "0", hash) .. "]}")), hash)
      assert.is_nil((wire.shard_list('{"Shards":[' .. shard("s", hash, LARGEST_HASH) .. "]}")), hash)
    end
  end)

  it("is refused when it has another form", function()
    local range = '"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}'
    local numbers = '"SequenceNumberRange":{"StartingSequenceNumber":"1"}'
    for _, text in ipairs {
      "", "null", "[]", "{}", '{"Shards":null}', '{"Shards":{}}', '{"Shards":[null]}', '{"Shards":[{}]}',
      '{"Shards":[],"NextToken":5}', '{"Shards":[]} x', "<html>", '{"NextToken":"t"}',
      '{"Shards":[{' .. range .. "," .. numbers .. "}]}",
      '{"Shards":[{"ShardId":"",' .. range .. "," .. numbers .. "}]}",
      '{"Shards":[{"ShardId":5,' .. range .. "," .. numbers .. "}]}",
      '{"Shards":[{"ShardId":"s",' .. numbers .. "}]}",
      '{"Shards":[{"ShardId":"s","HashKeyRange":null,' .. numbers .. "}]}",
      '{"Shards":[{"ShardId":"s","HashKeyRange":{"StartingHashKey":"0"},' .. numbers .. "}]}",
      '{"Shards":[{"ShardId":"s","HashKeyRange":{"StartingHashKey":0,"EndingHashKey":"9"},' .. numbers .. "}]}",
      '{"Shards":[{"ShardId":"s",' .. range .. ',"SequenceNumberRange":null}]}',
      '{"Shards":[{"ShardId":"s",' .. range .. ',"SequenceNumberRange":{"EndingSequenceNumber":5}}]}',
      '{"Shards":[' .. shard("s", "10", "9") .. "]}", -- the other way round
      '{"Shards":[' .. shard("s", "0", "9") .. ",]}",
    } do
      assert.is_nil((wire.shard_list(text)), text)
    end
  end)

  it("is refused when cut off anywhere, and harmless when a byte is wrong", function()
    never_harms(ANSWER, wire.shard_list)
  end)
end)

describe("an answer of DescribeStreamSummary", function()
  local function summary(members)
    return wire.stream_summary('{"StreamDescriptionSummary":{' .. members .. "}}")
  end

  it("is read", function()
    assert.same({ service_managed = false, max_record_size = 1048576, open_shards = 0 }, summary "")
    assert.same({ service_managed = true, max_record_size = 10485760, open_shards = 4 }, summary
      '"New":{"OpenShardCount":9},"OpenShardCount":4,"MaxRecordSizeInKiB":10240,"RecordDistributionStrategy":"AUTO"')
    assert.is_false(summary('"RecordDistributionStrategy":"PARTITION_KEY"').service_managed)
    assert.is_false(summary('"RecordDistributionStrategy":null').service_managed)
    assert.same({ service_managed = false, max_record_size = 1048576, open_shards = 0 },
      summary '"MaxRecordSizeInKiB":null,"OpenShardCount":null')
  end)

  it("accepts sizes out of range", function()
    for kib, expected in pairs {
      [1024] = 1048576, [1025] = 1049600, [5000] = 5120000, [10239] = 10484736, [10241] = 10485760, [0] = 1048576,
      ["-1"] = 1048576, [1] = 1048576, ["1e400"] = 10485760, ["-1e400"] = 1048576, ["2048.5"] = 2097664,
    } do
      assert.equal(expected, summary('"MaxRecordSizeInKiB":' .. kib).max_record_size, kib)
    end
    for count, expected in pairs { [7] = 7, ["-7"] = 0, ["1e400"] = 0, ["999999999"] = 999999999, ["1e9"] = 0 } do
      assert.equal(expected, summary('"OpenShardCount":' .. count).open_shards, count)
    end
  end)

  it("is refused when it has another form", function()
    for _, text in ipairs {
      "", "null", "[]", "{}", '{"StreamDescriptionSummary":null}', '{"StreamDescriptionSummary":[]}',
      '{"StreamDescriptionSummary":{}} x', '{"StreamDescription":{}}',
      '{"StreamDescriptionSummary":{"RecordDistributionStrategy":5}}',
    } do
      assert.is_nil(wire.stream_summary(text), text)
    end
  end)

  it("is refused when cut off anywhere, and harmless when a byte is wrong", function()
    never_harms('{"StreamDescriptionSummary":{"RecordDistributionStrategy":"AUTO","MaxRecordSizeInKiB":2048,'
      .. '"OpenShardCount":3}}', wire.stream_summary)
  end)
end)
