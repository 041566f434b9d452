-- How many records one request of put_many takes when the data of one reaches the limit of a request.
-- Flavours: *lua5.4
local stepping = require "support.stepping"

after_each(stepping.close_all)

local LARGEST = ("x"):rep(10 * 1048576)

describe("a record of the largest data, whose key comes on top,", function()
  for name, other in pairs { small = "y", equal = LARGEST } do
    it("travels alone, though one that is " .. name .. " comes behind it", function()
      local engine = stepping.engine()
      local _, taken = engine:put_many("s", {
        { data = LARGEST, partition_key = "k" },
        { data = other, partition_key = "k" },
      })
      assert.equal(1, taken)
      local request = stepping.flight(engine, 1)[1]
      assert.equal(1, select(2, request.body:gsub('"PartitionKey"', "")))
      stepping.land(engine, request, { body = '{"Records":[{"ShardId":"a","SequenceNumber":"1"}]}' })
      assert.equal(1, #stepping.told(engine, "put_many_done"))
    end)
  end
end)
