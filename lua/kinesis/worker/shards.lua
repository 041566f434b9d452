--- The shards of a worker's streams, by the keys of their leases: REGION:STREAM:SHARD. Applications of one name share a
--- table of leases whatever streams they read.
local shard_lists = require "kinesis.shards"
local start = require "kinesis.reader.start"
local wait = require "kinesis.wait"

local M = {}

--- One of the streams of a worker.
---@class kinesis.worker.Source
---@field stream string its name or ARN, as it was given
---@field name string
---@field prefix string of the keys of its leases
---@field list? kinesis.Shards the last list of its shards
---@field is_listed? boolean that is the newest one: the last call has not failed

--- A shard, by the keys of the leases of itself and its parents.
---@class kinesis.worker.Item
---@field id string
---@field parent_id? string
---@field adjacent_parent_id? string
---@field starting_hash_key? string
---@field ending_hash_key? string
---@field source kinesis.worker.Source
---@field stream string as it was given
---@field shard kinesis.Shard

--- The sources of these streams, and the same by their prefixes; nil and the name of a stream that is there twice.
---@param streams string[] names or ARNs
---@param region string of the streams that are given by name
---@return kinesis.worker.Source[]|nil sources
---@return table<string, kinesis.worker.Source>|string by_prefix
function M.sources(streams, region)
  local sources, by_prefix = {}, {}
  for _, stream in ipairs(streams) do
    local name = start.name_of(stream)
    local prefix = ("%s:%s:"):format(stream:match "^arn:[^:]*:[^:]*:([^:]+):" or region, name)
    if by_prefix[prefix] then
      return nil, name
    end
    local source = { stream = stream, name = name, prefix = prefix }
    sources[#sources + 1], by_prefix[prefix] = source, source
  end
  return sources, by_prefix
end

--- The stream that a lease belongs to, and the id of its shard; nil: not a stream of this worker.
---@param worker kinesis.Worker
---@param key string
---@return kinesis.worker.Source|nil source
---@return string id
function M.of_key(worker, key)
  local prefix, id = key:match "^([^:]*:[^:]*:)(.+)$"
  return worker.by_prefix[prefix], id
end

--- What statistics call a lease: the id of the shard, or STREAM:SHARD when there are several streams.
---@param worker kinesis.Worker
---@param key string
---@return string
function M.label(worker, key)
  local source, id = M.of_key(worker, key)
  return worker.sources[2] and source.name .. ":" .. id or id
end

local function item_of(source, shard)
  local function key(id)
    return id and source.prefix .. id
  end
  return { id = key(shard.id), parent_id = key(shard.parent_id), adjacent_parent_id = key(shard.adjacent_parent_id),
    starting_hash_key = shard.starting_hash_key, ending_hash_key = shard.ending_hash_key, source = source,
    stream = source.stream, shard = shard }
end

-- Arranges what the last lists of all streams have.
local function arrange(worker)
  local items, by_key = {}, {}
  for _, source in ipairs(worker.sources) do
    for _, shard in ipairs(source.list or {}) do
      local item = item_of(source, shard)
      items[#items + 1], by_key[item.id] = item, item
    end
  end
  worker.shards, worker.items = items, by_key
end

--- Lists the shards for the first time. Returns the error of a stream that is not there or may not be read; other
--- failures are of no matter, as the shards are listed again.
---@param worker kinesis.Worker
---@return kinesis.Error|nil err
function M.list_first(worker)
  local complete = true
  for _, source in ipairs(worker.sources) do
    local list, err = shard_lists.list(worker.client, source.stream)
    if not list and not err.retryable then
      return err
    end
    source.list, source.is_listed, complete = list, list ~= nil, complete and list ~= nil
  end
  arrange(worker)
  worker.is_listed = complete
end

local function list(worker)
  for _, source in ipairs(worker.sources) do
    local found, err = shard_lists.list(worker.client, source.stream)
    source.list, source.is_listed = found or source.list, found ~= nil
    if not found then
      worker:report(err, ("listing the shards of %s, which is tried again"):format(source.stream))
    end
  end
  arrange(worker)
end

--- Lists the shards of the streams; of a stream that cannot be listed now, those of its last list. Callers at the same
--- time share one list.
---@param worker kinesis.Worker
---@return kinesis.worker.Item[] items
function M.list(worker)
  local job = worker.listing_shards
  if worker.is_listed then -- just now, for the first time
    worker.is_listed = false
    return worker.shards
  end
  while job and not job.done do
    wait.ready(worker.client, job, worker.now() + 1)
  end
  if not job then
    job = {}
    worker.listing_shards = job
    local good, err = pcall(list, worker)
    worker.listing_shards, job.done = nil, true
    wait.wake(worker.client, job)
    if not good then
      error(err, 0)
    end
  end
  return worker.shards
end

--- Whether the stream of a lease could be listed by the last `list`: others may fail meanwhile.
---@param worker kinesis.Worker
---@param key string
---@return boolean
function M.is_listed(worker, key)
  local source = M.of_key(worker, key)
  return source ~= nil and source.is_listed == true
end

--- The shard of a lease, by the last list.
---@param worker kinesis.Worker
---@param key string
---@return kinesis.worker.Item|nil item
function M.find(worker, key)
  return worker.items[key]
end

return M
