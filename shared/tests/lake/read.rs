//! What a reader finds: every row of every file in a dated folder.

use parquet::basic::{Compression, LogicalType, TimeUnit, Type};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use tidewatch::objects::{Objects, PAGE};

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filed {
    pub(crate) date: String,
    pub(crate) event_time: i64,
    pub(crate) event_type: String,
    pub(crate) uid: String,
    pub(crate) session_id: String,
    pub(crate) user: String,
    pub(crate) event_data: String,
}

/// All rows, by date and time.
pub(crate) async fn filed(objects: &Objects) -> Vec<Filed> {
    let mut rows = Vec::new();
    for object in objects.list("", None, PAGE).await.unwrap().objects {
        let Some((date, file)) = object.name.split_once('/') else {
            continue;
        };
        if date.starts_with('_') {
            continue;
        }
        assert!(file.ends_with(".parquet") && !file.contains('/'), "{file}");
        let body = objects.get(&object.name).await.unwrap().unwrap().body;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), body).unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(file.path()).unwrap()).unwrap();
        look(&reader);
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let text = |at| row.get_string(at).unwrap().clone();
            rows.push(Filed {
                date: date.to_owned(),
                event_type: text(0),
                event_time: row.get_timestamp_millis(1).unwrap(),
                uid: text(2),
                session_id: text(3),
                user: text(4),
                event_data: text(5),
            });
        }
    }
    rows.sort_unstable();
    rows
}

/// The file is as Athena's and Teleport's readers want it.
fn look(reader: &SerializedFileReader<std::fs::File>) {
    let metadata = reader.metadata();
    let columns = metadata.file_metadata().schema_descr().columns();
    let names: Vec<&str> = columns.iter().map(|column| column.name()).collect();
    assert_eq!(
        names,
        [
            "event_type",
            "event_time",
            "uid",
            "session_id",
            "user",
            "event_data"
        ]
    );
    for (at, column) in columns.iter().enumerate() {
        let logical = column.logical_type_ref().cloned();
        if at == 1 {
            assert_eq!(column.physical_type(), Type::INT64);
            let millis = LogicalType::timestamp(true, TimeUnit::MILLIS);
            assert_eq!(logical, Some(millis));
        } else {
            assert_eq!(column.physical_type(), Type::BYTE_ARRAY);
            assert_eq!(logical, Some(LogicalType::String));
        }
    }
    for group in metadata.row_groups() {
        for (at, column) in group.columns().iter().enumerate() {
            assert_eq!(column.compression(), Compression::SNAPPY);
            assert_eq!(column.statistics().is_some(), at != 5, "{at}");
        }
    }
}
