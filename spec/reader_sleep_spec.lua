-- A consumer that sleeps for longer than iterators live: what is read ahead is bounded, and nothing is lost.
local canned = require "support.canned"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local reading = require "support.reading"
local stepping = require "support.stepping"

local MIB = 1024 * 1024

describe("a reader in the engine whose consumer sleeps", function()
  local LIFE, SHARDS, PAGE, WINDOW = 300, 8, 3, 4 * MIB -- seconds; records
  local DATA = ("A"):rep(80000)
  local EXPIRED = stepping.error "ExpiredIteratorException"

  -- A service whose shards always have more, and whose iterators live for LIFE. Counts the calls with expired ones, and
  -- the calls for new ones.
  local function endless(engine)
    local service = { expired = 0, renewed = 0 }
    local function iterator(shard, index)
      return ("%s:%d:%d"):format(shard, index, math.floor(engine:now()))
    end
    function service.answer(request)
      if request.operation == "GetShardIterator" then
        service.renewed = service.renewed + 1
        local after = stepping.member(request, "StartingSequenceNumber")
        return stepping.iterator(iterator(stepping.member(request, "ShardId"), (tonumber(after) or 0) + 1))
      end
      local shard, first, since = stepping.member(request, "ShardIterator"):match "^(.*):(%d+):(%d+)$"
      if engine:now() - since > LIFE then
        service.expired = service.expired + 1
        return EXPIRED
      end
      local answer = { next = iterator(shard, first + PAGE), behind = 1000 }
      for i = 1, PAGE do
        answer[i] = { ("%d"):format(first + i - 1), DATA }
      end
      return stepping.page(answer)
    end
    return service
  end

  it("reads ahead no more than its window, and goes on with new iterators", function()
    local engine = stepping.engine {}
    local service, names, last, most = endless(engine), {}, {}, 0
    for i = 1, SHARDS do
      names[i] = "shard" .. i
    end
    reading.read(engine, names, { window = WINDOW })
    local function consume()
      local bytes, count = 0, 0
      for _, page in ipairs(stepping.told(engine, "page")) do
        bytes, count = bytes + page.bytes, count + #page.records
        for _, record in ipairs(page.records) do
          assert.equal((last[page.shard_id] or 0) + 1, tonumber(record.sequence_number))
          last[page.shard_id] = tonumber(record.sequence_number)
        end
      end
      engine:give_back()
      return bytes, count
    end
    for i = 1, 20 do
      -- mostly it sleeps beyond the life of iterators, or just as long
      stepping.serve(engine, ({ LIFE + 100, LIFE, 1, 10 * LIFE })[i % 4 + 1], service.answer)
      local bytes, count = consume()
      assert.is_true(count > 0, "nothing came in the sleep " .. i)
      most = math.max(most, bytes)
    end
    assert.is_true(most > WINDOW / 2 and most <= WINDOW, most .. " bytes were read ahead")
    assert.equal(0, service.expired)
    assert.is_true(service.renewed >= 15)
    for i, name in ipairs(names) do
      assert.is_true(last[name] > 10 * PAGE, "shard " .. i .. " had no turn")
    end
    for _, trouble in ipairs(stepping.told(engine, "trouble")) do
      assert.equal("quiet", trouble.level)
    end
    stepping.close_all()
  end)
end)

describe("a reader", function()
  it("goes on when all iterators expire, again and again", function()
    local stream = canned.stream(2026, 2000, 10)
    local client, check, complaints = stream.client(), stream:check(), {}
    local reader = client:shards(stream.name):records { stop_at_tip = true, poll_interval = 0.2, idle_timeout = 30,
      on_error = function(err)
        complaints[#complaints + 1] = tostring(err)
      end }
    for record in reader do
      check:take(record.data)
      if check.count % 100 == 0 then
        stream:expire()
      end
    end
    assert(check:is_complete())
    assert.same({}, complaints)
    client:close()
  end)

  local seconds = tonumber(os.getenv "SPEC_SLEEP")
  if seconds then -- make soak: the life of iterators is five minutes
    it("whose consumer sleeps for " .. seconds .. " s loses nothing, and stays as large as it was", function()
      local service, SHARDS, RECORDS = fresh.services[2], 4, 40000
      local client = fresh.client(service)
      local stream = fresh.stream(client, SHARDS, "sleep")
      local function memory()
        for line in io.lines "/proc/self/status" do
          local kib = line:match "^VmRSS:%s+(%d+) kB"
          if kib then
            return kib / 1024
          end
        end
      end
      for first = 1, RECORDS, 500 do
        local entries = {}
        for i = 1, 500 do
          entries[i] = { data = ("%d %s"):format(first + i - 1, ("x"):rep(200)), partition_key = "key " .. i }
        end
        local _, failed = client:put_many(stream, entries)
        assert.equal(0, failed)
      end
      local reader = client:shards(stream):records { stop_at_tip = true, poll_interval = 0.2, idle_timeout = 60 }
      local read, count = {}, 0
      for record in reader do
        local number = tonumber(record.data:match "^%d+")
        assert.is_nil(read[number])
        read[number], count = true, count + 1
        if count == RECORDS / 4 then
          local before = memory()
          kinesis.sleep(seconds)
          collectgarbage()
          assert.is_true(memory() - before < 20, ("%.1f MiB before, %.1f MiB after"):format(before, memory()))
        end
      end
      assert.equal(RECORDS, count)
      client:close()
    end)
  end
end)
