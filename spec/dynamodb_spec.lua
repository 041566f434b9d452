-- The table of leases in DynamoDB: where it is, whether it is one, and the store in it, on dynalite.
local core = require "kinesis.core"
local dynamodb = require "support.dynamodb"
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local tables = require "kinesis.store.dynamodb"

local P, recorded = fresh.region .. ":clicks:", dynamodb.recorded

local client, application, opened

local function leases_of(opened_table, worker, failover)
  local made = dynamodb.leases(client, opened_table, worker, failover)
  opened[#opened + 1] = made
  return made
end

before_each(function()
  client, application, opened = fresh.client "http://127.0.0.1:1", fresh.name "counter", {}
end)

after_each(function()
  for _, each in ipairs(opened) do
    each:close()
  end
  client:close()
end)

describe("a table of leases", function()
  it("is made when it is missing, by one of many", function()
    local first = dynamodb.open(client, application, { "clicks" })
    kinesis.run(function()
      dynamodb.ready(first)
    end, function()
      dynamodb.ready(dynamodb.open(client, application, { "clicks" }))
    end)
    local about = assert(dynamodb.call(client, "DescribeTable", { TableName = application })).Table
    assert.same({ { AttributeName = "leaseKey", KeyType = "HASH" } }, about.KeySchema)
    assert.equal("PAY_PER_REQUEST", about.BillingModeSummary.BillingMode)
    assert.is_true((first:prepare()))
  end)

  it("is one of the KCL, 1, 2 or 3, that the KCL has made", function()
    dynamodb.create(client, application, recorded("2-split").app.items)
    dynamodb.ready(dynamodb.open(client, application, { "clicks" }))
  end)

  it("is refused when somebody else's", function()
    dynamodb.create(client, application, {}, "id")
    local ready, err = dynamodb.open(client, application, { "clicks" }):prepare()
    assert.is_nil(ready)
    assert.equal("LeaseStore", err.code)
    assert.matches("is no table of leases: its key is id (S), not leaseKey (S)", err.message, 1, true)
    assert.is_falsy(err.retryable)
    dynamodb.create(client, application .. "-2", {}, "wid")
    err = select(2, dynamodb.open(client, application .. "-2", { "clicks" }):prepare())
    assert.matches("where KCL 3 keeps the metrics of its workers", err.message, 1, true)
  end)

  it("is refused when a KCL 3 assigns its leases", function()
    dynamodb.create(client, application, recorded("3-hand-off").app.items)
    local err = select(2, dynamodb.open(client, application, { "clicks" }):prepare())
    assert.equal("LeaseStore", err.code)
    assert.matches(("Migration3.0 in %s says CLIENT_VERSION_3X"):format(application), err.message, 1, true)
    assert.matches("delete the row Migration3.0", err.message, 1, true)
  end)

  it("is refused when a KCL 3.4 assigns its leases, which says so in another table", function()
    local of = recorded "3.4-three-tables"
    dynamodb.create(client, application, of.app34.items)
    dynamodb.create(client, application .. "-CoordinatorState", of["app34-CoordinatorState"].items, "key")
    local err = select(2, dynamodb.open(client, application, { "clicks" }):prepare())
    local said = ("Migration3.0 in %s-CoordinatorState says CLIENT_VERSION_3X"):format(application)
    assert.matches(said, err.message, 1, true)
    dynamodb.create(client, application .. "-leases", {}) -- the KCL names its other tables by the application
    local other = assert(tables.open(client, { dynamodb.source "clicks" }, application,
      { dynamodb = { endpoint = dynamodb.endpoint, table = application .. "-leases" } }))
    assert.matches(said, select(2, other:prepare()).message, 1, true)
  end)

  it("is not believed by an answer that is none of DynamoDB, nor used in another status", function()
    local function ask(body)
      local scope = faults.open({ DescribeTable = { { body = body, always = true } } },
        { service = "dynalite", server = os.getenv "NGINX_LEASES" })
      return dynamodb.open(client, application, { "clicks" }, scope.url):prepare()
    end
    for _, body in ipairs { "{}", "[]", '{"Table":1}', '{"Table":{}}', '{"Table":{"TableStatus":"ACTIVE"}}' } do
      local ready, err = ask(body)
      assert.is_nil(ready, body)
      assert.same({ "BadAnswer", true }, { err.code, err.retryable }, body)
      assert.matches("is the endpoint http://127.0.0.1:%d+/scope/%S+ right", err.message)
    end
    local about = '{"Table":{"TableStatus":"%s","KeySchema":[],"AttributeDefinitions":[]}}'
    assert.is_false((ask(about:format "DELETING")))
    local ready, err = ask(about:format "ARCHIVED")
    assert.is_nil(ready)
    assert.matches(("the table %s at .*its status is ARCHIVED"):format(application:gsub("%p", "%%%0")), err.message)
    assert.is_falsy(err.retryable)
  end)

  it("is shared with a KCL 3 in its 2X modes", function()
    for i, version in ipairs { "CLIENT_VERSION_2X", "CLIENT_VERSION_UPGRADE_FROM_2X" } do
      local items = recorded("3-hand-off").app.items
      for _, item in ipairs(items) do
        item.cv = item.cv and { S = version }
      end
      dynamodb.create(client, application .. i, items)
      local table_of = dynamodb.ready(dynamodb.open(client, application .. i, { "clicks" }))
      local rows = leases_of(table_of, "me"):list()
      assert.equal("worker-a", rows[P .. "shardId-000000000000"].owner)
    end
  end)

  it("names the permission that is missing", function()
    for _, operation in ipairs { "DescribeTable", "CreateTable", "GetItem" } do
      local scope = faults.open({ [operation] = { { code = "AccessDeniedException", message = "no", always = true } } },
        { service = "dynalite", server = os.getenv "NGINX_LEASES" })
      local name = fresh.name "denied"
      local table_of = dynamodb.open(client, name, { "clicks" }, scope.url)
      local ready, err
      fresh.eventually(function()
        ready, err = table_of:prepare()
        return ready ~= false
      end)
      assert.is_nil(ready)
      assert.matches(("the worker needs dynamodb:%s on the table %s"):format(operation, name), err.message, 1, true)
    end
  end)
end)

describe("the endpoint of DynamoDB", function()
  local function at(options, given)
    local made = fresh.client(nil, options)
    local url, origin = tables.url(made, given or {})
    made:close()
    return url, tostring(origin)
  end

  it("follows the rules", function()
    local cases = {
      { "https://dynamodb.us-east-1.amazonaws.com", {} },
      { "https://dynamodb-fips.us-east-1.amazonaws.com", { use_fips = true } },
      { "https://dynamodb.us-east-1.api.aws", { use_dualstack = true } },
      { "https://dynamodb-fips.us-east-1.api.aws", { use_fips = true, use_dualstack = true } },
      { "https://dynamodb.us-gov-west-1.amazonaws.com", { region = "us-gov-west-1", use_fips = true } },
      { "https://dynamodb.cn-north-1.amazonaws.com.cn", { region = "cn-north-1" } },
      { "https://dynamodb.eu-west-1.amazonaws.com", {}, { region = "eu-west-1" } },
      { "http://localhost:8000", {}, { region = "local" } },
      { "https://dynamodb.us-east-1.amazonaws.com", { account_id_endpoint_mode = "required" } },
      { "http://127.0.0.1:9", {}, { endpoint = "http://127.0.0.1:9" } },
    }
    for _, case in ipairs(cases) do
      assert.equal(case[1], (at(case[2], case[3])))
    end
    local url, problem = at({ region = "local", use_fips = true })
    assert.is_nil(url)
    assert.matches("the region local has no FIPS", problem, 1, true)
  end)

  it("is configured apart from Kinesis's, or refused", function()
    local function ask(env, options)
      local child = fresh.lua([[
        local kinesis = require "kinesis"
        local worker, err = kinesis.worker("clicks", "counter", load("return " .. arg[1])())
        print(worker and "opened" or err.code .. ": " .. err.message)
      ]], env, options or '{ store = "dynamodb" }')
      return (child:wait())
    end
    local env = { AWS_REGION = "us-east-1", AWS_ACCESS_KEY_ID = "local", AWS_SECRET_ACCESS_KEY = "local",
      AWS_CONFIG_FILE = "/dev/null", AWS_SHARED_CREDENTIALS_FILE = "/dev/null",
      AWS_ENDPOINT_URL_KINESIS = "http://127.0.0.1:1" }
    local said = ask(env)
    assert.matches("^BadConfig: Kinesis is at http://127.0.0.1:1 %(AWS_ENDPOINT_URL_KINESIS%), but DynamoDB has no "
      .. "endpoint", said)
    assert.matches("AWS_ENDPOINT_URL_DYNAMODB", said, 1, true)
    assert.equal("opened\n", ask(env, '{ store = { dynamodb = { endpoint = "http://127.0.0.1:2" } } }'))
    env.AWS_ENDPOINT_URL_DYNAMODB = "http://127.0.0.1:2"
    assert.equal("opened\n", ask(env))
    env.AWS_ENDPOINT_URL_DYNAMODB, env.AWS_ENDPOINT_URL = nil, "http://127.0.0.1:2"
    assert.equal("opened\n", ask(env))
    env.AWS_ENDPOINT_URL = nil
    local folder = fresh.folder { config =
      "[default]\nservices = mine\n[services mine]\ndynamodb =\n  endpoint_url = http://127.0.0.1:2\n" }
    env.AWS_CONFIG_FILE = folder .. "/config"
    assert.equal("opened\n", ask(env))
    env.AWS_ENDPOINT_URL_KINESIS = nil
    folder = fresh.folder { config = "[default]\nservices = mine\n[services mine]\n"
      .. "kinesis =\n  endpoint_url = http://127.0.0.1:1\n" }
    env.AWS_CONFIG_FILE = folder .. "/config"
    said = ask(env)
    assert.matches("Kinesis is at http://127.0.0.1:1 (kinesis.endpoint_url of [services mine]", said, 1, true)
    env.AWS_CONFIG_FILE, env.AWS_IGNORE_CONFIGURED_ENDPOINT_URLS = "/dev/null", "true"
    env.AWS_ENDPOINT_URL_DYNAMODB = "http://127.0.0.1:2"
    local child = fresh.lua([[
      local client = require("kinesis").client { endpoint = "http://127.0.0.1:1" }
      print(select(2, client:worker("clicks", "counter", { store = "dynamodb" })))
    ]], env)
    said = child:wait()
    assert.matches("(the option `endpoint`), but DynamoDB has no endpoint of its own", said, 1, true)
    assert.is_nil(said:find("AWS_ENDPOINT_URL_DYNAMODB", 1, true)) -- it is ignored
  end)

  it("is checked as an option", function()
    for options, problem in pairs {
      [{ store = "dynamo" }] = "must be 'file', 'dynamodb' or a table of functions",
      [{ store = { dynamodb = "x" } }] = "must have a Lua table as `dynamodb`",
      [{ store = { dynamodb = {}, kcl3 = true } }] = "must have nothing beside `dynamodb`, not 'kcl3'",
      [{ kcl3 = true }] = "unknown option 'kcl3' of worker; set store = {dynamodb = {kcl3 = …}}",
      [{ store = { dynamodb = { tabel = "x" } } }] = "only table, region, endpoint and kcl3 in `dynamodb`, not 'tabel'",
      [{ store = { dynamodb = { region = "a b" } } }] = "must be a string such as 'eu-west-1'",
      [{ store = { dynamodb = { endpoint = "host:1" } } }] = "must be a string such as 'https://",
      [{ store = { table = "x" } }] = "or it is {dynamodb = {table=, region=, endpoint=, kcl3=}}",
      [{ store = { dynamodb = { kcl3 = "yes" } } }] = "has a bad kcl3 in `dynamodb`",
    } do
      local good, err = pcall(client.worker, client, "clicks", "counter", options)
      assert.is_false(good)
      assert.matches(problem, err, 1, true)
    end
  end)

  it("is asked for tables with names that DynamoDB allows", function()
    local function open(name, of)
      return pcall(function()
        return (client:worker("clicks", name, { store = { dynamodb = { endpoint = "http://127.0.0.1:1",
          table = of } } }))
      end)
    end
    for _, of in ipairs { "ab", ("x"):rep(256), "a b", "caf\233", "" } do
      local good, err = open("counter", of)
      assert.is_false(good, of)
      assert.matches("must have 3 to 255 letters, digits, '_', '.' and '-'", err, 1, true)
    end
    local good, err = open "ab"
    assert.is_false(good)
    assert.matches("^spec/dynamodb_spec.lua:%d+: .*cannot have the name 'ab'", err)
    assert.is_true((open("ab", "abc")))
    assert.is_true((open("counter", ("x"):rep(255))))
    assert.is_true((pcall(client.worker, client, "clicks", "ab", { path = fresh.folder { empty = "" } })))
  end)
end)

describe("the dynamodb store", function()
  local a, b, table_of

  before_each(function()
    table_of = dynamodb.ready(dynamodb.open(client, application, { "clicks" }))
    a, b = leases_of(table_of, "a"), leases_of(table_of, "b")
  end)

  local function row(more)
    local made = { counter = 0, owner_switches = 0, checkpoint = "TRIM_HORIZON" }
    for name, value in pairs(more or {}) do
      made[name] = value
    end
    return made
  end

  it("renews what is held while the user's code is busy, and tells of its loss", function()
    local key = P .. "s1"
    assert.is_true(a:create(key, row()))
    assert.is_true(a:take(key, a:get(key)))
    local other = fresh.client "http://127.0.0.1:1" -- whose waits drain nothing of the first
    fresh.eventually(function()
      return tonumber(dynamodb.items(other, application).s1.leaseCounter.N) >= 4
    end)
    other:close()
    fresh.eventually(function() -- its owner may renew in between
      return b:take(key, (b:get(key)))
    end)
    local event = fresh.eventually(function()
      return a:poll()[1]
    end)
    assert.same({ "lost", key, "b" }, { event[1], event[2], event[3].owner })
    assert.is_false((a:write(key, { checkpoint = "9" })))
    assert.equal("TRIM_HORIZON", b:get(key).checkpoint)
  end)

  it("releases what is held when its client is closed, or its leases are", function()
    for i = 1, 2 do
      local key, own = P .. "s" .. i, fresh.client "http://127.0.0.1:1"
      local c = dynamodb.leases(own, dynamodb.open(own, application, { "clicks" }), "c")
      assert.is_true(c:create(key, row()))
      assert.is_true(c:take(key, c:get(key)))
      if i == 2 then
        c:close()
      end
      own:close()
      assert.is_nil(a:get(key).owner)
    end
  end)

  it("tells of a row that was deleted, and keeps a lease whose counter a stranger moved once", function()
    local key = P .. "s1"
    assert.is_true(a:create(key, row()))
    assert.is_true(a:take(key, a:get(key)))
    fresh.eventually(function()
      local item = dynamodb.items(client, application).s1
      return dynamodb.call(client, "UpdateItem", { TableName = application, Key = { leaseKey = { S = "s1" } },
        AttributeUpdates = { leaseCounter = { Action = "PUT", Value = { N = tostring(item.leaseCounter.N + 1) } } },
        Expected = { leaseCounter = { Value = item.leaseCounter } } })
    end)
    assert.is_truthy(a:write(key, { checkpoint = "7", sub = 0 }))
    assert.is_true(b:delete(key, b:get(key)))
    local event = fresh.eventually(function()
      return a:poll()[1]
    end)
    assert.same({ "lost", key, false }, event)
  end)

  it("reads all pages", function()
    local hash = ("9"):rep(38)
    local filler = ("x"):rep(300000)
    for i = 1, 8 do -- a page of Scan has 1 MiB
      assert.is_true(a:create(P .. "s" .. i, row { starting_hash_key = hash, filler = filler }))
    end
    local rows, count = a:list(), 0
    for _ in pairs(rows) do
      count = count + 1
    end
    assert.equal(8, count)
    assert.equal(#filler, #rows[P .. "s8"].filler)
  end)

  it("refuses leases of another stream, whose keys would be the same", function()
    assert.is_true(a:create(P .. "s1", row()))
    for _, streams in ipairs { { "views" }, { "clicks", "views" } } do
      local names = {}
      for i, stream in ipairs(streams) do
        names[i] = { prefix = dynamodb.source(stream).prefix, name = streams[2] and "1:" .. stream .. ":1" or "" }
      end
      local other = dynamodb.open(client, application, { "views" })
      other.streams = names
      local rows, err = leases_of(other, "c"):list()
      assert.is_nil(rows)
      assert.same({ "LeaseStore", false }, { err.code, err.retryable })
      assert.matches(("the table %s at"):format(application), err.message, 1, true)
      assert.matches("take another name", err.message, 1, true)
    end
  end)

  it("may know the living, and never the dead", function()
    assert.is_true(a:is_alive "nobody")
  end)

  it("keeps the KCL's rows as they are", function()
    local items = recorded("2-prepared-checkpoint").app.items
    for _, item in ipairs(items) do
      item.somebodys = { B = "AAEC" }
      assert(dynamodb.call(client, "PutItem", { TableName = application, Item = item }))
    end
    local key = P .. "shardId-000000000001"
    local found = a:get(key)
    assert.is_true(found.kcl)
    assert.is_true(a:take(key, found))
    local item = dynamodb.items(client, application)["shardId-000000000001"]
    assert.same({ "a", "4", "1" }, { item.leaseOwner.S, item.leaseCounter.N, item.ownerSwitchesSinceCheckpoint.N })
    assert.same({ B = "AAEC" }, item.somebodys)
    assert.is_table(item.pendingCheckpointState)
    assert.is_truthy(a:write(key, { checkpoint = "12", sub = 1, owner_switches = 0 }))
    item = dynamodb.items(client, application)["shardId-000000000001"]
    assert.is_nil(item.pendingCheckpoint or item.pendingCheckpointState or item.pendingCheckpointSubSequenceNumber)
    assert.same({ "12", "1", "0" }, { item.checkpoint.S, item.checkpointSubSequenceNumber.N,
      item.ownerSwitchesSinceCheckpoint.N })
    assert.same({ B = "AAEC" }, item.somebodys)
  end)
end)

describe("the dynamodb store, on bad days,", function()
  local key = P .. "s1"

  -- The leases of a worker behind faults.
  local function behind(rules, failover)
    local scope = faults.open(rules, { service = "dynalite", server = os.getenv "NGINX_LEASES" })
    return leases_of(dynamodb.open(client, application, { "clicks" }, scope.url), "a", failover), scope
  end

  -- Writes a checkpoint, however often that takes.
  local function write_at_last(held)
    local written
    fresh.eventually(function()
      written = held:write(key, { checkpoint = "6", sub = 0 })
      return written ~= nil
    end)
    assert.is_truthy(written)
  end

  before_each(function()
    local made = leases_of(dynamodb.ready(dynamodb.open(client, application, { "clicks" })), "b")
    assert.is_true(made:create(key, { counter = 0, checkpoint = "5", sub = 0 }))
  end)

  it("tries four times, as soon as the SDKs do", function()
    local a, scope = behind { Scan = { { code = "InternalServerError", status = 500 }, { status = 503, body = "no" },
      { reset = true } }, GetItem = { { code = "InternalServerError", status = 500, always = true } } }
    assert.is_table((a:list())[key])
    assert.equal(4, #scope:seen "Scan")
    local found, err = a:get(key)
    assert.is_nil(found)
    assert.same({ "InternalServerError", "GetItem", true }, { err.code, err.operation, err.retryable })
    local seen = scope:seen "GetItem"
    assert.equal(4, #seen)
    assert.is_true(seen[4].at - seen[1].at < 1) -- 25 + 50 + 100 ms at most, beside the requests themselves
  end)

  it("notices a damaged answer, and asks again", function()
    local a, scope = behind { Scan = { { body = '{"Items":[]}', headers = { ["x-amz-crc32"] = "1" } },
      { body = "{}", headers = { ["x-amz-crc32"] = "2745614147" } }, { body = "hello" } } }
    assert.is_table((a:list())[key])
    assert.equal(4, #scope:seen "Scan")
  end)

  it("renews and checkpoints through throttling, errors and answers that do not come", function()
    local a = behind({ UpdateItem = { {}, { code = "ProvisionedThroughputExceededException" }, { stall = 3 },
      { code = "InternalServerError", status = 500 }, { reset = true } } }, 6)
    assert.is_true(a:take(key, (a:get(key))))
    write_at_last(a)
    for _, event in ipairs(a:poll()) do
      assert.equal("trouble", event[1])
    end
    assert.is_true(a:is_valid(key))
  end)

  it("does not lose a lease whose renewal was stored without an answer", function()
    local a = behind({ UpdateItem = { {}, { reset = "after" }, { reset = "after" } } }, 3)
    assert.is_true(a:take(key, (a:get(key))))
    write_at_last(a)
    assert.is_true(a:is_valid(key))
  end)

  it("stops delivering before others may take the lease, when DynamoDB hangs", function()
    local a = behind({ UpdateItem = { {}, { stall = 20, always = true } } }, 1.5)
    assert.is_true(a:take(key, (a:get(key))))
    local valid = a.validity[key]
    local taken_at = core.now()
    fresh.eventually(function()
      return not valid:holds()
    end)
    assert.is_true(core.now() - taken_at < 1.6)
  end)

  it("says that the table is gone, or what permission is", function()
    local a = behind { UpdateItem = { { code = "AccessDeniedException", message = "not authorized" } } }
    local taken, err = a:take(key, (a:get(key)))
    assert.is_nil(taken)
    assert.matches(("the worker needs dynamodb:UpdateItem on the table %s"):format(application), err.message, 1, true)
    assert(dynamodb.call(client, "DeleteTable", { TableName = application }))
    fresh.eventually(function()
      local rows
      rows, err = a:list()
      return not rows
    end)
    assert.equal("ResourceNotFoundException", err.code)
    assert.is_falsy(err.retryable)
    assert.matches(("the table %s was deleted"):format(application), err.message, 1, true)
    assert.is_nil(tostring(err):find("stream", 1, true))
  end)
end)
