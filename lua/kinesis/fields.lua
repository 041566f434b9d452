-- Which fields of a record a reader returns: the checks of the options `fields`, `values` and `batch`.
local suggest = require "kinesis.util.suggest"

local M = {}

local NAMES = {
  "data", "partition_key", "sequence_number", "shard_id", "arrival_timestamp", "encryption_type", "explicit_hash_key",
  "sub_sequence_number",
}
-- Fields that a record may lack.
local OPTIONAL = { partition_key = true, encryption_type = true, explicit_hash_key = true, sub_sequence_number = true }

local KNOWN = {}
for _, name in ipairs(NAMES) do
  KNOWN[name] = true
end

--- Checks a list of fields.
---@param list table
---@return string|nil problem
function M.check(list)
  local seen, count = {}, 0
  for _ in pairs(list) do
    count = count + 1
  end
  if count == 0 or count ~= #list then
    return "must be a list of fields, such as { \"data\" }"
  end
  for _, name in ipairs(list) do
    if not KNOWN[name] then
      local near = type(name) == "string" and suggest.of(name, NAMES)
      return ("has the unknown field '%s'; %s"):format(tostring(name),
        near and ("did you mean '%s'?"):format(near) or "known are " .. table.concat(NAMES, ", "))
    elseif seen[name] then
      return ("has the field '%s' twice"):format(name)
    end
    seen[name] = true
  end
end

--- Checks a list of fields whose first is never absent: a `for` loop ends at a nil.
---@param list table
---@return string|nil problem
function M.check_values(list)
  local problem = M.check(list)
  if not problem and OPTIONAL[list[1]] then
    return ("must not begin with '%s', which a record may lack: a `for` loop would end there"):format(list[1])
  end
  return problem
end

---@param value boolean|string
---@return string|nil problem
function M.check_batch(value)
  return type(value) == "string" and value ~= "columns" and ("must be a boolean or 'columns', got '%s'"):format(value)
    or nil
end

--- Checks that the options of a reader agree.
---@param checked kinesis.RecordsOptions|kinesis.WorkerOptions
---@param call? string the function that takes them; absent: "records"
---@return string|nil problem
function M.check_together(checked, call)
  call = call or "records"
  for _, other in ipairs { "fields", "batch" } do
    if checked.values and checked[other] then
      return ("%s: the options 'values' and '%s' exclude each other"):format(call, other)
    end
  end
  if checked.drop_misplaced and not checked.deaggregate then
    return call .. ": 'drop_misplaced' drops records of aggregates, which 'deaggregate = false' leaves whole"
  end
end

return M
