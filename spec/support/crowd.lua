--- Workers in processes of their own that are started, stopped and killed; and what they note, checked.
local cjson = require("cjson").new()
local core = require "kinesis.core"
local dynamodb = require "support.dynamodb"
local fresh = require "support.fresh"
local shared_store = require "support.shared_store"

local assert = require "luassert"

local M = {}

local Crowd = {}
Crowd.__index = Crowd

--- Makes a crowd without workers. `options`: of each worker. `more`: dynamodb, with a table there; shared, with a store
--- of the user's; else with files. pause, seconds that a handler takes; block, how long one that blocks; bad, see
--- crowd_worker.lua.
function M.new(service, stream, options, more)
  local folder = fresh.folder { log = "" }
  local crowd = setmetatable({ folder = folder, members = {}, born = 0, read_to = 0, lines = 0, deaths = {},
    events = {}, -- what was noted, but for records
    seen = {}, -- the data of all records -> true
    first = {}, last = {}, -- shard -> its first and last record that was processed
    processed = {}, -- name of a worker -> its count of records
    distinct = 0, repeats = 0, first_at = math.huge,
    strange = {}, -- records that came again without a death: {record, why}
  }, Crowd)
  crowd.config = { endpoint = service.endpoint, stream = stream, options = options, log = folder .. "/log",
    pause = more.pause, block = more.block, bad = more.bad }
  if more.shared then
    crowd.config.store = folder .. "/store"
    shared_store.create(crowd.config.store)
  elseif more.dynamodb then
    crowd.client, crowd.table = fresh.client "http://127.0.0.1:1", fresh.name "crowd"
    options.store = { dynamodb = { endpoint = dynamodb.endpoint, table = crowd.table } }
  else
    options.path = folder .. "/leases"
  end
  return crowd
end

-- ---- processes ----

