resource "aws_dynamodb_table" "partitioned" {
  name                        = "state"
  billing_mode                = "PROVISIONED"
  read_capacity               = 5
  write_capacity              = 5
  hash_key                    = "Part"
  range_key                   = "Key"
  stream_enabled              = true
  stream_view_type            = "NEW_AND_OLD_IMAGES"
  deletion_protection_enabled = false

  attribute {
    name = "Part"
    type = "S"
  }

  attribute {
    name = "Key"
    type = "S"
  }

  attribute {
    name = "ExpiryShard"
    type = "N"
  }

  attribute {
    name = "Expires"
    type = "N"
  }

  global_secondary_index {
    name               = "expiry"
    hash_key           = "ExpiryShard"
    range_key          = "Expires"
    projection_type    = "INCLUDE"
    non_key_attributes = ["Revision"]
    read_capacity      = 5
    write_capacity     = 5
  }

  ttl {
    attribute_name = "Expires"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = false
  }

  lifecycle {
    prevent_destroy = true
  }
}
