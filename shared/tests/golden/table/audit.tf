data "aws_kms_key" "table" {
  key_id = "alias/teleport"
}

resource "aws_dynamodb_table" "audit" {
  name                        = "teleport.audit"
  billing_mode                = "PROVISIONED"
  read_capacity               = 5
  write_capacity              = 6
  hash_key                    = "SessionID"
  range_key                   = "EventIndex"
  stream_enabled              = true
  stream_view_type            = "NEW_AND_OLD_IMAGES"
  deletion_protection_enabled = true

  attribute {
    name = "SessionID"
    type = "S"
  }

  attribute {
    name = "EventIndex"
    type = "N"
  }

  attribute {
    name = "CreatedAtDate"
    type = "S"
  }

  attribute {
    name = "CreatedAt"
    type = "N"
  }

  global_secondary_index {
    name            = "timesearchV2"
    hash_key        = "CreatedAtDate"
    range_key       = "CreatedAt"
    projection_type = "ALL"
    read_capacity   = 5
    write_capacity  = 6
  }

  ttl {
    attribute_name = "Expires"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = data.aws_kms_key.table.arn
  }

  tags = {
    "team" = "it's \"ours\": $${a}"
    "x"    = ""
  }

  lifecycle {
    prevent_destroy = true
  }
}
