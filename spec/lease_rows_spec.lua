-- Rows of leases as DynamoDB and the Kinesis Client Library (KCL) have them, both ways. The KCL's own rows are recorded
-- (spec/fixtures/kcl). A service's answer can be anything: it is read or refused.
local codec = require("kinesis").codec
local recorded = require("support.dynamodb").recorded
local wire = require("stepped").codec

local LESS = os.getenv "SPEC_LESS" ~= nil

local ONE = { prefix = "us-east-1:clicks:", name = "" }
local MANY = { prefix = "us-east-1:clicks:", name = "123456789012:clicks:1795757991" }

-- The rows of recorded items, by their keys here.
local function rows_of(items, stream)
  local text, after = wire.lease_rows(stream or ONE, codec.json_encode { Items = items })
  assert.equal("", after)
  return codec.json_decode(text)
end

local function request(...)
  local text = assert(wire.lease_request(ONE, ...))
  return assert(codec.json_decode(text), text)
end

-- A request's item for a row.
local function item_of(key, row, stream)
  local text = assert(wire.lease_request(stream or ONE, "put", key, codec.json_encode(row)))
  local item = codec.json_decode(text).Item
  item.kinesisStream = nil -- ours
  return item
end

-- What an update changes: attribute -> its value, or false when it is removed; and the condition in words.
local function update(changes, owner, counter)
  local asked = request("update", "us-east-1:clicks:shardId-1", changes and codec.json_encode(changes) or "",
    owner and codec.json_encode(owner) or "", counter or 7)
  local function named(text)
    return (text:gsub("#%d+", asked.ExpressionAttributeNames))
  end
  local result = {}
  local expression = asked.UpdateExpression or ""
  for name, value in (expression:match "SET ([^ ]*)" or ""):gmatch "([^,=]+)=([^,]+)" do
    result[named(name)] = asked.ExpressionAttributeValues[value]
  end
  for name in (expression:match "REMOVE (.*)$" or ""):gmatch "[^,]+" do
    result[named(name)] = false
  end
  assert.same({ S = "shardId-1" }, asked.Key.leaseKey)
  assert.equal("ALL_NEW", asked.ReturnValues)
  local condition = named(asked.ConditionExpression):gsub(":%d+", function(value)
    local typed = asked.ExpressionAttributeValues[value]
    return typed.N or typed.S
  end)
  return result, condition
end

local P = ONE.prefix

