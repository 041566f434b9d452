-- Workers that DynamoDB, or Kinesis, refuses for good: permissions that are missing, a table that was deleted; and
-- those whose credentials or clock are refused, which go on.
local core = require "kinesis.core"
local dynamodb = require "support.dynamodb"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"

local SERVICE = fresh.services[2]
-- DynamoDB spells this member with a capital letter in this error, and in others not.
local DENIED = { { status = 400, always = true, body =
  '{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"not authorized"}' } }

local client, application, stream

before_each(function()
  client, application = fresh.client(SERVICE), fresh.name "counter"
  stream = fresh.stream(client, 1)
end)

after_each(function()
  client:close()
end)

local function scope_of(rules)
  return faults.open(rules, { service = "dynalite", server = os.getenv "NGINX_LEASES" })
end

local function open(scope, more, by)
  local options = { store = { dynamodb = { endpoint = scope and scope.url or dynamodb.endpoint } }, failover = 1.5,
    take_interval = 0.5, checkpoint_interval = 0.1, poll_interval = 0.2, stop_timeout = 5 }
  for key, value in pairs(more or {}) do
    options[key] = value
  end
  return assert((by or client):worker(stream, application, options))
end

local function put(first, last)
  fresh.put_numbers(client, stream, first, last)
end

-- Runs a worker until its handler has had `count` different records; returns whether it has, and what `run` does.
local function process(worker, count, seen)
  local good, err = worker:run(function(record)
    count, seen[record.data] = count - (seen[record.data] and 0 or 1), true
    if count == 0 then
      worker:stop()
    end
  end)
  return count <= 0, good, err
end

describe("a worker without a permission", function()
  it("ends, and names it and the table", function()
    put(1, 3)
    for _, operation in ipairs { "DescribeTable", "CreateTable", "GetItem", "Scan", "PutItem", "UpdateItem" } do
      application = fresh.name "counter"
      local started = core.now()
      local good, err = open(scope_of { [operation] = DENIED }):run(function() end)
      assert.is_nil(good)
      assert.same({ "AccessDeniedException", operation }, { err.code, err.operation })
      assert.matches(("not authorized; the worker needs dynamodb:%s on the table %s"):format(operation, application),
        tostring(err), 1, true)
      assert.is_nil(tostring(err):find("stream", 1, true))
      assert.is_true(core.now() - started < 5)
    end
  end)

  it("to delete finished leases ends, too", function()
    put(1, 3)
    assert(process(open(), 3, {}))
    assert(dynamodb.call(client, "UpdateItem", { TableName = application,
      Key = { leaseKey = { S = "shardId-000000000009" } }, AttributeUpdates = {
        checkpoint = { Action = "PUT", Value = { S = "SHARD_END" } },
        checkpointSubSequenceNumber = { Action = "PUT", Value = { N = "0" } },
        leaseCounter = { Action = "PUT", Value = { N = "1" } },
        ownerSwitchesSinceCheckpoint = { Action = "PUT", Value = { N = "0" } } } }))
    local good, err = open(scope_of { DeleteItem = DENIED }):run(function() end)
    assert.is_nil(good)
    assert.matches(("the worker needs dynamodb:DeleteItem on the table %s"):format(application), err.message, 1, true)
  end)

  it("that is for making the table only, needs none when it is there", function()
    put(1, 3)
    dynamodb.create(client, application, {})
    local done, good, err = process(open(scope_of { CreateTable = DENIED }), 3, {})
    assert.is_true(done and good, tostring(err))
  end)

  it("of Kinesis ends, and names the operation", function()
    put(1, 3)
    for _, operation in ipairs { "ListShards", "GetShardIterator", "GetRecords" } do
      local scope = faults.open({ [operation] = DENIED }, { service = "kinesalite" })
      local own = fresh.client(scope.url)
      local good, err = open(nil, nil, own):run(function() end)
      own:close()
      assert.is_nil(good)
      assert.same({ "AccessDeniedException", operation }, { err.code, err.operation })
    end
  end)
end)

