-- The store of leases in DynamoDB on a stepped engine: when it sends, how often, and what becomes of its operations;
-- also when memory runs out.
-- Flavours: lua5.4 luajit asan-lua5.4
local codec = require("kinesis").codec
local stepping = require "support.stepping"
local torturing = require "support.torturing"

after_each(torturing.finish)

local ROW = '"leaseKey":{"S":"s1"},"checkpoint":{"S":"5"},"checkpointSubSequenceNumber":{"N":"0"},'
  .. '"ownerSwitchesSinceCheckpoint":{"N":"0"}'

-- A table of one row, "r:c:s1", as DynamoDB.
local function new_table()
  local self = { counter = 0, owner = nil, exists = true }

  local function item()
    return ('{%s,"leaseCounter":{"N":"%d"}%s}'):format(ROW, self.counter,
      self.owner and (',"leaseOwner":{"S":"%s"},"heldBy":{"S":"%s"}'):format(self.owner, self.owner) or "")
  end

  -- The answer to a request.
  function self.answer(request)
    local operation, body = request.operation, codec.json_decode(request.body)
    if operation == "Scan" and not body.ExclusiveStartKey then
      return { body = '{"Items":[],"LastEvaluatedKey":{"leaseKey":{"S":"a"}}}' }
    elseif operation == "Scan" then
      return { body = ('{"Items":[%s]}'):format(self.exists and item() or "") }
    elseif operation == "GetItem" then
      return { body = self.exists and ('{"Item":%s}'):format(item()) or "{}" }
    elseif operation == "UpdateItem" then
      local names, values = body.ExpressionAttributeNames, body.ExpressionAttributeValues
      local number, value = body.ConditionExpression:match "^#(%d+)=:(%d+)"
      assert(names["#" .. number] == "leaseCounter")
      if tonumber(values[":" .. value].N) ~= self.counter or not self.exists then
        return stepping.error "ConditionalCheckFailedException"
      end
      for mark, name in pairs(names) do
        local typed = body.UpdateExpression:find(mark .. "=", 1, true) and values[":" .. mark:sub(2)]
        if name == "leaseCounter" and typed then
          self.counter = tonumber(typed.N)
        elseif name == "leaseOwner" and typed then
          self.owner = typed.S
        end
      end
      return { body = ('{"Attributes":%s}'):format(item()) }
    end
    return { body = "{}" }
  end

  return self
end

