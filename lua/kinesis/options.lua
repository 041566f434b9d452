-- Every option of the library: one table with their checks, defaults and descriptions.

local fields = require "kinesis.fields"
local iso8601 = require "kinesis.util.iso8601"
local suggest = require "kinesis.util.suggest"

local M = {}

local MIB = 1024 * 1024
local LARGEST_INTEGER = 9007199254740992 -- 2^53: the largest exact integer of LuaJIT and 5.1

--- One row of the table below, from which meta/option_types.lua is generated.
---@class kinesis.option
---@field name string
---@field type string|string[] "string", "number", "integer", "boolean", "function", "table"
---@field doc string
---@field default any
---@field min number|nil
---@field max number|nil
---@field above number|nil a bound that the value must exceed
---@field filled boolean|nil whether the string must be non-empty and without NUL
---@field check (fun(value: any): string|nil)|nil returns what is wrong with a value of the right type
---@field shape string|nil the type for editors, where `type` is too general

local function type_name(value)
  local name = type(value)
  return name == "nil" and "nothing" or name
end

--- Credentials for signing requests.
---@class kinesis.Credentials
---@field access_key_id string
---@field secret_access_key string never shown in messages
---@field session_token? string only temporary credentials have one
---@field account_id? string the account of the credentials: calls go to its own host

--- Credentials that a function provides.
---@class kinesis.ProvidedCredentials : kinesis.Credentials
---@field expiration? number seconds since 1970; absent: they do not expire

--- Called when credentials are first needed, again 15 minutes before they expire, and when the service refuses them.
--- When it returns nil, `why` is the message of the error `NoCredentials` of the waiting calls. Producers and readers
--- wait instead; for them it is called every 30 seconds.
---@alias kinesis.Provider fun(): credentials: kinesis.ProvidedCredentials|nil, why: string|nil

-- The members of a table of credentials.
local MEMBERS = { "access_key_id", "secret_access_key", "session_token", "account_id" }
local IS_NEEDED = { access_key_id = true, secret_access_key = true, session_token = false, account_id = false }

-- Messages never quote values: a secret may be under a wrong name.
local function check_credentials(value)
  if type(value) == "function" then
    return nil
  end
  for member in pairs(value) do
    if IS_NEEDED[member] == nil then
      return ("has the unknown member '%s'; known are %s"):format(tostring(member), table.concat(MEMBERS, ", "))
    end
  end
  for _, member in ipairs(MEMBERS) do
    local text = value[member]
    if text ~= nil or IS_NEEDED[member] then
      if type(text) ~= "string" then
        return ("must have a string as its %s, got %s"):format(member, type_name(text))
      elseif text == "" then
        return ("must not have an empty %s"):format(member)
      elseif text:find("[\r\n]") or text:find("\0", 1, true) then
        return ("must not have a line break or NUL in its %s"):format(member)
      end
    end
  end
end

--- A start position in a shard, after the types of GetShardIterator.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html
---@alias kinesis.StartPosition
---| "trim_horizon" # the oldest record that the stream still has
---| "latest" # after the newest record
---| { timestamp: number } # the first record that arrived at this time or later; seconds since 1970
---| { at: string } # at the record with this sequence number
---| { after: string, sub?: integer } # after this record; with `sub`: after its aggregated record of that index, from 0

--- The position of a reader in all shards: what `reader:position()` returns. Plain data, which may be stored.
---@class kinesis.Position
---@field shards table<string, kinesis.StartPosition|"shard_end"> by shard id; "shard_end": read completely
---@field default? kinesis.StartPosition the start position of shards that are not in `shards`; absent: "trim_horizon"
---@field stream? string the stream's name; a position of another stream is an error; absent: not checked

local MODES = { preferred = true, disabled = true, required = true }

local function check_mode(value)
  return not MODES[value] and "must be 'preferred', 'disabled' or 'required'" or nil
end

local function check_when_full(value)
  return value ~= "wait" and value ~= "refuse" and "must be 'wait' or 'refuse'" or nil
end

local function check_event_loop(value)
  return value ~= "none" and value ~= "luv" and value ~= "openresty" and "must be 'none', 'luv' or 'openresty'" or nil
end

local function check_order(value)
  return value ~= "shard" and "must be 'shard'" or nil
end

local FORMS = [[known forms: "trim_horizon", "latest", {timestamp=seconds}, {at=sequence_number}, ]]
  .. [[{after=sequence_number, sub=n}, {shards={[shard_id]=form or "shard_end"}, default=form, stream=name}]]

local function is_finite(value)
  return type(value) == "number" and value == value and value ~= math.huge and value ~= -math.huge