describe("a table of leases that", function()
  it("was deleted ends the worker, which says what to do; the next one loses nothing", function()
    put(1, 3)
    local good, err = open():run(function(record)
      if record.data == "2" then
        assert(dynamodb.call(client, "DeleteTable", { TableName = application }))
      end
    end)
    assert.is_nil(good)
    assert.equal("ResourceNotFoundException", err.code)
    assert.matches(("the table %s was deleted"):format(application), tostring(err), 1, true)
    assert.matches("a worker that is started makes it again, and begins at its option `from`", err.message, 1, true)
    put(4, 6)
    local done
    done, good, err = process(open(), 6, {})
    assert.is_true(done and good, tostring(err))
  end)

  -- A table is listed as ACTIVE by one host of the service before all others know it.
  it("is there although one answer says that it is not, ends no worker", function()
    put(1, 3)
    local missing, told = { code = "ResourceNotFoundException", message = "not found" }, {}
    local scope = scope_of { Scan = { missing, missing }, PutItem = { missing }, UpdateItem = { missing, {}, missing } }
    local done, good, err = process(open(scope, { on_error = function(problem, what)
      told[#told + 1] = ("%s: %s"):format(what, problem.code)
    end }), 3, {})
    assert.is_true(done and good, tostring(err))
    assert.is_true(#told > 0)
  end)

  it("is there although one answer says that it is not, has its leases released", function()
    put(1, 3)
    local missing = { code = "ResourceNotFoundException", message = "not found" }
    local scope = scope_of { UpdateItem = { {}, missing } }
    local done, good, err = process(open(scope, { failover = 60, checkpoint_interval = 60, on_error = function() end }),
      3, {})
    assert.is_true(done and good, tostring(err))
    local _, item = next(dynamodb.items(client, application))
    assert.is_nil(item.leaseOwner)
    assert.not_equal("TRIM_HORIZON", item.checkpoint.S)
  end)
end)

describe("credentials", function()
  it("that DynamoDB calls expired are refreshed, and the leases kept", function()
    put(1, 3)
    local expired = { code = "ExpiredTokenException", message = "expired" }
    local scope = scope_of { Scan = { {}, {}, expired }, UpdateItem = { {}, {}, expired, {}, expired } }
    local asked, lost = 0, 0
    local own = fresh.client(SERVICE, { credentials = function()
      asked = asked + 1
      return { access_key_id = "AKID" .. asked, secret_access_key = "secret", expiration = os.time() + 3600 }
    end })
    local worker = open(scope, { on_lease_lost = function(_, reason)
      lost = lost + (reason == "stop" and 0 or 1)
    end }, own)
    local seen = {}
    kinesis.run(function()
      local good, err = worker:run(function(record)
        seen[record.data] = true
      end)
      assert.is_true(good, tostring(err))
    end, function()
      fresh.eventually(function()
        return seen["3"] and #scope:seen "UpdateItem" >= 8
      end)
      worker:stop()
    end)
    assert.is_true(asked >= 3)
    assert.equal(0, lost)
    local last = scope:seen "UpdateItem"
    assert.equal("AKID" .. asked, last[#last].authorization:match "Credential=(%w+)/")
    own:close()
  end)

  it("are signed by the services' clock, however far it is from this one", function()
    put(1, 3)
    for _, off in ipairs { -1800, 1800 } do
      application = fresh.name "counter"
      local rules, told = {}, {}
      for _, operation in ipairs { "DescribeTable", "CreateTable", "GetItem", "Scan", "PutItem", "UpdateItem",
        "ListShards", "GetShardIterator", "GetRecords" } do
        rules[operation] = { { clock = off, always = true } }
      end
      local own = fresh.client(faults.open(rules, { service = "kinesalite" }).url)
      local done, good, err = process(open(scope_of(rules), { on_error = function(problem)
        told[#told + 1] = tostring(problem)
      end }, own), 3, {})
      assert.is_true(done and good, tostring(err))
      assert.same({}, told)
      own:close()
    end
  end)
end)
