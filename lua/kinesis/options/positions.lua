-- Checks start positions.

local suggest = require "kinesis.util.suggest"
local times = require "kinesis.util.times"
local types = require "kinesis.util.types"

--- A start position in a shard, after the types of GetShardIterator.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html
---@alias kinesis.StartPosition
---| "trim_horizon" # the oldest record that the stream still has
---| "latest" # after the newest record
---| kinesis.Time # the first record that arrived at this time or later
---| { timestamp: kinesis.Time } # the same
---| { at: string } # at the record with this sequence number
---| { after: string, sub?: integer } # after this record; with `sub`: after its aggregated record of that index, from 0

--- The position of a reader in all shards: what `reader:position()` returns. Plain data, which may be stored.
---@class kinesis.Position
---@field shards table<string, kinesis.StartPosition|"shard_end"> by shard id; "shard_end": read completely
---@field default? kinesis.StartPosition the start position of shards that are not in `shards`; absent: "trim_horizon"
---@field stream? string the stream's name; a position of another stream is an error; absent: not checked

local FORMS = [[known forms: "trim_horizon", "latest", a time, {timestamp=time}, {at=sequence_number}, ]]
  .. [[{after=sequence_number, sub=n}, {shards={[shard_id]=form or "shard_end"}, default=form, stream=name}]]

-- Decimal, without leading zeros, and no longer than those of the service.
local function is_sequence_number(value)
  return type(value) == "string" and #value <= 129 and (value == "0" or value:find("^[1-9]%d*$") ~= nil)
end

local function stray_member(value, first, second, third)
  for member in pairs(value) do
    if member ~= first and member ~= second and member ~= third then
      return ("has the unexpected member '%s'"):format(tostring(member))
    end
  end
end

local function sequence_problem(value, member)
  if not is_sequence_number(value[member]) then
    local got = value[member]
    return ("has as `%s` no sequence number, which is a string of decimal digits, got %s"):format(
      member, type(got) == "string" and "another string" or types.name(got))
  end
end

-- What is wrong with a text, which is not the name of a start position.
local function text_problem(text)
  if text:find "^%s*{" then
    return "is JSON text; decode it first"
  end
  local problem = times.problem(text)
  if not problem or times.is_meant(text) then
    return problem
  end
  local near = suggest.of(text, { "trim_horizon", "latest" })
  return ("is the unknown '%s'%s"):format(text, near and (" (did you mean '%s'?)"):format(near) or "")
end

-- What is wrong with a start position in one shard.
local function place_problem(value)
  if value == "trim_horizon" or value == "latest" then
    return nil
  elseif type(value) == "string" then
    return text_problem(value)
  elseif type(value) == "number" then
    return times.problem(value)
  elseif type(value) ~= "table" then
    return "is a " .. types.name(value)
  elseif value.timestamp ~= nil then
    local problem = times.problem(value.timestamp)
    return problem and "has a `timestamp` that " .. problem or stray_member(value, "timestamp")
  elseif value.at ~= nil then
    return sequence_problem(value, "at") or stray_member(value, "at")
  elseif value.after ~= nil then
    if value.sub ~= nil and not (types.is_integer(value.sub) and value.sub >= 0) then
      return "has as `sub` no integer from 0 up"
    end
    return sequence_problem(value, "after") or stray_member(value, "after", "sub")
  end
  return "is a table of another form"
end

local function position_problem(value)
  if type(value) ~= "table" or value.shards == nil then
    return place_problem(value)
  elseif type(value.shards) ~= "table" then
    return "has as `shards` no table, but a " .. types.name(value.shards)
  elseif value.stream ~= nil and (type(value.stream) ~= "string" or value.stream == "") then
    return "has as `stream` no name of a stream"
  end
  for id, place in pairs(value.shards) do
    if type(id) ~= "string" or id == "" or #id > 128 then
      return "has in `shards` a key that is no shard id"
    end
    local problem = place ~= "shard_end" and place_problem(place)
    if problem then
      return ("in shards['%s'] %s"):format(id, problem)
    end
  end
  local problem = value.default ~= nil and place_problem(value.default)
  return problem and "in `default` " .. problem or stray_member(value, "shards", "default", "stream")
end

---What is wrong with a value of the option `from`; nil: nothing.
---@param value any
---@param known? string the known forms; by default those of a reader
---@return string|nil problem
return function(value, known)
  local problem = position_problem(value)
  if not problem then
    return nil
  end
  known = known or FORMS
  return ("%s; %s"):format(problem, problem:find(times.FORMS, 1, true) and known or known .. "; " .. times.FORMS)
end
