--- A scene of `make interop`: a stream, a table of leases, and workers in processes of their own, with what they note.
local dynamodb = require "support.dynamodb"
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local resharding = require "support.resharding"

local M = {}

--- The libraries: the profile of pom.xml, the class, and of a KCL 3 how it shares leases.
local KINDS = {
  kcl1 = { profile = "kcl1", class = "Kcl1" },
  kcl2 = { profile = "kcl2", class = "Kcl" },
  kcl3 = { profile = "kcl3", class = "Kcl", version = "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X" },
  kcl3p = { profile = "kcl3", class = "Kcl", version = "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X_PHASE1" },
  kcl3x = { profile = "kcl3", class = "Kcl", version = "CLIENT_VERSION_CONFIG_3X" }, -- by default: a leader assigns
}
local PATIENCE = 300 -- seconds for anything to come about: KCL 3 does without its leader for 162 s

M.KINDS = KINDS
M.EVERY = 10 -- seconds between two checkpoints of a shard
M.FAILOVER = 10

local out = os.getenv "OUT"
local client = fresh.client(os.getenv "KINESIS_LOCAL")
local workers = {} -- those that were started and not ended, by name
local began = client.core:time()

M.client = client

--- Prints a line, with the seconds since the start.
function M.say(format, ...)
  print(("%7.1f  %s"):format(client.core:time() - began, format:format(...)))
end

local say = M.say

--- Calls `look` until it returns a true value, and returns that.
function M.await(what, look)
  local deadline = client.core:time() + PATIENCE
  while true do
    local seen = look()
    if seen then
      return seen
    elseif client.core:time() > deadline then
      error(("not in %d s: %s"):format(PATIENCE, what), 0)
    end
    kinesis.sleep(0.05)
  end
end

--- The lines of the proxies' log from a time on: an iterator over the time, the worker, the service and the operation.
function M.requests(from)
  local lines = io.lines(out .. "/requests.log")
  return function()
    for line in lines do
      local at, name, service, operation = line:match "^(%S+) (%S+) (%w-)_%d+%.(%S+)"
      at = tonumber(at)
      if at and at >= from then
        return at, name, service, operation
      end
    end
  end
end

local Scene = {}
Scene.__index = Scene

--- Opens a scene with a new stream.
function M.open(name, shards)
  local stream = fresh.stream(client, shards, name)
  return setmetatable({ stream = stream, members = {}, seen = {}, count = 0, put = 0, repeats = 0, order = {},
    born = 0 }, Scene)
end

local function command_of(kind)
  if kind == "ours" then
    return "lua5.4 spec/interop/worker.lua"
  end
  local of = KINDS[kind]
  return ("java -Xmx256m -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '%s/%s/classes:"
    .. "%s/%s/lib/*' %s"):format(out, of.profile, out, of.profile, of.class)
end

