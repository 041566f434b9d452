-- The options of a producer.

local MIB = 1024 * 1024

local function check_when_full(value)
  return value ~= "wait" and value ~= "refuse" and "must be 'wait' or 'refuse'" or nil
end

local function check_order(value)
  return value ~= "shard" and "must be 'shard'" or nil
end

---@type kinesis.option[]
return {
  { name = "linger", type = "number", default = 0.1, min = 0, max = 60,
    doc = "Longest time that a record waits for its batch to fill, in seconds." },
  { name = "batch_records", type = "integer", default = 500, min = 1, max = 500,
    doc = "Most Kinesis records of one call; an aggregate is one." },
  { name = "batch_bytes", type = "integer", default = MIB / 2, min = 1, max = 10 * MIB,
    doc = "Most bytes of one call (512 KiB); a larger record is sent alone." },
  { name = "parallel", type = "integer", default = 8, min = 1, max = 1000,
    doc = "Most calls in flight at the same time; the client's max_connections also limits them." },
  { name = "aggregate", type = "boolean",
    doc = "Whether to aggregate records in the format of the KPL. By default when DescribeStreamSummary confirms "
      .. "that partition keys pick the shards; true: also when it fails; false: never." },
  { name = "aggregate_bytes", type = "integer", default = 51200, min = 100, max = 10 * MIB,
    doc = "Most bytes of an aggregate." },
  { name = "aggregate_records", type = "integer", default = 4294967295, min = 1, max = 4294967295,
    doc = "Most records of an aggregate." },
  { name = "max_records", type = "integer", default = 100000, min = 1, max = 1e9,
    doc = "Most records that the producer holds, including failed ones that were not reported yet." },
  { name = "max_bytes", type = "integer", default = 16 * MIB, min = 1024, max = 1024 * 1024 * MIB,
    doc = "Most memory of these records, in bytes." },
  { name = "when_full", type = "string", check = check_when_full, shape = '"wait"|"refuse"',
    doc = [[What `put` does when the producer is full. "wait": waits, the default in a plain script and in ]]
      .. [[kinesis.run; "refuse": returns the error `Full`, the default in nginx and luv.]] },
  { name = "record_ttl", type = "number", above = 0,
    doc = "Longest time to try to deliver a record, in seconds; no limit by default." },
  { name = "unknown_attempts", type = "integer", default = 3, min = 1, max = 255,
    doc = "Attempts at a record when answers of success cannot be read, as each may store it; then it fails." },
  { name = "order", type = "string", check = check_order, shape = '"shard"',
    doc = "'shard': the records of each shard are stored in the order of put; by default in any order." },
  { name = "rate_limit", type = "number", default = 1, min = 0.001, max = 1000,
    doc = "Multiple of each shard's limits (1,000 records and 1 MiB a second) that this producer may use." },
  { name = "rerandomize_keys", type = "boolean",
    doc = "Whether records without a partition key get a new random one when their shard is throttled; by default "
      .. "not." },
  { name = "on_failure", type = "function", shape = "fun(record: kinesis.Entry, err: kinesis.Error)",
    doc = "Called with each failed record that has no receipt, and its error." },
  { name = "exit_timeout", type = "number", min = 0, max = 3600,
    doc = "Longest time to deliver the records of a producer that was not closed, when it is garbage-collected or "
      .. "the process ends, in seconds. By default 5; in nginx 5 when the worker exits, 0 at garbage collection." },

}
