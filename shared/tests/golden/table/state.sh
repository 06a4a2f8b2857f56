#!/bin/sh
# The state table teleport.
set -eu
export AWS_PAGER=

aws dynamodb create-table --table-name teleport \
  --attribute-definitions AttributeName=HashKey,AttributeType=S AttributeName=FullPath,AttributeType=S \
  --key-schema AttributeName=HashKey,KeyType=HASH AttributeName=FullPath,KeyType=RANGE \
  --billing-mode PAY_PER_REQUEST \
  --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES

aws dynamodb wait table-exists --table-name teleport

aws dynamodb update-time-to-live --table-name teleport \
  --time-to-live-specification Enabled=true,AttributeName=Expires
