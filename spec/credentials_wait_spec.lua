-- Credentials that cannot be had now: direct calls fail; producers and readers wait, and say why. With a fake clock.
-- Flavours: *lua5.4
local producing = require "support.producing"
local reading = require "support.reading"
local stepping = require "support.stepping"

local engine_with, flight, land, told = stepping.engine, stepping.flight, stepping.land, stepping.told
local near, answer_of, FINE = stepping.near, stepping.answer_of, stepping.FINE
local signer, wanted = stepping.signer, stepping.wanted
local REFUSALS = { "ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId" }
local UNKNOWN = { UnrecognizedClientException = true, InvalidClientTokenId = true }

local function keyless(key)
  local engine = engine_with { keyless = true }
  if key then
    engine:credentials(key, "secret", "token")
  end
  return engine
end

-- A producer that has its map and no credentials that can be used: the first have expired.
local function expired(options)
  local engine, producer = producing.open(options, { keyless = true })
  engine:credentials("FIRST", "secret", "token", stepping.NEW_YEAR + 100)
  producing.settle_map(engine)
  engine:advance(200)
  engine:messages()
  return engine, producer
end

-- A producer that has its map; its credentials never expire, and a provider can be asked again.
local function sound(options)
  local engine, producer = producing.open(options, { keyless = true })
  engine:credentials("FIRST", "secret", "token")
  producing.settle_map(engine)
  engine:messages()
  return engine, producer
end

local function refused_put(code)
  local engine, producer = sound { linger = 0 }
  producing.put(producer, "a")
  land(engine, producing.only(engine), stepping.error(code))
  return engine, producer
end

after_each(function()
  producing.close_all()
  stepping.close_all()
end)

