-- Where a reader begins: the positions of its shards, in the form of the core.

local times = require "kinesis.util.times"

local M = {}

local SIMPLE = { trim_horizon = "TRIM_HORIZON", latest = "LATEST", shard_end = "SHARD_END" }

---The start position of one shard, in the core's form.
---@param from kinesis.StartPosition|"shard_end" with its time in seconds
---@param closed? boolean
---@return table
function M.place_of(from, closed)
  if from == "latest" and closed then
    return { kind = "SHARD_END" }
  elseif SIMPLE[from] then
    return { kind = SIMPLE[from] }
  elseif from.timestamp then
    return { kind = "AT_TIMESTAMP", timestamp = from.timestamp }
  elseif from.at then
    return { kind = "AT_SEQUENCE_NUMBER", sequence_number = from.at }
  elseif from.sub then
    return { kind = "AT_SEQUENCE_NUMBER", sequence_number = from.after, delivered = from.sub + 1 }
  end
  return { kind = "AFTER_SEQUENCE_NUMBER", sequence_number = from.after }
end

---The stream's bare name; `stream` may be its ARN.
---@param stream string
---@return string
function M.name_of(stream)
  return stream:match "^arn:[^/]*/(.+)$" or stream
end

-- A start position of one shard, with its time in seconds.
local function with_seconds(place, now)
  if type(place) == "table" then
    return place.timestamp and { timestamp = times.seconds(place.timestamp, now) } or place
  end
  return SIMPLE[place] and place or { timestamp = times.seconds(place, now) }
end

---Makes of each time in a start position its seconds since 1970: a time before now is fixed.
---@param from kinesis.StartPosition|kinesis.Position
---@param now number seconds since 1970
---@return kinesis.StartPosition|kinesis.Position
function M.fix(from, now)
  if type(from) ~= "table" or not from.shards then
    return with_seconds(from, now)
  end
  local fixed = { shards = {}, default = from.default and with_seconds(from.default, now), stream = from.stream }
  for id, place in pairs(from.shards) do
    fixed.shards[id] = with_seconds(place, now)
  end
  return fixed
end

local function check_last(checked)
  for _, name in ipairs { "from", "until_timestamp" } do
    if checked.last and checked[name] ~= nil then
      error(("records: `last` and `%s` exclude each other"):format(name), 5)
    end
  end
end

-- The end of reading in seconds since 1970.
local function ending_of(checked, from, now)
  local ending = checked.until_timestamp and times.seconds(checked.until_timestamp, now)
  local later = ending and type(from) == "table" and from.timestamp and from.timestamp > ending
  if later or ending and from == "latest" and ending < now then
    local given = type(checked.from) == "table" and checked.from.timestamp or checked.from
    error(("records: `from` (%s) is later than `until_timestamp` (%s)"):format(given, checked.until_timestamp), 5)
  end
  return ending and math.max(ending, 0.001) -- the core takes 0 for no end
end

---Where reading begins and ends, with times in seconds since 1970. Raises, at the line of the call of `records`, when
---these options do not go together.
---@param client kinesis.Client
---@param checked kinesis.RecordsOptions
---@return kinesis.StartPosition|kinesis.Position|nil from nil: the option `last` says it
---@return number|nil ending seconds
function M.range(client, checked)
  check_last(checked)
  if checked.last then
    return nil, nil
  end
  local now = client.core:time()
  local from = M.fix(checked.from or "trim_horizon", now)
  return from, ending_of(checked, from, now)
end

---Checks a start position against the shards to read; raises at the line of the call of `records` or `seek`.
---@param from kinesis.StartPosition|kinesis.Position|nil
---@param count integer number of shards
---@param stream string
---@param call? string "seek"; absent: "records"
function M.check(from, count, stream, call)
  local name, level = call and "the position" or "`from`", call and 5 or 4
  if type(from) ~= "table" then
    return
  end
  if from.stream and M.name_of(from.stream) ~= M.name_of(stream) then
    error(("%s: %s is a position in the stream '%s', but the stream to read is '%s'"):format(call or "records", name,
      M.name_of(from.stream), M.name_of(stream)), level)
  end
  if (from.at or from.after) and count ~= 1 then
    error(("%s: %s names a record of one shard, but there are %d; use %s{shards={[id]=…}}"):format(call or "records",
      name, count, call and "" or "shard:records, or "), level)
  end
end

local function place_for(from, shard)
  if type(from) == "table" and (from.shards or from.default) then
    return (from.shards or {})[shard.id] or from.default or "trim_horizon"
  end
  return from
end

-- Adds a shard to a plan; what else is known about it is in `known`.
local function plan_shard(places, positions, id, wanted, known)
  local place = M.place_of(wanted, known.closed)
  place.id, place.closed, place.unlisted = id, known.closed, known.unlisted
  place.parent_id, place.adjacent_parent_id = known.parent_id, known.adjacent_parent_id
  place.starting_hash_key, place.ending_hash_key = known.starting_hash_key, known.ending_hash_key
  places[#places + 1] = place
  positions[id] = place.kind == "SHARD_END" and "shard_end" or wanted
end

-- The ids of the shards that only the position names, in order. The list may not show them yet, or they were trimmed.
local function unlisted_ids(from, positions)
  local ids = {}
  for id in pairs(type(from) == "table" and from.shards or {}) do
    if not positions[id] then
      ids[#ids + 1] = id
    end
  end
  table.sort(ids)
  return ids
end

---@param shards kinesis.Shard[]
---@param from kinesis.StartPosition|kinesis.Position
---@param follow boolean whether children are read, too
---@return table[] places the shards in the form of the core
---@return table positions by shard id
function M.plan(shards, from, follow)
  local places, positions = {}, {}
  for _, shard in ipairs(shards) do
    plan_shard(places, positions, shard.id, place_for(from, shard), shard)
  end
  for _, id in ipairs(follow and unlisted_ids(from, positions) or {}) do
    plan_shard(places, positions, id, from.shards[id], { unlisted = true })
  end
  return places, positions
end

---@param places table[]
---@return boolean
function M.has_latest(places)
  for _, place in ipairs(places) do
    if place.kind == "LATEST" then
      return true
    end
  end
  return false
end

return M
