--- Where the reading of a shard goes on after it has failed.
local errors = require "kinesis.errors"

local M = {}

local NOT_FOUND_MOST = 3 -- times in a row

-- The service refuses the position, but not the shard: the stream was deleted and made again. That something is not
-- found has to be seen more than once: a stream that is just being made is not found either.
local function is_made_again(processor, err, place, attempts)
  local refused = err.code == "InvalidArgumentException"
    or err.code == "ResourceNotFoundException" and attempts >= NOT_FOUND_MOST
  if not refused or type(place) ~= "table" or not place.after then
    return false
  end
  local stream, params = processor.stream, { ShardId = processor.id, ShardIteratorType = "TRIM_HORIZON" }
  params[stream:find "^arn:" and "StreamARN" or "StreamName"] = stream
  return processor.worker.client:call("GetShardIterator", params) ~= nil
end

--- The position from which reading begins again after an error, which is reported; nil: there is none.
---@param processor kinesis.worker.Processor
---@param err any
---@param place kinesis.StartPosition behind the last record that was read
---@param attempts integer that have failed without a record in between
---@return kinesis.StartPosition|nil place
function M.place_after(processor, err, place, attempts)
  local worker = processor.worker
  if type(err) ~= "table" then
    return nil
  elseif is_made_again(processor, err, place, attempts) then
    worker:report(errors.new(err.code,
      "the stream was deleted and made again, and does not have the record of the checkpoint; reading begins at "
        .. "trim_horizon"), ("reading %s of %s"):format(processor.id, processor.stream))
    processor:begin_anew()
    return "trim_horizon"
  elseif err.retryable or err.code == "ResourceNotFoundException" then
    worker:report(err, ("reading %s, which is tried again"):format(processor.id))
    return place
  end
end

return M
