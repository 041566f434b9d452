-- Advice for calls that cannot be: functions by the names that other libraries have for them, other spellings, a dot in
-- place of a colon.
local suggest = require "kinesis.util.suggest"

local M = {}

local READ = "SHARDS(stream):records()"
local PUT = "PUT(stream, data), or a producer's put or send"

-- By the name that is typed. An upper-case word stands for the function with what it is called on.
local INSTEAD = {
  record = READ, records = READ, get = READ, get_record = READ, read = READ, reader = READ, consume = READ,
  consumer = READ, subscribe = READ .. ", or SUBSCRIBE_TO_SHARD{…}",
  send = PUT, publish = PUT, write = PUT, put_batch = "PUT_MANY(stream, records)",
  streams = "LIST_STREAMS()", list = "LIST_STREAMS()", describe = "DESCRIBE_STREAM{StreamName = …}",
  create = "CREATE_STREAM{StreamName = …}", delete = "DELETE_STREAM{StreamName = …}",
}

local function on(prefix, text)
  return (text:gsub("%u[%u_]+", function(name)
    return prefix .. name:lower()
  end))
end

local function advice(name, instead)
  return ("there is no '%s'; did you mean %s?"):format(name, instead)
end

---Makes the module's __index. A program may ask for a function that another version has (`if kinesis.worker then`):
---that gives nil, as ever. But a misspelt function, or one by the name that other libraries have for it, raises at the
---look-up: from nil, the caller would get no more than "attempt to call a nil value". No name that loaders ask every
---module for (new, setup, _VERSION) is among those, and pairs, next and rawget do not come here.
---@param prefix string how its functions are called: "kinesis."
---@param known table<string, any> the module
---@return fun(module: table, name: any): nil
function M.index(prefix, known)
  local absent = {} -- what was asked for and is no mistake: it may be asked for often
  return function(_, name)
    if type(name) ~= "string" or name:find "^_" or absent[name] then
      return nil
    end
    local instead = INSTEAD[name] and on(prefix, INSTEAD[name])
    if not instead then
      local names = {}
      for other in pairs(known) do
        names[#names + 1] = other
      end
      table.sort(names)
      local near = suggest.slip(name, names)
      instead = near and prefix .. near
    end
    if instead then
      error(advice(name, instead), 2)
    end
    absent[name] = true
  end
end

local function raiser(message)
  return function()
    error(message, 2)
  end
end

---Gives a class methods that raise advice: one for each name in `instead`, and the CamelCase spellings of its own
---methods. They stand in a table behind the class, so that looking up a field that is nil, as the library does in
---every put, costs no call.
---@param class table
---@param prefix string how its methods are called: "client:"
---@param instead? table<string, string> absent: the names that are mistaken for the module's functions
function M.add_methods(class, prefix, instead)
  local stubs = {}
  for name in pairs(class) do
    local camel = name:gsub("_(%l)", string.upper)
    local pascal, flat = camel:gsub("^%l", string.upper), name:gsub("_", "")
    local raise = raiser(("this method is called %s%s"):format(prefix, name))
    for _, other in ipairs { camel, pascal, flat } do
      stubs[other] = raise -- for a name that the class has, it is never looked up
    end
  end
  for name, text in pairs(instead or INSTEAD) do
    stubs[name] = raiser(advice(name, on(prefix, text)))
  end
  setmetatable(class, { __index = stubs })
end

---Raises, at the line of a method's caller, when the method was called with a dot.
---@param self any what the method got
---@param call string such as "producer:put"
function M.check_self(self, call)
  if type(self) ~= "table" or not self.core then
    error(("%s: call it with a colon, %s(…)"):format(call:match "[%w_]+$", call), 3)
  end
end

return M