end

local function is_integer(value)
  return is_finite(value) and value % 1 == 0 and value >= -LARGEST_INTEGER and value <= LARGEST_INTEGER
end

-- Decimal, without leading zeros, and no longer than those of the service.
local function is_sequence_number(value)
  return type(value) == "string" and #value <= 129 and (value == "0" or value:find("^[1-9]%d*$") ~= nil)
end

local function stray_member(value, first, second, third)
  for member in pairs(value) do
    if member ~= first and member ~= second and member ~= third then
      return ("has the unexpected member '%s'"):format(tostring(member))
    end
  end
end

local function sequence_problem(value, member)
  if not is_sequence_number(value[member]) then
    local got = value[member]
    return ("has as `%s` no sequence number, which is a string of decimal digits, got %s"):format(
      member, type(got) == "string" and "another string" or type_name(got))
  end
end

-- What is wrong with a start position in one shard.
local function place_problem(value)
  if value == "trim_horizon" or value == "latest" then
    return nil
  elseif type(value) == "string" then
    if value:find "^%s*{" then
      return "is JSON text; decode it first"
    end
    local near = suggest.of(value, { "trim_horizon", "latest" })
    return ("is the unknown '%s'%s"):format(value, near and (" (did you mean '%s'?)"):format(near) or "")
  elseif type(value) ~= "table" then
    return "is a " .. type_name(value)
  elseif value.timestamp ~= nil then
    if not is_finite(value.timestamp) or value.timestamp < 0 then
      return "has as `timestamp` no number of seconds from 0 up"
    elseif iso8601.is_too_late(value.timestamp) then
      return "has as `timestamp` a time beyond the year 9999: seconds since 1970, not milliseconds"
    end
    return stray_member(value, "timestamp")
  elseif value.at ~= nil then
    return sequence_problem(value, "at") or stray_member(value, "at")
  elseif value.after ~= nil then
    if value.sub ~= nil and not (is_integer(value.sub) and value.sub >= 0) then
      return "has as `sub` no integer from 0 up"
    end
    return sequence_problem(value, "after") or stray_member(value, "after", "sub")
  end
  return "is a table of another form"
end

local function position_problem(value)
  if type(value) ~= "table" or value.shards == nil then
    return place_problem(value)
  elseif type(value.shards) ~= "table" then
    return "has as `shards` no table, but a " .. type_name(value.shards)
  elseif value.stream ~= nil and (type(value.stream) ~= "string" or value.stream == "") then
    return "has as `stream` no name of a stream"
  end
  for id, place in pairs(value.shards) do
    if type(id) ~= "string" or id == "" or #id > 128 then
      return "has in `shards` a key that is no shard id"
    end
    local problem = place ~= "shard_end" and place_problem(place)
    if problem then
      return ("in shards['%s'] %s"):format(id, problem)
    end
  end
  local problem = value.default ~= nil and place_problem(value.default)
  return problem and "in `default` " .. problem or stray_member(value, "shards", "default", "stream")
end

local function check_from(value)
  local problem = position_problem(value)
  return problem and problem .. "; " .. FORMS
end

