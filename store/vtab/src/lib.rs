//! Virtual tables for SQLite, without unsafe code in those who make one.
//!
//! rusqlite's traits are unsafe to implement because SQLite reads the beginning of the structs itself. Here they are
//! implemented once, for any [`Table`]. A table says which comparisons spare it work; it is given their values when it
//! is opened, and returns at least the rows that fulfil them. SQLite compares again, so a table may ignore any of them.
//!
//! Tables are read-only, and there without being created: `SELECT * FROM name`, or `name(argument, ...)` for those with
//! hidden columns.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::rc::Rc;

use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor, sqlite3_vtab,
    sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result};

/// How a column is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `=`
    Eq,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `LIKE`
    Like,
    /// `GLOB`
    Glob,
}

impl Op {
    const ALL: [(Self, u8, IndexConstraintOp); 7] = [
        (Self::Eq, b'=', IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ),
        (Self::Gt, b'g', IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT),
        (Self::Ge, b'G', IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE),
        (Self::Lt, b'l', IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT),
        (Self::Le, b'L', IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE),
        (Self::Like, b'%', IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LIKE),
        (Self::Glob, b'*', IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GLOB),
    ];
}

/// A comparison that every row wanted fulfils.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    /// The column, from 0.
    pub column: usize,
    /// How it is compared.
    pub op: Op,
    /// With what. For [`Op::Like`] and [`Op::Glob`] the pattern.
    pub value: Value,
}

/// What is known before a table is opened, from the comparisons alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// About how many rows there are.
    pub rows: f64,
    /// The column by which they come in ascending order, if they do.
    pub ascending: Option<usize>,
}

/// A table.
pub trait Table: Sized + 'static {
    /// What it is made of; kept by the connection.
    type Source: Send + Sync + 'static;
    /// Its rows under certain constraints.
    type Rows: Rows;
    /// Its columns, as `CREATE TABLE x (...)`. Hidden ones are its arguments, in their order.
    const DECLARATION: &'static CStr;
    /// Columns that are arguments: SQLite must know their value before it opens the table.
    const ARGUMENTS: &'static [usize];

    /// Connects to the source, once for each connection that uses the table.
    fn connect(source: &Self::Source) -> Result<Self, String>;
    /// Whether it helps to know this comparison.
    fn helps(column: usize, op: Op) -> bool;
    /// What can be said when these are known.
    fn estimate(known: &[(usize, Op)]) -> Estimate;
    /// Begins to read.
    fn open(&self, constraints: &[Constraint]) -> Result<Self::Rows, String>;
}

/// Rows being read.
pub trait Rows {
    /// Goes to the next row, at first to the first one; false at the end.
    fn next(&mut self) -> Result<bool, String>;
    /// A column of the present row.
    fn column(&self, column: usize) -> ToSqlOutput<'_>;
}

/// Makes a table known to a connection.
pub fn register<T: Table>(connection: &Connection, name: &'static CStr, source: T::Source) -> Result<()> {
    let module: &'static Module<'static, Instance<T>> = const { &Module::eponymous_only_module() };
    connection.create_module(name, module, Some(source))
}

/// A table as SQLite sees it.
#[repr(C)]
struct Instance<T> {
    /// SQLite's own part: must be first.
    base: sqlite3_vtab,
    table: Rc<T>,
}

/// Rows as SQLite sees them.
#[repr(C)]
struct Cursor<T: Table> {
    /// SQLite's own part: must be first.
    base: sqlite3_vtab_cursor,
    table: Rc<T>,
    /// `None`: at the end.
    rows: Option<T::Rows>,
    rowid: i64,
}

// SAFETY: the struct is `repr(C)` and its first field is SQLite's `sqlite3_vtab`.
#[expect(unsafe_code, reason = "see SAFETY")]
unsafe impl<'vtab, T: Table> VTab<'vtab> for Instance<T> {
    type Aux = T::Source;
    type Cursor = Cursor<T>;

