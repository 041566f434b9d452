---@meta _
-- Written by spec/support/option_types.lua from the table in options.lua: change that one.

--- Options of kinesis.client and kinesis.configure.
---@class kinesis.ClientOptions
---@field region? string AWS region, such as us-east-1.
---@field endpoint? string URL to call in place of the region's own.
---@field profile? string Profile of AWS's shared files to take settings from.
---@field ca_bundle? string Path of a PEM file of the authorities to trust in place of the system's.
---@field credentials? kinesis.Credentials|kinesis.Provider Keys as {access_key_id=, secret_access_key=, session_token=}, or a function that provides them.
---@field connect_timeout? number Longest time to set up a connection, in seconds. At least 0.001, default 3.
---@field request_timeout? number Longest time for one attempt of a call, in seconds. At least 0.001, default 20.
---@field call_timeout? number Longest time for a call with all its attempts, in seconds; without it as long as they take. At least 0.001.
---@field max_attempts? integer Attempts made at a call, the first one included; 3 when nothing else says more. From 1 to 100.
---@field max_connections? integer Connections, and so calls, open at the same time. From 1 to 1000, default 24.
---@field use_fips? boolean Whether to call hosts that comply with FIPS 140.
---@field use_dualstack? boolean Whether to call hosts that have IPv4 and IPv6.
---@field account_id_endpoint_mode? "preferred"|"disabled"|"required" Whether calls go to the host of the keys' account, where it is known; without it preferred.
---@field app_id? string Name of the application, for the user agent.
---@field event_loop? "none"|"luv"|"openresty" How its calls wait; without it the host's way is found: nginx, luv where it is loaded and a coroutine waits, else the process waits ('none').
---@field on_request? fun(event: kinesis.Event) Called, once the client is waited for, with every request that was sent.
---@field on_response? fun(event: kinesis.Event) Called likewise with every answer, and with every failure to get one.
---@field on_retry? fun(event: kinesis.Event) Called likewise when a call is to be tried again.

--- Options of put.
---@class kinesis.PutOptions
---@field explicit_hash_key? string Hash key that picks the shard in place of the partition key's, a decimal string.
---@field sequence_number_for_ordering? string Sequence number that the record's own must exceed, a decimal string.

--- Options of put_many.
---@class kinesis.PutManyOptions
---@field parallel? integer Calls in flight at the same time; above 1 the order between calls is open. From 1 to 100, default 1.

--- Options of producer.
---@class kinesis.ProducerOptions
---@field linger? number Longest time that a record waits for company, in seconds. From 0 to 60, default 0.1.
---@field batch_records? integer Most records of one call, as the service counts them. From 1 to 500, default 500.
---@field batch_bytes? integer Most bytes of one call; a record that is larger goes alone. From 1 to 10 MiB, default 524288.
---@field parallel? integer Calls in flight at the same time, as the client's max_connections allows. From 1 to 1000, default 8.
---@field aggregate? boolean Whether to send many records as one, in the format of the KPL; without it, only where it is known that the stream's keys pick its shards; true: also where the service does not say.
---@field aggregate_bytes? integer Most bytes of an aggregate. From 100 to 10 MiB, default 51200.
---@field aggregate_records? integer Most records of an aggregate. From 1 to 4294967295, default 4294967295.
---@field max_records? integer Most records that are held, those included whose failure nobody has looked at. From 1 to 1000000000, default 100000.
---@field max_bytes? integer Most memory that these records take, in bytes. From 1024 to 1048576 MiB, default 16 MiB.
---@field when_full? "wait"|"refuse" "wait" or "refuse": what `put` does when there is no room; without it, it waits in a plain script and in kinesis.run, and refuses in a host.
---@field record_ttl? number Longest time to try to deliver a record, in seconds; without it as long as it takes. Above 0.
---@field order? "shard" 'shard': records of a shard are stored in the order of put; without it they go as fast as they can.
---@field rate_limit? number Share of each shard's limits (1,000 records and 1 MiB a second) that this producer may use. From 0.001 to 1000, default 1.
---@field rerandomize_keys? boolean Whether records without a key get another random one when their shard is throttled.
---@field on_failure? fun(record: kinesis.Entry, err: kinesis.Error) Called with each record that failed for good and has no receipt.
---@field exit_timeout? number Longest time to deliver what is left in a producer that nobody closed, in seconds; without it 5; in nginx only where the worker was told to leave, else 0. From 0 to 3600.

--- Options of a producer's put and send.
---@class kinesis.ProduceOptions
---@field explicit_hash_key? string Hash key that picks the shard in place of the partition key's, a decimal string.

--- Options of wait_until.
---@class kinesis.WaitUntilOptions
---@field timeout? number Longest time to wait, in seconds. Above 0, default 180.
---@field interval? number Time between two looks, in seconds. At least 0.05, default 2.

--- Options of the setup of kinesis.openresty.
---@class kinesis.SetupOptions
---@field client? kinesis.ClientOptions Options of the worker's client.
---@field producers? table<string, kinesis.ProducerOptions> Options of the producers that are made at once, by stream.
---@field metrics? string Name of a `lua_shared_dict` where the workers leave their counters for `metrics`.

--- Options of records.
---@class kinesis.RecordsOptions
---@field from? kinesis.StartPosition|kinesis.Position Where to begin: "trim_horizon" (without it), "latest", {timestamp=seconds}, {at=sequence_number}, {after=sequence_number}, or what position() returned.
---@field idle_timeout? number Time without a record after which reading ends, in seconds; without it reading goes on. Above 0.
---@field stop_at_tip? boolean Whether to end when every shard has been read to its tip.
---@field limit? integer Records after which reading ends. At least 1.
---@field batch? boolean Whether to give a list of records at a time.
---@field on_error? fun(err: kinesis.Error, shard_id: string, in_a_row: integer) Called with each failure that reading survives; without it, stderr tells of lasting ones.
---@field poll_interval? number Time between two reads of a shard at its tip, in seconds. From 0.2 to 300, default 1.
---@field window? integer Most to read ahead of the caller, in bytes; the further away the service, the more is of use. From 1 MiB to 1024 MiB, default 4 MiB.