---@type table<string, kinesis.option[]>
local OPTIONS = {
  client = {
    { name = "region", type = "string", filled = true, doc = "AWS region, such as us-east-1." },
    { name = "endpoint", type = "string", filled = true, doc = "URL to call instead of the region's endpoint." },
    { name = "profile", type = "string", filled = true, doc = "Profile of the shared AWS files to use." },
    { name = "ca_bundle", type = "string", filled = true,
      doc = "Path of a PEM file with the authorities to trust instead of the system's." },
    { name = "credentials", type = { "table", "function" }, check = check_credentials,
      shape = "kinesis.Credentials|kinesis.Provider",
      doc = "Credentials as {access_key_id=, secret_access_key=, session_token=}, or a function that returns them." },
    { name = "connect_timeout", type = "number", default = 3, min = 0.001,
      doc = "Longest time to set up a connection, in seconds." },
    { name = "request_timeout", type = "number", default = 20, min = 0.001,
      doc = "Longest time for one attempt of a call, in seconds." },
    { name = "call_timeout", type = "number", min = 0.001,
      doc = "Longest time for a call with all its attempts, in seconds; no limit by default." },
    { name = "max_attempts", type = "integer", min = 1, max = 100,
      doc = "Most attempts of a call, the first one included; by default AWS_MAX_ATTEMPTS, the profile, or 3." },
    { name = "max_connections", type = "integer", default = 24, min = 1, max = 1000,
      doc = "Most open connections; each carries one request at a time." },
    { name = "use_fips", type = "boolean",
      doc = "Whether to call endpoints that comply with FIPS 140; by default not." },
    { name = "use_dualstack", type = "boolean",
      doc = "Whether to call endpoints that have IPv4 and IPv6; by default not." },
    { name = "account_id_endpoint_mode", type = "string", check = check_mode,
      shape = '"preferred"|"disabled"|"required"',
      doc = "Whether calls go to the endpoint of the account. 'preferred' (the default): when the account is known; "
        .. "'required': a call fails when it is not known; 'disabled': never." },
    { name = "app_id", type = "string", filled = true, doc = "Name of the application, for the user agent." },
    { name = "event_loop", type = "string", check = check_event_loop, shape = '"none"|"luv"|"openresty"',
      doc = "How calls wait; detected by default. 'openresty': in nginx; 'luv': in the loop of luv, when luv is loaded "
        .. "and a coroutine waits; 'none': the call blocks the process." },
    { name = "on_request", type = "function", shape = "fun(event: kinesis.Event)",
      doc = "Called for each request that was sent; in a script, during a call of the library." },
    { name = "on_response", type = "function", shape = "fun(event: kinesis.Event)",
      doc = "Called for each answer and for each failed attempt; when: see on_request." },
    { name = "on_retry", type = "function", shape = "fun(event: kinesis.Event)",
      doc = "Called when a call will be retried; when: see on_request." },
  },
  put = {
    { name = "explicit_hash_key", type = "string",
      doc = "Hash key that selects the shard, instead of the hash of the partition key; a decimal string." },
    { name = "sequence_number_for_ordering", type = "string",
      doc = "The sequence number of the record will be greater than this one; a decimal string." },
  },
  put_many = {
    { name = "parallel", type = "integer", default = 1, min = 1, max = 100,
      doc = "Most calls in flight at the same time; with more than 1, the records of different calls are stored in "
        .. "any order." },
  },
  producer = {
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
  },
  produce = {
    { name = "explicit_hash_key", type = "string",
      doc = "Hash key that selects the shard, instead of the hash of the partition key; a decimal string." },
  },
  shards = {},
  wait_until = {
    { name = "timeout", type = "number", default = 180, above = 0, doc = "Longest time to wait, in seconds." },
    { name = "interval", type = "number", default = 2, min = 0.05, doc = "Time between two requests, in seconds." },
  },
  setup = {
    { name = "client", type = "table", shape = "kinesis.ClientOptions", doc = "Options of the worker's client." },
    { name = "producers", type = "table", shape = "table<string, kinesis.ProducerOptions>",
      doc = "Options of the producers to create in setup, by the name or ARN of the stream." },
    { name = "metrics", type = "string", filled = true,
      doc = "Name of the `lua_shared_dict` in which workers store their counters for `metrics`." },
  },
  records = {
    { name = "from", type = { "string", "table" }, check = check_from, shape = "kinesis.StartPosition|kinesis.Position",
      doc = [[Where to begin: "trim_horizon" (the default), "latest", {timestamp=seconds}, {at=sequence_number}, ]]
        .. "{after=sequence_number, sub=n}, or what position() returned." },
    { name = "idle_timeout", type = "number", above = 0,
      doc = "Time without a record after which reading ends, in seconds; no limit by default. It does not run while a "
        .. "shard is behind; if shards fail for so long, the last error is raised." },
    { name = "stop_at_tip", type = "boolean",
      doc = "Whether reading ends when every shard has been read to its tip, its newest record; by default not." },
    { name = "limit", type = "integer", min = 1,
      doc = "Number of records after which reading ends; no limit by default." },
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
    { name = "on_error", type = "function", shape = "fun(err: kinesis.Error, shard_id: string, in_a_row: integer)",
      doc = "Called with each failure that is retried, and when a trimmed shard is passed over; by default stderr "
        .. "reports the former from the third in a row on, and the latter." },
    { name = "poll_interval", type = "number", default = 1, min = 0.2, max = 300,
      doc = "Time between two reads of a shard at its tip, in seconds." },
    -- a larger window exceeds the processor's caches: at 16 MiB a record of 1 KiB takes a third more time
    { name = "window", type = "integer", default = 4 * MIB, min = MIB, max = 1024 * MIB,
      doc = "Most bytes to read ahead of the caller; more helps when the service is far away." },
  },
}

local ARTICLE = { integer = "an integer" }

local function wanted_types(option)
  local words = {}
  for i, name in ipairs(type(option.type) == "table" and option.type or { option.type }) do
    words[i] = ARTICLE[name] or "a " .. name
  end
  return table.concat(words, " or ")
