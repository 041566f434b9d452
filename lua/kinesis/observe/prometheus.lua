--- Counters in the text format of Prometheus.
local number = require("kinesis.core").codec.json_encode -- the same in every locale

local M = {}

-- { field of stats(), name, type, help }; `largest`: values with the same labels are not summed
local CLIENT = {
  { "calls", "kinesis_client_calls_total", "counter", "Calls started." },
  { "attempts", "kinesis_client_attempts_total", "counter", "Requests sent." },
  { "retries", "kinesis_client_retries_total", "counter", "Attempts after the first." },
  { "throttled", "kinesis_client_throttled_total", "counter", "Throttling errors." },
  { "failed", "kinesis_client_failed_total", "counter", "Calls that ended in an error." },
  { "bytes_sent", "kinesis_client_sent_bytes_total", "counter", "Bytes of request bodies." },
  { "bytes_received", "kinesis_client_received_bytes_total", "counter", "Bytes of answers' bodies." },
  { "in_flight", "kinesis_client_in_flight", "gauge", "Requests in flight." },
  { "queued", "kinesis_client_queued", "gauge", "Calls that wait for a connection or for credentials." },
  { "subscriptions", "kinesis_client_subscriptions", "gauge", "Open event streams." },
}

local PRODUCER = {
  { "accepted", "kinesis_producer_accepted_records_total", "counter", "User records taken." },
  { "accepted_bytes", "kinesis_producer_accepted_bytes_total", "counter", "Their data and keys." },
  { "stored", "kinesis_producer_stored_records_total", "counter", "User records stored." },
  { "stored_bytes", "kinesis_producer_stored_bytes_total", "counter", "Their data and keys." },
  { "failed", "kinesis_producer_failed_records_total", "counter", "User records rejected by the service." },
  { "expired", "kinesis_producer_expired_records_total", "counter", "User records not stored within record_ttl." },
  { "returned", "kinesis_producer_returned_records_total", "counter", "User records returned by close." },
  { "retried", "kinesis_producer_retried_records_total", "counter", "Retries of user records." },
  { "possible_duplicates", "kinesis_producer_possible_duplicates_total", "counter",
    "Retries of user records that may have been stored before." },
  { "misplaced", "kinesis_producer_misplaced_records_total", "counter",
    "User records sent again, as their aggregate was stored in a wrong shard." },
  { "throttled", "kinesis_producer_throttled_total", "counter", "Kinesis records that were throttled." },
  { "requests", "kinesis_producer_requests_total", "counter", "Calls of PutRecords." },
  { "kinesis_records", "kinesis_producer_kinesis_records_total", "counter", "Kinesis records sent." },
  { "kinesis_records_stored", "kinesis_producer_kinesis_records_stored_total", "counter",
    "Kinesis records stored." },
  { "batches_full", "kinesis_producer_batches_full_total", "counter", "Calls sent because they were full." },
  { "batches_due", "kinesis_producer_batches_due_total", "counter", "Calls sent because linger had passed." },
  { "batches_flushed", "kinesis_producer_batches_flushed_total", "counter", "Calls sent because of a flush." },
  { "map_refreshes", "kinesis_producer_map_refreshes_total", "counter", "Refreshes of the shard map." },
  { "open", "kinesis_producer_open_records", "gauge", "User records that are neither stored nor failed." },
  { "in_flight", "kinesis_producer_in_flight_records", "gauge", "User records in requests in flight." },
  { "held_records", "kinesis_producer_held_records", "gauge", "User records that count toward max_records." },
  { "held_bytes", "kinesis_producer_held_bytes", "gauge", "Memory of the held records." },
  { "untold_failures", "kinesis_producer_untold_failures", "gauge", "Failed user records that were not read." },
}

local SHARD = {
  { "stored", "kinesis_producer_shard_stored_total", "counter", "Kinesis records stored in a shard." },
  { "stored_bytes", "kinesis_producer_shard_stored_bytes_total", "counter", "Bytes of user data stored in a shard." },
  { "throttled", "kinesis_producer_shard_throttled_total", "counter", "Kinesis records throttled by a shard." },
  { "share", "kinesis_producer_shard_share", "gauge", "Share of a shard's limits that the producer uses." },
}