--- Starts a worker.
function Crowd:start()
  self.born = self.born + 1
  local config = { name = "w" .. self.born, stop = ("%s/stop w%d"):format(self.folder, self.born) }
  for name, value in pairs(self.config) do
    config[name] = value
  end
  local member = { name = config.name, stop = config.stop }
  self.started_at = self.started_at or core.now()
  local command = ("%s '%s/spec/support/crowd_worker.lua' '%s'; exit $?"):format(os.getenv "LUA", os.getenv "ROOT",
    cjson.encode(config))
  member.child = fresh.spawn(command)
  self.members[#self.members + 1] = member
  self.members[config.name] = member
  return member
end

--- Waits until a worker has begun.
function Crowd:await(member)
  fresh.eventually(function()
    self:read()
    return member.id
  end)
end

-- The unfinished leases of a worker: key -> row.
local function leases_of(self, member)
  local rows = {}
  for key, row in pairs(self:rows()) do
    if row.owner == member.id and row.checkpoint ~= "SHARD_END" then
      rows[key] = row
    end
  end
  return rows
end

--- Waits until a worker has a lease; returns how many it has.
function Crowd:await_lease(member)
  self:await(member)
  return fresh.eventually(function()
    local count = 0
    for _ in pairs(leases_of(self, member)) do
      count = count + 1
    end
    return count > 0 and count
  end)
end

local function remove(self, member)
  for i, other in ipairs(self.members) do
    if other == member then
      table.remove(self.members, i)
    end
  end
end

-- Notes that a worker has ended, and with which leases.
local function note_end(self, member, how, rows)
  local death = { name = member.name, how = how, at = core.now(), rows = {}, moved = {} }
  for key, row in pairs(rows) do
    death.rows[key:match "[^:]+$"] = row
  end
  self.deaths[#self.deaths + 1] = death
  return death
end

--- Kills a worker; returns its death: `rows`, the leases that it had, by shard.
function Crowd:kill(member)
  self:await(member)
  os.execute(("kill -9 %s 2>/dev/null"):format(member.pid))
  member.child:wait()
  remove(self, member)
  if self.config.store then
    shared_store.free_token(self.config.store, member.name)
  end
  return note_end(self, member, "killed", leases_of(self, member))
end

--- How many workers have not ended by themselves; those that have are forgotten.
function Crowd:living()
  self:read()
  for _, event in ipairs(self.events) do
    local member = event.kind == "over" and self.members[event.name]
    if member then
      member.child:wait()
      self.members[event.name] = nil
      remove(self, member)
    end
  end
  return #self.members
end

--- Stops a worker, and waits until it has ended; returns its end, as `kill` does.
function Crowd:stop(member)
  self:await(member)
  local rows = leases_of(self, member)
  local stopped = note_end(self, member, "stopped", rows)
  assert(io.open(member.stop, "wb")):close()
  local output, status = member.child:wait()
  assert.equal(0, status, output)
  assert.equal("", output)
  remove(self, member)
  return stopped
end

--- Stops all workers.
function Crowd:stop_all()
  while self.members[1] do
    self:stop(self.members[1])
  end
  self:read()
end

--- For after_each: kills what is left.
function Crowd:abandon()
  while self.members[1] do
    pcall(self.kill, self, self.members[1])
  end
  if self.client then
    self.client:close()
  end
end

-- Of what the specs look at: owner, checkpoint, sub.
local function rows_in_dynamodb(self)
  local rows = {}
  for key, item in pairs(dynamodb.items(self.client, self.table)) do
    local sub = tonumber(item.checkpointSubSequenceNumber.N)
    rows[key] = { owner = item.leaseOwner and item.leaseOwner.S, checkpoint = item.checkpoint.S, sub = sub }
  end
  return rows
end

--- The rows of the store, by key.
function Crowd:rows()
  if self.config.store then
    return shared_store.rows(self.config.store)
  elseif self.table then
    return rows_in_dynamodb(self)
  end
  local file = io.open(self.config.options.path .. "/counter.json", "rb")
  return file and cjson.decode(file:read "*a").leases or {}, file and file:close()
end

-- ---- what they note ----

local function is_behind(a_seq, a_sub, b_seq, b_sub)
  if #a_seq ~= #b_seq then
    return #a_seq > #b_seq
  elseif a_seq ~= b_seq then
    return a_seq > b_seq
  end
  return a_sub > b_sub
end

-- The last death of a worker that had the shard.
local function death_of(self, name, shard)
  for i = #self.deaths, 1, -1 do
    local death = self.deaths[i]
    if death.name == name and death.how == "killed" and death.rows[shard] then
      return death
    end
  end
end

-- What is wrong when a record comes again, or one behind it in its shard has come before; nil: nothing.
local function problem_of(self, record, before)
  local death = before.name ~= record.name and death_of(self, before.name, record.shard)
  if before.name == record.name then
    return "the same worker"
  elseif not death then
    return before.name .. ", which was not killed"
  end
  local row = death.rows[record.shard]
  local good = not row.checkpoint:find "%d" or is_behind(record.seq, record.sub, row.checkpoint, row.sub or 1e9)
  return not good and ("%s, although its checkpoint was %s"):format(before.name, row.checkpoint) or nil
end

-- Each worker reads each shard in order. It begins behind the last record of the worker before it, or, when that was
-- killed, behind its last checkpoint.
local function take_record(self, record)
  local before = self.last[record.shard]
  if before and not is_behind(record.seq, record.sub, before.seq, before.sub) then
    local problem = problem_of(self, record, before)
    local text = problem and ("%s has processed %s of %s, behind %s of %s"):format(record.name, record.seq,
      record.shard, before.seq, problem)
    self.strange[#self.strange + 1] = text and { before = before, text = text } or nil
  end
  self.first[record.shard] = self.first[record.shard] or record
  self.last[record.shard] = record
  self.first_at = math.min(self.first_at, record.at)
  self.processed[record.name] = (self.processed[record.name] or 0) + 1
  if self.seen[record.data] then
    self.repeats = self.repeats + 1
  else
    self.seen[record.data] = true
    self.distinct = self.distinct + 1
  end
end

local function take_line(self, line)
  local name, at, kind, rest = line:match "^(%S+) (%S+) (%S+) (.*)$"
  self.lines = self.lines + 1
  local event = { name = name, at = tonumber(at), kind = kind, line = self.lines }
  if kind == "record" then
    event.shard, event.seq, event.sub, event.data = rest:match "^(%S+) (%S+) (%S+) (.*)$"
    event.sub = tonumber(event.sub)
    take_record(self, event)
    return
  elseif kind == "begins" then
    event.id, event.pid = rest:match "^(%S+) (%S+)$"
    local member = self.members[name]
    member.id, member.pid = event.id, event.pid
  elseif kind == "memory" then
    event.kilobytes = tonumber(rest)
  else
    event.shard, event.reason = rest:match "^(%S+) ?(.*)$"
  end
  self.events[#self.events + 1] = event
end

--- Reads what was noted since the last time.
function Crowd:read()
  local file = assert(io.open(self.config.log, "rb"))
  file:seek("set", self.read_to)
  local text = file:read "*a"
  file:close()
  local whole = text:match "^.*\n" or ""
  self.read_to = self.read_to + #whole
  for line in whole:gmatch "(.-)\n" do
    take_line(self, line)
  end
end

--- Waits until so many different records were processed.
function Crowd:await_records(count, seconds)
  fresh.eventually(function()
    self:read()
    return self.distinct >= count
  end, seconds or 60)
end

--- Waits until a worker has processed more records than `before`; returns how many those are.
function Crowd:await_more_of(member, before)
  return fresh.eventually(function()
    self:read()
    local count = self.processed[member.name] or 0
    return count > before and count
  end)
end

-- When another worker began to read a shard, or the shard was finished, after a death; nil: not yet.
local function moved_at(self, shard, death)
  for i = #self.events, 1, -1 do
    local event = self.events[i]
    if event.at < death.at then
      return nil
    elseif event.shard == shard and (event.kind == "taken" or event.kind == "end") then
      death.moved[shard] = event.at
    end
  end
end

--- Whether others read all the shards of a worker that has ended. Then `death.unread` is the longest time that one of
--- them was not read.
function Crowd:has_moved(death)
  self:read()
  death.unread = 0
  for shard in pairs(death.rows) do
    moved_at(self, shard, death)
    if not death.moved[shard] then
      return false
    end
    death.unread = math.max(death.unread, death.moved[shard] - death.at)
  end
  return true
end

--- Waits until others read all the shards of a worker that has ended; returns the longest time that one was not read.
function Crowd:await_moved(death)
  fresh.eventually(function()
    return self:has_moved(death)
  end)
  return death.unread
end

-- ---- results ----

-- Whether a worker has noted the loss of a lease.
local function has_lost(self, name, shard)
  for _, event in ipairs(self.events) do
    if event.kind == "lost" and event.reason == "lost" and event.name == name and event.shard == shard then
      return true
    end
  end
  return false
end

--- What must not be: failures of the store, and records that were processed again though their worker was not killed.
--- A busy machine may lose leases that expire after a second.
---@return string[] problems
---@return integer lost leases by which records came again
function Crowd:problems()
  local problems, lost = {}, 0
  for _, strange in ipairs(self.strange) do
    local noticed = not self.config.options.path and has_lost(self, strange.before.name, strange.before.shard)
    lost = lost + (noticed and 1 or 0)
    problems[#problems + 1] = not noticed and strange.text or nil
  end
  for _, event in ipairs(self.events) do
    if event.kind == "trouble" and event.shard:find("LeaseStore", 1, true) then
      problems[#problems + 1] = event.shard
    end
  end
  return problems, lost
end

--- The first event of a kind, of one worker and of one shard where these are given; nil: none.
function Crowd:find(kind, shard, name)
  for _, event in ipairs(self.events) do
    if event.kind == kind and (not shard or event.shard == shard) and (not name or event.name == name) then
      return event
    end
  end
end

--- The count of events of a kind.
function Crowd:count(kind)
  local count = 0
  for _, event in ipairs(self.events) do
    count = count + (event.kind == kind and 1 or 0)
  end
  return count
end

--- The highest memory that a worker that has ended by itself has had, in MB.
function Crowd:memory()
  local most = 0
  for _, event in ipairs(self.events) do
    most = math.max(most, event.kilobytes or 0)
  end
  return most / 1024
end

--- The seconds between the start of the first process and its first record.
function Crowd:first_record()
  return self.first_at - self.started_at
end

--- Puts records of one number each, `first` to `last`, aggregated when that is wanted.
function M.put(client, stream, first, last, aggregated)
  if not aggregated then
    for from = first, last, 500 do
      fresh.put_numbers(client, stream, from, math.min(last, from + 499))
    end
    return
  end
  local producer = assert(client:producer(stream, { aggregate = true }))
  for i = first, last do
    assert(producer:put(tostring(i), "key " .. i))
  end
  assert(producer:close())
end

return M
