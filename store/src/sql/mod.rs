//! SQL for people: every table of `schema.sql`, and two more over hot and sealed readings together.
//!
//! | | |
//! |---|---|
//! | `readings` | one row a reading; see [`readings`] |
//! | `buckets(device, metric, step, from, to)` | statistics of stretches of time; see [`buckets`] |
//!
//! Only reading is allowed: the file is opened read-only, and an authorizer refuses everything but queries, so that no
//! other file is attached or written either. Both tables read through a connection of their own, part by part: a query
//! of them alone holds up no checkpoint, if it runs for an hour. The tables of the file are in the schema `hub`, which
//! need not be named.

mod buckets;
mod readings;
mod text;

use std::path::Path;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, ErrorCode};

use crate::error::StoreError;
use crate::schema;

/// Steps of SQLite between two looks at whether to go on. Chosen: under a millisecond.
const STEPS: i32 = 10_000;
/// Pragmas that only tell.
const PRAGMAS: &[&str] = &[
    "application_id",
    "auto_vacuum",
    "collation_list",
    "compile_options",
    "database_list",
    "foreign_key_list",
    "freelist_count",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "module_list",
    "page_count",
    "page_size",
    "pragma_list",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
];

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text. What is not UTF-8 in it is replaced.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// A connection for queries in SQL.
#[derive(Debug)]
pub struct Sql {
    connection: Connection,
}

impl Sql {
    /// Opens a database that a [`Writer`](crate::Writer) has opened before. `stop` is asked now and then, and ends a query
    /// once it says yes.
    pub fn open(path: &Path, stop: impl FnMut() -> bool + Send + 'static) -> Result<Self, StoreError> {
        let mut connection = schema::open_attached(path)?;
        vtab::register::<readings::Readings>(&connection, c"readings", path.to_owned())?;
        vtab::register::<buckets::Buckets>(&connection, c"buckets", path.to_owned())?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 1)?;
        connection.progress_handler(STEPS, Some(stop))?;
        connection.authorizer(Some(authorize))?;
        Ok(Self { connection })
    }

    /// Runs statements one after the other. `visit` gets the names of the columns and one row at a time, and says whether
    /// to go on; before the first row of each statement it gets the names alone, also where no row follows.
    ///
    /// False: `visit` had enough, or the query was stopped.
    pub fn run(
        &self,
        text: &str,
        visit: impl FnMut(&[String], Option<&[Cell<'_>]>) -> bool,
    ) -> Result<bool, StoreError> {
        match self.run_all(text, visit) {
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == ErrorCode::OperationInterrupted =>
            {
                Ok(false)
            }
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if matches!(
                    failure.code,
                    ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly
                ) =>
            {
                let text = "only queries are allowed here, nothing that writes, attaches or sets";
                Err(StoreError::Sqlite(rusqlite::Error::SqliteFailure(failure, Some(text.into()))))
            }
            result => Ok(result?),
        }
    }

    fn run_all(
        &self,
        text: &str,
        mut visit: impl FnMut(&[String], Option<&[Cell<'_>]>) -> bool,
    ) -> Result<bool, rusqlite::Error> {
        let mut statements = Batch::new(&self.connection, text);
        while let Some(mut statement) = statements.next()? {
            let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
            if !visit(&names, None) {
                return Ok(false);
            }
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                let mut texts = Vec::new();
                let mut cells = Vec::with_capacity(names.len());
                for column in 0..names.len() {
                    let cell = row.get_ref(column)?;
                    texts.push(cell.as_bytes().map(String::from_utf8_lossy).unwrap_or_default());
                    cells.push(cell);
                }
                let cells: Vec<Cell<'_>> =
                    cells.iter().zip(&texts).map(|(cell, text)| shown(*cell, text)).collect();
                if !visit(&names, Some(&cells)) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn shown<'a>(cell: ValueRef<'a>, text: &'a str) -> Cell<'a> {
    match cell {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(n) => Cell::Integer(n),
        ValueRef::Real(n) => Cell::Real(n),
        ValueRef::Text(_) => Cell::Text(text),
        ValueRef::Blob(bytes) => Cell::Blob(bytes),
    }
}

fn authorize(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select
        | AuthAction::Read { .. }
        | AuthAction::Recursive
        | AuthAction::Function { .. } => Authorization::Allow,
        AuthAction::Pragma { pragma_name, .. } if PRAGMAS.contains(&pragma_name) => Authorization::Allow,
        _ => Authorization::Deny,
    }
}
