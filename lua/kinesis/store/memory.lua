--- A store of leases in a Lua table, for the workers of one process. It is also the shortest example of a store.
---
--- kinesis.Store is what a store has to do.
local M = {}

--- Where the leases of an application are kept, for the option `store` of a worker: a table of functions, which may
--- wait. Each returns its result, or nil and why it could not be had. Each change happens at once or not at all: of two
--- workers that update a row with the same expectation, one succeeds.
---@class kinesis.Store
---@field list function () -> all rows, by key
---@field get function (key) -> its row | false: there is none
---@field create function (key, row) -> true | false: there is one
---@field update function (key, expected, changes) -> true | false: its counter and owner are not `expected.counter` and
--- `expected.owner` (nil: it has none), or there is no such row; a change to `false` removes the field
---@field delete function (key) -> true | false: there is none


local function copy(row)
  local copied = {}
  for name, value in pairs(row) do
    copied[name] = value
  end
  return copied
end

local function apply(row, changes)
  for name, value in pairs(changes) do
    row[name] = value ~= false and value or nil
  end
end

--- A new, empty store.
---@return kinesis.Store store
function M.new()
  local rows, store = {}, {}

  function store.list()
    local list = {}
    for key, row in pairs(rows) do
      list[key] = copy(row)
    end
    return list
  end

  function store.get(key)
    return rows[key] and copy(rows[key]) or false
  end

  function store.create(key, row)
    if rows[key] then
      return false
    end
    rows[key] = {}
    apply(rows[key], row)
    return true
  end

  function store.update(key, expected, changes)
    local row = rows[key]
    if not row or row.counter ~= expected.counter or row.owner ~= expected.owner then
      return false
    end
    apply(row, changes)
    return true
  end

  function store.delete(key)
    local found = rows[key] ~= nil
    rows[key] = nil
    return found
  end

  return store
end

return M
