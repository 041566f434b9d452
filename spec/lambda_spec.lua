-- In AWS Lambda, each request carries the trace of the invocation, by which Lambda finds circles.
local core = require "kinesis.core"
local faults = require "support.faults"
local fresh = require "support.fresh"

local SCRIPT = [[
  local kinesis, uv = require "kinesis", require "luv"
  local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1",
    credentials = { access_key_id = "AKID", secret_access_key = "secret" } })
  local stream = arg[2]
  local function invoke(id)
    if id then uv.os_setenv("_X_AMZN_TRACE_ID", id) else uv.os_unsetenv "_X_AMZN_TRACE_ID" end
  end
  assert(client:put(stream, "1", "key"))
  invoke "Root=1-5;Parent=\9 \195\164/%;Sampled=0,[x]{\"y\"}'&+:-_.~"
  assert(client:put_many(stream, { { data = "2", partition_key = "key" } }))
  invoke(nil)
  assert(client:list_streams {})
  invoke "Root=1-6"
  local producer = assert(client:producer(stream, { linger = 0 }))
  assert(producer:put("3", "key"))
  assert(producer:flush())
  invoke "Root=1-7"
  assert(producer:put("4", "key"))
  assert(producer:flush())
  assert(producer:close())
  invoke "Root=1-8"
  for _ in client:shards(stream):records { limit = 4 } do end
  client:close()
]]

describe("in AWS Lambda", function()
  local client, stream

  setup(function()
    client = fresh.client(fresh.services[1])
    stream = fresh.stream(client, 1)
  end)

  teardown(function()
    client:close()
  end)

  local function traces(variables)
    local scope = faults.open()
    local output, status = fresh.lua(SCRIPT, variables, scope.url, stream):wait()
    assert.equal(0, status, output)
    local by_operation = {}
    for _, request in ipairs(scope:seen()) do
      local list = by_operation[request.operation] or {}
      by_operation[request.operation] = list
      list[#list + 1] = request.trace or "none"
      assert.is_nil(request.authorization:find("trace", 1, true)) -- a proxy may change it
    end
    return by_operation
  end

  it("every request carries the trace of the invocation that it belongs to", function()
    local seen = traces { AWS_LAMBDA_FUNCTION_NAME = "f", _X_AMZN_TRACE_ID = "Root=1-4;Parent=a;Sampled=1" }
    assert.same({ "Root=1-4;Parent=a;Sampled=1" }, seen.PutRecord)
    assert.same({
      [[Root=1-5;Parent=%09%20%C3%A4%2F%25;Sampled=0,[x]{"y"}'&+:-_.~]], "Root=1-6", "Root=1-7",
    }, seen.PutRecords)
    assert.same({ "none" }, seen.ListStreams)
    assert.equal("Root=1-8", seen.GetShardIterator[1])
    assert.equal("Root=1-8", seen.GetRecords[1])
  end)

  it("and nowhere else", function()
    for _, variables in ipairs { { _X_AMZN_TRACE_ID = "Root=1-4" }, { AWS_LAMBDA_FUNCTION_NAME = "" } } do
      for operation, list in pairs(traces(variables)) do
        for _, trace in ipairs(list) do
          assert.equal("none", trace, operation)
        end
      end
    end
  end)

  it("requests to STS carry it, too", function()
    assert.is_nil(core.trace_header())
    local output, status = fresh.lua([[
      local services = require "kinesis.credentials.services"
      print(services.traced { a = "b" }["x-amzn-trace-id"])
    ]], { AWS_LAMBDA_FUNCTION_NAME = "f", _X_AMZN_TRACE_ID = "Root=1-4 " }):wait()
    assert.equal("0 Root=1-4%20\n", status .. " " .. output)
  end)
end)
