-- Producers on stepped engines, with four shards of equal size, and the answers of the service for them.
local assert = require "luassert"
local cjson = require "cjson"
local codec = require("kinesis").codec
local kinesis = require "kinesis"
local stepping = require "support.stepping"

local QUARTERS = { "0", "85070591730234615865843651857942052864", "170141183460469231731687303715884105728",
  "255211775190703847597530955573826158592" }
local ENDS = { "85070591730234615865843651857942052863", "170141183460469231731687303715884105727",
  "255211775190703847597530955573826158591", "340282366920938463463374607431768211455" }

local FOUR = {}

local M = { QUARTERS = QUARTERS, ENDS = ENDS, FOUR = FOUR }

--- The results of a put that mean: the record was taken.
M.IN = { taken = true, behind = true }

local opened = {}

--- For after_each: closes all producers and engines.
function M.close_all()
  stepping.close_all()
  for i, producer in ipairs(opened) do
    producer:collect() -- unread outcomes would be printed when the process ends
    producer:close()
    opened[i] = nil
  end
end

-- ---- the service ----

function M.shard(id, first, last)
  return ('{"ShardId":"%s","HashKeyRange":{"StartingHashKey":"%s","EndingHashKey":"%s"},'):format(id, first, last)
    .. '"SequenceNumberRange":{"StartingSequenceNumber":"1"}}'
end

function M.shard_list(shards, token)
  return { body = ('{"Shards":[%s]%s}'):format(table.concat(shards, ","),
    token and (',"NextToken":"%s"'):format(token) or "") }
end

for i = 1, 4 do
  FOUR[i] = M.shard("shard-" .. i, QUARTERS[i], ENDS[i])
end

function M.summary(members)
  return { body = ('{"StreamDescriptionSummary":{"OpenShardCount":4%s}}'):format(members or "") }
end

-- Decimal numbers as strings.
local function less(one, other)
  return #one < #other or #one == #other and one < other
end

function M.quarter_of(hash)
  for i = 4, 1, -1 do
    if not less(hash, QUARTERS[i]) then
      return i
    end
  end
end

function M.entries_of(request)
  return cjson.decode(request.body).Records
end

function M.hash_of(entry)
  return entry.ExplicitHashKey or kinesis.hash_key(entry.PartitionKey)
end

function M.shard_of(entry)
  return "shard-" .. M.quarter_of(M.hash_of(entry))
end

local sequence = 0

--- An answer to PutRecords: verdict(entry, i) returns an error code, nil: the entry is stored, or {shard=}: where.
function M.results(request, verdict)
  local list = {}
  for i, entry in ipairs(M.entries_of(request)) do
    local told = verdict and verdict(entry, i)
    if type(told) == "string" then
      list[i] = ('{"ErrorCode":"%s","ErrorMessage":"because"}'):format(told)
    else
      sequence = sequence + 1
      list[i] = ('{"ShardId":"%s","SequenceNumber":"%d"}'):format(told and told.shard or M.shard_of(entry), sequence)
    end
  end
  return { body = ('{"FailedRecordCount":0,"Records":[%s]}'):format(table.concat(list, ",")) }
end

--- The user records of a request.
function M.users_of(request)
  local list = {}
  for _, entry in ipairs(M.entries_of(request)) do
    local data = codec.base64_decode(entry.Data)
    for _, user in ipairs(kinesis.deaggregate(data) or { { data = data } }) do
      list[#list + 1] = user.data
    end
  end
  return list
end

-- ---- the producer's side ----

function M.open(options, more)
  local engine = stepping.engine(more)
  local producer = engine:producer(options or {})
  opened[#opened + 1] = producer
  return engine, producer
end

function M.settle_map(engine, list, description)
  engine:step()
  local asked = {}
  for _, request in ipairs(engine:requests()) do
    asked[#asked + 1] = request.operation
    engine:answer(request, request.operation == "ListShards" and (list or M.shard_list(FOUR))
      or description or M.summary())
  end
  table.sort(asked)
  assert.same({ "DescribeStreamSummary", "ListShards" }, asked)
  return engine:step()
end

function M.ready(options, description)
  local engine, producer = M.open(options)
  M.settle_map(engine, nil, description)
  return engine, producer
end

function M.requests(engine)
  engine:step()
  return engine:requests()
end

--- The one request that is in flight.
function M.only(engine)
  local list = M.requests(engine)
  assert.equal(1, #list)
  return list[1]
end

--- The same, after backoff pauses have passed.
function M.next_one(engine)
  for _ = 1, 10 do
    local due = engine:step()
    if engine:requests()[1] then
      break
    end
    engine:advance(assert(due, "nothing is due"))
  end
  return M.only(engine)
end

function M.put(producer, data, quarter, more)
  assert.is_true(M.IN[producer:put(data, "key", QUARTERS[quarter or 1], more)])
end

function M.outcomes(producer)
  local list = {}
  for _, record in ipairs(producer:collect()) do
    list[record.data] = record
  end
  return list
end

return M
