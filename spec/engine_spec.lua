-- The engine without a thread: the spec moves its clock and answers its requests.
-- Flavours: *lua5.4
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local refuse, near, answer_of, fail_once = stepping.refuse, stepping.near, stepping.answer_of, stepping.fail_once
local BROKEN, THROTTLED, FINE, NEW_YEAR = stepping.BROKEN, stepping.THROTTLED, stepping.FINE, stepping.NEW_YEAR

describe("the engine", function()
  after_each(stepping.close_all)

  describe("retries", function()
    it("wait 50 ms, doubled each time, after a transient error", function()
      local engine = engine_with {}
      engine:randoms(0.5, 1, 0.25)
      local id = engine:call("ListStreams", "{}")
      near(0.050, refuse(engine, BROKEN))
      near(0.025, refuse(engine, BROKEN))
      assert.is_nil(refuse(engine, BROKEN))
      local answer = answer_of(engine)
      assert.equal(id, answer.owner)
      assert.equal(3, answer.attempts)
      assert.same({ "InternalFailure", "transient", 500, "ListStreams", "because" }, {
        answer.failure.code, answer.failure.class, answer.failure.status, answer.failure.operation,
        answer.failure.message,
      })
    end)

    it("wait a second, doubled each time, after throttling", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      near(0.5, refuse(engine, THROTTLED))
      near(1, refuse(engine, THROTTLED))
      assert.is_nil(refuse(engine, THROTTLED))
      assert.equal("throttled", answer_of(engine).failure.class)
    end)

    it("wait at most 20 seconds", function()
      local engine = engine_with { max_attempts = 40 }
      engine:call("ListStreams", "{}")
      for _, rest in ipairs { 0.5, 1, 2, 4, 8, 10, 10 } do
        near(rest, refuse(engine, THROTTLED))
      end
      for _ = 8, 39 do
        near(10, refuse(engine, THROTTLED))
      end
      assert.is_nil(refuse(engine, THROTTLED))
    end)

    it("send nothing before the delay is over", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], BROKEN)
      engine:advance(0.024)
      near(0.001, engine:step())
      flight(engine, 0)
      engine:advance(0.001)
      flight(engine, 1)
    end)

    for after, rest in pairs {
      ["3000"] = 3, ["26"] = 0.026, ["10"] = 0.025, ["0"] = 0.025, ["60000"] = 5.025, ["5026"] = 5.025,
      ["-1"] = 0.025, ["soon"] = 0.025, ["1.5"] = 0.025, ["3000ms"] = 0.025, ["0x10"] = 0.025, [""] = 0.025,
      ["99999999999999999999"] = 0.025,
    } do
      it(("wait %.3f s with x-amz-retry-after: %q"):format(rest, after), function()
        local engine = engine_with {}
        engine:call("ListStreams", "{}")
        near(rest, refuse(engine, stepping.error("InternalFailure", 500, { retry_after = after })))
      end)
    end

    for _, status in ipairs { 500, 502, 503, 504, 429 } do
      it("follow a bare HTTP " .. status, function()
        local engine = engine_with {}
        local answer = fail_once(engine, { status = status, body = "<html>upstream</html>" }, FINE)
        assert.is_nil(answer.failure)
        assert.equal("{}", answer.body)
        assert.equal(2, answer.attempts)
      end)
    end

    for _, status in ipairs { 301, 400, 404, 413, 501, 505 } do
      it(("do not follow a bare HTTP %d, which is quoted"):format(status), function()
        local engine = engine_with {}
        engine:call("ListStreams", "{}")
        assert.is_nil(refuse(engine, { status = status, body = "<html>nothing here</html>" }))
        local failure = answer_of(engine).failure
        assert.same({ "BadAnswer", "fatal", status }, { failure.code, failure.class, failure.status })
        assert.matches("nothing here", failure.message, 1, true)
      end)
    end

    it("follow an error without a body", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      assert.is_nil(refuse(engine, { status = 403 }))
      assert.equal("BadAnswer", answer_of(engine).failure.code)
    end)

    for _, code in ipairs {
      "ResourceNotFoundException", "InvalidArgumentException", "AccessDeniedException", "ValidationException",
      "ResourceInUseException", "UnknownOperationException",
    } do
      it("do not follow " .. code, function()
        local engine = engine_with {}
        engine:call("ListStreams", "{}")
        assert.is_nil(refuse(engine, stepping.error(code)))
        local answer = answer_of(engine)
        assert.same({ code, "fatal", 1 }, { answer.failure.code, answer.failure.class, answer.attempts })
        assert.equal(500, engine:counts().quota)
      end)
    end

    it("take the code from the header, without its namespace and URL", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      near(0.5, refuse(engine, {
        status = 400, body = '{"__type":"Other","message":"m"}', request_id = "r-1",
        error_type = "com.amazonaws.kinesis#LimitExceededException:http://internal/",
      }))
      refuse(engine, {
        status = 400, body = '{"__type":"com.amazonaws#ResourceNotFoundException"}', request_id = "r-2",
      })
      local failure = answer_of(engine).failure
      assert.same({ "ResourceNotFoundException", "r-2" }, { failure.code, failure.request_id })
    end)

    it("follow timeouts and broken connections", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      engine:fail(flight(engine, 1)[1], { timed_out = true, trouble = "too slow" })
      near(0.025, engine:step())
      engine:advance(0.025)
      engine:fail(flight(engine, 1)[1], { trouble = "reset" })
      near(0.05, engine:step())
      engine:advance(0.05)
      engine:fail(flight(engine, 1)[1], { timed_out = true, trouble = "too slow" })
      assert.is_nil(engine:step())
      local failure = answer_of(engine).failure
      assert.same({ "Timeout", "transient", 0 }, { failure.code, failure.class, failure.status })
      assert.matches("too slow", failure.message, 1, true)
      assert.equal(500 - 2 * 14, engine:counts().quota)
    end)

    it("follow memory that was out", function()
      local engine = engine_with { max_attempts = 2 }
      engine:call("ListStreams", "{}")
      for _ = 1, 2 do
        engine:fail(flight(engine, 1)[1], { out_of_memory = true, trouble = "out of memory" })
        engine:advance(engine:step() or 0)
      end
      local failure = answer_of(engine).failure
      assert.same({ "OutOfMemory", "transient" }, { failure.code, failure.class })
    end)

    it("do not follow an untrusted certificate or a response that is too large", function()
      local engine = engine_with {}
      for code, how in pairs {
        Connection = { fatal = true, trouble = "self-signed" },
        BadAnswer = { fatal = true, too_large = true, trouble = "too large" },
      } do
        engine:call("ListStreams", "{}")
        engine:fail(flight(engine, 1)[1], how)
        assert.is_nil(engine:step())
        local failure = answer_of(engine).failure
        assert.same({ code, "fatal" }, { failure.code, failure.class })
      end
    end)

    it("are bounded by max_attempts of the call", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}", { max_attempts = 1 })
      assert.is_nil(refuse(engine, BROKEN))
      assert.equal(1, answer_of(engine).attempts)
    end)
  end)

  describe("the quota of retries", function()
    it("is charged 14, or 5 for throttling, which a success returns", function()
      local engine = engine_with {}
      local function spend(answer, quota)
        engine:call("ListStreams", "{}")
        refuse(engine, answer)
        assert.equal(quota, engine:counts().quota)
        land(engine, flight(engine, 1)[1], FINE)
        assert.equal(500, engine:counts().quota)
      end
      spend(BROKEN, 486)
      spend(THROTTLED, 495)
    end)

    it("gets back the cost of the last retry only", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      refuse(engine, BROKEN)
      refuse(engine, THROTTLED)
      assert.equal(481, engine:counts().quota)
      land(engine, flight(engine, 1)[1], FINE)
      assert.equal(486, engine:counts().quota)
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], FINE)
      assert.equal(487, engine:counts().quota)
    end)

    it("can be used up: calls then fail without retries until others succeed", function()
      local engine = engine_with { max_attempts = 2 }
      for _ = 1, 35 do
        assert.is_table(fail_once(engine, BROKEN, BROKEN).failure)
      end
      assert.equal(10, engine:counts().quota)
      engine:call("ListStreams", "{}")
      assert.is_nil(refuse(engine, BROKEN))
      assert.equal(1, answer_of(engine).attempts)
      assert.equal(2, fail_once(engine, THROTTLED, THROTTLED).attempts) -- costs 5 only
      assert.equal(5, engine:counts().quota)
      for _ = 1, 9 do
        engine:call("ListStreams", "{}")
        land(engine, flight(engine, 1)[1], FINE)
        answer_of(engine)
      end
      assert.is_nil(fail_once(engine, BROKEN, FINE).failure) -- 14 again
    end)

    it("is never more than 500", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], FINE)
      assert.equal(500, engine:counts().quota)
    end)

    it("is not charged for a retry that the deadline forbids", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}", { deadline = 0.3 })
      assert.is_nil(refuse(engine, THROTTLED)) -- the rest would be 0.5 s
      assert.equal(1, answer_of(engine).attempts)
      assert.equal(500, engine:counts().quota)
    end)
  end)

  describe("deadlines", function()
    it("end a call in flight and cancel its transfer", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}", { deadline = 1.5 })
      near(1.5, flight(engine, 1)[1].timeout)
      engine:advance(1.499)
      near(0.001, engine:step())
      assert.same({}, told(engine, "answer"))
      engine:advance(0.001)
      flight(engine, 0)
      assert.equal("Timeout", answer_of(engine).failure.code)
      assert.equal(1, engine:counts().cancelled)
    end)

    it("shorten the timeout of later attempts", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}", { deadline = 10 })
      engine:step()
      engine:advance(4)
      refuse(engine, BROKEN)
      near(5.975, flight(engine, 1)[1].timeout)
    end)

    it("do not extend the request timeout", function()
      local engine = engine_with { request_timeout = 20, connect_timeout = 3 }
      engine:call("ListStreams", "{}", { deadline = 100 })
      local request = flight(engine, 1)[1]
      near(20, request.timeout)
      near(3, request.connect_timeout)
    end)

    it("end a call that is queued, waits for a retry or waits for credentials", function()
      local engine = engine_with { max_connections = 1 }
      engine:call("ListStreams", "{}")
      local waiting = engine:call("ListShards", "{}", { deadline = 1 })
      flight(engine, 1)
      engine:advance(1)
      flight(engine, 1)
      local answer = answer_of(engine)
      assert.same({ waiting, "Timeout", 0 }, { answer.owner, answer.failure.code, answer.attempts })

      local keyless = engine_with { keyless = true }
      keyless:call("ListStreams", "{}", { deadline = 1 })
      near(1, keyless:step())
      keyless:advance(1)
      keyless:step()
      assert.equal("Timeout", answer_of(keyless).failure.code)
    end)

    it("end a call with the service's error when its next attempt would be too late", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}", { deadline = 0.3 })
      assert.is_nil(refuse(engine, THROTTLED)) -- the rest would be 0.5 s
      local answer = answer_of(engine)
      assert.same({ "ProvisionedThroughputExceededException", 1 }, { answer.failure.code, answer.attempts })
    end)

    it("apply after a retry's delay", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}", { deadline = 2 })
      refuse(engine, BROKEN)
      flight(engine, 1)
      engine:advance(1.975)
      flight(engine, 0)
      assert.equal("Timeout", answer_of(engine).failure.code)
    end)
  end)

  describe("cancelling", function()
    it("cancels the transfer of a call in flight", function()
      local engine = engine_with {}
      local id, other = engine:call("ListStreams", "{}"), engine:call("ListShards", "{}")
      flight(engine, 2)
      engine:cancel(id)
      assert.equal("ListShards", flight(engine, 1)[1].operation)
      local answer = answer_of(engine)
      assert.same({ id, "Cancelled" }, { answer.owner, answer.failure.code })
      assert.equal(1, engine:counts().cancelled)
      land(engine, flight(engine, 1)[1], FINE)
      assert.equal(other, answer_of(engine).owner)
    end)

    it("ends calls that are queued or wait for a retry", function()
      local engine = engine_with { max_connections = 1 }
      local resting = engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], THROTTLED)
      engine:call("ListShards", "{}")
      local queued = engine:call("DescribeLimits", "{}")
      flight(engine, 1)
      engine:cancel(resting)
      engine:cancel(queued)
      assert.is_nil(engine:step())
      assert.equal(2, #told(engine, "answer"))
      assert.equal(0, engine:counts().cancelled)
      land(engine, flight(engine, 1)[1], FINE)
      engine:advance(100)
      flight(engine, 0)
    end)

    it("frees the connection for the next call", function()
      local engine = engine_with { max_connections = 1 }
      local id = engine:call("ListStreams", "{}")
      engine:call("ListShards", "{}")
      flight(engine, 1)
      engine:cancel(id)
      assert.equal("ListShards", flight(engine, 1)[1].operation)
    end)

    it("does nothing for a finished or unknown call", function()
      local engine = engine_with {}
      local id = engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], FINE)
      answer_of(engine)
      engine:cancel(id)
      engine:cancel(123456789)
      assert.is_nil(engine:step())
      assert.same({}, told(engine, "answer"))
    end)
  end)

  describe("connections", function()
    it("bound the calls in flight; queued calls start in order", function()
      local engine = engine_with { max_connections = 2 }
      for i = 1, 5 do
        engine:call("ListStreams", tostring(i))
      end
      local first = flight(engine, 2)
      assert.same({ "1", "2" }, { first[1].body, first[2].body })
      land(engine, first[2], FINE)
      assert.equal("3", flight(engine, 2)[2].body)
      land(engine, first[1], FINE)
      local next_ones = flight(engine, 2)
      assert.same({ "3", "4" }, { next_ones[1].body, next_ones[2].body })
      land(engine, next_ones[1], FINE)
      land(engine, next_ones[2], FINE)
      assert.equal("5", flight(engine, 1)[1].body)
      assert.equal(2, engine:counts().most)
    end)

    it("are not occupied by a call that waits for a retry; it starts before later calls", function()
      local engine = engine_with { max_connections = 1 }
      for i = 1, 3 do
        engine:call("ListStreams", tostring(i))
      end
      land(engine, flight(engine, 1)[1], BROKEN)
      local second = flight(engine, 1)[1]
      assert.equal("2", second.body)
      engine:advance(1)
      land(engine, second, FINE)
      assert.equal("1", flight(engine, 1)[1].body)
    end)

    it("carry a thousand calls, at most max_connections at once", function()
      local engine = engine_with { max_connections = 200 }
      for i = 1, 1000 do
        engine:call("ListStreams", tostring(i))
      end
      flight(engine, 200)
      local order = {}
      stepping.serve(engine, 1, function(request)
        order[#order + 1] = tonumber(request.body)
        return FINE
      end)
      assert.equal(1000, #order)
      for i = 1, 1000 do
        assert.equal(i, order[i])
      end
      assert.equal(1000, #told(engine, "answer"))
      assert.equal(200, engine:counts().most)
    end)
  end)

  describe("every attempt", function()
    it("is signed with the current time", function()
      local engine = engine_with {}
      engine:call("ListStreams", '{"Limit":1}')
      local first = flight(engine, 1)[1]
      assert.equal("20260101T000000Z", first.headers["x-amz-date"])
      assert.equal("Kinesis_20131202.ListStreams", first.headers["x-amz-target"])
      assert.equal("kinesis.test", first.headers.host)
      assert.equal("application/x-amz-json-1.1", first.headers["content-type"])
      assert.matches("^AWS4%-HMAC%-SHA256 Credential=AKID/20260101/us%-east%-1/kinesis/aws4_request, "
        .. "SignedHeaders=content%-type;host;x%-amz%-date;x%-amz%-target, Signature=%x+$", first.headers.authorization)
      engine:advance(5)
      refuse(engine, THROTTLED)
      engine:advance(0.5)
      local second = flight(engine, 1)[1]
      assert.equal("20260101T000006Z", second.headers["x-amz-date"])
      assert.not_equal(first.headers.authorization, second.headers.authorization)
      assert.equal('{"Limit":1}', second.body)
    end)

    it("is signed with the current credentials", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      refuse(engine, BROKEN)
      engine:credentials("OTHER", "secret2", "token")
      local request = flight(engine, 1)[1]
      assert.matches("Credential=OTHER/", request.headers.authorization, 1, true)
      assert.matches(";x-amz-security-token;", request.headers.authorization, 1, true)
      assert.equal("token", request.headers["x-amz-security-token"])
    end)

    it("is signed with the new date after midnight", function()
      local engine = engine_with {}
      engine:set_wall(NEW_YEAR + 86399)
      engine:call("ListStreams", "{}")
      assert.matches("/20260101/", flight(engine, 1)[1].headers.authorization, 1, true)
      engine:advance(1)
      refuse(engine, BROKEN)
      assert.matches("/20260102/", flight(engine, 1)[1].headers.authorization, 1, true)
    end)
  end)

  describe("a target in another service and region", function()
    it("has its own header, content type and signature", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      engine:call("UpdateItem", "{}", { service = "dynamodb" })
      engine:call("UpdateItem", "{}", { service = "dynamodb" })
      local expected = {
        { "https://kinesis.test/", "kinesis.test", "Kinesis_20131202.ListStreams", "application/x-amz-json-1.1",
          "/us-east-1/kinesis/" },
        { "https://dynamodb.test/", "dynamodb.test", "DynamoDB_20120810.UpdateItem", "application/x-amz-json-1.0",
          "/eu-west-1/dynamodb/" },
      }
      local signatures = {}
      for i, request in ipairs(flight(engine, 3)) do
        local headers, wanted = request.headers, expected[math.min(i, 2)]
        assert.same(wanted, {
          request.url, headers.host, headers["x-amz-target"], headers["content-type"],
          headers.authorization:match "Credential=AKID/%d+(/[^/]+/[^/]+/)aws4_request",
        })
        signatures[i] = headers.authorization:match "Signature=(%x+)"
      end
      assert.equal(signatures[2], signatures[3])
      assert.not_equal(signatures[1], signatures[2])
    end)
  end)

  describe("stopping", function()
    it("ends every call in every state with an error, and frees everything", function()
      local engine = engine_with { max_connections = 2 }
      engine:call("ListStreams", "1")
      land(engine, flight(engine, 1)[1], THROTTLED)
      for i = 2, 4 do
        engine:call("ListStreams", tostring(i))
      end
      flight(engine, 2)
      engine:stop()
      local answers = told(engine, "answer")
      assert.equal(4, #answers)
      for _, answer in ipairs(answers) do
        assert.equal("Closed", answer.failure.code)
      end
      assert.equal(2, engine:counts().cancelled)
      assert.equal(0, engine:counts().in_flight)
      assert.is_true(engine:counts().destroyed) -- its connections are gone, though what was told can still be read
    end)

    it("refuses calls", function()
      local engine = engine_with {}
      engine:stop()
      local id, why = engine:call("ListStreams", "{}")
      assert.same({ nil, "the engine was stopped" }, { id, why })
      assert.is_nil((engine:put_many("s", { { data = "x", partition_key = "k" } })))
      assert.is_nil((engine:reader { shards = { { id = "a" } } }))
      engine:stop()
      engine:close()
      engine:close()
    end)

    it("ends readers and put_many, and frees pages", function()
      local engine = engine_with {}
      engine:reader { shards = { { id = "a" }, { id = "b" } } }
      engine:put_many("s", { { data = "x", partition_key = "k" } })
      engine:put_many("s", { { data = "y", partition_key = "k" } })
      for _, request in ipairs(flight(engine, 4)) do
        if request.operation == "GetShardIterator" then
          engine:answer(request, stepping.iterator "i")
        end
      end
      for _, request in ipairs(flight(engine, 4)) do
        if request.operation == "GetRecords" then
          land(engine, request, stepping.page { next = "i2", { "1" } })
          break
        end
      end
      assert.equal(1, #told(engine, "page"))
      engine:put_many("s", { { data = "never sent", partition_key = "k" } })
      engine:stop()
      assert.equal(1, engine:give_back())
      assert.equal(0, engine:counts().in_flight)
      engine:close()
      assert.is_true(engine:counts().destroyed)
    end)
  end)
end)
