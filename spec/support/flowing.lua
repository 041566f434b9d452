-- A reader that is paused, resumed and moved at random, beside a model that says what must come.
local assert = require "luassert"
local cjson = require "cjson"
local fresh = require "support.fresh"
local interrupt = require "support.interrupt"
local kinesis = require "kinesis"

local M = {}

--- Fills each shard of a stream with `rounds` of plain records and aggregates.
function M.fill(client, stream, rounds, mark)
  local shards = client:shards(stream)
  for _, shard in ipairs(shards) do
    local function put(data)
      assert(client:put(stream, data, "key", { explicit_hash_key = shard.starting_hash_key }))
    end
    for round = 1, rounds do
      local users = {}
      for i = 1, 5 do
        users[i] = { data = ("%s aggregated %d %d"):format(mark, round, i), partition_key = "k" .. i }
      end
      put(("%s plain %d"):format(mark, round))
      put((kinesis.aggregate(users)))
    end
  end
  return shards
end

-- How a reader with these options returns what comes next, as a list of {shard id, sequence number, sub}.
M.ways = {
  records = { options = {}, list = function(record)
    return { { record.shard_id, record.sequence_number, record.sub_sequence_number } }
  end },
  values = { options = { values = { "shard_id", "sequence_number", "sub_sequence_number" } }, list = function(...)
    return { { ... } }
  end },
  lists = { options = { batch = true }, list = function(batch)
    local all = {}
    for i, record in ipairs(batch) do
      all[i] = { record.shard_id, record.sequence_number, record.sub_sequence_number }
    end
    return all
  end },
  columns = { options = { batch = "columns" }, list = function(columns)
    local all = {}
    for i = 1, columns.n do
      all[i] = { columns.shard_id[i], columns.sequence_number[i], columns.sub_sequence_number[i] or nil }
    end
    return all
  end },
}

local Model = {}
Model.__index = Model

--- The model of a stream. `at`: {time=, count= the number of records in each shard before that, has_latest= whether
--- the service knows times behind the last record}.
function M.model(client, stream, shards, at)
  local model = setmetatable({ client = client, stream = stream, shards = {}, ids = {}, next = {}, paused = {},
    whole = false, at = at, log = {} }, Model)
  for i, shard in ipairs(shards) do
    model.ids[i], model.shards[shard.id], model.next[shard.id] = shard.id, {}, 0
  end
  for _, record in ipairs(fresh.read(client, stream)) do
    table.insert(model.shards[record.shard_id], { record.sequence_number, record.sub_sequence_number })
  end
  return model
end

-- How many records of a shard lie before a place.
function Model:index_of(id, place)
  local records = self.shards[id]
  if place == "trim_horizon" then
    return 0
  elseif place == "latest" then
    return #records
  elseif place.timestamp then
    return place.timestamp == self.at.time and self.at.count or #records
  end
  local index
  for i, record in ipairs(records) do
    if place.at == record[1] then
      return i - 1
    elseif place.after == record[1] and (not place.sub or place.sub == record[2]) then
      index = i
    end
  end
  return assert(index, "a place that is none: " .. cjson.encode(place))
end

function Model:is_paused(id)
  return self.whole or self.paused[id] == true
end

function Model:left()
  local left, running = 0, false
  for _, id in ipairs(self.ids) do
    if not self:is_paused(id) then
      left, running = left + #self.shards[id] - self.next[id], true
    end
  end
  return left, running
end

function Model:take(id, sequence_number, sub)
  assert(not self:is_paused(id), id .. " is paused, and returns records")
  local expected = self.shards[id][self.next[id] + 1]
  assert(expected, id .. " returns more than it has")
  assert.same({ expected[1], expected[2] }, { sequence_number, sub })
  self.next[id] = self.next[id] + 1
end

--- Expects a position to be where the model is.
function Model:check(position)
  assert.equal(self.stream, position.stream)
  for _, id in ipairs(self.ids) do
    assert.equal(self.next[id], self:index_of(id, position.shards[id]), "position of " .. id)
  end
end

