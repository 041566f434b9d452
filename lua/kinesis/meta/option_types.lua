---@meta _
-- Written by spec/support/option_types.lua from the table in options.lua: change that one.

--- Options of kinesis.client and kinesis.configure.
---@class kinesis.ClientOptions
---@field region? string AWS region, such as us-east-1.
---@field endpoint? string URL to call instead of the region's endpoint.
---@field profile? string Profile of the shared AWS files to use.
---@field ca_bundle? string Path of a PEM file with the authorities to trust instead of the system's.
---@field credentials? kinesis.Credentials|kinesis.Provider Credentials as {access_key_id=, secret_access_key=, session_token=}, or a function that returns them.
---@field connect_timeout? number Longest time to set up a connection, in seconds. At least 0.001, default 3.
---@field request_timeout? number Longest time for one attempt of a call, in seconds. At least 0.001, default 20.
---@field call_timeout? number Longest time for a call with all its attempts, in seconds; no limit by default. At least 0.001.
---@field max_attempts? integer Most attempts of a call, the first one included; by default AWS_MAX_ATTEMPTS, the profile, or 3. From 1 to 100.
---@field max_connections? integer Most open connections; each carries one request at a time. From 1 to 1000, default 24.
---@field use_fips? boolean Whether to call endpoints that comply with FIPS 140; by default not.
---@field use_dualstack? boolean Whether to call endpoints that have IPv4 and IPv6; by default not.
---@field account_id_endpoint_mode? "preferred"|"disabled"|"required" Whether calls go to the endpoint of the account. 'preferred' (the default): when the account is known; 'required': a call fails when it is not known; 'disabled': never.
---@field app_id? string Name of the application, for the user agent.
---@field event_loop? "none"|"luv"|"openresty" How calls wait; detected by default. 'openresty': in nginx; 'luv': in the loop of luv, when luv is loaded and a coroutine waits; 'none': the call blocks the process.
---@field on_request? fun(event: kinesis.Event) Called for each request that was sent; in a script, during a call of the library.
---@field on_response? fun(event: kinesis.Event) Called for each answer and for each failed attempt; when: see on_request.
---@field on_retry? fun(event: kinesis.Event) Called when a call will be retried; when: see on_request.

--- Options of put.
---@class kinesis.PutOptions
---@field explicit_hash_key? string Hash key that selects the shard, instead of the hash of the partition key; a decimal string.
---@field sequence_number_for_ordering? string The sequence number of the record will be greater than this one; a decimal string.

--- Options of put_many.
---@class kinesis.PutManyOptions
---@field parallel? integer Most calls in flight at the same time; with more than 1, the records of different calls are stored in any order. From 1 to 100, default 1.

--- Options of producer.
---@class kinesis.ProducerOptions
---@field linger? number Longest time that a record waits for its batch to fill, in seconds. From 0 to 60, default 0.1.
---@field batch_records? integer Most Kinesis records of one call; an aggregate is one. From 1 to 500, default 500.
---@field batch_bytes? integer Most bytes of one call (512 KiB); a larger record is sent alone. From 1 to 10 MiB, default 524288.
---@field parallel? integer Most calls in flight at the same time; the client's max_connections also limits them. From 1 to 1000, default 8.
---@field aggregate? boolean Whether to aggregate records in the format of the KPL. By default when DescribeStreamSummary confirms that partition keys pick the shards; true: also when it fails; false: never.
---@field aggregate_bytes? integer Most bytes of an aggregate. From 100 to 10 MiB, default 51200.
---@field aggregate_records? integer Most records of an aggregate. From 1 to 4294967295, default 4294967295.
---@field max_records? integer Most records that the producer holds, including failed ones that were not reported yet. From 1 to 1000000000, default 100000.
---@field max_bytes? integer Most memory of these records, in bytes. From 1024 to 1048576 MiB, default 16 MiB.
---@field when_full? "wait"|"refuse" What `put` does when the producer is full. "wait": waits, the default in a plain script and in kinesis.run; "refuse": returns the error `Full`, the default in nginx and luv.
---@field record_ttl? number Longest time to try to deliver a record, in seconds; no limit by default. Above 0.
---@field order? "shard" 'shard': the records of each shard are stored in the order of put; by default in any order.
---@field rate_limit? number Multiple of each shard's limits (1,000 records and 1 MiB a second) that this producer may use. From 0.001 to 1000, default 1.
---@field rerandomize_keys? boolean Whether records without a partition key get a new random one when their shard is throttled; by default not.
---@field on_failure? fun(record: kinesis.Entry, err: kinesis.Error) Called with each failed record that has no receipt, and its error.
---@field exit_timeout? number Longest time to deliver the records of a producer that was not closed, when it is garbage-collected or the process ends, in seconds. By default 5; in nginx 5 when the worker exits, 0 at garbage collection. From 0 to 3600.

--- Options of a producer's put and send.
---@class kinesis.ProduceOptions
---@field explicit_hash_key? string Hash key that selects the shard, instead of the hash of the partition key; a decimal string.

--- Options of wait_until.
---@class kinesis.WaitUntilOptions
---@field timeout? number Longest time to wait, in seconds. Above 0, default 180.
---@field interval? number Time between two requests, in seconds. At least 0.05, default 2.

--- Options of the setup of kinesis.openresty.
---@class kinesis.SetupOptions
---@field client? kinesis.ClientOptions Options of the worker's client.
---@field producers? table<string, kinesis.ProducerOptions> Options of the producers to create in setup, by the name or ARN of the stream.
---@field metrics? string Name of the `lua_shared_dict` in which workers store their counters for `metrics`.

--- Options of records.
---@class kinesis.RecordsOptions
---@field from? kinesis.StartPosition|kinesis.Position Where to begin: "trim_horizon" (the default), "latest", {timestamp=seconds}, {at=sequence_number}, {after=sequence_number, sub=n}, or what position() returned.
---@field idle_timeout? number Time without a record after which reading ends, in seconds; no limit by default. Above 0.
---@field stop_at_tip? boolean Whether reading ends when every shard has been read to its tip, its newest record; by default not.
---@field limit? integer Number of records after which reading ends; no limit by default. At least 1.
---@field batch? boolean|"columns" true: lists of records; 'columns': a list for each field (kinesis.Columns); by default single records.
---@field fields? string[] The fields that records have; by default all.
---@field values? string[] Fields to return as several values, in this order, instead of a record; the first one is a field that every record has. Excludes `batch` and `fields`.
---@field deaggregate? boolean Whether to take aggregates in the format of the KPL apart into the records that were put; what is no intact aggregate is returned as it is. Default true.
---@field on_error? fun(err: kinesis.Error, shard_id: string, in_a_row: integer) Called with each failure that is retried; by default stderr reports them from the third in a row on.
---@field poll_interval? number Time between two reads of a shard at its tip, in seconds. From 0.2 to 300, default 1.
---@field window? integer Most bytes to read ahead of the caller; more helps when the service is far away. From 1 MiB to 1024 MiB, default 4 MiB.
