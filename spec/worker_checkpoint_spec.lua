-- Checkpoints of workers: by hand, at the end of a shard, named by what a record was, and those that fail.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local working = require "support.working"

local client, stream, store

local ignore = working.ignore

before_each(function()
  client, stream, store = working.begin()
end)

after_each(function()
  client:close()
end)

local function open(more)
  return working.open_on(store, client, stream, more)
end

-- The data of what is left for the next worker.
local function rest_of(count, more)
  return working.data((working.process(open(more), count)))
end

local function run(worker, handler)
  local good, err = worker:run(handler)
  assert.is_true(good, tostring(err))
end

-- The row of the stream's first shard.
local function row_of_first()
  for key, row in pairs(store.list()) do
    if key:find "shardId%-000000000000$" then
      return row
    end
  end
end

local function split()
  local shard = client:shards(stream)[1]
  assert(client:split_shard { StreamName = stream, ShardToSplit = shard.id,
    NewStartingHashKey = "170141183460469231731687303715884105728" })
  fresh.active(client, stream)
  return shard.id
end

local function is_finished()
  local row = row_of_first()
  return row ~= nil and row.checkpoint == "SHARD_END"
end

local function run_until_finished(worker, handler)
  working.run_beside(worker, handler, function()
    fresh.eventually(is_finished)
    worker:stop()
  end)
end

