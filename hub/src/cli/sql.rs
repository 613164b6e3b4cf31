//! `hub sql`: queries in SQL on the database of the data folder.

use std::io::{BufWriter, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use protocol::local;
use serde_json::Value as Json;
use store::{Cell, Sql};

use super::BadUsage;
use super::files::stop_flag;
use crate::config::data_folder;

/// Rows that a table takes the widths of its columns from. Chosen: what a person looks through, in little memory.
const TABLE_ROWS: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    /// The query, or several with ; between them [default: standard input]
    query: Option<String>,
    /// How to print the rows
    #[arg(long, default_value = "table")]
    format: RowFormat,
    /// Data folder of the hub, which may run [default: telemetry-hub in the user's data folder]
    #[arg(long, env = local::DATA_VARIABLE, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RowFormat {
    /// Columns for a person
    Table,
    /// Comma-separated, with a header
    Csv,
    /// One JSON object a line
    Json,
}

pub(super) fn run(args: &SqlArgs) -> anyhow::Result<ExitCode> {
    let query = match &args.query {
        Some(query) => query.clone(),
        None => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).context("standard input")?;
            text
        }
    };
    if query.trim().is_empty() {
        return Err(BadUsage("no query: type one, or give it on standard input".into()).into());
    }
    let database = data_folder(args.data.as_deref())?.join(local::DATABASE_FILE);
    let stop = stop_flag()?;
    let asked = Arc::clone(&stop);
    let sql = Sql::open(&database, move || asked.load(Ordering::Relaxed))
        .with_context(|| format!("database {}", database.display()))?;
    let mut printer = Printer::new(args.format);
    let mut failed = None;
    sql.run(&query, |names, cells| {
        let printed = match cells {
            None => printer.begin(names),
            Some(cells) => printer.row(names, cells),
        };
        failed = printed.err();
        failed.is_none() && !stop.load(Ordering::Relaxed)
    })
    // What SQLite says of a query says it all; its source would say it again.
    .map_err(|error| anyhow!("{error}"))?;
    let result = failed.map_or_else(|| printer.end(), Err);
    match result {
        // Whoever read it has had enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        result => result?,
    }
    if stop.load(Ordering::Relaxed) {
        bail!("stopped");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints rows as they come.
struct Printer {
    format: RowFormat,
    out: BufWriter<std::io::Stdout>,
    /// Rows of a table that wait for its widths.
    waiting: Vec<Vec<(String, bool)>>,
    widths: Vec<usize>,
}

impl Printer {
    fn new(format: RowFormat) -> Self {
        Self { format, out: BufWriter::new(std::io::stdout()), waiting: Vec::new(), widths: Vec::new() }
    }

    fn begin(&mut self, names: &[String]) -> std::io::Result<()> {
        self.flush_table()?;
        if names.is_empty() {
            return Ok(());
        }
        match self.format {
            RowFormat::Table => {
                self.widths.clear();
                self.waiting.push(names.iter().map(|name| (name.clone(), false)).collect());
            }
            RowFormat::Csv => write_csv(&mut self.out, names.iter().map(String::as_str))?,
            RowFormat::Json => {}
        }
        Ok(())
    }

    fn row(&mut self, names: &[String], cells: &[Cell<'_>]) -> std::io::Result<()> {
        match self.format {
            RowFormat::Table => {
                let number = |cell: &Cell<'_>| matches!(cell, Cell::Integer(_) | Cell::Real(_));
                let row: Vec<_> = cells.iter().map(|cell| (text(cell), number(cell))).collect();
                if self.widths.is_empty() {
                    self.waiting.push(row);
                    if self.waiting.len() > TABLE_ROWS {
                        self.flush_table()?;
                    }
                    return Ok(());
                }
                write_row(&mut self.out, &row, &self.widths)
            }
            RowFormat::Csv => {
                let texts: Vec<String> = cells.iter().map(text).collect();
                write_csv(&mut self.out, texts.iter().map(String::as_str))
            }
            RowFormat::Json => {
                // By hand, because a map would put the columns into another order.
                let mut line = String::new();
                for (name, cell) in names.iter().zip(cells) {
                    let comma = if line.is_empty() { '{' } else { ',' };
                    line.push_str(&format!("{comma}{}:{}", Json::from(name.as_str()), json(cell)));
                }
                writeln!(self.out, "{line}}}")
            }
        }
    }

    /// Decides on the widths of a table, and prints what waited for them.
    fn flush_table(&mut self) -> std::io::Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        let Some(names) = rows.first() else { return Ok(()) };
        let width = |row: &Vec<(String, bool)>, column: usize| row[column].0.chars().count();
        self.widths = (0..names.len())
            .map(|column| rows.iter().map(|row| width(row, column)).max().unwrap_or(0))
            .collect();
        write_row(&mut self.out, names, &self.widths)?;
        let lines: Vec<_> = self.widths.iter().map(|width| ("-".repeat(*width), false)).collect();
        write_row(&mut self.out, &lines, &self.widths)?;
        for row in &rows[1..] {
            write_row(&mut self.out, row, &self.widths)?;
        }
        Ok(())
    }

    fn end(mut self) -> std::io::Result<()> {
        self.flush_table()?;
        self.out.flush()
    }
}

fn write_row(out: &mut impl std::io::Write, row: &[(String, bool)], widths: &[usize]) -> std::io::Result<()> {
    let mut line = String::new();
    for ((text, number), width) in row.iter().zip(widths) {
        let text = if *number { format!("{text:>width$}") } else { format!("{text:<width$}") };
        line.push_str(&text);
        line.push_str("  ");
    }
    writeln!(out, "{}", line.trim_end())
}

fn write_csv<'a>(out: &mut impl std::io::Write, cells: impl Iterator<Item = &'a str>) -> std::io::Result<()> {
    let mut line = csv::WriterBuilder::new().from_writer(out);
    line.write_record(cells)?;
    line.flush()
}

fn text(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(n) => n.to_string(),
        Cell::Real(n) => format!("{n:?}"),
        Cell::Text(text) => (*text).to_owned(),
        Cell::Blob(bytes) => hex(bytes),
    }
}

fn json(cell: &Cell<'_>) -> Json {
    match cell {
        Cell::Null => Json::Null,
        Cell::Integer(n) => (*n).into(),
        Cell::Real(n) => (*n).into(),
        Cell::Text(text) => (*text).into(),
        Cell::Blob(bytes) => hex(bytes).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
