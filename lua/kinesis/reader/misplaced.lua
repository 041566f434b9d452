-- Records of aggregates that lie in a shard to which their hash key does not belong: whether a reader may drop them,
-- and that it does.

local core = require "kinesis.core"
local errors = require "kinesis.errors"
local notice = require "kinesis.observe.notice"

local M = {}

-- The service does not let this caller ask, as it refuses the operation itself.
local function is_refusal(err)
  return err.status and not err.retryable and not core.about_credentials(err.code)
    and err.code ~= "ResourceNotFoundException"
end

---Checks that the partition keys of a stream select its shards where `drop_misplaced` is set; raises the error object.
---@param client kinesis.Client
---@param stream string
---@param checked kinesis.RecordsOptions
function M.check(client, stream, checked)
  if not checked.drop_misplaced then
    return
  end
  local params = { [stream:find "^arn:" and "StreamARN" or "StreamName"] = stream }
  local answer, err = client:call("DescribeStreamSummary", params)
  if err and is_refusal(err) then
    err.message = ("drop_misplaced needs to ask whether partition keys select the shards, and may not (%s); allow "
      .. "kinesis:DescribeStreamSummary, or leave drop_misplaced out"):format(err.message)
  end
  local summary = answer and answer.StreamDescriptionSummary
  if answer and type(summary) ~= "table" then
    err = errors.new("BadAnswer", "the answer is no summary of a stream", "DescribeStreamSummary")
  elseif answer and summary.RecordDistributionStrategy == "AUTO" then
    err = errors.new("InvalidArgumentException", ("drop_misplaced cannot be used for the stream %s: its "
      .. "RecordDistributionStrategy is AUTO, so that keys do not select the shards and no record is misplaced; "
      .. "leave drop_misplaced out"):format(stream))
  end
  if err then
    errors.raise(err)
  end
end

---Prints that a reader drops records, once.
---@param reader kinesis.Reader
---@param shard_id string
function M.note_dropped(reader, shard_id)
  local count = reader.drops_misplaced and reader.core:misplaced() or 0
  if count > 0 then
    reader.drops_misplaced = false -- noted
    notice.print_rarely("dropped " .. reader.stream, "%s of %s: drop_misplaced drops records of aggregates whose hash "
      .. "keys belong to other shards, %d so far; the KPL and this library put them there, too, but other libraries "
      .. "do not", shard_id, reader.stream, count)
  end
end

return M
