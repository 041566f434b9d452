--- Aggregates with a right digest around any message.
local kinesis = require "kinesis"

local M = {}

-- The bytes of a decimal number below 2^128.
local function bytes_of(decimal)
  local bytes = {}
  for i = 16, 1, -1 do
    local quotient, rest = {}, 0
    for digit in decimal:gmatch "%d" do
      rest = rest * 10 + tonumber(digit)
      quotient[#quotient + 1] = ("%d"):format(math.floor(rest / 256))
      rest = rest % 256
    end
    decimal, bytes[i] = table.concat(quotient), string.char(rest)
  end
  return table.concat(bytes)
end

--- A message, which must be what a partition key may be, between the magic number and its digest.
function M.framed(message)
  return "\243\137\154\194" .. message .. bytes_of(kinesis.hash_key(message))
end

return M
