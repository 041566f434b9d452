-- put_many: a list in chunks, each a call that the engine repeats until every record of it has its result.
local response = require "kinesis.response"
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local pretty = require "kinesis.observe.pretty"

local M = {}

-- As the core counts: __len is not asked.
local length = rawlen or function(list)
  return #list
end

-- The records that were not sent because a call before them failed for good.
local function fill_unsent(results, first, last, cause)
  for i = first, last do
    results[i] = setmetatable({
      code = cause.code,
      message = "not sent, as a call before it failed: " .. tostring(cause.message),
      attempts = 0,
    }, core.result_meta)
  end
  return last - first + 1
end

local PASSING = { ProvisionedThroughputExceededException = true, InternalFailure = true }

-- A whole chunk failed for a reason that will not pass: the records behind it would fail alike.
local function is_hopeless(results, chunk, failed)
  if failed < chunk.behind - chunk.first then
    return false
  end
  for i = chunk.first, chunk.behind - 1 do
    if PASSING[results[i].code] then
      return false
    end
  end
  return true
end

--- Puts them, at most `parallel` chunks at a time.
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
  local flying, first, cause = {}, 1, nil
  while #flying > 0 or (first <= count and not cause) do
    while first <= count and not cause and #flying < parallel do
      -- with the first chunk the core looks at all records, before anything is sent
      local ticket, behind = client.core:put_many(stream, records, first, target)
      if ticket == false and first == 1 then
        return nil, nil, behind
      elseif ticket == false then
        -- all were looked at before the first was sent
        cause = errors.new("Cancelled", "the list was changed while it was being put: " .. behind)
      elseif ticket then
        flying[#flying + 1] = { ticket = ticket, first = first, behind = behind }
        first = behind
      else
        cause = behind
      end
    end
    local chunk = table.remove(flying, 1)
    if chunk then
      local failures, err = response.await(client, chunk.ticket, results, chunk.first)
      if not failures then
        cause = err
        failures = fill_unsent(results, chunk.first, chunk.behind - 1, err)
      elseif is_hopeless(results, chunk, failures) then
        cause = results[chunk.first]
      end
      failed = failed + failures
    end
  end
  if cause and first == 1 then
    return nil, cause
  end
  return results, failed + fill_unsent(results, first, count, cause)
end

return M
