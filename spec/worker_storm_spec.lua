-- Workers in processes of their own while shards are split and merged, and while user code blocks them.
local crowds = require "support.crowd"
local fresh = require "support.fresh"
local randoms = require "support.random"
local resharding = require "support.resharding"

local FULL = os.getenv "SPEC_FULL" ~= nil
local RESHARDS, RECORDS = FULL and 40 or 6, FULL and 10000 or 1200
local FAILOVER = 1 -- second
local OPTIONS = { take_interval = 1, checkpoint_interval = 0.2, poll_interval = 0.2 }

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

local function options_with(more)
  local options = {}
  for _, each in ipairs { OPTIONS, more } do
    for name, value in pairs(each) do
      options[name] = value
    end
  end
  return options
end

local function reshard(stream, random)
  local open = resharding.open_shards(client, stream)
  if #open < 4 or random(2) == 1 and #open < 6 then
    resharding.split(client, stream, open[random(#open)])
    return
  end
  table.sort(open, function(a, b)
    return resharding.is_less(a.starting_hash_key, b.starting_hash_key)
  end)
  local i = random(#open - 1)
  resharding.merge(client, stream, open[i].id, open[i + 1].id)
end

-- No record of a shard was processed before its parents were finished. Returns how often that was checked.
local function expect_parents_first(stream)
  local checked = 0
  for _, shard in ipairs(client:shards(stream)) do
    for _, parent in ipairs { shard.parent_id or false, shard.adjacent_parent_id or false } do
      local first, ended = crowd.first[shard.id], parent and crowd:find("end", parent)
      if parent and first then
        assert.is_truthy(ended, parent .. " was not finished")
        assert.is_true(ended.line < first.line, shard.id .. " was read before its parent " .. parent)
        checked = checked + 1
      end
    end
  end
  return checked
end

local STORES = { ["a file"] = {}, ["a store of the user's"] = { shared = true },
  ["a table in DynamoDB"] = { dynamodb = true } }

for name, more in pairs(STORES) do
  it("splits and merges lose no record, while workers that share " .. name .. " are killed", function()
    local random = randoms.new(randoms.seed(1))
    local stream = fresh.stream(client, 3)
    crowd = crowds.new(KINESALITE, stream, options_with { failover = next(more) and FAILOVER or 10 }, more)
    for _ = 1, 3 do
      crowd:start()
    end
    local part = RECORDS / RESHARDS -- a whole number
    for i = 1, RESHARDS do
      crowds.put(client, stream, (i - 1) * part + 1, i * part, i % 2 == 0)
      reshard(stream, random)
      if i % 3 == 0 then
        crowd:await_lease(crowd.members[1])
        crowd:kill(crowd.members[1])
        crowd:start()
      end
    end
    crowd:await_records(RECORDS)
    crowd:stop_all()
    assert.same({}, (crowd:problems()))
    assert.is_true(expect_parents_first(stream) >= RESHARDS / 2)
  end)
end

-- Two workers with one shard each; the handler of one blocks it for three times failover, and there are records behind
-- that. Returns the shard, and the worker.
local function block(more)
  local stream = fresh.stream(client, 2)
  more.block = 3 * FAILOVER
  crowd = crowds.new(KINESALITE, stream, options_with { failover = FAILOVER }, more)
  local a, b = crowd:start(), crowd:start()
  crowd:await_lease(a)
  crowd:await_lease(b)
  local records = { { data = "block", partition_key = "k" } }
  for i = 1, 20 do
    records[i + 1] = { data = "behind " .. i, partition_key = "k" }
  end
  local _, failed = client:put_many(stream, records)
  assert.equal(0, failed)
  crowd:await_records(21)
  crowd:stop_all()
  local blocked, unblocked = crowd:find "blocked", crowd:find "unblocked"
  assert.is_true(unblocked.at - blocked.at >= 3 * FAILOVER)
  return blocked.shard, blocked.name, blocked, unblocked
end

for name, more in pairs { ["a file"] = {}, ["a table in DynamoDB"] = { dynamodb = true } } do
  it("a lease in " .. name .. " stays while user code blocks its worker", function()
    local shard, reader, blocked, unblocked = block(more)
    assert.equal(0, crowd.repeats)
    assert.same({}, (crowd:problems()))
    for _, event in ipairs(crowd.events) do
      local other = event.shard == shard and event.line > blocked.line and event.line < unblocked.line
      assert.is_false(other, "the shard was given away")
    end
    assert.equal(reader, crowd.last[shard].name)
  end)
end

it("a lease in a store of the user's is another worker's, and the blocked one delivers nothing behind it", function()
  local shard, name, _, unblocked = block { shared = true }
  local taken
  for _, event in ipairs(crowd.events) do
    taken = taken or event.kind == "taken" and event.shard == shard and event.name ~= name and event.line
  end
  assert.is_true(taken < unblocked.line, "no other worker has taken the shard meanwhile")
  -- the record that the blocked worker had in hand comes again elsewhere; those behind it come once
  assert.equal(1, crowd.repeats)
end)
