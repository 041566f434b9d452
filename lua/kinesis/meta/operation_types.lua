---@meta _
-- Written by spec/support/operation_types.lua from the tables in lua/kinesis/api: change those.
-- luacheck: ignore 241 631

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.AccountCommitment
---@field Status string
---@field StartedAt? number seconds since 1970
---@field EndedAt? number seconds since 1970
---@field EarliestAllowedEndAt? number seconds since 1970

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.ChannelDescription
---@field ChannelName string 1 to 128 characters
---@field ChannelARN string 1 to 2048 characters
---@field ChannelId string
---@field ChannelStatus string
---@field ChannelStatusReason? string
---@field ChannelCreationTimestamp number seconds since 1970
---@field ServiceExecutionRoleARN string 1 to 2048 characters
---@field StreamConfigurationList kinesis.api.ChannelStreamDescription[]
---@field LoggingConfiguration? kinesis.api.LoggingConfiguration
---@field S3DestinationConfiguration? kinesis.api.S3DestinationConfiguration
---@field S3TablesDestinationConfiguration? kinesis.api.S3TablesDestinationConfiguration
---@field EncryptionConfiguration? kinesis.api.EncryptionConfiguration

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.ChannelStreamConfiguration
---@field StreamARN string 1 to 2048 characters
---@field RecordConfiguration kinesis.api.RecordConfiguration

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.ChannelStreamDescription
---@field StreamARN string 1 to 2048 characters
---@field StreamCreationTimestamp number seconds since 1970
---@field RecordConfiguration kinesis.api.RecordConfiguration

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.ChannelStreamIdentifier
---@field StreamARN string 1 to 2048 characters
---@field StreamCreationTimestamp number seconds since 1970

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.ChannelSummary
---@field ChannelName string 1 to 128 characters
---@field ChannelARN string 1 to 2048 characters
---@field ChannelId string
---@field ChannelStatus string
---@field ChannelStatusReason? string
---@field ChannelCreationTimestamp number seconds since 1970
---@field ChannelDestinationType string
---@field Streams kinesis.api.ChannelStreamIdentifier[]

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.ChildShard
---@field ShardId string 1 to 128 characters
---@field ParentShards string[]
---@field HashKeyRange kinesis.api.HashKeyRange

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.CloudWatchLogs
---@field Enabled boolean
---@field LogGroupName? string
---@field LogStreamName? string

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.Consumer
---@field ConsumerName string 1 to 128 characters
---@field ConsumerARN string 1 to 2048 characters
---@field ConsumerStatus string
---@field ConsumerCreationTimestamp number seconds since 1970

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.ConsumerDescription
---@field ConsumerName string 1 to 128 characters
---@field ConsumerARN string 1 to 2048 characters
---@field ConsumerStatus string
---@field ConsumerCreationTimestamp number seconds since 1970
---@field StreamARN string 1 to 2048 characters

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.DataFreshness
---@field DataFreshnessInSeconds integer

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.DeadLetterQueueS3Configuration
---@field BucketARN string 1 to 2048 characters
---@field ExpectedBucketOwner string
---@field ErrorOutputPrefix? string

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.EncryptionConfiguration
---@field EncryptionType "NONE"|"KMS"
---@field KeyId string 1 to 2048 characters

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.EnhancedMetrics
---@field ShardLevelMetrics? string[]

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.HashKeyRange
---@field StartingHashKey string a decimal number
---@field EndingHashKey string a decimal number

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.LoggingConfiguration
---@field CloudWatchLogs kinesis.api.CloudWatchLogs

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.MinimumThroughputBillingCommitment
---@field Status "ENABLED"|"DISABLED"

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.PartitionField
---@field Transform string
---@field SourceName string

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.PartitionSpec
---@field PartitionFields kinesis.api.PartitionField[]

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.PutRecordsRequestEntry
---@field Data string bytes, at most 10485760
---@field PartitionKey? string 1 to 256 characters
---@field ExplicitHashKey? string a decimal number

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.PutRecordsResultEntry
---@field ShardId? string 1 to 128 characters
---@field SequenceNumber? string a decimal number
---@field ErrorCode? string
---@field ErrorMessage? string

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.Record
---@field SequenceNumber string a decimal number
---@field Data string bytes, at most 10485760
---@field PartitionKey? string 1 to 256 characters
---@field ApproximateArrivalTimestamp? number seconds since 1970
---@field EncryptionType? "NONE"|"KMS"

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.RecordConfiguration
---@field RecordFormatType string
---@field GSRSchemaARN? string 1 to 2048 characters

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.S3DestinationConfiguration
---@field StorageConfiguration kinesis.api.S3StorageConfiguration
---@field DataFreshnessInSeconds? integer
---@field DeadLetterQueueS3Configuration? kinesis.api.DeadLetterQueueS3Configuration

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.S3StorageConfiguration
---@field BucketARN string 1 to 2048 characters
---@field ExpectedBucketOwner string
---@field CompressionType string
---@field OutputKeyTemplate? string
---@field StorageClass? string

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.S3TablesConfiguration
---@field TableBucketARN string 1 to 2048 characters
---@field Namespace string
---@field TableName string
---@field CompressionType string
---@field PartitionSpec? kinesis.api.PartitionSpec

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.S3TablesDestinationConfiguration
---@field DeadLetterQueueS3Configuration kinesis.api.DeadLetterQueueS3Configuration
---@field S3TablesConfigurationList kinesis.api.S3TablesConfiguration[]
---@field DataFreshnessInSeconds? integer

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.SequenceNumberRange
---@field StartingSequenceNumber string a decimal number
---@field EndingSequenceNumber? string a decimal number

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.Shard
---@field ShardId string 1 to 128 characters
---@field HashKeyRange kinesis.api.HashKeyRange
---@field SequenceNumberRange kinesis.api.SequenceNumberRange
---@field ParentShardId? string 1 to 128 characters
---@field AdjacentParentShardId? string 1 to 128 characters

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.ShardFilter
---@field Type "AFTER_SHARD_ID"|"AT_TRIM_HORIZON"|"FROM_TRIM_HORIZON"|"AT_LATEST"|"AT_TIMESTAMP"|"FROM_TIMESTAMP"
---@field ShardId? string 1 to 128 characters
---@field Timestamp? number seconds since 1970

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.StartingPosition
---@field Type "AT_SEQUENCE_NUMBER"|"AFTER_SEQUENCE_NUMBER"|"TRIM_HORIZON"|"LATEST"|"AT_TIMESTAMP"
---@field SequenceNumber? string a decimal number
---@field Timestamp? number seconds since 1970

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.StreamDescription
---@field StreamName string 1 to 128 characters
---@field StreamARN string 1 to 2048 characters
---@field StreamStatus string
---@field StreamModeDetails? kinesis.api.StreamModeDetails
---@field Shards kinesis.api.Shard[]
---@field HasMoreShards boolean
---@field RetentionPeriodHours integer 24 to 8760
---@field StreamCreationTimestamp number seconds since 1970
---@field EnhancedMonitoring kinesis.api.EnhancedMetrics[]
---@field EncryptionType? "NONE"|"KMS"
---@field KeyId? string 1 to 2048 characters

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.StreamDescriptionSummary
---@field StreamName string 1 to 128 characters
---@field StreamARN string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field StreamStatus string
---@field StreamModeDetails? kinesis.api.StreamModeDetails
---@field RetentionPeriodHours integer 24 to 8760
---@field StreamCreationTimestamp number seconds since 1970
---@field EnhancedMonitoring kinesis.api.EnhancedMetrics[]
---@field EncryptionType? "NONE"|"KMS"
---@field KeyId? string 1 to 2048 characters
---@field OpenShardCount integer
---@field ConsumerCount? integer
---@field ChannelCount? integer
---@field WarmThroughput? kinesis.api.WarmThroughput
---@field MaxRecordSizeInKiB? integer 1024 to 10240
---@field RecordDistributionStrategy? string

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.StreamFilter
---@field StreamARN string 1 to 2048 characters
---@field StreamCreationTimestamp? number seconds since 1970

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.StreamModeDetails
---@field StreamMode "PROVISIONED"|"ON_DEMAND"

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.StreamSummary
---@field StreamName string 1 to 128 characters
---@field StreamARN string 1 to 2048 characters
---@field StreamStatus string
---@field StreamModeDetails? kinesis.api.StreamModeDetails
---@field StreamCreationTimestamp? number seconds since 1970

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.Tag
---@field Key string 1 to 128 characters
---@field Value? string 0 to 256 characters