for _, code in ipairs(REFUSALS) do
  describe("credentials without an expiration that are refused by " .. code, function()
    it("are asked for again, and a call goes on with other ones", function()
      local engine = keyless "FIRST"
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], stepping.error(code))
      assert.equal(1, wanted(engine))
      engine:credentials("SECOND", "secret", "token")
      local request = flight(engine, 1)[1]
      assert.equal("SECOND", signer(request))
      land(engine, request, FINE)
      assert.is_nil(answer_of(engine).failure)
    end)

    it("fail a direct call when the provider repeats them; the next call tries them again", function()
      local engine = keyless "FIRST"
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], stepping.error(code))
      engine:credentials("FIRST", "secret", "token")
      flight(engine, 0)
      local failure = answer_of(engine).failure
      assert.same({ code, "fatal", 400, "because" },
        { failure.code, failure.class, failure.status, failure.message })
      engine:call("ListStreams", "{}")
      land(engine, flight(engine, 1)[1], FINE)
      assert.is_nil(answer_of(engine).failure)
    end)

    it("fail put_many when the provider repeats them", function()
      local engine = keyless "FIRST"
      engine:put_many("s", { { data = "x", partition_key = "k" } })
      land(engine, flight(engine, 1)[1], stepping.error(code))
      assert.equal(1, wanted(engine))
      engine:credentials("FIRST", "secret", "token")
      flight(engine, 0)
      assert.equal(code, told(engine, "put_many_done")[1].results[1].code)
    end)

    it("are fatal at once when there is no provider", function()
      local engine, producer = producing.ready { linger = 0 }
      producing.put(producer, "a")
      land(engine, producing.only(engine), stepping.error(code))
      assert.equal(0, wanted(engine))
      assert.equal("failed", producing.outcomes(producer).a.outcome)
    end)

    it("make a producer wait when the provider repeats them, and ask every 30 s", function()
      local engine, producer = refused_put(code)
      assert.equal(1, wanted(engine))
      engine:credentials("FIRST", "secret", "token")
      near(30, engine:step())
      assert.equal(0, wanted(engine))
      assert.equal(1, producer:stats().open)
      assert.equal(1, producer:stats().errors[code])
      engine:advance(29.9)
      engine:step()
      assert.equal(0, wanted(engine))
      engine:advance(0.1)
      engine:step()
      assert.equal(1, wanted(engine))
      engine:credentials("SECOND", "secret", "token")
      local request = producing.only(engine)
      assert.equal("SECOND", signer(request))
      land(engine, request, producing.results(request))
      assert.equal(1, producer:stats().stored)
    end)

    it("are tried again by one waiting request each 30 s, and used when the service takes them", function()
      local engine, producer = refused_put(code)
      engine:credentials("FIRST", "secret", "token")
      engine:step()
      producing.put(producer, "b", 2)
      producer:flush()
      engine:step()
      assert.same({}, engine:requests())
      engine:advance(30)
      engine:step()
      engine:credentials("FIRST", "secret", "token")
      local request = producing.only(engine)
      land(engine, request, producing.results(request))
      request = producing.only(engine)
      land(engine, request, producing.results(request))
      assert.equal(2, producer:stats().stored)
    end)

    it(UNKNOWN[code] and "are fatal for a producer when the provider has repeated them three times"
      or "make a producer wait without end", function()
      local engine, producer = refused_put(code)
      for asked = 1, 3 do
        assert.equal(1, wanted(engine))
        engine:credentials("FIRST", "secret", "token")
        for _, request in ipairs(producing.requests(engine)) do
          land(engine, request, stepping.error(code))
        end
        if asked < 3 then
          assert.equal(1, producer:stats().open)
          engine:advance(30)
          engine:step()
        end
      end
      if UNKNOWN[code] then
        local record = producing.outcomes(producer).a
        assert.same({ "failed", code }, { record.outcome, record.attempts[#record.attempts].code })
      else
        assert.equal(1, producer:stats().open)
      end
    end)

    it("make a reader that has read wait, and fail one that has not", function()
      local engine = keyless "FIRST"
      reading.read(engine, { "a" })
      land(engine, flight(engine, 1)[1], stepping.error(code))
      engine:credentials("FIRST", "secret", "token")
      flight(engine, 0)
      local trouble = told(engine, "trouble")[1]
      assert.same({ code, true }, { trouble.failure.code, trouble.fatal })

      engine = keyless "FIRST"
      reading.read(engine, { "a" })
      reading.reply(engine, "GetShardIterator", stepping.iterator "i")
      engine:advance(1)
      land(engine, flight(engine, 1)[1], stepping.error(code))
      engine:credentials("FIRST", "secret", "token")
      flight(engine, 0)
      trouble = told(engine, "trouble")[1]
      assert.same({ code, false, 1 }, { trouble.failure.code, trouble.fatal, trouble.in_a_row })
      engine:advance(30)
      engine:step()
      engine:credentials("SECOND", "secret", "token")
      assert.equal("SECOND", signer(flight(engine, 1)[1]))
    end)
  end)
end

describe("credentials that the service has taken, and then refuses", function()
  it("are asked for at once, however often that happens", function()
    local engine, producer = sound { linger = 0 }
    for i = 1, 5 do
      producing.put(producer, "a" .. i)
      land(engine, producing.only(engine), stepping.error "ExpiredTokenException")
      assert.equal(1, wanted(engine))
      engine:credentials("NEXT" .. i, "secret", "token")
      local request = producing.only(engine)
      land(engine, request, producing.results(request))
      assert.equal(i, producer:stats().stored)
    end
  end)

  it("are asked for every 30 s when the service refuses each new ones", function()
    local engine, producer = sound { linger = 0 }
    local asked = 0
    producing.put(producer, "a")
    for second = 1, 300 do
      for _, request in ipairs(producing.requests(engine)) do
        land(engine, request, stepping.error "ExpiredTokenException")
      end
      if wanted(engine) > 0 then
        asked = asked + 1
        engine:credentials("NEXT" .. second, "secret", "token")
      end
      engine:advance(1)
    end
    assert.is_true(asked >= 10 and asked <= 12, asked)
    assert.equal(1, producer:stats().open)
  end)
end)

describe("a provider that fails", function()
  it("makes a producer wait; it is asked again every 30 s, and the records go as soon as it answers", function()
    local engine, producer = expired { linger = 0 }
    producing.put(producer, "a")
    engine:step()
    assert.equal(1, wanted(engine))
    engine:credentials_failed "the vault is sealed"
    near(30, engine:step())
    assert.same({ 1, 1 }, { producer:stats().open, producer:stats().errors.NoCredentials })
    engine:advance(30)
    engine:step()
    assert.equal(1, wanted(engine))
    engine:credentials_failed "the vault is sealed"
    engine:step()
    assert.equal(2, producer:stats().errors.NoCredentials)
    engine:credentials("SECOND", "secret", "token")
    local request = producing.only(engine)
    land(engine, request, producing.results(request))
    assert.equal(1, producer:stats().stored)
  end)

  it("leaves no timer for requests that wait for a connection after it has answered", function()
    local engine = engine_with { keyless = true, max_connections = 1 }
    engine:credentials("FIRST", "secret", "token", stepping.NEW_YEAR + 100)
    for _, shard in ipairs { "a", "b", "c" } do
      reading.read(engine, { shard }, { poll_interval = 300 })
    end
    stepping.serve(engine, 1, reading.service(function()
      return stepping.page { next = "it:a" }
    end))
    engine:advance(400)
    engine:step()
    engine:credentials_failed "sealed"
    engine:step()
    assert.equal(3, #told(engine, "trouble"))
    engine:credentials("SECOND", "secret")
    flight(engine, 1)
    assert.is_nil(engine:step())
    engine:advance(60)
    assert.is_nil(engine:step())
  end)

  it("makes a producer wait that has no map yet", function()
    local engine, producer = producing.open({ linger = 0 }, { keyless = true })
    producing.put(producer, "a")
    engine:step()
    engine:credentials_failed "not up yet"
    engine:step()
    assert.equal(1, producer:stats().open)
    assert.is_true(producer:stats().errors.NoCredentials >= 1)
    engine:credentials("FIRST", "secret")
    producing.settle_map(engine)
    local request = producing.only(engine)
    land(engine, request, producing.results(request))
    assert.equal(1, producer:stats().stored)
  end)

  it("tells a producer whose records come while it rests", function()
    local engine, producer = expired { linger = 0 }
    engine:call("ListStreams", "{}")
    engine:step()
    engine:credentials_failed "the vault is sealed"
    engine:step()
    engine:messages()
    producing.put(producer, "a")
    engine:step()
    assert.equal(0, wanted(engine))
    assert.equal(1, producer:stats().errors.NoCredentials)
  end)

  it("expires records with the reason", function()
    local engine, producer = expired { linger = 0, ttl = 10 }
    producing.put(producer, "a")
    engine:step()
    engine:credentials_failed "the vault is sealed"
    engine:step()
    engine:advance(10)
    engine:step()
    local record = producing.outcomes(producer).a
    assert.same({ "expired", 0, false }, { record.outcome, record.tries, record.maybe_stored })
    assert.same({ "NoCredentials", "the vault is sealed" }, { record.attempts[1].code, record.attempts[1].message })
  end)

  it("is asked at once for a direct call, which fails; what waits goes on when it succeeds", function()
    local engine, producer = expired { linger = 0 }
    producing.put(producer, "a")
    engine:step()
    engine:credentials_failed "sealed"
    engine:step()
    engine:messages()
    engine:call("ListStreams", "{}")
    engine:step()
    assert.equal(1, wanted(engine))
    engine:credentials_failed "still sealed"
    engine:step()
    assert.equal("NoCredentials", answer_of(engine).failure.code)
    assert.equal(1, producer:stats().open)
    engine:call("ListStreams", "{}")
    engine:step()
    engine:credentials("SECOND", "secret")
    flight(engine, 2)
  end)

  it("makes a reader that has read wait", function()
    local engine = keyless()
    engine:credentials("FIRST", "secret", "token", stepping.NEW_YEAR + 100)
    reading.read(engine, { "a" })
    reading.reply(engine, "GetShardIterator", stepping.iterator "i")
    reading.reply(engine, "GetRecords", stepping.page { next = "i" })
    engine:advance(200)
    engine:step()
    engine:credentials_failed "sealed"
    flight(engine, 0)
    local trouble = told(engine, "trouble")[1]
    assert.same({ "NoCredentials", false, "transient" },
      { trouble.failure.code, trouble.fatal, trouble.failure.class })
    assert.equal(1, wanted(engine))
    engine:advance(29)
    engine:step()
    assert.equal(0, wanted(engine))
    engine:credentials("SECOND", "secret", "token")
    flight(engine, 1)
  end)
end)
