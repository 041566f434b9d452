--- The table of leases in DynamoDB: where it is, and whether it is one. It is made when it is missing. Its rows are
--- read and written by the core (csrc/lease/dynamo_store), as the Kinesis Client Library (KCL) has them.
local endpoint = require "kinesis.endpoint"
local endpoints = require "kinesis.endpoint.cache"
local errors = require "kinesis.errors"
local response = require "kinesis.response"

local M = {}

local KEY = "leaseKey"
local METRICS = "WORKER_METRIC_STATS"
local ATTEMPTS = 4 -- the SDKs' default for DynamoDB

---@class kinesis.store.Table
---@field client kinesis.Client
---@field application string
---@field name string
---@field region string
---@field url string
---@field target userdata for the core
---@field streams {prefix: string, name: string}[] for the core: of the keys of leases here, and in the table
---@field attempts integer|nil of a call; nil: the client's
---@field kcl3 boolean its worker may be among KCL 3 workers whose leader assigns the leases
---@field was_deleted? boolean it is known to be gone
---@field version? string with `kcl3`: what the row Migration3.0 says about that
local Table = {}
Table.__index = Table

-- The options of the store.
local function given_of(store)
  return type(store) == "table" and store.dynamodb or {}
end

--- What is wrong with the name of the table; nil: nothing, or the leases are not in DynamoDB.
---@param application string
---@param store any the option
---@return string|nil problem
function M.check(application, store)
  local name = given_of(store).table or application
  local is_here = store == "dynamodb" or type(store) == "table" and store.dynamodb
  if is_here and (#name < 3 or #name > 255 or name:find "[^A-Za-z0-9_.-]") then
    return ("a table of DynamoDB cannot have the name '%s': it must have 3 to 255 letters, digits, '_', '.' and '-'; "
      .. "the table is named as the application; the option store = {dynamodb = {table = …}} gives it another name")
      :format(name)
  end
end

-- ---- where it is ----

local function configured(client, given)
  if given.endpoint then
    return given.endpoint, "the option `store`"
  end
  local found = client.settings.dynamodb
  return found.endpoint, found.origin, found.problem
end

--- The URL of DynamoDB for a client, and where that is from. That only Kinesis has an endpoint of its own is refused:
--- leases of a test must not reach a real account.
---@param client kinesis.Client
---@param given { region?: string, endpoint?: string }
---@return string|nil url
---@return kinesis.Error|string origin
function M.url(client, given)
  local found = client.settings
  local place, origin, problem = configured(client, given)
  if not problem and not place and found.configured then
    problem = ("Kinesis is at %s (%s), but DynamoDB has no endpoint of its own, so that the leases would be in AWS: "
      .. "set %sthe option store = {dynamodb = {endpoint = …}}"):format(found.endpoint, found.origins.endpoint,
      found.dynamodb.ignored and "" or rawget(_G, "ngx") and "AWS_ENDPOINT_URL_DYNAMODB, which needs an `env` line in "
      .. "nginx.conf, or " or "AWS_ENDPOINT_URL_DYNAMODB, or ")
  end
  local url
  if not problem then
    url, problem = endpoint.resolve { service = "dynamodb", region = given.region or found.region, endpoint = place,
      use_fips = found.use_fips, use_dualstack = found.use_dualstack }
    problem = problem and ("bad endpoint of DynamoDB from %s: %s"):format(origin or "rules", problem)
  end
  if problem then
    return nil, errors.new("BadConfig", problem)
  end
  return url, origin or "rules"
end

-- ---- the names of streams ----

-- ACCOUNT:STREAM:CREATION, by which the KCL tells the streams of an application that reads several.
local function identify(client, source)
  local member = source.stream:find "^arn:" and "StreamARN" or "StreamName"
  local answer, err = client:call("DescribeStreamSummary", { [member] = source.stream })
  if not answer then
    return nil, err
  end
  local summary = answer.StreamDescriptionSummary
  local account = summary.StreamARN:match "^arn:[^:]*:[^:]*:[^:]*:([^:]+):"
  return ("%s:%s:%.0f"):format(account, source.name, math.floor(summary.StreamCreationTimestamp))
end

local function name_streams(client, sources)
  local streams = {}
  for i, source in ipairs(sources) do
    local name, err = "", nil
    if sources[2] then
      name, err = identify(client, source)
    end
    if not name then
      return nil, err
    end
    streams[i] = { prefix = source.prefix, name = name }
  end
  return streams
end

--- The table of an application. Nothing is asked of DynamoDB yet.
---@param client kinesis.Client
---@param sources kinesis.worker.Source[] the worker's streams
---@param application string the name of the table, if the option has none
---@param store "dynamodb"|{ dynamodb: table } the option
---@return kinesis.store.Table|nil table
---@return kinesis.Error? err
function M.open(client, sources, application, store)
  local given = given_of(store)
  local url, err = M.url(client, given)
  if not url then
    return nil, err
  end
  local streams
  streams, err = name_streams(client, sources)
  if not streams then
    return nil, err
  end
  local region = given.region or client.settings.region
  local place, host, path = endpoints.split(url)
  local target, closed = client.core:target(place, host, path, nil, false, "dynamodb", region)
  if not target then
    return nil, closed
  end
  return setmetatable({ client = client, application = application, name = given.table or application,
    region = region, url = url, target = target, streams = streams, kcl3 = given.kcl3 or false,
    attempts = client.settings.origins.max_attempts == "default" and ATTEMPTS or nil }, Table)
end

-- ---- whether it is one ----

local function call(self, operation, params)
  local body = assert(response.write(params))
  local ticket, problem = self.client.core:call(operation, body, self.target, self.attempts)
  if not ticket then
    return nil, problem
  end
  local text, more = response.await(self.client, ticket)
  if not text then
    return nil, more
  end
  return response.read(text, operation, more)
end

-- An error that says what is missing.
local function explained(self, err, operation)
  if err.code == "AccessDeniedException" then
    err.message = ("%s; the worker needs dynamodb:%s on the table %s%s"):format(err.message, operation, self.name,
      operation == "CreateTable" and (", or that table with the key %s (S)"):format(KEY) or "")
  end
  return err
end

local function refusal(self, format, ...)
  return errors.new("LeaseStore", ("the table %s at %s %s"):format(self.name, self.url, format:format(...)))
end

-- An error of this module that waiting may mend.
local function passing(code, format, ...)
  local err = errors.new(code, format:format(...))
  err.retryable = true
  return err
end

local function create(self)
  local made, err = call(self, "CreateTable", {
    TableName = self.name, BillingMode = "PAY_PER_REQUEST",
    AttributeDefinitions = { { AttributeName = KEY, AttributeType = "S" } },
    KeySchema = { { AttributeName = KEY, KeyType = "HASH" } },
  })
  if made or err.code == "ResourceInUseException" then -- another worker makes it
    return false
  end
  return nil, explained(self, err, "CreateTable")
end

-- The key of a table in words: "id (N), at (S)".
local function key_of(about)
  local types, words = {}, {}
  for _, attribute in ipairs(about.AttributeDefinitions) do
    types[attribute.AttributeName] = attribute.AttributeType
  end
  for i, part in ipairs(about.KeySchema) do
    words[i] = ("%s (%s)"):format(part.AttributeName, tostring(types[part.AttributeName]))
  end
  return table.concat(words, ", ")
end

local KCL_KEYS = { ["key (S)"] = " (it is where KCL 3 keeps its coordinator's state)",
  ["wid (S)"] = " (it is where KCL 3 keeps the metrics of its workers)" }

local function check_key(self, about)
  local key = key_of(about)
  if key ~= KEY .. " (S)" then
    return refusal(self, "is no table of leases: its key is %s, not %s (S)%s; set another name by the option store = "
      .. "{dynamodb = {table = …}}, or take another name for the application", key, KEY, KCL_KEYS[key] or "")
  end
end

-- An attribute of a row that is no lease; nil: there is none.
local function read_text(self, name, key, row, attribute)
  local answer, err = call(self, "GetItem", { TableName = name, Key = { [key] = { S = row } } })
  if answer then
    local value = answer.Item and answer.Item[attribute]
    return value and value.S
  elseif name ~= self.name and not err.retryable then
    return nil -- there is none, or this worker may not know
  end
  return nil, explained(self, err, "GetItem")
end

local LED = "is that of KCL 3 workers, whose leader alone assigns leases (Migration3.0 in %s says %s): take part by "
  .. "store = {dynamodb = {kcl3 = true}}, end them and delete the row Migration3.0, or take another name for the "
  .. "application"
local LED_BEFORE_3_5 = "is that of KCL 3 workers before 3.5 (Migration3.0 in %s says %s), whose rows of metrics are in "
  .. "a table of their own: `kcl3` is for 3.5 and later; let all of them run 3.5, or take another name for the "
  .. "application"

-- KCL 3 keeps its state in this table or, before 3.5, in tables of its own, which are named by the application.
local function check_version(self)
  local err = self:read_version()
  local place, version = self.name, self.version
  if err or self.kcl3 and version then
    return err
  elseif not version then
    place = self.application .. "-CoordinatorState"
    version, err = read_text(self, place, "key", "Migration3.0", "cv")
  end
  if version and version:find "_3X" then
    return refusal(self, self.kcl3 and LED_BEFORE_3_5 or LED, place, version)
  end
  return err
end

--- Reads which version of KCL 3 workers the table is for.
---@return kinesis.Error? err
function Table:read_version()
  local version, err = read_text(self, self.name, KEY, "Migration3.0", "cv")
  self.version = not err and version or self.version
  return err
end

--- What the leader of KCL 3 workers changes with each renewal of its lock; "": there is no leader.
---@return string|nil mark
---@return kinesis.Error? err
function Table:leader_mark()
  local mark, err = read_text(self, self.name, KEY, "Leader", "recordVersionNumber")
  return not err and (mark or "") or nil, err
end

--- Writes the row by which the leader of KCL 3 workers knows that a worker lives. It has no metrics: the leader then
--- assigns by the throughput of leases.
---@param worker string
---@return kinesis.Error? err
function Table:write_metrics(worker)
  local now, none = { N = ("%.0f"):format(math.floor(self.client.core:time())) }, { M = {} }
  local written, err = call(self, "UpdateItem", { TableName = self.name, Key = { [KEY] = { S = worker } },
    UpdateExpression = "SET entityType=:entity, lut=:now, slu=:now, sup=:support, opr=:none, sts=:none",
    ExpressionAttributeValues = { [":entity"] = { S = METRICS }, [":now"] = now, [":support"] = { N = "1" },
      [":none"] = none } })
  return not written and explained(self, err, "UpdateItem") or nil
end

--- Removes that row.
---@param worker string
---@return kinesis.Error? err
function Table:remove_metrics(worker)
  local removed, err = call(self, "DeleteItem", { TableName = self.name, Key = { [KEY] = { S = worker } } })
  return not removed and explained(self, err, "DeleteItem") or nil
end

local USABLE = { ACTIVE = true, UPDATING = true }
local COMING = { CREATING = true, DELETING = true }

local function is_description(about)
  return type(about) == "table" and type(about.TableStatus) == "string" and type(about.KeySchema) == "table"
    and type(about.AttributeDefinitions) == "table"
end

-- What DescribeTable says; nil and the error.
local function describe(self)
  local answer, err = call(self, "DescribeTable", { TableName = self.name })
  local about = answer and answer.Table
  if not answer or is_description(about) then
    return about, err
  end
  return nil, passing("BadAnswer", "the response is none of DynamoDB: is the endpoint %s right?", self.url)
end

--- Looks at the table, and makes it when it is missing.
---@return boolean|nil ready false: it is being made, or going; to be asked again
---@return kinesis.Error? err
function Table:prepare()
  local about, err = describe(self)
  if not about and err.code == "ResourceNotFoundException" then
    return create(self)
  elseif not about then
    return nil, explained(self, err, "DescribeTable")
  elseif COMING[about.TableStatus] then
    self.status = about.TableStatus
    return false
  elseif not USABLE[about.TableStatus] then
    return nil, refusal(self, "cannot be used: its status is %s; mend that, or set another name by the option store = "
      .. "{dynamodb = {table = …}}", about.TableStatus)
  end
  local problem = check_key(self, about) or check_version(self)
  if problem then
    return nil, problem
  end
  return true
end

--- Whether it was deleted. One answer that it is not there may be older than the table.
---@return boolean
function Table:is_gone()
  local about, err = describe(self)
  if about then
    self.was_deleted = about.TableStatus == "DELETING"
  else
    self.was_deleted = err.code == "ResourceNotFoundException"
  end
  return self.was_deleted
end

--- The members of leases.open that make the core's store of it.
---@return table members
function Table:members()
  return { table = self.name, target = self.target, streams = self.streams, kcl3 = self.kcl3 }
end

--- What is reported of a table that is not there yet.
---@param seconds number for which it was awaited
---@return kinesis.Error err
function Table:unready(seconds)
  return passing("LeaseStore", "the table %s at %s is %s still after %.0f s; the worker waits until it is ACTIVE",
    self.name, self.url, self.status or "CREATING", seconds)
end

return M