--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html
---@class kinesis.api.WarmThroughput
---@field TargetMiBps? integer
---@field CurrentMiBps? integer

--- What CreateStream is asked with.
---@class kinesis.api.CreateStreamRequest
---@field StreamName string 1 to 128 characters
---@field ShardCount? integer at least 1
---@field StreamModeDetails? kinesis.api.StreamModeDetails
---@field Tags? table<string, string> 1 to 200 entries
---@field WarmThroughputMiBps? integer
---@field MaxRecordSizeInKiB? integer 1024 to 10240
---@field RecordDistributionStrategy? string

--- What CreateStream answers.
---@class kinesis.api.CreateStreamAnswer
---@field request_id? string the service's name for the request

--- What DeleteStream is asked with.
---@class kinesis.api.DeleteStreamRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field EnforceConsumerDeletion? boolean

--- What DeleteStream answers.
---@class kinesis.api.DeleteStreamAnswer
---@field request_id? string the service's name for the request

--- What DescribeStream is asked with.
---@class kinesis.api.DescribeStreamRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field Limit? integer 1 to 10000
---@field ExclusiveStartShardId? string 1 to 128 characters

--- What DescribeStream answers.
---@class kinesis.api.DescribeStreamAnswer
---@field StreamDescription kinesis.api.StreamDescription
---@field request_id? string the service's name for the request

--- What DescribeStreamSummary is asked with.
---@class kinesis.api.DescribeStreamSummaryRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters

--- What DescribeStreamSummary answers.
---@class kinesis.api.DescribeStreamSummaryAnswer
---@field StreamDescriptionSummary kinesis.api.StreamDescriptionSummary
---@field request_id? string the service's name for the request

--- What ListStreams is asked with.
---@class kinesis.api.ListStreamsRequest
---@field Limit? integer 1 to 10000
---@field ExclusiveStartStreamName? string 1 to 128 characters
---@field NextToken? string 1 to 1048576 characters

--- What ListStreams answers.
---@class kinesis.api.ListStreamsAnswer
---@field StreamNames string[]
---@field HasMoreStreams boolean
---@field NextToken? string 1 to 1048576 characters
---@field StreamSummaries? kinesis.api.StreamSummary[]
---@field request_id? string the service's name for the request

--- What UpdateStreamMode is asked with.
---@class kinesis.api.UpdateStreamModeRequest
---@field StreamARN string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field StreamModeDetails kinesis.api.StreamModeDetails
---@field WarmThroughputMiBps? integer

--- What UpdateStreamMode answers.
---@class kinesis.api.UpdateStreamModeAnswer
---@field request_id? string the service's name for the request

--- What UpdateStreamWarmThroughput is asked with.
---@class kinesis.api.UpdateStreamWarmThroughputRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field WarmThroughputMiBps integer

--- What UpdateStreamWarmThroughput answers.
---@class kinesis.api.UpdateStreamWarmThroughputAnswer
---@field StreamARN? string 1 to 2048 characters
---@field StreamName? string 1 to 128 characters
---@field WarmThroughput? kinesis.api.WarmThroughput
---@field request_id? string the service's name for the request

--- What UpdateMaxRecordSize is asked with.
---@class kinesis.api.UpdateMaxRecordSizeRequest
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field MaxRecordSizeInKiB integer 1024 to 10240

--- What UpdateMaxRecordSize answers.
---@class kinesis.api.UpdateMaxRecordSizeAnswer
---@field request_id? string the service's name for the request

--- What UpdateStreamRecordDistributionStrategy is asked with.
---@class kinesis.api.UpdateStreamRecordDistributionStrategyRequest
---@field StreamARN string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field RecordDistributionStrategy string

--- What UpdateStreamRecordDistributionStrategy answers.
---@class kinesis.api.UpdateStreamRecordDistributionStrategyAnswer
---@field request_id? string the service's name for the request

--- What IncreaseStreamRetentionPeriod is asked with.
---@class kinesis.api.IncreaseStreamRetentionPeriodRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field RetentionPeriodHours integer 24 to 8760

--- What IncreaseStreamRetentionPeriod answers.
---@class kinesis.api.IncreaseStreamRetentionPeriodAnswer
---@field request_id? string the service's name for the request

