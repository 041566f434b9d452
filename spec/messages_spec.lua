-- Messages of the service: without control characters and our own secrets, and as long as there is room.
local codec = require("kinesis.core").codec
local faults = require "support.faults"
local frames = require "support.frames"
local fresh = require "support.fresh"

-- ESC, CR and LF, BEL, NUL, DEL, a C1 control, a byte that is not UTF-8, and text behind all of them.
local EVIL = "\27[31mred\r\nnext\7\0\127\194\155m \255 é the end"
local CLEAN = " [31mred  next    m ? é the end"
local TOKEN = ("FwoGZXIvYXdzEBYaDkVYQU1QTEUrL3Rva2Vu/"):rep(8)
local SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

local function is_clean(text)
  return not text:find "[%z\1-\31\127]" and not text:find "\194[\128-\159]"
end

-- A JSON string of any bytes.
local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return ("\\u%04x"):format(c:byte())
  end):gsub("%z", "\\u0000") .. '"'
end

local function error_body(code, message)
  return ('{"__type":%s,"message":%s}'):format(quote(code), quote(message))
end

local stream, service

setup(function()
  service = fresh.client(os.getenv "KINESIS_LOCAL")
  stream = fresh.stream(service, 1)
end)

teardown(function()
  service:call("DeleteStream", { StreamName = stream })
  service:close()
end)

-- The error of a call that is answered by the rule.
local function err_of(rule, options)
  local scope = faults.open { PutRecord = { rule } }
  local client = scope:client(options)
  local result, err = client:put(stream, "data", "key")
  client:close()
  assert.is_nil(result)
  return err
end

describe("control characters of the service are not in", function()
  it("the error of a call", function()
    local err = err_of { status = 400, body = error_body("Bad\27[0mException", EVIL) }
    assert.equal(CLEAN, err.message)
    assert.equal("Bad [0mException", err.code)
    assert.is_true(is_clean(tostring(err)))
    assert.matches("the end", tostring(err), 1, true)
  end)

  it("what an error says of a header", function()
    local answer = "HTTP/1.1 400 Bad\r\nx-amzn-ErrorType: Odd\27[31mException\r\nx-amzn-RequestId: id\27[31m\155\r\n"
      .. "Content-Length: 2\r\n\r\n{}"
    local err = err_of({ raw = answer }, { max_attempts = 1 })
    assert.equal("Odd [31mException", err.code)
    assert.equal("id [31m?", err.request_id)
    assert.is_true(is_clean(tostring(err)))
  end)

  it("the error of a body that is no error", function()
    local err = err_of({ status = 404, body = EVIL }, { max_attempts = 1 })
    assert.equal("BadAnswer", err.code)
    assert.is_true(is_clean(err.message), err.message)
  end)

  local ENTRY = ('{"FailedRecordCount":1,"Records":[{"ErrorCode":%s,"ErrorMessage":%s}]}'):format(
    quote "Odd\27Exception", quote(EVIL))

  it("the results of put_many", function()
    local scope = faults.open { PutRecords = { { body = ENTRY } } }
    local client = scope:client()
    local results = client:put_many(stream, { { data = "data" } })
    client:close()
    assert.same({ code = "Odd Exception", message = CLEAN }, results[1])
  end)

  it("receipts, their attempts, and the retries of a producer", function()
    local scope = faults.open { PutRecords = {
      { status = 500, body = error_body("InternalFailure", EVIL) }, { body = ENTRY },
    } }
    local client = scope:client()
    local producer = client:producer(stream)
    local result, err = producer:send("data", "key"):wait(10)
    producer:close()
    client:close()
    assert.is_nil(result)
    assert.equal(CLEAN, err.message)
    assert.equal(CLEAN, err.attempts[1].message)
    assert.equal(CLEAN, err.attempts[2].message)
    assert.equal("Odd Exception", err.attempts[2].code)
  end)

  it("what a producer without on_failure prints, and its last line", function()
    local rule = { status = 400, body = error_body("Odd\27Exception", EVIL), always = true }
    local scope = faults.open { PutRecords = { rule } }
    local output = fresh.lua([[
      local kinesis = require "kinesis"
      local client = kinesis.client { endpoint = arg[1], region = "us-east-1",
        credentials = { access_key_id = "AKIDEXAMPLE", secret_access_key = "secret" } }
      for i = 1, 2 do
        local producer = client:producer(arg[2])
        producer:put("data", "key")
        if i == 1 then producer:close() end
      end
    ]], nil, scope.url, stream):wait()
    assert.matches("producer for [^\n]* the end", output)
    assert.matches("1 record for [^\n]* the end", output)
    assert.is_nil(output:find "[%z\1-\9\11-\31\127]")
    assert.is_nil(output:find "\194[\128-\159]")
  end)

  it("the exceptions and errors of an event stream", function()
    for _, frame in ipairs {
      { { [":message-type"] = "exception", [":exception-type"] = "Odd\27Exception" },
        ('{"message":%s}'):format(quote(EVIL)) },
      { { [":message-type"] = "error", [":error-code"] = "Odd\27Exception",
        [":error-message"] = (EVIL:gsub("\255", "\195\191")) }, "" },
    } do
      local bytes = table.concat(frames.encode { frame })
      local scope = faults.open { SubscribeToShard = { { base64 = codec.base64_encode(bytes) } } }
      local client = scope:client()
      local good, err = pcall(client:subscribe_to_shard { ConsumerARN = "arn:x", ShardId = "s",
        StartingPosition = { Type = "LATEST" } })
      client:close()
      assert.is_false(good)
      assert.equal("Odd Exception", err.code)
      assert.matches("^ %[31mred  next    m .* é the end$", err.message)
    end
  end)

  it("the events of hooks", function()
    local scope = faults.open { PutRecord = { { status = 400, body = error_body("OddException", EVIL) } } }
    local seen
    local client = scope:client { on_response = function(event)
      seen = event.error or seen
    end }
    client:put(stream, "data", "key")
    client:close()
    assert.equal(CLEAN, seen.message)
  end)
end)

