-- Requests that the service refuses for the age of their signature: signed again, as a machine that slept must. With a
-- fake clock.
-- Flavours: *lua5.4
local producing = require "support.producing"
local reading = require "support.reading"
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local answer_of, FINE, NEW_YEAR = stepping.answer_of, stepping.FINE, stepping.NEW_YEAR

local function refusal(code, message, date)
  return { status = 400, body = ('{"__type":"%s","message":"%s"}'):format(code, message), date = date }
end

local EXPIRED = refusal("InvalidSignatureException",
  "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T001500Z - 5 min.)")
local EARLY = refusal("InvalidSignatureException",
  "Signature not yet current: 20260101T001000Z is still later than 20260101T000500Z (20260101T000000Z + 5 min.)")
local DATED = stepping.http_date(NEW_YEAR)

after_each(function()
  producing.close_all()
  stepping.close_all()
end)

for name, refused in pairs {
  ["has expired"] = EXPIRED,
  ["is not yet current"] = EARLY,
  ["is too old, says RequestTimeTooSkewed"] = refusal("RequestTimeTooSkewed", "because", DATED),
  ["is too old, says RequestExpired"] = refusal("RequestExpired", "because", DATED),
  ["has expired, in the words of another code"] = refusal("SignatureDoesNotMatch", "Signature expired: x"),
} do
  describe("a signature that " .. name, function()
    it("is made again at once for a direct call, twice", function()
      local engine = engine_with {}
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], refused)
      land(engine, flight(engine, 1)[1], refused)
      land(engine, flight(engine, 1)[1], FINE)
      assert.is_nil(answer_of(engine).failure)
      assert.equal(500, engine:counts().quota)
      engine:call("ListStreams", "{}")
      for _ = 1, 3 do
        land(engine, flight(engine, 1)[1], refused)
      end
      flight(engine, 0)
      assert.equal("fatal", answer_of(engine).failure.class)
    end)

    it("is made again for a producer, twice", function()
      local engine, producer = producing.ready { linger = 0 }
      producing.put(producer, "a")
      for _ = 1, 2 do
        land(engine, producing.only(engine), refused)
      end
      local request = producing.only(engine)
      land(engine, request, producing.results(request))
      assert.equal(1, producer:stats().stored)
      producing.put(producer, "b")
      for _ = 1, 3 do
        land(engine, producing.only(engine), refused)
      end
      assert.equal("failed", producing.outcomes(producer).b.outcome)
    end)

    it("is made again for put_many and for a reader", function()
      local engine = engine_with {}
      engine:put_many("s", { { data = "x", partition_key = "k" } })
      land(engine, flight(engine, 1)[1], refused)
      local request = flight(engine, 1)[1]
      land(engine, request, producing.results(request))
      assert.is_nil(told(engine, "put_many_done")[1].results[1].code)
      reading.read(engine, { "a" })
      for _ = 1, 2 do
        reading.reply(engine, "GetShardIterator", refused)
      end
      reading.reply(engine, "GetShardIterator", stepping.iterator "i")
      reading.reply(engine, "GetRecords", refused)
      reading.reply(engine, "GetRecords", stepping.page { next = "i", { "1" } })
      assert.equal(0, #told(engine, "trouble"))
      assert.equal(1, #told(engine, "page"))
    end)
  end)
end

it("a signature is not made again for a service that names no time, in a young request", function()
  local engine = engine_with {}
  engine:call("ListStreams", "{}")
  land(engine, flight(engine, 1)[1], refusal("RequestTimeTooSkewed", "because"))
  flight(engine, 0)
  assert.equal("RequestTimeTooSkewed", answer_of(engine).failure.code)
  engine:call("ListStreams", "{}")
  local request = flight(engine, 1)[1]
  engine:set_wall(NEW_YEAR + 700)
  land(engine, request, refusal("RequestTimeTooSkewed", "because"))
  land(engine, flight(engine, 1)[1], FINE)
  assert.is_nil(answer_of(engine).failure)
end)

it("a machine that slept while a request was under way learns no false skew", function()
  local engine = engine_with {}
  engine:call("ListStreams", "{}")
  local request = flight(engine, 1)[1]
  engine:set_wall(NEW_YEAR + 600) -- the service's Date is from after the sleep
  land(engine, request, refusal("InvalidSignatureException", "Signature expired: x",
    stepping.http_date(NEW_YEAR + 600)))
  assert.equal(0, engine:counts().skew)
  request = flight(engine, 1)[1]
  assert.equal("20260101T001000Z", request.headers["x-amz-date"])
  land(engine, request, FINE)
  assert.is_nil(answer_of(engine).failure)
end)