local READER = {
  { "lag", "kinesis_reader_lag_seconds", "gauge", "Seconds that a reader is behind.", largest = true },
  { "records", "kinesis_reader_records_total", "counter", "User records returned." },
  { "bytes", "kinesis_reader_bytes_total", "counter", "Their data and keys." },
  { "misplaced", "kinesis_reader_misplaced_records_total", "counter",
    "User records from aggregates in a wrong shard, returned or dropped." },
  { "trimmed", "kinesis_reader_trimmed_shards_total", "counter", "Shards trimmed before all their records were read." },
}

-- The sums of what the shards count.
local READER_SUMS = {
  { "calls", "kinesis_reader_calls_total", "counter", "Calls of GetShardIterator and GetRecords." },
  { "throttled", "kinesis_reader_throttled_total", "counter", "Calls that were throttled." },
  { "renewals", "kinesis_reader_renewals_total", "counter", "Iterators taken again." },
  { "failures", "kinesis_reader_failures_total", "counter", "Calls that failed otherwise." },
}

local READER_SHARD = {
  { "records", "kinesis_reader_shard_records_total", "counter", "User records returned from a shard." },
  { "bytes", "kinesis_reader_shard_bytes_total", "counter", "Bytes of user data returned from a shard." },
  { "throttled", "kinesis_reader_shard_throttled_total", "counter", "Calls that a shard throttled." },
}

local WORKER = {
  { "held", "kinesis_worker_leases_held", "gauge", "Leases that the worker has." },
  { "known", "kinesis_worker_leases_known", "gauge", "Leases of its streams that are not finished.", largest = true },
  { "unowned", "kinesis_worker_leases_unowned", "gauge", "Those of them that no worker has.", largest = true },
  { "takes", "kinesis_worker_takes_total", "counter", "Leases taken." },
  { "losses", "kinesis_worker_losses_total", "counter", "Leases taken by others, or deleted." },
  { "handoffs", "kinesis_worker_handoffs_total", "counter", "Leases handed over to others." },
  { "skipped", "kinesis_worker_skipped_records_total", "counter", "Records left out because their handler failed." },
  { "checkpoints", "kinesis_worker_checkpoints_total", "counter", "Checkpoints written." },
  { "checkpoints_failed", "kinesis_worker_checkpoints_failed_total", "counter",
    "Checkpoints that could not be written, and were tried again." },
}

local BEHIND = { nil, "kinesis_reader_shard_behind_seconds", "gauge",
  "Seconds behind the tip of a shard, by the last page returned.", largest = true }

local ERRORS = { nil, "kinesis_producer_errors_total", "counter",
  "Failed attempts of Kinesis records and of shard map refreshes, by error code." }

local LATENCY = "kinesis_producer_latency_seconds"

local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local function label(name, value)
  return ('%s="%s"'):format(name, (tostring(value):gsub('[\\"\n]', ESCAPES)))
end