-- A random place in a shard, as one of the forms that say it.
function Model:place(id)
  local dice, records = math.random(10), self.shards[id]
  local record = records[math.random(#records)]
  if dice == 1 then
    return "trim_horizon"
  elseif dice == 2 then
    return { timestamp = self.at.time }
  elseif dice <= 4 then
    return { at = record[1] }
  elseif dice <= 6 then
    return { after = record[1] }
  end
  return { after = record[1], sub = record[2] }
end

local function pick(list)
  return list[math.random(#list)]
end

local operations = {}

function operations.read(model, reader)
  local left, running = model:left()
  if not running then
    local good, err = pcall(reader.next, reader)
    assert.is_false(good)
    assert.matches("reading is paused", tostring(err), 1, true)
    return
  end
  for _ = 1, math.random(40) do
    if left == 0 then
      return
    end
    for _, got in ipairs(model.list(reader:next())) do
      model:take(got[1], got[2], got[3])
      left = left - 1
    end
  end
end

function operations.pause_shard(model, reader)
  local id = pick(model.ids)
  reader:pause(id)
  model.paused[id] = true
end

function operations.resume_shard(model, reader)
  local id = pick(model.ids)
  reader:resume(id)
  for _, other in ipairs(model.whole and model.ids or {}) do
    model.paused[other] = true
  end
  model.whole, model.paused[id] = false, nil
end

function operations.pause(model, reader)
  reader:pause()
  model.whole = true
end

function operations.resume(model, reader)
  reader:resume()
  model.whole, model.paused = false, {}
end

function operations.seek(model, reader)
  local places, count = {}, math.random(3)
  for _ = 1, count do
    local id = pick(model.ids)
    places[id] = model:place(id)
  end
  reader:seek { shards = places, default = "latest", stream = model.stream }
  for id, place in pairs(places) do
    model.next[id] = model:index_of(id, place)
  end
end

function operations.seek_all(model, reader)
  local last = model.at.has_latest and "latest" or "trim_horizon"
  local place = pick { "trim_horizon", { timestamp = model.at.time }, last }
  reader:seek(place)
  for _, id in ipairs(model.ids) do
    model.next[id] = model:index_of(id, place)
  end
end

function operations.save(model, reader)
  model.saved, model.saved_next = cjson.decode(cjson.encode(reader:position())), {}
  for id, next_index in pairs(model.next) do
    model.saved_next[id] = next_index
  end
end

function operations.go_back(model, reader)
  if model.saved then
    reader:seek(model.saved)
    for id, next_index in pairs(model.saved_next) do
      model.next[id] = next_index
    end
  end
end

-- The rest, as a fresh reader returns it.
function operations.read_rest(model, reader)
  local next_index = {}
  for id, index in pairs(model.next) do
    next_index[id] = index
  end
  for _, record in ipairs(fresh.read(model.client, model.stream, { from = reader:position() })) do
    local id = record.shard_id
    next_index[id] = next_index[id] + 1
    local expected = model.shards[id][next_index[id]]
    assert.same({ expected[1], expected[2] }, { record.sequence_number, record.sub_sequence_number })
  end
  for _, id in ipairs(model.ids) do
    assert.equal(#model.shards[id], next_index[id], "the last of " .. id)
  end
end

local CHANCES = { -- of a hundred
  read = 45, pause_shard = 9, resume_shard = 9, pause = 4, resume = 8, seek = 12, seek_all = 3, save = 4, go_back = 4,
  read_rest = 2,
}

local function choose()
  local names, dice = {}, math.random(100)
  for name in pairs(CHANCES) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    dice = dice - CHANCES[name]
    if dice <= 0 then
      return name
    end
  end
end

--- Does `count` random operations with a reader that returns records in this way.
function Model:run(way, seed, count)
  math.randomseed(seed)
  local options = { poll_interval = 0.2 }
  for name, value in pairs(M.ways[way].options) do
    options[name] = value
  end
  self.list = M.ways[way].list
  local reader = self.client:shards(self.stream):records(options)
  for i = 1, count do
    local name = choose()
    local good, err = pcall(interrupt.within, 20, function()
      operations[name](self, reader)
    end)
    if good then
      good, err = pcall(self.check, self, reader:position())
    end
    assert(good, ("seed %d, operation %d (%s): %s"):format(seed, i, name, tostring(err)))
  end
  reader:resume()
  self.whole, self.paused = false, {}
  while self:left() > 0 do
    for _, got in ipairs(self.list(reader:next())) do
      self:take(got[1], got[2], got[3])
    end
  end
  reader:close()
  self:check(reader:position())
end

return M
