-- The service's clock and the credentials that the engine signs with. The spec moves the local clock.
-- Flavours: *lua5.4
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local refuse, near, answer_of, FINE = stepping.refuse, stepping.near, stepping.answer_of, stepping.FINE
local NEW_YEAR, signer, wanted = stepping.NEW_YEAR, stepping.signer, stepping.wanted

describe("the engine, about", function()
  after_each(stepping.close_all)

  describe("the clock of a response", function()
    -- Times are seconds after the first moment. Each operation: the skew it begins and ends with, whether it goes
    -- well, and its attempts: sent and received by our clock, the time it must be signed with, and what came back.
    local cases = {
      { "agrees with ours", {
        { 0, 0, true, { sent = 0, received = 2, signed = 0, date = 1 } },
      } },
      { "is five minutes ahead: tried again, and remembered by the next call", {
        { 0, 300, true,
          { sent = 0, received = 2, signed = 0, date = 301, status = 403, code = "RequestTimeTooSkewed" },
          { sent = 2, received = 4, signed = 302, date = 303 } },
        { 300, 300, true, { sent = 60, received = 62, signed = 360, date = 361 } },
      } },
      { "is noted even when no attempt is left", {
        { 0, 300, false, attempts = 1,
          { sent = 0, received = 2, signed = 0, date = 301, status = 403, code = "RequestTimeTooSkewed" } },
      } },
      { "is not believed after a round trip of sixteen minutes", {
        { 0, 0, true, { sent = 0, received = 960, signed = 0, date = 600 } },
        { 0, 300, true, { sent = 1020, received = 1022, signed = 1020, date = 1321 } },
      } },
      { "heals what an earlier one said, without a failure", {
        { 300, 0, true, { sent = 0, received = 2, signed = 300, date = 1 } },
      } },
      { "is two minutes ahead, which is no reason for a refused signature", {
        { 0, 120, false,
          { sent = 0, received = 2, signed = 0, date = 121, status = 400, code = "InvalidSignatureException" } },
      } },
      { "is five minutes ahead, which may be the reason for a refused signature", {
        { 0, 300, true,
          { sent = 0, received = 2, signed = 0, date = 301, status = 400, code = "InvalidSignatureException" },
          { sent = 2, received = 4, signed = 302, date = 303 } },
      } },
      { "was not told: a skew that is claimed is not tried again", {
        { 0, 0, false, { sent = 0, received = 2, signed = 0, status = 403, code = "RequestTimeTooSkewed" } },
      } },
      { "is a cache's, by its Age: not believed, though the next is", {
        { 0, 0, true, { sent = 60660, received = 60662, signed = 60660, date = 43381, age = 17280 } },
        { 0, 300, true, { sent = 60670, received = 60672, signed = 60670, date = 60971 } },
      } },
      { "is a cache's, and does not spoil the next call", {
        { 0, 0, true, { sent = 60660, received = 60662, signed = 60660, date = 43381, age = 17280 } },
        { 0, 0, true, { sent = 60670, received = 60672, signed = 60670, date = 60671 } },
      } },
    }

    local function begin_with(engine, skew)
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], { date = stepping.http_date(select(2, engine:now()) + skew) })
      answer_of(engine)
    end

    for _, case in ipairs(cases) do
      it(case[1], function()
        local engine = engine_with {}
        engine:randoms(0) -- tries again in the same moment
        for i, operation in ipairs(case[2]) do
          if i == 1 and operation[1] ~= 0 then
            begin_with(engine, operation[1])
          end
          assert.equal(operation[1], engine:counts().skew)
          engine:set_wall(NEW_YEAR + operation[4].sent)
          engine:call("ListStreams", "{}", { max_attempts = operation.attempts })
          for k = 4, #operation do
            local attempt = operation[k]
            local request = flight(engine, 1)[1]
            assert.equal(NEW_YEAR + attempt.sent, request.wall)
            assert.equal(os.date("!%Y%m%dT%H%M%SZ", NEW_YEAR + attempt.signed), request.headers["x-amz-date"])
            engine:set_wall(NEW_YEAR + attempt.received)
            local answer = attempt.code and stepping.error(attempt.code, attempt.status) or { body = "{}" }
            answer.date, answer.age = attempt.date and stepping.http_date(NEW_YEAR + attempt.date), attempt.age
            land(engine, request, answer)
          end
          flight(engine, 0)
          assert.equal(operation[3], answer_of(engine).failure == nil)
          assert.equal(operation[2], engine:counts().skew)
        end
      end)
    end

    it("costs a retry when the skew was the error", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      local date = stepping.http_date(NEW_YEAR - 241)
      near(0.025, refuse(engine, stepping.error("SignatureDoesNotMatch", 403, { date = date })))
      assert.equal(486, engine:counts().quota)
      assert.equal(-241, engine:counts().skew)
    end)

    it("is read from an error response, too, but not without a response", function()
      local engine = engine_with { max_attempts = 1 }
      engine:call("ListStreams", "{}")
      refuse(engine, stepping.error("ResourceNotFoundException", 400, { date = stepping.http_date(NEW_YEAR + 7) }))
      assert.equal(7, engine:counts().skew)
      engine:call("ListStreams", "{}")
      engine:fail(flight(engine, 1)[1], {})
      engine:step()
      assert.equal(7, engine:counts().skew)
    end)

    for _, date in ipairs {
      "yesterday", "2026-01-01T00:10:00Z", "Thu, 01 Foo 2026 00:10:00 GMT", "Thu, 01 Jan 2026 00:10:00 PST",
      "Thu, 01 anF 2026 00:10:00 GMT", "Thu, 01 Jan 2026 0:10:00 GMT", "Thursday, 01-Jan-26 00:10:00 GMT",
      "Thu, 01 Jan -026 00:10:00 GMT", ("x"):rep(40),
    } do
      it(("is not read from %q"):format(date), function()
        local engine = engine_with {}
        engine:call("ListStreams", "{}")
        land(engine, flight(engine, 1)[1], { body = "{}", date = date })
        assert.equal(0, engine:counts().skew)
      end)
    end
  end)

  describe("credentials", function()
    local HOUR = NEW_YEAR + 3600

    local function with_credentials(expires)
      local engine = engine_with { keyless = true }
      if expires then
        engine:credentials("FIRST", "secret", "token", expires)
        engine:step()
      end
      return engine
    end

    it("are requested once; calls wait for them, and start in order", function()
      local engine = with_credentials()
      engine:step()
      assert.equal(0, wanted(engine))
      for i = 1, 3 do
        engine:call("ListStreams", tostring(i))
        flight(engine, 0)
      end
      assert.equal(1, wanted(engine))
      engine:advance(60)
      flight(engine, 0)
      assert.equal(0, wanted(engine))
      engine:credentials("FIRST", "secret")
      local requests = flight(engine, 3)
      for i = 1, 3 do
        assert.same({ tostring(i), "FIRST" }, { requests[i].body, signer(requests[i]) })
      end
      assert.equal(0, wanted(engine))
    end)

    it("fail the waiting calls when there are none; the next call requests them again", function()
      local engine = with_credentials()
      engine:call("ListStreams", "{}")
      engine:call("ListStreams", "{}")
      engine:step()
      assert.equal(1, wanted(engine))
      engine:credentials_failed "looked everywhere"
      flight(engine, 0)
      local answers = told(engine, "answer")
      assert.equal(2, #answers)
      for _, answer in ipairs(answers) do
        assert.same({ "NoCredentials", "fatal", "looked everywhere", "ListStreams" }, {
          answer.failure.code, answer.failure.class, answer.failure.message, answer.failure.operation,
        })
      end
      engine:call("ListStreams", "{}")
      flight(engine, 0)
      assert.equal(1, wanted(engine))
      engine:credentials("FIRST", "secret")
      flight(engine, 1)
    end)

    it("are requested once, 15 minutes early; the old ones stay in use", function()
      local engine = with_credentials(HOUR)
      engine:set_wall(HOUR - 901)
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], FINE)
      assert.equal(0, wanted(engine))
      engine:set_wall(HOUR - 900)
      engine:call("ListStreams", "{}")
      engine:call("ListStreams", "{}")
      for _, request in ipairs(flight(engine, 2)) do
        assert.equal("FIRST", signer(request))
      end
      assert.equal(1, wanted(engine))
      engine:advance(800)
      engine:call("ListStreams", "{}")
      assert.equal("FIRST", signer(flight(engine, 3)[3]))
      assert.equal(0, wanted(engine))
      engine:credentials("SECOND", "secret", "token", HOUR + 3600)
      engine:call("ListStreams", "{}")
      assert.equal("SECOND", signer(flight(engine, 4)[4]))
      assert.equal(0, wanted(engine))
    end)

    it("make calls wait after they have expired", function()
      local engine = with_credentials(HOUR)
      engine:set_wall(HOUR - 0.001)
      engine:call("ListStreams", "{}")
      flight(engine, 1)
      assert.equal(1, wanted(engine))
      engine:set_wall(HOUR)
      engine:call("ListStreams", "{}")
      flight(engine, 1)
      assert.equal(0, wanted(engine))
      engine:credentials("SECOND", "secret", nil, HOUR + 3600)
      assert.equal("SECOND", signer(flight(engine, 2)[2]))
    end)

    it("stay in use after a failed refresh, and are requested again later", function()
      local engine = with_credentials(HOUR)
      engine:set_wall(HOUR - 600)
      engine:call("ListStreams", "{}")
      engine:step()
      assert.equal(1, wanted(engine))
      engine:credentials_failed "no answer"
      engine:call("ListStreams", "{}")
      flight(engine, 2)
      assert.same({}, told(engine, "answer"))
      assert.equal(0, wanted(engine))
      engine:advance(29)
      engine:call("ListStreams", "{}")
      flight(engine, 3)
      assert.equal(0, wanted(engine))
      engine:advance(1)
      engine:call("ListStreams", "{}")
      flight(engine, 4)
      assert.equal(1, wanted(engine))
    end)

    it("that have already expired are an error", function()
      local engine = with_credentials()
      engine:call("ListStreams", "{}")
      engine:step()
      engine:credentials("STALE", "secret", "token", NEW_YEAR)
      flight(engine, 0)
      local failure = answer_of(engine).failure
      assert.equal("NoCredentials", failure.code)
      assert.matches("already expired", failure.message, 1, true)
    end)

    it("that the service refuses as expired are requested again, once, and the call is sent again", function()
      local engine = with_credentials(HOUR)
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], stepping.error "ExpiredTokenException")
      flight(engine, 0)
      assert.equal(1, wanted(engine))
      engine:call("ListShards", "{}")
      flight(engine, 0)
      assert.equal(0, wanted(engine))
      engine:credentials("SECOND", "secret", "token", HOUR)
      local requests = flight(engine, 2)
      assert.equal("SECOND", signer(requests[1]))
      assert.equal(500, engine:counts().quota)
      land(engine, requests[1], stepping.error "ExpiredTokenException")
      assert.equal(0, wanted(engine))
      local failure = answer_of(engine).failure
      assert.same({ "ExpiredTokenException", "fatal" }, { failure.code, failure.class })
    end)

    it("that never expire are not requested again", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      assert.is_nil(refuse(engine, stepping.error "ExpiredTokenException"))
      assert.equal("ExpiredTokenException", answer_of(engine).failure.code)
      assert.equal(0, wanted(engine))
    end)

    it("are kept when the service refuses the previous ones", function()
      local engine = with_credentials(HOUR)
      engine:call("ListStreams", "1")
      engine:call("ListStreams", "2")
      local requests = flight(engine, 2)
      land(engine, requests[1], stepping.error "ExpiredTokenException")
      assert.equal(1, wanted(engine))
      engine:credentials("SECOND", "secret", "token", HOUR)
      land(engine, requests[2], stepping.error "ExpiredTokenException") -- was signed with the first
      assert.equal(0, wanted(engine))
      for _, request in ipairs(flight(engine, 2)) do
        assert.equal("SECOND", signer(request))
      end
    end)

    it("expire by the service's clock when it is known", function()
      local engine = with_credentials(HOUR)
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], { body = "{}", date = stepping.http_date(NEW_YEAR - 7200) })
      engine:set_wall(HOUR + 60) -- ours is two hours ahead; the service's says that an hour is left
      engine:call("ListStreams", "{}")
      assert.equal("FIRST", signer(flight(engine, 1)[1]))
    end)

    it("expire earlier by the service's clock, too, once a second answer has confirmed it", function()
      local engine = with_credentials(HOUR)
      local function call(ahead)
        engine:call("ListStreams", "{}")
        land(engine, flight(engine, 1)[1], { body = "{}", date = stepping.http_date(select(2, engine:now()) + ahead) })
        answer_of(engine)
        return wanted(engine)
      end
      assert.equal(0, call(2800))
      assert.equal(0, call(2800))
      assert.equal(1, call(2800)) -- 800 s are left by the service's clock
      engine:advance(200)
      assert.equal(0, call(2800))
      engine:advance(200)
      assert.equal(0, call(2800))
      engine:advance(200)
      assert.equal(0, call(2800))
      engine:advance(200)
      engine:call("ListStreams", "{}")
      flight(engine, 0)
      engine:credentials("FIRST", "secret", "token", HOUR)
      engine:step()
      assert.matches("already expired", answer_of(engine).failure.message, 1, true)
      engine:advance(300) -- a skew that nobody has confirmed for so long does not expire credentials
      engine:credentials("SECOND", "secret", "token", HOUR)
      engine:call("ListStreams", "{}")
      assert.equal("SECOND", signer(flight(engine, 1)[1]))
    end)

    it("that fail do not affect calls in flight", function()
      local engine = with_credentials(HOUR)
      engine:call("ListStreams", "{}")
      flight(engine, 1)
      engine:set_wall(HOUR)
      engine:call("ListShards", "{}")
      flight(engine, 1)
      engine:credentials_failed "gone"
      local request = flight(engine, 1)[1]
      assert.equal("ListShards", answer_of(engine).failure.operation)
      land(engine, request, FINE)
      assert.is_nil(answer_of(engine).failure)
    end)
  end)

  it("one wrong Date does not expire all credentials", function()
    local engine = engine_with { keyless = true }
    engine:call("ListStreams", "{}")
    engine:step()
    local now = select(2, engine:now())
    engine:credentials("AKID", "secret", "token", now + 3600)
    land(engine, flight(engine, 1)[1], { body = "{}", date = stepping.http_date(now + 70 * 365 * 86400) })
    assert.is_nil(answer_of(engine).failure)
    engine:call("ListStreams", "{}")
    land(engine, flight(engine, 1)[1], { body = "{}", date = stepping.http_date(now) })
    assert.is_nil(answer_of(engine).failure)
    assert.equal(0, engine:counts().skew)
  end)

  describe("credentials that live a minute", function()
    -- A sanitizer needs only twelve minutes of few calls.
    local sanitized = os.getenv("BUILD_FLAVOUR"):find "^[at]san" or os.getenv("LUA"):find "valgrind"
    local SPAN, CALLS = sanitized and 720 or 7200, sanitized and 5 or 50

    -- Two hours with that many calls in flight; `provide(n)`: seconds until the n-th refresh answers, or nil: it fails.
    local function two_hours(provide)
      local engine = engine_with { keyless = true, max_connections = 50, max_attempts = 1 }
      local refreshes, asking, pending, failed, calls = 0, 0, nil, 0, 0
      local function settle()
        asking = asking - 1
        if pending.good then
          engine:credentials("AKID" .. refreshes, "secret", "token", select(2, engine:now()) + 60)
        else
          engine:credentials_failed "the vault is sealed"
        end
        pending = nil
      end
      for _ = 1, CALLS do
        engine:call("ListStreams", "{}")
      end
      local over = engine:now() + SPAN
      while engine:now() < over do
        engine:step()
        for _ = 1, #told(engine, "credentials_wanted") do
          refreshes, asking = refreshes + 1, asking + 1
          assert.equal(1, asking)
          local after = provide(refreshes)
          pending = { at = engine:now() + (after or 1), good = after ~= nil }
        end
        if pending and engine:now() >= pending.at then
          settle()
          engine:step()
        end
        for _, request in ipairs(engine:requests()) do
          engine:answer(request, FINE)
        end
        engine:step()
        for _, answer in ipairs(told(engine, "answer")) do
          calls = calls + 1
          failed = failed + (answer.failure and 1 or 0)
          engine:call("ListStreams", "{}")
        end
        engine:advance(1)
      end
      return refreshes, failed, calls
    end

    it("fail no call for two hours, and are requested once a quarter of their life", function()
      local refreshes, failed, calls = two_hours(function()
        return 2
      end)
      assert.equal(0, failed)
      assert.is_true(calls > 0.8 * CALLS * SPAN, calls)
      assert.is_true(refreshes > SPAN / 24 and refreshes < SPAN / 14, refreshes)
    end)

    it("fail no call while every other refresh fails", function()
      local _, failed = two_hours(function(n)
        return n % 2 == 1 and 2 or nil
      end)
      assert.equal(0, failed)
    end)

    it("fail no call when a refresh takes longer than they live: calls wait", function()
      local refreshes, failed, calls = two_hours(function()
        return 70
      end)
      assert.equal(0, failed)
      assert.is_true(refreshes > SPAN / 120 and calls > 0.28 * CALLS * SPAN, calls)
    end)
  end)
end)
