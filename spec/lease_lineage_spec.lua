-- Which leases there have to be: decisions alone.
local fresh = require "support.fresh"
local lineage = require "kinesis.worker.lineage"

local FRESH = { checkpoint = "AT_TIMESTAMP", timestamp = 1700000000 }

local function shard(id, parent, adjacent)
  return { id = id, parent_id = parent, adjacent_parent_id = adjacent, starting_hash_key = "0", ending_hash_key = "9" }
end

local SPLIT = { shard "0", shard("1", "0"), shard("2", "0"), shard("3", "1", "2") }

describe("lineage", function()
  it("makes all leases of a new application at its beginning", function()
    local missing = lineage.missing(SPLIT, {}, FRESH)
    assert.same({ "0", "1", "2", "3" }, fresh.sorted_keys(missing))
    assert.same({ "1", "2" }, missing["3"].parents)
    assert.is_nil(missing["0"].parents)
    for _, row in pairs(missing) do
      assert.equal("AT_TIMESTAMP", row.checkpoint)
      assert.equal(1700000000, row.timestamp)
    end
  end)

  it("makes a lease that is missing later from the shard's beginning", function()
    local rows = { ["0"] = { checkpoint = "SHARD_END" }, ["1"] = { checkpoint = "5", parents = { "0" } } }
    local missing = lineage.missing(SPLIT, rows, FRESH)
    assert.same({ "2", "3" }, fresh.sorted_keys(missing))
    assert.equal("TRIM_HORIZON", missing["2"].checkpoint)
  end)

  it("makes a lease that is missing while the application is begun from the same time", function()
    local rows = { ["0"] = { checkpoint = "5" }, ["x"] = { checkpoint = "AT_TIMESTAMP", timestamp = 1600000000 } }
    local missing = lineage.missing({ shard "0", shard "7" }, rows, FRESH)
    assert.same({ "AT_TIMESTAMP", 1600000000 }, { missing["7"].checkpoint, missing["7"].timestamp })
    rows["x"].checkpoint = "LATEST"
    missing = lineage.missing({ shard "0", shard "7" }, rows, FRESH)
    assert.same({ "LATEST", 1600000000 }, { missing["7"].checkpoint, missing["7"].timestamp })
  end)

  -- A KCL that takes a lease at LATEST begins at the end of the shard: what was put since the split would be lost.
  it("makes the lease of a new child at its beginning, and remembers the time of the application's start", function()
    local rows = { ["0"] = { checkpoint = "LATEST", timestamp = 1600000000 } }
    local missing = lineage.missing({ shard "0", shard("1", "0"), shard "7" }, rows, FRESH)
    assert.same({ "TRIM_HORIZON", 1600000000 }, { missing["1"].checkpoint, missing["1"].timestamp })
    assert.same({ "LATEST", 1600000000 }, { missing["7"].checkpoint, missing["7"].timestamp })
    rows = { ["0"] = { checkpoint = "5" }, ["1"] = { checkpoint = "TRIM_HORIZON", timestamp = 1600000000 } }
    missing = lineage.missing({ shard "0", shard("1", "0"), shard("2", "0") }, rows, FRESH)
    assert.same({ "TRIM_HORIZON", 1600000000 }, { missing["2"].checkpoint, missing["2"].timestamp })
  end)

  it("does not make a finished lease again", function()
    local rows = { ["3"] = { checkpoint = "5", parents = { "1", "2" } } }
    assert.same({}, lineage.missing(SPLIT, rows, FRESH))
    assert.same({}, lineage.missing({ shard "0", shard("1", "0") }, { ["1"] = { checkpoint = "5" } }, FRESH))
  end)

  it("lets children wait for all their parents", function()
    local rows = {
      ["1"] = { checkpoint = "SHARD_END" }, ["2"] = { checkpoint = "7" },
      ["3"] = { checkpoint = "TRIM_HORIZON", parents = { "1", "2" } },
    }
    assert.is_false(lineage.is_ready(rows["1"], rows))
    assert.is_true(lineage.is_ready(rows["2"], rows))
    assert.is_false(lineage.is_ready(rows["3"], rows))
    rows["2"].checkpoint = "SHARD_END"
    assert.is_true(lineage.is_ready(rows["3"], rows))
    rows["1"] = nil
    assert.is_true(lineage.is_ready(rows["3"], rows))
  end)

  it("keeps a finished lease until every child is past its beginning", function()
    local rows = {
      ["0"] = { checkpoint = "SHARD_END", children = { "1", "2" } },
      ["1"] = { checkpoint = "5", parents = { "0" } }, ["2"] = { checkpoint = "TRIM_HORIZON", parents = { "0" } },
    }
    assert.same({}, lineage.finished_with(SPLIT, rows))
    rows["2"].checkpoint = "8"
    assert.same({ "0" }, lineage.finished_with(SPLIT, rows))
    rows["2"] = nil -- it is a hole, which is filled first
    assert.same({}, lineage.finished_with(SPLIT, rows))
  end)

  it("deletes a finished lease without children once the service has trimmed the shard", function()
    local rows = { ["9"] = { checkpoint = "SHARD_END" } }
    assert.same({}, lineage.finished_with({ shard "9" }, rows))
    assert.same({ "9" }, lineage.finished_with(SPLIT, rows))
  end)

  it("keeps a finished lease whose child is at the time of the start", function()
    local rows = {
      ["0"] = { checkpoint = "SHARD_END", children = { "1", "2" } }, ["1"] = { checkpoint = "5", parents = { "0" } },
      ["2"] = { checkpoint = "AT_TIMESTAMP", timestamp = 1, parents = { "0" } },
    }
    assert.same({}, lineage.finished_with(SPLIT, rows))
    rows["2"].checkpoint = "SHARD_END"
    assert.same({ "0" }, lineage.finished_with(SPLIT, rows))
  end)

  it("knows leases that were finished by those that descend from them", function()
    local shards = { shard("0"), shard("1", "0"), shard("2", "0"), shard("3", "1", "2"), shard("4", "3") }
    local three = { checkpoint = "TRIM_HORIZON", parents = { "1", "2" } }
    local rows = { ["2"] = { checkpoint = "TRIM_HORIZON", parents = { "0" } }, ["3"] = three }
    assert.same({}, lineage.superseded(shards, rows))
    three.checkpoint = "7"
    assert.same({ ["0"] = true, ["1"] = true, ["2"] = true }, lineage.superseded(shards, rows))
    -- that of 3 is deleted, too
    assert.same({ ["0"] = true, ["1"] = true, ["2"] = true, ["3"] = true },
      lineage.superseded(shards, { ["4"] = { checkpoint = "9", parents = { "3" } } }))
  end)

  it("follows long lines of parents", function()
    local shards = {}
    for i = 1, 30000 do
      shards[i] = shard(tostring(i), "trimmed", i > 1 and tostring(i - 1) or nil)
    end
    assert.same({}, lineage.missing(shards, { ["30000"] = { checkpoint = "5" } }, FRESH))
  end)
end)
