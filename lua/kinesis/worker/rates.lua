--- The throughput of leases, which workers share by the field `throughput` of the rows.
local M = {}

local LEAST_CHANGE = 0.1 -- a change by a smaller part is not written

---@param processor kinesis.worker.Processor
---@return integer|nil rate bytes/s of data and keys, over the last 10 s; nil: it does not read yet
local function current(processor)
  local stats = processor.reader and processor.reader:stats()
  local shard = stats and stats.shards[processor.id]
  return shard and math.floor(shard.bytes_per_second + 0.5) or nil
end

--- What is to be written to the row of a lease; nil: nothing, it has changed by less than a tenth.
---@param processor kinesis.worker.Processor
---@return integer|nil rate bytes/s
function M.news(processor)
  local now, before = current(processor), processor.row.throughput
  if now and before and math.abs(now - before) <= LEAST_CHANGE * before then
    return nil
  end
  return now
end

--- Adds the throughput to changes of a row that are written anyway.
---@param processor kinesis.worker.Processor
---@param changes table
---@return table changes
function M.add(processor, changes)
  changes.throughput = M.news(processor)
  processor.row.throughput = changes.throughput or processor.row.throughput
  return changes
end

return M