    fn connect(
        _db: &mut VTabConnection,
        aux: Option<&T::Source>,
        _module_name: &[u8],
        _database_name: &[u8],
        _table_name: &[u8],
        _args: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let source = aux.ok_or_else(|| Error::ModuleError("the table has no source".into()))?;
        let table = T::connect(source).map_err(Error::ModuleError)?;
        Ok((Cow::Borrowed(T::DECLARATION), Self { base: sqlite3_vtab::default(), table: Rc::new(table) }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let mut known = Vec::new();
        let mut places = Vec::new();
        for (place, constraint) in info.constraints().enumerate() {
            let Ok(column) = usize::try_from(constraint.column()) else { continue };
            let operator = constraint.operator();
            let Some((op, _, _)) = Op::ALL.into_iter().find(|(_, _, code)| *code == operator) else {
                continue;
            };
            if !constraint.is_usable() {
                if op == Op::Eq && T::ARGUMENTS.contains(&column) {
                    // Another order of the tables of the query makes it known.
                    return Ok(false);
                }
            } else if T::helps(column, op) {
                known.push((column, op));
                places.push(place);
            }
        }
        let mut taken = String::new();
        let mut argument = 0;
        let mut offered = Vec::with_capacity(known.len());
        for ((column, op), place) in known.into_iter().zip(places) {
            // Under another collation more is equal than we would find.
            if info.collation(place)? != "BINARY" {
                continue;
            }
            argument += 1;
            info.constraint_usage(place).set_argv_index(argument);
            offered.push((column, op));
            let letter =
                Op::ALL.iter().find(|(other, _, _)| *other == op).map_or(b'?', |(_, letter, _)| *letter);
            taken.push_str(&format!("{column}{} ", char::from(letter)));
        }
        let estimate = T::estimate(&offered);
        info.set_idx_str(&taken);
        info.set_estimated_rows(estimate.rows as i64);
        info.set_estimated_cost(estimate.rows);
        let ordered = {
            let mut orders = info.order_bys();
            match (orders.next(), orders.next()) {
                (Some(order), None) => {
                    !order.is_order_by_desc() && usize::try_from(order.column()).ok() == estimate.ascending
                }
                _ => false,
            }
        };
        info.set_order_by_consumed(ordered);
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<Self::Cursor> {
        Ok(Cursor {
            base: sqlite3_vtab_cursor::default(),
            table: Rc::clone(&self.table),
            rows: None,
            rowid: 0,
        })
    }
}

// SAFETY: the struct is `repr(C)` and its first field is SQLite's `sqlite3_vtab_cursor`.
#[expect(unsafe_code, reason = "see SAFETY")]
unsafe impl<T: Table> VTabCursor for Cursor<T> {
    fn filter(&mut self, _idx_num: c_int, idx_str: Option<&str>, args: &Filters<'_>) -> Result<()> {
        let mut constraints = Vec::new();
        for (place, taken) in idx_str.unwrap_or_default().split_whitespace().enumerate() {
            let (column, letter) = taken.split_at(taken.len().saturating_sub(1));
            let op = Op::ALL.into_iter().find(|(_, code, _)| letter.as_bytes() == [*code]);
            if let (Ok(column), Some((op, _, _))) = (column.parse(), op)
                && place < args.len()
            {
                constraints.push(Constraint { column, op, value: args.get(place)? });
            }
        }
        self.rowid = 0;
        self.rows = Some(self.table.open(&constraints).map_err(Error::ModuleError)?);
        self.next()
    }

    fn next(&mut self) -> Result<()> {
        if let Some(rows) = &mut self.rows {
            self.rowid += 1;
            if !rows.next().map_err(Error::ModuleError)? {
                self.rows = None;
            }
        }
        Ok(())
    }

    fn eof(&self) -> bool {
        self.rows.is_none()
    }

    fn column(&self, ctx: &mut Context, i: c_int) -> Result<()> {
        match (&self.rows, usize::try_from(i)) {
            (Some(rows), Ok(column)) => ctx.set_result(rows.column(column)),
            _ => Ok(()),
        }
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.rowid)
    }
}
