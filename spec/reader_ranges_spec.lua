-- Which range of hash keys a page says that its shard has. With a fake clock; the spec answers as the service.
-- Flavours: *lua5.4
local reading = require "support.reading"
local stepping = require "support.stepping"

local page, service = stepping.page, reading.service

after_each(stepping.close_all)

-- Reads for a moment. Returns the ranges that the pages of each shard have, in order: "first last", or "none".
local function ranges(engine, answer, list)
  local found = {}
  stepping.serve(engine, 0.9, service(answer, list))
  for _, message in ipairs(stepping.told(engine, "page")) do
    local of_shard = found[message.shard_id] or {}
    found[message.shard_id] = of_shard
    of_shard[#of_shard + 1] = message.first and message.first .. " " .. message.last or "none"
  end
  return found
end

local function tip(shard)
  return page { next = "it:" .. shard, { "1" } }
end

-- Answers of one page for each shard, of which the first names a child with this HashKeyRange.
local function with_child(range)
  return function(shard)
    if shard == "child" then
      return page { next = "it:child", { "2" } }
    end
    local answer = page { children = { { "child", "a" } }, { "1" } }
    answer.body = answer.body:gsub('"ShardId":"child"', '%0,"HashKeyRange":' .. range)
    return answer
  end
end

describe("the range of a shard", function()
  it("is what the list has said that Lua has read", function()
    local engine = stepping.engine {}
    reading.read(engine, { { id = "a", first = "3", last = "340282366920938463463374607431768211455" }, { id = "b" } })
    local found = ranges(engine, tip)
    assert.equal("3 340282366920938463463374607431768211455", found.a[1])
    assert.equal("none", found.b[1])
  end)

  it("is what the page of the parent says", function()
    local engine = stepping.engine {}
    reading.read(engine, { { id = "a", first = "0", last = "9" } }, { follow = true })
    assert.same({ a = { "0 9" }, child = { "5 9" } },
      ranges(engine, with_child '{"StartingHashKey":"5","EndingHashKey":"9"}'))
  end)

  for _, range in ipairs { "null", "7", "[]", "{}", '{"StartingHashKey":"5"}',
    '{"StartingHashKey":5,"EndingHashKey":9}',
    '{"StartingHashKey":"9","EndingHashKey":"5"}', '{"StartingHashKey":"5","EndingHashKey":"x"}' } do
    it("is not known where the page of the parent says " .. range, function()
      local engine = stepping.engine {}
      reading.read(engine, { "a" }, { follow = true })
      assert.same({ a = { "none" }, child = { "none" } }, ranges(engine, with_child(range)))
    end)
  end

  it("is that of a later list where only the position names the shard", function()
    local engine = stepping.engine {}
    local listed = false
    reading.read(engine, { { id = "a", first = "0", last = "9" }, { id = "old", kind = "AFTER_SEQUENCE_NUMBER",
      sequence_number = "1", unlisted = true } }, { follow = true })
    local found = ranges(engine, function(shard)
      return shard == "a" and page { { "1" } } or page { next = "it:old", behind = 1, { "2" } }
    end, function()
      listed = true
      return reading.list { { "a", closed = true }, { "old" }, { "child", "a" } }
    end)
    assert.is_true(listed)
    assert.equal("none", found.old[1])
    assert.equal("0 9", found.old[#found.old])
    assert.equal("0 9", found.child[1])
  end)
end)
