//! Rows as a Parquet file.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::row::Row;

/// The columns of Teleport's table, in its order. `event_date` is the folder's name.
const SCHEMA: &str = "message event {
    required binary event_type (STRING);
    required int64 event_time (TIMESTAMP(MILLIS, true));
    required binary uid (STRING);
    required binary session_id (STRING);
    required binary user (STRING);
    required binary event_data (STRING);
}";

/// Bytes of values after which a row group is full: what a reader takes into memory at once.
const ROW_GROUP: usize = 16 << 20;

/// Writes rows in the order of time and uid: the same bytes for the same rows in any order.
pub(super) fn encode(rows: &mut [Row]) -> Result<Vec<u8>, ParquetError> {
    rows.sort_unstable_by(|a, b| {
        (a.event_time, &a.uid, &a.event_data).cmp(&(b.event_time, &b.uid, &b.event_data))
    });
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties()))?;
    let mut rest: &[Row] = rows;
    while !rest.is_empty() {
        let mut bytes = 0;
        let full = rest.iter().take_while(|row| {
            bytes += size(row);
            bytes <= ROW_GROUP
        });
        let (group, others) = rest.split_at(full.count().max(1));
        rest = others;
        let mut columns = writer.next_row_group()?;
        texts(&mut columns, group, |row| &row.event_type)?;
        let times: Vec<i64> = group.iter().map(|row| row.event_time).collect();
        if let Some(mut column) = columns.next_column()? {
            column.typed::<Int64Type>().write_batch(&times, None, None)?;
            column.close()?;
        }
        texts(&mut columns, group, |row| &row.uid)?;
        texts(&mut columns, group, |row| &row.session_id)?;
        texts(&mut columns, group, |row| &row.user)?;
        texts(&mut columns, group, |row| &row.event_data)?;
        columns.close()?;
    }
    writer.into_inner()
}

fn size(row: &Row) -> usize {
    let texts = [
        &row.event_type,
        &row.uid,
        &row.session_id,
        &row.user,
        &row.event_data,
    ];
    texts.iter().map(|text| text.len()).sum()
}

fn texts(
    columns: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    rows: &[Row],
    of: impl Fn(&Row) -> &String,
) -> Result<(), ParquetError> {
    let values: Vec<ByteArray> = rows.iter().map(|row| of(row).as_str().into()).collect();
    if let Some(mut column) = columns.next_column()? {
        column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
        column.close()?;
    }
    Ok(())
}

/// What Athena's and Teleport's readers know well: format 1, Snappy. Nobody looks for a range of payloads, and no two
/// are equal.
fn properties() -> WriterProperties {
    let whole = |name: &str| ColumnPath::from(name);
    WriterProperties::builder()
        .set_created_by("tidewatch".to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_statistics_enabled(whole("event_data"), EnabledStatistics::None)
        .set_column_dictionary_enabled(whole("event_data"), false)
        .set_column_encoding(whole("event_data"), Encoding::PLAIN)
        .set_column_dictionary_enabled(whole("uid"), false)
        .build()
}
