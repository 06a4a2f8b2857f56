#!/bin/sh
# The partitioned table state.
set -eu
export AWS_PAGER=

aws dynamodb create-table --table-name state \
  --attribute-definitions AttributeName=Part,AttributeType=S AttributeName=Key,AttributeType=S AttributeName=ExpiryShard,AttributeType=N AttributeName=Expires,AttributeType=N \
  --key-schema AttributeName=Part,KeyType=HASH AttributeName=Key,KeyType=RANGE \
  --global-secondary-indexes '[{"IndexName":"expiry","KeySchema":[{"AttributeName":"ExpiryShard","KeyType":"HASH"},{"AttributeName":"Expires","KeyType":"RANGE"}],"Projection":{"ProjectionType":"INCLUDE","NonKeyAttributes":["Revision"]},"ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5}}]' \
  --billing-mode PROVISIONED \
  --provisioned-throughput ReadCapacityUnits=5,WriteCapacityUnits=5 \
  --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES

aws dynamodb wait table-exists --table-name state

aws dynamodb update-time-to-live --table-name state \
  --time-to-live-specification Enabled=true,AttributeName=Expires
