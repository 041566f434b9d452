-- Aggregates as the Kinesis Producer Library makes them: against AWS's own module for Node, by hand, and broken.
local cjson = require("cjson").new()
local codec = require("kinesis").codec
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local MIB = 1024 * 1024
local EMPTY = {}
local LARGEST_HASH = "340282366920938463463374607431768211455"

local LESS = os.getenv "SPEC_LESS" ~= nil

-- The results of aws-kinesis-agg: lists of the same length.
local function oracle(asked)
  local file = os.tmpname()
  local out = assert(io.open(file, "w"))
  out:write(cjson.encode {
    records = asked.records or EMPTY, aggregates = asked.aggregates or EMPTY,
    messages = asked.messages or EMPTY, keys = asked.keys or EMPTY,
  })
  out:close()
  local output, status = fresh.node("oracles/aggregates.mjs", nil, file):wait()
  os.remove(file)
  assert.equal(0, status, output)
  return cjson.decode(output)
end

local function hex(bytes)
  return (bytes:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end))
end

local function unhex(text)
  return (text:gsub("%s", ""):gsub("%x%x", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local function list_of(item, make)
  local list = {}
  for i, each in ipairs(item) do
    list[i] = make(each)
  end
  return list
end

-- ---- random records, the same in every interpreter ----

local state = 1
local function random(from, to) -- Park and Miller's
  state = state * 16807 % 2147483647
  return from + state % (to - from + 1)
end

local LETTERS = {
  "a", "b", "Z", "0", "7", " ", '"', "\\", "/", "\0", "\1", "\n", "\127", "\195\164", "\226\130\172", "\239\191\191",
  "\240\159\152\128",
}
local BYTES = fresh.bytes:rep(61 * 4) .. fresh.bytes:reverse():rep(61 * 4)

local function random_key()
  local letters, length = { "k" }, random(1, 50) == 1 and 256 or random(1, 20)
  for i = 2, length do
    letters[i] = LETTERS[random(1, #LETTERS)]
  end
  return table.concat(letters)
end

local function random_hash_key()
  if random(1, 10) == 1 then
    return LARGEST_HASH
  end
  local digits = {}
  for i = 1, random(11, 38) do
    digits[i] = random(i == 1 and 1 or 0, 9)
  end
  return table.concat(digits)
end

local function random_data()
  local roll = random(1, 1000)
  local most = roll <= 2 and 60 * 1024 or roll <= 20 and 4000 or roll <= 300 and 400 or roll <= 900 and 40 or 0
  local length = random(0, most)
  local from = random(1, #BYTES - length)
  return BYTES:sub(from, from + length - 1)
end

-- Keys that aws-kinesis-agg confuses: its tables are objects, whose members come in another order when their names
-- look like indices, and its records then point to the wrong ones.
local CONFUSING = { "0", "7", "10", "4294967294" }

local function random_aggregate(most, confusing)
  local keys, hash_keys, records = {}, {}, {}
  for i = 1, random(1, 40) do
    keys[i] = confusing and i <= #CONFUSING and CONFUSING[#CONFUSING + 1 - i] or random_key()
  end
  for i = 1, random(1, 5) do
    hash_keys[i] = confusing and i == 1 and "0" or random_hash_key()
  end
  for i = 1, random(1, most) do
    records[i] = {
      data = random_data(), partition_key = keys[random(1, #keys)],
      explicit_hash_key = random(1, 4) == 1 and hash_keys[random(1, #hash_keys)] or nil,
    }
  end
  return records
end

local function for_oracle(records)
  return list_of(records, function(record)
    return { data = codec.base64_encode(record.data), key = record.partition_key, hash = record.explicit_hash_key }
  end)
end

local function expect_records(expected, got)
  assert.equal(#expected, #got)
  for i, record in ipairs(expected) do
    local same = record.data == got[i].data and record.partition_key == got[i].partition_key
      and record.explicit_hash_key == got[i].explicit_hash_key
    assert.is_true(same and (got[i].sub_sequence_number or i - 1) == i - 1, "record " .. i)
  end
end

local function from_oracle(records)
  return list_of(records, function(record)
    return { data = codec.base64_decode(record.data), partition_key = record.key, explicit_hash_key = record.hash }
  end)
end

-- ---- against aws-kinesis-agg ----

describe("aws-kinesis-agg", function()
  it("and the library deaggregate each other's aggregates, and write the same bytes", function()
    local total = LESS and 400 or os.getenv "SPEC_FULL" and 100000 or 10000
    local done, equal = 0, 0
    while done < total do
      local wanted, ours, canonical, theirs = {}, {}, {}, {}
      local count = 0
      while count < math.min(total, 10000) do
        local i = #wanted + 1
        local confusing = i % 10 == 0
        wanted[i] = random_aggregate(200, confusing)
        ours[i] = kinesis.aggregate(wanted[i])
        if not confusing then
          canonical[#canonical + 1] = i
          theirs[#theirs + 1] = for_oracle(wanted[i])
        end
        count = count + #wanted[i]
      end
      local answer = oracle { records = theirs, aggregates = list_of(ours, codec.base64_encode) }
      for i, records in ipairs(wanted) do
        expect_records(records, from_oracle(answer.records[i]))
        expect_records(records, kinesis.deaggregate(ours[i]))
      end
      for at, i in ipairs(canonical) do
        local bytes = codec.base64_decode(answer.aggregates[at])
        expect_records(wanted[i], kinesis.deaggregate(bytes))
        assert.is_true(bytes == ours[i])
        equal = equal + 1
      end
      done = done + count
    end
    assert.is_true(equal > total / 200)
  end)

  for _, service in ipairs(fresh.services) do
    it("makes aggregates that a reader of " .. service.name .. " takes apart", function()
      local client = fresh.client(service)
      local stream = fresh.stream(client, 1, "theirs")
      local wanted, theirs = {}, {}
      for i = 1, 40 do
        local records = random_aggregate(100)
        theirs[i] = for_oracle(records)
        for _, record in ipairs(records) do
          wanted[#wanted + 1] = record
        end
      end
      for _, data in ipairs(oracle({ records = theirs }).aggregates) do -- in this order
        assert(client:put(stream, codec.base64_decode(data), "k"))
      end
      local got = fresh.read(client, stream)
      assert.equal(#wanted, #got)
      for i, record in ipairs(wanted) do
        assert.is_true(record.data == got[i].data and record.partition_key == got[i].partition_key
          and record.explicit_hash_key == got[i].explicit_hash_key, "record " .. i)
      end
      client:close()
    end)
  end

  it("does not write confusing keys where its records look for them", function()
    local records = { { data = "x", partition_key = "7" }, { data = "y", partition_key = "5" } }
    local answer = oracle { records = { for_oracle(records) } }
    local got = kinesis.deaggregate(codec.base64_decode(answer.aggregates[1]))
    assert.same({ "5", "7" }, { got[1].partition_key, got[2].partition_key })
  end)

  it("made this", function() -- by RecordAggregator, the records in this order
    local golden = unhex [[
      f3899ac2 0a036f6e65 0a0574776fc3a9
      1227333430323832333636393230393338343633343633333734363037343331373638323131343535
      1a0808001a0468690021 1a06080110001a00 1a0608001a020001 15b6035f8d0f92c614f177cd41f902f3]]
    local records = {
      { data = "hi\0!", partition_key = "one" },
      { data = "", partition_key = "two\195\169", explicit_hash_key = LARGEST_HASH },
      { data = "\0\1", partition_key = "one" },
    }
    expect_records(records, assert(kinesis.deaggregate(golden)))
    assert.equal(hex(golden), hex((kinesis.aggregate(records))))
    assert.equal(hex(golden), hex(codec.base64_decode(oracle({ records = { for_oracle(records) } }).aggregates[1])))
  end)
end)

-- ---- the functions ----

describe("aggregate", function()
  local function complain(f, message)
    assert.equal(message, fresh.complaint(f))
  end

  it("returns the hash key of the first record as the aggregate's", function()
    local k, l = { data = "x", partition_key = "k" }, { data = "x", partition_key = "l" }
    local _, key, hash_key = kinesis.aggregate { k, l }
    assert.same({ "a", kinesis.hash_key "k" }, { key, hash_key })
    local _, _, explicit = kinesis.aggregate { { data = "x", partition_key = "k", explicit_hash_key = "12" } }
    assert.equal("12", explicit)
  end)

  it("names each key once", function()
    local records = {}
    for i = 1, 1000 do
      records[i] = { data = "", partition_key = ("k"):rep(100) .. i % 3, explicit_hash_key = tostring(i % 2) }
    end
    local data = kinesis.aggregate(records)
    assert.equal(20 + 3 * 103 + 2 * 3 + 1000 * 8, #data)
    expect_records(records, kinesis.deaggregate(data))
    for i = 1, 1000 do -- many keys, none twice
      records[i].partition_key = "k" .. i % 700
    end
    expect_records(records, kinesis.deaggregate((kinesis.aggregate(records))))
    local _, times = kinesis.aggregate(records):gsub("\10\4k699", "")
    assert.equal(1, times)
    for i = 1, 256 do -- each the beginning of the next
      records[i] = { data = "", partition_key = ("k"):rep(i), explicit_hash_key = ("1"):rep(i % 30 + 1) }
    end
    expect_records(records, kinesis.deaggregate((kinesis.aggregate(records))))
  end)

  it("takes what a record holds, and no byte more", function()
    local largest = 10 * MIB - 20 - 3 - 1 - 4 - 2 - 1 - 4 -- frame, key, record, its length, index, data, its length
    local record = { data = ("x"):rep(largest), partition_key = "k" }
    local data = kinesis.aggregate { record }
    assert.equal(10 * MIB, #data)
    assert.is_true(kinesis.deaggregate(data)[1].data == record.data)
    record.data = record.data .. "x"
    complain(function() kinesis.aggregate { record } end, "aggregate: records[1] makes the aggregate 10485761 bytes; "
      .. "a record holds at most 10485760 (10 MiB)")
    local half = { data = ("x"):rep(4 * MIB), partition_key = "k" }
    complain(function() kinesis.aggregate { half, half, half, half } end, "aggregate: records[3] makes the aggregate "
      .. "12582971 bytes; a record holds at most 10485760 (10 MiB)")
  end)

  it("names the index of a wrong record", function()
    local good = { data = "x", partition_key = "k" }
    for message, records in pairs {
      ["records is empty"] = {},
      ["records must be a list of tables, got string"] = "x",
      ["records[2] must be a table {data=, partition_key=}, got string"] = { good, "x" },
      ["records[3].data must be a string, got number"] = { good, good, { data = 5, partition_key = "k" } },
      ["records[1].data must be a string, got nil"] = { {} },
      ["records[2].partition_key must be a string, got nil"] = { good, { data = "x" } },
      ["records[2].partition_key must be a string, got number"] = { good, { data = "x", partition_key = 5 } },
      ["records[1].partition_key is empty"] = { { data = "x", partition_key = "" } },
      ["records[1].partition_key is not UTF-8 text"] = { { data = "x", partition_key = "\255" } },
      ["records[1].partition_key is 257 characters long; the limit is 256"] =
        { { data = "x", partition_key = ("k"):rep(257) } },
      ["records[1].explicit_hash_key must be a decimal number from 0 to 2^128-1, as a string"] =
        { { data = "x", partition_key = "k", explicit_hash_key = "340282366920938463463374607431768211456" } },
      ["records[1].data is 10485761 bytes; a record holds at most 10485760 (10 MiB)"] =
        { { data = ("x"):rep(10 * MIB + 1), partition_key = "k" } },
    } do
      complain(function() kinesis.aggregate(records) end, "aggregate: " .. message)
    end
    complain(function() kinesis.aggregate() end, "aggregate: records must be a list of tables, got nil")
  end)

  it("survives records that raise when they are read", function()
    local raising = setmetatable({}, { __index = function() error("no", 0) end })
    for _ = 1, 100 do
      local good, err = pcall(kinesis.aggregate, { { data = ("x"):rep(1000), partition_key = "k" }, raising })
      assert.same({ false, "no" }, { good, err })
    end
    fresh.collect()
  end)
end)

describe("hash_key", function()
  it("is Node's MD5 as a number", function()
    local keys = { "a", "k", fresh.name(), ("k"):rep(256), ("\240\159\152\128"):rep(256) }
    for i = #keys + 1, LESS and 200 or 5000 do
      keys[i] = random_key()
    end
    for i, hash in ipairs(oracle({ keys = keys }).hashes) do
      assert.equal(hash, kinesis.hash_key(keys[i]))
    end
  end)

  it("is right at both ends", function()
    -- found by search: digests that begin with zeros and with ones
    assert.equal("721068575128694003929114724746765", kinesis.hash_key "k5076")
    assert.equal("340281362646139108944122235166387274495", kinesis.hash_key "k11317")
  end)

  it("refuses a wrong partition key", function()
    for message, key in pairs {
      ["partition_key must be a string, got number"] = 5, ["partition_key is empty"] = "",
      ["partition_key is not UTF-8 text"] = "\255",
      ["partition_key is 257 characters long; the limit is 256"] = ("k"):rep(257),
    } do
      assert.equal("hash_key: " .. message, fresh.complaint(function() kinesis.hash_key(key) end))
    end
    assert.equal("hash_key: partition_key must be a string, got nil",
      fresh.complaint(function() kinesis.hash_key() end))
  end)
end)

-- ---- reading, by hand ----

local function varint(value)
  local text = ""
  while value >= 128 do
    text, value = text .. string.char(value % 128 + 128), math.floor(value / 128)
  end
  return text .. string.char(value)
end

local function number(field, value)
  return varint(field * 8) .. varint(value)
end

local function bytes(field, value)
  return varint(field * 8 + 2) .. varint(#value) .. value
end

-- Messages with magic and MD5.
local function framed(messages)
  return list_of(oracle({ messages = list_of(messages, codec.base64_encode) }).frames, codec.base64_decode)
end

local KEY, HASH = bytes(1, "key"), bytes(2, "55")
local RECORD = number(1, 0) .. bytes(3, "data")
local READ = { { data = "data", partition_key = "key", sub_sequence_number = 0 } }

describe("deaggregate", function()
  it("takes fields in any order, again, and unknown", function()
    local hashed = { { data = "data", partition_key = "key", explicit_hash_key = "55", sub_sequence_number = 0 } }
    local cases = {
      { KEY .. bytes(3, RECORD), READ },
      { bytes(3, RECORD) .. KEY, READ },
      { KEY .. HASH .. bytes(3, RECORD), READ },
      { HASH .. bytes(3, bytes(3, "data") .. number(2, 0) .. number(1, 0)) .. KEY, hashed },
      { KEY .. HASH .. bytes(2, "66") .. bytes(3, number(2, 1) .. RECORD .. number(2, 0)), hashed },
      { KEY .. bytes(1, "x") .. bytes(3, number(1, 1) .. bytes(3, "y") .. RECORD), READ }, -- the last one counts
      { KEY .. bytes(3, RECORD .. bytes(4, bytes(1, "tag") .. bytes(2, "value")) .. bytes(4, "\255")), READ },
      { KEY .. bytes(3, RECORD .. number(5, 7) .. varint(6 * 8 + 1) .. "12345678" .. varint(7 * 8 + 5) .. "1234"),
        READ },
      { number(9, 300) .. KEY .. bytes(100, "?") .. bytes(3, RECORD) .. varint(8 * 536870911 + 5) .. "1234", READ },
      { KEY .. bytes(3, "\8\128\128\128\128\128\128\128\128\128\0" .. bytes(3, "data")), READ }, -- a long zero
      { bytes(1, "other") .. KEY .. KEY .. bytes(3, number(1, 2) .. bytes(3, "data")), READ },
      { bytes(1, "") .. bytes(3, number(1, 0) .. bytes(3, "")),
        { { data = "", partition_key = "", sub_sequence_number = 0 } } },
      { KEY .. bytes(2, "") .. bytes(3, RECORD .. number(2, 0)), READ }, -- an empty hash key is none
    }
    local frames = framed(list_of(cases, function(case)
      return case[1]
    end))
    for i, case in ipairs(cases) do
      assert.same(case[2], kinesis.deaggregate(frames[i]), i)
    end
  end)

  it("refuses an aggregate with any mistake", function()
    local cases = {
      KEY, HASH, bytes(3, RECORD), HASH .. bytes(3, RECORD), -- no record, no key
      KEY .. bytes(3, ""), KEY .. bytes(3, number(1, 0)), KEY .. bytes(3, bytes(3, "data")),
      KEY .. bytes(3, number(1, 1) .. bytes(3, "data")), KEY .. bytes(3, RECORD .. number(2, 0)),
      KEY .. HASH .. bytes(3, RECORD .. number(2, 1)), KEY .. bytes(3, RECORD) .. bytes(3, ""),
      KEY .. bytes(3, "\8\255\255\255\255\255\255\255\255\255\1" .. bytes(3, "data")), -- 2^64-1
      KEY .. bytes(3, "\8\128\128\128\128\128\128\128\128\128\128\0" .. bytes(3, "data")), -- eleven bytes
      KEY .. bytes(3, bytes(1, "0") .. bytes(3, "data")), KEY .. bytes(3, number(1, 0) .. number(3, 5)),
      KEY .. bytes(3, RECORD .. bytes(2, "0")), number(1, 5) .. bytes(3, RECORD),
      KEY .. bytes(3, RECORD) .. number(3, 5), KEY .. bytes(3, RECORD) .. number(2, 5),
      KEY .. bytes(3, RECORD) .. "\10", KEY .. bytes(3, RECORD) .. "\10\5four", KEY .. bytes(3, RECORD) .. "\128",
      KEY .. bytes(3, RECORD) .. varint(9 * 8 + 1) .. "1234567", KEY .. bytes(3, RECORD) .. varint(9 * 8 + 5) .. "123",
      KEY .. bytes(3, RECORD) .. "\26\255\255\255\255\255\255\255\255\255\1x", -- a length of 2^64-1
      KEY .. bytes(3, RECORD .. "\34\5tag"),
    }
    for _, kind in ipairs { 3, 4, 6, 7 } do -- groups, and what there is not
      cases[#cases + 1] = KEY .. bytes(3, RECORD) .. varint(9 * 8 + kind)
      cases[#cases + 1] = KEY .. bytes(3, RECORD .. varint(9 * 8 + kind))
    end
    for i, frame in ipairs(framed(cases)) do
      assert.is_nil((kinesis.deaggregate(frame)), i .. ": " .. hex(cases[i]))
    end
  end)

  it("returns the data when it is not an aggregate", function()
    for _, data in ipairs {
      "", "x", "\243\137\154\194", "\243\137\154\194" .. ("\0"):rep(16),
      "\243\137\154\194" .. ("\0"):rep(100), fresh.bytes,
    } do
      local records, err = kinesis.deaggregate(data)
      assert.is_nil(records)
      assert.equal("BadAnswer", err.code)
      assert.equal("BadAnswer: the data is no aggregate of the Kinesis Producer Library", tostring(err))
    end
    assert.is_nil((kinesis.deaggregate(framed { "" }[1]))) -- the right digest of nothing
    assert.equal("deaggregate: data must be a string, got table",
      fresh.complaint(function() kinesis.deaggregate {} end))
    assert.equal("deaggregate: data must be a string, got number",
      fresh.complaint(function() kinesis.deaggregate(5) end))
  end)

  it("takes many tables of many keys", function()
    local parts, count = {}, LESS and 500 or 20000
    for i = 1, count do
      local record = number(1, count - i) .. number(2, 0) .. bytes(3, "")
      parts[i] = bytes(1, "k" .. i) .. bytes(2, tostring(i)) .. bytes(3, record)
    end
    local records = kinesis.deaggregate(framed { table.concat(parts) }[1])
    assert.equal(count, #records)
    for i, record in ipairs(records) do
      assert.equal("k" .. count + 1 - i, record.partition_key)
      assert.equal("1", record.explicit_hash_key)
    end
  end)
end)

describe("a small aggregate", function()
  local whole = kinesis.aggregate {
    { data = "one", partition_key = "k" }, { data = "two", partition_key = "l", explicit_hash_key = "5" },
  }

  it("is refused when cut off anywhere, and with anything behind it", function()
    for i = 0, #whole - 1 do
      assert.is_nil((codec.deaggregate(whole:sub(1, i))), i)
      assert.is_nil((codec.deaggregate(whole:sub(i + 2))), i)
    end
    assert.is_nil((codec.deaggregate(whole .. "\0")))
  end)

  it("is refused when any byte is changed", function()
    for i = 1, #whole do
      for change = 1, 255, LESS and 50 or 1 do
        local other = string.char((whole:byte(i) + change) % 256)
        assert.is_nil((codec.deaggregate(whole:sub(1, i - 1) .. other .. whole:sub(i + 1))), i)
      end
    end
  end)

  it("is read as aws-kinesis-agg reads it, or refused, when any byte is changed and the digest is right", function()
    local message = whole:sub(5, -17)
    local messages = {}
    for i = 1, #message do
      messages[#messages + 1] = message:sub(1, i - 1)
      for change = 1, 255, LESS and 50 or 1 do
        local other = string.char((message:byte(i) + change) % 256)
        messages[#messages + 1] = message:sub(1, i - 1) .. other .. message:sub(i + 1)
      end
    end
    local frames = framed(messages)
    local theirs = oracle({ aggregates = list_of(frames, codec.base64_encode) }).records
    local both = 0
    for i, frame in ipairs(frames) do
      local ours = codec.deaggregate(frame)
      if ours and theirs[i] ~= cjson.null then
        local wanted = from_oracle(theirs[i])
        for at, record in ipairs(ours) do
          for _, name in ipairs { "partition_key", "explicit_hash_key" } do
            if (record[name] or ""):find "[\128-\255]" then -- not UTF-8: Node replaces it
              record[name], wanted[at][name] = nil, nil
            end
          end
        end
        local same, why = pcall(expect_records, wanted, ours)
        assert.is_true(same, hex(messages[i]) .. ": " .. tostring(why))
        both = both + 1
      end
    end
    assert.is_true(both > (LESS and 10 or 1000))
  end)
end)
