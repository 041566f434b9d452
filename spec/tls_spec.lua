-- TLS: what is trusted, what is refused and how that is told, and that connections are kept.
local fresh = require "support.fresh"
local kinesis = require "kinesis"
local namespaces = require "support.namespaces"

local CA = os.getenv "CERTS" .. "/ca.pem"
local tls = os.getenv "NGINX_HTTPS_TLS"
local plain = os.getenv "NGINX_HTTPS"
local direct, stream, ports

-- nginx counts its connections; this one is the newest. A client of its own: a fresh connection.
local function ask_nginx()
  local client = fresh.client(plain)
  local answer = assert(client:call "Ports")
  client:close()
  return answer
end

setup(function()
  direct = fresh.client(os.getenv "KINESIS_LOCAL")
  stream = fresh.stream(direct, 1)
  ports = ask_nginx()
end)

teardown(function()
  direct:call("DeleteStream", { StreamName = stream })
  direct:close()
end)

-- Puts and expects to be refused, at the first attempt. Returns the error's line.
local function refused(url, ca_bundle, connections)
  local client = fresh.client(url, { ca_bundle = ca_bundle })
  local before = ask_nginx().connection
  local result, err = client:put(stream, "data", "key")
  local between = ask_nginx().connection - before - 1
  client:close()
  assert.is_nil(result)
  assert.equal("Connection", err.code)
  assert.equal("PutRecord", err.operation)
  assert.is_false(err.retryable)
  assert.is_nil(err.status)
  assert.equal(connections or 1, between)
  assert.is_nil(tostring(err):find("\n", 1, true))
  return tostring(err)
end

