-- Where a reader is, and how it is paused, resumed and moved. The core's command and the positions that belong to it
-- change in one call of the core, so that an error which is thrown into Lua leaves both as they were, or both changed.

local advice = require "kinesis.util.advice"
local check_from = require "kinesis.options.positions"
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local events = require "kinesis.reader.events"
local start = require "kinesis.reader.start"
local wait = require "kinesis.wait"

local check_self = advice.check_self

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

---Waits until all iterators at the tip are open, so that the reader sees what the caller puts next.
---@param reader kinesis.Reader
function M.await_start(reader)
  while not reader.finished do
    local latest, coming = reader.core:start()
    local got, event, a, b, c, d = reader.core:next(reader.left) -- a record is returned again
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

-- Raises at the line of the method's caller.
local function check_open(reader, call)
  if reader.finished or reader.left <= 0 then
    error(("%s: this reader has ended; open another one, with from = reader:position() where it was"):format(call), 3)
  end
  while reader.core:is_busy() do
    wait.ready(reader.client, reader.core:id())
  end
end

local function shard_problem(reader, shard_id)
  if type(shard_id) ~= "string" then
    return "a shard is named by its id, a string, got a " .. type(shard_id)
  elseif reader.positions[shard_id] == nil then
    return ("this reader does not read the shard '%s'"):format(shard_id)
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
    error("seek: the position " .. (position == nil and problem:gsub("^[^;]*", "is missing") or problem), 3)
  end
  start.check(position, count(reader.positions), reader.stream, "seek")
  for id, place in pairs(wanted_places(reader, position)) do
    problem = place ~= "shard_end" and shard_problem(reader, id)
    if problem then
      error("seek: " .. problem, 3)
    end
  end
end

---Adds the methods to the class of readers.
---@param Reader kinesis.Reader
function M.add_methods(Reader)
  --- Pauses the reader, or one of its shards: it fetches no more of it and returns no record of it until `resume` is
  --- called. `next` waits meanwhile. Where nothing else runs that could call `resume` (in a plain script, or in the
  --- last function of kinesis.run), `next` raises instead, once no shard is left that is not paused.
  ---
  --- A paused reader keeps what it has fetched, which the option `window` bounds. A single paused shard drops it, so
  --- that the window is for the other shards; after `resume` it is fetched again. Children of a paused shard wait for
  --- it. A reader does not end while a shard is paused: `idle_timeout` does not run, and `stop_at_tip` waits for it.
  ---
  --- Raises at the caller's line when the reader has ended, or does not read this shard.
  ---@param shard_id? string absent: all shards
  ---@return true paused
  function Reader:pause(shard_id)
    check_self(self, "reader:pause")
    check_open(self, "pause")
    local problem = shard_id ~= nil and shard_problem(self, shard_id)
    if problem then
      error("pause: " .. problem, 2)
    end
    if shard_id == nil then
      send(self, "pause", nil, self.positions)
    else
      local positions, list = M.positions(self), {}
      add(self, list, "pause", shard_id, positions[shard_id])
      send(self, "keep", list, positions)
    end
    return true
  end

  --- Ends a pause, and wakes a `next` that waits. Without an argument it ends all pauses, those of single shards
  --- included. With one, only this shard is read on: after `pause()` the other shards stay paused, each on its own.
  ---
  --- Raises at the caller's line when the reader has ended, or does not read this shard.
  ---@param shard_id? string absent: all shards
  ---@return true resumed
  function Reader:resume(shard_id)
    check_self(self, "reader:resume")
    check_open(self, "resume")
    local problem = shard_id ~= nil and shard_problem(self, shard_id)
    if problem then
      error("resume: " .. problem, 2)
    end
    if shard_id == nil then
      send(self, "everything", nil, self.positions)
    else
      local positions, list, whole = M.positions(self), {}, self.core:is_paused()
      for id, place in pairs(whole and positions or {}) do
        if id ~= shard_id then
          add(self, list, "pause", id, place)
        end
      end
      list[#list + 1] = { id = shard_id, command = "resume" }
      send(self, whole and "resume" or "keep", list, positions)
    end
    wait.wake(self.client, self.core:id())
    return true
  end

  --- Goes on reading from another position. What is fetched of the shards that it names is dropped.
  ---
  --- `position` is what `from` takes: a value of `position()`, {shards={[shard_id]=…}}, which moves the shards that it
  --- names, while the others stay where they are (`default` does not count); or a simple form, "trim_horizon",
  --- "latest" or {timestamp=seconds}, which moves all shards that the reader reads. As in `records`, "latest" is the
  --- moment of the call, which returns when all iterators are there; for a paused shard it is the second before that.
  ---
  --- A shard that was read to its end can be read again while the reader is open. A shard that is moved waits for its
  --- parents that are not read, also when they are moved with it; children that have begun and are not named go on
  --- where they are. A paused shard stays paused. `limit` counts on.
  ---
  --- Raises at the caller's line when the position is wrong, is of another stream, or names a shard that the reader
  --- does not read; and when the reader has ended.
  ---@param position kinesis.StartPosition|kinesis.Position
  ---@return true moved
  function Reader:seek(position)
    check_self(self, "reader:seek")
    check_open(self, "seek")
    check_position(self, position)
    position = start.fix(position, self.client.core:time())
    local positions, list, latest = M.positions(self), {}, false
    for id, place in pairs(wanted_places(self, position)) do
      local is_over = positions[id] == "shard_end" and (place == "latest" or place == "shard_end")
      if positions[id] and not is_over then
        add(self, list, "seek", id, place)
        positions[id] = place
        latest = latest or place == "latest"
      end
    end
    if latest then
      wait.check(self.client)
    end
    for _, item in ipairs(list) do
      self.ended[item.id] = nil
    end
    send(self, "keep", list, positions)
    if latest then
      M.await_start(self)
    end
    return true
  end
end

return M
