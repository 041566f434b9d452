--- Asks a store of the user's (kinesis.Store): one operation of csrc/lease/op.h becomes calls of its functions, and
--- what they return an outcome.
local rows = require "kinesis.store.row"

local M = {}

-- What a function has returned, as an outcome.
---@param is fun(result: any): boolean whether it is what the function may return, besides false
local function outcome_of(name, is, result, problem)
  if result == nil then
    local fatal = type(problem) == "table" and problem.retryable == false
    return "failed", problem ~= nil and tostring(problem) or ("store.%s returned nothing"):format(name), fatal
  elseif result == false and name ~= "list" then
    return "refused"
  elseif not is(result) then
    return "failed", ("store.%s returned a %s"):format(name, type(result))
  end
  return "done", type(result) == "table" and result or nil
end

local function is_table(result)
  return type(result) == "table"
end

local function is_any()
  return true
end

local function get(store, key)
  local outcome, row, fatal = outcome_of("get", is_table, store.get(key))
  local problem = outcome == "done" and rows.problem(row)
  if problem then
    return "failed", ("its row is left out: %s; mend or delete it"):format(problem)
  end
  return outcome, row, fatal
end

-- Its answer is the row as it is then, also when it is refused: a refusal without a row means that the lease is lost.
local function update(store, key, owner, counter, changes)
  local expected = { counter = counter, owner = owner or nil }
  local outcome, problem, fatal = outcome_of("update", is_any, store.update(key, expected, changes))
  if outcome == "failed" then
    return outcome, problem, fatal
  end
  local seen, row, lasting = get(store, key)
  if outcome == "refused" and seen == "failed" then
    return seen, row, lasting
  end
  return outcome, seen == "done" and row or nil
end

--- Does one operation.
---@param store kinesis.Store
---@param complain fun(key: any, problem: string) of a row that is left out
---@return "done"|"refused"|"failed" outcome
---@return table|string|nil value a row, or all, or why it has failed
---@return boolean|nil fatal it would fail again
function M.ask(store, complain, kind, key, owner, counter, changes)
  if kind == "list" then
    local outcome, value, fatal = outcome_of("list", is_table, store.list())
    return outcome, outcome == "done" and rows.sift(value, complain) or value, fatal
  elseif kind == "get" then
    return get(store, key)
  elseif kind == "create" then
    local outcome, problem, fatal = outcome_of("create", is_any, store.create(key, changes))
    return outcome, outcome == "failed" and problem or nil, fatal
  elseif kind == "update" then
    return update(store, key, owner, counter, changes)
  elseif kind == "delete" then
    local outcome, problem, fatal = outcome_of("delete", is_any,
      store.delete(key, { counter = counter, owner = owner or nil }))
    return outcome, outcome == "failed" and problem or nil, fatal
  end
  return "done" -- a probe: the worker may live
end

return M
