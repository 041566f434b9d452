--- A client's hooks: calls the user's on_request, on_response and on_retry with the events of the engine, which arrive
--- with the drain. Events hold no credentials, no signatures and no data.
local notice = require "kinesis.observe.notice"
local pretty = require "kinesis.observe.pretty"
local wait = require "kinesis.wait"

local M = {}

--- One attempt of a call, as the hooks `on_request`, `on_response` and `on_retry` get it.
---@class kinesis.Event
---@field operation string the API operation
---@field url string the URL of the request
---@field invocation_id string the same for all attempts of a call; sent to the service
---@field attempt integer from 1; readers and put_many start a new call for each attempt
---@field bytes integer size of the request's body; (response) of the answer's body
---@field duration? number (response, retry) seconds that the attempt took
---@field status? integer (response, retry) the HTTP status, when an answer came
---@field request_id? string (response, retry) the id that the service gave the request
---@field error? kinesis.Error (response, retry) absent on success
---@field delay? number (retry) seconds until the next attempt
---@field dropped? integer events dropped before this one, because 1,000 were queued

local event_meta = pretty.meta "kinesis.event"

local NAMES = { request = "on_request", response = "on_response", retry = "on_retry" }

--- The hooks among a client's options; nil when there are none.
---@param checked kinesis.ClientOptions
---@return table<string, function>|nil hooks by kind of event
function M.of(checked)
  local hooks
  for kind, name in pairs(NAMES) do
    if checked[name] then
      hooks = hooks or {}
      hooks[kind] = checked[name]
    end
  end
  return hooks
end

-- Runs the hooks for the events that have been drained, in order. The error of a hook is printed, and does not disturb
-- the call.
local function run(listener)
  local events = listener.inbox.events
  listener.inbox.events = {} -- a hook may make calls
  for _, event in ipairs(events) do
    local kind = event.kind
    local hook = listener.hooks[kind]
    event.kind = nil
    local good, err = pcall(hook or type, setmetatable(event, event_meta))
    if not good then
      local _, text = pcall(tostring, err)
      notice.print_rarely(NAMES[kind], "%s raised: %s", NAMES[kind], tostring(text))
    end
  end
end

local function on_drain(listener, call)
  if listener.inbox.events[1] then
    call(run, listener)
  end
end

--- Calls these hooks with the events of a client's drains.
---@param client kinesis.Client
---@param hooks table<string, function> by kind of event
function M.attach(client, hooks)
  client.inbox.events = {}
  wait.listen_to_drains(client, { inbox = client.inbox, hooks = hooks, on_drain = on_drain })
end

return M