describe("the system's authorities", function()
  local CHILD = [[
    local kinesis = require "kinesis"
    local client = kinesis.client { endpoint = arg[1], region = "us-east-1",
      credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } }
    for _ = 1, 2 do
      local result, err = client:put(arg[2], "data", "key")
      print(result and "stored" or tostring(err))
    end
  ]]

  -- Puts twice where the system's folder of authorities is what `fill` puts into $DIR.
  local function put_where(fill)
    namespaces.need(pending)
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write(CHILD)
    file:close()
    local command = ([[DIR=$(mktemp -d); %s; unshare -rm sh -c "mount --bind $DIR /etc/ssl/certs && ]]
      .. [[exec $LUA $SCRIPT $URL $STREAM"; rm -r $DIR]]):format(fill)
    local output, status = fresh.spawn(command, { SCRIPT = script, URL = tls, STREAM = stream }):wait()
    os.remove(script)
    assert.equal(0, status, output)
    return output
  end

  it("are found by name in their folder, where there is no file", function()
    assert.equal("stored\nstored\n", put_where 'cp "$CERTS/ca.pem" $DIR && openssl rehash $DIR')
  end)

  it("are found in their file, when the folder does not know them", function()
    assert.equal("stored\nstored\n", put_where 'cp "$CERTS/ca.pem" $DIR/ca-certificates.crt')
  end)

  it("are all there is", function()
    for _, fill in ipairs { "openssl rehash $DIR", 'cp "$CERTS/other-ca.pem" $DIR/ca-certificates.crt' } do
      for line in put_where('cp "$CERTS/other-ca.pem" $DIR && ' .. fill):gmatch "[^\n]+" do
        assert.matches("^PutRecord: Connection: .*certificate", line)
      end
    end
  end)
end)

describe("an own authority", function()
  it("is trusted by the option ca_bundle", function()
    for _, url in ipairs { tls, os.getenv "KINESIS_LOCAL_TLS" } do
      local client = fresh.client(url, { ca_bundle = CA })
      local result, err = client:put(stream, "over TLS", "key")
      assert.truthy(result, tostring(err))
      client:close()
    end
    local client = fresh.client(tls, { ca_bundle = CA })
    local records = fresh.read(client, stream)
    client:close()
    assert.equal("over TLS", records[#records].data)
  end)

  it("is trusted by AWS_CA_BUNDLE, unless the option says another", function()
    local source = [[
      local kinesis = require "kinesis"
      local result, err = kinesis.put(arg[1], "data", "key")
      print(result and "stored" or err)
      local client = kinesis.client { ca_bundle = arg[2] }
      result, err = client:put(arg[1], "data", "key")
      print(result and "stored" or err)
    ]]
    local env = {
      AWS_CA_BUNDLE = CA, AWS_ENDPOINT_URL_KINESIS = tls, AWS_REGION = fresh.region,
      AWS_ACCESS_KEY_ID = "AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY = "secret",
    }
    local output, status = fresh.lua(source, env, stream, os.getenv "CERTS" .. "/other-ca.pem"):wait()
    assert.equal(0, status, output)
    assert.matches("^stored\nPutRecord: Connection: [^\n]+\n$", output)
    env.AWS_CA_BUNDLE = nil
    output = fresh.lua(source, env, stream, CA):wait()
    assert.matches("^PutRecord: Connection: [^\n]+\nstored\n$", output)
  end)

  it("is not trusted without being named", function()
    assert.matches("certificate", refused(tls, nil, 2), 1, true) -- by folder, then by file
  end)
end)

describe("a server is refused, and not asked again, when", function()
  it("another authority signed its certificate", function()
    assert.matches("certificate", refused(tls, os.getenv "CERTS" .. "/other-ca.pem"), 1, true)
  end)

  it("its certificate is for another host", function()
    local line = refused(("https://localhost:%d"):format(ports.wrong_host), CA)
    assert.matches("localhost", line, 1, true)
    assert.matches("subject name", line, 1, true)
  end)

  it("its certificate does not name the address that was asked", function()
    assert.matches("subject name", refused(("https://127.0.0.1:%d"):format(ports.wrong_host), CA), 1, true)
  end)

  it("its certificate has expired", function()
    assert.matches("certificate has expired", refused(("https://localhost:%d"):format(ports.expired), CA), 1, true)
  end)
end)

describe("a CA bundle that", function()
  local function attempt(path)
    local client, err = kinesis.client {
      endpoint = tls, region = fresh.region, credentials = fresh.keys, ca_bundle = path,
    }
    local result
    if client then
      result, err = client:put(stream, "data", "key")
      client:close()
    end
    assert.is_nil(result)
    return err
  end

  it("is not there, or is none, is named in the error", function()
    local missing = attempt(os.getenv "CERTS" .. "/missing.pem")
    assert.is_false(missing.retryable)
    assert.matches("missing.pem", tostring(missing), 1, true)
    local no_pem = attempt(os.getenv "ROOT" .. "/Makefile")
    assert.is_false(no_pem.retryable)
    assert.matches("Makefile", tostring(no_pem), 1, true)
  end)
end)

describe("a TLS connection", function()
  it("is kept for many calls", function()
    local client = fresh.client(tls .. "/connection", { ca_bundle = CA })
    local first = assert(client:call "PutRecord").connection
    for _ = 1, 50 do
      assert.equal(first, assert(client:call "PutRecord").connection)
    end
    client:close()
    local other = fresh.client(tls .. "/connection", { ca_bundle = CA })
    assert.are_not.equal(first, assert(other:call "PutRecord").connection)
    other:close()
  end)

  it("to a server that speaks plain HTTP is told as what it is", function()
    local client = fresh.client((plain:gsub("^http:", "https:")), { ca_bundle = CA, max_attempts = 1 })
    local result, err = client:put(stream, "data", "key")
    client:close()
    assert.is_nil(result)
    assert.equal("Connection", err.code)
    assert.matches("SSL", err.message, 1, true)
  end)
end)

describe("TLS before 1.2", function()
  it("is refused, even where the configuration of OpenSSL allows it", function()
    local config = os.tmpname()
    local file = assert(io.open(config, "w"))
    file:write [[
      openssl_conf = openssl_init
      [openssl_init]
      ssl_conf = ssl_sect
      [ssl_sect]
      system_default = system_default_sect
      [system_default_sect]
      MinProtocol = TLSv1
      CipherString = ALL:@SECLEVEL=0
    ]]
    file:close()
    local env = { OPENSSL_CONF = config, CURL_CA_BUNDLE = CA, URL = ("https://localhost:%d/"):format(ports.old) }
    -- curl shows that this configuration does allow it
    local proof, status = fresh.spawn([[curl -s --tlsv1.0 "$URL"]], env):wait()
    local output = fresh.lua([[
      local client = assert(require "kinesis".client { endpoint = arg[1], region = "us-east-1", ca_bundle = arg[2],
        max_attempts = 1, credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } })
      print(client:call("ListStreams", {}))
    ]], env, env.URL, CA):wait()
    os.remove(config)
    assert.equal(0, status, proof)
    assert.matches("^nil\tListStreams: Connection: [^\n]*protocol version", output)
  end)
end)
