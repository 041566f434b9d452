--- A store of leases in a Lua table, for the workers of one process: `store = require("kinesis.store.memory").new()`.
--- It is also the shortest example of a store; kinesis.Store says what a store has to do.
local M = {}

--- Where the leases of an application are kept, for the option `store` of a worker: a table of functions over rows
--- (kinesis.LeaseRow) by key. All workers of the application must see the same rows.
---
--- - Each function returns its result; or nil and why it could not do it: then the worker tries again, with growing
---   pauses. An error that is a table with `retryable = false` ends the worker. A function that raises has failed, too.
--- - A function may wait, in the host's way (kinesis.sleep, calls of this library, of cosockets in nginx). The worker
---   calls up to 64 at a time, each in a coroutine of its own.
--- - Each change happens at once or not at all: of two workers that update a row with the same expectation, or create
---   the same one, one succeeds. A database that waits must check and change in one statement.
--- - Rows are plain data, as JSON has it: strings, numbers, booleans, and tables of these. Fields that a store does not
---   know are kept. Counters grow to 2^53, then begin at 0. A row that lacks `counter` or `checkpoint`, or has wrong
---   types, is left out, and that is reported once a minute.
--- - Leases are renewed only while the program calls the library or its host's loop runs: while user code is busy for
---   longer than `failover` they run out, and delivery stops. A worker that was left without `stop` does not release
---   them: they expire.
---@class kinesis.Store
---@field list fun(): table<string, kinesis.LeaseRow>|nil, any all rows, by key; they may be copies
---@field get fun(key: string): kinesis.LeaseRow|false|nil, any the row; false: there is none
---@field create fun(key: string, row: kinesis.LeaseRow): boolean|nil, any false: there is one, which stays as it is
---@field update fun(key: string, expected: { counter: integer, owner: string? }, changes: table): boolean|nil, any
--- sets the fields of `changes`, and removes those that are `false` there; false: there is no such row, or its counter
--- or owner are not those expected (`owner` is nil: it has none), and it stays as it is
---@field delete fun(key: string, expected: { counter: integer, owner: string? }): boolean|nil, any false: as of update

local function copy(row)
  local copied = {}
  for name, value in pairs(row) do
    copied[name] = value
  end
  return copied
end

local function is_as(row, expected)
  return row ~= nil and row.counter == expected.counter and row.owner == expected.owner
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
    if not is_as(rows[key], expected) then
      return false
    end
    apply(rows[key], changes)
    return true
  end

  function store.delete(key, expected)
    if not is_as(rows[key], expected) then
      return false
    end
    rows[key] = nil
    return true
  end

  return store
end

return M
