-- Reads any JSON as the option `from`: it is refused with a text that says what is wrong, or it begins each of two
-- shards somewhere; and the position that this is reads the same once it has been JSON again.
local cjson = require("cjson").new()
local check = require "kinesis.options.positions"
local start = require "kinesis.reader.start"

local SHARDS = { { id = "a", closed = true }, { id = "b", parent_id = "a", closed = false } }
local NOW = 1.8e9 -- seconds since 1970
local KINDS = { TRIM_HORIZON = true, LATEST = true, AT_TIMESTAMP = true, AT_SEQUENCE_NUMBER = true,
  AFTER_SEQUENCE_NUMBER = true, SHARD_END = true }

-- How shards begin, as text.
local function plan(from)
  local lines = {}
  local places, positions = start.plan(SHARDS, start.fix(from, NOW), true)
  for _, place in ipairs(places) do
    assert(KINDS[place.kind] and positions[place.id] ~= nil)
    assert(place.kind ~= "AT_TIMESTAMP" or type(place.timestamp) == "number")
    assert(not place.kind:find "SEQUENCE" or place.sequence_number:find "^%d+$")
    assert(place.delivered == nil or place.delivered >= 1)
    lines[#lines + 1] = ("%s %s %s %s %s"):format(place.id, place.kind, place.sequence_number, place.delivered,
      place.timestamp and ("%.3f"):format(place.timestamp))
  end
  assert(positions.a and positions.b)
  return table.concat(lines, "\n"), positions
end

return function(text)
  local decoded, from = pcall(cjson.decode, text)
  if not decoded then
    return
  end
  local problem = check(from)
  if problem then
    assert(type(problem) == "string" and problem:find "known forms")
    return
  end
  local before, positions = plan(from)
  local again = cjson.decode(cjson.encode { shards = positions, stream = type(from) == "table" and from.stream or nil })
  assert(check(again) == nil)
  assert(plan(again) == before)
end
