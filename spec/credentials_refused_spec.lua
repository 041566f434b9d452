-- Credentials that the service refuses, and those that cannot be had: with the service, and with children.
local faults = require "support.faults"
local fresh = require "support.fresh"

local EXPIRED = { code = "ExpiredTokenException", message = "The security token in the request is expired" }
local UNKNOWN = { code = "UnrecognizedClientException", message = "The security token in the request is invalid" }

local function signer(seen)
  return seen.authorization:match "Credential=(%w+)/"
end

local function keys(id)
  return { access_key_id = id, secret_access_key = "the secret of " .. id }
end

describe("credentials without an expiration", function()
  local direct, stream

  setup(function()
    direct = fresh.client(fresh.services[1])
    stream = fresh.stream(direct, 1, "refused")
  end)

  teardown(function()
    direct:call("DeleteStream", { StreamName = stream })
    direct:close()
  end)

  for _, refusal in ipairs { EXPIRED, UNKNOWN } do
    it("that a function gave are asked for again: " .. refusal.code, function()
      local scope = faults.open { PutRecord = { refusal } }
      local asked = 0
      local client = scope:client { credentials = function()
        asked = asked + 1
        return keys("AKID" .. asked)
      end }
      assert(client:put(stream, "x", "key"))
      local seen = scope:seen "PutRecord"
      assert.same({ "AKID1", "AKID2", 2 }, { signer(seen[1]), signer(seen[2]), #seen })
      client:close()
    end)

    it("that a function repeats fail the call with the service's error: " .. refusal.code, function()
      local scope = faults.open { PutRecord = { refusal } }
      local client = scope:client { credentials = function()
        return keys "AKIDSAME"
      end }
      local _, err = client:put(stream, "x", "key")
      assert.same({ refusal.code, 400 }, { err.code, err.status })
      assert.equal(1, #scope:seen "PutRecord")
      assert(client:put(stream, "x", "key"))
      client:close()
    end)

    it("of a table fail at once, also a producer's records: " .. refusal.code, function()
      local scope = faults.open { PutRecord = { refusal }, PutRecords = { refusal } }
      local client = scope:client()
      local _, err = client:put(stream, "x", "key")
      assert.equal(refusal.code, err.code)
      local producer = assert(client:producer(stream))
      local stored
      stored, err = assert(producer:send("x", "key")):wait(5)
      assert.is_nil(stored)
      assert.equal(refusal.code, err.code)
      producer:close()
      client:close()
    end)
  end

  it("of a file are read again", function()
    local path = os.tmpname()
    local scope = faults.open { ListStreams = { {}, EXPIRED, {}, UNKNOWN, {}, EXPIRED } }
    local output, status = fresh.lua([[
      local kinesis = require "kinesis"
      local function write(id)
        local file = assert(io.open(arg[2], "w"))
        file:write("[default]\naws_access_key_id = ", id, "\naws_secret_access_key = the secret of ", id, "\n")
        file:close()
      end
      write "FIRST"
      local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1" })
      assert(client:call "ListStreams")
      write "SECOND"
      assert(client:call "ListStreams")
      write "THIRD"
      assert(client:call "ListStreams")
      os.remove(arg[2])
      os.execute("mkdir " .. arg[2])
      print(select(2, client:call "ListStreams"))
      os.remove(arg[2])
    ]], { AWS_SHARED_CREDENTIALS_FILE = path, HOME = "/nonexistent", AWS_EC2_METADATA_DISABLED = "true" },
      scope.url, path):wait()
    os.remove(path)
    assert.equal(0, status, output)
    local ids = {}
    for i, seen in ipairs(scope:seen "ListStreams") do
      ids[i] = signer(seen)
    end
    assert.same({ "FIRST", "FIRST", "SECOND", "SECOND", "THIRD", "THIRD" }, ids)
    assert.matches("kinesis: the profile could not be read again: ", output, 1, true)
    assert.matches("ListStreams: ExpiredTokenException: ", output, 1, true)
  end)

  for what, after in pairs { ["cannot be read"] = "mkdir", ["is not there"] = "true",
    ["is half written"] = "printf '[default]\\naws_acc' >" } do
    it(("of the default file stay those of the profile while it %s"):format(what), function()
      local home = os.tmpname()
      local scope = faults.open { ListStreams = { {}, EXPIRED, {} } }
      local output, status = fresh.lua([[
        local kinesis = require "kinesis"
        local path = arg[2] .. "/.aws/credentials"
        os.remove(arg[2])
        os.execute("mkdir -p " .. arg[2] .. "/.aws")
        local file = io.open(path, "w")
        file:write "[default]\naws_access_key_id = FIRST\naws_secret_access_key = secret\n"
        file:close()
        local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1" })
        assert(client:call "ListStreams")
        os.remove(path)
        os.execute(arg[3] .. " " .. path)
        print(select(2, client:call "ListStreams"))
        assert(client:call "ListStreams")
        os.execute("rm -r " .. arg[2])
      ]], { HOME = home, AWS_SHARED_CREDENTIALS_FILE = "", AWS_EC2_METADATA_DISABLED = "true" },
        scope.url, home, after):wait()
      assert.equal(0, status, output)
      for _, seen in ipairs(scope:seen "ListStreams") do
        assert.equal("FIRST", signer(seen))
      end
      assert.equal(3, #scope:seen "ListStreams")
      assert.matches("kinesis: the profile could not be read again: ", output, 1, true)
      assert.matches("ListStreams: ExpiredTokenException: ", output, 1, true)
    end)
  end

  it("make a producer wait, and say so to flush, to stats and on stderr", function()
    local scope = faults.open { PutRecords = { EXPIRED } }
    local output, status = fresh.lua([[
      local kinesis = require "kinesis"
      local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1", credentials = function()
        return { access_key_id = "AKIDSAME", secret_access_key = "the secret of a function" }
      end })
      local producer = assert(client:producer(arg[2], { exit_timeout = 0.2 }))
      assert(producer:put("x", "key"))
      local over = require("kinesis.core").now() + 10
      repeat kinesis.sleep(0.01) until producer:stats().reason or require("kinesis.core").now() > over
      local stats = producer:stats()
      print(stats.open, stats.failed, stats.reason.code, stats.errors.ExpiredTokenException)
      print(select(2, producer:flush(0.1)))
    ]], nil, scope.url, stream):wait()
    assert.equal(0, status, output)
    assert.equal(1, #scope:seen "PutRecords")
    local said = ("kinesis: producer for %s: PutRecords: ExpiredTokenException: "):format(stream)
    assert.equal(said, output:sub(1, #said))
    assert.matches("\n1\t0\tExpiredTokenException\t1\n", output, 1, true)
    assert.matches("\nPutRecords: Timeout: 1 record is neither stored nor failed yet; .*ExpiredTokenException", output)
    assert.matches(("\nkinesis: 1 record for %s was not delivered: PutRecords: ExpiredTokenException: "):format(stream),
      output, 1, true)
  end)

  it("make a reader that has read wait, and say so on stderr", function()
    assert(direct:put(stream, "first", "key"))
    local output, status = fresh.lua([[
      local kinesis = require "kinesis"
      local client = assert(kinesis.client { endpoint = arg[1], region = "us-east-1", credentials = function()
        return { access_key_id = "FIRST", secret_access_key = "the secret of a function" }
      end })
      local reader = client:shards(arg[2]):records { poll_interval = 0.2 }
      io.stderr = { write = function(_, ...)
        io.write(...)
        reader:stop()
      end }
      for _ in reader do end
      print "ended"
    ]], nil, faults.open { GetRecords = { {}, { code = EXPIRED.code, message = EXPIRED.message, always = true } } }.url,
      stream):wait()
    assert.equal(0, status, output)
    assert.matches("kinesis: reading shardId%-000000000000 of [%w-]+: GetRecords: ExpiredTokenException: ", output)
    assert.matches("\nended\n$", output)
  end)
end)

it("credentials of a program expire by the service's clock", function()
  local function write(text)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
    return path
  end
  local ahead = { body = "{}", headers = { Date = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + 7200) } }
  local expiration = os.date("!%Y-%m-%d %H:%M:%S+00:00", os.time() + 3600)
  local printed = write(('{"Version":1,"AccessKeyId":"A","SecretAccessKey":"secret of a file","Expiration":"%s"}')
    :format(expiration))
  local config = write("[default]\ncredential_process = cat " .. printed .. "\n")
  local output = fresh.lua([[
    local client = assert(require("kinesis").client { endpoint = arg[1], region = "us-east-1" })
    for _ = 1, 3 do
      print(select(2, client:call "ListStreams") or "answered")
    end
  ]], { HOME = "/nonexistent", AWS_EC2_METADATA_DISABLED = "true", AWS_CONFIG_FILE = config },
    faults.open({ ListStreams = { ahead, ahead } }).url):wait()
  os.remove(printed)
  os.remove(config)
  assert.matches("^answered\nanswered\nListStreams: NoCredentials: .*it returned credentials that have expired", output)
end)

it("a provider that does not answer is named by a flush that times out", function()
  local output, status = fresh.lua([[
    local client = assert(require("kinesis").client { endpoint = "http://127.0.0.1:9", region = "us-east-1" })
    local producer = assert(client:producer("s", { exit_timeout = 0 }))
    assert(producer:put("x", "key"))
    print(select(2, producer:flush(0.1)))
  ]], {
    HOME = "/nonexistent", AWS_EC2_METADATA_DISABLED = "true",
    AWS_CONTAINER_CREDENTIALS_FULL_URI = os.getenv "NGINX_KEYS" .. "/slow/keys",
  }):wait()
  assert.equal(0, status, output)
  assert.matches("NoCredentials: the credentials provider has not answered yet", output, 1, true)
end)

describe("a provider that fails while the process ends", function()
  it("keeps it no longer than exit_timeout, and is named", function()
    local output, status = fresh.lua([[
      local kinesis = require "kinesis"
      local client = assert(kinesis.client { endpoint = "http://127.0.0.1:9", region = "us-east-1",
        credentials = function() return nil, "the sidecar is not up" end })
      local producer = assert(client:producer("s", { exit_timeout = 0.2 }))
      assert(producer:put("x", "key"))
      local over = require("kinesis.core").now() + 10
      repeat kinesis.sleep(0.01) until producer:stats().reason or require("kinesis.core").now() > over
    ]]):wait()
    assert.equal(0, status, output)
    assert.matches("kinesis: 1 record for s was not delivered: %a+: NoCredentials: the sidecar is not up; ", output)
  end)

  it("is named by close, whose records were not sent", function()
    local client = fresh.client("http://127.0.0.1:9", { credentials = function()
      return nil, "the sidecar is not up"
    end })
    local producer = assert(client:producer "s")
    assert(producer:put("x", "key"))
    local done, err, lost = producer:close(0.3)
    assert.is_nil(done)
    assert.equal("Closed", err.code)
    assert.matches("why it did not leave: NoCredentials: the sidecar is not up", err.message, 1, true)
    assert.same({ 1, "x" }, { #lost, lost[1].data })
    client:close()
  end)
end)
