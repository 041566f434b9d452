-- Hosts by AWS's rules, beside those that aws-sdk-js resolves for the same question.
-- Flavours: lua5.4 luajit
local cjson = require "cjson"
local endpoint = require "kinesis.endpoint"
local fresh = require "support.fresh"

local REGIONS = {
  ["aws"] = { "us-east-1", "eu-central-2", "zz-nowhere-9", "aws-global" }, ["aws-cn"] = { "cn-north-1" },
  ["aws-us-gov"] = { "us-gov-west-1" }, ["aws-iso"] = { "us-iso-east-1" }, ["aws-iso-b"] = { "us-isob-east-1" },
  ["aws-iso-e"] = { "eu-isoe-west-1" }, ["aws-iso-f"] = { "us-isof-south-1" }, ["aws-eusc"] = { "eusc-de-east-1" },
}

-- No host by itself, which only we mind, but with a stream's id.
local STAGE = "http://-beta.aws"

-- The SDK's name of each parameter.
local NAMES = {
  region = "Region", endpoint = "Endpoint", use_fips = "UseFIPS", use_dualstack = "UseDualStack",
  operation_type = "OperationType", stream_arn = "StreamARN", consumer_arn = "ConsumerARN",
  resource_arn = "ResourceARN", channel_arn = "ChannelARN", stream_id = "StreamId", account_id = "AccountId",
  account_id_endpoint_mode = "AccountIdEndpointMode",
}

local function targets(partition)
  local arn = "arn:" .. partition .. ":kinesis:us-west-2:123456789012:"
  return {
    {},
    { stream_arn = arn .. "stream/name" },
    { consumer_arn = arn .. "stream/name/consumer/c:1" },
    { resource_arn = arn .. "stream/name" },
    { resource_arn = arn .. "channel/abc-123" },
    { resource_arn = arn .. "channel/" },
    { resource_arn = arn .. "channel/a_b" },
    { channel_arn = arn .. "channel/abc-123" },
    { channel_arn = arn .. "stream/name" },
    { stream_arn = arn .. "channel/abc-123" },
    { stream_arn = arn .. "stream/name", consumer_arn = "nonsense", account_id = "210987654321" },
    { resource_arn = arn .. "thing/abc" },
    { stream_arn = arn },
    { stream_arn = arn .. "/name" },
    { stream_arn = "arn:aws-other:kinesis:us-west-2:123456789012:stream/name" },
    { stream_arn = "arn:" .. partition .. ":s3:us-west-2:123456789012:stream/name" },
    { stream_arn = "arn:" .. partition .. ":kinesis:us_west:123456789012:stream/name" },
    { stream_arn = "arn:" .. partition .. ":kinesis:us-west-2:12_34:stream/name" },
    { stream_arn = "arn:" .. partition .. ":kinesis:us-west-2::stream/name" },
    { stream_arn = "nonsense" },
    { account_id = "123456789012" },
    { account_id = "no_account" },
    { stream_id = "abcdefghij0123456789-xyz" },
    { stream_id = "too-short" },
    { stream_id = "abcdefghij0123456789-wxyz", account_id = "123456789012" },
  }
end

local function copy(from, into)
  for name, value in pairs(from) do
    into[name] = value
  end
  return into
end

-- Every question, as ours and as the SDK's.
local function questions()
  local ours, theirs = {}, {}
  local function ask(question)
    local asked = cjson.decode "{}"
    for name, value in pairs(question) do
      asked[NAMES[name]] = value
    end
    ours[#ours + 1], theirs[#theirs + 1] = question, asked
  end
  for partition, regions in pairs(REGIONS) do
    for _, region in ipairs(regions) do
      for _, target in ipairs(targets(partition)) do
        for switches = 0, 3 do
          for _, kind in ipairs { "control", "data" } do
            for _, mode in ipairs { "preferred", "disabled", "required" } do
              for _, url in ipairs { false, "https://example.com", "https://kinesis-beta.aws.dev", STAGE } do
                ask(copy(target, {
                  region = region, use_fips = switches % 2 == 1, use_dualstack = switches >= 2,
                  operation_type = kind, account_id_endpoint_mode = mode, endpoint = url or nil,
                }))
              end
            end
          end
        end
      end
    end
  end
  return ours, theirs
end

describe("endpoint.resolve", function()
  it("gives what aws-sdk-js gives, for every partition, switch, ARN, account and stream id", function()
    local ours, theirs = questions()
    local file = os.tmpname()
    local out = assert(io.open(file, "w"))
    out:write(cjson.encode(theirs))
    out:close()
    local output, status = fresh.node("oracles/endpoints.mjs", nil, file):wait()
    os.remove(file)
    assert.equal(0, status, output:sub(1, 2000))
    local answers = cjson.decode(output)
    assert.equal(#ours, #answers)
    local found = 0
    for i, question in ipairs(ours) do
      local url, message = endpoint.resolve(question)
      local expected = answers[i] ~= cjson.null and answers[i] or nil
      if expected ~= url and expected ~= STAGE then
        assert.equal(expected, url, cjson.encode(theirs[i]) .. " " .. tostring(message))
      end
      assert.is_true(url ~= nil or #message > 10)
      found = found + (url and 1 or 0)
    end
    assert.is_true(found > 1000 and #ours - found > 1000, found .. " of " .. #ours)
  end)

  it("says what is wrong, and what would be right", function()
    local arn = "arn:aws:kinesis:us-east-1:123456789012:stream/x"
    for message, question in pairs {
      ["the StreamARN '" .. arn .. "' cannot be used: it is of the partition 'aws', but the client's region cn-north-1 "
        .. "is of 'aws-cn'"] = { region = "cn-north-1", stream_arn = arn, operation_type = "data" },
      ["FIPS and a configured endpoint exclude each other: disable one of them"] =
        { region = "us-east-1", endpoint = "http://localhost:4567", use_fips = true },
      ["account endpoints are required, but the account of the credentials is not known"] =
        { region = "us-east-1", account_id_endpoint_mode = "required", operation_type = "data" },
      ["the ChannelARN 'arn:aws:kinesis:eu-west-1:1:channel/c' cannot be used: a channel has no data operations"] =
        { region = "eu-west-1", channel_arn = "arn:aws:kinesis:eu-west-1:1:channel/c", operation_type = "data" },
    } do
      local url, got = endpoint.resolve(question)
      assert.is_nil(url)
      assert.equal(message, got)
    end
  end)
end)
