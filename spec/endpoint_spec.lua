-- Flavours: lua5.4 luajit
local endpoint = require "kinesis.endpoint"
local urls = require "kinesis.endpoint.urls"

describe("endpoint.resolve by region", function()
  local hosts = {
    ["us-east-1"] = "kinesis.us-east-1.amazonaws.com",
    ["cn-north-1"] = "kinesis.cn-north-1.amazonaws.com.cn",
    ["us-gov-west-1"] = "kinesis.us-gov-west-1.amazonaws.com",
    ["us-iso-east-1"] = "kinesis.us-iso-east-1.c2s.ic.gov",
    ["us-isob-east-1"] = "kinesis.us-isob-east-1.sc2s.sgov.gov",
    ["eu-isoe-west-1"] = "kinesis.eu-isoe-west-1.cloud.adc-e.uk",
    ["us-isof-south-1"] = "kinesis.us-isof-south-1.csp.hci.ic.gov",
    ["eusc-de-east-1"] = "kinesis.eusc-de-east-1.amazonaws.eu",
    ["zz-nowhere-9"] = "kinesis.zz-nowhere-9.amazonaws.com",
  }
  for region, host in pairs(hosts) do
    it("gives the host of " .. region, function()
      assert.equal("https://" .. host, endpoint.resolve { region = region })
    end)
  end

  it("refuses what cannot stand in a host name", function()
    for _, region in ipairs { "", "us east 1", "evil.com/", "-a", "a-", "a\nb", ("a"):rep(64) } do
      local url, message = endpoint.resolve { region = region }
      assert.is_nil(url)
      assert.matches("is no region", message, 1, true)
      assert.is_nil(message:find("\n", 1, true))
    end
  end)

  it("wants a region or an endpoint", function()
    local url, message = endpoint.resolve {}
    assert.is_nil(url)
    assert.matches("neither", message, 1, true)
  end)
end)

describe("endpoint.resolve with a configured endpoint", function()
  local accepted = {
    ["http://localhost:4567"] = "http://localhost:4567",
    ["http://localhost:4567/"] = "http://localhost:4567",
    ["HTTPS://Example.COM"] = "https://example.com",
    ["https://h/a/b-c._~/"] = "https://h/a/b-c._~",
    ["http://kinesis_local:1"] = "http://kinesis_local:1",
    ["http://127.0.0.1:65535"] = "http://127.0.0.1:65535",
    ["http://[::1]:4567"] = "http://[::1]:4567",
    ["http://[fd00:ec2::23]"] = "http://[fd00:ec2::23]",
    ["http://[::ffff:10.0.0.1]"] = "http://[::ffff:10.0.0.1]",
    ["http://[1:2:3:4:5:6:7:8]"] = "http://[1:2:3:4:5:6:7:8]",
    ["http://h/..."] = "http://h/...",
  }
  for given, url in pairs(accepted) do
    it("accepts " .. given, function()
      assert.equal(url, endpoint.resolve { endpoint = given, region = "us-east-1" })
    end)
  end

  local refused = {
    ["localhost:4567"] = "http://",
    ["ftp://h"] = "http://",
    ["http://"] = "no host",
    ["http://:80"] = "no host",
    ["http://h:"] = "port",
    ["http://h:0"] = "port",
    ["http://h:65536"] = "port",
    ["http://h:80a"] = "port",
    ["http://h:000080"] = "port",
    ["http://[::1]80"] = "port",
    ["http://h?x=1"] = "query",
    ["http://h/a?x=1"] = "query",
    ["http://h/#a"] = "fragment",
    ["http://h/a b"] = "path",
    ["http://h/a%20b"] = "path",
    ["http://h/a/../b"] = "path",
    ["http://h/."] = "path",
    ["http://h//a"] = "path",
    ["http://a..b"] = "host",
    ["http://a b"] = "host",
    ["http://a\nb"] = "host",
    ["http://-a"] = "host",
    ["http://1.2.3"] = "IPv4",
    ["http://1.2.3.256"] = "IPv4",
    ["http://1.2.3.04"] = "IPv4",
    ["http://0x7f.0x1"] = "IPv4",
    ["http://[]"] = "IPv6",
    ["http://[1::2::3]"] = "IPv6",
    ["http://[1:2:3:4:5:6:7]"] = "IPv6",
    ["http://[12345::]"] = "IPv6",
    ["http://[fe80::1%eth0]"] = "IPv6",
    ["http://[1:2:3:4:5:6:7:8::]"] = "IPv6",
    ["http://[::1"] = "port",
  }
  for given, word in pairs(refused) do
    it(("refuses %q"):format(given), function()
      local url, message = endpoint.resolve { endpoint = given }
      assert.is_nil(url)
      assert.matches(word, message, 1, true)
    end)
  end

  it("refuses user info without showing it", function()
    local url, message = endpoint.resolve { endpoint = "http://me:hunter2@h:99999/" }
    assert.is_nil(url)
    assert.matches("password", message, 1, true)
    assert.is_nil(message:find("hunter2", 1, true))
  end)
end)

describe("endpoint.parse", function()
  it("takes a URL apart", function()
    assert.same({ scheme = "https", host = "[::1]", port = 8443, path = "/a" }, urls.parse("https://[::1]:8443/a/"))
    assert.same({ scheme = "http", host = "h", path = "" }, urls.parse("http://H"))
  end)
end)

it("the cache of targets takes any id for a stream's", function()
  local cache = require "kinesis.endpoint.cache"
  local client = assert(require("kinesis").client {
    region = "us-east-1", credentials = { access_key_id = "AKID", secret_access_key = "secret" },
  })
  local one = cache.of(client, "data", "stream_id", "abcdefgh")
  local other, err = cache.of(client, "data", "stream_id", "count")
  assert.is_nil(err)
  assert.equal(type(one), type(other))
  client:close()
end)