--- What DecreaseStreamRetentionPeriod is asked with.
---@class kinesis.api.DecreaseStreamRetentionPeriodRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field RetentionPeriodHours integer 24 to 8760

--- What DecreaseStreamRetentionPeriod answers.
---@class kinesis.api.DecreaseStreamRetentionPeriodAnswer
---@field request_id? string the service's name for the request

--- What StartStreamEncryption is asked with.
---@class kinesis.api.StartStreamEncryptionRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field EncryptionType "NONE"|"KMS"
---@field KeyId string 1 to 2048 characters

--- What StartStreamEncryption answers.
---@class kinesis.api.StartStreamEncryptionAnswer
---@field request_id? string the service's name for the request

--- What StopStreamEncryption is asked with.
---@class kinesis.api.StopStreamEncryptionRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field EncryptionType "NONE"|"KMS"
---@field KeyId string 1 to 2048 characters

--- What StopStreamEncryption answers.
---@class kinesis.api.StopStreamEncryptionAnswer
---@field request_id? string the service's name for the request

--- What EnableEnhancedMonitoring is asked with.
---@class kinesis.api.EnableEnhancedMonitoringRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field ShardLevelMetrics "IncomingBytes"|"IncomingRecords"|"OutgoingBytes"|"OutgoingRecords"|"WriteProvisionedThroughputExceeded"|"ReadProvisionedThroughputExceeded"|"IteratorAgeMilliseconds"|"ALL"[] 1 to 7 elements

--- What EnableEnhancedMonitoring answers.
---@class kinesis.api.EnableEnhancedMonitoringAnswer
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field CurrentShardLevelMetrics? string[]
---@field DesiredShardLevelMetrics? string[]
---@field request_id? string the service's name for the request

--- What DisableEnhancedMonitoring is asked with.
---@class kinesis.api.DisableEnhancedMonitoringRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field ShardLevelMetrics "IncomingBytes"|"IncomingRecords"|"OutgoingBytes"|"OutgoingRecords"|"WriteProvisionedThroughputExceeded"|"ReadProvisionedThroughputExceeded"|"IteratorAgeMilliseconds"|"ALL"[] 1 to 7 elements

--- What DisableEnhancedMonitoring answers.
---@class kinesis.api.DisableEnhancedMonitoringAnswer
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field CurrentShardLevelMetrics? string[]
---@field DesiredShardLevelMetrics? string[]
---@field request_id? string the service's name for the request

--- What ListShards is asked with.
---@class kinesis.api.ListShardsRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field NextToken? string 1 to 1048576 characters
---@field ExclusiveStartShardId? string 1 to 128 characters
---@field MaxResults? integer 1 to 10000
---@field StreamCreationTimestamp? number seconds since 1970
---@field ShardFilter? kinesis.api.ShardFilter

--- What ListShards answers.
---@class kinesis.api.ListShardsAnswer
---@field Shards? kinesis.api.Shard[]
---@field NextToken? string 1 to 1048576 characters
---@field request_id? string the service's name for the request

--- What MergeShards is asked with.
---@class kinesis.api.MergeShardsRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field ShardToMerge string 1 to 128 characters
---@field AdjacentShardToMerge string 1 to 128 characters

--- What MergeShards answers.
---@class kinesis.api.MergeShardsAnswer
---@field request_id? string the service's name for the request

--- What SplitShard is asked with.
---@class kinesis.api.SplitShardRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field ShardToSplit string 1 to 128 characters
---@field NewStartingHashKey string a decimal number

--- What SplitShard answers.
---@class kinesis.api.SplitShardAnswer
---@field request_id? string the service's name for the request

--- What UpdateShardCount is asked with.
---@class kinesis.api.UpdateShardCountRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field TargetShardCount integer at least 1
---@field ScalingType "UNIFORM_SCALING"

--- What UpdateShardCount answers.
---@class kinesis.api.UpdateShardCountAnswer
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field CurrentShardCount? integer
---@field TargetShardCount? integer
---@field request_id? string the service's name for the request

--- What PutRecord is asked with.
---@class kinesis.api.PutRecordRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field Data string bytes, at most 10485760
---@field PartitionKey? string 1 to 256 characters
---@field ExplicitHashKey? string a decimal number
---@field SequenceNumberForOrdering? string a decimal number
---@field DryRun? boolean

--- What PutRecord answers.
---@class kinesis.api.PutRecordAnswer
---@field ShardId string 1 to 128 characters
---@field SequenceNumber string a decimal number
---@field EncryptionType? "NONE"|"KMS"
---@field request_id? string the service's name for the request

--- What PutRecords is asked with.
---@class kinesis.api.PutRecordsRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field Records kinesis.api.PutRecordsRequestEntry[] 1 to 500 elements
---@field DryRun? boolean

--- What PutRecords answers.
---@class kinesis.api.PutRecordsAnswer
---@field Records kinesis.api.PutRecordsResultEntry[]
---@field FailedRecordCount? integer
---@field EncryptionType? "NONE"|"KMS"
---@field request_id? string the service's name for the request

--- What GetShardIterator is asked with.
---@class kinesis.api.GetShardIteratorRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field ShardId string 1 to 128 characters
---@field ShardIteratorType "AT_SEQUENCE_NUMBER"|"AFTER_SEQUENCE_NUMBER"|"TRIM_HORIZON"|"LATEST"|"AT_TIMESTAMP"
---@field StartingSequenceNumber? string a decimal number
---@field Timestamp? number seconds since 1970
---@field DryRun? boolean

--- What GetShardIterator answers.
---@class kinesis.api.GetShardIteratorAnswer
---@field ShardIterator? string 1 to 512 characters
---@field request_id? string the service's name for the request

--- What GetRecords is asked with.
---@class kinesis.api.GetRecordsRequest
---@field ShardIterator string 1 to 512 characters
---@field Limit? integer 1 to 10000
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field DryRun? boolean

--- What GetRecords answers.
---@class kinesis.api.GetRecordsAnswer
---@field Records kinesis.api.Record[]
---@field NextShardIterator? string 1 to 512 characters
---@field MillisBehindLatest? integer
---@field ChildShards? kinesis.api.ChildShard[]
---@field request_id? string the service's name for the request

