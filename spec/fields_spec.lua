-- What a reader returns instead of whole records: some fields, several values, lists, columns.
local fresh = require "support.fresh"
local kinesis = require "kinesis"

describe("a reader", function()
  local client, stream, shards, first

  setup(function()
    client = fresh.client(fresh.services[2])
    stream = fresh.stream(client, 1, "fields")
    first = assert(client:put(stream, "alone", "key"))
    local aggregate = kinesis.aggregate {
      { data = "x", partition_key = "k", explicit_hash_key = "17" }, { data = "y", partition_key = "l" },
    }
    assert(client:put(stream, aggregate, "a"))
    shards = client:shards(stream)
  end)

  teardown(function()
    client:close()
  end)

  local function read(options)
    return fresh.read(client, stream, options)
  end

  it("returns only the fields that are wanted", function()
    assert.same({ { data = "alone" }, { data = "x" }, { data = "y" } }, read { fields = { "data" } })
    assert.same({ { shard_id = first.shard_id, explicit_hash_key = nil },
      { shard_id = first.shard_id, explicit_hash_key = "17" }, { shard_id = first.shard_id } },
      read { fields = { "shard_id", "explicit_hash_key" } })
    assert.same({ { data = "alone" }, { data = "x" } }, read({ fields = { "data" }, batch = true, limit = 2 })[1])
  end)

  it("returns values, in their order, absent ones as nil", function()
    local got = {}
    for data, key, sub, hash in shards:records { values = { "data", "partition_key", "sub_sequence_number",
      "explicit_hash_key" }, stop_at_tip = true, poll_interval = 0.2 } do
      got[#got + 1] = ("%s %s %s %s"):format(data, key, tostring(sub), tostring(hash))
    end
    assert.same({ "alone key nil nil", "x k 0 17", "y l 1 nil" }, got)
  end)

  it("returns values by `next`, counts them for `limit`, and knows its position", function()
    local reader = shards:records { values = { "data" }, limit = 2 }
    assert.equal("alone", reader:next())
    assert.equal("x", reader())
    assert.is_nil(reader())
    assert.same({ after = reader:position().shards[first.shard_id].after, sub = 0 },
      setmetatable(reader:position().shards[first.shard_id], nil))
    assert.equal("y", client:shards(stream):records { from = reader:position(), values = { "data" } }())
  end)

  it("returns columns without holes", function()
    local columns = read { batch = "columns" }
    assert.equal(1, #columns)
    local all = columns[1]
    assert.equal(3, all.n)
    assert.same({ "alone", "x", "y" }, all.data)
    assert.same({ "key", "k", "l" }, all.partition_key)
    assert.same({ false, 0, 1 }, all.sub_sequence_number)
    assert.same({ false, "17", false }, all.explicit_hash_key)
    assert.same({ false, false, false }, all.encryption_type)
    assert.same({ first.shard_id, first.shard_id, first.shard_id }, all.shard_id)
    assert.equal(first.sequence_number, all.sequence_number[1])
    assert.equal("number", type(all.arrival_timestamp[3]))
    local some = read { batch = "columns", fields = { "data" }, limit = 2 }
    assert.same({ { n = 2, data = { "alone", "x" } } }, some)
  end)

  it("refuses fields that do not exist, and options that exclude each other", function()
    local list = shards
    assert.equal("bad option 'fields' of records: has the unknown field 'dat'; did you mean 'data'?",
      fresh.complaint(function() list:records { fields = { "dat" } } end))
    assert.equal("bad option 'values' of records: must not begin with 'partition_key', which a record may lack: a "
      .. "`for` loop would end there", fresh.complaint(function() list:records { values = { "partition_key" } } end))
    assert.matches("has the field 'data' twice",
      fresh.complaint(function() list:records { values = { "data", "data" } } end))
    for _, bad in ipairs { {}, { data = true }, { "data", n = 1 } } do
      assert.matches("must be a list of fields", fresh.complaint(function() list:records { fields = bad } end))
    end
    assert.equal("bad option 'batch' of records: must be a boolean or 'columns', got 'rows'",
      fresh.complaint(function() list:records { batch = "rows" } end))
    for other, value in pairs { fields = { "data" }, batch = true } do
      assert.equal(("records: the options 'values' and '%s' exclude each other"):format(other),
        fresh.complaint(function() list:records { values = { "data" }, [other] = value } end))
    end
  end)
end)
