--- Workers in processes of their own that are started, stopped and killed; and what they note, checked.
local cjson = require("cjson").new()
local core = require "kinesis.core"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local shared_store = require "support.shared_store"

local assert = require "luassert"

local M = {}

local Crowd = {}
Crowd.__index = Crowd

--- Makes a crowd without workers. `options`: of each worker. `shared`: with a store of the user's, else with files.
--- `pause`: seconds that a handler takes.
function M.new(service, stream, options, more)
  local folder = fresh.folder { log = "" }
  local crowd = setmetatable({ folder = folder, members = {}, born = 0, events = {}, read_to = 0, endings = {},
    first_seen = {}, distinct = 0, deaths = {} }, Crowd)
  crowd.config = { endpoint = service.endpoint, stream = stream, options = options, log = folder .. "/log",
    pause = more and more.pause }
  if more and more.shared then
    crowd.config.store = folder .. "/store"
    shared_store.create(crowd.config.store)
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
  local member = { name = config.name, stop = config.stop, started_at = core.now() }
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
  end, 20)
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
  end, 60)
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
  local death = { name = member.name, how = how, at = core.now(), rows = {} }
  for key, row in pairs(rows) do
    death.rows[key:match "[^:]+$"] = row
  end
  self.deaths[#self.deaths + 1] = death
  return death
end

--- Kills a worker; returns its death: `rows`, the leases that it had, by shard.
function Crowd:kill(member)
  self:await(member)
  os.execute("kill -9 " .. member.pid)
  member.child:wait()
  remove(self, member)
  if self.config.store then
    shared_store.free_token(self.config.store, member.name)
  end
  return note_end(self, member, "killed", leases_of(self, member))
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
end

--- The rows of the store, by key.
function Crowd:rows()
  if self.config.store then
    return shared_store.rows(self.config.store)
  end
  local file = io.open(self.config.options.path .. "/counter.json", "rb")
  if not file then -- nobody has begun yet
    return {}
  end
  local text = file:read "*a"
  file:close()
  return cjson.decode(text).leases
end

-- ---- what they note ----

local function take_line(self, line)
  local name, at, kind, rest = line:match "^(%S+) (%S+) (%S+) (.*)$"
  local event = { name = name, at = tonumber(at), kind = kind }
  if kind == "begins" then
    event.id, event.pid = rest:match "^(%S+) (%S+)$"
    local member = self.members[name]
    member.id, member.pid = event.id, event.pid
  elseif kind == "record" then
    event.shard, event.seq, event.sub, event.data = rest:match "^(%S+) (%S+) (%S+) (.*)$"
    event.sub = tonumber(event.sub)
    if not self.first_seen[event.data] then
      self.first_seen[event.data] = event
      self.distinct = self.distinct + 1
    end
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

-- The next event of one of these kinds of a shard, after a time.
local function next_event(self, shard, at, kinds)
  for _, event in ipairs(self.events) do
    if event.at >= at and event.shard == shard and kinds[event.kind] then
      return event
    end
  end
end

--- Waits until others have taken all the shards of a dead worker; returns the longest time that one was unread.
function Crowd:await_moved(death, seconds)
  local longest = 0
  for shard in pairs(death.rows) do
    fresh.eventually(function()
      self:read()
      local event = next_event(self, shard, death.at, { taken = true, ["end"] = true })
      if event then
        longest = math.max(longest, event.at - death.at)
      end
      return event
    end, seconds or 30)
  end
  return longest
end

-- ---- checks ----

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
  for _, death in ipairs(self.deaths) do
    if death.name == name and death.how == "killed" and death.rows[shard] then
      return death
    end
  end
end

--- Each worker has read each shard in order; it has begun behind the last record of the worker before it, or, when that
--- was killed, behind its last checkpoint. Returns the count of records that were processed again.
function Crowd:check_order()
  local last, repeats = {}, 0 -- last: shard -> the last record that was processed
  for _, event in ipairs(self.events) do
    if event.kind == "record" then
      local before = last[event.shard]
      if before and not is_behind(event.seq, event.sub, before.seq, before.sub) then
        assert.are_not.equal(before.name, event.name, "a worker has gone back in " .. event.shard)
        local death = death_of(self, before.name, event.shard)
        assert.is_truthy(death, ("%s has processed %s of %s again, behind %s, which was not killed"):format(event.name,
          event.seq, event.shard, before.name))
        local row = death.rows[event.shard]
        local good = not row.checkpoint:find "%d" or is_behind(event.seq, event.sub, row.checkpoint, row.sub or 1e9)
        assert.is_true(good, ("%s has processed %s of %s again, before the checkpoint %s"):format(event.name, event.seq,
          event.shard, row.checkpoint))
      end
      repeats = repeats + (self.first_seen[event.data] ~= event and 1 or 0)
      last[event.shard] = event
    end
  end
  return repeats
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
  local first = math.huge
  for _, event in ipairs(self.events) do
    first = event.kind == "record" and math.min(first, event.at) or first
  end
  return first - self.members.w1.started_at
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

--- Lets the calling process wait for something else.
M.sleep = kinesis.sleep

return M
