-- The producer's queue when memory is out: flushes and capacity are signalled all the same.
-- Flavours: *lua5.4
local producing = require "support.producing"
local stepping = require "support.stepping"

local torture = assert(package.loadlib(stepping.library, "luaopen_torture"))()
local ready, only, put, results = producing.ready, producing.only, producing.put, producing.results

after_each(function()
  torture.after()
  producing.close_all()
end)

-- The next allocation fails, if there is one.
local function without_memory(f)
  torture.after(0)
  local result = f()
  torture.after()
  return result
end

it("a flush needs no memory, and completes no other flush", function()
  local engine, producer = ready { linger = 60 }
  put(producer, "a")
  local first = producer:flush()
  local request = only(engine)
  put(producer, "b")
  local second = without_memory(function()
    return producer:flush()
  end)
  assert.is_true(second > first)
  assert.is_false(producer:flushed(first))
  local later = producing.requests(engine)[2]
  stepping.land(engine, request, results(request))
  assert.is_true(producer:flushed(first))
  assert.is_false(producer:flushed(second))
  stepping.land(engine, later, results(later))
  assert.is_true(producer:flushed(second))
end)

it("consecutive flushes are all done, each after the records that were put before it", function()
  local engine, producer = ready { linger = 60 }
  local marks = {}
  for i = 1, 20 do
    put(producer, "r" .. i)
    marks[i] = producer:flush()
  end
  local request = only(engine)
  assert.equal(20, #producing.users_of(request))
  assert.is_false(producer:flushed(marks[1]))
  stepping.land(engine, request, results(request))
  for i = 1, 20 do
    assert.is_true(producer:flushed(marks[i]), i)
  end
  assert.is_true(producer:flush() > marks[20])
  engine:step()
  assert.is_true(producer:flushed(marks[20] + 1))
end)

it("capacity is signalled when it was taken for a record that could not be allocated", function()
  local engine, producer = ready { linger = 60, max_bytes = 8192 }
  put(producer, ("x"):rep(3000))
  assert.equal("full", producer:put(("x"):rep(7000), "key"))
  engine:step()
  assert.same({}, stepping.told(engine, "completed"))
  assert.equal("no memory", without_memory(function()
    return producer:put("small", "key")
  end))
  assert.equal(1, #stepping.told(engine, "completed"))
end)

-- In order, of one shard: "first" is in flight when the stream's largest record becomes smaller, while "large" and
-- "behind" wait. One allocation fails in the step that would send them. Returns whether there was one.
local function put_back(count)
  local engine, producer = ready({ linger = 0, ordered = true, aggregate = 1 },
    producing.summary ',"MaxRecordSizeInKiB":2048')
  put(producer, "first")
  local first = only(engine)
  put(producer, ("x"):rep(1500000))
  put(producer, "behind")
  put(producer, "elsewhere", 2)
  local elsewhere = producing.requests(engine)[2]
  stepping.land(engine, elsewhere, results(elsewhere, function()
    return { shard = "nobody-knows" }
  end))
  engine:advance(2)
  engine:step()
  for _, request in ipairs(engine:requests()) do
    if request.operation ~= "PutRecords" then
      engine:answer(request, request.operation == "ListShards" and producing.shard_list(producing.FOUR)
        or producing.summary())
    end
  end
  engine:step()
  engine:answer(first, results(first))
  torture.after(count)
  engine:step()
  local failed = torture.after()
  stepping.serve(engine, 60, results)
  assert.equal(0, producer:stats().open, ("allocation %d"):format(count))
  return failed
end

it("records behind a retried record that has become too large are sent", function()
  local count = 0
  while put_back(count) do
    count = count + 1
  end
  assert.is_true(count > 1)
end)
