resource "aws_dynamodb_table" "state" {
  name                        = "teleport"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "HashKey"
  range_key                   = "FullPath"
  stream_enabled              = true
  stream_view_type            = "NEW_AND_OLD_IMAGES"
  deletion_protection_enabled = false

  attribute {
    name = "HashKey"
    type = "S"
  }

  attribute {
    name = "FullPath"
    type = "S"
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