--- Starts a worker. `more`: limit, of records; sync, KCL's milliseconds between two looks at the shards; from, LATEST
--- for the end of the stream; member, "1" for one of ours whose leases a KCL 3 assigns. Its name is its access key, by
--- which the proxies tell whose a request is.
function Scene:start(kind, more)
  more = more or {}
  self.born = self.born + 1
  local member = { kind = kind, name = ("%sw%d"):format(kind, self.born), read_to = 0, owns = {},
    at = client.core:time() }
  member.file = ("%s/run/%s-%s.said"):format(out, self.stream, member.name)
  assert(io.open(member.file, "w")):close()
  local settings = { NAME = member.name, STREAM = self.stream, APPLICATION = self.stream, EVERY = M.EVERY,
    FAILOVER = M.FAILOVER, LIMIT = more.limit or -1, SYNC = more.sync or 1000,
    VERSION = kind ~= "ours" and KINDS[kind].version or "", FROM = more.from or "TRIM_HORIZON",
    KCL3 = more.member or "", STOP = member.file .. ".stop",
    KINESIS = os.getenv(kind == "ours" and "KINESIS_PROXY" or "KINESIS_LOCAL"),
    DYNAMODB = os.getenv "DYNAMODB_PROXY", AWS_CBOR_DISABLE = "true" } -- SDK 1 reads no CBOR of kinesis-local
  local words = {}
  for name, value in pairs(settings) do
    words[#words + 1] = ("%s='%s'"):format(name, value)
  end
  os.execute(("env %s setsid %s >>'%s' 2>'%s.err' </dev/null &"):format(table.concat(words, " "),
    command_of(kind), member.file, member.file))
  workers[member.name] = member
  self.members[member.name] = member
  say("%s started", member.name)
  return member
end

local function take_record(self, member, at, data)
  member.first_at = member.first_at or at
  self.order[#self.order + 1] = data
  if self.seen[data] then
    self.repeats = self.repeats + 1
  else
    self.count = self.count + 1
  end
  self.seen[data] = member.kind
end

local function take_line(self, member, line)
  local at, kind, rest = line:match "^%S+ (%S+) (%S+) ?(.*)$"
  at = tonumber(at)
  if kind == "record" then
    take_record(self, member, at, rest:match "^%S+ %S+ %S+ (.*)$")
  elseif kind == "begins" then
    member.id, member.pid = rest:match "^(%S+) (%d+)$"
  elseif kind == "over" then
    member.over = rest
    workers[member.name] = nil
    say("%s: over %s", member.name, rest)
  else
    if kind == "taken" then
      member.owns[rest:match "^%S+"] = at
    end
    say("%s: %s %s", member.name, kind, rest)
  end
end

--- Reads what the workers have said since the last time.
function Scene:read()
  for _, member in pairs(self.members) do
    local file = assert(io.open(member.file, "rb"))
    file:seek("set", member.read_to)
    local whole = file:read("*a"):match "^.*\n" or ""
    file:close()
    member.read_to = member.read_to + #whole
    for line in whole:gmatch "(.-)\n" do
      take_line(self, member, line)
    end
  end
end

function Scene:await(what, look)
  return M.await(what, function()
    self:read()
    return look()
  end)
end

function Scene:end_of(member)
  self:await(member.name .. " to end", function()
    return member.over
  end)
end

--- Stops a worker as its library does; returns when.
function Scene:stop(member)
  local at = client.core:time()
  say("%s is stopped", member.name)
  assert(io.open(member.file .. ".stop", "w")):close()
  return at
end

--- Kills a worker; returns when.
function Scene:kill(member)
  self:await(member.name .. " to begin", function()
    return member.pid
  end)
  os.execute("kill -9 " .. member.pid)
  member.over = true
  workers[member.name] = nil
  say("%s is killed", member.name)
  return client.core:time()
end

--- The unfinished leases of each worker, by its id, and of nobody (""); all leases; and who has which, by shard.
function Scene:leases()
  local open, all, owners = {}, {}, {}
  for key, item in pairs(dynamodb.items(client, self.stream)) do
    if (item.entityType and item.entityType.S or "LEASE") == "LEASE" and key:find "^shardId" then
      local owner = item.leaseOwner and item.leaseOwner.S or ""
      owners[key] = owner
      all[owner] = (all[owner] or 0) + 1
      if item.checkpoint.S ~= "SHARD_END" then
        open[owner] = (open[owner] or 0) + 1
      end
    end
  end
  return open, all, owners
end

--- What KCL 3 workers have noted about the way in which leases are shared.
function Scene:version()
  local row = dynamodb.items(client, self.stream)["Migration3.0"]
  return row and row.cv.S or "no such row"
end

-- Whether the counts of these workers differ by one at most, and nobody else has a lease.
local function are_even(counts, living)
  local least, most, others = math.huge, 0, {}
  for owner in pairs(counts) do
    others[owner] = true
  end
  for _, member in ipairs(living) do
    if not member.id then
      return false
    end
    local count = counts[member.id] or 0
    least, most = math.min(least, count), math.max(most, count)
    others[member.id] = nil
  end
  return most - least <= 1 and most > 0 and not next(others)
end

--- Waits until the workers share the leases, and all open shards are among these. A KCL counts finished leases, too.
function Scene:await_balance(...)
  local living, from = { ... }, client.core:time()
  local shards, open = resharding.open_shards(client, self.stream), nil
  self:await("leases of " .. self.stream .. " to be shared", function()
    local all, owners
    open, all, owners = self:leases()
    for _, shard in ipairs(shards) do
      if (owners[shard.id] or "") == "" then
        return false
      end
    end
    return are_even(open, living) or are_even(all, living) and not open[""]
  end)
  local words = {}
  for _, member in ipairs(living) do
    words[#words + 1] = ("%s %d"):format(member.kind, open[member.id] or 0)
  end
  say("shared after %.1f s: %s", client.core:time() - from, table.concat(words, ", "))
end

--- Puts the numbers that follow, as aggregates where the producer makes them.
function Scene:produce(producer, count)
  for _ = 1, count do
    self.put = self.put + 1
    assert(producer:put(tostring(self.put), "key " .. self.put))
  end
end

--- Checks that the workers have processed the numbers 1 to `count`, each once, in order.
function Scene:assert_order(count)
  for i = 1, count do
    assert(self.order[i] == tostring(i), ("record %d is %s"):format(i, tostring(self.order[i])))
  end
  assert(#self.order == count, "some came again")
  say("%d records, each once, in order", count)
end

--- Prints what the workers of this library have asked of which service: the actions that they need.
function M.print_actions()
  local actions = {}
  for _, name, service, operation in M.requests(began) do
    if name:find "^ours" then
      actions[service .. ":" .. operation] = true
    end
  end
  print("actions of this library's workers: " .. table.concat(fresh.sorted_keys(actions), " "))
end

--- Kills the workers that are left.
function M.kill_all()
  for name, member in pairs(workers) do
    os.execute(("kill -9 %s 2>/dev/null"):format(member.pid or ""))
    workers[name] = nil
  end
end

return M
