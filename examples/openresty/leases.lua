-- A store of leases in a dictionary of nginx (lua_shared_dict), for the option `store` of a worker:
--
--   lua_shared_dict leases 1m;      store = require "leases" (ngx.shared.leases)
--
-- The nginx workers of one machine share it, and it outlives reloads. It is empty after nginx was stopped: then an
-- application begins again at its `from`. A dictionary holds the leases of one application; a lease is its row as JSON.
local cjson = require "cjson"

local LOCK_FOR = 5 -- seconds, when the nginx worker that holds a lock is killed

return function(dict)
  -- Changes a row while no other nginx worker does: change(row) returns the result, and the row to store or to delete.
  local function with_lock(key, change)
    while not dict:add("lock " .. key, true, LOCK_FOR) do
      ngx.sleep(0.001)
    end
    local text = dict:get(key)
    local result, row = change(text and cjson.decode(text))
    local good, err = true, nil
    if row then
      good, err = dict:safe_set(key, cjson.encode(row)) -- fails when the dictionary is full; `set` would drop a lease
    elseif row == false then
      dict:delete(key)
    end
    dict:delete("lock " .. key)
    if not good then
      return nil, err
    end
    return result
  end

  local function apply(row, changes)
    for name, value in pairs(changes) do
      row[name] = value ~= false and value or nil
    end
    return row
  end

  local function is_as(row, expected)
    return row and row.counter == expected.counter and row.owner == expected.owner
  end

  local store = {}

  function store.get(key)
    local text = dict:get(key)
    return text and cjson.decode(text) or false
  end

  function store.list()
    local rows = {}
    for _, key in ipairs(dict:get_keys(0)) do
      rows[key] = not key:find "^lock " and store.get(key) or nil
    end
    return rows
  end

  function store.create(key, row)
    return with_lock(key, function(there)
      if there then return false end
      return true, apply({}, row)
    end)
  end

  function store.update(key, expected, changes)
    return with_lock(key, function(row)
      if not is_as(row, expected) then return false end
      return true, apply(row, changes)
    end)
  end

  function store.delete(key, expected)
    return with_lock(key, function(row)
      if not is_as(row, expected) then return false end
      return true, false
    end)
  end

  return store
end
