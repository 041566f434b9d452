-- What becomes of records whose handler fails, of dead letters, and of records that are acknowledged out of order, when
-- a worker is killed meanwhile: nothing is skipped, and nothing that was behind a checkpoint comes again.
local crowds = require "support.crowd"
local fresh = require "support.fresh"

local FULL = os.getenv "SPEC_FULL" ~= nil
local RECORDS, BAD_EVERY = FULL and 4000 or 400, 20

local client, crowd
local KINESALITE = fresh.services[2]

before_each(function()
  client = fresh.client(KINESALITE)
end)

after_each(function()
  if crowd then
    crowd:abandon()
  end
  crowd = nil
  client:close()
end)

local function put(stream, first, last)
  local records = {}
  for i = first, last do
    local data = (i % BAD_EVERY == 0 and "bad " or "good ") .. i
    records[#records + 1] = { data = data, partition_key = "key " .. i % 50 }
  end
  local _, failed = client:put_many(stream, records)
  assert.equal(0, failed)
end

-- Two workers, one of which is killed in the midst of the records; another comes. `bad`: see crowd_worker.lua; `count`:
-- how many records will be processed.
local function run(options, bad, count)
  local stream = fresh.stream(client, 4)
  for name, value in pairs { failover = 10, take_interval = 1, checkpoint_interval = 0.3, poll_interval = 0.2 } do
    options[name] = value
  end
  crowd = crowds.new(KINESALITE, stream, options, { bad = bad, pause = 0.005 })
  local first, second = crowd:start(), crowd:start()
  crowd:await_lease(first)
  crowd:await_lease(second)
  put(stream, 1, RECORDS / 2)
  crowd:await_records(count / 4)
  crowd:kill(second)
  crowd:start()
  put(stream, RECORDS / 2 + 1, RECORDS)
  return function()
    crowd:await_records(count)
    crowd:stop_all()
    assert.equal(count, crowd.distinct)
    assert.same({}, (crowd:problems()))
  end
end

local GOOD = RECORDS - RECORDS / BAD_EVERY

it("retry: a record that fails twice is processed", function()
  run({ on_record_error = "retry" }, "twice", RECORDS)()
end)

it("skip: the others are processed", function()
  run({ on_record_error = "skip" }, "always", GOOD)()
  assert.is_true(crowd:count "trouble" >= RECORDS - GOOD, "each of them is told")
end)

it("a function that decides: the others are processed", function()
  run({ on_record_error = "function" }, "always", GOOD)()
end)

it("stop: a worker ends, and another processes the record", function()
  local finish = run({ on_record_error = "stop" }, "once", RECORDS)
  fresh.eventually(function()
    return crowd:living() < 2 or crowd:find "over"
  end)
  finish()
  local over = crowd:find "over"
  assert.equal("nil", over.shard)
  assert.matches("cannot_process_bad", over.reason)
end)

it("skip, with dead letters: they are stored before the checkpoint moves", function()
  local dead = fresh.stream(client, 1)
  run({ on_record_error = "skip", dead_letter = dead }, "always", GOOD)()
  local letters, count = {}, 0
  for _, record in ipairs(fresh.read(client, dead)) do
    count = count + (letters[record.data] and 0 or 1)
    letters[record.data] = true
  end
  assert.equal(RECORDS - GOOD, count)
end)

it("ack: records that are acknowledged out of order", function()
  run({ ack = true, max_in_flight = 50 }, nil, RECORDS)()
end)

it("ack, by lists", function()
  run({ ack = true, batch = true, max_in_flight = 50 }, nil, RECORDS)()
end)
