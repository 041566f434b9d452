-- AWS's partitions: the regions of each, and the suffixes of its hosts.
-- https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html

local M = {}

---@class kinesis.partition
---@field name string
---@field pattern string|nil of its regions
---@field suffix string
---@field dual_stack_suffix string
---@field has_accounts boolean whether Kinesis has hosts of single accounts there

local COMMERCIAL = {
  name = "aws", suffix = "amazonaws.com", dual_stack_suffix = "api.aws", has_accounts = true,
}

---@type kinesis.partition[]
local PARTITIONS = {
  { name = "aws-cn", pattern = "^cn%-[%w_]+%-%d+$", suffix = "amazonaws.com.cn",
    dual_stack_suffix = "api.amazonwebservices.com.cn", has_accounts = true },
  { name = "aws-us-gov", pattern = "^us%-gov%-[%w_]+%-%d+$", suffix = "amazonaws.com",
    dual_stack_suffix = "api.aws", has_accounts = true },
  { name = "aws-eusc", pattern = "^eusc%-de%-[%w_]+%-%d+$", suffix = "amazonaws.eu",
    dual_stack_suffix = "api.amazonwebservices.eu", has_accounts = true },
  { name = "aws-iso", pattern = "^us%-iso%-[%w_]+%-%d+$", suffix = "c2s.ic.gov",
    dual_stack_suffix = "api.aws.ic.gov", has_accounts = false },
  { name = "aws-iso-b", pattern = "^us%-isob%-[%w_]+%-%d+$", suffix = "sc2s.sgov.gov",
    dual_stack_suffix = "api.aws.scloud", has_accounts = false },
  { name = "aws-iso-e", pattern = "^eu%-isoe%-[%w_]+%-%d+$", suffix = "cloud.adc-e.uk",
    dual_stack_suffix = "api.cloud-aws.adc-e.uk", has_accounts = true },
  { name = "aws-iso-f", pattern = "^us%-isof%-[%w_]+%-%d+$", suffix = "csp.hci.ic.gov",
    dual_stack_suffix = "api.aws.hci.ic.gov", has_accounts = true },
}

---The partition of a region, by its name. A region that matches none belongs to the commercial partition.
---@param region string
---@return kinesis.partition
function M.of(region)
  for _, partition in ipairs(PARTITIONS) do
    if region:find(partition.pattern) or region == partition.name .. "-global" then
      return partition
    end
  end
  return COMMERCIAL
end

return M
