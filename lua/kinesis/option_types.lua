---@meta _
-- Written by spec/support/option_types.lua from the table in options.lua: change that one.

--- Options of kinesis.client and kinesis.configure.
---@class kinesis.ClientOptions
---@field region? string AWS region, such as us-east-1.
---@field endpoint? string URL to call in place of the region's own.
---@field profile? string Profile of AWS's shared files to take settings from.
---@field ca_bundle? string Path of a PEM file of the authorities to trust in place of the system's.
---@field credentials? kinesis.Keys|kinesis.Provider Keys as {access_key_id=, secret_access_key=, session_token=}, or a function that provides them.
---@field connect_timeout? number Longest time to set up a connection, in seconds. At least 0.001, default 3.
---@field request_timeout? number Longest time for one attempt of a call, in seconds. At least 0.001, default 20.
---@field call_timeout? number Longest time for a call with all its attempts, in seconds; without it as long as they take. At least 0.001.
---@field max_attempts? integer Attempts made at a call, the first one included; 3 when nothing else says more. From 1 to 100.
---@field max_connections? integer Connections, and so calls, open at the same time. From 1 to 1000, default 24.
---@field use_fips? boolean Whether to call hosts that comply with FIPS 140.
---@field use_dualstack? boolean Whether to call hosts that have IPv4 and IPv6.
---@field account_id_endpoint_mode? "preferred"|"disabled"|"required" Whether calls go to the host of the keys' account, where it is known; without it preferred.
---@field app_id? string Name of the application, for the user agent.
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

--- Options of wait_until.
---@class kinesis.WaitUntilOptions
---@field timeout? number Longest time to wait, in seconds. Above 0, default 180.
---@field interval? number Time between two looks, in seconds. At least 0.05, default 2.

--- Options of records.
---@class kinesis.RecordsOptions
---@field from? kinesis.Place|kinesis.Position Where to begin; without it at the trim horizon.
---@field idle_timeout? number Time without a record after which reading ends, in seconds; without it reading goes on. Above 0.
---@field stop_at_tip? boolean Whether to end when every shard has been read to its tip.
---@field limit? integer Records after which reading ends. At least 1.
---@field batch? boolean Whether to give a list of records at a time.
---@field on_error? fun(err: kinesis.Error, shard_id: string, in_a_row: integer) Called with each failure that reading survives; without it, stderr tells of lasting ones.
---@field poll_interval? number Time between two reads of a shard at its tip, in seconds. From 0.2 to 300, default 1.
---@field window? integer Most to read ahead of the caller, in bytes. From 1 MiB to 1024 MiB, default 16 MiB.
