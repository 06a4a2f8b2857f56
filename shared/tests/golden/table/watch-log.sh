#!/bin/sh
# The watch-log table watch.
set -eu
export AWS_PAGER=

aws dynamodb create-table --table-name watch \
  --attribute-definitions AttributeName=Log,AttributeType=S AttributeName=Segment,AttributeType=N \
  --key-schema AttributeName=Log,KeyType=HASH AttributeName=Segment,KeyType=RANGE \
  --billing-mode PAY_PER_REQUEST \
  --deletion-protection-enabled

aws dynamodb wait table-exists --table-name watch