--- What SubscribeToShard is asked with.
---@class kinesis.api.SubscribeToShardRequest
---@field ConsumerARN string 1 to 2048 characters
---@field ShardId string 1 to 128 characters
---@field StartingPosition kinesis.api.StartingPosition
---@field StreamId? string 1 to 24 characters
---@field DryRun? boolean

--- What SubscribeToShard answers.
---@class kinesis.api.SubscribeToShardEvent
---@field Records kinesis.api.Record[]
---@field ContinuationSequenceNumber string a decimal number
---@field MillisBehindLatest integer
---@field ChildShards? kinesis.api.ChildShard[]

--- What RegisterStreamConsumer is asked with.
---@class kinesis.api.RegisterStreamConsumerRequest
---@field StreamARN string 1 to 2048 characters
---@field ConsumerName string 1 to 128 characters
---@field StreamId? string 1 to 24 characters
---@field Tags? table<string, string> 1 to 200 entries

--- What RegisterStreamConsumer answers.
---@class kinesis.api.RegisterStreamConsumerAnswer
---@field Consumer kinesis.api.Consumer
---@field request_id? string the service's name for the request

--- What DeregisterStreamConsumer is asked with.
---@class kinesis.api.DeregisterStreamConsumerRequest
---@field StreamARN? string 1 to 2048 characters
---@field ConsumerName? string 1 to 128 characters
---@field ConsumerARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters

--- What DeregisterStreamConsumer answers.
---@class kinesis.api.DeregisterStreamConsumerAnswer
---@field request_id? string the service's name for the request

--- What DescribeStreamConsumer is asked with.
---@class kinesis.api.DescribeStreamConsumerRequest
---@field StreamARN? string 1 to 2048 characters
---@field ConsumerName? string 1 to 128 characters
---@field ConsumerARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters

--- What DescribeStreamConsumer answers.
---@class kinesis.api.DescribeStreamConsumerAnswer
---@field ConsumerDescription kinesis.api.ConsumerDescription
---@field request_id? string the service's name for the request

--- What ListStreamConsumers is asked with.
---@class kinesis.api.ListStreamConsumersRequest
---@field StreamARN string 1 to 2048 characters
---@field NextToken? string 1 to 1048576 characters
---@field MaxResults? integer 1 to 10000
---@field StreamCreationTimestamp? number seconds since 1970
---@field StreamId? string 1 to 24 characters

--- What ListStreamConsumers answers.
---@class kinesis.api.ListStreamConsumersAnswer
---@field Consumers? kinesis.api.Consumer[]
---@field NextToken? string 1 to 1048576 characters
---@field request_id? string the service's name for the request

--- What CreateChannel is asked with.
---@class kinesis.api.CreateChannelRequest
---@field ChannelName string 1 to 128 characters
---@field ServiceExecutionRoleARN string 1 to 2048 characters
---@field StreamConfigurationList kinesis.api.ChannelStreamConfiguration[]
---@field S3DestinationConfiguration? kinesis.api.S3DestinationConfiguration
---@field S3TablesDestinationConfiguration? kinesis.api.S3TablesDestinationConfiguration
---@field EncryptionConfiguration? kinesis.api.EncryptionConfiguration
---@field Tags? table<string, string> 1 to 200 entries
---@field LoggingConfiguration? kinesis.api.LoggingConfiguration

--- What CreateChannel answers.
---@class kinesis.api.CreateChannelAnswer
---@field ChannelDescription kinesis.api.ChannelDescription
---@field request_id? string the service's name for the request

--- What DeleteChannel is asked with.
---@class kinesis.api.DeleteChannelRequest
---@field ChannelARN string 1 to 2048 characters

--- What DeleteChannel answers.
---@class kinesis.api.DeleteChannelAnswer
---@field request_id? string the service's name for the request

--- What DescribeChannel is asked with.
---@class kinesis.api.DescribeChannelRequest
---@field ChannelARN string 1 to 2048 characters

--- What DescribeChannel answers.
---@class kinesis.api.DescribeChannelAnswer
---@field ChannelDescription kinesis.api.ChannelDescription
---@field request_id? string the service's name for the request

--- What ListChannels is asked with.
---@class kinesis.api.ListChannelsRequest
---@field StreamFilter? kinesis.api.StreamFilter[]
---@field MaxResults? integer 1 to 10000
---@field NextToken? string 1 to 1048576 characters

--- What ListChannels answers.
---@class kinesis.api.ListChannelsAnswer
---@field ChannelSummaries kinesis.api.ChannelSummary[]
---@field NextToken? string 1 to 1048576 characters
---@field request_id? string the service's name for the request

--- What UpdateChannel is asked with.
---@class kinesis.api.UpdateChannelRequest
---@field ChannelARN string 1 to 2048 characters
---@field S3DestinationConfiguration? kinesis.api.DataFreshness
---@field S3TablesDestinationConfiguration? kinesis.api.DataFreshness
---@field LoggingConfiguration? kinesis.api.LoggingConfiguration

--- What UpdateChannel answers.
---@class kinesis.api.UpdateChannelAnswer
---@field ChannelDescription kinesis.api.ChannelDescription
---@field request_id? string the service's name for the request

--- What AddTagsToStream is asked with.
---@class kinesis.api.AddTagsToStreamRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field Tags table<string, string> 1 to 200 entries

--- What AddTagsToStream answers.
---@class kinesis.api.AddTagsToStreamAnswer
---@field request_id? string the service's name for the request

--- What RemoveTagsFromStream is asked with.
---@class kinesis.api.RemoveTagsFromStreamRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field TagKeys string[] 1 to 50 elements

--- What RemoveTagsFromStream answers.
---@class kinesis.api.RemoveTagsFromStreamAnswer
---@field request_id? string the service's name for the request

--- What ListTagsForStream is asked with.
---@class kinesis.api.ListTagsForStreamRequest
---@field StreamName? string 1 to 128 characters
---@field StreamARN? string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field ExclusiveStartTagKey? string 1 to 128 characters
---@field Limit? integer 1 to 50

--- What ListTagsForStream answers.
---@class kinesis.api.ListTagsForStreamAnswer
---@field Tags kinesis.api.Tag[]
---@field HasMoreTags boolean
---@field request_id? string the service's name for the request

--- What TagResource is asked with.
---@class kinesis.api.TagResourceRequest
---@field ResourceARN string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field Tags table<string, string> 1 to 200 entries