-- The labels of a client, a producer, a reader or a worker: in nginx with nginx's worker; and optionally one more.
local function labels_of(source, name, value)
  local parts = { source.stream and label("stream", source.stream) or source.url and label("endpoint", source.url)
    or label("application", source.application) }
  if type(source.worker) == "string" then -- a client's is its method
    parts[#parts + 1] = label("worker", source.worker)
  end
  if name then
    parts[#parts + 1] = label(name, value)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- Adds a value to a metric; values with the same labels are summed, or the largest one is kept.
local function add(page, row, suffix, labels, value)
  local metric = page[row[2]]
  if not metric then
    metric = { head = ("# HELP %s %s\n# TYPE %s %s\n"):format(row[2], row[4], row[2], row[3]), order = {}, values = {} }
    page[row[2]] = metric
    page[#page + 1] = metric
  end
  local name = row[2] .. suffix .. labels
  if not metric.values[name] then
    metric.order[#metric.order + 1] = name
    metric.values[name] = 0
  end
  local before = metric.values[name]
  metric.values[name] = row.largest and math.max(before, value) or before + value
end

local function add_rows(page, rows, stats, labels)
  for _, row in ipairs(rows) do
    if stats[row[1]] then
      add(page, row, "", labels, stats[row[1]])
    end
  end
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local HISTOGRAM = { nil, LATENCY, "histogram", "Seconds from put to being stored." }

local function add_latency(page, source, latency)
  for _, bucket in ipairs(latency.buckets) do
    add(page, HISTOGRAM, "_bucket", labels_of(source, "le", number(bucket.le)), bucket.count)
  end
  add(page, HISTOGRAM, "_bucket", labels_of(source, "le", "+Inf"), latency.count)
  add(page, HISTOGRAM, "_sum", labels_of(source), latency.sum)
  add(page, HISTOGRAM, "_count", labels_of(source), latency.count)
end

local function sums_of(shards)
  local sums = {}
  for _, row in ipairs(READER_SUMS) do
    sums[row[1]] = 0
    for _, shard in pairs(shards) do
      sums[row[1]] = sums[row[1]] + shard[row[1]]
    end
  end
  return sums
end

-- A shard that has ended, or that positions do not name any more, is in the sums only: a stream may have thousands.
local function has_ended(shard)
  return shard.position == nil or shard.position == "shard_end"
end

-- `sums`: of what all shards have counted.
local function add_reader(page, source, stats, sums)
  local labels = labels_of(source)
  add_rows(page, READER, stats, labels)
  add_rows(page, READER_SUMS, sums, labels)
  for _, id in ipairs(sorted_keys(stats.shards)) do
    local shard = stats.shards[id]
    labels = labels_of(source, "shard", id)
    if not has_ended(shard) then
      add_rows(page, READER_SHARD, shard, labels)
    end
    if not has_ended(shard) and shard.millis_behind_latest then
      add(page, BEHIND, "", labels, shard.millis_behind_latest / 1000)
    end
  end
end

local function add_source(page, source)
  local stats = source:stats()
  if not stats then
    return
  elseif stats.application then
    add_rows(page, WORKER, stats, labels_of(source))
    add_reader(page, source, stats, stats)
  elseif stats.stream then
    add_reader(page, source, stats, sums_of(stats.shards))
  elseif source.stream then
    add_rows(page, PRODUCER, stats, labels_of(source))
    for _, code in ipairs(sorted_keys(stats.errors)) do
      add(page, ERRORS, "", labels_of(source, "code", code), stats.errors[code])
    end
    add_latency(page, source, stats.latency)
    for _, id in ipairs(sorted_keys(stats.shards)) do
      add_rows(page, SHARD, stats.shards[id], labels_of(source, "shard", id))
    end
  else
    add_rows(page, CLIENT, stats, labels_of(source))
  end
end

--- Formats the counters of clients, producers, readers and workers for Prometheus, for an HTTP endpoint of your own.
--- Counters with the same labels (producers of one stream, clients of one endpoint, workers of one application) are
--- summed, lags not: of them the largest is kept. Closed clients are left out, and nils and repeats, so that
--- `records{…}` may stand in the call.
--- https://prometheus.io/docs/instrumenting/exposition_formats
---
--- Raises at the caller's line a message that names the wrong argument.
---@param ... kinesis.Client|kinesis.Producer|kinesis.Reader|kinesis.Worker|nil
---@return string text
function M.prometheus(...)
  local page, lines, seen = {}, {}, {}
  for i = 1, select("#", ...) do
    local source = select(i, ...)
    if source ~= nil and (type(source) ~= "table" or type(source.stats) ~= "function") then
      error(("prometheus: argument %d must be a client, a producer, a reader or a worker, got %s"):format(i,
        type(source)), 2)
    elseif source ~= nil and not seen[source] then
      seen[source] = true
      add_source(page, source)
    end
  end
  for _, metric in ipairs(page) do
    lines[#lines + 1] = metric.head
    for _, name in ipairs(metric.order) do
      lines[#lines + 1] = ("%s %s\n"):format(name, number(metric.values[name]))
    end
  end
  return table.concat(lines)
end

return M
