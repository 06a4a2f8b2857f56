#!/bin/sh
# The audit table teleport.audit.
set -eu
export AWS_PAGER=

aws dynamodb create-table --table-name teleport.audit \
  --attribute-definitions AttributeName=SessionID,AttributeType=S AttributeName=EventIndex,AttributeType=N AttributeName=CreatedAtDate,AttributeType=S AttributeName=CreatedAt,AttributeType=N \
  --key-schema AttributeName=SessionID,KeyType=HASH AttributeName=EventIndex,KeyType=RANGE \
  --global-secondary-indexes '[{"IndexName":"timesearchV2","KeySchema":[{"AttributeName":"CreatedAtDate","KeyType":"HASH"},{"AttributeName":"CreatedAt","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"},"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":6}}]' \
  --billing-mode PROVISIONED \
  --provisioned-throughput ReadCapacityUnits=5,WriteCapacityUnits=6 \
  --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES \
  --sse-specification Enabled=true,SSEType=KMS,KMSMasterKeyId=alias/teleport \
  --deletion-protection-enabled \
  --tags '[{"Key":"team","Value":"it'\''s \"ours\": ${a}"},{"Key":"x","Value":""}]'

aws dynamodb wait table-exists --table-name teleport.audit

aws dynamodb update-time-to-live --table-name teleport.audit \
  --time-to-live-specification Enabled=true,AttributeName=Expires

aws dynamodb update-continuous-backups --table-name teleport.audit \
  --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true