--- What TagResource answers.
---@class kinesis.api.TagResourceAnswer
---@field request_id? string the service's name for the request

--- What UntagResource is asked with.
---@class kinesis.api.UntagResourceRequest
---@field ResourceARN string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field TagKeys string[] 1 to 50 elements

--- What UntagResource answers.
---@class kinesis.api.UntagResourceAnswer
---@field request_id? string the service's name for the request

--- What ListTagsForResource is asked with.
---@class kinesis.api.ListTagsForResourceRequest
---@field ResourceARN string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters

--- What ListTagsForResource answers.
---@class kinesis.api.ListTagsForResourceAnswer
---@field Tags? kinesis.api.Tag[]
---@field request_id? string the service's name for the request

--- What PutResourcePolicy is asked with.
---@class kinesis.api.PutResourcePolicyRequest
---@field ResourceARN string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters
---@field Policy string

--- What PutResourcePolicy answers.
---@class kinesis.api.PutResourcePolicyAnswer
---@field request_id? string the service's name for the request

--- What GetResourcePolicy is asked with.
---@class kinesis.api.GetResourcePolicyRequest
---@field ResourceARN string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters

--- What GetResourcePolicy answers.
---@class kinesis.api.GetResourcePolicyAnswer
---@field Policy string
---@field request_id? string the service's name for the request

--- What DeleteResourcePolicy is asked with.
---@class kinesis.api.DeleteResourcePolicyRequest
---@field ResourceARN string 1 to 2048 characters
---@field StreamId? string 1 to 24 characters

--- What DeleteResourcePolicy answers.
---@class kinesis.api.DeleteResourcePolicyAnswer
---@field request_id? string the service's name for the request

--- What DescribeLimits is asked with.
---@class kinesis.api.DescribeLimitsRequest

--- What DescribeLimits answers.
---@class kinesis.api.DescribeLimitsAnswer
---@field ShardLimit integer
---@field OpenShardCount integer
---@field OnDemandStreamCount integer
---@field OnDemandStreamCountLimit integer
---@field ChannelCount? integer
---@field ChannelCountLimit? integer
---@field request_id? string the service's name for the request

--- What DescribeAccountSettings is asked with.
---@class kinesis.api.DescribeAccountSettingsRequest

--- What DescribeAccountSettings answers.
---@class kinesis.api.DescribeAccountSettingsAnswer
---@field MinimumThroughputBillingCommitment? kinesis.api.AccountCommitment
---@field request_id? string the service's name for the request

--- What UpdateAccountSettings is asked with.
---@class kinesis.api.UpdateAccountSettingsRequest
---@field MinimumThroughputBillingCommitment kinesis.api.MinimumThroughputBillingCommitment

--- What UpdateAccountSettings answers.
---@class kinesis.api.UpdateAccountSettingsAnswer
---@field MinimumThroughputBillingCommitment? kinesis.api.AccountCommitment
---@field request_id? string the service's name for the request

---@class kinesis.Client
local Client = {}

--- Creates a stream, which is ready when its status is ACTIVE.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.CreateStreamRequest
---@return kinesis.api.CreateStreamAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:create_stream(params) end

--- Deletes a stream with all its records.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeleteStream.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.DeleteStreamRequest
---@return kinesis.api.DeleteStreamAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:delete_stream(params) end

--- Describes a stream and its shards, page by page.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStream.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.DescribeStreamRequest
---@return kinesis.api.DescribeStreamAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:describe_stream(params) end

--- Describes a stream without its shards.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamSummary.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.DescribeStreamSummaryRequest
---@return kinesis.api.DescribeStreamSummaryAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:describe_stream_summary(params) end

--- Lists the account's streams in this region, by name.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreams.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.ListStreamsRequest
---@return kinesis.api.ListStreamsAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:list_streams(params) end

--- Switches a stream between provisioned and on-demand capacity.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamMode.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.UpdateStreamModeRequest
---@return kinesis.api.UpdateStreamModeAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:update_stream_mode(params) end

--- Sets the throughput that an on-demand stream keeps ready.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamWarmThroughput.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.UpdateStreamWarmThroughputRequest
---@return kinesis.api.UpdateStreamWarmThroughputAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:update_stream_warm_throughput(params) end

--- Sets the maximum size of a stream's records.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateMaxRecordSize.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.UpdateMaxRecordSizeRequest
---@return kinesis.api.UpdateMaxRecordSizeAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:update_max_record_size(params) end

--- Sets how records are distributed over the shards.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamRecordDistributionStrategy.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.UpdateStreamRecordDistributionStrategyRequest
---@return kinesis.api.UpdateStreamRecordDistributionStrategyAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:update_stream_record_distribution_strategy(params) end

--- Keeps a stream's records longer: up to 8,760 hours, a year.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_IncreaseStreamRetentionPeriod.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.IncreaseStreamRetentionPeriodRequest
---@return kinesis.api.IncreaseStreamRetentionPeriodAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:increase_stream_retention_period(params) end

--- Keeps a stream's records for a shorter time: at least 24 hours.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DecreaseStreamRetentionPeriod.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.DecreaseStreamRetentionPeriodRequest
---@return kinesis.api.DecreaseStreamRetentionPeriodAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:decrease_stream_retention_period(params) end

--- Encrypts new records with a KMS key.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_StartStreamEncryption.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.StartStreamEncryptionRequest
---@return kinesis.api.StartStreamEncryptionAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:start_stream_encryption(params) end

--- Ends the encryption of new records.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_StopStreamEncryption.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.StopStreamEncryptionRequest
---@return kinesis.api.StopStreamEncryptionAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:stop_stream_encryption(params) end

--- Turns on metrics for each shard.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_EnableEnhancedMonitoring.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.EnableEnhancedMonitoringRequest
---@return kinesis.api.EnableEnhancedMonitoringAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:enable_enhanced_monitoring(params) end

--- Turns off metrics for each shard.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DisableEnhancedMonitoring.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.DisableEnhancedMonitoringRequest
---@return kinesis.api.DisableEnhancedMonitoringAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:disable_enhanced_monitoring(params) end

--- Lists a stream's shards, page by page; `shards` returns all pages.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListShards.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.ListShardsRequest
---@return kinesis.api.ListShardsAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:list_shards(params) end

