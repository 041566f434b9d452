--- Positions of records in a shard, as checkpoints have them: a sequence number, and an index in the aggregate. Where
--- aggregates stay whole there is no index.
local M = {}

--- Whether a position is before another one. Sequence numbers are decimal strings without leading zeros.
---@param seq string
---@param sub? integer absent: behind all records of the aggregate
---@param other_seq string
---@param other_sub? integer
---@return boolean
function M.is_before(seq, sub, other_seq, other_sub)
  if seq ~= other_seq then
    return #seq < #other_seq or #seq == #other_seq and seq < other_seq
  end
  return (sub or math.huge) < (other_sub or math.huge)
end

local function of_record(record)
  return record.sequence_number, record.sub_sequence_number or 0
end

local function of_whole(record)
  return record.sequence_number
end

local function of_list(list)
  return of_record(list[#list])
end

local function of_whole_list(list)
  return of_whole(list[#list])
end

local function of_columns(columns)
  return columns.sequence_number[columns.n], columns.sub_sequence_number[columns.n] or 0
end

local function of_whole_columns(columns)
  return columns.sequence_number[columns.n]
end

--- The function that finds the position of what a handler gets: a record, or the last one of a list.
---@param batch? boolean|string the option
---@param whole boolean aggregates stay whole
---@return fun(record: any): string, integer?
function M.finder(batch, whole)
  if batch == "columns" then
    return whole and of_whole_columns or of_columns
  elseif batch then
    return whole and of_whole_list or of_list
  end
  return whole and of_whole or of_record
end

local function is_number(value)
  return type(value) == "string" and value:find "^%d+$" ~= nil
end

--- The position that a user's value names: a sequence number, a record, a list or columns, or what JSON has made of
--- one.
---@param value any
---@return string|nil seq nil: it names none
---@return integer|nil sub
function M.named(value)
  if is_number(value) then
    return value
  elseif type(value) ~= "table" then
    return nil
  end
  local seq, sub = value.sequence_number, value.sub_sequence_number
  if type(seq) == "table" then -- columns
    seq, sub = seq[#seq], type(sub) == "table" and sub[#seq] or nil
  elseif seq == nil and type(value[#value]) == "table" then -- a list
    return M.named(value[#value])
  end
  if not is_number(seq) then
    return nil
  end
  return seq, type(sub) == "number" and math.floor(sub) or nil
end

return M
