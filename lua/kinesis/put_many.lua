-- put_many: splits a list into PutRecords calls, which the engine retries until every record has its result.
local response = require "kinesis.response"
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local pretty = require "kinesis.observe.pretty"

local M = {}

-- The length without __len, as the core counts.
local length = rawlen or function(list)
  return #list
end

-- Fills the results of records that have none because a call failed. Returns their number.
local function fill(results, first, last, cause, what, attempts)
  for i = first, last do
    results[i] = setmetatable({
      code = cause.code,
      message = what .. ": " .. tostring(cause.message),
      attempts = attempts,
    }, core.result_meta)
  end
  return last - first + 1
end

local UNSENT, UNKNOWN = "not sent, as an earlier call failed", "whether it is stored is not known"

--- Puts the records, with at most `parallel` calls in flight.
---@param client kinesis.Client
---@param stream string
---@param records kinesis.Entry[]
---@param target userdata|nil
---@param parallel integer
---@return kinesis.PutResult[]|nil results
---@return integer|kinesis.Error|nil failed
---@return string|nil wrong what is wrong with the list; then nothing was sent
function M.put(client, stream, records, target, parallel)
  local results, failed, count = setmetatable({}, pretty.results_meta), 0, length(records)
  local in_flight, first, cause = {}, 1, nil
  while #in_flight > 0 or (first <= count and not cause) do
    local is_full = false
    while first <= count and not cause and not is_full and #in_flight < parallel do
      -- for the first call the core checks all records, before anything is sent
      local ticket, behind = client.core:put_many(stream, records, first, target)
      if ticket == false and first == 1 then
        return nil, nil, behind
      elseif ticket == false then
        -- all records were valid before the first call was sent
        cause = errors.new("Cancelled", "the list was changed while it was being put: " .. behind)
      elseif ticket then
        in_flight[#in_flight + 1] = { ticket = ticket, first = first, behind = behind }
        first = behind
      elseif behind.code == "Full" and #in_flight > 0 then
        is_full = true -- until one of these calls is answered
      else
        cause = behind
      end
    end
    local call = table.remove(in_flight, 1)
    if call then
      -- `err` is also: all records of the call failed for good, so that later ones would fail in the same way
      local failures, err = response.await(client, call.ticket, results, call.first)
      if not failures then
        cause = err
        failures = fill(results, call.first, call.behind - 1, err, UNKNOWN) -- the client was closed, or the like
      elseif err then
        cause = results[call.first]
      end
      failed = failed + failures
    end
  end
  if cause and first == 1 then
    return nil, cause
  end
  return results, failed + fill(results, first, count, cause, UNSENT, 0)
end

return M
