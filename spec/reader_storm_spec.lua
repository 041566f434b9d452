-- Faults of every kind on every fourth call of a reader, in any order: of 2,000 aggregated records it loses none,
-- returns none twice, keeps the order of shards and lineage, and does not stop.
-- Flavours: *lua5.4 *luajit
local canned = require "support.canned"
local cjson = require "cjson"
local faults = require "support.faults"
local kinesis = require "kinesis"
local randoms = require "support.random"

local unpack = table.unpack or unpack

local LESS = os.getenv "SPEC_LESS" ~= nil

local FAILURES = {
  { code = "InternalFailure", status = 500 }, { code = "ServiceUnavailable", status = 503 }, { raw = "\1\2\3" },
  { code = "ThrottlingException" }, { body = "<html>busy</html>", status = 502 }, { body = "", status = 200 },
  { reset = "before" }, { reset = "after" }, { cut = 10 }, { cut = 300 }, { truncate = 25 }, { truncate = 300 },
  { lie = 10 }, { lie = -1 }, { stall = 0.2 }, { stall = 1.2 }, { dribble = 0.01 }, { body = '{"x":', status = 200 },
}
local READING = {
  { code = "ExpiredIteratorException" }, { code = "ExpiredIteratorException" }, { code = "ResourceNotFoundException" },
  { code = "ProvisionedThroughputExceededException" },
  { body = "{}", status = 200 },
  { body = '{"Records":[{"Data":"====","SequenceNumber":"1"}],"NextShardIterator":"x"}', status = 200 },
}
-- There are no such answers for shards that are closed.
local NO_ITERATOR = {
  { body = '{"Records":[],"MillisBehindLatest":5000}', status = 200 }, { body = '{"Records":[]}', status = 200 },
  { body = '{"Records":[],"NextShardIterator":null,"ChildShards":null,"MillisBehindLatest":null}', status = 200 },
}

local function joined(...)
  local all = {}
  for _, list in ipairs { ... } do
    for _, entry in ipairs(list) do
      all[#all + 1] = entry
    end
  end
  return all
end

-- Rules for `count` calls, every fourth of which draws one of `kinds`. What has had no answer yet tries three times:
-- of the first dozen calls it is every other one.
local function storm(kinds, count, random)
  local rules = {}
  for i = 1, count do
    local draws = i > 12 and random(4) == 1 or i <= 12 and i % 2 == 0
    rules[i] = draws and kinds[random(#kinds)] or {}
  end
  return rules
end

-- Reads the stream through a storm, now and then with a new reader from a saved position. Returns how many failures
-- the readers told.
local function read_all(stream, seed, kinds)
  local random = randoms.new(seed)
  local scope = faults.open({ GetRecords = storm(kinds, 200, random), ListShards = storm(FAILURES, 40, random),
    GetShardIterator = storm(FAILURES, 60, random) }, { service = "canned" })
  local client = scope:client { max_attempts = 10, request_timeout = 1 }
  local check, take, chosen = stream:check(), unpack(canned.ways[random(#canned.ways)])
  local shards, troubles, position = client:shards(stream.name), 0, nil
  local function on_error()
    troubles = troubles + 1
  end
  repeat
    local options = { from = position, stop_at_tip = true, poll_interval = 0.2, idle_timeout = 30, on_error = on_error }
    for name, value in pairs(chosen) do
      options[name] = value
    end
    local reader, until_count = shards:records(options), check.count + 200 + random(800)
    local got
    repeat
      got = take(check, reader)
    until not got or check.count >= until_count
    position = cjson.decode(cjson.encode(reader:position()))
    reader:close()
  until not got
  client:close()
  assert(check:is_complete())
  return troubles
end

-- What the shards are like, and how many readers there are of each.
local READERS = LESS and 1 or os.getenv "SPEC_FULL" and 30 or 2
local STREAMS = {
  { page = 16 }, -- parents and children
  { page = 16, nulls = true, bogus_end = true },
  { page = 16, no_children = true }, -- only the list names children
  { page = 16, open = true }, -- iterators are missing now and then
  { page = 16, open = true, nulls = true },
}

describe("a reader in a storm of faults", function()
  it("reads every user record once, in order, and goes on", function()
    local tasks, failures, troubles = {}, {}, 0
    for number = 1, #STREAMS * READERS do
      local options = STREAMS[(number - 1) % #STREAMS + 1]
      local stream = canned.stream(2026 + number, LESS and 300 or 2000, options.page, options)
      local kinds = joined(FAILURES, READING, options.open and NO_ITERATOR or {})
      tasks[number] = function()
        local seed = randoms.seed(number)
        local good, result = pcall(read_all, stream, seed, kinds)
        troubles = troubles + (good and result or 0)
        failures[#failures + 1] = not good and ("seed %d, stream %d: %s"):format(seed, number, tostring(result)) or nil
      end
    end
    kinesis.run(unpack(tasks))
    assert.same({}, failures)
    assert.is_true(troubles > 0)
  end)
end)
