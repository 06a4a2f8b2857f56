resource "aws_dynamodb_table" "watch_log" {
  name                        = "watch"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "Log"
  range_key                   = "Segment"
  deletion_protection_enabled = true

  attribute {
    name = "Log"
    type = "S"
  }

  attribute {
    name = "Segment"
    type = "N"
  }

  point_in_time_recovery {
    enabled = false
  }

  lifecycle {
    prevent_destroy = true
  }
}
