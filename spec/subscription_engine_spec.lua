-- Subscriptions in an engine that is stepped by the spec: events to Lua or to a machine, retries, the end.
-- Flavours: *lua5.4
local frames = require "support.frames"
local stepping = require "support.stepping"

local encoded = frames.encode { frames.event "first", frames.event "second",
  { { [":message-type"] = "exception", [":exception-type"] = "ResourceInUseException" }, '{"message":"taken"}' } }
local FIRST, SECOND, EXCEPTION = encoded[1], encoded[2], encoded[3]

for receiver, by_machine in pairs { Lua = false, ["its machine"] = true } do
  describe("a subscription", function()
    after_each(stepping.close_all)

    local function subscribe()
      local engine = stepping.engine {}
      local id = engine:subscribe(by_machine)
      return engine, stepping.flight(engine, 1)[1], id
    end

    local function received(engine)
      local list = {}
      for i, message in ipairs(engine:messages()) do
        list[i] = { message.kind, message.owner, message.payload or (message.failure or {}).code }
      end
      return list
    end

    it("delivers each event to " .. receiver .. " when it has arrived, and then its end", function()
      local engine, request, id = subscribe()
      assert.is_true(engine:stream(request, FIRST .. SECOND:sub(1, 20)))
      engine:step()
      assert.same({ { "streamed", id, "first" } }, received(engine))
      assert.is_true(engine:stream(request, SECOND:sub(21)))
      engine:step()
      assert.same({ { "streamed", id, "second" } }, received(engine))
      engine:answer(request, { body = "" })
      engine:step()
      assert.same({ { "answer", id } }, received(engine))
    end)

    it("is not retried after an event, and its exception goes to " .. receiver, function()
      local engine, request, id = subscribe()
      assert.is_false(engine:stream(request, FIRST .. EXCEPTION))
      engine:step()
      assert.same({ { "streamed", id, "first" }, { "answer", id, "ResourceInUseException" } }, received(engine))
      stepping.flight(engine, 0)
    end)

    it("is retried before its first event", function()
      local engine, request = subscribe()
      engine:answer(request, stepping.BROKEN)
      engine:advance(engine:step())
      stepping.flight(engine, 1)
      assert.same({}, received(engine))
    end)

    it("occupies no connection of the calls", function()
      local engine = stepping.engine { max_connections = 1 }
      engine:subscribe(by_machine)
      stepping.flight(engine, 1)
      engine:call("ListStreams", "{}")
      stepping.flight(engine, 2)
    end)
  end)
end