--- Merges two adjacent shards into one.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_MergeShards.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.MergeShardsRequest
---@return kinesis.api.MergeShardsAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:merge_shards(params) end

--- Splits a shard into two.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SplitShard.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.SplitShardRequest
---@return kinesis.api.SplitShardAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:split_shard(params) end

--- Splits and merges shards until the stream has the target number.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.UpdateShardCountRequest
---@return kinesis.api.UpdateShardCountAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:update_shard_count(params) end

--- Puts one record; `put` is shorter.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.PutRecordRequest
---@return kinesis.api.PutRecordAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:put_record(params) end

--- Puts up to 500 records, some of which may fail; `put_many` retries these.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.PutRecordsRequest
---@return kinesis.api.PutRecordsAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:put_records(params) end

--- Returns an iterator for a position in a shard; it expires after five minutes.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.GetShardIteratorRequest
---@return kinesis.api.GetShardIteratorAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:get_shard_iterator(params) end

--- Reads a page of records at an iterator; `records` reads whole shards.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.GetRecordsRequest
---@return kinesis.api.GetRecordsAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:get_records(params) end

--- Iterates over the events of a shard for a registered consumer, for five minutes.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.SubscribeToShardRequest
---@return (fun(): kinesis.api.SubscribeToShardEvent|nil)|nil events for a `for` head: raises the error object
---@return kinesis.Error err the service's, or one of our own
function Client:subscribe_to_shard(params) end

--- Registers a consumer, which gets its own read throughput (enhanced fan-out).
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_RegisterStreamConsumer.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.RegisterStreamConsumerRequest
---@return kinesis.api.RegisterStreamConsumerAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:register_stream_consumer(params) end

--- Ends a consumer's registration.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeregisterStreamConsumer.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.DeregisterStreamConsumerRequest
---@return kinesis.api.DeregisterStreamConsumerAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:deregister_stream_consumer(params) end

--- Describes a registered consumer.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStreamConsumer.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.DescribeStreamConsumerRequest
---@return kinesis.api.DescribeStreamConsumerAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:describe_stream_consumer(params) end

--- Lists a stream's registered consumers.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreamConsumers.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.ListStreamConsumersRequest
---@return kinesis.api.ListStreamConsumersAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:list_stream_consumers(params) end

--- Creates a channel, which delivers a stream's records to storage.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateChannel.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.CreateChannelRequest
---@return kinesis.api.CreateChannelAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:create_channel(params) end

--- Deletes a channel.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeleteChannel.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.DeleteChannelRequest
---@return kinesis.api.DeleteChannelAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:delete_channel(params) end

--- Describes a channel.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeChannel.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.DescribeChannelRequest
---@return kinesis.api.DescribeChannelAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:describe_channel(params) end

--- Lists the account's channels in this region.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListChannels.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.ListChannelsRequest
---@return kinesis.api.ListChannelsAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:list_channels(params) end

--- Changes the logging of a channel, or the freshness of its data.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateChannel.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.UpdateChannelRequest
---@return kinesis.api.UpdateChannelAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:update_channel(params) end

--- Adds tags to a stream, or changes their values.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_AddTagsToStream.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.AddTagsToStreamRequest
---@return kinesis.api.AddTagsToStreamAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:add_tags_to_stream(params) end

--- Removes tags from a stream.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_RemoveTagsFromStream.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.RemoveTagsFromStreamRequest
---@return kinesis.api.RemoveTagsFromStreamAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:remove_tags_from_stream(params) end

--- Lists a stream's tags.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListTagsForStream.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.ListTagsForStreamRequest
---@return kinesis.api.ListTagsForStreamAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:list_tags_for_stream(params) end

--- Adds tags to a stream or consumer, or changes their values.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_TagResource.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.TagResourceRequest
---@return kinesis.api.TagResourceAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:tag_resource(params) end

--- Removes tags from a stream or consumer.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UntagResource.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.UntagResourceRequest
---@return kinesis.api.UntagResourceAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:untag_resource(params) end

--- Lists the tags of a stream or consumer.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListTagsForResource.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.ListTagsForResourceRequest
---@return kinesis.api.ListTagsForResourceAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:list_tags_for_resource(params) end

--- Sets the policy of a stream or consumer.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutResourcePolicy.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.PutResourcePolicyRequest
---@return kinesis.api.PutResourcePolicyAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:put_resource_policy(params) end

--- Returns the policy of a stream or consumer.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetResourcePolicy.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.GetResourcePolicyRequest
---@return kinesis.api.GetResourcePolicyAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:get_resource_policy(params) end

--- Removes the policy of a stream or consumer.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DeleteResourcePolicy.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.DeleteResourcePolicyRequest
---@return kinesis.api.DeleteResourcePolicyAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:delete_resource_policy(params) end

--- Returns the account's limits of shards and streams, and the numbers in use.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeLimits.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.DescribeLimitsRequest
---@return kinesis.api.DescribeLimitsAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:describe_limits(params) end

--- Returns the account's settings for on-demand streams.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeAccountSettings.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params? kinesis.api.DescribeAccountSettingsRequest
---@return kinesis.api.DescribeAccountSettingsAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:describe_account_settings(params) end

--- Changes the account's settings for on-demand streams.
--- https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateAccountSettings.html
---
--- Raises at the caller's line a message that names the wrong member and its bound; then nothing was sent.
---@param params kinesis.api.UpdateAccountSettingsRequest
---@return kinesis.api.UpdateAccountSettingsAnswer|nil answer
---@return kinesis.Error err the service's, or one of our own
function Client:update_account_settings(params) end

---@class kinesis
local kinesis = {}

--- `create_stream` of the default client.
---@see kinesis.Client.create_stream
---@param params kinesis.api.CreateStreamRequest
---@return kinesis.api.CreateStreamAnswer|nil answer
---@return kinesis.Error err
function kinesis.create_stream(params) end

--- `delete_stream` of the default client.
---@see kinesis.Client.delete_stream
---@param params? kinesis.api.DeleteStreamRequest
---@return kinesis.api.DeleteStreamAnswer|nil answer
---@return kinesis.Error err
function kinesis.delete_stream(params) end

--- `describe_stream` of the default client.
---@see kinesis.Client.describe_stream
---@param params? kinesis.api.DescribeStreamRequest
---@return kinesis.api.DescribeStreamAnswer|nil answer
---@return kinesis.Error err
function kinesis.describe_stream(params) end

