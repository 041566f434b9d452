--- How records reach the handler: as tables, lists or columns, or as values; which fields the reader returns for that,
--- and how a record is known again when the user names it.
local positions = require "kinesis.worker.positions"

local M = {}

-- What checkpoints need of each record, and what dead letters in a stream need.
local PLACE = { "sequence_number", "sub_sequence_number" }
local LETTER = { "data", "partition_key" }

-- Calls take(processor, seq, sub, value, …, shard) with as many values.
local PASS = {
  function(take, self, seq, sub, shard, a)
    return take(self, seq, sub, a, shard)
  end,
  function(take, self, seq, sub, shard, a, b)
    return take(self, seq, sub, a, b, shard)
  end,
  function(take, self, seq, sub, shard, a, b, c)
    return take(self, seq, sub, a, b, c, shard)
  end,
  function(take, self, seq, sub, shard, a, b, c, d)
    return take(self, seq, sub, a, b, c, d, shard)
  end,
  function(take, self, seq, sub, shard, a, b, c, d, e)
    return take(self, seq, sub, a, b, c, d, e, shard)
  end,
  function(take, self, seq, sub, shard, a, b, c, d, e, f)
    return take(self, seq, sub, a, b, c, d, e, f, shard)
  end,
  function(take, self, seq, sub, shard, a, b, c, d, e, f, g)
    return take(self, seq, sub, a, b, c, d, e, f, g, shard)
  end,
  function(take, self, seq, sub, shard, a, b, c, d, e, f, g, h)
    return take(self, seq, sub, a, b, c, d, e, f, g, h, shard)
  end,
}

-- A list of fields, and behind it those of other lists that it lacks; and the index of each.
local function joined(...)
  local names, index = {}, {}
  for _, list in ipairs { ... } do
    for _, name in ipairs(list) do
      if not index[name] then
        names[#names + 1], index[name] = name, #names + 1
      end
    end
  end
  return names, index
end

local function first_of_arguments(_, record)
  return record
end

-- Records, lists and columns, which are known again as tables.
local function tables(options)
  local find = positions.finder(options.batch, options.deaggregate == false)
  local is_kept = options.ack or options.checkpoint == "manual"
  local letters = type(options.dead_letter) == "string" and LETTER or {}
  return {
    fields = options.fields and joined(options.fields, PLACE, letters) or nil,
    record_of = first_of_arguments,
    arrange = function(take, processor, record)
      local seq, sub = find(record)
      return take(processor, seq, sub, record, processor.shard)
    end,
    mark = function(processor, entry, seq, sub, record)
      if is_kept then
        processor.worker.marks[record] = { processor = processor, tracker = processor.tracker, entry = entry, seq = seq,
          sub = sub }
      else
        processor.record = record
      end
    end,
  }
end

local function nothing() end

-- Values: the reader returns those of the place behind the user's.
local function values(options)
  local wanted, whole = options.values, options.deaggregate == false
  local letters = type(options.dead_letter) == "string" and LETTER or {}
  local names, index = joined(wanted, PLACE, letters)
  local pass, seq_at, sub_at = PASS[#wanted], index.sequence_number, index.sub_sequence_number
  return {
    values = names,
    mark = nothing,
    arrange = function(take, processor, ...)
      for i = 1, #letters do
        processor[letters[i]] = (select(index[letters[i]], ...))
      end
      return pass(take, processor, (select(seq_at, ...)), not whole and ((select(sub_at, ...)) or 0) or nil,
        processor.shard, ...)
    end,
    record_of = function(processor, ...)
      local record = { sequence_number = processor.tracker.last_seq, sub_sequence_number = processor.tracker.last_sub }
      for _, name in ipairs(letters) do
        record[name] = processor[name]
      end
      for i, name in ipairs(wanted) do
        record[name] = (select(i, ...))
      end
      return record
    end,
  }
end

--- The way in which a worker's records are delivered: `fields` or `values` of the reader; arrange(take, processor, …)
--- calls take(processor, seq, sub, …) with the arguments of the handler; mark(processor, entry, seq, sub, …) keeps what
--- names the record; record_of(processor, …) is the record of these arguments, as a table.
---@param options kinesis.WorkerOptions
---@return table delivery
function M.of(options)
  return options.values and values(options) or tables(options)
end

--- What is wrong with `values` beside other options: a record has to be named when it is acknowledged.
---@param options kinesis.WorkerOptions
---@return string|nil problem
function M.check(options)
  if not options.values or not options.ack and options.checkpoint ~= "manual" then
    return nil
  end
  local _, index = joined(options.values)
  if index.sequence_number and (index.sub_sequence_number or options.deaggregate == false) then
    return nil
  end
  return ("worker: with `values` and `%s`, a record is named by its sequence number: `values` must have "
    .. "'sequence_number'%s; or leave `values` out"):format(options.ack and "ack" or 'checkpoint = "manual"',
    options.deaggregate and " and 'sub_sequence_number'" or "")
end

return M
