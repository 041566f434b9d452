--- The shape of a row of leases, whoever has written it: another version, the user's store, or a hand.
local M = {}

local EXACT = 2 ^ 53 -- the largest integer that a number of Lua, or of JSON, holds with all below it
local DEPTH_MAX = 16

local function is_whole(value)
  return type(value) == "number" and value >= 0 and value <= EXACT and value % 1 == 0
end

local function is_number(value)
  return type(value) == "number" and value == value and value ~= math.huge and value ~= -math.huge
end

local function is_text(value)
  return type(value) == "string"
end

local function is_texts(value)
  if type(value) ~= "table" then
    return false
  end
  for _, text in pairs(value) do
    if type(text) ~= "string" then
      return false
    end
  end
  return true
end

-- Name -> test, what it must be, whether every row has it.
local FIELDS = {
  counter = { is_whole, "an integer from 0 to 2^53", true },
  checkpoint = { is_text, "a string", true },
  owner = { is_text, "a string" }, wanted_by = { is_text, "a string" },
  sub = { is_whole, "an integer from 0 to 2^53" },
  timestamp = { is_number, "a number" }, since = { is_number, "a number" }, throughput = { is_number, "a number" },
  owner_switches = { is_number, "a number" },
  parents = { is_texts, "a list of strings" }, children = { is_texts, "a list of strings" },
  starting_hash_key = { is_text, "a string" }, ending_hash_key = { is_text, "a string" },
}

-- The null of a JSON library, which is a light userdata: the field is absent.
local function is_null(value)
  return type(value) == "userdata" and tostring(value):find "^userdata: [(N]" ~= nil
end

--- The counter after this one, see csrc/lease/op.h.
---@param counter integer
---@return integer
function M.next_counter(counter)
  return counter < EXACT and counter + 1 or 0
end

local value_problem

-- Keys are strings, or those of a list without holes.
local function table_problem(value, depth)
  local texts, numbers, most = 0, 0, 0
  for name, member in pairs(value) do
    local problem = value_problem(member, depth + 1)
    if problem then
      return problem
    elseif type(name) == "string" then
      texts = texts + 1
    else
      numbers, most = numbers + 1, is_whole(name) and math.max(most, name) or math.huge
    end
  end
  return numbers > 0 and (texts > 0 or most ~= numbers) and "a table that is neither an object nor a list" or nil
end

-- What JSON cannot hold.
function value_problem(value, depth)
  local kind = type(value)
  if kind == "table" then
    return depth > DEPTH_MAX and "tables that hold themselves, or are nested too deeply" or table_problem(value, depth)
  elseif kind == "number" then
    return not is_number(value) and "a number that is infinite or none" or nil
  elseif kind ~= "string" and kind ~= "boolean" and not is_null(value) then
    return "a " .. kind
  end
end

--- What is wrong with a row; nil: nothing.
---@param row any
---@return string|nil problem
function M.problem(row)
  if type(row) ~= "table" then
    return ("it is a %s, not a table of fields"):format(type(row))
  end
  for name, rule in pairs(FIELDS) do
    local value = row[name]
    if is_null(value) then
      value = nil
    end
    if value == nil and rule[3] then
      return ("it has no `%s`"):format(name)
    elseif value ~= nil and not rule[1](value) then
      return ("its `%s` is not %s"):format(name, rule[2])
    end
  end
  for name, value in pairs(row) do
    local problem = type(name) ~= "string" and "a key that is no string" or value_problem(value, 1)
    if problem then
      return ("it holds %s"):format(problem)
    end
  end
end

-- A row in the place of one that is not in order: it is never taken, because it waits for itself as a parent, and its
-- children wait for it.
local function stand_in(key)
  return { counter = 0, checkpoint = "TRIM_HORIZON", parents = { key }, unreadable = true }
end

--- What is written for a row that is made again after it was deleted: that of a stand-in begins anew.
---@param row kinesis.LeaseRow
---@return kinesis.LeaseRow
function M.to_create(row)
  return row.unreadable and { counter = row.counter, checkpoint = row.checkpoint } or row
end

--- The rows that are in order, and stand-ins for those that are not.
---@param rows table<any, any> by key
---@param complain fun(key: any, problem: string)
---@return table<string, kinesis.LeaseRow>
function M.sift(rows, complain)
  local good = {}
  for key, row in pairs(rows) do
    local problem = type(key) ~= "string" and "its key is no string" or M.problem(row)
    if problem then
      complain(key, problem)
    end
    if type(key) == "string" then
      good[key] = problem and stand_in(key) or row
    end
  end
  return good
end

return M
