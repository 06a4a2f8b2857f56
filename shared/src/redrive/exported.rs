//! Events from an export of the audit table in S3 (`ExportTableToPointInTime`, `DYNAMODB_JSON`, full), which takes no read
//! capacity: `manifest-summary.json`, `manifest-files.json` and `data/*.json.gz`, a line `{"Item":{…}}` each row. Rows have
//! no order there.

use std::fmt;
use std::io::{BufRead, BufReader, Cursor};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::hand::{Hand, Tally};
use super::rows::{BackfillError, Numbers, Place, Position, Range, Read, Step, over, read};
use crate::audit::canonical::Canonical;
use crate::forward::handed::MAX_BYTES;
use crate::objects::Objects;

const SUMMARY: &str = "manifest-summary.json";
const FILES: &str = "manifest-files.json";
/// A step ends when its records have so many bytes: they fit into one payload.
const STEP: usize = MAX_BYTES - 500_000;
/// Or after so many lines, if few of them are of the range.
const LINES: usize = 50_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    export_arn: String,
    item_count: u64,
    output_format: String,
    export_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    item_count: u64,
    #[serde(rename = "dataFileS3Key")]
    key: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "Item")]
    item: &'a RawValue,
}

type Lines = BufReader<MultiGzDecoder<Cursor<Vec<u8>>>>;

/// Brings the events of a range from an export. A data file is held in memory, compressed.
pub struct FromExport<'a> {
    objects: &'a Objects,
    hand: Hand<'a>,
    range: Range,
    sink: Option<String>,
    export: String,
    files: Vec<File>,
    /// Files that are done, and lines of the next.
    at: (usize, usize),
    open: Option<Lines>,
    numbers: Numbers,
    /// A step did not end well.
    broken: bool,
    out: Canonical,
}

