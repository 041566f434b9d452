-- Records that a worker cannot process, and streams that it cannot read.
local faults = require "support.faults"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local memory = require "kinesis.store.memory"
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


describe("a handler's error", function()
  it("ends the worker, whatever it is", function()
    working.put(client, stream, 1, 1)
    local thrown = { code = 5 }
    for _, case in ipairs { { thrown, thrown }, { nil, "^nil\nstack traceback" }, { false, "^false\nstack traceback" },
      { 5, "5\nstack traceback" } } do
      local good, err = open():run(function()
        error(case[1])
      end)
      assert.is_nil(good)
      if type(case[2]) == "table" then
        assert.equal(case[2], err)
      else
        assert.matches(case[2], tostring(err))
      end
    end
    assert.equal("1", rest_of(1))
  end)

  it("is retried in its shard, while the others go on", function()
    stream = fresh.stream(client, 2)
    fresh.put_numbers(client, stream, 1, 40)
    local worker, failing
    local attempts, others, order = 0, 0, {}
    worker = open { on_record_error = "retry", on_error = ignore }
    assert(worker:run(function(record, shard)
      failing = failing or shard.id
      if shard.id ~= failing then
        others = others + 1
        return
      end
      order[#order + 1] = record.data
      attempts = attempts + 1
      if others < 10 then
        error "no"
      end
      if #order > attempts - 1 and attempts > 3 and order[#order] ~= order[1] then
        worker:stop()
      end
    end))
    assert.is_true(others >= 10)
    assert.equal(order[1], order[2]) -- again, and nothing before it was processed
  end)

  for _, batch in ipairs { true, "columns" } do
    it("is retried with the same list: " .. tostring(batch), function()
      working.put(client, stream, 1, 5)
      local worker
      local seen, decided = {}, {}
      worker = open { batch = batch, on_record_error = function(list, _, attempts)
        decided[attempts] = list
        return "retry"
      end }
      assert(worker:run(function(list)
        seen[#seen + 1] = list
        if #seen < 3 then
          error "no"
        end
        worker:stop()
      end))
      assert.equal(seen[1], seen[2])
      assert.equal(seen[1], seen[3])
      assert.equal(seen[1], decided[1])
      assert.equal(seen[1], decided[2])
      assert.equal(2, #decided)
    end)
  end

  it("is not retried when the lease was lost meanwhile, and nothing is written", function()
    working.put(client, stream, 1, 2)
    local worker, reason
    local attempts = 0
    worker = open { on_record_error = "retry", on_error = ignore, on_lease_lost = function(_, why)
      reason = why
      worker:stop()
    end }
    assert(worker:run(function(record)
      if record.data == "2" then
        attempts = attempts + 1
        if attempts == 2 then
          local key, row = next(store.list())
          store.update(key, row, { owner = "another", counter = row.counter + 1, checkpoint = "TRIM_HORIZON" })
        end
        error "no"
      end
    end))
    assert.equal("lost", reason)
    assert.equal("another", working.row(store).owner)
    assert.equal("TRIM_HORIZON", working.row(store).checkpoint)
  end)

  it("counts as 'stop', and is told, when the function that decides returns something else", function()
    working.put(client, stream, 1, 1)
    local told, tell = working.listener()
    for _, wrong in ipairs { "again", false, 5 } do
      local good, err = open({ on_error = tell, on_record_error = function()
        return wrong
      end }):run(function()
        error "no disk"
      end)
      assert.is_nil(good)
      assert.matches("no disk\nstack traceback", err)
      assert.matches("on_record_error returned .*, which must be 'stop', 'retry' or 'skip'", told[#told])
    end
    assert.matches("returned 'again'", told[1])
    assert.equal("1", rest_of(1))
  end)

  it("names its record where the worker ends", function()
    working.put(client, stream, 1, 2)
    local last
    local good, err = open():run(function(record)
      last = record
      error "no disk"
    end)
    assert.is_nil(good)
    assert.matches("no disk\nstack traceback", err)
    local record = ("\nwith record %s of %s of %s"):format(last.sequence_number, last.shard_id, stream)
    assert.equal(record, err:sub(-#record))
  end)

  for decision, outcome in pairs { retry = "tried again", skip = "skipped" } do
    it("is told, with its record, where it does not end the worker: " .. decision, function()
      working.put(client, stream, 1, 3, true)
      local told, tell = working.listener()
      local worker, failed
      worker = open { on_record_error = decision, on_error = tell }
      assert(worker:run(function(record)
        if record.data == "2" and not failed then
          failed = record
          error "no disk"
        elseif record.data == "3" then
          worker:stop()
        end
      end))
      assert.equal(1, #told)
      assert.matches("no disk\nstack traceback", told[1])
      local name = ("%s (sub-sequence number 1) of %s of %s"):format(failed.sequence_number, failed.shard_id, stream)
      assert.matches((" | the handler has failed with record %s, which is %s"):format(name, outcome), told[1], 1, true)
      assert.equal(decision == "skip" and 1 or 0, worker:stats().skipped)
    end)
  end

  for batch, count in pairs { [true] = 3, columns = 3 } do
    it("is counted for each record of a list that is skipped: " .. tostring(batch), function()
      working.put(client, stream, 1, 3, true)
      local worker
      worker = open { batch = batch, on_record_error = "skip", on_error = ignore }
      assert(worker:run(function()
        worker:stop()
        error "no"
      end))
      assert.equal(count, worker:stats().skipped)
    end)
  end

  it("gives way to that of the function that decides", function()
    working.put(client, stream, 1, 1)
    local good, err = open({ on_record_error = function()
      error "cannot decide"
    end }):run(function()
      error "no disk"
    end)
    assert.is_nil(good)
    assert.matches("cannot decide\nstack traceback", err)
    assert.equal("1", rest_of(1))
  end)

  it("skips a record that would be acknowledged", function()
    working.put(client, stream, 1, 3)
    local worker
    worker = open { ack = true, on_record_error = "skip", on_error = ignore }
    assert(worker:run(function(record)
      if record.data == "2" then
        error "no"
      end
      worker:ack(record)
      if record.data == "3" then
        worker:stop()
      end
    end))
    working.put(client, stream, 4, 4)
    assert.equal("4", rest_of(1))
  end)
end)

describe("a dead letter", function()
  it("is stored before the checkpoint moves", function()
    working.put(client, stream, 1, 3)
    local worker
    local before = {}
    worker = open { on_record_error = "skip", on_error = ignore, checkpoint_interval = 0,
      dead_letter = function(record, err)
        assert.matches("no", err)
        before[#before + 1] = { record.sequence_number, working.row(store).checkpoint }
      end }
    assert(worker:run(function(record)
      if record.data == "3" then
        worker:stop()
      else
        error "no"
      end
    end))
    assert.equal("TRIM_HORIZON", before[1][2])
    assert.equal(before[1][1], before[2][2])
  end)

  it("waits for its stream, which is told", function()
    working.put(client, stream, 1, 2)
    local dead = fresh.name "dead"
    local told, tell = working.listener()
    local worker
    local got = {}
    worker = open { on_record_error = "skip", dead_letter = dead, on_error = tell }
    working.run_beside(worker, function(record)
      if record.data == "1" then
        error "no"
      end
      got[#got + 1] = record.data
      worker:stop()
    end, function()
      fresh.eventually(function()
        return #told >= 3
      end)
      assert.same({}, got)
      assert.equal("TRIM_HORIZON", working.row(store).checkpoint)
      assert(client:call("CreateStream", { StreamName = dead, ShardCount = 1 }))
    end)
    assert.matches("ResourceNotFoundException.*the dead letter of a record of shardId", told[2])
    assert.same({ "2" }, got)
    assert.equal("1", fresh.read(client, dead)[1].data)
  end)

  it("that is refused is told, and not skipped", function()
    working.put(client, stream, 1, 1)
    local dead = fresh.stream(client, 1)
    local scope = faults.open({ PutRecord = { { code = "ValidationException", status = 400, always = true } } },
      { service = "kinesalite" })
    client:close()
    client = scope:client()
    local told, tell = working.listener()
    local worker = open { on_record_error = "skip", dead_letter = dead, on_error = tell }
    local good = working.run_beside(worker, function()
      error "no"
    end, function()
      fresh.eventually(function()
        return #told >= 3
      end)
      worker:stop()
    end)
    assert.is_true(good)
    assert.matches("ValidationException", told[2])
    assert.equal("1", rest_of(1)) -- a stop leaves the record unprocessed
  end)

  it("is tried again when its function raises, or returns false, or nil and an error", function()
    working.put(client, stream, 1, 1)
    local told, tell = working.listener()
    local worker
    local calls = 0
    worker = open { on_record_error = "skip", on_error = tell, dead_letter = function()
      calls = calls + 1
      if calls == 1 then
        error { "a table" }
      elseif calls == 2 then
        return false
      elseif calls == 3 then
        return nil, "no disk"
      end
      worker:stop()
    end }
    assert(worker:run(function()
      error "no"
    end))
    assert.equal(4, calls)
    assert.equal(4, #told) -- first, that of the handler
    assert.matches("no disk", told[4])
    working.put(client, stream, 2, 2)
    assert.equal("2", rest_of(1))
  end)
end)

describe("acknowledgements", function()
  it("may come from anywhere, in any order, more than once", function()
    working.put(client, stream, 1, 200, true)
    local worker
    local queue, held, most, done = {}, 0, 0, 0
    worker = open { ack = true, max_in_flight = 10, stop_timeout = 10 }
    local function acknowledge()
      while done < 200 do
        local record = table.remove(queue, math.random(math.max(1, #queue)))
        if record then
          held = held - 1
          done = done + 1
          assert.is_true(worker:ack(record))
          assert.is_true(worker:ack(record))
        end
        kinesis.sleep(0)
      end
    end
    kinesis.run(function()
      assert(worker:run(function(record)
        queue[#queue + 1] = record
        held = held + 1
        most = math.max(most, held)
        if record.data == "200" then
          worker:stop()
        end
      end))
    end, acknowledge, acknowledge, acknowledge)
    assert.is_true(most <= 10, most .. " were in flight")
    working.put(client, stream, 201, 201)
    assert.equal("201", rest_of(1))
  end)

  it("of a lease that was lost are false, and do not count when it is taken again", function()
    working.put(client, stream, 1, 3)
    local worker
    local held, taken = {}, 0
    worker = open { ack = true, stop_timeout = 0.2, on_lease_taken = function()
      taken = taken + 1
    end }
    working.run_beside(worker, function(record)
      held[#held + 1] = record
    end, function()
      fresh.eventually(function()
        return #held == 3
      end)
      local key, row = next(store.list())
      assert(store.update(key, row, { owner = "another", counter = row.counter + 1 }))
      fresh.eventually(function()
        return #held == 6 -- it has expired
      end)
      assert.equal(2, taken)
      local shard = { id = client:shards(stream)[1].id }
      for i = 1, 3 do
        assert.is_false(worker:ack(held[i]))
      end
      assert.is_true(worker:ack(held[4].sequence_number, shard))
      assert.is_false(worker:ack("9" .. held[4].sequence_number, shard))
      worker:stop()
    end)
    assert.equal("2 3", rest_of(2))
  end)

  it("are waited for when the lease is handed over", function()
    stream = fresh.stream(client, 2)
    fresh.put_numbers(client, stream, 1, 20)
    local workers, seen, repeated = {}, {}, 0
    local held = {}
    local function handle(i)
      return function(record)
        repeated = repeated + (seen[record.data] and 1 or 0)
        seen[record.data] = true
        held[#held + 1] = { workers[i], record }
      end
    end
    local function acknowledge()
      for _, each in ipairs(held) do
        each[1]:ack(each[2])
      end
      held = {}
    end
    local function stop_all()
      fresh.eventually(function()
        acknowledge()
        return workers[2]:count() == 1 and workers[1]:count() == 1
      end)
      kinesis.sleep(0.5) -- what the second one would be handed again
      acknowledge()
      workers[1]:stop()
      workers[2]:stop()
    end
    workers[1] = open { ack = true }
    workers[2] = open { ack = true }
    kinesis.run(function()
      assert(workers[1]:run(handle(1)))
    end, function()
      fresh.eventually(function()
        return #held == 20
      end)
      assert(workers[2]:run(handle(2)))
    end, function()
      fresh.eventually(function()
        for _, processor in pairs(workers[1].processors) do
          if processor.ending == "handoff" then
            return true
          end
        end
      end)
      stop_all()
    end)
    assert.equal(0, repeated)
  end)

  it("need a record that was handed out", function()
    working.put(client, stream, 1, 1)
    local worker, complaint
    worker = open { ack = true }
    assert(worker:run(function(record)
      complaint = fresh.complaint(function() worker:ack({ sequence_number = "1" }) end)
      worker:ack(record)
      worker:stop()
    end))
    assert.matches("ack: takes a record, or a list, that this worker has handed out", complaint)
  end)
end)

describe("a store", function()
  it("that cannot take leases is told", function()
    working.put(client, stream, 1, 1)
    local told, tell = working.listener()
    local update = store.update
    local worker
    store.update = function(...)
      if #told > 1 then
        return update(...)
      end
      return nil, "no disk"
    end
    worker = open { on_error = tell }
    assert(worker:run(function()
      worker:stop()
    end))
    assert.matches("no disk | a request for the lease of ", told[1], 1, true)
  end)
end)

describe("a stream", function()
  it("that is not there is an error at the start", function()
    local good, err = working.open(client, fresh.name "none", { store = store }):run(ignore)
    assert.is_nil(good)
    assert.equal("ResourceNotFoundException", err.code)
    assert.error_matches(function()
      for _ in working.open(client, fresh.name "none", { store = store }):records() do
        error "a record"
      end
    end, "ResourceNotFoundException")
  end)

  it("that may not be read is an error", function()
    for _, operation in ipairs { "ListShards", "GetShardIterator", "GetRecords" } do
      local scope = faults.open({ [operation] = { { code = "AccessDeniedException", status = 400, always = true } } },
        { service = "kinesalite" })
      local denied = scope:client()
      local good, err = working.open(denied, stream, { store = memory.new() }):run(ignore)
      denied:close()
      assert.is_nil(good)
      assert.equal("AccessDeniedException", err.code)
    end
  end)

  for _, service in ipairs(fresh.services) do
    -- Deletes a stream, and makes it again when it is gone, and `is_seen()`.
    local function remake(name, is_seen)
      assert(client:call("DeleteStream", { StreamName = name }))
      fresh.eventually(function()
        local _, err = client:call("DescribeStreamSummary", { StreamName = name })
        return err and err.code == "ResourceNotFoundException" and (not is_seen or is_seen())
      end)
      kinesis.sleep(1) -- kinesalite takes two streams that are made within a second for one
      assert(client:call("CreateStream", { StreamName = name, ShardCount = 1 }))
      fresh.active(client, name)
    end

    it("that was deleted and made again is read from its beginning, which is told: " .. service.name, function()
      client:close()
      client = fresh.client(service)
      stream = fresh.stream(client, 1)
      working.put(client, stream, 1, 2)
      assert.equal("1 2", rest_of(2))
      remake(stream)
      working.put(client, stream, 3, 5)
      local told, tell = working.listener()
      assert.equal("3 4", rest_of(2, { on_error = tell }))
      assert.matches("the stream was deleted and made again.*begins at trim_horizon", table.concat(told, "\n"))
      assert.equal("5", rest_of(1))
    end)

    -- kinesis-local may take a sequence number of the stream that was deleted, and then return nothing
    local it_meanwhile = service.name == "kinesalite" and it or function() end
    it_meanwhile("that is deleted and made again meanwhile is read on: " .. service.name, function()
      client:close()
      client = fresh.client(service)
      stream = fresh.stream(client, 1)
      working.put(client, stream, 1, 2)
      local told, tell = working.listener()
      local worker
      local got = {}
      worker = open { on_error = tell }
      local good, err = working.run_beside(worker, function(record)
        got[#got + 1] = record.data
      end, function()
        fresh.eventually(function()
          return #got == 2
        end)
        remake(stream, function()
          return #told > 0
        end)
        working.put(client, stream, 3, 4)
        fresh.eventually(function()
          return #got == 4
        end)
        worker:stop()
      end)
      assert.is_true(good, tostring(err))
      assert.equal("1 2 3 4", table.concat(got, " "))
      assert.matches("ResourceNotFoundException", told[1])
      assert.matches("the stream was deleted and made again", table.concat(told, "\n"))
    end)
  end
end)
