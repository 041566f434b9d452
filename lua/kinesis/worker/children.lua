--- The leases of the children of a shard that was read to its end.
local lineage = require "kinesis.worker.lineage"
local shards = require "kinesis.worker.shards"

local M = {}

-- Makes the lease of a child, after that of its other parent, which would count as finished without one. A finished one
-- is kept until the children are read: one that is not there was not made yet. Nil and the error: the store has failed.
local function make_lease(self, item)
  for _, id in ipairs { item.parent_id or false, item.adjacent_parent_id or false } do
    local parent = id ~= self.key and shards.find(self.worker, id) or nil
    local row, err = nil, nil
    if parent then
      row, err = self.worker.leases:get(id)
    end
    if row == false then
      row, err = make_lease(self, parent)
    end
    if parent and row == nil then
      return nil, err
    end
  end
  return self.worker.leases:create(item.id, lineage.row_of(item, { checkpoint = "TRIM_HORIZON" }))
end

--- Makes the leases of the children of a processor's shard. Nil: nothing is known of them yet, or not all could be
--- made.
---@param self kinesis.worker.Processor
---@return string[]|nil keys
function M.make(self)
  local keys = {}
  for _, item in ipairs(self.worker:list_shards()) do
    if item.parent_id == self.key or item.adjacent_parent_id == self.key then
      local made, err = make_lease(self, item)
      if made == nil then
        self.worker:report(err, ("the lease of %s, which is made again"):format(item.shard.id))
        return nil
      end
      keys[#keys + 1] = item.id
    end
  end
  table.sort(keys)
  return keys[1] and keys or nil
end

return M
