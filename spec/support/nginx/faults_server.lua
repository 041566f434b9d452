-- The scripted-fault server. A spec opens a scope, /scope/NAME, and posts its rules to /control/NAME: {operation =
-- {rule of the first call, of the second, …}}; calls without a rule are forwarded. A rule is a table, whose fields are
-- described at `acts`. A GET of /control/NAME returns the requests that arrived.
local canned = require "canned"
local cjson = require "cjson"

local M = {}

local store = ngx.shared.faults

local function operation_of(headers)
  return (headers["X-Amz-Target"] or ""):match("%.(%w+)$") or "none"
end

-- ---- control ----

local controls = {}

function controls.SetRules(scope, body)
  for operation, rules in pairs(body) do
    for i, rule in ipairs(rules) do
      store:set(("rule %s %s %d"):format(scope, operation, i), cjson.encode(rule))
      if rule.always then
        store:set(("always %s %s"):format(scope, operation), i)
      end
    end
  end
  return {}
end

-- {rules={operation=rule, ["*"]=rule}}: from now on these come before all others; without rules: no more.
function controls.Switch(scope, body)
  store:set("switch " .. scope, body.rules and cjson.encode(body.rules))
  return {}
end

function controls.OpenGate(scope)
  store:set("open " .. scope, true)
  return {}
end

function controls.SetStream(_, body)
  canned.set(body)
  return {}
end

function controls.ExpireIterators(_, body)
  canned.expire(body.name)
  return {}
end