--- `describe_stream_summary` of the default client.
---@see kinesis.Client.describe_stream_summary
---@param params? kinesis.api.DescribeStreamSummaryRequest
---@return kinesis.api.DescribeStreamSummaryAnswer|nil answer
---@return kinesis.Error err
function kinesis.describe_stream_summary(params) end

--- `list_streams` of the default client.
---@see kinesis.Client.list_streams
---@param params? kinesis.api.ListStreamsRequest
---@return kinesis.api.ListStreamsAnswer|nil answer
---@return kinesis.Error err
function kinesis.list_streams(params) end

--- `update_stream_mode` of the default client.
---@see kinesis.Client.update_stream_mode
---@param params kinesis.api.UpdateStreamModeRequest
---@return kinesis.api.UpdateStreamModeAnswer|nil answer
---@return kinesis.Error err
function kinesis.update_stream_mode(params) end

--- `update_stream_warm_throughput` of the default client.
---@see kinesis.Client.update_stream_warm_throughput
---@param params kinesis.api.UpdateStreamWarmThroughputRequest
---@return kinesis.api.UpdateStreamWarmThroughputAnswer|nil answer
---@return kinesis.Error err
function kinesis.update_stream_warm_throughput(params) end

--- `update_max_record_size` of the default client.
---@see kinesis.Client.update_max_record_size
---@param params kinesis.api.UpdateMaxRecordSizeRequest
---@return kinesis.api.UpdateMaxRecordSizeAnswer|nil answer
---@return kinesis.Error err
function kinesis.update_max_record_size(params) end

--- `update_stream_record_distribution_strategy` of the default client.
---@see kinesis.Client.update_stream_record_distribution_strategy
---@param params kinesis.api.UpdateStreamRecordDistributionStrategyRequest
---@return kinesis.api.UpdateStreamRecordDistributionStrategyAnswer|nil answer
---@return kinesis.Error err
function kinesis.update_stream_record_distribution_strategy(params) end

--- `increase_stream_retention_period` of the default client.
---@see kinesis.Client.increase_stream_retention_period
---@param params kinesis.api.IncreaseStreamRetentionPeriodRequest
---@return kinesis.api.IncreaseStreamRetentionPeriodAnswer|nil answer
---@return kinesis.Error err
function kinesis.increase_stream_retention_period(params) end

--- `decrease_stream_retention_period` of the default client.
---@see kinesis.Client.decrease_stream_retention_period
---@param params kinesis.api.DecreaseStreamRetentionPeriodRequest
---@return kinesis.api.DecreaseStreamRetentionPeriodAnswer|nil answer
---@return kinesis.Error err
function kinesis.decrease_stream_retention_period(params) end

--- `start_stream_encryption` of the default client.
---@see kinesis.Client.start_stream_encryption
---@param params kinesis.api.StartStreamEncryptionRequest
---@return kinesis.api.StartStreamEncryptionAnswer|nil answer
---@return kinesis.Error err
function kinesis.start_stream_encryption(params) end

--- `stop_stream_encryption` of the default client.
---@see kinesis.Client.stop_stream_encryption
---@param params kinesis.api.StopStreamEncryptionRequest
---@return kinesis.api.StopStreamEncryptionAnswer|nil answer
---@return kinesis.Error err
function kinesis.stop_stream_encryption(params) end

--- `enable_enhanced_monitoring` of the default client.
---@see kinesis.Client.enable_enhanced_monitoring
---@param params kinesis.api.EnableEnhancedMonitoringRequest
---@return kinesis.api.EnableEnhancedMonitoringAnswer|nil answer
---@return kinesis.Error err
function kinesis.enable_enhanced_monitoring(params) end

--- `disable_enhanced_monitoring` of the default client.
---@see kinesis.Client.disable_enhanced_monitoring
---@param params kinesis.api.DisableEnhancedMonitoringRequest
---@return kinesis.api.DisableEnhancedMonitoringAnswer|nil answer
---@return kinesis.Error err
function kinesis.disable_enhanced_monitoring(params) end

--- `list_shards` of the default client.
---@see kinesis.Client.list_shards
---@param params? kinesis.api.ListShardsRequest
---@return kinesis.api.ListShardsAnswer|nil answer
---@return kinesis.Error err
function kinesis.list_shards(params) end

--- `merge_shards` of the default client.
---@see kinesis.Client.merge_shards
---@param params kinesis.api.MergeShardsRequest
---@return kinesis.api.MergeShardsAnswer|nil answer
---@return kinesis.Error err
function kinesis.merge_shards(params) end

--- `split_shard` of the default client.
---@see kinesis.Client.split_shard
---@param params kinesis.api.SplitShardRequest
---@return kinesis.api.SplitShardAnswer|nil answer
---@return kinesis.Error err
function kinesis.split_shard(params) end

--- `update_shard_count` of the default client.
---@see kinesis.Client.update_shard_count
---@param params kinesis.api.UpdateShardCountRequest
---@return kinesis.api.UpdateShardCountAnswer|nil answer
---@return kinesis.Error err
function kinesis.update_shard_count(params) end

--- `put_record` of the default client.
---@see kinesis.Client.put_record
---@param params kinesis.api.PutRecordRequest
---@return kinesis.api.PutRecordAnswer|nil answer
---@return kinesis.Error err
function kinesis.put_record(params) end

--- `put_records` of the default client.
---@see kinesis.Client.put_records
---@param params kinesis.api.PutRecordsRequest
---@return kinesis.api.PutRecordsAnswer|nil answer
---@return kinesis.Error err
function kinesis.put_records(params) end

--- `get_shard_iterator` of the default client.
---@see kinesis.Client.get_shard_iterator
---@param params kinesis.api.GetShardIteratorRequest
---@return kinesis.api.GetShardIteratorAnswer|nil answer
---@return kinesis.Error err
function kinesis.get_shard_iterator(params) end

--- `get_records` of the default client.
---@see kinesis.Client.get_records
---@param params kinesis.api.GetRecordsRequest
---@return kinesis.api.GetRecordsAnswer|nil answer
---@return kinesis.Error err
function kinesis.get_records(params) end

--- `subscribe_to_shard` of the default client.
---@see kinesis.Client.subscribe_to_shard
---@param params kinesis.api.SubscribeToShardRequest
---@return (fun(): kinesis.api.SubscribeToShardEvent|nil)|nil events for a `for` head: raises the error object
---@return kinesis.Error err
function kinesis.subscribe_to_shard(params) end

