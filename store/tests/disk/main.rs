//! The store on a disk that loses power and fails. In a process of its own: the disk is SQLite's default VFS here.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy allows these in tests, but does not see that helpers are tests"
)]

mod failures;
mod picture;
mod power;
mod workload;