describe("checkpoints by hand", function()
  it("finish a shard when they cover its last record", function()
    working.put(client, stream, 1, 3)
    split()
    local worker
    local held = {}
    worker = open { checkpoint = "manual" }
    working.run_beside(worker, function(record)
      held[#held + 1] = record
    end, function()
      fresh.eventually(function()
        return #held == 3
      end)
      kinesis.sleep(0.6) -- its end is known meanwhile
      assert.is_false(is_finished())
      assert.is_true(worker:checkpoint(held[2]))
      kinesis.sleep(0.3)
      assert.is_false(is_finished())
      assert.is_true(worker:checkpoint(held[3]))
      fresh.eventually(is_finished)
      worker:stop()
    end)
  end)

  it("are not needed where a function is called at the end of a shard, before it is finished", function()
    working.put(client, stream, 1, 3)
    local worker, seen
    local id = split()
    worker = open { checkpoint = "manual", on_shard_end = function(shard)
      kinesis.sleep(0.1)
      seen = { shard.id, is_finished() }
    end }
    run_until_finished(worker, ignore)
    assert.same({ id, false }, seen)
  end)

  it("are not needed for a shard that is empty behind its checkpoint", function()
    working.put(client, stream, 1, 2)
    local worker
    worker = open { checkpoint = "manual" }
    run(worker, function(record)
      if record.data == "2" then
        worker:checkpoint(record)
        worker:stop()
      end
    end)
    split()
    worker = open { checkpoint = "manual" }
    run_until_finished(worker, ignore)
  end)

  it("never move backwards", function()
    working.put(client, stream, 1, 5)
    local worker
    local held = {}
    worker = open { checkpoint = "manual" }
    run(worker, function(record)
      held[#held + 1] = record
      if #held == 5 then
        assert.is_true(worker:checkpoint(held[4]))
        assert.is_true(worker:checkpoint(held[2]))
        worker:stop()
      end
    end)
    assert.equal("5", rest_of(1))
  end)

  it("never move backwards, also not behind where the reading has begun", function()
    working.put(client, stream, 1, 4)
    local seqs = {}
    local worker
    worker = open { checkpoint = "manual" }
    run(worker, function(record)
      seqs[#seqs + 1] = record.sequence_number
      if #seqs == 3 then
        assert.is_true(worker:checkpoint(record))
        worker:stop()
      end
    end)
    worker = open { checkpoint = "manual" }
    run(worker, function(record, shard)
      assert.equal("4", record.data)
      assert.is_true(worker:checkpoint(seqs[1], shard))
      worker:stop()
    end)
    assert.equal(seqs[3], working.row(store).checkpoint)
    assert.equal(0, worker:stats().checkpoints)
  end)

  it("keep nothing of records that the user has dropped", function()
    working.put(client, stream, 1, 2000, true)
    local worker, kept
    local count = 0
    worker = open { checkpoint = "manual" }
    run(worker, function()
      count = count + 1
      if count == 2000 then
        fresh.collect()
        kept = 0
        for _ in pairs(worker.marks) do
          kept = kept + 1
        end
        for _, processor in pairs(worker.processors) do
          for _, value in pairs(processor.tracker) do
            for _ in pairs(type(value) == "table" and value or {}) do
              kept = kept + 1
            end
          end
        end
        worker:stop()
      end
    end)
    assert.is_true(kept < 20, kept .. " things are kept")
  end)

  it("skip a record of which nothing else is due", function()
    working.put(client, stream, 1, 3)
    split()
    local worker
    worker = open { checkpoint = "manual", on_record_error = "skip" }
    run_until_finished(worker, function(record)
      if record.data == "3" then
        error "no"
      end
      assert.is_true(worker:checkpoint(record))
    end)
  end)
end)

describe("the function that is called at the end of a shard", function()
  it("ends the worker by an error, and the shard is not finished", function()
    working.put(client, stream, 1, 3)
    split()
    local worker = open { on_shard_end = function()
      error "no disk"
    end }
    local good, err = working.run_beside(worker, ignore, ignore)
    assert.is_nil(good)
    assert.matches("no disk\nstack traceback", err)
    assert.is_false(is_finished())
    assert.matches("^%d+$", row_of_first().checkpoint)
    assert.is_nil(row_of_first().owner)
  end)

  it("is called before the children are read", function()
    working.put(client, stream, 1, 2)
    split()
    working.put(client, stream, 3, 4)
    local worker
    local order = {}
    worker = open { on_shard_end = function()
      order[#order + 1] = "end"
    end }
    run(worker, function(record)
      order[#order + 1] = record.data
      if #order == 5 then
        worker:stop()
      end
    end)
    assert.equal("1 2 end 3 4", table.concat(order, " "))
  end)
end)

describe("a record that is named", function()
  local FORMS = {
    record = function(record)
      return record
    end,
    json = function(record)
      return { sequence_number = record.sequence_number, sub_sequence_number = record.sub_sequence_number and
        record.sub_sequence_number + 0.0 }
    end,
    number = function(record)
      return record.sequence_number
    end,
    list = function(record)
      return { {}, { sequence_number = record.sequence_number, sub_sequence_number = record.sub_sequence_number } }
    end,
    columns = function(record)
      return { n = 1, sequence_number = { record.sequence_number }, sub_sequence_number = { record.sub_sequence_number
        or false } }
    end,
  }

  -- Puts records, and names one of them by what `form` returns.
  local function name_one(count, aggregate, data, form)
    working.put(client, stream, 1, count, aggregate)
    local worker
    worker = open { checkpoint = "manual" }
    run(worker, function(record, shard)
      if record.data == data then
        assert.is_true(worker:checkpoint(form(record), { id = shard.id, stream = shard.stream }))
        worker:stop()
      end
    end)
  end

  for name, form in pairs(FORMS) do
    it("with its shard, by a " .. name, function()
      name_one(4, false, "3", form)
      assert.equal("4", rest_of(1))
    end)
  end

  it("inside an aggregate", function()
    name_one(6, true, "4", function(record)
      return { sequence_number = record.sequence_number, sub_sequence_number = 2 }
    end)
    assert.equal("4 5 6", rest_of(3))
  end)

  it("by its number alone is all that was handed out of its aggregate", function()
    name_one(6, true, "4", FORMS.number)
    assert.equal("5 6", rest_of(2))
  end)

  it("is refused when nothing is named, and false when it was not handed out", function()
    working.put(client, stream, 1, 2)
    local worker
    local complaints, results = {}, {}
    worker = open { checkpoint = "manual" }
    run(worker, function(record, shard)
      if record.data == "2" then
        complaints[1] = fresh.complaint(function() worker:checkpoint({}) end)
        complaints[2] = fresh.complaint(function() worker:checkpoint({}, shard) end)
        complaints[3] = fresh.complaint(function() worker:checkpoint("12a", shard) end)
        complaints[4] = fresh.complaint(function() worker:checkpoint(record.sequence_number, "shardId-0") end)
        complaints[5] = fresh.complaint(function() worker:ack(record) end)
        local of_another = { id = shard.id, stream = "another" }
        complaints[6] = fresh.complaint(function() worker:checkpoint(record.sequence_number, of_another) end)
        results[1] = worker:checkpoint("9" .. record.sequence_number, shard)
        results[2] = worker:checkpoint(record.sequence_number, { id = "shardId-7" })
        worker:stop()
      end
    end)
    assert.matches("that this worker has handed out; name another one with its shard", complaints[1])
    assert.matches("names no record", complaints[2])
    assert.matches("names no record", complaints[3])
    assert.matches("the shard must be a table with its `id`", complaints[4])
    assert.matches("made without the option `ack`", complaints[5])
    assert.matches("this worker does not read the stream 'another'", complaints[6])
    assert.same({ false, false }, results)
    assert.equal("1 2", rest_of(2))
  end)
end)

describe("values", function()
  local WHOLE = { values = { "data" }, deaggregate = false }

  it("are the handler's arguments, and behind them the shard; checkpoints are as ever", function()
    working.put(client, stream, 1, 6, true)
    local got = working.process(open { values = { "data", "partition_key", "encryption_type" } }, 3)
    local shard = client:shards(stream)[1].id
    for i, arguments in ipairs(got) do
      assert.same({ tostring(i), "key" }, { arguments[1], arguments[2] })
      assert.is_nil(arguments[3])
      assert.same({ stream = stream, id = shard }, arguments[4])
    end
    got = working.process(open { values = { "data" } }, 3)
    assert.same({ "4", "5", "6" }, { got[1][1], got[2][1], got[3][1] })
  end)

  it("are what the loop gets", function()
    working.put(client, stream, 1, 4)
    local worker, got = open { values = { "sequence_number", "data" } }, {}
    for sequence_number, data, shard in worker:records() do
      assert.matches("^%d+$", sequence_number)
      assert.equal(stream, shard.stream)
      got[#got + 1] = data
      if #got == 4 then
        worker:stop()
      end
    end
    assert.equal("1 2 3 4", table.concat(got, " "))
  end)

  it("are whole aggregates, where these are not taken apart", function()
    working.put(client, stream, 1, 3)
    local got = working.process(open(WHOLE), 2)
    assert.same({ "1", "2" }, { got[1][1], got[2][1] })
    assert.same({ "3" }, { working.process(open(WHOLE), 1)[1][1] })
  end)

  it("all of them", function()
    working.put(client, stream, 1, 1)
    local names = { "data", "partition_key", "sequence_number", "shard_id", "arrival_timestamp", "encryption_type",
      "explicit_hash_key", "sub_sequence_number" }
    local worker, count, last = open { values = names }, nil, nil
    run(worker, function(...)
      count, last = select("#", ...), (select(9, ...))
      worker:stop()
    end)
    assert.equal(9, count)
    assert.equal(stream, last.stream)
  end)

  it("are acknowledged by the numbers among them", function()
    working.put(client, stream, 1, 5)
    local worker
    local held = {}
    worker = open { values = { "data", "sequence_number", "sub_sequence_number" }, ack = true }
    run(worker, function(data, sequence_number, _, shard)
      held[tonumber(data)] = sequence_number
      if data == "5" then
        for _, i in ipairs { 2, 1, 3, 5 } do
          assert.is_true(worker:ack(held[i], shard))
        end
        assert.is_true(worker:ack(held[2], shard))
        worker:stop()
        worker:ack(held[4], shard)
      end
    end)
    working.put(client, stream, 6, 6)
    assert.equal("6", rest_of(1))
  end)

  it("are dead letters as they were put", function()
    local dead = fresh.stream(client, 1)
    working.put(client, stream, 1, 2)
    local worker
    local decided = {}
    worker = open { values = { "arrival_timestamp" }, dead_letter = dead, on_record_error = function(record)
      decided[#decided + 1] = record
      return "skip"
    end }
    local count = 0
    run(worker, function()
      count = count + 1
      if count == 2 then
        worker:stop()
      end
      error "no"
    end)
    local letters = fresh.read(client, dead)
    assert.same({ "1", "key", "2", "key" }, { letters[1].data, letters[1].partition_key, letters[2].data,
      letters[2].partition_key })
    assert.matches("^%d+$", decided[1].sequence_number)
    assert.is_number(decided[1].arrival_timestamp)
  end)

  it("are refused where no record could be named", function()
    for expected, options in pairs {
      ["with `values` and `ack`, a record is named by its sequence number: `values` must have 'sequence_number' and "
        .. "'sub_sequence_number'"] = { values = { "data" }, ack = true },
      ["with `values` and `checkpoint = \"manual\"`"] = { values = { "data" }, checkpoint = "manual" },
      ["worker: the options 'values' and 'batch' exclude each other"] = { values = { "data" }, batch = true },
      ["worker: the options 'values' and 'fields' exclude each other"] = { values = { "data" }, fields = { "data" } },
      ["bad option 'values' of worker: must not begin with 'partition_key'"] = { values = { "partition_key" } },
    } do
      local complaint = fresh.complaint(function() client:worker(stream, "counter", options) end)
      assert.is_truthy(complaint:find(expected, 1, true), complaint)
    end
  end)
end)

describe("a checkpoint that", function()
  -- Makes writes of checkpoints fail as long as `broken` is set.
  local function breakable()
    local update, state = store.update, {}
    store.update = function(key, expected, changes)
      if state.broken and changes.checkpoint then
        return nil, "no disk"
      end
      return update(key, expected, changes)
    end
    return state
  end

  it("the store does not take is an error that says what to do", function()
    working.put(client, stream, 1, 2)
    local worker, err, written
    local state = breakable()
    worker = open { checkpoint = "manual" }
    run(worker, function(record)
      if record.data == "2" then
        state.broken = true
        written, err = worker:checkpoint(record)
        state.broken = false
        assert.is_true(worker:checkpoint(record))
        worker:stop()
      end
    end)
    assert.is_nil(written)
    assert.equal("LeaseStore", err.code)
    assert.matches("was not written: .*no disk.*; the lease is still held: call worker:checkpoint again", tostring(err))
  end)

  it("the store does not take is written again, and told", function()
    working.put(client, stream, 1, 1)
    local worker, told
    local state = breakable()
    worker = open { on_error = function(err, what)
      told = { tostring(err), what }
      state.broken = false
    end }
    working.run_beside(worker, function()
      state.broken = true
    end, function()
      fresh.eventually(function()
        local row = row_of_first()
        return row and row.checkpoint:find "^%d"
      end)
      worker:stop()
    end)
    assert.matches("no disk", told[1])
    assert.matches("the checkpoint of shardId", told[2])
  end)

  it("is written after each record, with an interval of 0", function()
    working.put(client, stream, 1, 4)
    local worker, before
    local written = 0
    worker = open { checkpoint_interval = 0 }
    run(worker, function(record)
      if before then
        assert.equal(before, row_of_first().checkpoint)
        written = written + 1
      end
      before = record.sequence_number
      if record.data == "4" then
        worker:stop()
      end
    end)
    assert.equal(3, written)
  end)

  it("is due is written while the handler waits with a later record", function()
    working.put(client, stream, 1, 2)
    local worker, first
    worker = open {}
    run(worker, function(record)
      if record.data == "2" then
        fresh.eventually(function()
          return row_of_first().checkpoint == first
        end)
        worker:stop()
      end
      first = record.sequence_number
    end)
  end)

  it("is due is written while nothing but acknowledgements come", function()
    working.put(client, stream, 1, 3)
    local worker
    local held = {}
    worker = open { ack = true }
    working.run_beside(worker, function(record)
      held[#held + 1] = record
    end, function()
      for i = 1, 3 do
        fresh.eventually(function()
          return held[i]
        end)
        assert.is_true(worker:ack(held[i]))
        fresh.eventually(function()
          return row_of_first().checkpoint == held[i].sequence_number
        end)
      end
      worker:stop()
    end)
  end)

  it("comes too late is false: when the lease was lost, from on_lease_lost, and after run has returned", function()
    working.put(client, stream, 1, 3)
    local worker
    local held, results = {}, {}
    worker = open { checkpoint = "manual", on_lease_lost = function()
      results[#results + 1] = worker:checkpoint(held[2])
    end }
    working.run_beside(worker, function(record)
      held[#held + 1] = record
    end, function()
      fresh.eventually(function()
        return #held == 3
      end)
      local key, row = next(store.list())
      store.update(key, row, { owner = "another", counter = row.counter + 1 })
      fresh.eventually(function()
        return #results == 1
      end)
      results[2] = worker:checkpoint(held[3])
      results[3] = worker:checkpoint(held[3], { id = client:shards(stream)[1].id })
      worker:stop()
    end)
    results[4] = worker:checkpoint(held[3])
    assert.same({ false, false, false, false }, results)
    assert.equal("TRIM_HORIZON", row_of_first().checkpoint)
  end)

  it("another coroutine writes while the handler is busy", function()
    working.put(client, stream, 1, 3)
    local worker
    local held, results = {}, {}
    worker = open { checkpoint = "manual" }
    kinesis.run(function()
      run(worker, function(record)
        held[#held + 1] = record
        if #held == 3 then
          fresh.eventually(function()
            return #results == 2
          end)
          worker:stop()
        end
      end)
    end, function()
      fresh.eventually(function()
        return #held == 3
      end)
      results[1] = worker:checkpoint(held[2])
    end, function()
      fresh.eventually(function()
        return #held == 3
      end)
      results[2] = worker:checkpoint(held[1])
    end)
    assert.same({ true, true }, results)
    assert.equal("3", rest_of(1))
  end)
end)