--- `register_stream_consumer` of the default client.
---@see kinesis.Client.register_stream_consumer
---@param params kinesis.api.RegisterStreamConsumerRequest
---@return kinesis.api.RegisterStreamConsumerAnswer|nil answer
---@return kinesis.Error err
function kinesis.register_stream_consumer(params) end

--- `deregister_stream_consumer` of the default client.
---@see kinesis.Client.deregister_stream_consumer
---@param params? kinesis.api.DeregisterStreamConsumerRequest
---@return kinesis.api.DeregisterStreamConsumerAnswer|nil answer
---@return kinesis.Error err
function kinesis.deregister_stream_consumer(params) end

--- `describe_stream_consumer` of the default client.
---@see kinesis.Client.describe_stream_consumer
---@param params? kinesis.api.DescribeStreamConsumerRequest
---@return kinesis.api.DescribeStreamConsumerAnswer|nil answer
---@return kinesis.Error err
function kinesis.describe_stream_consumer(params) end

--- `list_stream_consumers` of the default client.
---@see kinesis.Client.list_stream_consumers
---@param params kinesis.api.ListStreamConsumersRequest
---@return kinesis.api.ListStreamConsumersAnswer|nil answer
---@return kinesis.Error err
function kinesis.list_stream_consumers(params) end

--- `create_channel` of the default client.
---@see kinesis.Client.create_channel
---@param params kinesis.api.CreateChannelRequest
---@return kinesis.api.CreateChannelAnswer|nil answer
---@return kinesis.Error err
function kinesis.create_channel(params) end

--- `delete_channel` of the default client.
---@see kinesis.Client.delete_channel
---@param params kinesis.api.DeleteChannelRequest
---@return kinesis.api.DeleteChannelAnswer|nil answer
---@return kinesis.Error err
function kinesis.delete_channel(params) end

--- `describe_channel` of the default client.
---@see kinesis.Client.describe_channel
---@param params kinesis.api.DescribeChannelRequest
---@return kinesis.api.DescribeChannelAnswer|nil answer
---@return kinesis.Error err
function kinesis.describe_channel(params) end

--- `list_channels` of the default client.
---@see kinesis.Client.list_channels
---@param params? kinesis.api.ListChannelsRequest
---@return kinesis.api.ListChannelsAnswer|nil answer
---@return kinesis.Error err
function kinesis.list_channels(params) end

--- `update_channel` of the default client.
---@see kinesis.Client.update_channel
---@param params kinesis.api.UpdateChannelRequest
---@return kinesis.api.UpdateChannelAnswer|nil answer
---@return kinesis.Error err
function kinesis.update_channel(params) end

--- `add_tags_to_stream` of the default client.
---@see kinesis.Client.add_tags_to_stream
---@param params kinesis.api.AddTagsToStreamRequest
---@return kinesis.api.AddTagsToStreamAnswer|nil answer
---@return kinesis.Error err
function kinesis.add_tags_to_stream(params) end

--- `remove_tags_from_stream` of the default client.
---@see kinesis.Client.remove_tags_from_stream
---@param params kinesis.api.RemoveTagsFromStreamRequest
---@return kinesis.api.RemoveTagsFromStreamAnswer|nil answer
---@return kinesis.Error err
function kinesis.remove_tags_from_stream(params) end

--- `list_tags_for_stream` of the default client.
---@see kinesis.Client.list_tags_for_stream
---@param params? kinesis.api.ListTagsForStreamRequest
---@return kinesis.api.ListTagsForStreamAnswer|nil answer
---@return kinesis.Error err
function kinesis.list_tags_for_stream(params) end

--- `tag_resource` of the default client.
---@see kinesis.Client.tag_resource
---@param params kinesis.api.TagResourceRequest
---@return kinesis.api.TagResourceAnswer|nil answer
---@return kinesis.Error err
function kinesis.tag_resource(params) end

--- `untag_resource` of the default client.
---@see kinesis.Client.untag_resource
---@param params kinesis.api.UntagResourceRequest
---@return kinesis.api.UntagResourceAnswer|nil answer
---@return kinesis.Error err
function kinesis.untag_resource(params) end

--- `list_tags_for_resource` of the default client.
---@see kinesis.Client.list_tags_for_resource
---@param params kinesis.api.ListTagsForResourceRequest
---@return kinesis.api.ListTagsForResourceAnswer|nil answer
---@return kinesis.Error err
function kinesis.list_tags_for_resource(params) end

--- `put_resource_policy` of the default client.
---@see kinesis.Client.put_resource_policy
---@param params kinesis.api.PutResourcePolicyRequest
---@return kinesis.api.PutResourcePolicyAnswer|nil answer
---@return kinesis.Error err
function kinesis.put_resource_policy(params) end

--- `get_resource_policy` of the default client.
---@see kinesis.Client.get_resource_policy
---@param params kinesis.api.GetResourcePolicyRequest
---@return kinesis.api.GetResourcePolicyAnswer|nil answer
---@return kinesis.Error err
function kinesis.get_resource_policy(params) end

--- `delete_resource_policy` of the default client.
---@see kinesis.Client.delete_resource_policy
---@param params kinesis.api.DeleteResourcePolicyRequest
---@return kinesis.api.DeleteResourcePolicyAnswer|nil answer
---@return kinesis.Error err
function kinesis.delete_resource_policy(params) end

--- `describe_limits` of the default client.
---@see kinesis.Client.describe_limits
---@param params? kinesis.api.DescribeLimitsRequest
---@return kinesis.api.DescribeLimitsAnswer|nil answer
---@return kinesis.Error err
function kinesis.describe_limits(params) end

--- `describe_account_settings` of the default client.
---@see kinesis.Client.describe_account_settings
---@param params? kinesis.api.DescribeAccountSettingsRequest
---@return kinesis.api.DescribeAccountSettingsAnswer|nil answer
---@return kinesis.Error err
function kinesis.describe_account_settings(params) end

--- `update_account_settings` of the default client.
---@see kinesis.Client.update_account_settings
---@param params kinesis.api.UpdateAccountSettingsRequest
---@return kinesis.api.UpdateAccountSettingsAnswer|nil answer
---@return kinesis.Error err
function kinesis.update_account_settings(params) end
