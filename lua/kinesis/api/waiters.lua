-- Waiters: polls a stream or a consumer until it is in a state.
local core = require "kinesis.core"
local errors = require "kinesis.errors"
local pretty = require "kinesis.observe.pretty"
local wait = require "kinesis.wait"

local M = {}

local function status_of_stream(answer)
  local summary = answer.StreamDescriptionSummary
  return type(summary) == "table" and summary.StreamStatus or nil
end

local function status_of_consumer(answer)
  local consumer = answer.ConsumerDescription
  return type(consumer) == "table" and consumer.ConsumerStatus or nil
end

-- The operation, the function that reads the status of its answer, the wanted status (false: deleted), and whether the
-- resource may not exist yet.
local STATES = {
  stream_exists = { "DescribeStreamSummary", status_of_stream, "ACTIVE", may_miss = true },
  stream_active = { "DescribeStreamSummary", status_of_stream, "ACTIVE" },
  stream_not_exists = { "DescribeStreamSummary", status_of_stream, false },
  consumer_active = { "DescribeStreamConsumer", status_of_consumer, "ACTIVE" },
}

M.names = { "stream_exists", "stream_active", "stream_not_exists", "consumer_active" }

---The operation that polls a state; nil: there is no such state.
---@param state string
---@return string|nil
function M.operation(state)
  return STATES[state] and STATES[state][1]
end

---@param client kinesis.Client
---@param state string
---@param options {timeout: number, interval: number} seconds
---@param ask fun(): table|nil, kinesis.Error|nil
---@return table|nil answer the last one; for stream_not_exists an empty table
---@return kinesis.Error|nil err
function M.await(client, state, options, ask)
  local operation, status_of, wanted = STATES[state][1], STATES[state][2], STATES[state][3]
  local deadline = core.now() + options.timeout
  while true do
    local answer, err = ask()
    local missing = not answer and err.code == "ResourceNotFoundException"
    local status = answer and status_of(answer)
    if missing and wanted == false then
      return setmetatable({}, pretty.answer_meta)
    elseif answer and status == wanted then
      return answer
    elseif not answer and not (missing and STATES[state].may_miss) then
      return nil, err
    end
    local left = deadline - core.now()
    if left <= 0 then
      return nil, errors.new("Timeout", ("%s is not reached after %.14g seconds; last seen: %s"):format(state,
        options.timeout, missing and "it does not exist" or "its status is " .. tostring(status)), operation)
    end
    wait.sleep(math.min(options.interval, left), client)
  end
end

return M
