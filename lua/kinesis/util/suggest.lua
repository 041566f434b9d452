-- Suggests the known name that was probably meant by an unknown one.

local M = {}

-- Names of the same things in other libraries and in the AWS SDKs. The suggestion is the first name of the list that is
-- known in the place of the wrong name.
local ELSEWHERE = {
  -- members of operations
  stream = { "StreamName" }, name = { "StreamName", "ConsumerName", "ChannelName" },
  arn = { "StreamARN", "ConsumerARN", "ResourceARN", "ChannelARN" },
  shards = { "ShardCount", "TargetShardCount" }, count = { "ShardCount", "TargetShardCount", "Limit" },
  hours = { "RetentionPeriodHours" }, consumer = { "ConsumerARN", "ConsumerName" },
  type = { "ShardIteratorType", "EncryptionType" }, position = { "StartingPosition", "ShardIteratorType", "from" },
  iterator = { "ShardIterator" }, key = { "PartitionKey", "KeyId", "credentials" }, mode = { "StreamModeDetails" },
  sequence_number = { "StartingSequenceNumber", "SequenceNumber", "sequence_number_for_ordering" },
  max = { "MaxResults", "Limit", "limit" }, max_results = { "Limit" },
  -- options
  url = { "endpoint" }, host = { "endpoint" }, timeout = { "request_timeout", "idle_timeout" },
  retries = { "max_attempts" }, max_retries = { "max_attempts" }, attempts = { "max_attempts" },
  access_key = { "credentials" }, access_key_id = { "credentials" }, secret_access_key = { "credentials" },
  aws_access_key_id = { "credentials" }, aws_secret_access_key = { "credentials" }, session_token = { "credentials" },
  secret = { "credentials" }, secret_key = { "credentials" }, token = { "credentials" },
  ca = { "ca_bundle" }, ca_file = { "ca_bundle" }, cafile = { "ca_bundle" }, verify = { "ca_bundle" },
  batch_size = { "batch_records", "batch", "batch_bytes" }, buffer_size = { "max_bytes" },
  queue_size = { "max_records" }, flush_interval = { "linger" }, delay = { "linger" }, ttl = { "record_ttl" },
  concurrency = { "parallel" }, workers = { "parallel" }, threads = { "parallel" }, ordered = { "order" },
  on_error = { "on_failure" }, on_failure = { "on_error" }, block = { "when_full" }, hash_key = { "explicit_hash_key" },
  start = { "from", "trim_horizon" }, start_at = { "from" }, starting_position = { "from" }, since = { "from" },
  after = { "from" }, at = { "from" }, timestamp = { "from" }, latest = { "from" }, trim_horizon = { "from" },
  ["until"] = { "until_timestamp", "stop_at_tip" }, to = { "until_timestamp" }, stop = { "stop_at_tip" },
  follow = { "stop_at_tip" }, tail = { "last" }, n = { "limit" },
  interval = { "poll_interval" }, every = { "interval" },
  failover_time = { "failover" }, failover_time_millis = { "failover" }, initial_position = { "from" },
  initial_position_in_stream = { "from" }, max_leases_for_worker = { "max_leases" }, table = { "store" },
  max_leases_to_steal_at_one_time = { "max_steal" }, idle_time_between_reads_in_millis = { "poll_interval" },
  on_handler_error = { "on_record_error" }, dead_letters = { "dead_letter" }, dlq = { "dead_letter" },
  -- places
  oldest = { "trim_horizon" }, earliest = { "trim_horizon" }, beginning = { "trim_horizon" },
  newest = { "latest" }, now = { "latest" }, tip = { "latest" }, ["end"] = { "latest" },
}

-- The Damerau-Levenshtein distance, computed row by row.
local function distance(a, b)
  local last, row = nil, {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local older = last
    last, row = row, { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if older and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], older[j - 2] + 1)
      end
    end
  end
  return row[#b]
end

-- Converts to snake case: streamName, StreamName and stream_name become equal.
local function snake(name)
  return (name:sub(1, 64):gsub("(%l)(%u)", "%1_%2"):gsub("(%u)(%u%l)", "%1_%2"):lower())
end

-- The nearest name within a distance of bound(name).
local function closest(wanted, known, bound)
  local nearest, least
  for _, other in ipairs(known) do
    local name = snake(other)
    local d = distance(wanted, name)
    if d <= bound(name) and (not least or d < least) then
      nearest, least = other, d
    end
  end
  return nearest
end

-- The first name that contains the wanted one as a word ("arn" in StreamARN); else the longest that the wanted one
-- contains ("region" in aws_region).
local function by_words(wanted, known)
  local longest, length
  for _, other in ipairs(known) do
    local words = "_" .. snake(other) .. "_"
    if words:find("_" .. wanted .. "_", 1, true) or words:find("_" .. wanted:gsub("s$", "") .. "_", 1, true) then
      return other
    elseif ("_" .. wanted .. "_"):find(words, 1, true) and #words > (length or 0) then
      longest, length = other, #words
    end
  end
  return longest
end

local function same_letters(wanted, known)
  wanted = wanted:gsub("_", "")
  for _, other in ipairs(known) do
    if snake(other):gsub("_", "") == wanted then
      return other
    end
  end
end

local function from_elsewhere(wanted, known)
  for _, candidate in ipairs(ELSEWHERE[wanted] or {}) do
    for _, other in ipairs(known) do
      if other == candidate then
        return other
      end
    end
  end
end

local function one()
  return 1
end

local function few(name)
  return math.min(3, #name / 2)
end

---The known name that was probably meant: another spelling, the name of another library, a part of it, or the nearest.
---@param name string
---@param known string[] the likelier ones first
---@return string|nil
function M.of(name, known)
  local wanted = snake(name)
  return same_letters(wanted, known) or from_elsewhere(wanted, known) or closest(wanted, known, one)
    or by_words(wanted, known) or closest(wanted, known, few)
end

---The known name that differs only in spelling, or by one or two letters.
---@param name string
---@param known string[]
---@return string|nil
function M.slip(name, known)
  local wanted = snake(name)
  return same_letters(wanted, known) or closest(wanted, known, function(other)
    return #other < 10 and 1 or 2
  end)
end

return M
