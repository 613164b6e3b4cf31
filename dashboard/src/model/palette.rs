//! The command palette while it is open: what was typed, and where the keyboard is in what was found.

/// What is typed into the palette.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Palette {
    /// What stands in its field.
    pub typed: String,
    /// The row that Enter takes, counted from the best.
    pub row: usize,
}
