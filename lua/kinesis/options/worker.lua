-- The options of a worker: its own, and those of the readers of its shards.

local check_from = require "kinesis.options.positions"
local fields = require "kinesis.fields"
local readers = require "kinesis.options.records"

local FUNCTIONS = { "list", "get", "create", "update", "delete" }
local BEGINNINGS = { trim_horizon = true, latest = true }

local STORES = { file = true, dynamodb = true }
-- The name of the table is checked with that of the application, see store/dynamodb.lua.
local DYNAMODB = { table = "", region = "^[A-Za-z0-9-]+$", endpoint = "^https?://.", kcl3 = true }
local SAMPLES = { table = "counter", region = "eu-west-1", endpoint = "https://host:8000" }

local function check_dynamodb(store)
  local value, other = store.dynamodb, next(store)
  if other == "dynamodb" then
    other = next(store, other) or other
  end
  if type(value) ~= "table" then
    return "must have a Lua table as `dynamodb`, such as {table = 'counter'}"
  elseif other ~= "dynamodb" then
    return ("must have nothing beside `dynamodb`, not '%s': table, region, endpoint and kcl3 are fields of `dynamodb`")
      :format(tostring(other))
  end
  for name, given in pairs(value) do
    if not DYNAMODB[name] then
      return ("must have only table, region, endpoint and kcl3 in `dynamodb`, not '%s'"):format(tostring(name))
    elseif name == "kcl3" and type(given) ~= "boolean" then
      return "has a bad kcl3 in `dynamodb`: it must be true or false"
    elseif name ~= "kcl3" and (type(given) ~= "string" or not given:find(DYNAMODB[name])) then
      return ("has a bad %s in `dynamodb`: it must be a string such as '%s'"):format(name, SAMPLES[name])
    end
  end
end

local function check_store(value)
  if type(value) == "string" then
    return not STORES[value] and ("must be 'file', 'dynamodb' or a table of functions (kinesis.store.memory shows "
      .. "one), got '%s'"):format(value) or nil
  elseif value.dynamodb ~= nil then
    return check_dynamodb(value)
  end
  for _, name in ipairs(FUNCTIONS) do
    if type(value[name]) ~= "function" then
      return ("must have the function `%s`; a store has %s, or it is {dynamodb = {table=, region=, endpoint=, kcl3=}}")
        :format(name, table.concat(FUNCTIONS, ", "))
    end
  end
end

-- A worker begins at one place in all shards: later it goes on from its checkpoints.
local function check_beginning(value)
  local problem = check_from(value, "known forms: \"trim_horizon\", \"latest\", a time, {timestamp=time}")
  local is_time = type(value) ~= "table" or value.timestamp
  local is_known = type(value) ~= "string" or BEGINNINGS[value] or value:find "%d"
  if not problem and not (is_time and is_known) then
    problem = "must be \"trim_horizon\", \"latest\" or a time: a worker has positions of its own"
  end
  return problem
end

local ON_RECORD_ERROR = { stop = true, retry = true, skip = true }

local function check_on_record_error(value)
  return type(value) == "string" and not ON_RECORD_ERROR[value] and "must be 'stop', 'retry', 'skip' or a function"
    or nil
end

local function check_checkpoint(value)
  return value ~= "auto" and value ~= "manual" and "must be 'auto' or 'manual'" or nil
end

local function check_balance(value)
  return value ~= "count" and value ~= "throughput" and "must be 'count' or 'throughput'" or nil
end

