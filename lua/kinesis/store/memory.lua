--- A store of leases in a Lua table, for the workers of one process. It is also the shortest example of a store.
---
--- A store has these functions, which may wait; each returns a result, or nil and why it could not be had:
---
---   list() -> { [key] = row }
---   get(key) -> row | false: there is none
---   create(key, row) -> true | false: there is one
---   update(key, { counter =, owner = }, changes) -> true | false: its counter and owner are not these (nil: it has no
---     owner), or there is no such row. A change to `false` removes the field.
---   delete(key) -> true | false: there is none
---
--- Each must happen at once, or not at all: two workers that update a row with the same expectation do not both succeed.
local M = {}

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
