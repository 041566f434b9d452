-- Options and their checks. The options of a client, a producer and a reader have a module each.

local check_from = require "kinesis.options.positions"
local suggest = require "kinesis.util.suggest"
local types = require "kinesis.util.types"

local M = {}

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

---@type table<string, kinesis.option[]>
local OPTIONS = {
  client = require "kinesis.options.client",
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
  producer = require "kinesis.options.producer",
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
    { name = "workers", type = "table", shape = "kinesis.SetupWorker[]",
      doc = "Workers to run, in each nginx worker one of each." },
    { name = "metrics", type = "string", filled = true,
      doc = "Name of the `lua_shared_dict` in which workers store their counters for `metrics`." },
  },
  records = require "kinesis.options.records",
  worker = require "kinesis.options.worker",
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
    if name == type(value) or name == "integer" and types.is_integer(value) then
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
    if not types.is_finite(value) or beyond then
      return ("must be %s %s, got %s"):format(wanted_types(option), bounds_of(option) or "", show_number(value))
    end
  elseif option.filled and value == "" then
    return "must not be empty"
  elseif option.filled and type(value) == "string" and value:find("\0", 1, true) then
    return "must not hold a NUL"
  end
  return option.check and option.check(value)
end

-- The options of a reader that a worker does not take.
local UNTIL_STOPPED = "a worker reads until it is stopped"
local INSTEAD = { worker = { limit = UNTIL_STOPPED, stop_at_tip = UNTIL_STOPPED, until_timestamp = UNTIL_STOPPED,
  idle_timeout = UNTIL_STOPPED, last = "did you mean 'from'?", on_shard_start = "did you mean 'on_lease_taken'?",
  kcl3 = "set store = {dynamodb = {kcl3 = …}}", table = "set store = {dynamodb = {table = …}}" } }

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
  local instead = INSTEAD[noun] and INSTEAD[noun][name]
  local near = not instead and suggest.of(name, names)
  local hint = instead or near and ("did you mean '%s'?"):format(near) or "known are " .. table.concat(names, ", ")
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
