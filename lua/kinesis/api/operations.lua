-- The operations of the API: name, kind, description, members of the request and of the answer (as in types.lua; STREAM
-- is the stream by name, ARN or id). https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html

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
  { "UpdateStreamWarmThroughput", "control", "Sets the throughput that an on-demand stream is kept warm for.",
    "STREAM, WarmThroughputMiBps! Count", "StreamARN, StreamName, WarmThroughput" },
  { "UpdateMaxRecordSize", "control", "Sets how large a stream's records may be.",
    "StreamARN, StreamId, MaxRecordSizeInKiB! RecordKiB" },
  { "UpdateStreamRecordDistributionStrategy", "control", "Sets how records are distributed over the shards.",
    "StreamARN!, StreamId, RecordDistributionStrategy! Text" },
  { "IncreaseStreamRetentionPeriod", "control", "Keeps a stream's records longer: up to 8,760 hours, a year.",
    "STREAM, RetentionPeriodHours! Hours" },
  { "DecreaseStreamRetentionPeriod", "control", "Keeps a stream's records less long: at least 24 hours.",
    "STREAM, RetentionPeriodHours! Hours" },
  { "StartStreamEncryption", "control", "Encrypts what is put from now on by a key of KMS.",
    "STREAM, EncryptionType!, KeyId!" },
  { "StopStreamEncryption", "control", "Encrypts nothing that is put from now on.", "STREAM, EncryptionType!, KeyId!" },
  { "EnableEnhancedMonitoring", "control", "Adds metrics by shard.", "STREAM, ShardLevelMetrics! Metrics",
    "StreamName, StreamARN, CurrentShardLevelMetrics [Text], DesiredShardLevelMetrics [Text]" },
  { "DisableEnhancedMonitoring", "control", "Ends metrics by shard.", "STREAM, ShardLevelMetrics! Metrics",
    "StreamName, StreamARN, CurrentShardLevelMetrics [Text], DesiredShardLevelMetrics [Text]" },

  -- ---- shards ----
  { "ListShards", "control", "Lists a stream's shards; `shards` does it with all pages.",
    "STREAM, NextToken, ExclusiveStartShardId ShardId, MaxResults Limit, StreamCreationTimestamp Time, ShardFilter",
    "Shards [Shard], NextToken" },
  { "MergeShards", "control", "Makes one shard of two neighbours.",
    "STREAM, ShardToMerge! ShardId, AdjacentShardToMerge! ShardId" },
  { "SplitShard", "control", "Makes two shards of one.", "STREAM, ShardToSplit! ShardId, NewStartingHashKey! HashKey" },
  { "UpdateShardCount", "control", "Splits and merges shards until there are so many.",
    "STREAM, TargetShardCount! Positive, ScalingType!",
    "StreamName, StreamARN, CurrentShardCount Count, TargetShardCount Count" },

  -- ---- records ----
  { "PutRecord", "data", "Puts one record; `put` does it with less to say.",
    "STREAM, Data!, PartitionKey, ExplicitHashKey HashKey, SequenceNumberForOrdering SequenceNumber, DryRun Switch",
    "ShardId!, SequenceNumber!, EncryptionType" },
  { "PutRecords", "data", "Puts up to 500 records, of which some may fail; `put_many` puts those again.",
    "STREAM, Records! Entries, DryRun Switch",
    "Records! [PutRecordsResultEntry], FailedRecordCount Count, EncryptionType" },
  { "GetShardIterator", "data", "Gives a place in a shard to read from, good for five minutes.",
    "STREAM, ShardId!, ShardIteratorType!, StartingSequenceNumber SequenceNumber, Timestamp Time, DryRun Switch",
    "ShardIterator" },
  { "GetRecords", "data", "Reads from a place in a shard; `records` reads all there is.",
    "ShardIterator!, Limit, StreamARN, StreamId, DryRun Switch",
    "Records! [Record], NextShardIterator ShardIterator, MillisBehindLatest Count, ChildShards [ChildShard]" },
  { "SubscribeToShard", "data", "Gives the events of a shard as they come, to a registered consumer, for five minutes.",
    "ConsumerARN!, ShardId!, StartingPosition!, StreamId, DryRun Switch",
    "Records! [Record], ContinuationSequenceNumber! SequenceNumber, MillisBehindLatest! Count, "
      .. "ChildShards [ChildShard]", events = true },

  -- ---- fan-out consumers ----
  { "RegisterStreamConsumer", "control", "Registers a consumer with a throughput of its own.",
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
  { "UpdateChannel", "control", "Changes a channel's logging, or how fresh its data are to be.",
    "ChannelARN!, S3DestinationConfiguration DataFreshness, S3TablesDestinationConfiguration DataFreshness, "
      .. "LoggingConfiguration", "ChannelDescription!" },

  -- ---- tags, policies, the account ----
  { "AddTagsToStream", "control", "Adds tags to a stream, or gives them other values.", "STREAM, Tags!" },
  { "RemoveTagsFromStream", "control", "Removes tags from a stream.", "STREAM, TagKeys!" },
  { "ListTagsForStream", "control", "Lists a stream's tags.", "STREAM, ExclusiveStartTagKey TagKey, Limit TagLimit",
    "Tags! [Tag], HasMoreTags! Switch" },
  { "TagResource", "control", "Adds tags to a stream or consumer, or gives them other values.",
    "ResourceARN!, StreamId, Tags!" },
  { "UntagResource", "control", "Removes tags from a stream or consumer.", "ResourceARN!, StreamId, TagKeys!" },
  { "ListTagsForResource", "control", "Lists the tags of a stream or consumer.", "ResourceARN!, StreamId",
    "Tags [Tag]" },
  { "PutResourcePolicy", "control", "Sets the policy of a stream or consumer.",
    "ResourceARN!, StreamId, Policy! Text" },
  { "GetResourcePolicy", "control", "Gives the policy of a stream or consumer.", "ResourceARN!, StreamId",
    "Policy! Text" },
  { "DeleteResourcePolicy", "control", "Removes the policy of a stream or consumer.", "ResourceARN!, StreamId" },
  { "DescribeLimits", "control", "Returns the limits of shards and streams of the account, and how many it has.", "",
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
    verb = (name:gsub("%u", function(c)
      return "_" .. c:lower()
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
