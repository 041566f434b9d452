-- The most memory that a worker with many shards takes.
-- Flavours: lua5.4 luajit
local crowds = require "support.crowd"
local fresh = require "support.fresh"

local SHARDS, RECORDS, SIZE = 32, 4000, 4000
local SMALL = 25 -- MB

it("a worker with 32 shards that are far behind is small", function()
  local client = fresh.client(fresh.services[2])
  local stream = fresh.stream(client, SHARDS)
  for first = 1, RECORDS, 250 do
    local records = {}
    for i = first, first + 249 do
      records[#records + 1] = { data = i .. (" "):rep(SIZE), partition_key = "key " .. i }
    end
    local _, failed = client:put_many(stream, records)
    assert.equal(0, failed)
  end
  -- handlers are slow at first: all windows fill
  local crowd = crowds.new(fresh.services[2], stream, { poll_interval = 0.2 }, { pause = 0.005 })
  finally(function()
    crowd:abandon()
    client:close()
  end)
  crowd:start()
  crowd:await_records(RECORDS)
  crowd:stop_all()
  print(("    a worker with %d shards: at most %.1f MB"):format(SHARDS, crowd:memory()))
  assert.is_true(crowd:memory() < SMALL, crowd:memory() .. " MB")
end)
