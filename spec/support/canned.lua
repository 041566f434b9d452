--- Streams of canned records, aggregates among them, and a check of what is read of them. They are served by
--- nginx/canned.lua; a stream costs no time to fill, and nothing to read again.
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local randoms = require "support.random"

local M = {}

local Stream = {}
Stream.__index = Stream

-- One record of the service: a plain user record, or an aggregate of 1 to 40.
local function make_record(stream, shard, random, number)
  local sequence_number = ("4959%021d"):format(number * 7)
  local users = {}
  local aggregated = random(5) > 1
  for sub = 1, aggregated and random(40) or 1 do
    local data = ("%s %d %d %s"):format(shard.id, number, sub, ("x"):rep(random(60)))
    users[sub] = { data = data, partition_key = "key " .. random(9) }
    stream.places[data] = { shard = shard, index = #shard.users + 1, record = number }
    shard.users[#shard.users + 1] = data
  end
  local whole = aggregated and kinesis.aggregate(users) or users[1].data
  stream.wholes[whole] = { shard = shard, first = #shard.users - #users + 1, last = #shard.users }
  return { sequence_number = sequence_number, data = kinesis.codec.base64_encode(whole),
    partition_key = aggregated and "a" or users[1].partition_key, at = 1.7e9 + number }
end

-- A split and a merge: c and d are of a, and e is of d and b.
local LINEAGE = {
  { id = "a", closed = true }, { id = "b", closed = true }, { id = "c", parent_id = "a" },
  { id = "d", parent_id = "a", closed = true }, { id = "e", parent_id = "d", adjacent_parent_id = "b" },
}
local OPEN = { {}, {}, {}, {}, {} }

--- Creates a stream of five shards with about `users` user records; a page holds `page` records of the service.
--- `options`: `open`, no shard is closed, and none has parents; more: see canned.set.
function M.stream(seed, users, page, options)
  local random = randoms.new(seed)
  local stream = setmetatable({ name = fresh.name "canned", places = {}, wholes = {}, shards = {} }, Stream)
  local given = { name = stream.name, page = page, shards = {} }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  for i, shape in ipairs(given.open and OPEN or LINEAGE) do
    local shard = { id = ("shardId-%012d"):format(i), parents = {}, users = {} }
    local sent = { id = shard.id, closed = shape.closed, ending = "4959999999999999999999999", records = {} }
    for _, member in ipairs { "parent_id", "adjacent_parent_id" } do
      local parent = shape[member] and stream.shards[shape[member]:byte() - 96]
      sent[member] = parent and parent.id
      shard.parents[#shard.parents + 1] = parent
    end
    while #shard.users < users / #LINEAGE do
      sent.records[#sent.records + 1] = make_record(stream, shard, random, #sent.records + 1)
    end
    stream.shards[i], given.shards[i] = shard, sent
  end
  faults.control(stream.name, "SetStream", given)
  return stream
end

--- A client of it that meets no faults.
function Stream.client()
  return fresh.client(os.getenv "NGINX_FAULTS" .. "/canned")
end

--- All iterators that were given so far have expired from now on.
function Stream:expire()
  faults.control(self.name, "ExpireIterators", { name = self.name })
end

-- ---- what is read ----

local Check = {}
Check.__index = Check

--- A check that each user record is read once, in order inside a shard, and parents before children.
function Stream:check()
  local check = setmetatable({ stream = self, read = {}, count = 0 }, Check)
  for _, shard in ipairs(self.shards) do
    check.read[shard] = 0
  end
  return check
end

function Check:begin(shard)
  for _, parent in ipairs(shard.parents) do
    assert(self.read[parent] == #parent.users, ("%s was begun before %s was read"):format(shard.id, parent.id))
  end
end

--- A user record was read.
function Check:take(data)
  local place = assert(self.stream.places[data], "unknown data")
  local read = self.read[place.shard]
  if read == 0 then
    self:begin(place.shard)
  end
  if place.index ~= read + 1 then
    error(("user record %d of %s came after %d of them"):format(place.index, place.shard.id, read), 2)
  end
  self.read[place.shard], self.count = place.index, self.count + 1
end

--- A record was read as the service has it: user records of it that were read before come again.
function Check:take_whole(data)
  local place = assert(self.stream.wholes[data], "unknown data")
  local read = self.read[place.shard]
  if read == 0 then
    self:begin(place.shard)
  end
  if place.first > read + 1 or place.last <= read then
    error(("user records %d-%d of %s came after %d of them"):format(place.first, place.last, place.shard.id, read), 2)
  end
  self.read[place.shard], self.count = place.last, self.count + place.last - read
end

--- Whether everything was read.
function Check:is_complete()
  for shard, read in pairs(self.read) do
    if read ~= #shard.users then
      return false, ("%d of %d of %s were read"):format(read, #shard.users, shard.id)
    end
  end
  return true
end

-- ---- how a reader returns user records ----

local function take_record(check, reader)
  local record = reader()
  if record then
    check:take(record.data)
    return 1
  end
end

local function take_list(check, reader)
  local list = reader()
  for _, record in ipairs(list or {}) do
    check:take(record.data)
  end
  return list and #list
end

local function take_columns(check, reader)
  local columns = reader()
  for _, data in ipairs(columns and columns.data or {}) do
    check:take(data)
  end
  return columns and columns.n
end

local function take_value(check, reader)
  local data = reader()
  if data then
    check:take(data)
    return 1
  end
end

local function take_second_value(check, reader)
  local shard_id, data = reader()
  if shard_id then
    check:take(data)
    return 1
  end
end

local function take_whole(check, reader)
  local record = reader()
  if record then
    check:take_whole(record.data)
    return 1
  end
end

--- The ways to read: {take, options}. take(check, reader) checks what the reader returns next; returns the number of
--- records, or nil at the end.
M.ways = {
  { take_record, {} }, { take_record, {} }, { take_record, { fields = { "data" } } },
  { take_list, { batch = true } }, { take_columns, { batch = "columns" } },
  { take_columns, { batch = "columns", fields = { "data", "shard_id" } } }, { take_value, { values = { "data" } } },
  { take_second_value, { values = { "shard_id", "data" } } }, { take_whole, { deaggregate = false } },
}

return M
