-- Generates the annotations of the options, for editors, from the tables in lua/kinesis/options.
--
--   lua5.4 spec/support/option_types.lua           prints them
--   lua5.4 spec/support/option_types.lua --write   writes them to lua/kinesis/meta/option_types.lua
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
local options = require "kinesis.options"

local TARGET = "lua/kinesis/meta/option_types.lua"
local MIB = 1024 * 1024

local CLASSES = {
  { noun = "client", name = "kinesis.ClientOptions", of = "kinesis.client and kinesis.configure" },
  { noun = "put", name = "kinesis.PutOptions", of = "put" },
  { noun = "put_many", name = "kinesis.PutManyOptions", of = "put_many" },
  { noun = "producer", name = "kinesis.ProducerOptions", of = "producer" },
  { noun = "produce", name = "kinesis.ProduceOptions", of = "a producer's put and send" },
  { noun = "wait_until", name = "kinesis.WaitUntilOptions", of = "wait_until" },
  { noun = "setup", name = "kinesis.SetupOptions", of = "the setup of kinesis.openresty" },
  { noun = "records", name = "kinesis.RecordsOptions", of = "records" },
  { noun = "worker", name = "kinesis.WorkerOptions", of = "worker" },
}

local function show(value)
  if type(value) ~= "number" then
    return tostring(value)
  elseif value >= MIB and value % MIB == 0 then
    return ("%d MiB"):format(value / MIB)
  end
  return ("%.14g"):format(value)
end

-- " From 1 to 100, default 3."
local function limits(option)
  local parts = {}
  if option.min and option.max then
    parts[1] = ("from %s to %s"):format(show(option.min), show(option.max))
  elseif option.min or option.above then
    parts[1] = option.min and "at least " .. show(option.min) or "above " .. show(option.above)
  end
  if option.default ~= nil then
    parts[#parts + 1] = "default " .. show(option.default)
  end
  local text = table.concat(parts, ", ")
  return text == "" and "" or (" %s%s."):format(text:sub(1, 1):upper(), text:sub(2))
end

local function type_of(option)
  return option.shape or type(option.type) == "table" and table.concat(option.type, "|") or option.type
end

local lines = {
  "---@meta _",
  "-- Written by spec/support/option_types.lua from the tables in options/: change those.",
}
for _, class in ipairs(CLASSES) do
  lines[#lines + 1] = ("\n--- Options of %s.\n---@class %s"):format(class.of, class.name)
  for _, option in ipairs(options.describe(class.noun)) do
    lines[#lines + 1] = ("---@field %s? %s %s%s"):format(option.name, type_of(option), option.doc, limits(option))
  end
end
local text = table.concat(lines, "\n") .. "\n"

if arg[1] == "--write" then
  local file = assert(io.open(TARGET, "w"))
  file:write(text)
  file:close()
else
  io.write(text)
end
