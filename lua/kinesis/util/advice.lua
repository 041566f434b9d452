-- Errors for wrong calls that name the right one: function names of other libraries, other spellings, a dot in place of
-- a colon.
local ascii = require "kinesis.util.ascii"
local suggest = require "kinesis.util.suggest"

local M = {}

local READ = "SHARDS(stream):records()"
local PUT = "PUT(stream, data), or a producer's put or send"

-- By the wrong name. An upper-case word is replaced by the function and its prefix: PUT by kinesis.put or client:put.
local INSTEAD = {
  record = READ, records = READ, get = READ, get_record = READ, read = READ, reader = READ, consume = READ,
  consumer = READ .. ", or WORKER(stream, application)",
  subscribe = READ .. ", or SUBSCRIBE_TO_SHARD{…}",
  send = PUT, publish = PUT, write = PUT, put_batch = "PUT_MANY(stream, records)",
  streams = "LIST_STREAMS()", list = "LIST_STREAMS()", describe = "DESCRIBE_STREAM{StreamName = …}",
  stats = "client:stats(), producer:stats(), reader:stats() or worker:stats()",
  configuration = "client:configuration()",
  flush = "producer:flush()", lag = "reader:lag()", wait = "receipt:wait()", checkpoint = "worker:checkpoint(record)",
  ack = "worker:ack(record)", position = "reader:position()", next = "reader:next()",
  stop = "reader:stop() or worker:stop()",
  create = "CREATE_STREAM{StreamName = …}", delete = "DELETE_STREAM{StreamName = …}",
}

local function on(prefix, text)
  return (text:gsub("%u[%u_]+", function(name)
    return prefix .. ascii.lower(name)
  end))
end

local function advice(name, instead)
  return ("there is no '%s'; did you mean %s?"):format(name, instead)
end

---Makes the module's __index. An unknown name returns nil, so that programs can test for functions of other versions
---(`if kinesis.worker then`). A misspelt function, or one by its name in other libraries, raises an error with the
---right name instead of "attempt to call a nil value". Names that loaders look up in every module (new, setup,
---_VERSION) are not among those; pairs, next and rawget do not call __index.
---@param prefix string how its functions are called: "kinesis."
---@param known table<string, any> the module
---@return fun(module: table, name: any): nil
function M.index(prefix, known)
  local absent = {} -- unknown names that are no mistakes, as a cache
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

---Adds methods to a class that raise the right name: one for each name in `instead`, and the CamelCase spellings of
---its own methods. They are in a table behind the class, not in a function, so that reading a field that is nil, as
---each put does, costs no call.
---@param class table
---@param prefix string how its methods are called: "client:"
---@param instead? table<string, string> absent: the names for the module's functions
---@param last? table the last class that the names of `class` are looked up in; absent: `class`
function M.add_methods(class, prefix, instead, last)
  local stubs = {}
  for name in pairs(class) do
    local camel = name:gsub("_([a-z])", ascii.upper)
    local pascal, flat = camel:gsub("^[a-z]", ascii.upper), name:gsub("_", "")
    local raise = raiser(("this method is called %s%s"):format(prefix, name))
    for _, other in ipairs { camel, pascal, flat } do
      stubs[other] = raise -- never looked up for a name that the class itself has
    end
  end
  for name, text in pairs(instead or INSTEAD) do
    stubs[name] = raiser(advice(name, on(prefix, text)))
  end
  setmetatable(last or class, { __index = stubs })
end

---Raises, at the line of a method's caller, when the method was called with a dot.
---@param self any the method's first argument
---@param call string such as "producer:put"
function M.check_self(self, call)
  if type(self) ~= "table" or not self.core then
    error(("%s: call it with a colon, %s(…)"):format(call:match "[%w_]+$", call), 3)
  end
end

return M