describe("our own secrets are not in", function()
  local KEYS = { access_key_id = "AKIDEXAMPLE", secret_access_key = SECRET, session_token = TOKEN }

  local function expect_masked(text)
    assert.is_nil(text:find(TOKEN:sub(1, 20), 1, true), text)
    assert.is_nil(text:find(SECRET, 1, true), text)
    assert.matches("%*%*%* at the end", text)
  end

  local ECHO = ("the token %s and the secret %s and a part %s at the end"):format(TOKEN, SECRET, TOKEN:sub(1, 100))

  it("the error of a call", function()
    for _, body in ipairs {
      error_body("InvalidSignatureException", ECHO),
      error_body("InvalidSignatureException", ECHO):gsub("/", "\\/"),
      "plain text: " .. ECHO:sub(-130),
    } do
      local err = err_of({ status = 403, body = body }, { credentials = KEYS, max_attempts = 1 })
      assert.is_nil(err.message:find(TOKEN:sub(1, 20), 1, true), err.message)
      if err.code ~= "BadAnswer" then
        expect_masked(err.message)
      end
    end
  end)

  it("the results of put_many, and receipts", function()
    local entry = ('{"FailedRecordCount":1,"Records":[{"ErrorCode":"AccessDenied","ErrorMessage":%s}]}'):format(
      quote(ECHO))
    local scope = faults.open { PutRecords = { { body = entry, always = true } } }
    local client = scope:client { credentials = KEYS }
    local results = client:put_many(stream, { { data = "data" } })
    expect_masked(results[1].message)
    local producer = client:producer(stream)
    local _, err = producer:send("data", "key"):wait(10)
    producer:close()
    client:close()
    expect_masked(err.message)
  end)

  it("the exception of an event stream", function()
    local bytes = table.concat(frames.encode { {
      { [":message-type"] = "exception", [":exception-type"] = "OddException" },
      ('{"message":%s}'):format(quote(ECHO)),
    } })
    local scope = faults.open { SubscribeToShard = { { base64 = codec.base64_encode(bytes) } } }
    local client = scope:client { credentials = KEYS }
    local _, err = pcall(client:subscribe_to_shard { ConsumerARN = "arn:x", ShardId = "s",
      StartingPosition = { Type = "LATEST" } })
    client:close()
    expect_masked(err.message)
  end)

  it("the header of a request id", function()
    local answer = ("HTTP/1.1 400 Bad\r\nx-amzn-ErrorType: OddException\r\nx-amzn-RequestId: %s\r\n"):format(TOKEN)
      .. "Content-Length: 2\r\n\r\n{}"
    local err = err_of({ raw = answer }, { max_attempts = 1, credentials = KEYS })
    assert.is_nil(tostring(err):find(TOKEN:sub(1, 20), 1, true))
  end)
end)

