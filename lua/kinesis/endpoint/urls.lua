-- Parses endpoint URLs, and rejects those that would break a signature or a name resolver.

local ascii = require "kinesis.util.ascii"

local M = {}

---Whether s is a valid label of a host name.
---@param s string
---@param pattern string|nil pattern of allowed characters; default: letters, digits and '-'
---@return boolean
function M.is_label(s, pattern)
  return #s <= 63 and s:find(pattern or "^[A-Za-z0-9-]+$") ~= nil and not s:find("^%-") and not s:find("%-$")
end

-- The parts of s between separators, empty ones included.
local function split(s, separator)
  local parts = {}
  for part in (s .. separator):gmatch("([^%" .. separator .. "]*)%" .. separator) do
    parts[#parts + 1] = part
  end
  return parts
end

local function is_ipv4(host)
  local octets = split(host, ".")
  for _, octet in ipairs(octets) do
    -- some resolvers read a number with a leading zero as octal
    if not octet:find("^%d%d?%d?$") or tonumber(octet) > 255 or octet:find("^0%d") then
      return false
    end
  end
  return #octets == 4
end

-- The number of 16-bit groups in a part of an IPv6 address; nil when one is malformed. The last part may end in an IPv4
-- address.
local function count_groups(run, may_end_in_ipv4)
  if run == "" then
    return 0
  end
  local parts, count = split(run, ":"), 0
  for i, part in ipairs(parts) do
    if part:find("^%x%x?%x?%x?$") then
      count = count + 1
    elseif may_end_in_ipv4 and i == #parts and is_ipv4(part) then
      count = count + 2
    else
      return nil
    end
  end
  return count
end

local function is_ipv6(address)
  local left, right = address:match("^(.-)::(.*)$")
  if not left then
    return count_groups(address, true) == 8
  end
  local before, after = count_groups(left, false), count_groups(right, true)
  return before ~= nil and after ~= nil and before + after <= 7
end

local function check_host(host)
  if host == "" then
    return nil, "it has no host"
  end
  if host:find("^%[") then
    if is_ipv6(host:sub(2, -2)) then
      return true
    end
    return nil, "what stands in brackets is no IPv6 address"
  end
  local labels = split(host, ".")
  local last = labels[#labels]
  -- URL parsers read a host that ends in a number as an address
  if last:find("^%d+$") or last:find("^0x%x*$") then
    if is_ipv4(host) then
      return true
    end
    return nil, "its host looks like an IPv4 address, but is none"
  end
  for _, label in ipairs(labels) do
    if #host > 253 or not M.is_label(label, "^[%w_-]+$") then
      return nil, "its host is no host name (letters, digits, '-', '_' and single dots), IPv4 address or [IPv6 address]"
    end
  end
  return true
end

local function check_path(path)
  if not path:find("^[A-Za-z0-9%-._~/]*$") then
    return nil, "its path may hold only letters, digits, '-', '.', '_', '~' and '/'"
  end
  -- libcurl would normalize these, which breaks the signature
  if path:find("//", 1, true) or (path .. "/"):find("/%.%.?/") then
    return nil, "its path may not hold '//' or the segments '.' and '..'"
  end
  return true
end

---@return string|nil host
---@return number|nil port
---@return string|nil problem
local function split_authority(authority)
  local host, rest = authority:match("^(%[[^%]]*%])(.*)$")
  if not host then
    host, rest = authority:match("^([^:]*)(.*)$")
  end
  if rest == "" then
    return host
  end
  local digits = rest:match("^:(%d+)$")
  local port = digits and #digits <= 5 and tonumber(digits)
  if not port or port < 1 or port > 65535 then
    return nil, nil, "its port is no number from 1 to 65535"
  end
  return host, port
end

---Parses an endpoint URL. Messages never quote the URL, which may hold a password.
---@param url string
---@return {scheme: string, host: string, port: number|nil, path: string}|nil parts host in lower case, an IPv6 one in
---its brackets; path without a trailing slash, so "" when there is none
---@return string|nil message
function M.parse(url)
  local scheme, rest = url:match("^(%a[%w+.-]*)://(.*)$")
  scheme = scheme and ascii.lower(scheme)
  if scheme ~= "http" and scheme ~= "https" then
    return nil, "it must begin with http:// or https://"
  end
  local authority, path = rest:match("^([^/?#]*)(.*)$")
  if authority:find("@", 1, true) then
    return nil, "it may not hold a user name or password"
  end
  if path:find("?", 1, true) then
    return nil, "it may not hold a query ('?')"
  end
  if path:find("#", 1, true) then
    return nil, "it may not hold a fragment ('#')"
  end
  local host, port, problem = split_authority(ascii.lower(authority))
  if not host then
    return nil, problem
  end
  local ok
  ok, problem = check_host(host)
  if ok then
    ok, problem = check_path(path)
  end
  if not ok then
    return nil, problem
  end
  return { scheme = scheme, host = host, port = port, path = (path:gsub("/$", "")) }
end

---The host and port for the header `Host`.
---@param parts {scheme: string, host: string, port: number|nil}
---@return string
function M.authority(parts)
  local default = parts.scheme == "https" and 443 or 80
  if parts.port and parts.port ~= default then
    return ("%s:%d"):format(parts.host, parts.port)
  end
  return parts.host
end

return M
