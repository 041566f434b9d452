-- One request of put_many: which of its records are sent again and when, and the result of each.
-- Flavours: *lua5.4
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local BROKEN, THROTTLED = stepping.BROKEN, stepping.THROTTLED

local function near(expected, got)
  assert.is_number(got)
  assert.is_true(math.abs(expected - got) < 1e-5, ("expected %s, got %s"):format(expected, got))
end

-- Records whose data decodes to their letter; as base64 the request has them as KEYS says.
local BASE64 = { a = "YQ==", b = "Yg==", c = "Yw==", d = "ZA==" }
local LETTERS = {}
for letter, text in pairs(BASE64) do
  LETTERS[text] = letter
end

local function records(letters)
  local list = {}
  for letter in letters:gmatch "." do
    list[#list + 1] = { data = letter, partition_key = "key-" .. letter }
  end
  return list
end

-- The records of a request, by letter, in order.
local function sent(request)
  assert.equal("PutRecords", request.operation)
  local letters = {}
  for data in request.body:gmatch '"Data":"([^"]*)"' do
    letters[#letters + 1] = LETTERS[data]
  end
  return table.concat(letters)
end

-- An answer with a result for each: a number is a stored record's sequence number, a text an error code.
local function results(...)
  local list, failed = {}, 0
  for i = 1, select("#", ...) do
    local one = select(i, ...)
    if type(one) == "number" then
      list[i] = ('{"ShardId":"shard-%d","SequenceNumber":"%d"}'):format(one % 2, one)
    else
      failed = failed + 1
      list[i] = ('{"ErrorCode":"%s","ErrorMessage":"why %s"}'):format(one, one)
    end
  end
  return { body = ('{"FailedRecordCount":%d,"Records":[%s],"EncryptionType":"KMS"}'):format(failed,
    table.concat(list, ",")) }
end

local SLOW, INTERNAL = "ProvisionedThroughputExceededException", "InternalFailure"

-- The results, a text for each record: its sequence number or code, and attempts.
local function settled(engine)
  local messages = told(engine, "put_many_done")
  assert.equal(1, #messages, "chunks settled")
  local list = {}
  for i, result in ipairs(messages[1].results) do
    list[i] = ("%s x%d"):format(result.code or result.sequence_number, result.attempts)
  end
  return list, messages[1]
end

-- Answers the request in flight and goes on to the next attempt, which must come `rest` seconds later.
local function again(engine, answer, rest)
  near(rest, land(engine, flight(engine, 1)[1], answer))
  flight(engine, 0)
  engine:advance(rest)
  return flight(engine, 1)[1]
end

local function last(engine, answer)
  assert.is_nil(land(engine, flight(engine, 1)[1], answer))
  flight(engine, 0)
  return settled(engine)
end

describe("a chunk of put_many", function()
  after_each(stepping.close_all)

  it("that goes well is one call", function()
    local engine = engine_with {}
    local id, taken = engine:put_many("stream", records "abcd")
    assert.equal(4, taken)
    local request = flight(engine, 1)[1]
    assert.equal("abcd", sent(request))
    assert.equal("stream", stepping.member(request, "StreamName"))
    assert.equal("key-a", stepping.member(request, "PartitionKey"))
    local list, message = last(engine, results(1, 2, 3, 4))
    assert.same({ "1 x1", "2 x1", "3 x1", "4 x1" }, list)
    assert.same({ id, "KMS", "shard-1" }, { message.owner, message.encryption_type, message.results[1].shard_id })
    assert.equal(1, engine:counts().started)
  end)

  it("names the stream by its ARN, and the hash keys that it was given", function()
    local engine = engine_with {}
    local arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s"
    engine:put_many(arn, {
      { data = "a", partition_key = "k" }, { data = "b", partition_key = "k", explicit_hash_key = "42" },
    })
    local request = flight(engine, 1)[1]
    assert.equal(arn, stepping.member(request, "StreamARN"))
    assert.matches('"Yg==","PartitionKey":"k","ExplicitHashKey":"42"', request.body, 1, true)
    assert.is_nil(request.body:match '"YQ==","PartitionKey":"k","ExplicitHashKey"')
  end)

  it("sends the throttled ones again, alone, after a second's part; results keep their order", function()
    local engine = engine_with {}
    engine:put_many("s", records "abcd")
    assert.equal("bd", sent(again(engine, results(1, SLOW, 3, SLOW), 0.5)))
    assert.equal("b", sent(again(engine, results(SLOW, 6), 1)))
    assert.same({ "1 x1", "7 x3", "3 x1", "6 x2" }, (last(engine, results(7))))
  end)

  it("rests shorter after InternalFailure, longer when one of them was throttled", function()
    local engine = engine_with {}
    engine:put_many("s", records "ab")
    again(engine, results(INTERNAL, INTERNAL), 0.025)
    again(engine, results(INTERNAL, SLOW), 1)
    last(engine, results(1, 2))
  end)

  it("waits as long as the service says", function()
    local engine = engine_with {}
    engine:put_many("s", records "ab")
    local answer = results(1, INTERNAL)
    answer.retry_after = "2000"
    assert.equal("b", sent(again(engine, answer, 2)))
  end)

  for _, code in ipairs { "AccessDeniedException", "KMSDisabledException", "ValidationException", "Unheard.Of" } do
    it("does not send a record again that was refused by " .. code, function()
      local engine = engine_with {}
      engine:put_many("s", records "abc")
      assert.equal("b", sent(again(engine, results(1, SLOW, code), 0.5)))
      local list, message = last(engine, results(2))
      assert.same({ "1 x1", "2 x2", code .. " x1" }, list)
      assert.equal("why " .. code, message.results[3].message)
    end)
  end

  it("is over when all that is left was refused", function()
    local engine = engine_with {}
    engine:put_many("s", records "ab")
    assert.same({ "AccessDeniedException x1", "1 x1" }, (last(engine, results("AccessDeniedException", 1))))
    assert.equal(500, engine:counts().quota)
  end)

  it("ends after max_attempts; a record keeps the reason of its last one", function()
    local engine = engine_with { max_attempts = 3 }
    engine:put_many("s", records "abc")
    again(engine, results(1, SLOW, SLOW), 0.5)
    again(engine, results(SLOW, INTERNAL), 1)
    local list, message = last(engine, results(SLOW, INTERNAL))
    assert.same({ "1 x1", SLOW .. " x3", INTERNAL .. " x3" }, list)
    assert.equal("why " .. INTERNAL, message.results[3].message)
  end)

  describe("when the whole call fails", function()
    it("sends all of it again", function()
      local engine = engine_with {}
      engine:put_many("s", records "abc")
      assert.equal("abc", sent(again(engine, BROKEN, 0.025)))
      assert.equal("abc", sent(again(engine, THROTTLED, 1)))
      assert.same({ "1 x3", "2 x3", "3 x3" }, (last(engine, results(1, 2, 3))))
    end)

    it("sends again only what is open", function()
      local engine = engine_with {}
      engine:put_many("s", records "abc")
      assert.equal("b", sent(again(engine, results(1, SLOW, "AccessDeniedException"), 0.5)))
      engine:fail(flight(engine, 1)[1], { trouble = "reset" })
      near(0.05, engine:step())
      engine:advance(0.05)
      assert.equal("b", sent(flight(engine, 1)[1]))
      assert.same({ "1 x1", "2 x3", "AccessDeniedException x1" }, (last(engine, results(2))))
    end)

    it("tells its failure of the open ones when no attempt is left", function()
      local engine = engine_with { max_attempts = 2 }
      engine:put_many("s", records "abc")
      again(engine, results(1, SLOW, SLOW), 0.5)
      engine:fail(flight(engine, 1)[1], { timed_out = true, trouble = "too slow" })
      assert.is_nil(engine:step())
      local list, message = settled(engine)
      assert.same({ "1 x1", "Timeout x2", "Timeout x2" }, list)
      assert.matches("too slow", message.results[2].message, 1, true)
      assert.equal("shard-1", message.results[1].shard_id)
    end)

    it("gives up at once when that cannot help", function()
      local engine = engine_with {}
      engine:put_many("s", records "ab")
      local list, message = last(engine, stepping.error "ResourceNotFoundException")
      assert.same({ "ResourceNotFoundException x1", "ResourceNotFoundException x1" }, list)
      assert.equal("because", message.results[1].message)
    end)

    it("survives an answer without a body", function()
      local engine = engine_with {}
      engine:put_many("s", records "a")
      assert.same({ "BadAnswer x1" }, (last(engine, { status = 403 })))
    end)
  end)

  describe("that is refused for the content of a record", function()
    -- Serves until it is done: a request with one of `bad` is refused. Returns the results, and the sizes of requests.
    local function search(letters, bad, answer_of)
      local engine, sizes = engine_with { max_attempts = 2 }, {}
      engine:put_many("s", records(letters))
      stepping.serve(engine, 50, function(request)
        local found = sent(request)
        sizes[#sizes + 1] = #found
        if found:find(bad) then
          return stepping.error "ValidationException"
        end
        local answer = answer_of and answer_of(found, #sizes)
        if answer then
          return answer
        end
        local numbers = {}
        for i = 1, #found do
          numbers[i] = i
        end
        return results((table.unpack or unpack)(numbers))
      end)
      return settled(engine), sizes
    end

    it("finds it by halves; the others are stored", function()
      local list, sizes = search("abcd", "c")
      assert.same({ "1 x2", "2 x2", "ValidationException x3", "1 x3" }, list)
      assert.same({ 4, 2, 2, 1, 1 }, sizes)
    end)

    it("finds all of them", function()
      assert.same({ "ValidationException x3", "ValidationException x3", "1 x3", "ValidationException x3" },
        (search("abcd", "[abd]")))
      assert.same({ "ValidationException x3", "ValidationException x3", "ValidationException x3",
        "ValidationException x3" }, (search("abcd", ".")))
      assert.same({ "ValidationException x1" }, (search("a", "a")))
    end)

    it("gives a part that fails for another reason its attempts, and the other parts theirs", function()
      assert.same({ "1 x2", "2 x2", INTERNAL .. " x3", INTERNAL .. " x3" },
        (search("abcd", "nothing", function(found, turn)
          return turn == 1 and stepping.error "SerializationException"
            or found:find "[cd]" and results(INTERNAL, INTERNAL) or nil
        end)))
    end)

    it("is sent once when the service names the stream, not a record", function()
      local list, sizes = search("abcd", "nothing", function()
        return { status = 400, body = [[{"__type":"ValidationException","message":"1 validation error detected: Value ]]
          .. [['x' at 'streamARN' failed to satisfy constraint"}]] }
      end)
      assert.same({ { 4 }, "ValidationException x1" }, { sizes, list[1] })
    end)

    it("fails what is left when a part is refused for the caller's sake", function()
      assert.same({ "1 x2", "2 x2", "AccessDeniedException x2", "AccessDeniedException x2" },
        (search("abcd", "nothing", function(found, turn)
          return turn == 1 and stepping.error "InvalidArgumentException"
            or found:find "[cd]" and stepping.error "AccessDeniedException" or nil
        end)))
    end)
  end)

  it("whose answers cannot be read is sent three times at most", function()
    local engine = engine_with { max_attempts = 20 }
    engine:put_many("s", records "ab")
    local garbage = { body = "garbage" }
    again(engine, garbage, 0.025)
    again(engine, BROKEN, 0.05)
    again(engine, garbage, 0.1)
    local list, message = last(engine, garbage)
    assert.same({ "BadAnswer x4", "BadAnswer x4" }, list)
    assert.matches("may be stored up to 3 times", message.results[1].message, 1, true)
  end)

  for what, answer in pairs {
    ["with too few results"] = results(1),
    ["with too many results"] = results(1, 2, 3),
    ["without results"] = { body = '{"FailedRecordCount":0}' },
    ["with results that say nothing"] = { body = '{"Records":[{},{}]}' },
    ["with a result that has no place"] = {
      body = '{"Records":[{"ShardId":"s"},{"ShardId":"s","SequenceNumber":"1"}]}',
    },
    ["that is cut off"] = {
      body = '{"EncryptionType":"KMS","Records":[{"ShardId":"s","SequenceNumber":"1"},{"ShardId":"s"',
    },
    ["with more behind it"] = { body = results(1, 2).body .. "x" },
    ["that is HTML"] = { body = "<html>OK</html>" },
    ["that is empty"] = { body = "" },
  } do
    it(("takes an answer %s for a failure that passes"):format(what), function()
      local engine = engine_with {}
      engine:put_many("s", records "ab")
      assert.equal("ab", sent(again(engine, answer, 0.025)))
      assert.equal("ab", sent(again(engine, answer, 0.05)))
      local list, message = last(engine, answer)
      assert.same({ "BadAnswer x3", "BadAnswer x3" }, list)
      assert.is_nil(message.results[1].sequence_number)
    end)
  end

  it("has room for no more results than it asked for", function()
    local engine = engine_with {}
    engine:put_many("s", records "ab")
    local flood = { body = '{"Records":[' .. ('{"ShardId":"s","SequenceNumber":"1"},'):rep(5000) .. '{}]}' }
    assert.equal("ab", sent(again(engine, flood, 0.025)))
    assert.same({ "1 x2", "2 x2" }, (last(engine, results(1, 2))))
  end)

  it("believes the results, not the count of failures", function()
    local engine = engine_with {}
    engine:put_many("s", records "ab")
    local answer = results(1, SLOW)
    answer.body = answer.body:gsub('"FailedRecordCount":1', '"FailedRecordCount":0')
    assert.equal("b", sent(again(engine, answer, 0.5)))
  end)

  it("takes 500 records", function()
    local engine = engine_with {}
    local many = {}
    for i = 1, 501 do
      many[i] = { data = "a", partition_key = "k" }
    end
    local _, taken = engine:put_many("s", many)
    assert.equal(500, taken)
    assert.equal(500, #sent(flight(engine, 1)[1]))
    local numbers = {}
    for i = 1, 500 do
      numbers[i] = i
    end
    local list = last(engine, results((table.unpack or unpack)(numbers)))
    assert.same({ "1 x1", "500 x1", 500 }, { list[1], list[500], #list })
  end)

  it("takes 10 MiB", function()
    local engine = engine_with {}
    local half = ("x"):rep(5 * 1024 * 1024 - 1)
    local _, taken = engine:put_many("s", { { data = half, partition_key = "k" }, { data = half, partition_key = "k" },
      { data = "", partition_key = "k" } })
    assert.equal(2, taken)
  end)

  it("asks for keys again when the service calls them expired, and goes on", function()
    local engine = engine_with { keyless = true }
    engine:credentials("FIRST", "secret", "token", stepping.NEW_YEAR + 3600)
    engine:put_many("s", records "ab")
    land(engine, flight(engine, 1)[1], stepping.error "ExpiredTokenException")
    assert.equal(1, #told(engine, "credentials_wanted"))
    engine:credentials("SECOND", "secret", "token", stepping.NEW_YEAR + 7200)
    assert.matches("Credential=SECOND/", flight(engine, 1)[1].headers.authorization, 1, true)
    assert.same({ "1 x1", "2 x1" }, (last(engine, results(1, 2))))
  end)

  describe("and the quota of retries", function()
    it("which direct calls have emptied: nothing is sent again", function()
      local engine = engine_with { max_attempts = 36 }
      engine:call("ListStreams", "{}")
      stepping.serve(engine, 1000, function()
        return BROKEN
      end)
      assert.equal(10, engine:counts().quota)
      engine:put_many("s", records "ab")
      local list = last(engine, results(1, INTERNAL))
      assert.same({ "1 x1", INTERNAL .. " x1" }, list)
    end)

    it("which it takes its retries from, like any call", function()
      local engine = engine_with {}
      engine:put_many("s", records "ab")
      again(engine, BROKEN, 0.025)
      assert.equal(486, engine:counts().quota)
    end)

    it("which gets back what a retry cost when that went well", function()
      local engine = engine_with {}
      engine:put_many("s", records "ab")
      again(engine, BROKEN, 0.025)
      last(engine, results(1, 2))
      assert.equal(500, engine:counts().quota)
    end)
  end)

  it("that nobody waits for is dropped, in flight or at rest", function()
    local engine = engine_with {}
    local id = engine:put_many("s", records "ab")
    flight(engine, 1)
    engine:cancel(id)
    assert.is_nil(engine:step())
    flight(engine, 0)
    assert.equal(1, engine:counts().cancelled)
    id = engine:put_many("s", records "ab")
    land(engine, flight(engine, 1)[1], results(1, SLOW))
    engine:cancel(id)
    assert.is_nil(engine:step())
    engine:advance(100)
    flight(engine, 0)
    assert.same({}, told(engine, "put_many_done"))
  end)
end)