-- The requests of one operation, or of all; newest last.
function controls.TellSeen(scope, body)
  local list, seen = {}, "seen " .. scope
  for _ = 1, store:llen(seen) or 0 do
    local text = store:lpop(seen)
    store:rpush(seen, text)
    local entry = cjson.decode(text)
    if not body.operation or entry.operation == body.operation then
      list[#list + 1] = entry
    end
  end
  return { count = #list, seen = list }
end

function M.control()
  ngx.req.read_body()
  local scope = ngx.var.uri:match("^/control/(.+)$")
  local name = operation_of(ngx.req.get_headers())
  local answer = controls[name](scope, cjson.decode(ngx.req.get_body_data() or "{}"))
  ngx.header.content_type = "application/json"
  ngx.print(cjson.encode(answer))
end

-- ---- faults ----

local function reset()
  return ngx.exit(444)
end

-- The name of a scope starts with that of the service behind it.
local function service()
  local named = ngx.var.uri:match("^/scope/(%a+)")
  return (named == "kinesalite" or named == "canned" or named == "dynalite") and "/" .. named or "/kinesis-local"
end

local function forward(body)
  return ngx.location.capture(service(), { method = ngx.HTTP_POST, body = body })
end

local function send(status, body, headers)
  ngx.status = status
  ngx.header.content_type = "application/x-amz-json-1.1"
  for name, value in pairs(headers or {}) do
    ngx.header[name] = value
  end
  ngx.header.content_length = #body
  ngx.print(body)
end

-- Sends bytes instead of an HTTP answer, and closes the connection.
local function send_raw(bytes)
  local socket = assert(ngx.req.socket(true))
  socket:send(bytes)
  return ngx.exit(ngx.ERROR)
end

local function head(length)
  return ("HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n"):format(length)
end

-- Sends an answer of `total` bytes of JSON.
local function send_huge(total, announced)
  local piece = ("x"):rep(65536)
  ngx.header.content_type = "application/x-amz-json-1.1"
  if announced then
    ngx.header.content_length = total
  end
  ngx.print('{"Records":[{"Data":"')
  total = total - 21
  while total > 0 do
    local good = ngx.print(total >= #piece and piece or piece:sub(1, total)) and ngx.flush(true)
    if not good then
      return -- the client has closed the connection
    end
    total = total - #piece
  end
end

-- Forwards the entries that are not in `rule.fail_entries` (from 1) and merges the answers.
local function fail_entries(rule, body)
  local request, failing, survivors = cjson.decode(body), {}, {}
  for _, i in ipairs(rule.fail_entries) do
    failing[i] = true
  end
  for i, record in ipairs(request.Records) do
    if not failing[i] then
      survivors[#survivors + 1] = record
    end
  end
  local answer, stored, merged = { Records = {} }, 0, {}
  local count = #request.Records
  if #survivors > 0 then
    request.Records = survivors
    answer = cjson.decode(forward(cjson.encode(request)).body)
  end
  for i = 1, count do
    if failing[i] then
      merged[i] = { ErrorCode = rule.code or "ProvisionedThroughputExceededException",
        ErrorMessage = rule.message or "Rate exceeded" }
    else
      stored = stored + 1
      merged[i] = answer.Records[stored]
    end
  end
  answer.Records, answer.FailedRecordCount = merged, count - stored
  return send(200, cjson.encode(answer))
end

local QUARTERS = { "85070591730234615865843651857942052864", "170141183460469231731687303715884105728",
  "255211775190703847597530955573826158592" }

-- The quarter of the hash key range of a record: 0 to 3.
local function quarter_of(record)
  local key = record.ExplicitHashKey
  if not key then
    return math.floor(tonumber(ngx.md5(record.PartitionKey):sub(1, 1), 16) / 4)
  end
  local quarter = 0
  for _, start in ipairs(QUARTERS) do
    local less = #key < #start or #key == #start and key < start
    quarter = quarter + (less and 0 or 1)
  end
  return quarter
end

local acts = {}

-- {code=, message=, status=, headers=}: an error of the service
function acts.code(rule)
  local body = cjson.encode { __type = rule.code, message = rule.message or "scripted" }
  return send(rule.status or 400, body, rule.headers)
end

-- {hot=quarter, share=}: throttles that share of the entries in one quarter of the hash keys
function acts.hot(rule, body)
  local failing = {}
  for i, record in ipairs(cjson.decode(body).Records) do
    if quarter_of(record) == rule.hot and math.random() < rule.share then
      failing[#failing + 1] = i
    end
  end
  rule.fail_entries = failing
  return fail_entries(rule, body)
end

-- {body=, status=, headers=}: any answer
function acts.body(rule)
  return send(rule.status or 200, rule.body, rule.headers)
end

-- {base64=, times=1}: an answer of these bytes, repeated `times`
function acts.base64(rule)
  local bytes = ngx.decode_base64(rule.base64)
  for _ = 1, rule.times or 1 do
    ngx.print(bytes)
    ngx.flush(true)
  end
end

-- {reset="before"|"after"}: the connection is reset before, or after, the service has executed the call
function acts.reset(rule, body)
  if rule.reset == "after" then
    forward(body)
  end
  return reset()
end

-- {stall=seconds}: no answer, then a reset
function acts.stall(rule)
  ngx.sleep(rule.stall)
  return reset()
end

-- {hang=true}: no answer while the rule is switched on, then a reset
function acts.hang(_, _, scope)
  while store:get("switch " .. scope) do
    ngx.sleep(0.05)
  end
  return reset()
end

-- {dribble=seconds}: the right answer, in ten pieces with pauses
function acts.dribble(rule, body)
  local answer = forward(body).body
  local size = math.ceil(#answer / 10)
  ngx.header.content_type = "application/x-amz-json-1.1"
  ngx.header.content_length = #answer
  for i = 1, #answer, size do
    ngx.print(answer:sub(i, i + size - 1))
    ngx.flush(true)
    ngx.sleep(rule.dribble)
  end
end

-- {lie=n}: the announced length is n bytes more (less) than the body
function acts.lie(rule, body)
  local answer = forward(body).body
  return send_raw(head(#answer + rule.lie) .. answer)
end

-- {cut=n}: the announced length is right, and the connection is closed after n bytes of the body
function acts.cut(rule, body)
  local answer = forward(body).body
  return send_raw(head(#answer) .. answer:sub(1, rule.cut))
end

-- {truncate=n}: a complete HTTP answer with the first n bytes of the right body
function acts.truncate(rule, body)
  return send(200, forward(body).body:sub(1, rule.truncate))
end

-- {raw=bytes}: no HTTP
function acts.raw(rule)
  return send_raw(rule.raw)
end

-- {huge=bytes, announced=boolean}
function acts.huge(rule)
  return send_huge(rule.huge, rule.announced)
end

-- {drop=member}: forwards a PutRecords without that member of its entries
function acts.drop(rule, body)
  local request = cjson.decode(body)
  for _, record in ipairs(request.Records) do
    record[rule.drop] = nil
  end
  return send(200, forward(cjson.encode(request)).body)
end

-- {reopen=true}: a ListShards in which every shard is open, parents beside their children
function acts.reopen(_, body)
  local request = cjson.decode(body)
  request.ShardFilter = nil
  local answer = cjson.decode(forward(cjson.encode(request)).body)
  for _, shard in ipairs(answer.Shards) do
    shard.SequenceNumberRange.EndingSequenceNumber = nil
  end
  return send(200, cjson.encode(answer))
end

acts.fail_entries = fail_entries

-- ---- serving ----

local function note(scope, operation, headers, body)
  local entry = {
    operation = operation,
    at = ngx.now(),
    date = headers["X-Amz-Date"],
    authorization = headers["Authorization"],
    trace = headers["X-Amzn-Trace-Id"],
    invocation = headers["amz-sdk-invocation-id"],
    attempt = headers["amz-sdk-request"],
    connection = tonumber(ngx.var.connection),
    bytes = #body,
    body = #body < 1000 and body or nil,
  }
  if operation == "PutRecords" then
    entry.keys = {}
    for i, record in ipairs(cjson.decode(body).Records) do
      entry.keys[i] = record.PartitionKey
    end
  elseif operation == "PutRecord" then
    entry.keys = { (cjson.decode(body).PartitionKey) }
  end
  store:rpush("seen " .. scope, cjson.encode(entry))
end

local function switched_rule(scope, operation)
  local text = store:get("switch " .. scope)
  local rules = text and cjson.decode(text) or {}
  return rules[operation] or rules["*"]
end

local function rule_for(scope, operation)
  local switched = switched_rule(scope, operation)
  if switched then
    return switched
  end
  local number = store:incr(("count %s %s"):format(scope, operation), 1, 0)
  local always = store:get(("always %s %s"):format(scope, operation))
  local text = store:get(("rule %s %s %d"):format(scope, operation, math.min(number, always or number)))
  local rule = text and cjson.decode(text) or {}
  if rule.lasts then
    local key = ("began %s %s"):format(scope, operation)
    store:add(key, ngx.now())
    if ngx.now() > store:get(key) + rule.lasts then
      return {}
    end
  end
  return rule
end

local function wait_at_gate(scope)
  local last = ngx.now() + 30
  while not store:get("open " .. scope) and ngx.now() < last do
    ngx.sleep(0.01)
  end
end

-- The error of the service for a signature that is `seconds` old by its own clock.
local function refuse_time(seconds)
  return { code = "InvalidSignatureException", message = ("Signature is %d s off"):format(seconds) }
end

local MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

local function seconds_of(date)
  local year, month, day, h, m, s = date:match "^(%d%d%d%d)(%d%d)(%d%d)T(%d%d)(%d%d)(%d%d)Z$"
  return ngx.parse_http_time(("Thu, %s %s %s %s:%s:%s GMT"):format(day, MONTHS[tonumber(month)], year, h, m, s))
end

-- These combine with any other field:
-- {delay=seconds}: answers after that time
-- {gate=true}: answers when the scope's gate is opened, or after half a minute
-- {lasts=seconds, always=true}: the rule ends that long after its first call
-- {clock=seconds}: the service's clock is that much ahead: its header Date is, and it rejects signatures that are
-- more than five minutes off
function M.serve()
  ngx.req.read_body()
  local headers, body = ngx.req.get_headers(), ngx.req.get_body_data() or ""
  local scope = ngx.var.uri:match("^/scope/([^/]+)")
  local operation = operation_of(headers)
  note(scope, operation, headers, body)
  local rule = rule_for(scope, operation)
  if rule.delay then
    ngx.sleep(rule.delay)
  end
  if rule.gate then
    wait_at_gate(scope)
  end
  if rule.clock then
    ngx.header["Date"] = ngx.http_time(ngx.time() + rule.clock)
    local off = ngx.time() + rule.clock - seconds_of(headers["X-Amz-Date"])
    if math.abs(off) > 300 then
      rule = refuse_time(off)
    end
  end
  for name, act in pairs(acts) do
    if rule[name] ~= nil and not (name == "code" and rule.fail_entries) then
      return act(rule, body, scope)
    end
  end
  if rule.clock then -- ngx.exec would send the Date of nginx
    local answer = forward(body)
    return send(answer.status, answer.body)
  end
  return ngx.exec(service())
end

return M