impl fmt::Debug for FromExport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromExport")
            .field("export", &self.export)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<'a> FromExport<'a> {
    /// Opens the export whose manifest stands in `objects` (`s3://bucket/prefix/AWSDynamoDB/<export id>/`). Two GETs.
    ///
    /// # Errors
    /// [`BackfillError`] if it is not complete, or of another kind; or if the position is of another export or range.
    pub async fn open(
        objects: &'a Objects,
        range: Range,
        position: Option<&Position>,
        hand: Hand<'a>,
    ) -> Result<Self, BackfillError> {
        let wrong = |name: &str, reason: &str| BackfillError::Export {
            place: objects.place(name),
            reason: reason.to_owned(),
        };
        let manifest = async |name: &str| {
            let object = objects.get(name).await?;
            let none = "is not there: the export is not complete, or this is not its place";
            Ok::<_, BackfillError>(object.ok_or_else(|| wrong(name, none))?.body)
        };
        let summary: Summary = serde_json::from_slice(&manifest(SUMMARY).await?)
            .map_err(|_| wrong(SUMMARY, "is no manifest of an export"))?;
        if summary.output_format != "DYNAMODB_JSON" {
            return Err(wrong(SUMMARY, "only exports in DYNAMODB_JSON are read"));
        }
        if summary.export_type.is_some_and(|kind| kind != "FULL_EXPORT") {
            return Err(wrong(SUMMARY, "only full exports are read"));
        }
        let files: Vec<File> = serde_json::Deserializer::from_slice(&manifest(FILES).await?)
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|_| wrong(FILES, "is no list of data files"))?;
        if files.iter().map(|file| file.item_count).sum::<u64>() != summary.item_count {
            return Err(wrong(FILES, "does not count as many items as the summary"));
        }
        let mut numbers = Numbers::default();
        let at = match position {
            None => (0, 0),
            Some(position) => match &position.place {
                Place::Export { export, files, lines }
                    if *export == summary.export_arn && position.range() == range =>
                {
                    numbers.last = position.number;
                    (*files, *lines)
                }
                _ => return Err(BackfillError::OtherPosition),
            },
        };
        Ok(Self {
            objects,
            hand,
            range,
            sink: None,
            export: summary.export_arn,
            files,
            at,
            open: None,
            numbers,
            broken: false,
            out: Canonical::default(),
        })
    }

    /// For one sink.
    #[must_use]
    pub fn to_sink(self, sink: Option<String>) -> Self {
        Self { sink, ..self }
    }

    /// How many data files are done, and how many there are.
    pub fn files(&self) -> (usize, usize) {
        (self.at.0, self.files.len())
    }

    /// Reads on and hands over what was read; none at the end. Cost: a GET for each data file, and an invocation.
    ///
    /// A dropped call, as a failed one, may have delivered: go on with another from the last position.
    ///
    /// # Errors
    /// [`BackfillError`]; also if a file does not hold as many items as its manifest says.
    pub async fn next(&mut self) -> Result<Option<Step>, BackfillError> {
        if std::mem::replace(&mut self.broken, true) {
            return Err(BackfillError::Broken);
        }
        self.hand.in_time()?;
        let Some(file) = self.files.get(self.at.0) else {
            self.broken = false;
            return Ok(None);
        };
        let name = format!("data/{}", file.key.rsplit('/').next().unwrap_or_default());
        let items = usize::try_from(file.item_count).unwrap_or(usize::MAX);
        let mut lines = match self.open.take() {
            Some(lines) => lines,
            None => self.lines(&name).await?,
        };
        let mut step = Step {
            tally: Tally::default(),
            no_events: 0,
            unreadable: 0,
            outside: 0,
            units: 0.0,
            place: name.clone(),
            position: Position::new(&self.range, 0, Place::Index(String::new())),
        };
        let records = self.read(&name, &mut lines, &mut step)?;
        over(self.hand, &self.range, self.sink.as_deref(), &records, &mut step).await?;
        let left = lines
            .fill_buf()
            .map_err(|error| self.wrong(&name, &error.to_string()))?;
        if left.is_empty() {
            if self.at.1 != items {
                let reason = format!("holds {} items, and {items} are due", self.at.1);
                return Err(self.wrong(&name, &reason));
            }
            self.at = (self.at.0 + 1, 0);
        } else {
            self.open = Some(lines);
        }
        step.position = Position::new(
            &self.range,
            self.numbers.last,
            Place::Export {
                export: self.export.clone(),
                files: self.at.0,
                lines: self.at.1,
            },
        );
        self.broken = false;
        Ok(Some(step))
    }

    fn wrong(&self, name: &str, reason: &str) -> BackfillError {
        BackfillError::Export {
            place: self.objects.place(name),
            reason: reason.to_owned(),
        }
    }

    /// A data file from where the position is in it.
    async fn lines(&self, name: &str) -> Result<Lines, BackfillError> {
        let object = self.objects.get(name).await?;
        let object = object.ok_or_else(|| self.wrong(name, "is not there"))?;
        let mut lines = BufReader::new(MultiGzDecoder::new(Cursor::new(object.body)));
        let mut line = Vec::new();
        for _ in 0..self.at.1 {
            line.clear();
            lines
                .read_until(b'\n', &mut line)
                .map_err(|error| self.wrong(name, &error.to_string()))?;
        }
        Ok(lines)
    }

    /// The records of the next lines, as many as a payload holds.
    fn read(&mut self, name: &str, lines: &mut Lines, step: &mut Step) -> Result<Vec<String>, BackfillError> {
        let (mut records, mut bytes, mut line) = (Vec::new(), 0, Vec::new());
        for _ in 0..LINES {
            line.clear();
            let read_bytes = lines
                .read_until(b'\n', &mut line)
                .map_err(|error| self.wrong(name, &error.to_string()))?;
            if read_bytes == 0 {
                break;
            }
            self.at.1 += 1;
            let row = serde_json::from_slice::<Line<'_>>(&line).ok();
            let row = row.map(|line| line.item.get());
            match row.map_or(Read::Unreadable, |row| read(row, &mut self.out)) {
                Read::NoEvent => step.no_events += 1,
                Read::Event(created_at) if !self.range.holds(created_at) => step.outside += 1,
                Read::Event(created_at) => {
                    let record = row.and_then(|row| self.numbers.record(row, created_at));
                    match record {
                        Some(record) => {
                            bytes += record.len();
                            records.push(record);
                        }
                        None => step.unreadable += 1,
                    }
                }
                Read::Unreadable => {
                    tracing::warn!(
                        file = name,
                        line = self.at.1,
                        "a row cannot be read and is left out"
                    );
                    step.unreadable += 1;
                }
            }
            if bytes >= STEP {
                break;
            }
        }
        Ok(records)
    }
}