describe("a long message", function()
  local REASON = "because no identity-based policy allows the kinesis:PutRecord action"

  it("is whole, with its end", function()
    local message = ("User: arn:aws:sts::123456789012:assumed-role/%s/%s is not authorized to perform: "
      .. "kinesis:PutRecord on resource: arn:aws:kinesis:us-east-1:123456789012:stream/%s with an explicit deny in "
      .. "a service control policy: arn:aws:organizations::123456789012:policy/o-%s/service_control_policy/p-%s ")
      :format(("r"):rep(64), ("s"):rep(64), ("x"):rep(128), ("o"):rep(32), ("p"):rep(128)) .. REASON
    local err = err_of { status = 400, body = error_body("AccessDeniedException", message) }
    assert.equal(message, err.message)
    assert.matches(REASON, tostring(err), 1, true)
  end)

  it("is cut between characters, with a mark, everywhere", function()
    for first = 0, 3 do
      local message = ("x"):rep(first) .. ("€"):rep(700)
      local err = err_of { status = 400, body = error_body("AccessDeniedException", message) }
      local kept = err.message:match "^x*(.*)…$"
      assert.is_truthy(kept, err.message)
      assert.equal("", (kept:gsub("€", "")))
      assert.is_true(#err.message > 1190)
    end
  end)

  it("is as long in the attempts of a receipt, and in the reason why a record has expired", function()
    local message = ("€"):rep(300) .. REASON
    local rule = { status = 500, body = error_body("InternalFailure", message), always = true }
    local scope = faults.open { PutRecords = { rule } }
    local client = scope:client()
    local producer = client:producer(stream, { record_ttl = 0.5 })
    local _, err = producer:send("data", "key"):wait(10)
    producer:close()
    client:close()
    assert.equal("Expired", err.code)
    assert.matches(REASON, err.message, 1, true)
    assert.equal(message, err.attempts[1].message)
  end)
end)

describe("what a credentials provider quotes", function()
  it("is cut between characters, with a mark, and is safe to print", function()
    local send = require "kinesis.credentials.send"
    assert.equal("a b ? é", send.line "\n a\27\r\n b \255 é\n")
    for first = 0, 3 do
      local line = send.line(("x"):rep(first) .. ("€"):rep(300))
      assert.matches("^x*[€]*…$", line)
      assert.is_true(#line > 590 and #line <= 600)
      assert.equal("", (line:gsub("^x*", ""):gsub("€", ""):gsub("…$", "")))
    end
  end)
end)

it("an error of the library that quotes the service is safe to print", function()
  local status = { StreamDescriptionSummary = { StreamStatus = "ODD\27[31m", StreamName = "s" } }
  local scope = faults.open { DescribeStreamSummary = {
    { body = require("cjson").encode(status), always = true },
  } }
  local client = scope:client()
  local _, err = client:wait_until("stream_active", { StreamName = "s" }, { timeout = 0.3 })
  client:close()
  assert.equal("Timeout", err.code)
  assert.is_true(is_clean(tostring(err)), tostring(err))
  assert.is_true(is_clean(err.message), err.message)
end)
