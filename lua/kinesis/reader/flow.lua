-- Where a reader is, and how it is paused, resumed and moved. The core's command and the positions that belong to it
-- change in one call of the core, so that an error which is thrown into Lua leaves both as they were, or both changed.

local check_from = require "kinesis.options.positions"
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local events = require "kinesis.reader.events"
local start = require "kinesis.reader.start"
local wait = require "kinesis.wait"

local M = {}

---The exact position of each shard, behind what was returned.
---@param reader kinesis.Reader
---@return table<string, kinesis.StartPosition|"shard_end"> positions a new table
function M.positions(reader)
  local positions, latest = {}, reader.core:start()
  for id, place in pairs(reader.positions) do
    positions[id] = place == "latest" and latest and { timestamp = latest } or place
  end
  local shard_id, sequence_number, sub = reader.core:current(reader.left)
  if shard_id then
    positions[shard_id] = { after = sequence_number, sub = sub }
  end
  return positions
end

local function has_stopped(reader)
  return reader.finished or reader.stopped
end

---Waits until all iterators at the tip are open, so that the reader sees what the caller puts next.
---@param reader kinesis.Reader
function M.await_start(reader)
  while not has_stopped(reader) do
    local latest, coming = reader.core:start()
    local got, event, a, b, c, d = reader.core:next(reader.left)
    reader.core:current(reader.left) -- takes a record back: it is returned again
    if event then
      events.handle(reader, event, a, b, c, d)
    elseif latest or got and not coming then
      return -- `next` raises what has failed, behind the records
    else
      wait.ready(reader.client, reader.core:id())
    end
  end
end

---Waits while reading is paused. Raises where nothing could resume it, after what was fetched before was returned.
---@param reader kinesis.Reader
---@param drained boolean whether the last wait was this one, and has drained what was posted before it
---@return boolean drained
function M.wait(reader, drained)
  local client, id = reader.client, reader.core:id()
  if not wait.is_alone(client) then
    wait.ready(client, id, nil, true)
    return false
  elseif drained then
    errors.raise_mistake("next: reading is paused, and nothing else runs here that could resume it; call "
      .. "reader:resume() first, or read in a function of kinesis.run beside the one that resumes it")
  end
  wait.ready(client, id, core.now())
  return true
end

-- ---- commands ----

-- Raises at the line of the caller of a method.
local function check_open(reader, call)
  while not has_stopped(reader) and reader.core:is_busy() do
    wait.ready(reader.client, reader.core:id())
  end
  if has_stopped(reader) or reader.left <= 0 then
    error(("%s: this reader has ended; open another one, with from = reader:position() where it was"):format(call), 4)
  end
end

local function shard_problem(reader, shard_id)
  if type(shard_id) ~= "string" then
    return "a shard is named by its id, a string, got a " .. type(shard_id)
  elseif reader.positions[shard_id] == nil then
    return ("this reader does not read the shard '%s'"):format(shard_id)
  end
end

-- Raises at the line of the caller of a method, unless the reader reads the shard; nil: all shards.
local function check_shard(reader, call, shard_id)
  local problem = shard_id ~= nil and shard_problem(reader, shard_id)
  if problem then
    error(("%s: %s"):format(call, problem), 4)
  end
end

local function send(reader, whole, shards, positions)
  local sent, err = reader.core:command(whole, shards, reader, positions)
  if not sent and not reader.finished then
    errors.raise(err)
  end
end

local function has_ended(reader, shard_id)
  return reader.positions[shard_id] == "shard_end" or reader.ended[shard_id] == true
end

-- Adds a command for a shard, with a position, to a list.
local function add(reader, list, command, shard_id, place)
  local item = start.place_of(place)
  item.id, item.command, item.ended = shard_id, command, has_ended(reader, shard_id)
  list[#list + 1] = item
end

-- The start position of each shard that is to be moved.
local function wanted_places(reader, position)
  if type(position) == "table" and position.shards then
    return position.shards
  end
  local places = {}
  for id in pairs(reader.positions) do
    places[id] = position
  end
  return places
end

local function count(map)
  local n = 0
  for _ in pairs(map) do
    n = n + 1
  end
  return n
end

-- Raises at the line of the caller of `seek`.
local function check_position(reader, position)
  local problem = check_from(position)
  if problem then
    error("seek: the position " .. (position == nil and problem:gsub("^[^;]*", "is missing") or problem), 4)
  end
  start.check(position, count(reader.positions), reader.stream, "seek")
  for id, place in pairs(wanted_places(reader, position)) do
    problem = place ~= "shard_end" and shard_problem(reader, id)
    if problem then
      error("seek: " .. problem, 4)
    end
  end
end

---See Reader:pause. Raises mistakes at the line of the caller of its caller.
---@param reader kinesis.Reader
---@param shard_id? string
function M.pause(reader, shard_id)
  check_open(reader, "pause")
  check_shard(reader, "pause", shard_id)
  if shard_id == nil then
    send(reader, "pause", nil, reader.positions)
  else
    local positions, list = M.positions(reader), {}
    add(reader, list, "pause", shard_id, positions[shard_id])
    send(reader, "keep", list, positions)
  end
end

---See Reader:resume. Raises mistakes at the line of the caller of its caller.
---@param reader kinesis.Reader
---@param shard_id? string
function M.resume(reader, shard_id)
  check_open(reader, "resume")
  check_shard(reader, "resume", shard_id)
  if shard_id == nil then
    send(reader, "everything", nil, reader.positions)
  else
    local positions, list, whole = M.positions(reader), {}, reader.core:is_paused()
    for id, place in pairs(whole and positions or {}) do
      if id ~= shard_id then
        add(reader, list, "pause", id, place)
      end
    end
    list[#list + 1] = { id = shard_id, command = "resume" }
    send(reader, whole and "resume" or "keep", list, positions)
  end
  wait.wake(reader.client, reader.core:id())
end

-- The position that names one shard.
local function only_for(position, shard_id)
  if type(position) == "table" and position.shards then
    error("seek: the position names its shards; leave the shard id out", 4)
  end
  return { shards = { [shard_id] = position } }
end

---See Reader:seek. Raises mistakes at the line of the caller of its caller.
---@param reader kinesis.Reader
---@param position kinesis.StartPosition|kinesis.Position
---@param shard_id? string
function M.seek(reader, position, shard_id)
  check_open(reader, "seek")
  check_shard(reader, "seek", shard_id)
  if shard_id ~= nil then
    position = only_for(position, shard_id)
  end
  check_position(reader, position)
  position = start.fix(position, reader.client.core:time())
  local positions, list, latest = M.positions(reader), {}, false
  for id, place in pairs(wanted_places(reader, position)) do
    local is_over = positions[id] == "shard_end" and (place == "latest" or place == "shard_end")
    if positions[id] and not is_over then
      add(reader, list, "seek", id, place)
      positions[id] = place
      latest = latest or place == "latest"
    end
  end
  if latest then
    wait.check(reader.client)
  end
  for _, item in ipairs(list) do
    reader.ended[item.id] = nil
  end
  send(reader, "keep", list, positions)
  if latest then
    M.await_start(reader)
  end
end

return M
