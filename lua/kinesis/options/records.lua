-- The options of a reader.

local check_from = require "kinesis.options.positions"
local fields = require "kinesis.fields"
local times = require "kinesis.util.times"

local MIB = 1024 * 1024

---@type kinesis.option[]
return {
  { name = "from", type = { "string", "number", "table" }, check = check_from,
    shape = "kinesis.StartPosition|kinesis.Position",
    doc = [[Where to begin: "trim_horizon" (the default), "latest", a time (seconds since 1970, ISO 8601 with a zone, ]]
      .. [[or "-90s", "-1h" before now), {at=sequence_number}, {after=sequence_number, sub=n}, or what position() ]]
      .. "returned." },
  { name = "last", type = "integer", min = 1, max = 10000,
    doc = "Begins before the newest records of all shards together, by their time of arrival, as many as this; then "
      .. "reading goes on with new records. Excludes `from` and `until_timestamp`." },
  { name = "until_timestamp", type = { "string", "number" }, check = times.problem, shape = "kinesis.Time",
    doc = "Time at which reading ends: each shard ends before its first record that arrived later. A time in the "
      .. "future is waited for." },
  { name = "idle_timeout", type = "number", above = 0,
    doc = "Time without a record after which reading ends, in seconds; no limit by default. It does not run while a "
      .. "shard is behind; if shards fail for so long, the last error is raised." },
  { name = "stop_at_tip", type = "boolean",
    doc = "Whether reading ends when every shard has been read to its tip, its newest record; by default not." },
  { name = "limit", type = "integer", min = 1,
    doc = "Number of records after which reading ends, those of aggregates counted one by one; no limit by default." },
  { name = "batch", type = { "boolean", "string" }, check = fields.check_batch, shape = 'boolean|"columns"',
    doc = "true: lists of records; 'columns': a list for each field (kinesis.Columns); by default single records." },
  { name = "fields", type = "table", check = fields.check, shape = "string[]",
    doc = "The fields that records have; by default all." },
  { name = "values", type = "table", check = fields.check_values, shape = "string[]",
    doc = "Fields to return as several values, in this order, instead of a record; the first one is a field that "
      .. "every record has. Excludes `batch` and `fields`." },
  { name = "deaggregate", type = "boolean", default = true,
    doc = "Whether to take aggregates in the format of the KPL apart into the records that were put; what is no "
      .. "intact aggregate is returned as it is." },
  { name = "drop_misplaced", type = "boolean",
    doc = "Whether to drop records of aggregates whose hash key lies outside the range of the shard that they are read "
      .. "from. Only for streams to which nothing but the KPL and this library write: they put such records again into "
      .. "the right shard, other libraries do not. Needs DescribeStreamSummary; an error where the stream's "
      .. "RecordDistributionStrategy is AUTO. By default these records are returned, too; stats().misplaced counts "
      .. "them." },
  { name = "on_error", type = "function", shape = "fun(err: kinesis.Error, shard_id: string, in_a_row: integer)",
    doc = "Called with each failure that is retried, and with the code `Trimmed` when a shard has expired before it "
      .. "was read; by default stderr reports the former from the third in a row on, and the latter." },
  { name = "on_shard_start", type = "function", shape = "fun(shard_id: string)",
    doc = "Called when the reader begins to read a shard, before its first record." },
  { name = "on_shard_end", type = "function",
    shape = 'fun(shard_id: string, reason: "closed"|"tip"|"until"|"trimmed")',
    doc = "Called after the last record of a shard: 'closed', it was read to its end; 'tip', with `stop_at_tip`; "
      .. "'until', with `until_timestamp`; 'trimmed', its records have expired. A shard of which nothing was left ends "
      .. "without a start." },
  { name = "poll_interval", type = "number", default = 1, min = 0.2, max = 300,
    doc = "Time between two reads of a shard at its tip, in seconds." },
  { name = "page_limit", type = "integer", min = 1, max = 10000,
    doc = "Most records of one GetRecords call, aggregates counted as one; by default as many as the service gives. A "
      .. "shard takes five calls a second." },
  -- a larger window exceeds the processor's caches: at 16 MiB a record of 1 KiB takes a third more time
  { name = "window", type = "integer", default = 4 * MIB, min = MIB, max = 1024 * MIB,
    doc = "Most bytes to read ahead of the caller; more helps when the service is far away. It is exceeded by one page "
      .. "at most, which is 10 MiB of data (14 MiB as it arrives, and 100 to 300 bytes a record more)." },
}
