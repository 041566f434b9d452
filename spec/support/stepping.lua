-- Engines that run only when a spec steps them, and the answers of the service for them.
local assert = require "luassert"
local stepped = require "stepped"

local M = {
  NEW_YEAR = 1767225600, -- the start of an engine's wall clock: 2026-01-01T00:00:00Z
  library = package.searchpath("stepped", package.cpath),
}

local opened, heard = {}, {}

--- An engine with credentials that never expire, and no provider of others. Random numbers are 0.5 unless set by
--- engine:roll.
function M.engine(options)
  local engine = stepped.new(options or {})
  opened[#opened + 1], heard[engine] = engine, {}
  if not (options and options.keyless) then
    engine:credentials("AKID", "secret", nil, nil, true)
  end
  return engine
end

--- For after_each: destroys the engines, so that a leak or a late access is reported in the test that made it.
function M.close_all()
  for i, engine in ipairs(opened) do
    engine:close()
    opened[i], heard[engine] = nil, nil
  end
end

--- The new messages of one kind from the engine; the others stay for later.
function M.told(engine, kind)
  local found, rest = {}, {}
  for _, message in ipairs(engine:messages()) do
    table.insert(heard[engine], message)
  end
  for _, message in ipairs(heard[engine]) do
    table.insert(message.kind == kind and found or rest, message)
  end
  heard[engine] = rest
  return found
end

--- Steps, and returns the requests in flight, of which there must be `count`.
function M.flight(engine, count)
  engine:step()
  local requests = engine:requests()
  assert.equal(count, #requests, "requests in flight")
  return requests
end

--- Answers one request. Returns the seconds until the next timer, or nil.
function M.land(engine, request, answer)
  engine:answer(request, answer)
  return engine:step()
end

--- Fails the one request in flight with this answer. Returns the pause until the next attempt.
function M.refuse(engine, answer)
  local rest = M.land(engine, M.flight(engine, 1)[1], answer)
  if rest then
    engine:advance(rest)
  end
  return rest
end

--- Lets time pass and answers what is sent meanwhile: handler(request) returns an answer, or nil for none.
--- With `reads`, messages are dropped and pages released, as by a reader.
function M.serve(engine, seconds, handler, reads)
  local over = engine:now() + seconds
  local asked = {}
  for _ = 1, 1e6 do
    local due, any = engine:step(), false
    if reads then
      engine:messages()
      any = engine:give_back() > 0
    end
    for _, request in ipairs(engine:requests()) do
      if not asked[request.id] and not request.paused then
        asked[request.id] = true
        local answer = handler(request)
        if answer then
          engine:answer(request, answer)
          any = true
        end
      end
    end
    local left = over - engine:now()
    if not any and (not due or due > left) then
      engine:advance(left)
      return
    elseif not any then
      engine:advance(due)
    end
  end
  error "time stood still: requests are answered and asked again without a pause"
end

function M.http_date(seconds)
  return os.date("!%a, %d %b %Y %H:%M:%S GMT", seconds)
end

-- ---- answers ----

--- An error answer of the service.
function M.error(code, status, more)
  local answer = { status = status or 400, body = ('{"__type":"%s","message":"because"}'):format(code) }
  for name, value in pairs(more or {}) do
    answer[name] = value
  end
  return answer
end

M.THROTTLED = M.error "ProvisionedThroughputExceededException"
M.BROKEN = M.error("InternalFailure", 500)
M.FINE = { body = "{}" }

function M.iterator(name)
  return { body = ('{"ShardIterator":"%s"}'):format(name) }
end

--- A GetRecords answer: {next=, behind=, children={{id, parents…}, …}, {sequence, data, at}, …}. Data is base64.
function M.page(page)
  local records, children = {}, {}
  for i, record in ipairs(page) do
    records[i] = ('{"Data":"%s","PartitionKey":"k","SequenceNumber":"%s","ApproximateArrivalTimestamp":%.3f}'):format(
      record[2] or "aGVsbG8=", record[1], record[3] or 1)
  end
  for i, child in ipairs(page.children or {}) do
    local parents = {}
    for k = 2, #child do
      parents[k - 1] = ('"%s"'):format(child[k])
    end
    children[i] = ('{"ShardId":"%s","ParentShards":[%s]}'):format(child[1], table.concat(parents, ","))
  end
  local next_iterator = page.next and ('"%s"'):format(page.next) or "null"
  return {
    body = ('{"Records":[%s],"NextShardIterator":%s,"MillisBehindLatest":%d%s}'):format(
      table.concat(records, ","), next_iterator, page.behind or 0,
      page.children and (',"ChildShards":[%s]'):format(table.concat(children, ",")) or ""),
  }
end

--- The key id that a request was signed with.
function M.signer(request)
  return request.headers.authorization:match "Credential=(%w+)/"
end

--- How often the engine has asked for credentials since the last call.
function M.wanted(engine)
  return #M.told(engine, "credentials_wanted")
end

--- The value of a text member of a request's body.
function M.member(request, name)
  return request.body:match(('"%s":"([^"]*)"'):format(name))
end

--- Equal within the precision of the conversion.
function M.near(expected, got)
  assert.is_number(got)
  assert.is_true(math.abs(expected - got) < 1e-5, ("expected %s, got %s"):format(expected, got))
end

--- The one answer among the messages.
function M.answer_of(engine)
  local answers = M.told(engine, "answer")
  assert.equal(1, #answers, "answers told")
  return answers[1]
end

--- Makes a call that fails once and whose retry gets `last`.
function M.fail_once(engine, first, last)
  engine:call("ListStreams", "{}")
  M.refuse(engine, first)
  M.land(engine, M.flight(engine, 1)[1], last)
  return M.answer_of(engine)
end

return M
