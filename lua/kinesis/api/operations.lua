-- The operations of the API: name, kind, description, members of the request and of the answer (as in types.lua; STREAM
-- is the stream by name, ARN or id). https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html

local ascii = require "kinesis.util.ascii"

local OPERATIONS = {
  -- ---- streams ----
  { "CreateStream", "control", "Creates a stream, which is ready when its status is ACTIVE.",
    "StreamName!, ShardCount Positive, StreamModeDetails, Tags, WarmThroughputMiBps Count, "
      .. "MaxRecordSizeInKiB RecordKiB, RecordDistributionStrategy Text" },
  { "DeleteStream", "control", "Deletes a stream with all its records.", "STREAM, EnforceConsumerDeletion Switch" },
  { "DescribeStream", "control", "Describes a stream and its shards, page by page.",
    "STREAM, Limit, ExclusiveStartShardId ShardId", "StreamDescription!" },
  { "DescribeStreamSummary", "control", "Describes a stream without its shards.", "STREAM",
    "StreamDescriptionSummary!" },
  { "ListStreams", "control", "Lists the account's streams in this region, by name.",
    "Limit, ExclusiveStartStreamName StreamName, NextToken",
    "StreamNames! [StreamName], HasMoreStreams! Switch, NextToken, StreamSummaries [StreamSummary]" },
  { "UpdateStreamMode", "control", "Switches a stream between provisioned and on-demand capacity.",
    "StreamARN!, StreamId, StreamModeDetails!, WarmThroughputMiBps Count" },
  { "UpdateStreamWarmThroughput", "control", "Sets the throughput that an on-demand stream keeps ready.",
    "STREAM, WarmThroughputMiBps! Count", "StreamARN, StreamName, WarmThroughput" },
  { "UpdateMaxRecordSize", "control", "Sets the maximum size of a stream's records.",
    "StreamARN, StreamId, MaxRecordSizeInKiB! RecordKiB" },
  { "UpdateStreamRecordDistributionStrategy", "control", "Sets how records are distributed over the shards.",
    "StreamARN!, StreamId, RecordDistributionStrategy! Text" },
  { "IncreaseStreamRetentionPeriod", "control", "Keeps a stream's records longer: up to 8,760 hours, a year.",
    "STREAM, RetentionPeriodHours! Hours" },
  { "DecreaseStreamRetentionPeriod", "control", "Keeps a stream's records for a shorter time: at least 24 hours.",
    "STREAM, RetentionPeriodHours! Hours" },
  { "StartStreamEncryption", "control", "Encrypts new records with a KMS key.",
    "STREAM, EncryptionType!, KeyId!" },
  { "StopStreamEncryption", "control", "Ends the encryption of new records.", "STREAM, EncryptionType!, KeyId!" },
  { "EnableEnhancedMonitoring", "control", "Turns on metrics for each shard.", "STREAM, ShardLevelMetrics! Metrics",
    "StreamName, StreamARN, CurrentShardLevelMetrics [Text], DesiredShardLevelMetrics [Text]" },
  { "DisableEnhancedMonitoring", "control", "Turns off metrics for each shard.", "STREAM, ShardLevelMetrics! Metrics",
    "StreamName, StreamARN, CurrentShardLevelMetrics [Text], DesiredShardLevelMetrics [Text]" },

  -- ---- shards ----
  { "ListShards", "control", "Lists a stream's shards, page by page; `shards` returns all pages.",
    "STREAM, NextToken, ExclusiveStartShardId ShardId, MaxResults Limit, StreamCreationTimestamp Time, ShardFilter",
    "Shards [Shard], NextToken" },
  { "MergeShards", "control", "Merges two adjacent shards into one.",
    "STREAM, ShardToMerge! ShardId, AdjacentShardToMerge! ShardId" },
  { "SplitShard", "control", "Splits a shard into two.", "STREAM, ShardToSplit! ShardId, NewStartingHashKey! HashKey" },
  { "UpdateShardCount", "control", "Splits and merges shards until the stream has the target number.",
    "STREAM, TargetShardCount! Positive, ScalingType!",
    "StreamName, StreamARN, CurrentShardCount Count, TargetShardCount Count" },

  -- ---- records ----
  { "PutRecord", "data", "Puts one record; `put` is shorter.",
    "STREAM, Data!, PartitionKey, ExplicitHashKey HashKey, SequenceNumberForOrdering SequenceNumber, DryRun Switch",
    "ShardId!, SequenceNumber!, EncryptionType" },
  { "PutRecords", "data", "Puts up to 500 records, some of which may fail; `put_many` retries these.",
    "STREAM, Records! Entries, DryRun Switch",
    "Records! [PutRecordsResultEntry], FailedRecordCount Count, EncryptionType" },
  { "GetShardIterator", "data", "Returns an iterator for a position in a shard; it expires after five minutes.",
    "STREAM, ShardId!, ShardIteratorType!, StartingSequenceNumber SequenceNumber, Timestamp Time, DryRun Switch",
    "ShardIterator" },
  { "GetRecords", "data", "Reads a page of records at an iterator; `records` reads whole shards.",
    "ShardIterator!, Limit, StreamARN, StreamId, DryRun Switch",
    "Records! [Record], NextShardIterator ShardIterator, MillisBehindLatest Count, ChildShards [ChildShard]" },
  { "SubscribeToShard", "data", "Iterates over the events of a shard for a registered consumer, for five minutes.",
    "ConsumerARN!, ShardId!, StartingPosition!, StreamId, DryRun Switch",
    "Records! [Record], ContinuationSequenceNumber! SequenceNumber, MillisBehindLatest! Count, "
      .. "ChildShards [ChildShard]", events = true },

  -- ---- fan-out consumers ----
  { "RegisterStreamConsumer", "control", "Registers a consumer, which gets its own read throughput (enhanced fan-out).",
    "StreamARN!, ConsumerName!, StreamId, Tags", "Consumer!" },
  { "DeregisterStreamConsumer", "control", "Ends a consumer's registration.",
    "StreamARN, ConsumerName, ConsumerARN, StreamId" },
  { "DescribeStreamConsumer", "control", "Describes a registered consumer.",
    "StreamARN, ConsumerName, ConsumerARN, StreamId", "ConsumerDescription!" },
  { "ListStreamConsumers", "control", "Lists a stream's registered consumers.",
    "StreamARN!, NextToken, MaxResults Limit, StreamCreationTimestamp Time, StreamId",
    "Consumers [Consumer], NextToken" },

  -- ---- channels ----
  { "CreateChannel", "control", "Creates a channel, which delivers a stream's records to storage.",
    "ChannelName!, ServiceExecutionRoleARN! ARN, StreamConfigurationList! [ChannelStreamConfiguration], "
      .. "S3DestinationConfiguration, S3TablesDestinationConfiguration, EncryptionConfiguration, Tags, "
      .. "LoggingConfiguration", "ChannelDescription!" },
  { "DeleteChannel", "control", "Deletes a channel.", "ChannelARN!" },
  { "DescribeChannel", "control", "Describes a channel.", "ChannelARN!", "ChannelDescription!" },
  { "ListChannels", "control", "Lists the account's channels in this region.",
    "StreamFilter [StreamFilter], MaxResults Limit, NextToken", "ChannelSummaries! [ChannelSummary], NextToken" },
  { "UpdateChannel", "control", "Changes the logging of a channel, or the freshness of its data.",
    "ChannelARN!, S3DestinationConfiguration DataFreshness, S3TablesDestinationConfiguration DataFreshness, "
      .. "LoggingConfiguration", "ChannelDescription!" },

  -- ---- tags, policies, the account ----
  { "AddTagsToStream", "control", "Adds tags to a stream, or changes their values.", "STREAM, Tags!" },
  { "RemoveTagsFromStream", "control", "Removes tags from a stream.", "STREAM, TagKeys!" },
  { "ListTagsForStream", "control", "Lists a stream's tags.", "STREAM, ExclusiveStartTagKey TagKey, Limit TagLimit",
    "Tags! [Tag], HasMoreTags! Switch" },
  { "TagResource", "control", "Adds tags to a stream or consumer, or changes their values.",
    "ResourceARN!, StreamId, Tags!" },
  { "UntagResource", "control", "Removes tags from a stream or consumer.", "ResourceARN!, StreamId, TagKeys!" },
  { "ListTagsForResource", "control", "Lists the tags of a stream or consumer.", "ResourceARN!, StreamId",
    "Tags [Tag]" },
  { "PutResourcePolicy", "control", "Sets the policy of a stream or consumer.",
    "ResourceARN!, StreamId, Policy! Text" },
  { "GetResourcePolicy", "control", "Returns the policy of a stream or consumer.", "ResourceARN!, StreamId",
    "Policy! Text" },
  { "DeleteResourcePolicy", "control", "Removes the policy of a stream or consumer.", "ResourceARN!, StreamId" },
  { "DescribeLimits", "control", "Returns the account's limits of shards and streams, and the numbers in use.", "",
    "ShardLimit! Count, OpenShardCount! Count, OnDemandStreamCount! Count, OnDemandStreamCountLimit! Count, "
      .. "ChannelCount Count, ChannelCountLimit Count" },
  { "DescribeAccountSettings", "control", "Returns the account's settings for on-demand streams.", "",
    "MinimumThroughputBillingCommitment AccountCommitment" },
  { "UpdateAccountSettings", "control", "Changes the account's settings for on-demand streams.",
    "MinimumThroughputBillingCommitment!", "MinimumThroughputBillingCommitment AccountCommitment" },
}

--- An operation of the API.
---@class kinesis.operation
---@field name string
---@field verb string its name as a method
---@field kind "control"|"data" which host of the service it is sent to
---@field doc string
---@field request string members, as types.lua has structures
---@field answer string members; with `events`, those of each event
---@field events boolean whether its answer is an event stream

---@class kinesis.operations
---@field list kinesis.operation[]
---@field by_name table<string, kinesis.operation>
---@field names string[]
local M = { list = {}, by_name = {}, names = {} }

for i, row in ipairs(OPERATIONS) do
  local name = row[1]
  local operation = {
    name = name,
    verb = (name:gsub("[A-Z]", function(c)
      return "_" .. ascii.lower(c)
    end):sub(2)),
    kind = row[2],
    doc = row[3],
    request = row[4]:gsub("STREAM", "StreamName, StreamARN, StreamId"),
    answer = row[5] or "",
    events = row.events or false,
  }
  M.list[i], M.by_name[name], M.names[i] = operation, operation, name
end

return M
