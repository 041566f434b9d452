--- What a worker counts, as `worker:stats()` returns it. Totals never fall: what a reader has counted is kept when it
--- is closed.
local lineage = require "kinesis.worker.lineage"
local observed = require "kinesis.worker.observed"
local pretty = require "kinesis.observe.pretty"
local shards = require "kinesis.worker.shards"

local M = {}

-- Of readers, and of their shards.
local TOTALS = { "records", "bytes", "misplaced", "trimmed" }
local SHARD_TOTALS = { "calls", "throttled", "renewals", "failures" }
local COUNTS = { "losses", "handoffs", "skipped" }

local meta = pretty.meta "kinesis.worker_stats"

-- Ends of readings, by their reasons.
local ENDS = { lost = "losses", handoff = "handoffs" }

--- Counters of a new worker.
---@return table<string, integer>
function M.new()
  local counts = {}
  for _, list in ipairs { TOTALS, SHARD_TOTALS, COUNTS } do
    for _, name in ipairs(list) do
      counts[name] = 0
    end
  end
  return counts
end

-- Adds what a reader of one shard has counted.
local function add(counts, stats, id)
  for _, name in ipairs(TOTALS) do
    counts[name] = counts[name] + (stats[name] or 0)
  end
  for _, name in ipairs(stats.shards[id] and SHARD_TOTALS or {}) do
    counts[name] = counts[name] + stats.shards[id][name]
  end
end

--- Counts that the reading of a shard has ended.
---@param worker kinesis.Worker
---@param reason string
function M.note_end(worker, reason)
  local name = ENDS[reason]
  if name then
    worker.counts[name] = worker.counts[name] + 1
  end
end

--- Closes the reader of a processor, and keeps what it has counted.
---@param processor kinesis.worker.Processor
function M.close_reader(processor)
  local reader = processor.reader
  if reader and processor.counted ~= reader then
    processor.counted = reader
    reader:close()
    local stats = reader:stats()
    if stats then
      add(processor.worker.counts, stats, processor.id)
    end
  end
end

-- The leases of the streams that are not finished: who has them, and how many there are.
local function add_leases(worker, stats)
  for key, row in pairs(worker.rows) do
    local processor = worker.processors[key]
    if not lineage.is_finished(row) or processor then
      local owner = observed.owner(worker, key)
      stats.known = stats.known + 1
      stats.unowned = stats.unowned + (owner and 0 or 1)
      stats.leases[shards.label(worker, key)] = owner and { worker = owner,
        since = processor and worker.leases.since[key] or row.since, throughput = row.throughput }
    end
  end
end

--- What the worker has counted, and who has which lease.
---@param worker kinesis.Worker
---@return kinesis.WorkerStats
function M.stats(worker)
  local stats = pretty.mark({ streams = worker.streams, application = worker.application, worker = worker.id,
    shards = {}, leases = {}, held = worker:count(), known = 0, unowned = 0 }, meta)
  for _, counts in ipairs { worker.counts, worker.leases.counts } do
    for name, value in pairs(counts) do
      stats[name] = value
    end
  end
  for key, processor in pairs(worker.processors) do
    local of = processor.reader and processor.counted ~= processor.reader and processor.reader:stats()
    if of then
      stats.lag = of.lag and math.max(stats.lag or 0, of.lag) or stats.lag -- none before the first answer
      add(stats, of, processor.id)
      stats.shards[shards.label(worker, key)] = of.shards[processor.id]
    end
  end
  add_leases(worker, stats)
  return stats
end

return M