---@type kinesis.option[]
local options = {
  { name = "store", type = { "string", "table" }, default = "file", check = check_store,
    shape = '"file"|"dynamodb"|kinesis.Store|{ dynamodb: { table: string?, region: string?, endpoint: string?, kcl3: '
      .. "boolean? } }",
    doc = "Where leases are kept: 'file', for the processes of this machine; 'dynamodb', for workers on many machines, "
      .. "in a table of DynamoDB; or a Lua table of functions (kinesis.Store). {dynamodb = {table=, region=, endpoint=,"
      .. " kcl3=}} is 'dynamodb' with settings: `table` is the name of the table, by default that of the application; "
      .. "`region` by default that of the client; `endpoint` by default AWS_ENDPOINT_URL_DYNAMODB, else that of the "
      .. "profile or the region; with `kcl3`, a leader among the KCL 3 workers of that table assigns the leases: where "
      .. "it does, `balance`, `max_leases` and `max_steal` have no effect." },
  { name = "path", type = "string", filled = true,
    doc = "Folder of the file of leases; by default kinesis in $XDG_STATE_HOME or ~/.local/state." },
  { name = "from", type = { "string", "number", "table" }, default = "trim_horizon", check = check_beginning,
    shape = '"trim_horizon"|"latest"|kinesis.Time|{ timestamp: kinesis.Time }',
    doc = "Where the application begins a stream that it has no leases for; else it goes on from its checkpoints. "
      .. "Shards that are found later are read from their beginning." },
  { name = "failover", type = "number", default = 10, min = 1, max = 3600,
    doc = "Time without a renewal after which a lease is taken from its owner, in seconds." },
  { name = "take_interval", type = "number", default = 10, min = 0.5, max = 3600,
    doc = "Time between two looks for leases to take, in seconds." },
  { name = "max_leases", type = "integer", default = 1000000, min = 1, max = 1000000,
    doc = "Most leases that this worker holds." },
  { name = "max_steal", type = "integer", default = 1000000, min = 1, max = 1000000,
    doc = "Most leases that this worker asks others for at a time." },
  { name = "balance", type = "string", default = "count", check = check_balance, shape = '"count"|"throughput"',
    doc = "What the workers share evenly: the number of leases, or the bytes per second that their shards deliver." },
  { name = "handoff_timeout", type = "number", default = 30, min = 0, max = 3600,
    doc = "Time that the owner of a lease has to finish its record and hand the lease over, in seconds; one that "
      .. "cannot reach the store has `failover`." },
  { name = "checkpoint_interval", type = "number", default = 10, min = 0, max = 3600,
    doc = "Time after which a processed record is behind the checkpoint of its shard, in seconds: a renewal of the "
      .. "lease carries the checkpoint where it comes in time." },
  { name = "checkpoint", type = "string", default = "auto", check = check_checkpoint, shape = '"auto"|"manual"',
    doc = "'auto': a record is processed when its handler has returned; 'manual': checkpoints are written by "
      .. "worker:checkpoint only. With 'manual', the children of a shard are read after a checkpoint behind its last "
      .. "record, or when `on_shard_end` has returned." },
  { name = "ack", type = "boolean",
    doc = "Whether a record is processed when worker:ack is called with it, in any order; by default when its handler "
      .. "has returned." },
  { name = "max_in_flight", type = "integer", default = 1000, min = 1, max = 1000000,
    doc = "With `ack`: most records of a shard that are handed to the handler and not behind the checkpoint; with "
      .. "`batch`, lists." },
  { name = "batch", type = { "boolean", "string" }, check = fields.check_batch, shape = 'boolean|"columns"',
    doc = "true: the handler gets lists of records; 'columns': a list for each field (kinesis.Columns)." },
  { name = "dead_letter", type = { "string", "function" }, filled = true,
    shape = "string|fun(record: kinesis.Record, err: any): boolean?, any",
    doc = "A stream, or a function (record, err), that gets the records that are skipped, before the checkpoint "
      .. "moves. A stream gets the data and the partition key as they were put, and nothing else of the record. What "
      .. "cannot be stored is reported, and tried again; a function says so by an error, false, or nil and an error." },
  { name = "stop_timeout", type = "number", default = 30, min = 0, max = 3600,
    doc = "Time that handlers have to end, and with `ack` records to be acknowledged, when the worker is stopped, in "
      .. "seconds; then `run` returns nil and a `Timeout`." },
  { name = "exit_timeout", type = "number", default = 5, min = 0, max = 3600,
    doc = "Longest time to release the leases of a worker that was left to the collector, or to the end of the "
      .. "process, in seconds; nothing is checkpointed then." },
  { name = "on_record_error", type = { "string", "function" }, default = "stop", check = check_on_record_error,
    shape = '"stop"|"retry"|"skip"|fun(record: kinesis.Record, err: any, attempts: integer): "stop"|"retry"|"skip"',
    doc = "What becomes of a record whose handler raises an error: 'stop' ends the worker, 'retry' repeats the record, "
      .. "'skip' goes on behind it, and stats().skipped counts it; a function (record, err, attempts) returns one of "
      .. "these. With `batch`, the list is repeated or skipped as a whole; with `values`, the function and "
      .. "`dead_letter` get a table." },
  { name = "on_error", type = "function", shape = "fun(err: kinesis.Error|string, what: string, in_a_row: integer)",
    doc = "Called with each failure that is retried: those of reading, with the id of the shard, as a reader's; and "
      .. "those of leases, checkpoints and dead letters, with what has failed; and with the error of a handler whose "
      .. "record is retried or skipped, unless a function decides that. It may wait; its error ends the worker. By "
      .. "default stderr reports them, each code at most once a minute." },
  { name = "on_lease_taken", type = "function", shape = "fun(shard: kinesis.WorkerShard)",
    doc = "Called when this worker begins to read a shard." },
  { name = "on_lease_lost", type = "function", shape = "fun(shard: kinesis.WorkerShard, reason: string)",
    doc = "Called when this worker has ended reading a shard before its end. The reason: 'handoff', another worker has "
      .. "asked for it; 'lost', another has taken it, or its row was deleted; 'stop', this worker ends; or 'error', "
      .. "which ends it. It may wait: `run` returns after it, within `stop_timeout`." },
  { name = "on_shard_end", type = "function", shape = "fun(shard: kinesis.WorkerShard)",
    doc = "Called when all records of a shard are processed, before the shard is finished for the application and its "
      .. "children are read. It may wait. Its error ends the worker, and it is called again by the next one." },
}

local WINDOW = "Most bytes to read ahead of the handlers, of all shards together. One half is divided evenly, with "
  .. "64 KiB for each shard at least; the other is lent to the shards that need more. It is exceeded where records are "
  .. "much larger than those before them, by one page of each shard at most."

-- Those of a reader that a worker takes, too, some with a text of their own. It takes no `limit`, `idle_timeout`,
-- `until_timestamp`, `stop_at_tip` and `last`: a worker reads until it is stopped, and the end of a shard is a fact
-- that the application keeps. It has its own `from`, `batch` and `on_shard_end`; instead of on_shard_start it has
-- on_lease_taken.
local READERS = { fields = true, values = true, poll_interval = true, window = WINDOW,
  deaggregate = true, page_limit = true, drop_misplaced = true }
for _, option in ipairs(readers) do
  local given = READERS[option.name]
  if given then
    local copy = {}
    for name, value in pairs(option) do
      copy[name] = value
    end
    copy.doc = given == true and option.doc or given
    options[#options + 1] = copy
  end
end

return options
