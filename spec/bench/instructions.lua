-- Instructions a record, counted by callgrind, of the paths that read and build bodies. Unlike times they are the
-- same on every day and every machine of one kind. The functions are met in a run of codec.lua.
--
--   lua5.4 spec/bench/instructions.lua
local RECORDS = 10000

local PATHS = {
  { name = "a PutRecords entry built", workload = "build", inside = "kin_put_records_add" },
  { name = "a PutRecords result read", workload = "results", inside = "kin_put_records_read" },
  { name = "a GetRecords record read", workload = "page", inside = "kin_get_records_read" },
  { name = "a record as a Lua table", workload = "page", inside = "kin_lua_record_push" },
}

local function count(path, size)
  local command = ("valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect=%s "
    .. "lua5.4 spec/bench/codec.lua %s %d %d 2>&1"):format(path.inside, path.workload, RECORDS, size)
  local pipe = assert(io.popen(command))
  local said = pipe:read "a"
  pipe:close()
  return tonumber(said:match "Collected : (%d+)" or error(said, 0)) / RECORDS
end

print(("%-26s %9s %9s"):format("instructions", "100 B", "1 KiB"))
for _, path in ipairs(PATHS) do
  print(("%-26s %9.0f %9.0f"):format(path.name, count(path, 100), count(path, 1024)))
end