local function hold(failover)
  local engine = stepping.engine {}
  local leases = engine:leases { owner = "a", failover = failover or 9, table = "counter", prefix = "r:c:" }
  local held = { engine = engine, leases = leases, outcomes = {}, answers = {}, events = {}, sent = 0 }

  function held.take()
    for _ = 1, 1000 do
      local event, a, b, c = leases:next()
      if not event then
        return
      elseif event == "done" and a > 0 then
        assert.is_nil(held.outcomes[a], "two outcomes")
        held.outcomes[a], held.answers[a] = b, c
      elseif event == "gone" then
        held.gone = true
      else
        held.events[#held.events + 1] = event
      end
      leases:pass()
    end
  end

  -- Begins an operation; returns its number.
  function held.begin(op)
    held.sent = held.sent + 1
    op.number = held.sent
    leases:submit(op)
    engine:step()
    return held.sent
  end

  -- Does one within `seconds`, while handler(request) answers; returns its outcome and answer.
  function held.act(op, handler, seconds)
    local number = held.begin(op)
    stepping.serve(engine, seconds or 1, handler)
    held.take()
    return held.outcomes[number], held.answers[number]
  end

  return held
end

local TAKE = { kind = "update", use = "take", key = "r:c:s1", counter = 0, changes = '{"owner":"a","counter":1}' }
local LIST = { kind = "list", key = "" }

local function copy(op)
  local copied = {}
  for name, value in pairs(op) do
    copied[name] = value
  end
  return copied
end

describe("the dynamodb store", function()
  it("sends to DynamoDB, in its region and by its protocol", function()
    local held = hold()
    held.begin(copy(LIST))
    local request = held.engine:requests()[1]
    assert.equal("https://dynamodb.test/", request.url)
    assert.equal("DynamoDB_20120810.Scan", request.headers["x-amz-target"])
    assert.equal("application/x-amz-json-1.0", request.headers["content-type"])
    assert.matches("/eu%-west%-1/dynamodb/aws4_request", request.headers.authorization)
    assert.equal('{"TableName":"counter"}', request.body)
  end)

  it("asks for page after page", function()
    local held, service = hold(), new_table()
    local outcome, answer = held.act(copy(LIST), service.answer)
    assert.equal("done", outcome)
    assert.equal(0, codec.json_decode(answer)["r:c:s1"].counter)
  end)

  it("tries four times, after 25, 50 and 100 ms at most", function()
    local held, pauses = hold(), {}
    held.begin(copy(LIST))
    for i = 1, 4 do
      pauses[i] = stepping.land(held.engine, stepping.flight(held.engine, 1)[1], stepping.BROKEN)
      held.engine:advance(i < 4 and pauses[i] or 0)
    end
    for i, pause in ipairs { 0.0125, 0.025, 0.05 } do -- the random number is 0.5
      assert.is_true(math.abs(pauses[i] - pause) < 1e-6)
    end
    held.take()
    assert.equal("failed", held.outcomes[1])
  end)

  it("waits for a second after a throttle", function()
    local held = hold()
    held.begin(copy(LIST))
    assert.equal(0.5, stepping.land(held.engine, stepping.flight(held.engine, 1)[1], stepping.THROTTLED))
  end)

  it("gives up what is not answered after a sixth of the failover time, but not before a second", function()
    for failover, timeout in pairs { [3600] = 600, [9] = 1.5, [6] = 1, [4.5] = 1, [3] = 1, [1.5] = 0.5 } do
      local held = hold(failover)
      held.begin(copy(LIST))
      stepping.near(timeout, stepping.flight(held.engine, 1)[1].timeout)
    end
  end)

  -- A lease of 9 s is valid for 8.1 s, and renewed after 3.
  for what, case in pairs {
    ["throttled"] = { 7.9, stepping.THROTTLED }, ["down"] = { 7.9, stepping.BROKEN }, ["hanging"] = { 7, nil },
  } do
    it("keeps a lease valid when the table is back in time: " .. what, function()
      local held, service = hold(9), new_table()
      local take = copy(TAKE)
      take.number = 1
      local _, validity = held.leases:submit(take)
      local began = held.engine:now()
      stepping.serve(held.engine, 0.1, service.answer)
      for _ = 1, 160 do
        local hanging
        stepping.serve(held.engine, 0.05, function(request)
          if request.at >= began + case[1] then
            return service.answer(request)
          end
          hanging = not case[2] and request
          return case[2]
        end)
        if hanging and held.engine:now() >= hanging.at + hanging.timeout then
          held.engine:fail(hanging, { timed_out = true })
          held.engine:step()
        end
      end
      assert.is_true(validity:holds(1))
    end)
  end

  it("reads the row after a refusal that does not have it", function()
    local held, service, asked = hold(), new_table(), {}
    service.counter, service.owner = 7, "b"
    local outcome, answer = held.act(copy(TAKE), function(request)
      asked[#asked + 1] = request.operation
      return service.answer(request)
    end)
    assert.equal("refused", outcome)
    assert.same({ "UpdateItem", "GetItem" }, asked)
    assert.same({ "b", 7 }, { codec.json_decode(answer).owner, codec.json_decode(answer).counter })
  end)

  it("takes the row from a refusal that has it", function()
    local held, asked = hold(), {}
    local outcome, answer = held.act(copy(TAKE), function(request)
      asked[#asked + 1] = request.operation
      return { status = 400,
        body = ('{"__type":"ConditionalCheckFailedException","Item":{%s,"leaseCounter":{"N":"9"}}}'):format(ROW) }
    end)
    assert.equal("refused", outcome)
    assert.same({ "UpdateItem" }, asked)
    assert.equal(9, codec.json_decode(answer).counter)
  end)

  it("keeps what it holds when a renewal was stored without an answer", function()
    local held, service, lost = hold(9), new_table(), 0
    assert.equal("done", (held.act(copy(TAKE), service.answer)))
    stepping.serve(held.engine, 12, function(request)
      local answer = service.answer(request)
      lost = lost + 1
      return lost == 1 and stepping.BROKEN or answer
    end)
    held.take()
    assert.same({}, held.events)
    assert.is_true(service.counter >= 4)
  end)

  -- The row names this worker again, but another one has read the shard and moved the checkpoint in between.
  it("has lost a lease that was taken and handed over to it while it could not renew it", function()
    local held, service, is_cut_off = hold(9), new_table(), true
    assert.equal("done", (held.act(copy(TAKE), service.answer)))
    stepping.serve(held.engine, 12, function(request)
      return is_cut_off and stepping.BROKEN or service.answer(request)
    end)
    service.counter = service.counter + 2
    is_cut_off = false
    stepping.serve(held.engine, 12, service.answer)
    held.take()
    assert.equal("lost", held.events[#held.events])
    local again = copy(TAKE)
    again.counter, again.owner = service.counter, "a"
    again.changes = ('{"owner":"a","counter":%d}'):format(service.counter + 1)
    assert.equal("done", (held.act(again, service.answer)))
  end)
end)

it("memory that runs out while leases are held in DynamoDB: each operation has its outcome", function()
  torturing.fail_each(function()
    local held, service = hold(9), new_table()
    local seen = { held = held, service = service }
    for i, op in ipairs {
      { kind = "create", key = "r:c:s1", changes = '{"counter":0,"checkpoint":"5","sub":0}' }, LIST, TAKE,
      { kind = "update", use = "write", key = "r:c:s1", changes = '{"checkpoint":"6","sub":1}' },
      { kind = "get", key = "r:c:s1" }, { kind = "probe", key = "b" },
    } do
      seen[i] = held.act(copy(op), service.answer, 5)
    end
    stepping.serve(held.engine, 5, service.answer)
    held.take()
    return seen
  end, function(seen, failed)
    local held = seen.held
    for i = 1, held.sent do
      assert.is_true(held.gone or held.outcomes[i] ~= nil, "no outcome of operation " .. i)
      assert.is_true(failed or held.outcomes[i] == "done", tostring(held.answers[i]))
      if held.outcomes[i] == "failed" then
        assert.matches("memory", held.answers[i])
      end
    end
    for _, event in ipairs(held.events) do
      assert.are_not.equal("lost", event)
    end
  end)
end)