end

local function is_of_type(value, option)
  for _, name in ipairs(type(option.type) == "table" and option.type or { option.type }) do
    if name == type(value) or name == "integer" and is_integer(value) then
      return true
    end
  end
  return false
end

local function show_number(value)
  if value ~= value then
    return "NaN"
  elseif value == math.huge or value == -math.huge then
    return value > 0 and "infinity" or "-infinity"
  end
  return ("%.14g"):format(value)
end

local function bounds_of(option)
  if option.above then
    return "above " .. show_number(option.above)
  elseif option.min and option.max then
    return ("from %s to %s"):format(show_number(option.min), show_number(option.max))
  end
  return option.min and "of at least " .. show_number(option.min)
end

local function value_problem(option, value)
  if not is_of_type(value, option) then
    local got = type(value) == "number" and show_number(value) or "a " .. type(value)
    return ("must be %s, got %s"):format(wanted_types(option), got)
  elseif type(value) == "number" then
    local beyond = option.above and value <= option.above or option.min and value < option.min
      or option.max and value > option.max
    if not is_finite(value) or beyond then
      return ("must be %s %s, got %s"):format(wanted_types(option), bounds_of(option) or "", show_number(value))
    end
  elseif option.filled and value == "" then
    return "must not be empty"
  elseif option.filled and value:find("\0", 1, true) then
    return "must not hold a NUL"
  end
  return option.check and option.check(value)
end

local function unknown_problem(noun, name)
  local known = OPTIONS[noun]
  if #known == 0 then
    return ("unknown option '%s': %s takes none"):format(tostring(name), noun)
  elseif type(name) ~= "string" then
    return ("options of %s have names, got a %s as a key"):format(noun, type(name))
  end
  local names = {}
  for i, option in ipairs(known) do
    names[i] = option.name
  end
  local near = suggest.of(name, names)
  local hint = near and ("did you mean '%s'?"):format(near) or "known are " .. table.concat(names, ", ")
  return ("unknown option '%s' of %s; %s"):format(name, noun, hint)
end

local function find_unknown(noun, options)
  local known = {}
  for _, option in ipairs(OPTIONS[noun]) do
    known[option.name] = true
  end
  for name in pairs(options) do
    if not known[name] then
      return unknown_problem(noun, name)
    end
  end
end

---@return table|nil checked
---@return string|nil problem
local function read(noun, options)
  if type(options) ~= "table" then
    return nil, ("options of %s must be a table, got a %s"):format(noun, type(options))
  end
  local problem = find_unknown(noun, options)
  if problem then
    return nil, problem
  end
  local checked = {}
  for _, option in ipairs(OPTIONS[noun]) do
    local value = options[option.name]
    if value == nil then
      value = option.default
    else
      problem = value_problem(option, value)
      if problem then
        return nil, ("bad option '%s' of %s: %s"):format(option.name, noun, problem)
      end
      if option.type == "integer" and math.tointeger then
        value = math.tointeger(value) -- 16 * 2^20 is a float on 5.4
      end
    end
    checked[option.name] = value
  end
  return checked
end

---Checks options and fills in defaults; raises the first error. Do not call it as `return schema.check(…)`: a tail call
---loses the caller's frame, and the error gets a wrong line.
---@param noun "client"|"put"|"put_many"|"producer"|"produce"|"shards"|"records"|"wait_until"|"setup"
---@param options table|nil
---@param level integer|nil the level of the raised error, as for `error`: 1 is the function that calls `check`, 2 (the
---default) its caller, which for a public function is the user
---@return table checked a new table
function M.check(noun, options, level)
  local checked, problem = read(noun, options == nil and {} or options)
  if not checked then
    error(problem, (level or 2) + 1)
  end
  return checked
end

---Checks a start position; raises an error with the known forms.
---@param value any
---@param level integer|nil as for `check`
---@return true
function M.from(value, level)
  local problem = check_from(value)
  if problem then
    error("bad `from`: it " .. problem, (level or 2) + 1)
  end
  return true
end

---The functions that have options, in alphabetical order.
---@return string[]
function M.nouns()
  local list = {}
  for noun in pairs(OPTIONS) do
    list[#list + 1] = noun
  end
  table.sort(list)
  return list
end

---The options of a noun in the order of the documentation.
---@param noun string
---@return kinesis.option[]
function M.describe(noun)
  local list = {}
  for i, option in ipairs(OPTIONS[noun]) do
    local copy = {}
    for key, value in pairs(option) do
      copy[key] = value
    end
    list[i] = copy
  end
  return list
end

return M
