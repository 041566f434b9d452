-- Memory that runs out: each allocation of the core fails in turn, once. Every call and record gets its outcome
-- once, and (under ASan) nothing leaks.
-- Flavours: lua5.4 luajit asan-lua5.4
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local producing = require "support.producing"
local reading = require "support.reading"
local stepped = require "stepped"
local stepping = require "support.stepping"
local IN = producing.IN
local torturing = require "support.torturing"
local check_code, fail_each = torturing.check_code, torturing.fail_each

after_each(torturing.finish)

describe("memory that runs out", function()
  it("in a call: it is answered once", function()
    fail_each(function()
      local made = stepping.engine { max_attempts = 3 }
      made:call("PutRecord", '{"StreamName":"s","Data":"aGVsbG8=","PartitionKey":"k"}')
      local broken = true
      stepping.serve(made, 60, function()
        broken = not broken
        return broken and stepping.BROKEN or stepping.FINE
      end)
      return stepping.told(made, "answer")
    end, function(answers, failed)
      assert.equal(1, #answers)
      assert.is_true(failed or not answers[1].failure)
      check_code(answers[1].failure and answers[1].failure.code)
    end)
  end)

  it("in a call that the service refuses: its error is posted", function()
    fail_each(function()
      local made = stepping.engine { max_attempts = 3 }
      made:call("PutRecord", "{}")
      stepping.serve(made, 60, function()
        return stepping.error "ResourceNotFoundException"
      end)
      return stepping.told(made, "answer")
    end, function(answers, failed)
      assert.equal(1, #answers)
      assert.is_true(failed or answers[1].failure.code == "ResourceNotFoundException")
      check_code(answers[1].failure.code)
    end)
  end)

  it("in put_many: each record has its result", function()
    local list = {}
    for i = 1, 40 do
      list[i] = { data = ("data"):rep(i), partition_key = "key-" .. i }
    end
    fail_each(function()
      local made = stepping.engine { max_attempts = 3 }
      local id, taken = made:put_many("stream", list)
      assert(id, "out of memory, or stopped")
      local calls = 0
      stepping.serve(made, 60, function(request)
        local results, n = {}, 0
        calls = calls + 1
        if calls == 2 then
          return stepping.error "ValidationException"
        elseif calls == 3 then
          return { body = "garbage" }
        end
        for _ in request.body:gmatch '"PartitionKey"' do
          n = n + 1
          results[n] = calls == 1 and n % 2 == 0 and '{"ErrorCode":"InternalFailure","ErrorMessage":"again"}'
            or ('{"ShardId":"a","SequenceNumber":"%d"}'):format(n)
        end
        return { body = '{"Records":[' .. table.concat(results, ",") .. "]}" }
      end)
      return { taken = taken, settled = stepping.told(made, "put_many_done") }
    end, function(outcome, failed)
      assert.equal(1, #outcome.settled)
      local results = outcome.settled[1].results
      assert.equal(outcome.taken, #results)
      for _, result in ipairs(results) do
        assert.is_true((result.code == nil) ~= (result.sequence_number == nil))
        assert.is_true(failed or result.code == nil)
        if not (result.message or ""):find('"garbage"', 1, true) then
          check_code(result.code)
        end
      end
      assert.is_true(failed or #results == #list)
    end)
  end)

  for name, options in pairs {
    ["that aggregates"] = { linger = 0.05, aggregate_records = 7, batch_records = 3 },
    ["that sends one by one, in order"] = { linger = 0.05, aggregate = 1, ordered = true, ttl = 300 },
  } do
    it("in a producer " .. name .. ": every record that it took gets one outcome", function()
      local half = "170141183460469231731687303715884105728"
      local whole = [[{"ShardId":"whole","HashKeyRange":{"StartingHashKey":"0",
        "EndingHashKey":"340282366920938463463374607431768211455"},"SequenceNumberRange":{}}]]
      local shards = ([[{"Shards":[{"ShardId":"a","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"%s7"},
        "SequenceNumberRange":{}},{"ShardId":"b","HashKeyRange":{"StartingHashKey":"%s","EndingHashKey":"%s"},
        "SequenceNumberRange":{}}]}]]):format(half:sub(1, -2), half, "340282366920938463463374607431768211455")
      fail_each(function()
        local made = stepping.engine { max_attempts = 3 }
        local producer = made:producer(options)
        local outcome, calls, lists = { taken = 0, settled = {} }, 0, 0
        for i = 1, 20 do
          local answer = producer:put("record " .. i, "key" .. i, i % 2 == 0 and "0" or half, { receipt = i % 3 == 0 })
          outcome.taken = outcome.taken + (IN[answer] and 1 or 0)
        end
        stepping.serve(made, 400, function(request)
          if request.operation == "ListShards" then
            lists = lists + 1 -- two pages; the second list shows a parent, too
            return { body = lists == 1 and '{"Shards":[],"NextToken":"more"}'
              or lists == 3 and shards:gsub("%[", "[" .. whole .. ",") or shards }
          elseif request.operation == "DescribeStreamSummary" then
            return { body = '{"StreamDescriptionSummary":{}}' }
          end
          local results, n = {}, 0
          calls = calls + 1
          for _ in request.body:gmatch '"PartitionKey"' do
            n = n + 1
            results[n] = (calls + n) % 4 == 0 and '{"ErrorCode":"InternalFailure","ErrorMessage":"again"}'
              or ('{"ShardId":"%s","SequenceNumber":"%d"}'):format(calls == 2 and "c" or "a", n)
          end
          return { body = '{"Records":[' .. table.concat(results, ",") .. "]}" }
        end)
        producer:remove()
        made:step()
        outcome.closed = 0
        for _, record in ipairs(producer:collect()) do
          assert.is_nil(outcome.settled[record.data])
          outcome.settled[record.data] = record.outcome
          outcome.closed = outcome.closed + (record.outcome == "closed" and 1 or 0)
        end
        outcome.stats = producer:stats()
        producer:close()
        return outcome
      end, function(outcome, failed)
        local stats = outcome.stats
        assert.equal(outcome.taken, stats.accepted)
        for code in pairs(stats.errors) do
          check_code(code)
        end
        assert.equal(outcome.taken, stats.stored + stats.failed + stats.expired + stats.returned)
        assert.equal(0, stats.open)
        assert.equal(0, stats.held)
        assert.is_true(failed or (stats.stored == 20 and outcome.closed == 0))
      end)
    end)
  end

  it("in a reader: every record is posted once, or an error about memory is the last message", function()
    fail_each(function()
      local made = stepping.engine { max_attempts = 3 }
      reading.read(made, { "a", { id = "old", unlisted = true, kind = "SHARD_END" },
        { id = "later", unlisted = true, kind = "TRIM_HORIZON" } }, { follow = true, report_starts = true })
      -- an iterator gives the same page at every call
      local pages = {
        a = stepping.page { next = "it:a2", { "1" }, { "2" } },
        a2 = stepping.page { { "3" }, children = { { "b", "a", "unknown" } } },
        b = stepping.page { next = "it:b2", { "4" } },
        b2 = stepping.page { { "5" } },
        unknown = stepping.page { children = { { "b", "a", "unknown" } } },
        later = stepping.page { next = "it:later" },
      }
      local lists = {
        reading.list { { "a" }, token = "more" }, reading.list { { "unknown" }, { "b", "a", "unknown" } },
        reading.list { { "a" }, { "unknown" }, { "b", "a", "unknown", closed = true }, { "later", "b" } },
      }
      local listed = 0
      local outcome = { order = {}, ends = 0 }
      for _ = 1, 20 do
        stepping.serve(made, 5, reading.service(function(name)
          return pages[name]
        end, function()
          listed = listed + 1
          return lists[math.min(listed, #lists)]
        end))
        for _, page in ipairs(stepping.told(made, "page")) do
          for _, record in ipairs(page.records) do
            outcome.order[#outcome.order + 1] = record.sequence_number
          end
        end
        made:give_back()
      end
      outcome.ends = #stepping.told(made, "shard_end")
      for _, trouble in ipairs(stepping.told(made, "trouble")) do
        if not trouble.failure.message:find("has named no child", 1, true) then -- that list was lost
          check_code(trouble.failure.code)
        end
        outcome.fatal = outcome.fatal or (trouble.fatal and trouble.failure.message)
      end
      return outcome
    end, function(outcome, failed)
      local order = table.concat(outcome.order, " ")
      assert.equal(("1 2 3 4 5"):sub(1, #order), order)
      if outcome.fatal then
        assert.is_true(failed)
        assert.matches("memory", outcome.fatal)
      else
        assert.equal("1 2 3 4 5", order)
        assert.equal(4, outcome.ends) -- of a, b, old and unknown
      end
    end)
  end)

  it("in a reader with an end by time: it comes to its end, or reports an error about memory", function()
    fail_each(function()
      local made = stepping.engine { max_attempts = 3 }
      reading.read(made, { "a", { id = "m", closed = true }, { id = "p", parent_id = "m" },
        { id = "q", parent_id = "p" } }, { follow = true, ["until"] = stepping.NEW_YEAR - 10 })
      local pages = {
        a = stepping.page { next = "it:a" },
        m = stepping.page { next = "it:m", { "1" }, { "2", nil, stepping.NEW_YEAR - 5 } },
      }
      stepping.serve(made, 60, reading.service(function(name)
        return pages[name]
      end, function()
        return reading.list { { "a" }, { "m", closed = true }, { "p", "m" }, { "q", "p" } }
      end))
      local outcome = { ends = #stepping.told(made, "shard_end"), over = #stepping.told(made, "all_read") }
      for _, trouble in ipairs(stepping.told(made, "trouble")) do
        check_code(trouble.failure.code)
        outcome.fatal = outcome.fatal or trouble.fatal
      end
      return outcome
    end, function(outcome, failed)
      if outcome.fatal then
        assert.is_true(failed)
      else
        assert.same({ 4, 1 }, { outcome.ends, outcome.over })
      end
    end)
  end)

  -- Serves so many rounds, and takes the pages of each; `count`: of the shards that had some.
  local function read_rounds(made, rounds, seconds, answer)
    local outcome, seen = { count = 0 }, {}
    for _ = 1, rounds do
      stepping.serve(made, seconds, reading.service(answer))
      for _, page in ipairs(stepping.told(made, "page")) do
        outcome.count = outcome.count + (seen[page.shard_id] and 0 or 1)
        seen[page.shard_id] = true
      end
      made:give_back()
    end
    for _, trouble in ipairs(stepping.told(made, "trouble")) do
      check_code(trouble.failure.code)
      outcome.fatal = outcome.fatal or trouble.fatal
    end
    return outcome
  end

  local function check_rounds(outcome, failed)
    assert.is_true(outcome.count == 3 or failed and outcome.fatal)
  end

  it("in a reader whose answers wait for space: the same", function()
    local data = ("A"):rep(300 * 1024)
    fail_each(function()
      local made, pages = stepping.engine {}, {}
      reading.read(made, { "a", "b", "c" }, { window = 200 * 1024 })
      -- six empty pages of each, then all are larger than the window
      return read_rounds(made, 14, 2, function(shard)
        pages[shard] = (pages[shard] or 0) + 1
        return stepping.page { next = "it:" .. shard, pages[shard] > 6 and { shard, data } or nil }
      end)
    end, check_rounds)
  end)

  it("in readers that share a window: the same", function()
    local data = ("A"):rep(20 * 1024)
    fail_each(function()
      local made, pool = stepping.engine {}, stepped.window_pool(300 * 1024)
      for _, shard in ipairs { "a", "b", "c" } do
        reading.read(made, { shard }, { window_pool = pool })
      end
      return read_rounds(made, 6, 1, function(shard, request)
        local records = { next = "it:" .. shard, behind = 1 }
        for i = 1, tonumber(request.body:match '"Limit":(%d+)}$') do
          records[i] = { tostring(i), data }
        end
        return stepping.page(records)
      end)
    end, check_rounds)
  end)

  it("in commands to a reader: each shard is read from where they say, or an error about memory is the last message",
    function()
      fail_each(function()
        local made = stepping.engine { max_attempts = 3 }
        local id = reading.read(made, { { id = "p", closed = true }, { id = "c", parent_id = "p" },
          { id = "d", parent_id = "p" } }, { follow = true })
        local answer = reading.service(function(name)
          local children = { { "c", "p" }, { "d", "p" } }
          return name == "p" and stepping.page { { "1" }, children = children } or stepping.page { { "2" } }
        end, function()
          return reading.list { { "p", closed = true }, { "c", "p", closed = true }, { "d", "p", closed = true } }
        end)
        stepping.serve(made, 1, answer)
        made:command(id, 1, { { id = "p", command = "pause", kind = "AT_SEQUENCE_NUMBER", sequence_number = "1" } })
        made:command(id, 2, { whole = "pause" })
        made:step()
        stepping.told(made, "page")
        made:command(id, 3, { whole = "everything", { id = "d", command = "seek", kind = "TRIM_HORIZON" } })
        stepping.serve(made, 3, answer)
        local outcome = { order = {}, applied = #stepping.told(made, "applied") }
        for _, page in ipairs(stepping.told(made, "page")) do
          outcome.order[#outcome.order + 1] = page.shard_id
        end
        for _, trouble in ipairs(stepping.told(made, "trouble")) do
          outcome.fatal = outcome.fatal or trouble.fatal and trouble.failure.message
        end
        return outcome
      end, function(outcome, failed)
        if outcome.fatal then
          assert.is_true(failed)
          assert.matches("memory", outcome.fatal)
        else
          assert.equal(3, outcome.applied)
          assert.equal("p", outcome.order[1])
          table.sort(outcome.order)
          assert.equal("c d p", table.concat(outcome.order, " "))
        end
      end)
    end)
end)

-- The module itself, with real threads and a real service: each allocation of its C in Lua's thread, then each of
-- Lua's own, fails, while a client makes calls and is closed.
local LIFE = [[
local torture = assert(package.loadlib(package.searchpath("kinesis.core", package.cpath), "luaopen_torture"))()
local core, kinesis, lfs = require "kinesis.core", require "kinesis", require "lfs"
local leases, memory = require "kinesis.worker.leases", require "kinesis.store.memory"
local context = require "kinesis.credentials.context"
local endpoint, stream, what, step, part = arg[1], arg[2], arg[3], tonumber(arg[4]), arg[5]

if jit then jit.off() end -- LuaJIT itself crashes when it gets no memory for a trace

local aggregates -- of the part that only reads: shards of a client that stays

local function count(folder)
  local n = -2 -- . and ..
  for _ in lfs.dir("/proc/self/" .. folder) do n = n + 1 end
  return n
end

-- Collects, and returns what is held. A thread that was joined is seen in /proc a little longer.
local function held()
  for _ = 1, 3 do collectgarbage() end
  local deadline = core.now() + 5
  while count "task" > (aggregates and 2 or 1) and core.now() < deadline do end
  local threads = count "task" .. " threads"
  return aggregates and threads or threads .. ", " .. count "fd" .. " descriptors" -- a client keeps connections or not
end

local list = {}
for i = 1, 3 do list[i] = { data = "many " .. i, partition_key = "key " .. i } end

local function must(result, err)
  if not result then error(err, 0) end
  return result
end

local function ignore() end

local function produce(client)
  local producer = must(client:producer(stream, { linger = 0, exit_timeout = 0.1, on_failure = ignore }))
  must(producer:put("three", "key"))
  local receipt = must(producer:send("four", "key", { explicit_hash_key = "7" }))
  must(receipt:wait(10))
  must(producer:flush(10))
  assert(producer:stats().stored == 2)
  local data = kinesis.aggregate(list)
  assert(#kinesis.deaggregate(data) == 3)
  must(producer:close(10))
end

-- Leases of both kinds of stores. A row of the file may be left from an earlier call that has failed.
local function hold(client)
  for _, options in ipairs { { store = memory.new() }, { folder = arg[6], application = "counter" } } do
    options.worker, options.failover, options.exit_timeout = "a", 60, 1
    local held = must(leases.open(client, options))
    local made, err = held:create("s1", { counter = 0, checkpoint = "5" })
    if made == nil then error(err, 0) end
    must(held:take("s1", must(held:get "s1")))
    must(held:write("s1", { checkpoint = "6" }))
    assert(must(held:list()).s1.checkpoint == "6" and held:is_valid "s1" and held:is_alive "b")
    must(held:release("s1", {}))
    must(held:delete("s1", must(held:get "s1")))
    held:close()
  end
end

local function life()
  local client = must(kinesis.client { endpoint = endpoint, region = "us-east-1", credentials = ignore,
    on_request = ignore, on_response = ignore })
  client.credentials.is_chain, client.credentials.provider = true, function()
    local own_context = context.of(client, {}, {})
    must(own_context.request { method = "GET", url = endpoint, timeout = 5 })
    assert(must(own_context.run({ "echo", "keys" }, 5)).output == "keys\n")
    return { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" }
  end
  must(client:put(stream, "one", "key", { explicit_hash_key = "7" }))
  local results, failed = client:put_many(stream, list)
  if not results then error(failed, 0) end
  assert(#results == 3)
  for _, result in ipairs(results) do
    if result.code then error(result, 0) end
  end
  must(client:call("DescribeStreamSummary", { StreamName = stream }))
  local reader = client:shards(stream):records { limit = 4, poll_interval = 0.2 }
  local count = 0
  for record in reader do
    count = count + (#record.data > 2 and 1 or 0)
  end
  assert(count == 4)
  local batches = client:shards(stream):records { batch = true, limit = 4, drop_misplaced = true }
  assert(#batches() > 0)
  assert(reader:position().shards)
  local moved = client:shards(stream):records { poll_interval = 0.2 }
  local id = moved().shard_id
  assert(moved:pause(id) and moved:resume(id) and moved:pause() and moved:resume(id) and moved:seek "trim_horizon")
  assert(moved:position().shards[id] == "trim_horizon")
  moved:close()
  assert(reader:stats().records == 4 and reader:lag())
  batches:close()
  kinesis.run(function() must(client:put(stream, "two", "key")) end, function() kinesis.sleep(0) end)
  produce(client)
  hold(client)
  client:close()
end

-- ---- reading ----

-- The ways to read: options, and all user records of what was returned.
local ways = {
  { {}, function(record) return { record.data } end },
  { { fields = { "data", "sub_sequence_number" } }, function(record) return { record.data } end },
  { { values = { "data", "partition_key", "explicit_hash_key" } }, function(data) return { data } end },
  { { batch = true }, function(list)
    local all = {}
    for i, record in ipairs(list) do all[i] = record.data end
    return all
  end },
  { { batch = "columns" }, function(columns) return columns.data end },
  { { deaggregate = false }, function(record)
    local all = {}
    for i, each in ipairs(kinesis.deaggregate(record.data) or { record }) do all[i] = each.data end
    return all
  end },
}

-- What fails for want of memory is done again, and then succeeds: the next call goes on where the failed one was.
local out_of_memory = 0
local function again(f, ...)
  local good, result = pcall(f, ...)
  if good then return result end
  assert(tostring(result):find "memory", tostring(result))
  out_of_memory = out_of_memory + 1
  return f(...)
end

-- Reads six user records, and the rest from the position behind them.
local function read_all(shards, options, all_of)
  local read, position = {}, nil
  for _, most in ipairs { 6, 12 } do
    options.from, options.idle_timeout = position, 20
    local reader = again(function() return (shards:records(options)) end)
    while #read < most do
      local got = again(reader.next, reader) -- nothing is allocated behind it
      assert(got, "a record was lost")
      for _, data in ipairs(all_of(got)) do read[#read + 1] = data end
    end
    position = again(reader.position, reader)
    again(reader.close, reader)
  end
  return table.concat(read, " ")
end

local function reading(way)
  out_of_memory = 0
  assert(read_all(aggregates, way[1], way[2]) == "1 2 3 4 5 6 7 8 9 10 11 12")
  if out_of_memory > 0 then error("memory was out", 0) end
end

-- Fails each allocation of f(...) in turn, until it succeeds with none failing. Returns the number of these, and of the
-- failures that were reported.
local function fail_each(f, ...)
  f(...)
  local before, reported = held(), 0
  for n = 0, 100000, step do
    torture[what](n)
    local good, err = pcall(f, ...)
    local failed = torture[what]()
    assert(held() == before, "after " .. n .. ": " .. held() .. ", before: " .. before)
    if not failed then
      assert(good, tostring(err))
      return n, reported
    elseif not good then
      assert(tostring(err):find "memory", tostring(err))
      assert(type(err) ~= "table" or not err.code or err.code == "OutOfMemory"
        or err.message == "the store raised: not enough memory", tostring(err))
      reported = reported + 1
    end
  end
end

if part == "life" then
  print("through", fail_each(life))
else
  local client = kinesis.client { endpoint = endpoint, region = "us-east-1",
    credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } }
  aggregates = client:shards(stream)
  local all, all_reported = 0, 0
  for _, way in ipairs(ways) do
    local through, reported = fail_each(reading, way)
    all, all_reported = all + through, all_reported + reported
  end
  print("through", all, all_reported)
end
io.stdout:flush()
os.exit(0) -- no library is unloaded, so that a leak is reported with symbols
]]

describe("memory that runs out in Lua's thread", function()
  local client, stream

  setup(function()
    client = fresh.client(os.getenv "KINESALITE")
    stream = fresh.stream(client, 2)
    local records = { { data = "high", partition_key = "k" }, { data = "low", partition_key = "a" } }
    assert(client:put(stream, (kinesis.aggregate(records)), "a", { explicit_hash_key = "0" }))
    local _, failed = client:put_many(stream, { { data = "first" }, { data = "second" } })
    assert.equal(0, failed)
  end)

  teardown(function()
    client:call("DeleteStream", { StreamName = stream })
    client:close()
  end)

  local function fail_each_of(what, step, name, part)
    local output, status = fresh.lua(LIFE, {
      LUA_CPATH = stepping.library:match "^(.*)/[^/]*$" .. "/tortured/?.so;" .. package.cpath,
    }, os.getenv "KINESALITE", name, what, step, part, fresh.folder {} .. "/leases"):wait()
    assert.equal(0, status, output)
    local through, reported = output:match "through%s+(%d+)%s+(%d+)"
    assert.is_true(tonumber(through) > 20 and tonumber(reported) > 5, output)
  end

  for what, step in pairs { after = 1, lua_after = 7 } do
    it("costs a reader of aggregates no record, whatever it returns, nor its position: " .. what, function()
      local name = fresh.stream(client, 1)
      local records = {}
      for i = 1, 10 do
        records[i] = { data = ("%d"):format(i), partition_key = "key " .. i % 3,
          explicit_hash_key = i % 4 == 0 and "7" or nil }
      end
      assert(client:put(name, (kinesis.aggregate(records)), "key"))
      assert(client:put(name, "11", "key"))
      assert(client:put(name, (kinesis.aggregate { { data = "12", partition_key = "key" } }), "key"))
      fail_each_of(what, step, name, "reading")
    end)
  end

  for what, step in pairs { after = 1, lua_after = 7 } do
    it("is reported, and nothing is left: " .. what, function()
      fail_each_of(what, step, stream, "life")
    end)
  end
end)
