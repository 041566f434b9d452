-- The endpoint: takes clicks as JSON and puts them as records. A body is a click {"event": …, "user": …, …}, or a list.
local cjson = require("cjson.safe").new()
local host = require "kinesis.openresty"

local M = {}

local STREAM = os.getenv "CLICKS_STREAM" or "clicks"
local ACCESS_STREAM = os.getenv "CLICKS_ACCESS_STREAM"

M.stream = STREAM
cjson.decode_invalid_numbers(false) -- JSON has no NaN

-- Logs a click that was accepted and could not be delivered.
local function on_failure(record, err)
  ngx.log(ngx.ERR, "lost a click of ", record.partition_key, ": ", tostring(err))
end

function M.setup()
  host.setup {
    producers = { [STREAM] = { on_failure = on_failure, linger = 0.05 } },
    metrics = "kinesis",
  }
end

local function answer(status, body)
  ngx.status = status
  ngx.header.content_type = "application/json"
  ngx.say(cjson.encode(body))
end

-- The texts of the clicks of a list. Encoding the clicks again could lose digits of long numbers and turn [] into {}.
local function cut(list)
  local bare = list:gsub("\\.", "__"):gsub('"[^"]*"', function(text)
    return ("_"):rep(#text)
  end)
  local texts = {}
  for first, behind in bare:gmatch "()%b{}()" do
    texts[#texts + 1] = list:sub(first, behind - 1)
  end
  return texts
end

-- The clicks of a body, and the text of each.
local function clicks_of(body)
  local posted, why = cjson.decode(body or "")
  if type(posted) ~= "table" then
    return nil, "the body must be JSON: a click, or a list of clicks" .. (why and " (" .. why .. ")" or "")
  end
  local is_one = posted[1] == nil
  local list = is_one and { posted } or posted
  for i, click in ipairs(list) do
    if type(click) ~= "table" or type(click.event) ~= "string" then
      return nil, ("click %d must be an object with the string 'event'"):format(i)
    end
  end
  return list, is_one and { body } or cut(body)
end

-- Answers 202 when all clicks were taken. The clicks of a user go to one shard, in order; clicks without a user to any.
function M.accept()
  if ngx.req.get_method() ~= "POST" then
    ngx.header.allow = "POST"
    return answer(405, { error = "post clicks here" })
  end
  ngx.req.read_body()
  local list, texts = clicks_of(ngx.req.get_body_data())
  if not list then
    return answer(400, { error = texts })
  end
  local producer = host.producer(STREAM)
  for i, click in ipairs(list) do
    local user = type(click.user) == "string" and click.user ~= "" and click.user
    local taken, err = producer:put(texts[i], user and ngx.md5(user) or nil) -- a short key in UTF-8
    if not taken then
      ngx.header.retry_after = 1
      return answer(503, { accepted = i - 1, error = err.code })
    end
  end
  answer(202, { accepted = #list })
end

-- Puts a line of the access log, if configured. `put` never waits, so the log phase can call it.
function M.log()
  if ACCESS_STREAM then
    host.producer(ACCESS_STREAM):put(cjson.encode {
      time = ngx.now(), status = ngx.status, seconds = tonumber(ngx.var.request_time),
    })
  end
end

return M
