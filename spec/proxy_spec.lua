-- The user name and the password of a proxy are in no message.
local fresh = require "support.fresh"

local CHILD = [[
  local kinesis = require "kinesis"
  local said = {}
  local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1", max_attempts = 2, connect_timeout = 1,
    credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" },
    on_response = function(event) print(event.error) end, on_retry = function(event) print(event.error) end })
  local _, err = client:call("ListStreams", {})
  print(err, err.message, err.code)
  print(client:configuration())
  client:producer("stream", { exit_timeout = 0.2 }):put("data", "key")
]]

-- What a process says that calls through this proxy.
local function said(variables, url)
  local output, status = fresh.lua(CHILD, variables, url or "http://127.0.0.1:1/"):wait()
  assert.equal(0, status, output)
  return output
end

local MALFORMED = {
  "http://johndoe:hun#ter22@127.0.0.1:1", "http://johndoe:12#ter22@127.0.0.1:1", "http://johndoe:hun/ter22@127.0.0.1:1",
  "http://johndoe:12?ter22@127.0.0.1:1", "http://johndoe:hun ter22@127.0.0.1:1", "http://johndoe:hun@ter22@127.0.0.1:1",
  "johndoe:hun#ter22@127.0.0.1:1", "ftp://johndoe:hunter22@127.0.0.1:1", "http://johndoe:hunter22@127.0.0.1:99999",
  "http://john#doe:hunter22@127.0.0.1:1", "http://127.0.0.1:1#ter22@127.0.0.1:1",
  "http://johndoe:hun#" .. ("ter22"):rep(100) .. "@127.0.0.1:1",
}

describe("a proxy that is named wrongly", function()
  for _, proxy in ipairs(MALFORMED) do
    it("is told without its password: " .. proxy:sub(1, 50), function()
      local output = said { http_proxy = proxy }
      assert.is_nil(output:find("ter22", 1, true), output)
      assert.is_nil(output:find("hun", 1, true), output)
      assert.is_nil(output:find("john", 1, true), output)
      assert.matches("BadConfig: the proxy that http_proxy names ", output, 1, true)
      assert.matches("%23 for #", output, 1, true)
    end)
  end

  it("is found by the scheme of the endpoint, and in every variable", function()
    for _, name in ipairs { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" } do
      local output = said({ [name] = MALFORMED[1] }, "https://127.0.0.1:1")
      assert.matches(("the proxy that %s names"):format(name), output, 1, true)
      assert.is_nil(output:find("ter22", 1, true), output)
    end
  end)

  it("is not what a call complains of that goes past it", function()
    local output = said { http_proxy = MALFORMED[1], no_proxy = "127.0.0.1" }
    assert.is_nil(output:find("BadConfig", 1, true), output)
    assert.matches("Connection: ", output, 1, true)
    assert.is_nil(output:find("ter22", 1, true), output)
  end)
end)

it("a proxy that is named rightly, and refuses, is told without its password", function()
  for _, proxy in ipairs { "http://johndoe:hunter22@127.0.0.1:1", "socks5h://johndoe:hunter22@127.0.0.1:1",
    "johndoe:hunter22@no-such-host.invalid:1" } do
    local output = said { http_proxy = proxy }
    assert.is_nil(output:find("hunter22", 1, true), output)
    assert.matches("Connection: ", output, 1, true)
  end
end)
