//! Readings in files: out of a database and into one, as CSV and as Parquet.
//!
//! A file holds one reading a row. Export writes rows by device, metric and time; import takes any order.
//!
//! | CSV | Parquet | |
//! |---|---|---|
//! | `device`, `metric` | the same, `STRING` | which series |
//! | `observed_at` | the same, `TIMESTAMP(MICROS, UTC)` | RFC 3339 in UTC with microseconds |
//! | `value` | `number`, `bool`, `text`: one of them, the others null | a number in the fewest digits that give it back exactly; `true` or `false`; a text as it is |
//! | `unit` | the same, null if there is none | |
//! | `kind` | | `number`, `bool` or `text` |

mod csv;
mod export;
mod import;
mod parquet;
mod time;

use std::ffi::OsStr;
use std::path::Path;

use store::StoreError;

pub use export::{Choice, Exported, export};
pub use import::{Conflict, Imported, import};
pub(crate) use time::TimeText;
pub use time::parse as parse_time;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated text with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format that the name of a file stands for.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str) {
            Some("csv") => Some(Self::Csv),
            Some("parquet" | "pq") => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// How far the work has come; shown to a person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What is being done: `exported`, `checked`, `stored`.
    pub done: &'static str,
    /// Readings so far.
    pub readings: u64,
    /// The part of the whole, 0 to 1.
    pub part: f64,
}

/// Is told how far the work has come, and answers whether it shall go on.
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// Why an export or an import did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file does not hold what it should; says where and what was expected. Nothing of it is stored.
    #[error("{0}")]
    Content(String),
    /// It was told to stop.
    #[error("stopped")]
    Stopped,
}

impl From<::csv::Error> for ExchangeError {
    fn from(error: ::csv::Error) -> Self {
        let text = error.to_string();
        match error.into_kind() {
            ::csv::ErrorKind::Io(error) => Self::Io(error),
            _ => Self::Content(text),
        }
    }
}

impl From<::parquet::errors::ParquetError> for ExchangeError {
    fn from(error: ::parquet::errors::ParquetError) -> Self {
        use ::parquet::errors::ParquetError as E;
        match error {
            E::External(error) => match error.downcast::<std::io::Error>() {
                Ok(error) => Self::Io(*error),
                Err(error) => Self::Content(error.to_string()),
            },
            E::NYI(text) | E::General(text) if text.contains("feature") || text.contains("ncoding") => {
                Self::Content(format!(
                    "{text}: write the file uncompressed or with Snappy, in plain or dictionary encoding"
                ))
            }
            error => Self::Content(error.to_string()),
        }
    }
}

/// One row of a file, as far as it can be understood without knowing the series. Its texts are used again for the next.
#[derive(Debug, Default)]
struct Record {
    /// The line in CSV, the row in Parquet, from 1.
    place: u64,
    device: String,
    metric: String,
    at: protocol::Timestamp,
    /// Empty: none.
    unit: String,
    /// The value, if the file says of what kind it is.
    value: Option<protocol::Value>,
    /// The value as written, if it does not, and the kind that the row names.
    written: String,
    kind: Option<protocol::Kind>,
}

/// A file that is being read.
enum Source {
    Csv(Box<csv::CsvSource>),
    Parquet(Box<parquet::ParquetSource>),
}

impl Source {
    fn open(path: &Path, format: Format) -> Result<Self, ExchangeError> {
        Ok(match format {
            Format::Csv => Self::Csv(Box::new(csv::CsvSource::open(path)?)),
            Format::Parquet => Self::Parquet(Box::new(parquet::ParquetSource::open(path)?)),
        })
    }

    /// Reads the next row; false at the end.
    fn next(&mut self, record: &mut Record) -> Result<bool, ExchangeError> {
        match self {
            Self::Csv(source) => source.next(record),
            Self::Parquet(source) => source.next(record),
        }
    }

    /// How much of the file was read, 0 to 1.
    fn part(&self) -> f64 {
        match self {
            Self::Csv(source) => source.part(),
            Self::Parquet(source) => source.part(),
        }
    }

    /// A problem with a column of the row that was read last.
    fn problem(&self, record: &Record, column: &str, problem: &str) -> ExchangeError {
        let row = match self {
            Self::Csv(_) => "line",
            Self::Parquet(_) => "row",
        };
        ExchangeError::Content(format!("{row} {}, column {column}: {problem}", record.place))
    }
}
