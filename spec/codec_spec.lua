-- The wire layer alone: base64, JSON, the answers of the data operations, signatures. A server's answer can be
-- anything: it is read or refused.
local codec = require("kinesis").codec
local fresh = require "support.fresh"
local wire = require("stepped").codec

local LESS = os.getenv "SPEC_LESS" ~= nil
local STEP = LESS and 9 or 1 -- of loops over every byte

local bytes = {}
for i = 0, 255 do
  bytes[i + 1] = string.char(i)
end
bytes = table.concat(bytes)

describe("base64", function()
  local known = { -- RFC 4648, 10
    [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=", foobar = "Zm9vYmFy",
    ["\0"] = "AA==", ["\0\0\0"] = "AAAA", ["\255\255\255"] = "////", ["\251\239\190"] = "++++",
  }

  it("agrees with known values, both ways", function()
    for plain, text in pairs(known) do
      assert.equal(text, codec.base64_encode(plain))
      assert.equal(plain, codec.base64_decode(text))
    end
  end)

  it("decodes what it encoded, at every length", function()
    for length = 0, 300, STEP do
      local plain = bytes:rep(2):sub(length % 97 + 1, length % 97 + length)
      local text = codec.base64_encode(plain)
      assert.equal(math.ceil(length / 3) * 4, #text)
      assert.equal(plain, codec.base64_decode(text))
    end
    local large = bytes:rep(4 * 4096 + 1) .. "x" -- beyond one step of the encoder
    assert.is_true(codec.base64_decode(codec.base64_encode(large)) == large)
  end)

  it("refuses a wrong character at every place of a text", function()
    for _, wrong in ipairs {
      "Z", "Zg", "Zg=", "=", "==", "===", "====", "Zg===", "Z===", "Zm9v=", "Zg==Zg==", "Zm=v", "=m9v", "Zm9v\n",
      "Zm9\n", " m9v", "Zm9-", "Zm9_", "Zm9\0", "Zm9\200", "Zh==", "Zm9=", "Zm8", "Zm9vZ",
    } do
      local plain, why = codec.base64_decode(wrong)
      assert.is_nil(plain, wrong)
      assert.equal("not base64", why)
    end
    local text = codec.base64_encode(bytes) -- long enough for a decoder of many characters at a time
    for i = 1, #text, STEP do
      for _, c in ipairs { "=", "-", "\n", "\0", "\128", "@", "[", "`", "{", ":", ",", "." } do
        local broken = text:sub(1, i - 1) .. c .. text:sub(i + 1)
        if broken ~= text then
          assert.is_nil((codec.base64_decode(broken)), ("%q at %d"):format(c, i))
        end
      end
    end
  end)

  it("accepts every digit at every position", function()
    local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for value = 0, 63, STEP do
      local digit = digits:sub(value + 1, value + 1)
      for length = 4, 68, 4 do
        local plain = codec.base64_decode(digit:rep(length))
        local group = value * 262144 + value * 4096 + value * 64 + value
        local three = string.char(math.floor(group / 65536), math.floor(group / 256) % 256, group % 256)
        assert.equal(three:rep(length / 4), plain)
      end
    end
  end)
end)

describe("Lua values and JSON", function()
  it("go both ways", function()
    for text, value in pairs {
      ["{}"] = {}, ['{"a":[1,2,[true,false]]}'] = { a = { 1, 2, { true, false } } }, ["[0.1]"] = { 0.1 },
      ['"\\"\\\\\\u0000\195\164"'] = '"\\\0\195\164', ["-1.5e-07"] = -1.5e-7, ["9007199254740992"] = 2 ^ 53,
      ["1.7976931348623157e+308"] = 1.7976931348623157e308, ["true"] = true,
    } do
      assert.equal(text, codec.json_encode(value))
      if text ~= "1.7976931348623157e+308" then -- read to a few units in the last place
        assert.same(value, codec.json_decode(text))
      end
    end
    assert.equal("[1,null,3]", codec.json_encode { 1, nil, 3 })
    assert.equal("null", codec.json_encode(nil))
    assert.same({ b = {} }, codec.json_decode ' {"a":null,"b":[null] } ')
    if math.type then
      assert.equal("integer", math.type(codec.json_decode "1.0"))
      assert.equal("float", math.type(codec.json_decode "1e30"))
    end
  end)

  it("are refused when they have no JSON, or the text is none", function()
    local own = {}
    own.own = own
    for wrong, message in pairs {
      [print] = "a function", [{ [{}] = 1 }] = "a key", [{ 1, a = 2 }] = "a key", [own] = "nested",
      [{ [1e6] = 1 }] = "holes", [{ 0 / 0 }] = "not a number", [{ { -math.huge } }] = "infinite",
      [io.stdout] = "userdata",
    } do
      local text, problem = codec.json_encode(wrong)
      assert.is_nil(text)
      assert.matches(message, problem, 1, true)
    end
    for _, text in ipairs { "", "{", "[1,]", '{"a"}', "nul", "1 2", "NaN", "[" .. ("["):rep(70), "tru" } do
      assert.is_nil(codec.json_decode(text), text)
    end
  end)
end)

describe("JSON", function()
  local function expect(value, text)
    local good, got = wire.json_read(text)
    assert.is_true(good, text)
    assert.equal(value, got, text)
  end

  local function refuse(text)
    local good = wire.json_read(text)
    assert.is_false(good, text)
  end

  it("strings: every escape", function()
    expect('"\\/\b\f\n\r\t', [["\"\\\/\b\f\n\r\t"]])
    expect("", '""')
    expect("a\0b", [["a\u0000b"]])
    expect("\1\31\127", [["\u0001\u001F\u007f"]])
    expect("\194\128\223\191", [["\u0080\u07ff"]])
    expect("\224\160\128\239\191\191", [["\u0800\uFFFF"]])
    expect("\240\144\128\128\244\143\191\191", [["\ud800\udc00\uDBFF\uDFFF"]])
    expect("\240\159\152\128", [["\ud83d\ude00"]])
    expect("\240\159\152\128", '"\240\159\152\128"')
    expect("x\\y", [["x\\y"]])
    expect([[\]], [["\\"]])
    expect([[\"]], [["\\\""]])
    expect("u0041", [["u0041"]])
  end)

  it("strings: half a surrogate pair is a replacement character", function()
    local wrong = "\239\191\189"
    expect(wrong, [["\ud83d"]])
    expect(wrong .. "x", [["\ud83dx"]])
    expect(wrong, [["\ude00"]])
    expect(wrong .. "A", [["\ud83d\u0041"]])
    expect(wrong .. "\240\159\152\128", [["\ud83d\ud83d\ude00"]])
    expect(wrong .. wrong, [["\ude00\ud83d"]])
    expect(wrong .. "\n", [["\ud83d\n"]])
  end)

  it("strings: malformed ones", function()
    for _, text in ipairs {
      '"', '"a', '"a\\', '"a\\"', [["\x"]], [["\u"]], [["\u12"]], [["\u123"]], [["\u123g"]], [["\u 123"]],
      [["\u+123"]], [["\uD83D\u"]], [["\uD83D\u12"]], [["\U0041"]], '"a"b', '"a" "b"', "'a'", '"\\\0"', '\\"a"',
    } do
      refuse(text)
    end
  end)

  it("numbers", function()
    for text, value in pairs {
      ["0"] = 0, ["-0"] = 0, ["1"] = 1, ["-1"] = -1, ["12345"] = 12345, ["0.5"] = 0.5, ["-0.25"] = -0.25,
      ["1e3"] = 1000, ["1E3"] = 1000, ["1e+3"] = 1000, ["1.5e3"] = 1500, ["2.5e-1"] = 0.25, ["1e0"] = 1, ["0e9"] = 0,
      ["1795388188.551"] = 1795388188.551, ["1.795388188551E9"] = 1795388188.551, ["1795388188551"] = 1795388188551,
      ["1795388188551e-3"] = 1795388188.551, ["1.79538818E9"] = 1795388180, ["9007199254740993"] = 9007199254740992,
      ["1e22"] = 1e22, ["100000000000000000000000"] = 1e23, [" 7 "] = 7, ["1795388188.000"] = 1795388188,
    } do
      local good, got = wire.json_read(text)
      assert.is_true(good, text)
      assert.is_true(got == value or math.abs(got / value - 1) < 1e-14, text)
    end
    for seconds = 1795388188, 1795388196 do -- exact to the millisecond
      for millis = 0, 999, 7 * STEP do
        local text = ("%d.%03d"):format(seconds, millis)
        local _, got = wire.json_read(text)
        assert.equal(tonumber(text), got)
        local mantissa = ("%d%03d"):format(seconds, millis):gsub("^(%d)(%d+)$", "%1.%2E9")
        _, got = wire.json_read(mantissa)
        assert.equal(tonumber(mantissa), got)
      end
    end
  end)

  it("numbers out of range are read", function()
    for text, expected in pairs {
      ["1e400"] = 1 / 0, ["-1e999999999999"] = -1 / 0, ["1e-400"] = 0, ["1e-999999999999999999999999"] = 0,
      ["0e99999"] = 0,
    } do
      local good, got = wire.json_read(text)
      assert.is_true(good)
      assert.equal(expected, got)
    end
    assert.is_true((wire.json_read(("9"):rep(100000))))
    assert.is_true((wire.json_read("0." .. ("9"):rep(100000))))
    local _, got = wire.json_read("0." .. ("0"):rep(30) .. "1")
    assert.is_true(math.abs(got / 1e-31 - 1) < 1e-12)
  end)

  it("numbers: malformed ones", function()
    for _, text in ipairs {
      "-", "+1", ".5", "1.", "1.e3", "1e", "1e+", "1e-", "--1", "1-", "0x10", "1_000", "1,5", "NaN", "Infinity", "-.5",
      "1 2", "e5",
    } do
      refuse(text)
    end
  end)

  it("other values are skipped, malformed ones refused", function()
    for _, text in ipairs {
      "null", "true", "false", "{}", "[]", " { } ", '{"a":1}', '[1,"x",null,true,{"b":[]}]', "\t[\r\n1 , 2 ]\n",
      '{"a":{"b":{"c":[[[]]]}}}', '{"":""}',
    } do
      local good, got = wire.json_read(text)
      assert.is_true(good, text)
      assert.is_nil(got)
    end
    for _, text in ipairs {
      "", " ", "nul", "nulll", "tru", "True", "falsee", "{", "}", "[", "]", "{]", "[}", "[1", "[1,", "[1,]", "[,1]",
      "[1 2]", '{"a"}', '{"a":}', '{"a":1,}', '{,"a":1}', '{"a" 1}', '{"a"::1}', "{a:1}", "{1:1}", '{"a":1 "b":2}',
      '{"a":1}}', "[[]", "[]]", "null null", "\239\187\191{}", "<html>", "{}\0", "[1]x", "//", "[1/**/]",
    } do
      refuse(text)
    end
  end)

  it("has a limit of depth", function()
    assert.is_true((wire.json_read(("["):rep(60) .. ("]"):rep(60))))
    refuse(("["):rep(1000) .. ("]"):rep(1000))
    refuse(("["):rep(1000000))
    refuse(('{"a":'):rep(1000000))
  end)

  it("strings that are written are read back", function()
    for _, text in ipairs {
      "", "plain", '"\\/', "\0\1\2\8\9\10\12\13\31\127", "\195\164\226\130\172\240\159\152\128", ("\\"):rep(1000),
      "\226\128\168", "</script>",
    } do
      local written = wire.json_string(text)
      assert.is_nil(written:find "[%z\1-\31]")
      expect(text, written)
    end
    assert.equal([["a\"b\\c"]], wire.json_string 'a"b\\c')
  end)
end)

describe("an answer of GetRecords", function()
  local ANSWER = [[
{"Records":[
  {"SequenceNumber":"1001","ApproximateArrivalTimestamp":1795388188.551,"Data":"aGVsbG8=","PartitionKey":"k\u00e9y"},
  {"Data":"AA==","PartitionKey":"two","SequenceNumber":"1002","ApproximateArrivalTimestamp":1.795388189E9,
   "EncryptionType":"KMS"}],
 "NextShardIterator":"AAA\/BBB","MillisBehindLatest":250,
 "ChildShards":[{"ShardId":"shardId-3","ParentShards":["shardId-1","shardId-2"],
   "HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}]}]]

  it("is read", function()
    local page = codec.get_records(ANSWER)
    assert.equal(2, #page.records)
    local one, two = page.records[1], page.records[2]
    assert.equal("hello", one.data)
    assert.equal("k\195\169y", one.partition_key)
    assert.equal("1001", one.sequence_number)
    assert.equal(1795388188.551, one.arrival_timestamp)
    assert.is_nil(one.encryption_type)
    assert.equal("\0", two.data)
    assert.equal(1795388189, two.arrival_timestamp)
    assert.equal("KMS", two.encryption_type)
    assert.equal("AAA/BBB", page.next_iterator)
    assert.equal(250, page.millis_behind)
    assert.same({ { id = "shardId-3", parent_id = "shardId-1", adjacent_parent_id = "shardId-2" } }, page.children)
  end)

  it("is read in any order, with nulls, with unknown members", function()
    local page = codec.get_records [[
      { "Unknown" : {"a":[1,{"Records":[{}]}]}, "ChildShards":null, "MillisBehindLatest" : null,
        "NextShardIterator":null, "More":"x\"y", "Records" : [ { "New" : [ [ ] ], "EncryptionType":null,
        "PartitionKey":null, "ApproximateArrivalTimestamp":null, "SequenceNumber":"5", "Data":"" , "Z":-1e-5 } ],
        "Last":false } ]]
    assert.equal(1, #page.records)
    local record = page.records[1]
    assert.equal("", record.data)
    assert.is_nil(record.partition_key)
    assert.is_nil(record.encryption_type)
    assert.equal("5", record.sequence_number)
    assert.is_nil(page.next_iterator)
    assert.same({}, page.children)
  end)

  it("may lack PartitionKey, Data and all but the sequence number", function()
    local page = codec.get_records [[{"Records":[{"SequenceNumber":"5"}]}]]
    assert.equal("5", page.records[1].sequence_number)
    assert.equal("", page.records[1].data)
    assert.is_nil(page.records[1].partition_key)
  end)

  it("may hold many records", function()
    local parts = {}
    local count = LESS and 300 or 10000
    for i = 1, count do
      parts[i] = ('{"SequenceNumber":"%d","Data":"eA==","PartitionKey":"k%d"}'):format(i, i)
    end
    local page = codec.get_records('{"Records":[' .. table.concat(parts, ",") .. "]}")
    assert.equal(count, #page.records)
    for i, record in ipairs(page.records) do
      assert.equal(tostring(i), record.sequence_number)
      assert.equal("k" .. i, record.partition_key)
    end
  end)

  it("is refused when cut off anywhere", function()
    for i = 0, #ANSWER - 1 do
      assert.is_nil(codec.get_records(ANSWER:sub(1, i)), ANSWER:sub(1, i))
    end
    for i = 1, #ANSWER - 1 do -- nor without its beginning
      assert.is_nil(codec.get_records(ANSWER:sub(i + 1)), ANSWER:sub(i + 1))
    end
  end)

  it("is harmless when a byte is wrong", function()
    for i = 1, #ANSWER, STEP do
      for _, c in ipairs { "\0", '"', "\\", "{", "]", ",", "9", "\255" } do
        local page = codec.get_records(ANSWER:sub(1, i - 1) .. c .. ANSWER:sub(i + 1))
        assert.is_true(page == nil or type(page.records) == "table")
      end
    end
  end)

  it("is refused when it has another form", function()
    for _, text in ipairs {
      "", "null", "[]", "{}", "true", '"Records"', '{"Records":null}', '{"Records":{}}', '{"Records":[null]}',
      '{"Records":[1]}', '{"Records":[{}]}', '{"Records":[{"SequenceNumber":""}]}',
      '{"Records":[{"SequenceNumber":5}]}', '{"Records":[{"SequenceNumber":null}]}',
      '{"Records":[{"SequenceNumber":"1","Data":"x"}]}',
      '{"Records":[{"SequenceNumber":"1","Data":5}]}', '{"Records":[{"SequenceNumber":"1","Data":"a\\"b="}]}',
      '{"Records":[{"SequenceNumber":"1","PartitionKey":5}]}', '{"Records":[]} x',
      '{"Records":[],"NextShardIterator":5}', '{"Records":[],"MillisBehindLatest":"5"}',
      '{"Records":[],"ChildShards":5}', '{"Records":[],"ChildShards":[{}]}',
      '{"Records":[],"ChildShards":[{"ShardId":null}]}', '{"Records":[{"SequenceNumber":"1"},]}',
      '{"Records":[],"ChildShards":[{"ShardId":"s","ParentShards":[5]}]}', "<html><body>Records</body></html>",
      '{"Records":[],"deep":' .. ("["):rep(100000),
    } do
      assert.is_nil(codec.get_records(text), text:sub(1, 80))
    end
  end)
end)

describe("an answer of PutRecords", function()
  local ANSWER = [[{"FailedRecordCount":1,"EncryptionType":"NONE","Records":[
    {"SequenceNumber":"11","ShardId":"shardId-1","ErrorCode":null,"ErrorMessage":null},
    {"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate \"exceeded\""},
    {"Other":{"a":[]},"ShardId":"shardId-2","SequenceNumber":"12"}]}]]

  it("is read", function()
    assert.same({
      { shard_id = "shardId-1", sequence_number = "11" },
      { code = "ProvisionedThroughputExceededException", message = 'Rate "exceeded"' },
      { shard_id = "shardId-2", sequence_number = "12" },
    }, codec.put_results(ANSWER, 3))
  end)

  it("is refused when it does not have a result for each record", function()
    for _, count in ipairs { 0, 1, 2, 4, 500 } do
      assert.is_nil(codec.put_results(ANSWER, count))
    end
    local result = '{"ShardId":"s","SequenceNumber":"1"}'
    local all = '{"Records":[' .. (result .. ","):rep(499) .. result .. "]}"
    assert.equal(500, #codec.put_results(all, 500))
    assert.is_nil(codec.put_results('{"Records":[' .. (result .. ","):rep(500) .. result .. "]}", 500))
    assert.is_nil(codec.put_results('{"Records":[' .. (result .. ","):rep(100000) .. result .. "]}", 500))
    assert.has_error(function() codec.put_results(all, 501) end)
    assert.has_error(function() codec.put_results(all, -1) end)
  end)

  it("is refused when cut off anywhere", function()
    for i = 0, #ANSWER - 1 do
      assert.is_nil(codec.put_results(ANSWER:sub(1, i), 3), ANSWER:sub(1, i))
    end
  end)

  it("is refused when it has another form", function()
    for _, text in ipairs {
      "", "null", "{}", "[]", '{"Records":null}', '{"Records":[{}]}', '{"Records":[null]}',
      '{"Records":[{"ShardId":"s"}]}', '{"Records":[{"SequenceNumber":"1"}]}',
      '{"Records":[{"ShardId":1,"SequenceNumber":"1"}]}',
      '{"Records":[{"ErrorMessage":"why"}]}', '{"Records":[{"ErrorCode":""}]}', '{"Records":[{"ErrorCode":5}]}',
      '{"Records":[{"ShardId":"s","SequenceNumber":"1"}]', '{"Records":[{"ShardId":"s","SequenceNumber":"1"}]}]',
    } do
      assert.is_nil(codec.put_results(text, 1), text)
    end
  end)

  it("is harmless when a byte is wrong", function()
    for i = 1, #ANSWER, STEP do
      for _, c in ipairs { "\0", '"', "\\", "{", "]", ",", "9" } do
        local results = codec.put_results(ANSWER:sub(1, i - 1) .. c .. ANSWER:sub(i + 1), 3)
        assert.is_true(results == nil or #results == 3)
      end
    end
  end)
end)

describe("a signature", function()
  local EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  local FORM = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"
  local TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"

  -- AWS's published test suite of Signature Version 4: the same keys, moment and host throughout.
  local function sign(case)
    local headers = { { "host", "example.amazonaws.com" }, { "x-amz-date", "20150830T123600Z" } }
    for _, header in ipairs(case.headers or {}) do
      headers[#headers + 1] = header
    end
    table.sort(headers, function(a, b) return a[1] < b[1] end)
    return codec.sign {
      access_key_id = "AKIDEXAMPLE",
      secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
      region = "us-east-1",
      service = "service",
      date = "20150830T123600Z",
      method = case.method or "GET",
      path = case.path or "/",
      query = case.query,
      payload = case.payload,
      headers = headers,
    }
  end

  local cases = {
    ["get-vanilla"] = { signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    ["post-vanilla"] = {
      method = "POST", signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    },
    ["get-header-value-trim"] = {
      headers = { { "my-header1", " value1" }, { "my-header2", ' "a   b   c"' } },
      signature = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
      canonical = table.concat({
        "GET", "/", "", "host:example.amazonaws.com", "my-header1:value1", 'my-header2:"a b c"',
        "x-amz-date:20150830T123600Z", "", "host;my-header1;my-header2;x-amz-date", EMPTY,
      }, "\n"),
    },
    ["get-vanilla-with-session-token"] = {
      headers = { { "x-amz-security-token", TOKEN } },
      signature = "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
    },
    ["get-unreserved"] = {
      path = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
      signature = "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    },
    ["post-header-key-sort"] = {
      method = "POST", headers = { { "my-header1", "value1" } },
      signature = "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    },
    ["post-vanilla-query"] = {
      method = "POST", query = "Param1=value1",
      signature = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    },
    ["get-vanilla-query-order-key-case"] = {
      query = "Param1=value1&Param2=value2",
      signature = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    },
    ["post-x-www-form-urlencoded"] = {
      method = "POST", payload = "Param1=value1",
      headers = {
        { "content-length", "13" }, { "content-type", "application/x-www-form-urlencoded" },
        { "x-amz-content-sha256", FORM },
      },
      signature = "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
    },
  }

  for name, case in pairs(cases) do
    it("is that of the published vector " .. name, function()
      local authorization, canonical, to_sign = sign(case)
      if case.canonical then
        assert.equal(case.canonical, canonical)
      end
      assert.matches("^AWS4%-HMAC%-SHA256\n20150830T123600Z\n20150830/us%-east%-1/service/aws4_request\n%x+$", to_sign)
      local names = canonical:match "\n\n([^\n]*)\n%x+$"
      assert.equal(("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        .. "SignedHeaders=%s, Signature=%s"):format(names, case.signature), authorization)
    end)
  end

  it("hashes the payload, and covers every part of the request", function()
    local authorization, canonical = sign { payload = "" }
    assert.equal(EMPTY, canonical:sub(-64))
    local other, form = sign { payload = "Param1=value1" }
    assert.equal(FORM, form:sub(-64))
    assert.is_true(authorization ~= other)
    local nul, nul_form = sign { payload = "Param1=value1\0" }
    assert.is_true(nul ~= other and nul_form ~= form)
  end)

  it("checks its arguments", function()
    assert.has_error(function() codec.sign() end)
    assert.has_error(function() codec.sign {} end)
    assert.has_error(function() codec.sign { date = "20150830T123600Z" } end)
    assert.has_error(function() codec.sign { date = "2015", headers = {} } end)
    assert.has_error(function() codec.sign { date = "20150830T123600Z", headers = { {} } } end)
    assert.has_error(function() codec.sign { date = "20150830T123600Z", headers = { "x" } } end)
    assert.has_error(function() codec.sign { date = "20150830T123600Z", headers = { { "x", 5 } } } end)
    local many = {}
    for i = 1, 65 do
      many[i] = { "x" .. i, "y" }
    end
    assert.has_error(function() codec.sign { date = "20150830T123600Z", headers = many } end)
  end)

  it("functions of the codec check that they are given strings", function()
    for name, f in pairs(codec) do
      for _, wrong in ipairs(name ~= "json_encode" and { false, true } or {}) do
        assert.has_error(function() f(wrong or nil) end, nil, name)
      end
    end
  end)
end)

describe("every prefix of a response, at the end of accessible memory", function()
  for _, target in ipairs {
    "json", "base64", "getrecords", "putrecords", "aggregate", "cursor", "shardlist", "dynamo", "eventstream",
    "answer", "leases",
  } do
    it("is read or refused by " .. target, function()
      local output, status = fresh.spawn(("build/fenced/%s spec/fuzz/seeds/%s/*"):format(target, target)):wait()
      assert.equal(0, status, output)
      assert.is_true(tonumber(output:match "^(%d+) prefixes\n$") > 50, output)
    end)
  end
end)
