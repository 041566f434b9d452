-- What the annotations say is what there is: functions, methods, options, fields, codes. And so does the README.
-- Flavours: lua5.4
local fresh = require "support.fresh"
local annotations = require "support.annotations"
local kinesis = require "kinesis"
local options = require "kinesis.options"
local shards = require "kinesis.shards"

local ROOT = os.getenv "ROOT"

local function read(path)
  local file = assert(io.open(ROOT .. "/" .. path))
  local text = file:read "*a"
  file:close()
  return text
end

local function keys_of(...)
  local found, list = {}, {}
  for _, object in ipairs { ... } do
    for key in pairs(object) do
      if not found[key] then
        found[key] = true
        list[#list + 1] = key
      end
    end
  end
  table.sort(list)
  return list
end

local function names_of(...)
  local found = {}
  for _, list in ipairs { ... } do
    for _, item in ipairs(list) do
      found[item.name] = true
    end
  end
  return keys_of(found)
end

local model -- large: forgotten again, or the fiercest collector would go through it in every other spec

setup(function()
  model = annotations.read(annotations.sources(ROOT))
end)

teardown(function()
  model = nil
end)

local function parameters_of(f)
  local info, list = debug.getinfo(f, "u"), {}
  for i = 1, info.nparams do
    list[i] = debug.getlocal(f, i)
  end
  if list[1] == "self" then
    table.remove(list, 1)
  end
  if info.isvararg then
    list[#list + 1] = "..."
  end
  return list
end

local function check_function(name, f)
  local known = model.functions[name]
  assert.is_truthy(known and known.doc:find "%w", name .. " is not described")
  local params = {}
  for i, param in ipairs(known.params) do
    params[i] = param.name
  end
  assert.same(parameters_of(f), params, "parameters of " .. name)
end

-- `object` is the module, or the table of a class's methods.
local function check_functions(name, object)
  local class = assert(model.classes[name], name)
  local annotated = {}
  for _, f in ipairs(class.methods) do
    annotated[f.name] = true
    assert.equal("function", type(object[f.name]), name .. "." .. f.name)
  end
  for key, value in pairs(object) do
    if type(value) == "function" then
      assert.is_true(annotated[key], ("%s.%s is not annotated"):format(name, tostring(key)))
      local known = model.functions[name .. "." .. key]
      if not (known and known.private) then
        check_function(name .. "." .. key, value)
      end
    end
  end
end

-- Together the objects have every annotated field, and each has those that are not optional.
local function check_fields(name, ...)
  local class = assert(model.classes[name], name)
  local parent = class.parent and model.classes[class.parent].fields or {}
  assert.same(names_of(class.fields, parent), keys_of(...), "fields of " .. name)
  for _, object in ipairs { ... } do
    for _, field in ipairs(class.fields) do
      if not field.optional then
        assert.is_not_nil(object[field.name], name .. "." .. field.name)
      end
    end
  end
end

-- A table that has whatever it is asked for, and the table of what it was asked.
local function curious(values)
  local asked = {}
  return setmetatable({}, { __index = function(_, key)
    asked[key] = true
    return values[key]
  end }), asked
end

describe("the annotations", function()
  local client, stream

  setup(function()
    client = fresh.client(os.getenv "KINESIS_LOCAL")
    stream = fresh.stream(client, 1, "docs")
  end)

  teardown(function()
    client:call("DeleteStream", { StreamName = stream })
    client:close()
  end)

  it("know every function and method, its parameters by name, and no other", function()
    local list = client:shards(stream)
    local reader = list:records {}
    reader:close()
    check_functions("kinesis", kinesis)
    check_functions("kinesis.Client", getmetatable(client).__index)
    check_functions("kinesis.Shards", getmetatable(list).__index)
    check_functions("kinesis.Shard", getmetatable(list[1]).__index)
    check_functions("kinesis.Reader", getmetatable(reader).__index)
    local producer = assert(client:producer(stream))
    check_functions("kinesis.Producer", getmetatable(producer).__index)
    check_functions("kinesis.Receipt", getmetatable(assert(producer:send("x"))).__index)
    producer:close()
  end)

  it("know the module's other members", function()
    local others = {}
    for key, value in pairs(kinesis) do
      others[key] = type(value) ~= "function" and value or nil
    end
    check_fields("kinesis", others)
    assert.equal("kinesis " .. kinesis.version, kinesis._VERSION)
  end)

  it("of the options are those that the options' table makes", function()
    local pipe = assert(io.popen(("cd '%s' && %s spec/support/option_types.lua"):format(ROOT, os.getenv "LUA")))
    local text = pipe:read "*a"
    pipe:close()
    assert.equal(read "lua/kinesis/meta/option_types.lua", text,
      "run: lua5.4 spec/support/option_types.lua --write")
  end)

  it("know every option", function()
    for noun, class in pairs {
      client = "ClientOptions", put = "PutOptions", put_many = "PutManyOptions", records = "RecordsOptions",
      producer = "ProducerOptions", produce = "ProduceOptions", wait_until = "WaitUntilOptions", setup = "SetupOptions",
    } do
      assert.same(names_of(options.describe(noun)), names_of(model.classes["kinesis." .. class].fields))
    end
    assert.same({}, options.describe "shards")
  end)

  it("know the members of records to put, and of a provider's credentials", function()
    local entry, asked = curious { data = "x", partition_key = "k" }
    assert(client:put_many(stream, { entry }))
    check_fields("kinesis.Entry", asked)
    local keys, wanted = curious(fresh.keys)
    local other = fresh.client(os.getenv "KINESIS_LOCAL", { credentials = function()
      return keys
    end })
    assert(other:call "ListStreams")
    other:close()
    check_fields("kinesis.ProvidedCredentials", wanted)
  end)

  it("know every field of records, shards and results", function()
    local page = kinesis.codec.get_records [[{"Records":[
      {"Data":"eA==","SequenceNumber":"5","ApproximateArrivalTimestamp":1,"PartitionKey":"k","EncryptionType":"KMS"},
      {"Data":"eA==","SequenceNumber":"6","ApproximateArrivalTimestamp":1}]}]]
    page.records[1].sub_sequence_number, page.records[1].explicit_hash_key = 0, "1" -- as in one from an aggregate
    check_fields("kinesis.Record", page.records[1], page.records[2])
    local list = shards.list({ call = function()
      return { Shards = { {
        ShardId = "a", ParentShardId = "b", AdjacentParentShardId = "c",
        HashKeyRange = { StartingHashKey = "0", EndingHashKey = "1" },
      } } }
    end }, "s")
    check_fields("kinesis.Shard", list[1], client:shards(stream)[1])
    local packed = assert(kinesis.aggregate {
      { data = "a", partition_key = "k", explicit_hash_key = "1" }, { data = "b", partition_key = "k" },
    })
    local records = assert(kinesis.deaggregate(packed))
    check_fields("kinesis.UserRecord", records[1], records[2])
    local nowhere = fresh.client("http://127.0.0.1:9", { max_attempts = 2 })
    local results = assert(nowhere:put_many(stream, { { data = "x" } }))
    nowhere:close()
    check_fields("kinesis.PutResult", assert(client:put(stream, "x")), results[1])
  end)

  it("know every field of an error and of a position", function()
    local _, err = client:put(fresh.name "absent", "x")
    local _, raised = pcall(client.shards, client, fresh.name "absent")
    check_fields("kinesis.Error", err, raised)
    local reader = client:shards(stream):records { stop_at_tip = true, limit = 1 }
    reader:next()
    check_fields("kinesis.Position", reader:position())
  end)

  it("name no undeclared type", function()
    local missing = {}
    local function look(text)
      for name in (text or ""):gmatch "kinesis%.[%w_.]+" do
        if not (model.classes[name] or model.aliases[name]) then
          missing[name] = true
        end
      end
    end
    for _, class in pairs(model.classes) do
      look(class.parent)
      for _, field in ipairs(class.fields) do
        look(field.type)
      end
    end
    for _, alias in pairs(model.aliases) do
      look(alias.type)
    end
    for _, f in pairs(model.functions) do
      for _, list in ipairs { f.params, f.returns } do
        for _, item in ipairs(list) do
          look(item.type)
        end
      end
      assert.is_true(not f.see or model.functions[f.see] ~= nil, f.see)
    end
    assert.same({}, keys_of(missing))
  end)
end)

-- ---- the manual, where there is LDoc ----

local ldoc = io.popen "command -v ldoc"
if ldoc:read "*l" then
  it("LDoc makes the manual of the annotations without a warning", function()
    local pipe = assert(io.popen(("MAKEFLAGS= make -s -C '%s' docs 2>&1"):format(ROOT)))
    assert.equal("docs: build/docs/index.html\n", pipe:read "*a")
    pipe:close()
    local manual = read "build/docs/index.html"
    local function expect_entry(name)
      assert.is_truthy(manual:find(('<a name = "%s">'):format(name), 1, true), name)
    end
    for name, f in pairs(model.functions) do
      local class, method = name:match "^kinesis%.(%u%a+)%.([%w_]+)$"
      local anchor = class and class .. ":" .. method or name:match "^kinesis%.([%w_]+)$"
        or name:match "^kinesis%.(openresty%.[%w_]+)$"
      local is_listed_once = class == "Client" and f.file:find("operation_types", 1, true) -- as a function
      if anchor and not f.private and not is_listed_once and (not class or model.classes["kinesis." .. class]) then
        expect_entry(anchor)
      end
    end
    for name in manual:gmatch "%f[%w]kinesis%.(%u%a+)" do
      local is_class = manual:find(('<a name="Class_%s">'):format(name), 1, true)
      local _ = is_class or expect_entry(name)
    end
    for name in manual:gmatch "%f[%w]kinesis%.api%.(%u%a+)" do
      expect_entry(name)
    end
    assert.is_nil(manual:find("codec", 1, true), "what only specs use")
  end)
end
ldoc:close()

-- ---- codes ----

-- The codes that C and Lua make errors of.
local function made_codes()
  local found = {}
  local pipe = assert(io.popen(("cd '%s' && cat csrc/*/*.[ch] $(find lua -name '*.lua')"):format(ROOT)))
  local text = pipe:read "*a"
  pipe:close()
  text = text:gsub("%-%-[^\n]*", "")
  local function look(part)
    for code in part:gmatch '"(%u%l%a+)"' do
      found[code] = true
    end
  end
  for code in text:gmatch '#define KIN_CODE_[%u_]+ ("%a+")' do
    look(code)
  end
  for _, maker in ipairs {
    "kin_error_set", "kin_lua_error_push_own", "kin_loop_finish_with", "errors%.new", "failure", "give_up",
  } do
    for arguments in text:gmatch(maker .. "(%b())") do
      local first = arguments:match '^[^"]*"%a+"' or ""
      look(first:find "KIN_CODE_" and "" or first) -- a constant, which is known
    end
  end
  for value in text:gmatch "code = ([^;{}]-)[;,]" do
    look(value)
  end
  for code in pairs(found) do
    found[code] = not code:find "Exception$" or nil -- the service's own word for it
  end
  return keys_of(found)
end

local function own_codes()
  local codes = {}
  for _, value in ipairs(model.aliases["kinesis.ErrorCode"].values) do
    codes[#codes + 1] = value.value:match '^"(%a+)"$'
  end
  table.sort(codes)
  return codes
end

it("the annotations know our own error codes, and no others", function()
  assert.same(made_codes(), own_codes())
end)

-- ---- the README ----

describe("the README", function()
  local readme = read "README.md"

  local function section(title)
    return assert(readme:match("\n## " .. title .. "\n(.-)\n## "), title)
  end

  it("names every option of a client, with its default where it has one", function()
    local settings = section "Credentials and settings"
    for _, option in ipairs(options.describe "client") do
      local mention = "`" .. option.name .. "`[^\n]*"
      local row = settings:match("\n| [^\n]*" .. mention) or settings:match(mention)
      assert.is_truthy(row, option.name)
      if option.default then
        assert.is_truthy(row:find("%f[%d]" .. option.default .. "%f[%D]"), option.name)
      end
    end
  end)

  it("names the forms of `from`, the fields of a record, and our own codes", function()
    local reading = section "Read"
    for _, value in ipairs(model.aliases["kinesis.StartPosition"].values) do
      local form = value.value:gsub("kinesis%.Time", "time"):gsub("(%w+)%??: %w+", "%1="):gsub("[{}%s]", "")
      for member in form:gmatch "[^,]+" do
        assert.is_truthy(reading:find(member, 1, true), member)
      end
    end
    local record = reading:match "\n%- A record is [^\n]*"
    for _, field in ipairs(model.classes["kinesis.Record"].fields) do
      assert.is_truthy(record:find("`" .. field.name .. "`", 1, true), field.name)
    end
    local named = {}
    for cell in section("Errors"):gmatch "\n| (`[^|]*) |" do
      for code in cell:gmatch "`(%a+)`" do
        named[#named + 1] = code
      end
    end
    table.sort(named)
    assert.same(own_codes(), named)
  end)
end)
