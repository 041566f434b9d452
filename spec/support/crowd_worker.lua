-- One worker of support/crowd.lua, in a process of its own: notes what it does in a file that all of them append to.
-- The argument is JSON, see there.
local cjson = require("cjson").new()
local core = require "kinesis.core"
local kinesis = require "kinesis"
local shared_store = require "support.shared_store"

local WATCH = 0.05 -- seconds between two looks for the file that stops it

local config = cjson.decode(arg[1])
local out = assert(io.open(config.log, "a"))
out:setvbuf "no"

local function exists(path)
  local file = io.open(path)
  return file and file:close()
end

local function read_first(path, what)
  local file = io.open(path)
  local found = file and file:read(what)
  return found, file and file:close()
end

-- One write to a file that is open for appending: lines of several processes do not mix.
local function note(...)
  out:write(table.concat({ config.name, ("%.4f"):format(core.now()), ... }, " ") .. "\n")
end

local function peak_memory()
  return read_first("/proc/self/status", "*a"):match "VmHWM:%s+(%d+)"
end

local client = assert(kinesis.client { endpoint = config.endpoint, region = "us-east-1",
  credentials = { access_key_id = "a", secret_access_key = "s" } })
local options = config.options
if config.store then
  options.store = shared_store.open(config.store, config.name)
end

function options.on_lease_taken(shard)
  note("taken", shard.id)
end

function options.on_lease_lost(shard, reason)
  note("lost", shard.id, reason)
end

function options.on_shard_end(shard)
  note("end", shard.id)
end

function options.on_error(err, what)
  note("trouble", (tostring(what) .. ": " .. tostring(err)):gsub("%s", "_"), "")
end

if options.on_record_error == "function" then
  function options.on_record_error(_, _, attempt)
    return attempt < 2 and "retry" or "skip"
  end
end

local worker = assert(client:worker(config.stream, "counter", options))
note("begins", worker:stats().worker, (read_first("/proc/self/stat", "*n")))

-- Whether this is the first process that asks for this.
local function is_first(what)
  local path = config.log .. " " .. what
  return not exists(path) and assert(io.open(path, "wb")):close()
end

local attempts = {}

-- Records whose data begin with one of these words are processed in another way. `config.bad`: how often "bad" ones
-- raise: "always", "once" in all, or each of them "twice" in a process.
local function handle(record)
  local word = record.data:match "^%a+"
  if word == "bad" then
    attempts[record.data] = (attempts[record.data] or 0) + 1
    if config.bad == "always" or config.bad == "once" and is_first "bad"
      or config.bad == "twice" and attempts[record.data] <= 2 then
      error("cannot process " .. record.data, 0)
    end
  elseif word == "block" and is_first(record.data) then
    note("blocked", record.shard_id)
    os.execute("sleep " .. config.block)
    note("unblocked", record.shard_id)
  elseif config.pause then
    kinesis.sleep(config.pause)
  end
end

local held = {}

-- Acknowledges records by tens, the last one first.
local function acknowledge()
  for i = #held, 1, -1 do
    worker:ack(held[i])
  end
  held = {}
end

local function process(record, shard)
  handle(record)
  note("record", shard.id, record.sequence_number, record.sub_sequence_number or 0, record.data)
end

-- Processes what the handler gets: a record, or a list.
local function process_all(given, shard)
  for _, record in ipairs(given[1] and given or { given }) do
    process(record, shard)
  end
  if options.ack then
    held[#held + 1] = given
    if #held >= 10 then
      acknowledge()
    end
  end
end

kinesis.run(function()
  local good, err = worker:run(process_all)
  note("over", tostring(good), (tostring(err or ""):gsub("%s", "_")))
  worker = nil
end, function()
  while worker and not exists(config.stop) do
    kinesis.sleep(WATCH)
    if options.ack then
      acknowledge()
    end
  end
  if worker then
    worker:stop()
  end
end)
note("memory", peak_memory())
client:close()
