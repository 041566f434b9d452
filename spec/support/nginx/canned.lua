-- A service of canned streams, which the scripted-fault server knows as "canned": what their shards hold is said once
-- (spec/support/canned.lua), and is read from any position as from the service. It lives in the one worker of nginx.
local cjson = require "cjson"

local M = {}

-- By name: {page=, nulls=, bogus_end=, epoch=, list=, shards={[id]={texts, index, at, closed, children}}}
local streams = {}

local function quoted(value)
  return value == nil and "null" or cjson.encode(value)
end

-- A member whose value may be absent: left out, or an explicit null.
local function optional(stream, name, text)
  if text or stream.nulls then
    return (',"%s":%s'):format(name, text or "null")
  end
  return ""
end

local function record_text(stream, record)
  return ('{"SequenceNumber":"%s","Data":"%s"%s%s%s}'):format(record.sequence_number, record.data,
    optional(stream, "PartitionKey", not stream.nulls and quoted(record.partition_key) or nil),
    optional(stream, "ApproximateArrivalTimestamp", not stream.nulls and ("%.3f"):format(record.at) or nil),
    optional(stream, "EncryptionType"))
end

local function listed_text(stream, shard)
  local ending = shard.closed and quoted(stream.bogus_end and "9223372036854775807" or shard.ending) or nil
  return ('{"ShardId":"%s","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}%s%s,"SequenceNumberRange":'
    .. '{"StartingSequenceNumber":"1"%s}}'):format(shard.id, optional(stream, "ParentShardId", shard.parent_id
    and quoted(shard.parent_id)), optional(stream, "AdjacentParentShardId", shard.adjacent_parent_id
    and quoted(shard.adjacent_parent_id)), optional(stream, "EndingSequenceNumber", ending))
end

local function child_text(child)
  local other = child.adjacent_parent_id
  local parents = quoted(child.parent_id) .. (other and "," .. quoted(other) or "")
  return ('{"ShardId":"%s","ParentShards":[%s],"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}'):format(
    child.id, parents)
end

local function add_shard(stream, shard)
  local kept = { texts = {}, index = {}, at = {}, closed = shard.closed, children = {} }
  for i, record in ipairs(shard.records) do
    kept.texts[i], kept.index[record.sequence_number], kept.at[i] = record_text(stream, record), i, record.at
  end
  stream.shards[shard.id] = kept
end

-- {name=, shards={{id=, parent_id=, adjacent_parent_id=, closed=, ending=, records={{sequence_number=, data=base64,
-- partition_key=, at=}, …}}, …}, page=records of a page, nulls=, bogus_end=, no_children=}
function M.set(given)
  local stream = { page = given.page, nulls = given.nulls, bogus_end = given.bogus_end, epoch = 0, shards = {} }
  local list = {}
  for i, shard in ipairs(given.shards) do
    add_shard(stream, shard)
    list[i] = listed_text(stream, shard)
  end
  for _, shard in ipairs(given.no_children and {} or given.shards) do
    for _, parent in ipairs { shard.parent_id or false, shard.adjacent_parent_id or false } do
      table.insert(parent and stream.shards[parent].children or {}, child_text(shard))
    end
  end
  stream.list = table.concat(list, ",")
  streams[given.name] = stream
end

-- All iterators that were given so far have expired from now on.
function M.expire(name)
  streams[name].epoch = streams[name].epoch + 1
end

local function refuse(code)
  ngx.status = 400
  ngx.print(('{"__type":"%s","message":"canned"}'):format(code))
end

local operations = {}

function operations.ListShards(request)
  local stream = streams[request.StreamName]
  if not stream then
    return refuse "ResourceNotFoundException"
  end
  ngx.print('{"Shards":[', stream.list, "]", optional(stream, "NextToken"), "}")
end

function operations.DescribeStreamSummary()
  ngx.print '{"StreamDescriptionSummary":{"StreamStatus":"ACTIVE","OpenShardCount":1}}'
end

local function iterator(name, shard_id, index)
  return ("%s|%s|%d|%d"):format(name, shard_id, index, streams[name].epoch)
end

-- The index of the first record of that position; nil: the sequence number is unknown.
local function first_index(shard, request)
  local kind, number = request.ShardIteratorType, request.StartingSequenceNumber
  if kind == "TRIM_HORIZON" then
    return 1
  elseif kind == "LATEST" then
    return #shard.texts + 1
  elseif kind == "AT_TIMESTAMP" then
    local index = 1
    while shard.at[index] and shard.at[index] < request.Timestamp do
      index = index + 1
    end
    return index
  end
  local index = shard.index[number]
  return index and index + (kind == "AFTER_SEQUENCE_NUMBER" and 1 or 0)
end

function operations.GetShardIterator(request)
  local stream = streams[request.StreamName]
  local shard = stream and stream.shards[request.ShardId]
  if not shard then
    return refuse "ResourceNotFoundException"
  end
  local index = first_index(shard, request)
  if not index then
    return refuse "InvalidArgumentException"
  end
  ngx.print('{"ShardIterator":"', iterator(request.StreamName, request.ShardId, index), '"}')
end

function operations.GetRecords(request)
  local name, id, first, epoch = request.ShardIterator:match "^(.-)|(.-)|(%d+)|(%d+)$"
  local stream = streams[name]
  if tonumber(epoch) < stream.epoch then
    return refuse "ExpiredIteratorException"
  end
  local shard = stream.shards[id]
  first = tonumber(first)
  local last = math.min(first + stream.page - 1, #shard.texts)
  local more = last < #shard.texts
  local over = shard.closed and not more
  local next_iterator = not over and '"' .. iterator(name, id, last + 1) .. '"' or nil
  local children = over and #shard.children > 0 and "[" .. table.concat(shard.children, ",") .. "]" or nil
  ngx.print('{"Records":[', table.concat(shard.texts, ",", first, last), "]", optional(stream, "NextShardIterator",
    next_iterator), optional(stream, "ChildShards", children), optional(stream, "MillisBehindLatest",
    not stream.nulls and (more and "1000" or "0") or nil), "}")
end

function M.serve()
  ngx.req.read_body()
  ngx.header.content_type = "application/x-amz-json-1.1"
  local operation = (ngx.req.get_headers()["X-Amz-Target"] or ""):match "%.(%w+)$"
  return operations[operation](cjson.decode(ngx.req.get_body_data() or "{}"))
end

return M
