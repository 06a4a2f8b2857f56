-- The lake as an Athena table, with Teleport's columns. Put the sink's bucket and prefix for my-audit/lake, and the database for audit.
-- Partitions are projected: none is ever added.
CREATE EXTERNAL TABLE IF NOT EXISTS audit.events (
  event_type string,
  event_time timestamp,
  uid string,
  session_id string,
  user string,
  event_data string
)
PARTITIONED BY (event_date date)
ROW FORMAT SERDE 'org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe'
STORED AS
  INPUTFORMAT 'org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat'
  OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat'
LOCATION 's3://my-audit/lake/'
TBLPROPERTIES (
  'classification' = 'parquet',
  'parquet.compression' = 'SNAPPY',
  'projection.enabled' = 'true',
  'projection.event_date.type' = 'date',
  'projection.event_date.format' = 'yyyy-MM-dd',
  'projection.event_date.range' = 'NOW-4YEARS,NOW',
  'projection.event_date.interval' = '1',
  'projection.event_date.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://my-audit/lake/${event_date}/'
)
