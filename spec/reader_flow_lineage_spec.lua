-- A reader of resharded shards that is paused, resumed and moved at random, also cut off by errors at random.
-- Flavours: *lua5.4 *luajit
local canned = require "support.canned"
local cjson = require "cjson"
local core = require "kinesis.core"
local interrupt = require "support.interrupt"

local Model = {}
Model.__index = Model

local function new_model(stream, client)
  local model = setmetatable({ stream = stream, client = client, shards = {}, next = {}, paused = {}, free = {},
    parents = {}, seen = {}, ids = {}, whole = false }, Model)
  for i, shard in ipairs(stream.shards) do
    model.ids[i], model.shards[shard.id], model.next[shard.id] = shard.id, {}, 0
    model.parents[shard.id] = {}
    for j, parent in ipairs(shard.parents) do
      model.parents[shard.id][j] = parent.id
    end
  end
  for record in client:shards(stream.name):records { stop_at_tip = true } do
    local list = model.shards[record.shard_id]
    list[#list + 1] = { record.sequence_number, record.sub_sequence_number }
  end
  return model
end

function Model:complete(id)
  return self.next[id] == #self.shards[id]
end

function Model:is_paused(id)
  return self.whole or self.paused[id] == true
end

-- Whether its end was seen, or comes by itself.
function Model:is_done(id)
  if not self:complete(id) or self:is_paused(id) then
    return false
  end
  if self.free[id] then
    return true
  end
  for _, p in ipairs(self.parents[id]) do
    if not self:is_done(p) then
      return false
    end
  end
  return true
end

function Model:available(id)
  if self:is_paused(id) or self:complete(id) then
    return false
  end
  if self.free[id] then
    return true
  end
  for _, p in ipairs(self.parents[id]) do
    if not self:is_done(p) then
      return false
    end
  end
  return true
end

function Model:any()
  for _, id in ipairs(self.ids) do
    if self:available(id) then
      return true
    end
  end
  return false
end

function Model:take(id, seq, sub)
  assert(not self:is_paused(id), id .. " is paused, and returns records")
  local expected = assert(self.shards[id][self.next[id] + 1], id .. " returns more than it has")
  assert(expected[1] == seq and expected[2] == sub, ("%s: expected %s.%s, got %s.%s"):format(id, expected[1],
    tostring(expected[2]), seq, tostring(sub)))
  if not self.free[id] then
    for _, p in ipairs(self.parents[id]) do
      assert(self:complete(p) or self.seen[id .. p], id .. " begins before its parent " .. p .. " is read")
    end
  end
  self.free[id] = true
  self.next[id] = self.next[id] + 1
end

function Model:index_of(id, place)
  local records = self.shards[id]
  if place == "trim_horizon" then
    return 0
  elseif place == "shard_end" then
    return #records
  end
  local index
  for i, record in ipairs(records) do
    if place.at == record[1] then
      return i - 1
    end
    if place.after == record[1] and (not place.sub or place.sub == record[2]) then
      index = i
    end
  end
  return assert(index, "no place: " .. cjson.encode(place))
end

function Model:nexts(position)
  local nexts = {}
  for _, id in ipairs(self.ids) do
    nexts[id] = self:index_of(id, assert(position.shards[id], "position lacks " .. id))
  end
  return nexts
end

-- Notes which parents were read since their children were moved.
function Model:note_read(moved)
  for _, id in ipairs(self.ids) do
    for _, p in ipairs(self.parents[id]) do
      self.seen[id .. p] = self:complete(p) or not (moved and moved[id]) and self.seen[id .. p]
    end
  end
end

-- A shard has begun once Lua has seen the ends of its parents.
function Model:note_begun(position)
  for _, id in ipairs(self.ids) do
    local begun = true
    for _, p in ipairs(self.parents[id]) do
      begun = begun and position.shards[p] == "shard_end"
    end
    self.free[id] = self.free[id] or begun
  end
end

local function same(a, b)
  for k, v in pairs(a) do
    if b[k] ~= v then
      return false
    end
  end
  return true
end

local function pick(list)
  return list[math.random(#list)]
end

local operations = {}

function operations.read(model, reader)
  local most = math.random(60)
  return function()
    for _ = 1, most do
      if not model:any() then
        return
      end
      local record = reader:next()
      model:take(record.shard_id, record.sequence_number, record.sub_sequence_number)
      model:note_read()
    end
  end
end

function operations.pause_shard(model, reader)
  local id = pick(model.ids)
  return function() reader:pause(id) end, function() model.paused[id] = true end
end

function operations.resume_shard(model, reader)
  local id = pick(model.ids)
  return function() reader:resume(id) end, function()
    for _, other in ipairs(model.whole and model.ids or {}) do
      model.paused[other] = true
    end
    model.whole, model.paused[id] = false, nil
  end
end

function operations.pause(model, reader)
  return function() reader:pause() end, function() model.whole = true end
end

function operations.resume(model, reader)
  return function() reader:resume() end, function() model.whole, model.paused = false, {} end
end

local function seek(model, reader, places)
  local all = {}
  for id, n in pairs(model.next) do all[id] = n end
  for id, place in pairs(places) do all[id] = model:index_of(id, place) end
  return function() reader:seek { shards = places } end, function()
    model.next = all
    for id in pairs(places) do
      model.free[id] = nil
    end
    model:note_read(places)
  end, all
end

function operations.seek(model, reader)
  local places = {}
  for _ = 1, math.random(4) do
    local id = pick(model.ids)
    local record = pick(model.shards[id])
    local dice = math.random(10)
    places[id] = dice == 1 and "trim_horizon" or dice == 2 and "shard_end" or dice <= 5 and { at = record[1] }
      or dice <= 7 and { after = record[1] } or { after = record[1], sub = record[2] }
  end
  return seek(model, reader, places)
end

function operations.seek_all(model, reader)
  local places = {}
  for _, id in ipairs(model.ids) do places[id] = "trim_horizon" end
  local f, done, all = seek(model, reader, places)
  return math.random(2) == 1 and f or function() reader:seek "trim_horizon" end, done, all
end

function operations.go_back(model, reader)
  if not model.saved or math.random(2) == 1 then
    model.saved = cjson.decode(cjson.encode(reader:position()))
    return function() end
  end
  return seek(model, reader, model.saved.shards)
end

local CHANCES = { { "read", 40 }, { "pause_shard", 10 }, { "resume_shard", 10 }, { "pause", 4 }, { "resume", 8 },
  { "seek", 15 }, { "seek_all", 3 }, { "go_back", 10 } }

local function choose()
  local dice = math.random(100)
  for _, each in ipairs(CHANCES) do
    dice = dice - each[2]
    if dice <= 0 then
      return each[1]
    end
  end
end

local CUT_WITHIN = { 60, 1200 } -- instructions

-- Does an operation; with `cuts`, an error may cut it off at any instruction, and then it is done again.
local function operate(model, reader, name, cuts)
  model:note_begun(reader:position())
  local call, done, after = operations[name](model, reader)
  local cut = cuts and name ~= "read" and math.random(2) == 1
  local finished = false
  if cut then
    interrupt.at(math.random(CUT_WITHIN[math.random(2)]), function()
      call()
      finished = true
    end)
  end
  if cut and not finished then
    local now = model:nexts(reader:position())
    assert(same(now, model.next) or after and same(now, after), "an error in the middle has moved it half")
  end
  if not finished then
    interrupt.within(20, call)
  end
  if done then
    done()
  end
  for id, index in pairs(model:nexts(reader:position())) do
    assert(index == model.next[id], ("position of %s: %d, but %d were read"):format(id, index, model.next[id]))
  end
end

local function read_rest(model, reader)
  reader:resume()
  model.whole, model.paused = false, {}
  while model:any() do
    local record = reader:next()
    model:take(record.shard_id, record.sequence_number, record.sub_sequence_number)
  end
  for _, id in ipairs(model.ids) do
    assert(model:complete(id), id .. " is not read to its end")
  end
end

local function run(model, seed, count, cuts)
  math.randomseed(seed)
  local reader, log = model.client:shards(model.stream.name):records { poll_interval = 0.2 }, {}
  for i = 1, count do
    local name = choose()
    log[i] = name
    local good, err = pcall(operate, model, reader, name, cuts)
    assert(good, ("seed %d, operation %d: %s; before it: %s"):format(seed, i, tostring(err),
      table.concat(log, " ", math.max(1, i - 9))))
  end
  local good, err = pcall(interrupt.within, 20, function() read_rest(model, reader) end)
  assert(good, ("seed %d, the end: %s"):format(seed, tostring(err)))
  reader:close()
end

describe("a reader of resharded shards that is paused, resumed and moved at random", function()
  for what, cuts in pairs { ["returns what it must"] = false, ["also where errors cut that off"] = true } do
    it(what, function()
      local seed = tonumber(os.getenv "SPEC_SEED") or math.floor(core.now() * 1e6) % 1e9
      for round = 1, os.getenv "SPEC_FULL" and 50 or 2 do
        local stream = canned.stream(seed + round, 400, 1 + (seed + round) % 9)
        local client = stream.client()
        run(new_model(stream, client), seed + round, 120, cuts)
        client:close()
      end
    end)
  end
end)
