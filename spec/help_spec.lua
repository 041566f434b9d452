-- The manual at a prompt: it knows all that there is, from where that is written.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
local operations = require "kinesis.api.operations"
local options = require "kinesis.options"

local is_operation = {}
for _, operation in ipairs(operations.list) do
  is_operation[operation.verb] = operation
end

-- The text that stands behind a name in a page.
local function text_of(page, name)
  return tostring(page):match("\n  " .. name .. " +(%S[^\n]*)")
end

describe("help", function()
  local client, producer, reader, stream

  setup(function()
    client = fresh.client(fresh.services[1])
    stream = fresh.stream(client, 1, "help")
    producer = assert(client:producer(stream))
    reader = client:shards(stream):records()
  end)

  teardown(function()
    reader:close()
    producer:close()
    client:call("DeleteStream", { StreamName = stream })
    client:close()
  end)

  it("has a line for each function of the module, and a page", function()
    local page = kinesis.help()
    for name, value in pairs(kinesis) do
      if type(value) == "function" and not is_operation[name] then
        assert.matches("%w", text_of(page, name) or "", name)
        assert.matches("^kinesis%." .. name .. "%(", tostring(kinesis.help(name)))
        assert.equal(tostring(kinesis.help(name)), tostring(kinesis.help("kinesis." .. name)))
        assert.equal(tostring(kinesis.help(name)), tostring(kinesis.help(value)))
      end
    end
    assert.equal("Puts one record and waits until it is stored.", text_of(page, "put"))
    assert.matches("^kinesis.put%(stream, data %[, partition_key %[, options%]%]%)\n\nPuts one record",
      tostring(kinesis.help "put"))
    assert.matches("^kinesis.client%(%[options%]%)\n", tostring(kinesis.help "client"))
  end)

  it("has a line and a page for each method, by name and by object", function()
    for word, object in pairs {
      client = client, producer = producer, receipt = assert(producer:send "x"), reader = reader,
      shards = client:shards(stream), shard = client:shards(stream)[1],
      worker = assert(client:worker(stream, "help", { store = memory.new() })),
    } do
      local page = kinesis.help(object)
      for name in pairs(getmetatable(object).__index) do
        if not is_operation[name] then
          assert.matches("%w", text_of(page, name) or "", word .. " " .. name)
          assert.matches("%w", text_of(kinesis.help(word), name) or "", word .. " " .. name)
          assert.matches("^" .. word .. ":" .. name .. "%(.+%w", tostring(kinesis.help(word .. ":" .. name)))
          assert.equal(tostring(kinesis.help(word .. ":" .. name)), tostring(kinesis.help(word .. "." .. name)))
          assert.equal(tostring(kinesis.help(word .. ":" .. name)), tostring(kinesis.help(object[name])))
        end
      end
    end
  end)

  it("knows methods and options by their bare names, too", function()
    assert.matches("^producer:flush%(%[timeout%]%)\n", tostring(kinesis.help "flush"))
    assert.matches("^reader:position%(%)\n", tostring(kinesis.help "position"))
    local page = tostring(kinesis.help "close") -- of several
    for _, word in ipairs { "client", "producer", "reader" } do
      assert.matches(word .. ":close(", page, 1, true)
    end
    assert.matches("^from, an option of records: Where to begin: ", tostring(kinesis.help "from"))
  end)

  it("has every option and every operation", function()
    for topic, noun in pairs {
      client = "client", configure = "client", put = "put", put_many = "put_many", producer = "producer",
      ["producer:put"] = "produce", records = "records", ["shard:records"] = "records", wait_until = "wait_until",
    } do
      for _, option in ipairs(options.describe(noun)) do
        assert.matches(option.doc, text_of(kinesis.help(topic), option.name), 1, true)
      end
    end
    local list = tostring(kinesis.help "operations")
    for verb, operation in pairs(is_operation) do
      assert.matches(("\n  %s  %s"):format(verb, operation.doc), list, 1, true)
      assert.matches(operation.doc, tostring(kinesis.help(verb)), 1, true)
      assert.matches(operation.doc, tostring(kinesis.help("client:" .. verb)), 1, true)
    end
    assert.equal("text; required", text_of(kinesis.help "get_shard_iterator", "ShardId"))
    assert.equal("seconds since 1970", text_of(kinesis.help "get_shard_iterator", "Timestamp"))
    assert.equal("string of bytes, not base64; required", text_of(kinesis.help "put_record", "Data"))
  end)

  it("gives a page that can be asked for another, and stands in a text", function()
    local help = kinesis.help()
    assert.equal(tostring(kinesis.help "put"), tostring(help "put"))
    assert.equal(tostring(help), tostring(help "put"()))
    assert.equal(help.text .. "!", help .. "!")
  end)

  it("refuses what it does not know", function()
    for message, f in pairs {
      ["help: nothing is called 'putt'; did you mean 'put'?"] = function() kinesis.help "putt" end,
      ["help: nothing is called 'recrods'; did you mean 'records'?"] = function() kinesis.help "recrods" end,
      ["help: nothing is called 'operation'; did you mean 'operations'?"] = function() kinesis.help "operation" end,
      ["help: nothing is called 'xyzzy'"] = function() kinesis.help "xyzzy" end,
      ["help: nothing is called 'kinesis.Columns'; the manual describes the tables: `make docs`, in a checkout"] =
        function() kinesis.help "kinesis.Columns" end,
      ["help: nothing is called 'producer:putt'"] = function() kinesis.help "producer:putt" end,
      ["help: ask for a name, such as 'put', or for an object or a function of this library, not for a number"] =
        function() kinesis.help(5) end,
      ["help: ask for a name, such as 'put', or for an object or a function of this library, not for a table"] =
        function() kinesis.help {} end,
      ["help: ask for a name, such as 'put', or for an object or a function of this library, not for a function"] =
        function() kinesis.help(print) end,
    } do
      assert.equal(message, fresh.complaint(f))
    end
    local page = kinesis.help()
    assert.equal("help: nothing is called 'xyzzy'", fresh.complaint(function() page "xyzzy" end))
    assert.is_truthy(kinesis.help(kinesis))
    for _, hidden in ipairs { true, "hidden", 5 } do
      local guarded = setmetatable({}, { __metatable = hidden })
      assert.matches("not for a table", fresh.complaint(function() kinesis.help(guarded) end), 1, true)
    end
  end)

  it("does without the sources, with less to say", function()
    local child = fresh.lua([[
      local open = io.open
      io.open = function(path, ...)
        return not path:find "%.lua$" and open(path, ...) or nil
      end
      local kinesis = require "kinesis"
      print(kinesis.help())
      print(kinesis.help "put_many")
    ]])
    local output, status = child:wait()
    assert.equal(0, status, output)
    assert.matches("\n  put_many", output, 1, true)
  end)
end)
