-- The counters of a reader, as `reader:stats()` returns them.

local pretty = require "kinesis.observe.pretty"

local M = {}

local meta = pretty.meta "kinesis.reader_stats"

---@param reader kinesis.Reader
---@return kinesis.ReaderStats|nil
---@return kinesis.Error err `Forked`
function M.of(reader)
  local counted, err = reader.core:count(reader.left)
  if not counted then
    return nil, err
  end
  local stats, positions = pretty.mark(reader.metrics:stats(), meta), reader:position().shards
  stats.stream, stats.misplaced = reader.stream, reader.core:misplaced(reader.left)
  for id, shard in pairs(stats.shards) do
    shard.position = positions[id]
    if shard.state ~= "done" and reader.core:is_paused() then
      shard.state = "paused"
    end
  end
  return stats
end

return M
