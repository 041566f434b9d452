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

  function self.item()
    return ('{%s,"leaseCounter":{"N":"%d"}%s}'):format(ROW, self.counter,
      self.owner and (',"leaseOwner":{"S":"%s"},"heldBy":{"S":"%s"}'):format(self.owner, self.owner) or "")
  end

  -- The answer to a request.
  function self.answer(request)
    local operation, body = request.operation, codec.json_decode(request.body)
    if operation == "Scan" and not body.ExclusiveStartKey then
      return { body = '{"Items":[],"LastEvaluatedKey":{"leaseKey":{"S":"a"}}}' }
    elseif operation == "Scan" then
      return { body = ('{"Items":[%s]}'):format(self.exists and self.item() or "") }
    elseif operation == "GetItem" then
      return { body = self.exists and ('{"Item":%s}'):format(self.item()) or "{}" }
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
      return { body = ('{"Attributes":%s}'):format(self.item()) }
    end
    return { body = "{}" }
  end

  return self
end

local function hold(failover, more)
  local engine = stepping.engine(more)
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

  it("does not wait for calls of Kinesis that hang, nor they for it", function()
    local held = hold(9, { max_connections = 2 })
    for _ = 1, 3 do
      held.engine:call("GetRecords", "{}")
    end
    held.engine:step()
    for i = 1, 3 do
      held.begin { kind = "get", key = "r:c:s" .. i }
    end
    held.engine:call("ListShards", "{}")
    local function operations(count)
      local names = {}
      for i, request in ipairs(stepping.flight(held.engine, count)) do
        names[i] = request.operation
      end
      return names
    end
    assert.same({ "GetRecords", "GetRecords", "GetItem", "GetItem" }, operations(4))
    held.engine:answer(held.engine:requests()[3], { body = "{}" })
    assert.same({ "GetRecords", "GetRecords", "GetItem", "GetItem" }, operations(4))
    held.engine:answer(held.engine:requests()[1], stepping.FINE)
    assert.same({ "GetRecords", "GetItem", "GetItem", "GetRecords" }, operations(4))
    held.engine:answer(held.engine:requests()[2], { body = "{}" })
    assert.same({ "GetRecords", "GetItem", "GetRecords" }, operations(3))
  end)

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

  it("reads the row again where a refusal has one that cannot be read", function()
    local held, service, count = hold(), new_table(), 0
    assert.equal("done", (held.act(copy(TAKE), service.answer)))
    service.counter, service.owner = 7, "b"
    stepping.serve(held.engine, 5, function(request)
      count = count + 1
      local answer = service.answer(request)
      if answer.status == 400 then
        answer.body = ('{"__type":"ConditionalCheckFailedException","Item":{%s,"leaseCounter":{"N":"7"},'
          .. '"parentShardId":{"SS":[7]}}}'):format(ROW)
      end
      return answer
    end)
    local event, key, row = held.leases:next()
    assert.same({ "lost", "r:c:s1" }, { event, key })
    assert.equal(7, codec.json_decode(row).counter)
    assert.equal(2, count)
  end)

  it("does not ask for ever for a row that cannot be had, or for a page that does not end", function()
    for _, case in ipairs { { LIST, { body = '{"Items":[],"LastEvaluatedKey":{"leaseKey":{"S":"a"}}}' } },
      { LIST, stepping.error "ConditionalCheckFailedException" },
      { { kind = "get", key = "r:c:s1" }, stepping.error "ConditionalCheckFailedException" },
      { TAKE, stepping.error "ConditionalCheckFailedException" } } do
      local held, count = hold(), 0
      local outcome = held.act(copy(case[1]), function()
        count = count + 1
        assert.is_true(count < 20, "endless requests")
        return case[2]
      end)
      assert.equal("failed", outcome)
    end
  end)

  it("says that a list is too large", function()
    if os.getenv("BUILD_FLAVOUR"):find "asan" then
      return -- 64 MiB are slow there
    end
    local held, pages = hold(), 0
    local filler = ("x"):rep(1000000)
    local outcome, problem = held.act(copy(LIST), function()
      pages = pages + 1
      return { body = ('{"Items":[{"leaseKey":{"S":"s%d"},"checkpoint":{"S":"5"},"leaseCounter":{"N":"1"},'
        .. '"x":{"S":"%s"}}],"LastEvaluatedKey":{"leaseKey":{"S":"s%d"}}}'):format(pages, filler, pages) }
    end)
    assert.equal("failed", outcome)
    assert.matches("64 MiB", problem)
    assert.is_true(pages < 70)
  end)

  it("deletes a row only as it was seen", function()
    local held = hold()
    held.begin { kind = "delete", key = "r:c:s1", counter = 7, owner = "b" }
    held.begin { kind = "delete", key = "r:c:s1", counter = 7 }
    local requests = held.engine:requests()
    local body = codec.json_decode(requests[1].body)
    assert.same({ "DeleteItem", "#0=:0 AND (#1=:1 OR #2=:2 AND attribute_not_exists(#1))" },
      { requests[1].operation, body.ConditionExpression })
    assert.same({ ["#0"] = "leaseCounter", ["#1"] = "checkpointOwner", ["#2"] = "leaseOwner" },
      body.ExpressionAttributeNames)
    assert.same({ [":0"] = { N = "7" }, [":1"] = { S = "b" }, [":2"] = { S = "b" } }, body.ExpressionAttributeValues)
    assert.equal("#0=:0 AND attribute_not_exists(#1)", codec.json_decode(requests[2].body).ConditionExpression)
  end)

  it("counts the time to the next renewal from when the last one was sent", function()
    local held, service, sent = hold(9), new_table(), {}
    local _, validity = held.leases:submit { number = 99, kind = TAKE.kind, use = TAKE.use, key = TAKE.key, counter = 0,
      changes = TAKE.changes }
    stepping.serve(held.engine, 0, service.answer)
    for _ = 1, 4 do -- each renewal is answered 2.9 s after it was sent
      local due = held.engine:step()
      held.engine:advance(due)
      held.engine:step()
      sent[#sent + 1] = held.engine:now()
      local request = held.engine:requests()[1]
      held.engine:advance(2.9)
      assert.is_true(validity:holds())
      held.engine:answer(request, service.answer(request))
      held.engine:step()
    end
    for i = 2, 4 do
      stepping.near(3, sent[i] - sent[i - 1])
    end
  end)

  it("does not make a lease valid again by an answer that comes after its time", function()
    local held, service = hold(9), new_table()
    local _, validity = held.leases:submit { number = 99, kind = TAKE.kind, use = TAKE.use, key = TAKE.key, counter = 0,
      changes = TAKE.changes }
    stepping.serve(held.engine, 0, service.answer)
    assert.is_true(validity:holds())
    held.engine:advance(held.engine:step())
    held.engine:step()
    local request = held.engine:requests()[1]
    held.engine:suspend(20)
    assert.is_false(validity:holds())
    held.engine:answer(request, service.answer(request))
    held.engine:step()
    assert.is_false(validity:holds())
    stepping.serve(held.engine, 0.01, service.answer) -- it is renewed at once
    assert.is_true(validity:holds())
  end)
end)

it("memory that runs out while leases are held in DynamoDB: each operation has its outcome", function()
  torturing.fail_each(function()
    local held, service = hold(9), new_table()
    local seen, repeated = { held = held, service = service }, false
    local function repeats(request) -- does a write, whose repetition is refused
      if request.operation == "UpdateItem" and not repeated then
        repeated = true
        service.answer(request)
        return { status = 400,
          body = ('{"__type":"ConditionalCheckFailedException","Item":%s}'):format(service.item()) }
      end
      return service.answer(request)
    end
    for i, op in ipairs {
      { kind = "create", key = "r:c:s1", changes = '{"counter":0,"checkpoint":"5","sub":0}' }, LIST, TAKE,
      { kind = "update", use = "write", key = "r:c:s1", changes = '{"checkpoint":"6","sub":1}' },
      { kind = "get", key = "r:c:s1" }, { kind = "probe", key = "b" },
      { kind = "update", use = "write", key = "r:c:s1", changes = '{"checkpoint":"7","sub":1}', with = repeats },
      { kind = "delete", key = "r:c:s2", counter = 7, owner = "b" },
    } do
      seen[i] = held.act(copy(op), op.with or service.answer, 5)
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
