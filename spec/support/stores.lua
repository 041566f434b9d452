--- The stores of leases, for specs of what all of them do.
local codec = require("kinesis").codec
local dynamodb = require "support.dynamodb"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local leasing = require "support.leasing"
local memory = require "kinesis.store.memory"

local function over(store)
  return function(worker)
    return leasing.open { worker = worker, store = store }
  end
end

-- A table of functions over a dictionary of strings, as ngx.shared is one.
local function of_strings()
  local texts, store = {}, {}
  function store.get(key)
    return texts[key] and codec.json_decode(texts[key]) or false
  end
  function store.list()
    local rows = {}
    for key in pairs(texts) do
      rows[key] = store.get(key)
    end
    return rows
  end
  function store.create(key, row)
    local is_new = texts[key] == nil
    texts[key] = texts[key] or codec.json_encode(row)
    return is_new
  end
  local function seen(key, expected)
    local row = store.get(key)
    return row and row.counter == expected.counter and row.owner == expected.owner and row
  end
  function store.update(key, expected, changes)
    local row = seen(key, expected)
    if not row then
      return false
    end
    for name, value in pairs(changes) do
      row[name] = value or nil
    end
    texts[key] = codec.json_encode(row)
    return true
  end
  function store.delete(key, expected)
    local was = seen(key, expected)
    texts[key] = not was and texts[key] or nil
    return was and true
  end
  return store
end

-- Its functions wait before they do something, as those of a database do.
local function that_waits()
  local store = memory.new()
  for name, f in pairs(store) do
    store[name] = function(...)
      kinesis.sleep(0.001)
      return f(...)
    end
  end
  return store
end

-- In a table of DynamoDB, whose keys are of one stream, and whose rows are complete for the Kinesis Client Library:
-- here keys are as in the other stores, and what completes a row is not shown.
local function in_dynamodb()
  local opened = dynamodb.ready(dynamodb.open(leasing.client, fresh.name "counter", { "clicks" }))
  local prefix = dynamodb.source("clicks").prefix
  local function inner(key)
    return key:sub(1, #prefix) == prefix and key or prefix .. key
  end
  local function bare(key)
    return key:find '"' and key or key:sub(#prefix + 1)
  end
  local function shown(row)
    if type(row) == "table" then
      row.owner_switches = row.owner_switches ~= 0 and row.owner_switches or nil
      for i, parent in ipairs(row.parents or {}) do
        row.parents[i] = bare(parent)
      end
    end
    return row
  end
  return function(worker)
    local options = opened:members()
    options.worker = worker
    local held, store = leasing.open(options), {}
    for _, name in ipairs { "get", "create", "update", "delete", "take", "write", "release" } do
      store[name] = function(_, key, ...)
        local result, more = held[name](held, inner(key), ...)
        return shown(result), shown(more)
      end
    end
    function store.list()
      local rows = {}
      for key, row in pairs(assert(held:list())) do
        rows[bare(key)] = shown(row)
      end
      return rows
    end
    function store.poll()
      local events = held:poll()
      for _, event in ipairs(events) do
        event[2], event[3] = bare(event[2]), shown(event[3])
      end
      return events
    end
    return setmetatable(store, { __index = held, __newindex = held })
  end
end

--- Name -> function() -> function(worker) -> the leases of a worker in a new store, the same for all of its workers.
return {
  memory = function() return over(memory.new()) end,
  file = function() return leasing.in_file end,
  dynamodb = in_dynamodb,
  ["table of functions"] = function() return over(of_strings()) end,
  ["table of functions that wait"] = function() return over(that_waits()) end,
}
