--- A store of the user's that several processes share: a JSON file. The one that has renamed the file `token` to its
--- own name may use it.
local cjson = require("cjson").new()
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"

local M = {}

local PAUSE, TIMEOUT = 0.002, 5 -- seconds

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a"
  return text and text ~= "" and cjson.decode(text) or {}, file and file:close()
end

local function write(path, rows)
  local file = assert(io.open(path .. ".new", "wb"))
  assert(file:write(next(rows) and cjson.encode(rows) or "{}"))
  assert(file:close())
  assert(os.rename(path .. ".new", path))
end

--- Makes the files of a new store.
function M.create(folder)
  os.execute(("mkdir -p '%s'"):format(folder))
  write(folder .. "/rows", {})
  assert(io.open(folder .. "/token", "wb")):close()
end

--- All rows, by key; a write of another process may be underway.
function M.rows(folder)
  return (read(folder .. "/rows"))
end

--- Gives the token back that a dead process has had.
function M.free_token(folder, name)
  os.rename(("%s/token of %s"):format(folder, name), folder .. "/token")
end

--- The store, for the process `name`.
---@return kinesis.Store
function M.open(folder, name)
  local path, token, mine = folder .. "/rows", folder .. "/token", ("%s/token of %s"):format(folder, name)
  local function with_rows(operation)
    return function(...)
      local waited = 0
      while not os.rename(token, mine) do
        if waited >= TIMEOUT then
          return nil, "another process has the token"
        end
        kinesis.sleep(PAUSE)
        waited = waited + PAUSE
      end
      local rows = memory.new()
      for key, row in pairs((read(path))) do
        rows.create(key, row)
      end
      local result = rows[operation](...)
      if operation ~= "list" and operation ~= "get" then
        write(path, rows.list())
      end
      assert(os.rename(mine, token))
      return result
    end
  end
  local store = {}
  for name_of in pairs(memory.new()) do
    store[name_of] = with_rows(name_of)
  end
  return store
end

return M