describe("the KCL's rows", function()
  it("are read: a checkpoint inside an aggregate", function()
    for _, name in ipairs { "1-checkpoint-in-aggregate", "2-checkpoint-in-aggregate" } do
      local tables = recorded(name)
      local rows = rows_of((tables.app or tables.app1).items)
      local row = rows[P .. "shardId-000000000000"]
      assert.same({ "worker-a", 2, 0, "0" }, { row.owner, row.sub, row.owner_switches, row.starting_hash_key })
      assert.matches("^49680605%d+$", row.checkpoint)
      assert.is_true(row.kcl)
      row = rows[P .. "shardId-000000000001"]
      assert.same("TRIM_HORIZON", row.checkpoint)
      assert.is_nil(row.sub)
    end
  end)

  it("are read: parents and children", function()
    local rows = rows_of(recorded("2-split").app.items)
    assert.same({ P .. "shardId-000000000002", P .. "shardId-000000000003" },
      rows[P .. "shardId-000000000000"].children)
    assert.same({ P .. "shardId-000000000000" }, rows[P .. "shardId-000000000003"].parents)
    assert.is_nil(rows[P .. "shardId-000000000003"].owner)
    assert.is_nil(rows[P .. "shardId-000000000003"].kcl)
    rows = rows_of(recorded("2-merge").app.items)
    assert.same({ P .. "shardId-000000000001", P .. "shardId-000000000003" },
      rows[P .. "shardId-000000000004"].parents)
  end)

  it("are read: only leases of KCL 3", function()
    local items = recorded("3-hand-off").app.items
    assert.equal(6, #items)
    local rows, count = rows_of(items), 0
    for _ in pairs(rows) do
      count = count + 1
    end
    assert.equal(2, count)
    local row = rows[P .. "shardId-000000000000"]
    assert.equal("LEASE", row.entityType)
    assert.equal(14, math.floor(row.throughput))
  end)

  it("are read: a hand-off by the leader of KCL 3 is a request of the next owner", function()
    local row = rows_of(recorded("3-hand-off").app.items)[P .. "shardId-000000000000"]
    assert.same({ "worker-a", "worker-b", 13, true }, { row.owner, row.wanted_by, row.counter, row.kcl })
    assert.is_nil(row.checkpointOwner)
    row = rows_of { { leaseKey = { S = "s" }, leaseCounter = { N = "1" }, wantedBy = { S = "c" }, heldBy = { S = "a" },
      checkpointOwner = { S = "a" }, leaseOwner = { S = "b" } } }[P .. "s"]
    assert.same({ owner = "a", wanted_by = "b", counter = 1 }, row)
  end)

  it("are read: what a worker before a KCL has left is not the KCL's", function()
    local row = rows_of { { leaseKey = { S = "s" }, leaseCounter = { N = "1" }, wantedBy = { S = "c" },
      heldBy = { S = "a" }, leaseOwner = { S = "b" }, ownedSince = { N = "17" } } }[P .. "s"]
    assert.same({ owner = "b", kcl = true, counter = 1 }, row)
    row = rows_of { { leaseKey = { S = "s" }, leaseCounter = { N = "1" }, wantedBy = { S = "c" }, heldBy = { S = "a" },
      leaseOwner = { S = "d" }, checkpointOwner = { S = "b" }, ownedSince = { N = "17" } } }[P .. "s"]
    assert.same({ owner = "b", wanted_by = "d", kcl = true, counter = 1 }, row)
  end)

  -- The recorded rows of each moment come back as they were, attribute by attribute.
  it("are written as the KCL writes them", function()
    for _, name in ipairs { "1-checkpoint-in-aggregate", "2-created", "2-checkpoint-in-aggregate",
      "2-prepared-checkpoint", "2-split", "2-merge", "3-two-workers" } do
      for _, tab in pairs(recorded(name)) do
        local rows = rows_of(tab.items)
        for _, item in ipairs(tab.items) do
          local row = rows[P .. item.leaseKey.S]
          if row then
            local again = item_of(P .. item.leaseKey.S, row)
            again.heldBy = nil -- ours
            assert.same(item, again)
          end
        end
      end
    end
  end)
end)

describe("a row of ours", function()
  it("is a complete one of the KCL's", function()
    local item = recorded("2-created").app.items[1]
    local made = item_of(P .. "shardId-000000000000", { counter = 0, owner_switches = 0, checkpoint = "TRIM_HORIZON",
      starting_hash_key = item.startingHashKey.S, ending_hash_key = item.endingHashKey.S })
    assert.same(item, made)
    made = item_of(P .. "shardId-000000000000", {})
    assert.same({ leaseKey = { S = "shardId-000000000000" }, leaseCounter = { N = "0" },
      ownerSwitchesSinceCheckpoint = { N = "0" }, checkpoint = { S = "TRIM_HORIZON" },
      checkpointSubSequenceNumber = { N = "0" } }, made)
  end)

  it("has a position that means the same to the KCL", function()
    local cases = {
      { { checkpoint = "496", sub = 3 }, "3" }, { { checkpoint = "496", sub = 0 }, "0" },
      { { checkpoint = "496" }, "2147483647" }, { { checkpoint = "TRIM_HORIZON" }, "0" },
      { { checkpoint = "SHARD_END", sub = 9 }, "0", true }, { { checkpoint = "AT_TIMESTAMP", timestamp = 17.5 }, "0" },
    }
    for _, case in ipairs(cases) do
      local item = item_of(P .. "s", case[1])
      assert.equal(case[2], item.checkpointSubSequenceNumber.N)
      local row = rows_of({ item })[P .. "s"]
      assert.equal(case[1].checkpoint, row.checkpoint)
      assert.equal(not case[3] and case[1].sub or nil, row.sub)
      assert.equal(case[1].timestamp, row.timestamp)
    end
    local old = item_of(P .. "s", { checkpoint = "496", sub = 3 })
    old.checkpointSubSequenceNumber = nil
    assert.equal(0, rows_of({ old })[P .. "s"].sub)
  end)

  it("keeps what it has beyond the KCL's", function()
    local row = { counter = 3, owner = "me", owner_switches = 1, checkpoint = "5", sub = 1, wanted_by = 'y"ou\\',
      since = 1795757991.25, throughput = 1234.5, parents = { P .. "p1", P .. "p2" }, children = { P .. "c" },
      strange = { deep = { 1, "2", true } }, starting_hash_key = "0", ending_hash_key = "9" }
    local item = item_of(P .. "shardId-1", row)
    assert.same({ SS = { "p1", "p2" } }, item.parentShardId)
    assert.same({ S = "me" }, item.heldBy)
    assert.equal(1.2345, tonumber(item.throughputKBps.N))
    assert.same({ [P .. "shardId-1"] = row }, rows_of { item })
  end)

  it("is the KCL's as soon as that has taken it", function()
    local item = item_of(P .. "s", { counter = 3, owner = "me", checkpoint = "5" })
    assert.is_nil(rows_of({ item })[P .. "s"].kcl)
    item.leaseOwner.S = "you"
    assert.is_true(rows_of({ item })[P .. "s"].kcl)
    item.leaseOwner = nil
    assert.is_nil(rows_of({ item })[P .. "s"].kcl)
  end)

  it("is changed under the condition of counter and owner", function()
    local changed, condition = update({ owner = "me", counter = 8, wanted_by = false, owner_switches = 1 }, "you")
    assert.same({ leaseOwner = { S = "me" }, heldBy = { S = "me" }, leaseCounter = { N = "8" }, wantedBy = false,
      ownerSwitchesSinceCheckpoint = { N = "1" }, checkpointOwner = false }, changed)
    assert.equal("leaseCounter=7 AND (checkpointOwner=you OR leaseOwner=you AND "
      .. "attribute_not_exists(checkpointOwner))", condition)
    changed, condition = update { owner = false }
    assert.same({ leaseOwner = false, heldBy = false, checkpointOwner = false }, changed)
    assert.equal("leaseCounter=7 AND attribute_not_exists(leaseOwner)", condition)
    assert.same({}, (update()))
    changed = update({ owner = "kcl", kcl = true, counter = 8 }, "me") -- handed over to a worker of the KCL
    assert.same({ leaseOwner = { S = "kcl" }, heldBy = false, checkpointOwner = false, leaseCounter = { N = "8" } },
      changed)
  end)

  it("never loses an attribute that a KCL needs", function()
    assert.same({ leaseCounter = { N = "0" }, ownerSwitchesSinceCheckpoint = { N = "0" },
      checkpoint = { S = "TRIM_HORIZON" }, checkpointSubSequenceNumber = { N = "0" }, pendingCheckpoint = false,
      pendingCheckpointSubSequenceNumber = false, pendingCheckpointState = false },
      (update { counter = false, owner_switches = false, checkpoint = false, sub = false }))
  end)

  it("loses the KCL's pending checkpoint with a new one", function()
    local changed = update { checkpoint = "12", sub = 4, counter = 8, timestamp = false }
    assert.same({ checkpoint = { S = "12" }, checkpointSubSequenceNumber = { N = "4" }, leaseCounter = { N = "8" },
      checkpointTimestamp = false, pendingCheckpoint = false, pendingCheckpointSubSequenceNumber = false,
      pendingCheckpointState = false }, changed)
    changed = update { checkpoint = "12", sub = false }
    assert.same({ N = "2147483647" }, changed.checkpointSubSequenceNumber)
    changed = update { checkpoint = "SHARD_END", sub = false, children = { P .. "a", P .. "b" } }
    assert.same({ N = "0" }, changed.checkpointSubSequenceNumber)
    assert.same({ SS = { "a", "b" } }, changed.childShardIds)
  end)

  it("has the KCL's key among several streams", function()
    local item = item_of(P .. "shardId-1", { parents = { P .. "shardId-0" } }, MANY)
    assert.same({ S = MANY.name .. ":shardId-1" }, item.leaseKey)
    assert.same({ { S = MANY.name }, { S = "shardId-1" } }, { item.streamName, item.shardId })
    assert.same({ SS = { "shardId-0" } }, item.parentShardId)
    assert.same({ P .. "shardId-0" }, rows_of({ item }, MANY)[P .. "shardId-1"].parents)
    item.leaseKey.S = "123456789012:other:1:shardId-1"
    assert.same({}, rows_of({ item }, MANY))
  end)

  it("does not fit a table of other streams, or of a KCL 3", function()
    local function fit(stream, item)
      local text, _, found = wire.lease_rows(stream, codec.json_encode { Items = { item } })
      return ({ [0] = "fits", "other", "one", "many", "kcl 3" })[found], codec.json_decode(text)
    end
    local one = codec.json_decode(wire.lease_request(ONE, "put", P .. "s", "{}")).Item
    local many = codec.json_decode(wire.lease_request(MANY, "put", P .. "s", "{}")).Item
    assert.same({ S = P }, one.kinesisStream)
    assert.equal("fits", (fit(ONE, one)))
    assert.equal("fits", (fit(MANY, many)))
    assert.equal("one", (fit(MANY, one)))
    assert.equal("many", (fit(ONE, many)))
    one.kinesisStream.S = "us-east-1:views:"
    assert.same({ "other", {} }, { fit(ONE, one) })
    one.kinesisStream = nil -- the KCL's
    assert.equal("fits", (fit(ONE, one)))
    for version, expected in pairs { CLIENT_VERSION_3X = "kcl 3", CLIENT_VERSION_3X_WITH_ROLLBACK = "kcl 3",
      CLIENT_VERSION_2X = "fits", CLIENT_VERSION_UPGRADE_FROM_2X = "fits" } do
      local item = { leaseKey = { S = "Migration3.0" }, cv = { S = version } }
      assert.equal(expected, (fit(ONE, item)))
      assert.same({ "fits", {} }, { fit({ prefix = P, name = "", kcl3 = true }, item) })
    end
  end)
end)

describe("a request or response", function()
  it("refuses keys of other streams, and what is no row", function()
    for _, key in ipairs { "shardId-1", "us-east-1:views:shardId-1", P .. ("x"):rep(600) } do
      assert.is_nil((wire.lease_request(ONE, "get", key)))
    end
    for _, row in ipairs { "", "[]", '{"counter":"x"}', '{"parents":"x"}', "{" } do
      assert.is_nil((wire.lease_request(ONE, "put", P .. "s", row)))
    end
  end)

  it("goes from page to page", function()
    local text, after = wire.lease_rows(ONE, '{"Items":[],"LastEvaluatedKey":{"leaseKey":{"S":"a\\"b"}}}')
    assert.equal("{}", text)
    assert.same({ leaseKey = { S = 'a"b' } }, request("scan", after).ExclusiveStartKey)
    assert.is_nil(request("scan", "").ExclusiveStartKey)
  end)

  it("keeps the escapes of names and texts", function()
    local row = codec.json_decode(wire.lease_row(ONE, '{"Item":{"leaseKey":{"S":"s"},"leaseCounter":{"N":"1"},'
      .. '"a\\"b\\u0041":{"S":"c\\"\\n"}}}', "Item"))
    assert.same({ counter = 1, ['a"bA'] = 'c"\n' }, row)
  end)

  it("reads or refuses any answer", function()
    local _, text = recorded "3-hand-off"
    local items = '{"Items":' .. text:match '"items": (%b[])' .. "}"
    assert.is_string((wire.lease_rows(ONE, items)))
    for length = 0, #items - 1, LESS and 37 or 1 do
      assert.is_nil((wire.lease_rows(ONE, items:sub(1, length))))
    end
    for place = 1, #items, LESS and 41 or 3 do
      local broken = items:sub(1, place - 1) .. "}" .. items:sub(place + 1)
      local rows = wire.lease_rows(ONE, broken)
      assert.is_true(rows == nil or codec.json_decode(rows) ~= nil)
    end
    for _, answer in ipairs { "", "[]", "{}", '{"Items":{}}', '{"Items":[1]}', '{"Items":[{"leaseKey":"x"}]}',
      '{"Items":[{"leaseKey":{}}]}', '{"Items":[{"leaseKey":{"S":"s","N":"1"}}]}' } do
      assert.is_nil((wire.lease_rows(ONE, answer)))
    end
    assert.equal("", (wire.lease_row(ONE, "{}", "Item")))
    assert.equal("", (wire.lease_row(ONE, '{"Item":null}', "Item")))
    assert.is_nil((wire.lease_row(ONE, '{"Item":{"leaseCounter":1}}', "Item")))
  end)

  it("is checked by a checksum", function()
    assert.equal(0xcbf43926, wire.crc32 "123456789") -- the check value of CRC-32
    assert.equal(0, wire.crc32 "")
    assert.equal(2745614147, wire.crc32 "{}")
  end)
end)
