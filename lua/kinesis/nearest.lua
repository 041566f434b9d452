-- What somebody may have meant who wrote a name that is not known.

local M = {}

-- Levenshtein's distance, one row at a time.
local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end

---The name that is nearest to a mistaken one, if one is near; case does not count.
---@param name string
---@param known string[]
---@return string|nil
function M.of(name, known)
  local nearest, least = nil, 4
  for _, other in ipairs(known) do
    local d = distance(name:lower():sub(1, 64), other:lower())
    if d < least and d <= #other / 2 then
      nearest, least = other, d
    end
  end
  return nearest
end

return M
