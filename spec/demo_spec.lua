-- What the demo says and does about its stream when something fails: it touches and names only what it made.
-- Flavours: lua5.4
local faults = require "support.faults"
local fresh = require "support.fresh"
local worktree = require "support.worktree"

local root

setup(function()
  root = worktree.make()
end)

teardown(function()
  worktree.remove(root)
end)

-- As against an account, which is the service behind the scope.
local function demo(scope)
  return worktree.shell(root, {
    KINESIS_DEMO = "aws", KINESIS_DEMO_PAUSE = "0", KINESIS_DEMO_COUNT = "1",
    AWS_REGION = fresh.region, AWS_ENDPOINT_URL = scope.url,
    AWS_ACCESS_KEY_ID = fresh.keys.access_key_id, AWS_SECRET_ACCESS_KEY = fresh.keys.secret_access_key,
  }, "examples/demo.sh")
end

it("a demo on this machine that fails before it creates anything says no more than why", function()
  local output, status = worktree.shell(root, { KINESIS_STREAM = "no name" }, "examples/demo.sh")
  assert.equal(1, status)
  assert.matches("^service   | kinesis%-local at http://127%.0%.0%.1:%d+\n[^\n]*InvalidArgument[^\n]*\n$", output)
end)

describe("a demo with an account", function()
  it("whose keys may not look is over before it creates anything", function()
    local denied = { { code = "AccessDeniedException", always = true } }
    local scope = faults.open { DescribeStreamSummary = denied }
    local output, status = demo(scope)
    assert.equal(1, status)
    assert.matches("Service:   " .. scope.url .. " ", output, 1, true)
    assert.matches("AccessDeniedException: scripted", output, 1, true)
    assert.is_nil(output:find("by hand", 1, true), output)
    assert.equal(0, #scope:seen "CreateStream")
    assert.equal(0, #scope:seen "DeleteStream")
  end)

  it("knows its stream after the answer to its creation was lost, and says when it cannot delete it", function()
    local scope = faults.open {
      CreateStream = { { reset = "after" } }, DeleteStream = { { code = "AccessDeniedException", always = true } },
    }
    local output, status = demo(scope)
    assert.equal(1, status)
    assert.matches("ResourceInUseException", output, 1, true)
    assert.equal(1, #scope:seen "DeleteStream")
    local name = output:match "\nThe stream (hello%-kinesis%-%x+) is still there: delete it by hand%.\n"
    assert.is_string(name, output)
    local direct = fresh.client(os.getenv "KINESIS_LOCAL")
    assert(direct:call("DeleteStream", { StreamName = name }))
    direct:close()
  end)

  it("says nothing of a stream that was not created after all", function()
    local scope = faults.open { CreateStream = { { code = "LimitExceededException", always = true } } }
    local output, status = demo(scope)
    assert.equal(1, status)
    assert.matches("LimitExceededException", output, 1, true)
    assert.is_nil(output:find("by hand", 1, true), output)
    assert.equal(0, #scope:seen "DeleteStream")
  end)
end)
